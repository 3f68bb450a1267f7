//! What a limit is called in each version of cgroups: file, value, and the order of writes.
//!
//! Pure. [`limits`](super::limits) decided what is meant; here it only gets its name.

use crate::{Error, Result};

use super::limits::{Amount, Device, Limit, Throttle};

/// The two interfaces of the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// A hierarchy for each controller.
    V1,
    /// One hierarchy.
    V2,
}

/// A file and what is written to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Knob {
    /// Name of the file.
    pub file: String,
    /// The text, one write(2).
    pub value: String,
}

/// One setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// The controller that has the file; `cgroup` for those that every v2 cgroup has.
    pub controller: String,
    /// Where in config.json it comes from.
    pub field: &'static str,
    /// The first of these files that exists is written.
    pub knobs: Vec<Knob>,
    /// The value takes a limit away, or is there for completeness: no file, nothing to do.
    pub optional: bool,
    /// The kernel checks it against its neighbours (quota and period, memory and swap): when it
    /// answers EINVAL, try again after the others. Which order is right depends on the values
    /// that are there already.
    pub coupled: bool,
    /// A file with what is in use, which a new limit must not be below.
    pub floor: Option<&'static str>,
}

impl Write {
    fn new(controller: &str, field: &'static str, file: &str, value: impl ToString) -> Self {
        Write {
            controller: controller.to_owned(),
            field,
            knobs: vec![Knob { file: file.to_owned(), value: value.to_string() }],
            optional: false,
            coupled: false,
            floor: None,
        }
    }

    /// A write of `value` to `file`, wherever it comes from.
    pub(super) fn text(file: &str, value: &str) -> Self {
        Write::new(unified_controller(file), "", file, value)
    }

    fn or(mut self, file: &str, value: impl ToString) -> Self {
        self.knobs.push(Knob { file: file.to_owned(), value: value.to_string() });
        self
    }

    fn optional_if(mut self, optional: bool) -> Self {
        self.optional = optional;
        self
    }

    fn coupled(mut self) -> Self {
        self.coupled = true;
        self
    }
}

/// The controller that a limit needs. v1 and v2 differ only in the name of the block one, and
/// v2 has none for network packets.
pub fn controller(limit: &Limit, version: Version) -> Option<&str> {
    Some(match limit {
        Limit::CpuShares(_)
        | Limit::CpuBandwidth { .. }
        | Limit::CpuRealtime { .. }
        | Limit::CpuIdle(_) => "cpu",
        Limit::Cpus(_) | Limit::Mems(_) => "cpuset",
        Limit::Memory { .. }
        | Limit::MemoryReservation(_)
        | Limit::KernelMemory
        | Limit::TcpMemory(_)
        | Limit::Swappiness(_)
        | Limit::OomKillerOff
        | Limit::MemoryHierarchy => "memory",
        Limit::Pids(_) => "pids",
        Limit::IoWeight(_)
        | Limit::IoLeafWeight(_)
        | Limit::IoDeviceWeight { .. }
        | Limit::IoThrottle { .. } => match version {
            Version::V1 => "blkio",
            Version::V2 => "io",
        },
        Limit::HugePages { .. } => "hugetlb",
        Limit::NetClass(_) if version == Version::V1 => "net_cls",
        Limit::NetPriority { .. } if version == Version::V1 => "net_prio",
        Limit::NetClass(_) | Limit::NetPriority { .. } => return None,
        Limit::Rdma { .. } => "rdma",
        Limit::Unified { file, .. } => match version {
            Version::V1 => return None,
            Version::V2 => unified_controller(file),
        },
    })
}

fn unified_controller(file: &str) -> &str {
    file.split_once('.').map_or(file, |(controller, _)| controller)
}

/// The writes that set `limit`; an error if this version of cgroups has no word for it.
pub fn knobs(limit: &Limit, version: Version, warnings: &mut Vec<String>) -> Result<Vec<Write>> {
    match version {
        Version::V1 => v1(limit, warnings),
        Version::V2 => v2(limit, warnings),
    }
}

fn v1(limit: &Limit, warnings: &mut Vec<String>) -> Result<Vec<Write>> {
    let field = limit.field();
    let one = |controller, file, value: &dyn ToString| {
        vec![Write::new(controller, field, file, value.to_string())]
    };
    Ok(match limit {
        Limit::CpuShares(shares) => {
            // The kernel would take the nearest value it has and say nothing.
            let why = match shares {
                ..2 => "the minimum allowed cpu-shares is 2",
                2..=262_144 => {
                    // Refused while the cgroup is idle: the order matters when both change.
                    return Ok(vec![Write::new("cpu", field, "cpu.shares", shares).coupled()]);
                }
                _ => "the maximum allowed cpu-shares is 262144",
            };
            return Err(Error::invalid(field, shares, why));
        }
        Limit::CpuBandwidth { quota, period, burst } => {
            let mut out = Vec::new();
            if let Some(period) = period {
                let field = "linux.resources.cpu.period";
                out.push(Write::new("cpu", field, "cpu.cfs_period_us", period).coupled());
            }
            if let Some(quota) = quota {
                let value = number_or_minus_1(*quota);
                out.push(Write::new("cpu", field, "cpu.cfs_quota_us", value).coupled());
            }
            if let Some(burst) = burst {
                let field = "linux.resources.cpu.burst";
                let write = Write::new("cpu", field, "cpu.cfs_burst_us", burst).coupled();
                out.push(write.optional_if(*burst == 0));
            }
            out
        }
        Limit::CpuRealtime { runtime, period } => {
            let mut out = Vec::new();
            if let Some(period) = period {
                let field = "linux.resources.cpu.realtimePeriod";
                out.push(Write::new("cpu", field, "cpu.rt_period_us", period).coupled());
            }
            if let Some(runtime) = runtime {
                out.push(Write::new("cpu", field, "cpu.rt_runtime_us", runtime).coupled());
            }
            out
        }
        Limit::CpuIdle(idle) => vec![cpu_idle(field, *idle)],
        Limit::Cpus(list) => one("cpuset", "cpuset.cpus", list),
        Limit::Mems(list) => one("cpuset", "cpuset.mems", list),
        Limit::Memory { limit, total, check } => {
            let mut out = Vec::new();
            if let Some(limit) = limit {
                let value = number_or_minus_1(*limit);
                let mut write = Write::new("memory", field, "memory.limit_in_bytes", value);
                // Without being told the kernel refuses only what it cannot swap (EBUSY).
                write.floor = check.then_some("memory.usage_in_bytes");
                out.push(write.coupled());
            }
            if let Some(total) = total {
                let (field, value) = ("linux.resources.memory.swap", number_or_minus_1(*total));
                let write = Write::new("memory", field, "memory.memsw.limit_in_bytes", value);
                out.push(write.coupled().optional_if(*total == Amount::Max));
            }
            out
        }
        Limit::MemoryReservation(amount) => {
            one("memory", "memory.soft_limit_in_bytes", &number_or_minus_1(*amount))
        }
        Limit::TcpMemory(bytes) => one("memory", "memory.kmem.tcp.limit_in_bytes", bytes),
        Limit::KernelMemory => no_kernel_memory(field, warnings),
        Limit::Swappiness(value) => one("memory", "memory.swappiness", value),
        Limit::OomKillerOff => one("memory", "memory.oom_control", &1),
        Limit::MemoryHierarchy => one("memory", "memory.use_hierarchy", &1),
        Limit::Pids(amount) => one("pids", "pids.max", &number_or_max(*amount)),
        Limit::IoWeight(weight) => {
            let write = Write::new("blkio", field, "blkio.weight", weight);
            vec![write.or("blkio.bfq.weight", weight)]
        }
        Limit::IoLeafWeight(weight) => one("blkio", "blkio.leaf_weight", weight),
        Limit::IoDeviceWeight { device, weight, leaf_weight } => {
            let mut out = Vec::new();
            if let Some(weight) = weight {
                let value = on(device, weight);
                let write = Write::new("blkio", field, "blkio.weight_device", &value);
                out.push(write.or("blkio.bfq.weight_device", value));
            }
            if let Some(weight) = leaf_weight {
                let value = on(device, weight);
                out.push(Write::new("blkio", field, "blkio.leaf_weight_device", value));
            }
            out
        }
        Limit::IoThrottle { device, kind, rate } => {
            let file = match kind {
                Throttle::ReadBytes => "blkio.throttle.read_bps_device",
                Throttle::WriteBytes => "blkio.throttle.write_bps_device",
                Throttle::ReadOperations => "blkio.throttle.read_iops_device",
                Throttle::WriteOperations => "blkio.throttle.write_iops_device",
            };
            let rate = match rate {
                Amount::Max => 0,
                Amount::Of(rate) => *rate,
            };
            one("blkio", file, &on(device, rate))
        }
        Limit::HugePages { size, bytes } => huge_pages(field, size, *bytes, "limit_in_bytes"),
        Limit::NetClass(class) => one("net_cls", "net_cls.classid", class),
        Limit::NetPriority { interface, priority } => {
            one("net_prio", "net_prio.ifpriomap", &format!("{interface} {priority}"))
        }
        Limit::Rdma { device, handles, objects } => {
            one("rdma", "rdma.max", &rdma(device, *handles, *objects))
        }
        Limit::Unified { file, .. } => {
            let why = "only hosts with cgroup v2 alone have this hierarchy";
            return Err(Error::invalid(field, file, why));
        }
    })
}

fn v2(limit: &Limit, warnings: &mut Vec<String>) -> Result<Vec<Write>> {
    let field = limit.field();
    let one = |controller, file, value: &dyn ToString| {
        vec![Write::new(controller, field, file, value.to_string())]
    };
    let no_such = || Err(Error::invalid_field(field, "cgroup v2 has no equivalent"));
    Ok(match limit {
        Limit::CpuShares(shares) => {
            // An idle cgroup has no weight: the order matters when idle is changed as well.
            vec![Write::new("cpu", field, "cpu.weight", cpu_weight(*shares)).coupled()]
        }
        Limit::CpuBandwidth { quota, period, burst } => {
            let mut out = Vec::new();
            if quota.is_some() || period.is_some() {
                // The kernel's defaults: no quota, and periods of 100 ms.
                let quota = number_or_max(quota.unwrap_or(Amount::Max));
                let value = format!("{quota} {}", period.unwrap_or(100_000));
                out.push(Write::new("cpu", field, "cpu.max", value).coupled());
            }
            if let Some(burst) = burst {
                let field = "linux.resources.cpu.burst";
                let write = Write::new("cpu", field, "cpu.max.burst", burst).coupled();
                out.push(write.optional_if(*burst == 0));
            }
            out
        }
        Limit::CpuIdle(idle) => vec![cpu_idle(field, *idle)],
        Limit::Cpus(list) => one("cpuset", "cpuset.cpus", list),
        Limit::Mems(list) => one("cpuset", "cpuset.mems", list),
        Limit::Memory { limit, total, check } => {
            let mut out = Vec::new();
            if let Some(swap) = swap_alone(*limit, *total) {
                let (field, value) = ("linux.resources.memory.swap", number_or_max(swap));
                let write = Write::new("memory", field, "memory.swap.max", value);
                // A kernel without swap has no such file, and gives "no swap" as it is.
                out.push(write.optional_if(matches!(swap, Amount::Max | Amount::Of(0))));
            }
            if let Some(limit) = limit {
                let mut write = Write::new("memory", field, "memory.max", number_or_max(*limit));
                write.floor = check.then_some("memory.current");
                out.push(write);
            }
            out
        }
        Limit::MemoryReservation(amount) => one("memory", "memory.low", &number_or_max(*amount)),
        Limit::MemoryHierarchy => Vec::new(),
        Limit::Pids(amount) => one("pids", "pids.max", &number_or_max(*amount)),
        Limit::IoWeight(weight) => {
            let write = Write::new("io", field, "io.bfq.weight", weight);
            vec![write.or("io.weight", io_weight(*weight))]
        }
        Limit::IoDeviceWeight { leaf_weight: Some(_), .. } => return no_such(),
        Limit::IoDeviceWeight { weight: None, .. } => Vec::new(),
        Limit::IoDeviceWeight { device, weight: Some(weight), .. } => {
            let write = Write::new("io", field, "io.bfq.weight", on(device, weight));
            vec![write.or("io.weight", on(device, io_weight(*weight)))]
        }
        Limit::IoThrottle { device, kind, rate } => {
            let key = match kind {
                Throttle::ReadBytes => "rbps",
                Throttle::WriteBytes => "wbps",
                Throttle::ReadOperations => "riops",
                Throttle::WriteOperations => "wiops",
            };
            one("io", "io.max", &on(device, format!("{key}={}", number_or_max(*rate))))
        }
        Limit::HugePages { size, bytes } => huge_pages(field, size, *bytes, "max"),
        Limit::Rdma { device, handles, objects } => {
            one("rdma", "rdma.max", &rdma(device, *handles, *objects))
        }
        Limit::Unified { file, value } => {
            // The kernel reads one line a write; a line feed alone is an empty value.
            let mut lines: Vec<&str> = value.lines().filter(|line| !line.is_empty()).collect();
            if lines.is_empty() {
                lines.push("\n");
            }
            let write = |line| Write::new(unified_controller(file), field, file, line).coupled();
            lines.into_iter().map(write).collect()
        }
        Limit::KernelMemory => no_kernel_memory(field, warnings),
        Limit::CpuRealtime { .. }
        | Limit::TcpMemory(_)
        | Limit::Swappiness(_)
        | Limit::OomKillerOff
        | Limit::IoLeafWeight(_)
        | Limit::NetClass(_)
        | Limit::NetPriority { .. } => return no_such(),
    })
}

/// Engines have asked for it for years, and the kernel has not had it since Linux 5.16: the one
/// limit that is told and left out.
fn no_kernel_memory(field: &str, warnings: &mut Vec<String>) -> Vec<Write> {
    warnings.push(format!("{field}: ignored: the kernel has no such limit any more"));
    Vec::new()
}

/// The same on both versions.
fn cpu_idle(field: &'static str, idle: bool) -> Write {
    Write::new("cpu", field, "cpu.idle", u8::from(idle)).optional_if(!idle)
}

/// Reservations are limited where the kernel can do that (Linux 5.7), and page faults always.
fn huge_pages(field: &'static str, size: &str, bytes: u64, suffix: &str) -> Vec<Write> {
    let used = format!("hugetlb.{size}.{suffix}");
    let reserved = format!("hugetlb.{size}.rsvd.{suffix}");
    vec![
        Write::new("hugetlb", field, &used, bytes),
        Write::new("hugetlb", field, &reserved, bytes).optional_if(true),
    ]
}

fn rdma(device: &str, handles: Option<u32>, objects: Option<u32>) -> String {
    let mut line = device.to_owned();
    for (key, value) in [("hca_handle", handles), ("hca_object", objects)] {
        if let Some(value) = value {
            line.push_str(&format!(" {key}={value}"));
        }
    }
    line
}

/// The line that sets `value` for one block device.
fn on(device: &Device, value: impl ToString) -> String {
    format!("{}:{} {}", device.major, device.minor, value.to_string())
}

fn number_or_max(amount: Amount) -> String {
    match amount {
        Amount::Max => "max".to_owned(),
        Amount::Of(number) => number.to_string(),
    }
}

fn number_or_minus_1(amount: Amount) -> String {
    match amount {
        Amount::Max => "-1".to_owned(),
        Amount::Of(number) => number.to_string(),
    }
}

/// v1's shares (2 to 262144) as v2's weight (1 to 10000).
///
/// A straight line between the ends would give the default of 1024 shares a weight of 39, when
/// the default weight is 100: a container with shares would lose to a process without. This
/// curve, a parabola on logarithmic scales, meets both ends and the defaults. Other runtimes and
/// engines use the same one, so that a host's containers stay comparable.
pub fn cpu_weight(shares: u64) -> u64 {
    match shares {
        ..=2 => 1,
        262_144.. => 10_000,
        _ => {
            let log = (shares as f64).log2();
            let exponent = (log * log + 125.0 * log) / 612.0 - 7.0 / 34.0;
            (10f64.powf(exponent).ceil() as u64).clamp(1, 10_000)
        }
    }
}

/// v1's weight of block I/O (10 to 1000) as v2's (1 to 10000): a straight line between the ends.
pub fn io_weight(weight: u16) -> u64 {
    1 + u64::from(weight.saturating_sub(10)) * 9999 / 990
}

/// v2 limits swap alone; the configuration gives memory and swap together.
fn swap_alone(limit: Option<Amount>, total: Option<Amount>) -> Option<Amount> {
    match (limit, total?) {
        (_, Amount::Max) => Some(Amount::Max),
        (Some(Amount::Of(limit)), Amount::Of(total)) => {
            Some(Amount::Of(total.saturating_sub(limit)))
        }
        // Unlimited memory leaves only swap to limit.
        (_, Amount::Of(total)) => Some(Amount::Of(total)),
    }
}

#[cfg(test)]
#[path = "knobs_tests.rs"]
mod tests;
