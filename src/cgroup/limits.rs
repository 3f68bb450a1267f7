//! The limits of `linux.resources`: every bound is checked, every special number is resolved.
//!
//! In this section 0 means "unset" in some fields and "nothing at all" in others, and -1 means "no
//! limit" or is an error. This module is the only place that knows these rules. A [`Limit`]
//! does not depend on the cgroup version.
//!
//! Runtime spec, config-linux.md, "Control groups".

use oci_spec::runtime::{
    LinuxBlockIo, LinuxCpu, LinuxMemory, LinuxNetwork, LinuxResources, LinuxWeightDevice,
};

use super::limit::{Amount, DeviceNumber, Limit, Throttle};
use crate::list::List;
use crate::{Error, Result};

/// Returns the limits of a container, in the order in which they are set: `unified` last, so that it
/// takes precedence.
pub(super) fn checked(resources: &LinuxResources) -> Result<Vec<Limit>> {
    let limits = read(resources)?;
    limits.iter().try_for_each(agrees)?;
    Ok(limits)
}

/// Reads limits that may be a part of those of a container: the bounds of each field are checked,
/// the relations between fields are not.
pub(super) fn read(resources: &LinuxResources) -> Result<Vec<Limit>> {
    let mut limits = Vec::new();
    if let Some(pids) = resources.pids() {
        limits.push(Limit::Pids(match pids.limit() {
            limit @ ..-1 => {
                let why = "must be a number of tasks, or -1";
                return Err(Error::invalid("linux.resources.pids.limit", limit, why));
            }
            -1 => Amount::Max,
            // 0 allows no process to be started (config-linux.md, "PIDs"). It becomes 1, which has
            // the same effect, since init uses it up, and which systemd accepts.
            limit => Amount::Of(limit.unsigned_abs().max(1)),
        }));
    }
    if let Some(section) = resources.memory() {
        memory(section, &mut limits)?;
    }
    if let Some(section) = resources.block_io() {
        block_io(section, &mut limits)?;
    }
    if let Some(section) = resources.cpu() {
        cpu(section, &mut limits)?;
    }
    huge_pages(resources, &mut limits)?;
    if let Some(section) = resources.network() {
        network(section, &mut limits)?;
    }
    rdma(resources, &mut limits)?;
    unified(resources, &mut limits)?;
    Ok(limits)
}

/// Checks the relations between the fields of a limit.
fn agrees(limit: &Limit) -> Result<()> {
    match limit {
        Limit::CpuBandwidth { quota: Some(Amount::Of(quota)), burst: Some(burst), .. }
            if burst > quota =>
        {
            let why = format!("is above the quota of {quota}");
            Err(Error::invalid("linux.resources.cpu.burst", burst, why))
        }
        Limit::Memory { limit, total: Some(Amount::Of(total)), .. } => {
            let why = match limit {
                Some(Amount::Of(limit)) if total < limit => {
                    format!("is below the memory limit of {limit}, which it includes")
                }
                Some(Amount::Of(_)) => return Ok(()),
                None | Some(Amount::Max) => "needs a memory limit".to_owned(),
            };
            Err(Error::invalid("linux.resources.memory.swap", total, why))
        }
        _ => Ok(()),
    }
}

/// Reads the section (config-linux.md, "CPU").
fn cpu(section: &LinuxCpu, limits: &mut Vec<Limit>) -> Result<()> {
    if let Some(shares @ 1..) = section.shares() {
        limits.push(Limit::CpuShares(shares));
    }
    match section.idle() {
        None => {}
        Some(idle @ (0 | 1)) => limits.push(Limit::CpuIdle(idle == 1)),
        Some(idle) => {
            return Err(Error::invalid("linux.resources.cpu.idle", idle, "must be 0 or 1"));
        }
    }
    let quota = match section.quota() {
        None | Some(0) => None,
        Some(..0) => Some(Amount::Max),
        Some(quota) => Some(Amount::Of(quota.unsigned_abs())),
    };
    let period = section.period().filter(|period| *period != 0);
    let burst = section.burst();
    if quota.is_some() || period.is_some() || burst.is_some() {
        limits.push(Limit::CpuBandwidth { quota, period, burst });
    }
    let runtime = section.realtime_runtime().filter(|runtime| *runtime != 0);
    let period = section.realtime_period().filter(|period| *period != 0);
    if runtime.is_some() || period.is_some() {
        limits.push(Limit::CpuRealtime { runtime, period });
    }
    limits.extend(list("linux.resources.cpu.cpus", section.cpus())?.map(Limit::Cpus));
    limits.extend(list("linux.resources.cpu.mems", section.mems())?.map(Limit::Mems));
    Ok(())
}

/// Parses a list of CPUs or memory nodes; an empty list is unset.
fn list(field: &str, text: &Option<String>) -> Result<Option<List>> {
    let Some(text) = text.as_deref() else { return Ok(None) };
    let list = List::parse(text).ok_or_else(|| {
        let why = "not a list of numbers and ranges such as \"0-3,7\"";
        Error::invalid(field, text, why)
    })?;
    Ok(Some(list).filter(|list| !list.is_empty()))
}

/// Reads the section (config-linux.md, "Memory").
fn memory(section: &LinuxMemory, limits: &mut Vec<Limit>) -> Result<()> {
    let limit = bytes("linux.resources.memory.limit", section.limit())?;
    let total = match (limit, bytes("linux.resources.memory.swap", section.swap())?) {
        // Unlimited memory implies unlimited memory plus swap, as on v1.
        (Some(Amount::Max), None) => Some(Amount::Max),
        (_, total) => total,
    };
    if limit.is_some() || total.is_some() {
        let check = section.check_before_update().unwrap_or(false);
        limits.push(Limit::Memory { limit, total, check });
    }
    let reservation = bytes("linux.resources.memory.reservation", section.reservation())?;
    limits.extend(reservation.map(Limit::MemoryReservation));
    #[allow(deprecated)] // The specification deprecates it, but engines set it.
    let kernel = section.kernel();
    if let Some(Amount::Of(_)) = bytes("linux.resources.memory.kernel", kernel)? {
        limits.push(Limit::KernelMemory);
    }
    let tcp = bytes("linux.resources.memory.kernelTCP", section.kernel_tcp())?;
    if let Some(Amount::Of(tcp)) = tcp {
        limits.push(Limit::TcpMemory(tcp));
    }
    match section.swappiness() {
        // -1, which means "unset", in a field that is unsigned.
        None | Some(u64::MAX) => {}
        Some(value @ 0..=100) => limits.push(Limit::Swappiness(value)),
        Some(value) => {
            let field = "linux.resources.memory.swappiness";
            return Err(Error::invalid(field, value, "must be from 0 to 100"));
        }
    }
    if section.disable_oom_killer() == Some(true) {
        limits.push(Limit::OomKillerOff);
    }
    if section.use_hierarchy() == Some(true) {
        limits.push(Limit::MemoryHierarchy);
    }
    Ok(())
}

/// Reads a number of bytes: 0 is unset, -1 is no limit.
fn bytes(field: &str, value: Option<i64>) -> Result<Option<Amount>> {
    match value {
        None | Some(0) => Ok(None),
        Some(-1) => Ok(Some(Amount::Max)),
        Some(value) => match u64::try_from(value) {
            Ok(value) => Ok(Some(Amount::Of(value))),
            Err(_) => Err(Error::invalid(field, value, "must be a number of bytes, or -1")),
        },
    }
}

/// Reads the section (config-linux.md, "Block IO").
fn block_io(section: &LinuxBlockIo, limits: &mut Vec<Limit>) -> Result<()> {
    let field = "linux.resources.blockIO";
    limits.extend(weight(field, "weight", section.weight())?.map(Limit::IoWeight));
    limits.extend(weight(field, "leafWeight", section.leaf_weight())?.map(Limit::IoLeafWeight));
    for (index, entry) in section.weight_device().iter().flatten().enumerate() {
        limits.push(weight_device(&format!("{field}.weightDevice[{index}]"), entry)?);
    }
    for (kind, entries) in [
        (Throttle::ReadBytes, section.throttle_read_bps_device()),
        (Throttle::WriteBytes, section.throttle_write_bps_device()),
        (Throttle::ReadOperations, section.throttle_read_iops_device()),
        (Throttle::WriteOperations, section.throttle_write_iops_device()),
    ] {
        for (index, entry) in entries.iter().flatten().enumerate() {
            let field = format!("{}[{index}]", kind.field());
            let device = DeviceNumber::new(&field, entry.major(), entry.minor())?;
            // 0 removes a limit on v1; v2 requires "max".
            let rate = match entry.rate() {
                0 => Amount::Max,
                rate => Amount::Of(rate),
            };
            limits.push(Limit::IoThrottle { device, kind, rate });
        }
    }
    Ok(())
}

fn weight_device(field: &str, entry: &LinuxWeightDevice) -> Result<Limit> {
    let device = DeviceNumber::new(field, entry.major(), entry.minor())?;
    if entry.weight().is_none() && entry.leaf_weight().is_none() {
        return Err(Error::invalid_field(field, "needs weight or leafWeight"));
    }
    Ok(Limit::IoDeviceWeight {
        device,
        weight: weight(field, "weight", entry.weight())?,
        leaf_weight: weight(field, "leafWeight", entry.leaf_weight())?,
    })
}

/// Reads a weight, which has the range of cgroup v1; 0 is unset.
fn weight(field: &str, name: &str, value: Option<u16>) -> Result<Option<u16>> {
    match value {
        None | Some(0) => Ok(None),
        Some(value @ 10..=1000) => Ok(Some(value)),
        Some(value) => {
            let why = "must be from 10 to 1000, or 0";
            Err(Error::invalid(format!("{field}.{name}"), value, why))
        }
    }
}

/// Reads the section (config-linux.md, "Huge page limits").
fn huge_pages(resources: &LinuxResources, limits: &mut Vec<Limit>) -> Result<()> {
    for (index, entry) in resources.hugepage_limits().iter().flatten().enumerate() {
        let field = |name: &str| format!("linux.resources.hugepageLimits[{index}].{name}");
        let size = entry.page_size();
        if !is_page_size(size) {
            let why = "must be a number and KB, MB or GB, such as \"2MB\"";
            return Err(Error::invalid(field("pageSize"), size, why));
        }
        let bytes = u64::try_from(entry.limit())
            .map_err(|_| Error::invalid(field("limit"), entry.limit(), "must not be negative"))?;
        limits.push(Limit::HugePages { size: size.clone(), bytes });
    }
    Ok(())
}

/// Whether a string is `<number><K|M|G>B`. It becomes a part of a file name, so nothing else is
/// accepted.
fn is_page_size(text: &str) -> bool {
    let digits = ["KB", "MB", "GB"].iter().find_map(|unit| text.strip_suffix(unit));
    digits.is_some_and(|digits| {
        matches!(digits.len(), 1..=8)
            && !digits.starts_with('0')
            && digits.bytes().all(|byte| byte.is_ascii_digit())
    })
}

/// Reads the section (config-linux.md, "Network").
fn network(section: &LinuxNetwork, limits: &mut Vec<Limit>) -> Result<()> {
    if let Some(class @ 1..) = section.class_id() {
        limits.push(Limit::NetClass(class));
    }
    for (index, entry) in section.priorities().iter().flatten().enumerate() {
        let field = format!("linux.resources.network.priorities[{index}].name");
        interface_name(&field, entry.name())?;
        let interface = entry.name().clone();
        limits.push(Limit::NetPriority { interface, priority: entry.priority() });
    }
    Ok(())
}

/// Checks the name of a network device as the kernel does (dev_valid_name): 1 to 15 bytes, no
/// space, no `/` or `:`, not `.` or `..`. A space would end the name in the line for the kernel.
pub(crate) fn interface_name(field: &str, name: &str) -> Result<()> {
    let bad = |c: char| c == '/' || c == ':' || c.is_ascii_whitespace() || c == '\x0b';
    if !matches!(name.len(), 1..=15) || matches!(name, "." | "..") || name.contains(bad) {
        let why = "not the name of a network device (1 to 15 bytes without space, / and :)";
        return Err(Error::invalid(field, name, why));
    }
    Ok(())
}

/// Reads the section (config-linux.md, "RDMA").
fn rdma(resources: &LinuxResources, limits: &mut Vec<Limit>) -> Result<()> {
    let mut entries: Vec<_> = resources.rdma().iter().flatten().collect();
    entries.sort_unstable_by_key(|(name, _)| *name);
    for (name, entry) in entries {
        if name.is_empty() || name.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err(Error::invalid("linux.resources.rdma", name, "not the name of a device"));
        }
        let (handles, objects) = (entry.hca_handles(), entry.hca_objects());
        if handles.is_none() && objects.is_none() {
            let field = format!("linux.resources.rdma.{name}");
            return Err(Error::invalid_field(field, "needs hcaHandles or hcaObjects"));
        }
        limits.push(Limit::Rdma { device: name.clone(), handles, objects });
    }
    Ok(())
}

/// Reads the section (config-linux.md, "Unified").
fn unified(resources: &LinuxResources, limits: &mut Vec<Limit>) -> Result<()> {
    let mut entries: Vec<_> = resources.unified().iter().flatten().collect();
    entries.sort_unstable_by_key(|(file, _)| *file);
    for (file, value) in entries {
        unified_file(file)?;
        limits.push(Limit::Unified { file: file.clone(), value: value.clone() });
    }
    Ok(())
}

fn unified_file(file: &str) -> Result<()> {
    let refuse = |why: &str| Err(Error::invalid("linux.resources.unified", file, why));
    // A name that leaves the container's directory would write to any cgroup of the host.
    if file.is_empty() || file.contains(['/', '\0', '\n']) || file.starts_with('.') {
        return refuse("must be the name of one file");
    }
    if !file.contains('.') {
        return refuse("must be a controller's name, a dot and a parameter");
    }
    // These files act on processes, and could move or kill those of the caller.
    if ["cgroup.procs", "cgroup.threads", "cgroup.kill", "cgroup.freeze"].contains(&file) {
        return refuse("is not a limit");
    }
    Ok(())
}

#[cfg(test)]
#[path = "limits_tests.rs"]
mod tests;
