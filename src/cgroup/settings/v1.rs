//! The control files of cgroup v1.

use super::super::limit::{Amount, Limit, Throttle};
use super::super::setting::{Content, Setting};
use super::common::{cpu_idle, huge_pages, line, rdma};
use crate::{Error, Result};

pub fn settings(limit: &Limit) -> Result<Vec<Setting>> {
    let field = limit.field();
    let one = |controller, file, content| vec![Setting::new(controller, field, file, content)];
    let number = |controller, file, number: u64| one(controller, file, Content::Number(number));
    Ok(match limit {
        Limit::CpuShares(shares) => vec![cpu_shares(field, *shares)?],
        Limit::CpuBandwidth { quota, period, burst } => cpu_bandwidth(*quota, *period, *burst),
        Limit::CpuRealtime { runtime, period } => {
            let set =
                |field, file, content: Content| Setting::new("cpu", field, file, content).coupled();
            let period = period.map(|period| {
                let field = "linux.resources.cpu.realtimePeriod";
                set(field, "cpu.rt_period_us", period.into())
            });
            let runtime =
                runtime.map(|runtime| set(field, "cpu.rt_runtime_us", runtime.to_string().into()));
            period.into_iter().chain(runtime).collect()
        }
        Limit::CpuIdle(idle) => vec![cpu_idle(field, *idle)],
        Limit::Cpus(list) => one("cpuset", "cpuset.cpus", Content::List(list.clone())),
        Limit::Mems(list) => one("cpuset", "cpuset.mems", Content::List(list.clone())),
        Limit::Memory { limit, total, check } => memory(*limit, *total, *check),
        Limit::MemoryReservation(amount) => {
            one("memory", "memory.soft_limit_in_bytes", Content::v1(*amount))
        }
        Limit::TcpMemory(bytes) => number("memory", "memory.kmem.tcp.limit_in_bytes", *bytes),
        Limit::KernelMemory => Vec::new(),
        Limit::Swappiness(value) => number("memory", "memory.swappiness", *value),
        Limit::OomKillerOff => number("memory", "memory.oom_control", 1),
        Limit::MemoryHierarchy => number("memory", "memory.use_hierarchy", 1),
        Limit::Pids(amount) => one("pids", "pids.max", Content::v2(*amount)),
        Limit::IoWeight(weight) => {
            let weight = u64::from(*weight);
            let setting = Setting::new("blkio", field, "blkio.weight", weight);
            vec![setting.or("blkio.bfq.weight", weight)]
        }
        Limit::IoLeafWeight(weight) => number("blkio", "blkio.leaf_weight", u64::from(*weight)),
        Limit::IoDeviceWeight { device, weight, leaf_weight } => {
            let weight = weight.map(|weight| {
                let setting =
                    Setting::new("blkio", field, "blkio.weight_device", line(device, weight));
                setting.or("blkio.bfq.weight_device", line(device, weight))
            });
            let leaf_weight = leaf_weight.map(|weight| {
                Setting::new("blkio", field, "blkio.leaf_weight_device", line(device, weight))
            });
            weight.into_iter().chain(leaf_weight).collect()
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
            one("blkio", file, line(device, rate))
        }
        Limit::HugePages { size, bytes } => huge_pages(field, size, *bytes, "limit_in_bytes"),
        Limit::NetClass(class) => number("net_cls", "net_cls.classid", u64::from(*class)),
        Limit::NetPriority { interface, priority } => {
            one("net_prio", "net_prio.ifpriomap", format!("{interface} {priority}").into())
        }
        Limit::Rdma { device, handles, objects } => vec![rdma(field, device, *handles, *objects)],
        Limit::Unified { file, .. } => {
            let why = "only hosts with cgroup v2 alone have this hierarchy";
            return Err(Error::invalid(field, file, why));
        }
    })
}

/// Returns the setting of the CPU shares. The kernel would silently clamp a value out of range.
fn cpu_shares(field: &'static str, shares: u64) -> Result<Setting> {
    match shares {
        ..2 => Err(Error::invalid(field, shares, "the minimum allowed cpu-shares is 2")),
        // An idle cgroup refuses shares: the order matters when both change.
        2..=262_144 => Ok(Setting::new("cpu", field, "cpu.shares", shares).coupled()),
        _ => Err(Error::invalid(field, shares, "the maximum allowed cpu-shares is 262144")),
    }
}

fn cpu_bandwidth(quota: Option<Amount>, period: Option<u64>, burst: Option<u64>) -> Vec<Setting> {
    let set = |name, file, content: Content| Setting::new("cpu", name, file, content).coupled();
    let period =
        period.map(|period| set("linux.resources.cpu.period", "cpu.cfs_period_us", period.into()));
    let quota =
        quota.map(|quota| set("linux.resources.cpu.quota", "cpu.cfs_quota_us", Content::v1(quota)));
    let burst = burst.map(|burst| {
        let setting = set("linux.resources.cpu.burst", "cpu.cfs_burst_us", burst.into());
        setting.optional_if(burst == 0)
    });
    period.into_iter().chain(quota).chain(burst).collect()
}

fn memory(limit: Option<Amount>, total: Option<Amount>, check: bool) -> Vec<Setting> {
    let set =
        |field, file, amount| Setting::new("memory", field, file, Content::v1(amount)).coupled();
    let limit = limit.map(|limit| {
        // The kernel itself refuses only what it cannot swap out (EBUSY).
        let floor = check.then_some("memory.usage_in_bytes");
        set("linux.resources.memory.limit", "memory.limit_in_bytes", limit).with_floor(floor)
    });
    let total = total.map(|total| {
        let setting = set("linux.resources.memory.swap", "memory.memsw.limit_in_bytes", total);
        setting.optional_if(total == Amount::Max)
    });
    limit.into_iter().chain(total).collect()
}
