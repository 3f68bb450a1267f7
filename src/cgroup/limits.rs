//! What the configuration asks of the cgroup, with every special number resolved.
//!
//! `linux.resources` gives one number many meanings: 0 is "not set" here and "nothing at all"
//! there, -1 is "no limit" in some fields and an error in others. Those rules are here and
//! nowhere else: what leaves this file says what it means, and is the same for cgroup v1, v2 and
//! any other driver. What a limit becomes on a version of cgroups is in [`super::knobs`].
//!
//! Runtime spec, config-linux.md, "Control groups".

use oci_spec::runtime::{
    LinuxBlockIo, LinuxCpu, LinuxMemory, LinuxResources, LinuxThrottleDevice, LinuxWeightDevice,
};

use crate::list::List;
use crate::{Error, Result};

/// A limit that may be lifted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Amount {
    /// No limit.
    Max,
    /// At most this.
    Of(u64),
}

/// What a block device limit counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Throttle {
    /// Bytes read a second.
    ReadBytes,
    /// Bytes written a second.
    WriteBytes,
    /// Read operations a second.
    ReadOperations,
    /// Write operations a second.
    WriteOperations,
}

/// A device number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Device {
    /// Its driver.
    pub major: u32,
    /// Which of the driver's devices.
    pub minor: u32,
}

/// One limit. Nothing that the configuration leaves unset is here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Limit {
    /// Share of CPU time, in v1's scale (2 to 262144, 1024 is the default).
    CpuShares(u64),
    /// CPU time in microseconds: `quota` for each `period`, `burst` more once saved up.
    CpuBandwidth {
        /// Time in each period.
        quota: Option<Amount>,
        /// Length of a period.
        period: Option<u64>,
        /// What may be saved up.
        burst: Option<u64>,
    },
    /// The same for real-time processes; v1 only.
    CpuRealtime {
        /// Time in each period; below 0 is no limit.
        runtime: Option<i64>,
        /// Length of a period.
        period: Option<u64>,
    },
    /// Run only when nobody else wants the CPU (`SCHED_IDLE`).
    CpuIdle(bool),
    /// CPUs to run on.
    Cpus(String),
    /// Memory nodes to take memory from.
    Mems(String),
    /// Memory in bytes, and memory and swap together.
    Memory {
        /// Memory alone.
        limit: Option<Amount>,
        /// Memory plus swap; never below `limit`.
        total: Option<Amount>,
        /// Refuse a limit below what is in use already.
        check: bool,
    },
    /// Memory that reclaim leaves alone while there is any elsewhere.
    MemoryReservation(Amount),
    /// A limit on kernel memory, which no kernel enforces any more.
    KernelMemory,
    /// Memory of TCP buffers; v1 only.
    TcpMemory(u64),
    /// How readily memory is swapped, 0 to 100; v1 only.
    Swappiness(u64),
    /// Processes wait instead of being killed when memory runs out; v1 only.
    OomKillerOff,
    /// Memory of sub-cgroups counts here too; always so on v2 and on v1 since Linux 5.11.
    MemoryHierarchy,
    /// Number of processes and threads.
    Pids(Amount),
    /// Share of block I/O in v1's scale, 10 to 1000.
    IoWeight(u16),
    /// The same, in competition with sub-cgroups; v1 only.
    IoLeafWeight(u16),
    /// The two weights for one device.
    IoDeviceWeight {
        /// The device.
        device: Device,
        /// As [`Limit::IoWeight`].
        weight: Option<u16>,
        /// As [`Limit::IoLeafWeight`].
        leaf_weight: Option<u16>,
    },
    /// A rate for one device.
    IoThrottle {
        /// The device.
        device: Device,
        /// What is counted.
        kind: Throttle,
        /// How much of it a second.
        rate: Amount,
    },
    /// Bytes of huge pages of one size, such as `2MB`.
    HugePages {
        /// The size as the kernel's file names spell it.
        size: String,
        /// At most this.
        bytes: u64,
    },
    /// Tag on network packets; v1 only.
    NetClass(u32),
    /// Priority of traffic through one interface; v1 only.
    NetPriority {
        /// The interface.
        interface: String,
        /// Its priority.
        priority: u32,
    },
    /// Resources of one RDMA device.
    Rdma {
        /// The device.
        device: String,
        /// Handles that may be open.
        handles: Option<u32>,
        /// Objects that may be made.
        objects: Option<u32>,
    },
    /// A file of cgroup v2, and what is written to it.
    Unified {
        /// Name of the file.
        file: String,
        /// One line or several.
        value: String,
    },
}

impl Limit {
    /// Where in config.json it comes from, for messages.
    pub fn field(&self) -> &'static str {
        match self {
            Limit::CpuShares(_) => "linux.resources.cpu.shares",
            Limit::CpuBandwidth { quota: Some(_), .. } => "linux.resources.cpu.quota",
            Limit::CpuBandwidth { period: Some(_), .. } => "linux.resources.cpu.period",
            Limit::CpuBandwidth { .. } => "linux.resources.cpu.burst",
            Limit::CpuRealtime { runtime: Some(_), .. } => "linux.resources.cpu.realtimeRuntime",
            Limit::CpuRealtime { .. } => "linux.resources.cpu.realtimePeriod",
            Limit::CpuIdle(_) => "linux.resources.cpu.idle",
            Limit::Cpus(_) => "linux.resources.cpu.cpus",
            Limit::Mems(_) => "linux.resources.cpu.mems",
            Limit::Memory { limit: Some(_), .. } => "linux.resources.memory.limit",
            Limit::Memory { .. } => "linux.resources.memory.swap",
            Limit::MemoryReservation(_) => "linux.resources.memory.reservation",
            Limit::KernelMemory => "linux.resources.memory.kernel",
            Limit::TcpMemory(_) => "linux.resources.memory.kernelTCP",
            Limit::Swappiness(_) => "linux.resources.memory.swappiness",
            Limit::OomKillerOff => "linux.resources.memory.disableOOMKiller",
            Limit::MemoryHierarchy => "linux.resources.memory.useHierarchy",
            Limit::Pids(_) => "linux.resources.pids.limit",
            Limit::IoWeight(_) => "linux.resources.blockIO.weight",
            Limit::IoLeafWeight(_) => "linux.resources.blockIO.leafWeight",
            Limit::IoDeviceWeight { .. } => "linux.resources.blockIO.weightDevice",
            Limit::IoThrottle { kind, .. } => match kind {
                Throttle::ReadBytes => "linux.resources.blockIO.throttleReadBpsDevice",
                Throttle::WriteBytes => "linux.resources.blockIO.throttleWriteBpsDevice",
                Throttle::ReadOperations => "linux.resources.blockIO.throttleReadIOPSDevice",
                Throttle::WriteOperations => "linux.resources.blockIO.throttleWriteIOPSDevice",
            },
            Limit::HugePages { .. } => "linux.resources.hugepageLimits",
            Limit::NetClass(_) => "linux.resources.network.classID",
            Limit::NetPriority { .. } => "linux.resources.network.priorities",
            Limit::Rdma { .. } => "linux.resources.rdma",
            Limit::Unified { .. } => "linux.resources.unified",
        }
    }
}

/// The limits that `resources` asks for, in the order in which they are set: `unified` last, so
/// that it wins.
pub fn limits(resources: &LinuxResources) -> Result<Vec<Limit>> {
    let mut out = Vec::new();
    if let Some(pids) = resources.pids() {
        // 0 is a limit: no process may be started (config-linux.md, "PIDs"). So it is with 1, which
        // the first one takes, and which systemd can be told as well.
        out.push(Limit::Pids(match pids.limit() {
            ..0 => Amount::Max,
            0 => Amount::Of(1),
            limit => Amount::Of(limit.unsigned_abs()),
        }));
    }
    if let Some(memory) = resources.memory() {
        memory_limits(memory, &mut out)?;
    }
    if let Some(block_io) = resources.block_io() {
        block_io_limits(block_io, &mut out)?;
    }
    if let Some(cpu) = resources.cpu() {
        cpu_limits(cpu, &mut out)?;
    }
    for limit in resources.hugepage_limits().iter().flatten() {
        let field = "linux.resources.hugepageLimits";
        let size = limit.page_size();
        if !is_page_size(size) {
            return Err(Error::invalid(field, size, "must be a number and KB, MB or GB"));
        }
        let bytes = u64::try_from(limit.limit())
            .map_err(|_| Error::invalid(field, limit.limit(), "must not be negative"))?;
        out.push(Limit::HugePages { size: size.clone(), bytes });
    }
    if let Some(network) = resources.network() {
        if let Some(class @ 1..) = network.class_id() {
            out.push(Limit::NetClass(class));
        }
        for entry in network.priorities().iter().flatten() {
            let interface = word("linux.resources.network.priorities", entry.name())?;
            out.push(Limit::NetPriority { interface, priority: entry.priority() });
        }
    }
    let mut rdma: Vec<_> = resources.rdma().iter().flatten().collect();
    rdma.sort_by_key(|(name, _)| *name);
    for (name, limit) in rdma {
        let (handles, objects) = (limit.hca_handles(), limit.hca_objects());
        let device = word("linux.resources.rdma", name)?;
        if handles.is_none() && objects.is_none() {
            return Err(Error::invalid(
                "linux.resources.rdma",
                name,
                "must set hcaHandles or hcaObjects",
            ));
        }
        out.push(Limit::Rdma { device, handles, objects });
    }
    let mut unified: Vec<_> = resources.unified().iter().flatten().collect();
    unified.sort_by_key(|(file, _)| *file);
    for (file, value) in unified {
        out.push(Limit::Unified { file: unified_file(file)?, value: value.clone() });
    }
    Ok(out)
}

fn cpu_limits(cpu: &LinuxCpu, out: &mut Vec<Limit>) -> Result<()> {
    if let Some(shares @ 1..) = cpu.shares() {
        out.push(Limit::CpuShares(shares));
    }
    if let Some(idle) = cpu.idle() {
        out.push(Limit::CpuIdle(match idle {
            0 => false,
            1 => true,
            _ => return Err(Error::invalid("linux.resources.cpu.idle", idle, "must be 0 or 1")),
        }));
    }
    let quota = match cpu.quota() {
        None | Some(0) => None,
        Some(..0) => Some(Amount::Max),
        Some(quota) => Some(Amount::Of(quota.unsigned_abs())),
    };
    let period = cpu.period().filter(|period| *period != 0);
    let burst = cpu.burst();
    if let (Some(Amount::Of(quota)), Some(burst)) = (quota, burst)
        && burst > quota
    {
        let why = format!("must not be larger than the quota, {quota}");
        return Err(Error::invalid("linux.resources.cpu.burst", burst, why));
    }
    if quota.is_some() || period.is_some() || burst.is_some() {
        out.push(Limit::CpuBandwidth { quota, period, burst });
    }
    let runtime = cpu.realtime_runtime().filter(|runtime| *runtime != 0);
    let period = cpu.realtime_period().filter(|period| *period != 0);
    if runtime.is_some() || period.is_some() {
        out.push(Limit::CpuRealtime { runtime, period });
    }
    if let Some(cpus) = list("linux.resources.cpu.cpus", cpu.cpus())? {
        out.push(Limit::Cpus(cpus));
    }
    if let Some(mems) = list("linux.resources.cpu.mems", cpu.mems())? {
        out.push(Limit::Mems(mems));
    }
    Ok(())
}

fn memory_limits(memory: &LinuxMemory, out: &mut Vec<Limit>) -> Result<()> {
    let limit = bytes("linux.resources.memory.limit", memory.limit())?;
    let swap_field = "linux.resources.memory.swap";
    let total = match (limit, bytes(swap_field, memory.swap())?) {
        // Lifting the limit on memory lifts that on both, as it always did on v1.
        (Some(Amount::Max), None) => Some(Amount::Max),
        (None, Some(Amount::Of(total))) => {
            let why = "cannot be set without linux.resources.memory.limit";
            return Err(Error::invalid(swap_field, total, why));
        }
        (Some(Amount::Of(limit)), Some(Amount::Of(total))) if total < limit => {
            let why = format!("is memory and swap together: not below memory.limit, {limit}");
            return Err(Error::invalid(swap_field, total, why));
        }
        (_, total) => total,
    };
    if limit.is_some() || total.is_some() {
        let check = memory.check_before_update().unwrap_or(false);
        out.push(Limit::Memory { limit, total, check });
    }
    let reservation = bytes("linux.resources.memory.reservation", memory.reservation())?;
    out.extend(reservation.map(Limit::MemoryReservation));
    #[allow(deprecated)] // so that it is told, not dropped in silence
    let kernel = memory.kernel();
    if let Some(Amount::Of(_)) = bytes("linux.resources.memory.kernel", kernel)? {
        out.push(Limit::KernelMemory);
    }
    let tcp = bytes("linux.resources.memory.kernelTCP", memory.kernel_tcp())?;
    if let Some(Amount::Of(tcp)) = tcp {
        out.push(Limit::TcpMemory(tcp));
    }
    match memory.swappiness() {
        // What -1, "leave it", looks like to a reader of unsigned numbers.
        None | Some(u64::MAX) => {}
        Some(value @ 0..=100) => out.push(Limit::Swappiness(value)),
        Some(value) => {
            let field = "linux.resources.memory.swappiness";
            return Err(Error::invalid(field, value, "must be 0 to 100"));
        }
    }
    if memory.disable_oom_killer() == Some(true) {
        out.push(Limit::OomKillerOff);
    }
    if memory.use_hierarchy() == Some(true) {
        out.push(Limit::MemoryHierarchy);
    }
    Ok(())
}

fn block_io_limits(block_io: &LinuxBlockIo, out: &mut Vec<Limit>) -> Result<()> {
    if let Some(value) = weight("linux.resources.blockIO.weight", block_io.weight())? {
        out.push(Limit::IoWeight(value));
    }
    if let Some(value) = weight("linux.resources.blockIO.leafWeight", block_io.leaf_weight())? {
        out.push(Limit::IoLeafWeight(value));
    }
    for entry in block_io.weight_device().iter().flatten() {
        out.push(weight_device(entry)?);
    }
    let throttles = [
        (Throttle::ReadBytes, block_io.throttle_read_bps_device()),
        (Throttle::WriteBytes, block_io.throttle_write_bps_device()),
        (Throttle::ReadOperations, block_io.throttle_read_iops_device()),
        (Throttle::WriteOperations, block_io.throttle_write_iops_device()),
    ];
    for (kind, entries) in throttles {
        for entry in entries.iter().flatten() {
            out.push(throttle(kind, entry)?);
        }
    }
    Ok(())
}

fn weight_device(entry: &LinuxWeightDevice) -> Result<Limit> {
    let field = "linux.resources.blockIO.weightDevice";
    let device = device(field, entry.major(), entry.minor())?;
    let own = weight(field, entry.weight())?;
    let leaf_weight = weight(field, entry.leaf_weight())?;
    if entry.weight().is_none() && entry.leaf_weight().is_none() {
        let name = format!("{}:{}", device.major, device.minor);
        return Err(Error::invalid(field, name, "must set weight or leafWeight"));
    }
    Ok(Limit::IoDeviceWeight { device, weight: own, leaf_weight })
}

fn throttle(kind: Throttle, entry: &LinuxThrottleDevice) -> Result<Limit> {
    let device = device("linux.resources.blockIO.throttle", entry.major(), entry.minor())?;
    // v1 takes a rule away when it is given 0; v2 has no other word for it than "max".
    let rate = match entry.rate() {
        0 => Amount::Max,
        rate => Amount::Of(rate),
    };
    Ok(Limit::IoThrottle { device, kind, rate })
}

/// A number of bytes: 0 is "not set", -1 is "no limit".
fn bytes(field: &str, value: Option<i64>) -> Result<Option<Amount>> {
    match value {
        None | Some(0) => Ok(None),
        Some(-1) => Ok(Some(Amount::Max)),
        Some(value) => match u64::try_from(value) {
            Ok(value) => Ok(Some(Amount::Of(value))),
            Err(_) => Err(Error::invalid(field, value, "must be -1 (no limit) or more")),
        },
    }
}

/// 0 is "not set".
fn weight(field: &str, value: Option<u16>) -> Result<Option<u16>> {
    match value {
        None | Some(0) => Ok(None),
        Some(value @ 10..=1000) => Ok(Some(value)),
        Some(value) => Err(Error::invalid(field, value, "must be 10 to 1000")),
    }
}

fn device(field: &str, major: i64, minor: i64) -> Result<Device> {
    match (u32::try_from(major), u32::try_from(minor)) {
        (Ok(major), Ok(minor)) => Ok(Device { major, minor }),
        _ => Err(Error::invalid(field, format!("{major}:{minor}"), "is not a device number")),
    }
}

/// A list of CPUs or memory nodes: `0-3,7`. Empty is "not set".
fn list(field: &str, value: &Option<String>) -> Result<Option<String>> {
    let Some(value) = value.as_deref().map(str::trim).filter(|value| !value.is_empty()) else {
        return Ok(None);
    };
    match List::parse(value) {
        Some(_) => Ok(Some(value.to_owned())),
        None => {
            Err(Error::invalid(field, value, "must be a list of numbers and ranges, as in 0-3,7"))
        }
    }
}

/// A name that is one word of a line the kernel parses.
fn word(field: &str, name: &str) -> Result<String> {
    if name.is_empty() || name.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(Error::invalid(field, name, "is not a name"));
    }
    Ok(name.to_owned())
}

/// `<number><K|M|G>B`. It becomes part of a file name, so nothing else may pass.
fn is_page_size(text: &str) -> bool {
    let digits = ["KB", "MB", "GB"].iter().find_map(|unit| text.strip_suffix(unit));
    digits.is_some_and(|digits| {
        !digits.is_empty() && digits.len() <= 8 && digits.bytes().all(|b| b.is_ascii_digit())
    })
}

fn unified_file(file: &str) -> Result<String> {
    let refuse = |why: &str| Err(Error::invalid("linux.resources.unified", file, why));
    // A key that could leave the container's directory would write to any cgroup of the host.
    if file.is_empty() || file.contains(['/', '\0', '\n']) || file.starts_with('.') {
        return refuse("must be the name of one file");
    }
    if !file.contains('.') {
        return refuse("must be a controller's name, a dot and a parameter");
    }
    // These act on processes; none of them is a limit, and some would move or kill the caller's.
    if ["cgroup.procs", "cgroup.threads", "cgroup.kill", "cgroup.freeze"].contains(&file) {
        return refuse("is not a limit");
    }
    Ok(file.to_owned())
}

#[cfg(test)]
#[path = "limits_tests.rs"]
mod tests;
