//! The settings that apply a limit on each version of cgroups.

use std::fmt::{Display, Write};

use super::limit::{Amount, DeviceNumber, Limit, Throttle};
use super::setting::{Content, Setting, Version, controller_of};
use crate::{Error, Result};

/// The kernel's default period of CPU bandwidth, in microseconds.
const PERIOD: u64 = 100_000;

/// Returns the controller that a limit needs. v1 and v2 differ in the name of the block controller,
/// and v2 has no controllers for network packets.
pub(super) fn controller(limit: &Limit, version: Version) -> Option<&str> {
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
        Limit::Unified { file, .. } if version == Version::V2 => controller_of(file),
        Limit::Unified { .. } => return None,
    })
}

/// Returns the settings for `limit`. An error if this version of cgroups has no such limit.
pub(super) fn settings(limit: &Limit, version: Version) -> Result<Vec<Setting>> {
    let field = limit.field();
    let by_version = |v1, v2| if version == Version::V1 { v1 } else { v2 };
    let one = |file: &str, content: Content| Ok(vec![Setting::new(field, file, content)]);
    let no_equivalent = || Err(Error::invalid_field(field, "cgroup v2 has no equivalent"));
    let v1_only = |file: &str, content: Content| match version {
        Version::V1 => one(file, content),
        Version::V2 => no_equivalent(),
    };
    match limit {
        Limit::CpuShares(shares) => Ok(vec![cpu_shares(field, *shares, version)?]),
        Limit::CpuBandwidth { quota, period, burst } => {
            Ok(cpu_bandwidth(field, *quota, *period, *burst, version))
        }
        Limit::CpuRealtime { .. } if version == Version::V2 => no_equivalent(),
        Limit::CpuRealtime { runtime, period } => {
            let set = |field, file, content: Content| Setting::new(field, file, content).coupled();
            let period = period.map(|period| {
                set("linux.resources.cpu.realtimePeriod", "cpu.rt_period_us", period.into())
            });
            let runtime =
                runtime.map(|runtime| set(field, "cpu.rt_runtime_us", runtime.to_string().into()));
            Ok(period.into_iter().chain(runtime).collect())
        }
        Limit::CpuIdle(idle) => {
            Ok(vec![Setting::new(field, "cpu.idle", u64::from(*idle)).optional_if(!idle)])
        }
        Limit::Cpus(list) => one("cpuset.cpus", Content::List(list.clone())),
        Limit::Mems(list) => one("cpuset.mems", Content::List(list.clone())),
        Limit::Memory { limit, total, check } => Ok(memory(*limit, *total, *check, version)),
        Limit::MemoryReservation(amount) => {
            let file = by_version("memory.soft_limit_in_bytes", "memory.low");
            one(file, Content::amount(version, *amount))
        }
        Limit::KernelMemory => Ok(Vec::new()),
        Limit::TcpMemory(bytes) => v1_only("memory.kmem.tcp.limit_in_bytes", (*bytes).into()),
        Limit::Swappiness(value) => v1_only("memory.swappiness", (*value).into()),
        Limit::OomKillerOff => v1_only("memory.oom_control", 1.into()),
        Limit::MemoryHierarchy if version == Version::V2 => Ok(Vec::new()),
        Limit::MemoryHierarchy => one("memory.use_hierarchy", 1.into()),
        Limit::Pids(amount) => one("pids.max", Content::amount(Version::V2, *amount)),
        Limit::IoWeight(weight) => {
            let bfq = Content::from(u64::from(*weight));
            Ok(vec![match version {
                Version::V1 => {
                    Setting::new(field, "blkio.weight", bfq.clone()).or("blkio.bfq.weight", bfq)
                }
                Version::V2 => {
                    Setting::new(field, "io.bfq.weight", bfq).or("io.weight", io_weight(*weight))
                }
            }])
        }
        Limit::IoLeafWeight(weight) => v1_only("blkio.leaf_weight", u64::from(*weight).into()),
        Limit::IoDeviceWeight { leaf_weight: Some(_), .. } if version == Version::V2 => {
            no_equivalent()
        }
        Limit::IoDeviceWeight { device, weight, leaf_weight } => {
            let weight = weight.map(|weight| match version {
                Version::V1 => Setting::new(field, "blkio.weight_device", line(device, weight))
                    .or("blkio.bfq.weight_device", line(device, weight)),
                Version::V2 => Setting::new(field, "io.bfq.weight", line(device, weight))
                    .or("io.weight", line(device, io_weight(weight))),
            });
            let leaf_weight = leaf_weight.map(|weight| {
                Setting::new(field, "blkio.leaf_weight_device", line(device, weight))
            });
            Ok(weight.into_iter().chain(leaf_weight).collect())
        }
        Limit::IoThrottle { device, kind, rate } => {
            let (file, key) = match kind {
                Throttle::ReadBytes => ("blkio.throttle.read_bps_device", "rbps"),
                Throttle::WriteBytes => ("blkio.throttle.write_bps_device", "wbps"),
                Throttle::ReadOperations => ("blkio.throttle.read_iops_device", "riops"),
                Throttle::WriteOperations => ("blkio.throttle.write_iops_device", "wiops"),
            };
            match (version, rate) {
                (Version::V1, Amount::Max) => one(file, line(device, 0)),
                (Version::V1, Amount::Of(rate)) => one(file, line(device, rate)),
                (Version::V2, rate) => {
                    let rate = Content::amount(version, *rate);
                    one("io.max", line(device, format_args!("{key}={rate}")))
                }
            }
        }
        Limit::HugePages { size, bytes } => {
            let suffix = by_version("limit_in_bytes", "max");
            // The limits on page faults, and on reservations if the kernel has them (Linux 5.7).
            let (used, reserved) =
                (format!("hugetlb.{size}.{suffix}"), format!("hugetlb.{size}.rsvd.{suffix}"));
            let reserved = Setting::new(field, &reserved, *bytes).optional_if(true);
            Ok(vec![Setting::new(field, &used, *bytes), reserved])
        }
        Limit::NetClass(class) => v1_only("net_cls.classid", u64::from(*class).into()),
        Limit::NetPriority { interface, priority } => {
            v1_only("net_prio.ifpriomap", format!("{interface} {priority}").into())
        }
        Limit::Rdma { device, handles, objects } => {
            let mut line = device.clone();
            for (key, value) in [("hca_handle", handles), ("hca_object", objects)] {
                if let Some(value) = value {
                    let _ = write!(line, " {key}={value}");
                }
            }
            one("rdma.max", line.into())
        }
        Limit::Unified { file, .. } if version == Version::V1 => {
            let why = "only hosts with cgroup v2 alone have this hierarchy";
            Err(Error::invalid(field, file, why))
        }
        Limit::Unified { file, value } => Ok(unified(field, file, value)),
    }
}

/// Returns the setting of the CPU shares. The kernel would silently clamp a value of v1 out of
/// range. An idle cgroup refuses it: the order matters when both change.
fn cpu_shares(field: &'static str, shares: u64, version: Version) -> Result<Setting> {
    let setting = match (version, shares) {
        (Version::V2, _) => Setting::new(field, "cpu.weight", cpu_weight(shares)),
        (_, ..2) => {
            return Err(Error::invalid(field, shares, "the minimum allowed cpu-shares is 2"));
        }
        (_, 2..=262_144) => Setting::new(field, "cpu.shares", shares),
        _ => return Err(Error::invalid(field, shares, "the maximum allowed cpu-shares is 262144")),
    };
    Ok(setting.coupled())
}

fn cpu_bandwidth(
    field: &'static str,
    quota: Option<Amount>,
    period: Option<u64>,
    burst: Option<u64>,
    version: Version,
) -> Vec<Setting> {
    let set = |field, file, content: Content| Setting::new(field, file, content).coupled();
    let burst_file = match version {
        Version::V1 => "cpu.cfs_burst_us",
        Version::V2 => "cpu.max.burst",
    };
    let burst = burst.map(|burst| {
        set("linux.resources.cpu.burst", burst_file, burst.into()).optional_if(burst == 0)
    });
    let (first, second) = match version {
        Version::V1 => (
            period.map(|period| {
                set("linux.resources.cpu.period", "cpu.cfs_period_us", period.into())
            }),
            quota.map(|quota| set(field, "cpu.cfs_quota_us", Content::amount(version, quota))),
        ),
        Version::V2 if quota.is_none() && period.is_none() => (None, None),
        Version::V2 => {
            let (quota, period) = (quota.unwrap_or(Amount::Max), Some(period.unwrap_or(PERIOD)));
            (Some(set(field, "cpu.max", Content::Bandwidth { quota, period })), None)
        }
    };
    [first, second, burst].into_iter().flatten().collect()
}

fn memory(
    limit: Option<Amount>,
    total: Option<Amount>,
    check: bool,
    version: Version,
) -> Vec<Setting> {
    let set = |field, file, amount| Setting::new(field, file, Content::amount(version, amount));
    let swap_field = "linux.resources.memory.swap";
    let set_limit = |file, usage, amount| {
        set("linux.resources.memory.limit", file, amount).with_floor(check.then_some(usage))
    };
    let settings = match version {
        Version::V1 => [
            limit.map(|limit| {
                // The kernel itself refuses only what it cannot swap out (EBUSY).
                set_limit("memory.limit_in_bytes", "memory.usage_in_bytes", limit).coupled()
            }),
            total.map(|total| {
                let setting = set(swap_field, "memory.memsw.limit_in_bytes", total).coupled();
                setting.optional_if(total == Amount::Max)
            }),
        ],
        Version::V2 => [
            swap_alone(limit, total).map(|swap| {
                // A kernel without swap has no such file, and provides "no swap" without it.
                let optional = matches!(swap, Amount::Max | Amount::Of(0));
                set(swap_field, "memory.swap.max", swap).optional_if(optional)
            }),
            limit.map(|limit| set_limit("memory.max", "memory.current", limit)),
        ],
    };
    settings.into_iter().flatten().collect()
}

/// Returns the limit on swap alone, which v2 has in the place of a limit on memory plus swap.
fn swap_alone(limit: Option<Amount>, total: Option<Amount>) -> Option<Amount> {
    Some(match (limit, total?) {
        (Some(Amount::Of(limit)), Amount::Of(total)) => Amount::Of(total.saturating_sub(limit)),
        (_, total) => total,
    })
}

/// Returns the settings of a `unified` entry. The kernel reads one line per write; a line feed
/// alone is an empty value.
fn unified(field: &'static str, file: &str, value: &str) -> Vec<Setting> {
    let mut lines: Vec<&str> = value.lines().filter(|line| !line.is_empty()).collect();
    if lines.is_empty() {
        lines.push("\n");
    }
    let setting = |line| Setting::new(field, file, Content::parse(file, line)).coupled();
    lines.into_iter().map(setting).collect()
}

/// Returns the line that sets `value` for one block device.
fn line(device: &DeviceNumber, value: impl Display) -> Content {
    Content::Text(format!("{}:{} {value}", device.major, device.minor))
}

/// Converts v1's shares (2 to 262144) to v2's weight (1 to 10000).
///
/// A linear scale between the ends would give the default of 1024 shares a weight of 39, while the
/// default weight is 100: a container with shares would lose to a process without. This curve, a
/// parabola on logarithmic scales, meets both ends and the defaults. Other runtimes and engines use
/// the same curve, so that the containers of a host stay comparable.
fn cpu_weight(shares: u64) -> u64 {
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

/// Converts v1's weight of block I/O (10 to 1000) to v2's (1 to 10000), on a linear scale.
fn io_weight(weight: u16) -> u64 {
    1 + u64::from(weight.saturating_sub(10)) * 9999 / 990
}

#[cfg(test)]
#[path = "settings_tests.rs"]
mod tests;
