//! The control files of cgroup v2.

use super::super::limit::{Amount, Limit, Throttle};
use super::super::setting::{Content, Setting};
use super::common::{cpu_idle, huge_pages, line, rdma};
use super::weight::{cpu_weight, io_weight};
use crate::{Error, Result};

/// The kernel's default period of CPU bandwidth, in microseconds.
const PERIOD: u64 = 100_000;

pub fn settings(limit: &Limit) -> Result<Vec<Setting>> {
    let field = limit.field();
    let one = |controller, file, content| vec![Setting::new(controller, field, file, content)];
    let no_equivalent = || Err(Error::invalid_field(field, "cgroup v2 has no equivalent"));
    Ok(match limit {
        Limit::CpuShares(shares) => {
            // An idle cgroup has no weight: the order matters when both change.
            vec![Setting::new("cpu", field, "cpu.weight", cpu_weight(*shares)).coupled()]
        }
        Limit::CpuBandwidth { quota, period, burst } => {
            cpu_bandwidth(field, *quota, *period, *burst)
        }
        Limit::CpuIdle(idle) => vec![cpu_idle(field, *idle)],
        Limit::Cpus(list) => one("cpuset", "cpuset.cpus", Content::List(list.clone())),
        Limit::Mems(list) => one("cpuset", "cpuset.mems", Content::List(list.clone())),
        Limit::Memory { limit, total, check } => memory(field, *limit, *total, *check),
        Limit::MemoryReservation(amount) => one("memory", "memory.low", Content::v2(*amount)),
        Limit::KernelMemory | Limit::MemoryHierarchy => Vec::new(),
        Limit::Pids(amount) => one("pids", "pids.max", Content::v2(*amount)),
        Limit::IoWeight(weight) => {
            let setting = Setting::new("io", field, "io.bfq.weight", u64::from(*weight));
            vec![setting.or("io.weight", io_weight(*weight))]
        }
        Limit::IoDeviceWeight { leaf_weight: Some(_), .. } => return no_equivalent(),
        Limit::IoDeviceWeight { weight: None, .. } => Vec::new(),
        Limit::IoDeviceWeight { device, weight: Some(weight), .. } => {
            let setting = Setting::new("io", field, "io.bfq.weight", line(device, weight));
            vec![setting.or("io.weight", line(device, io_weight(*weight)))]
        }
        Limit::IoThrottle { device, kind, rate } => {
            let key = match kind {
                Throttle::ReadBytes => "rbps",
                Throttle::WriteBytes => "wbps",
                Throttle::ReadOperations => "riops",
                Throttle::WriteOperations => "wiops",
            };
            one("io", "io.max", line(device, format_args!("{key}={}", Content::v2(*rate))))
        }
        Limit::HugePages { size, bytes } => huge_pages(field, size, *bytes, "max"),
        Limit::Rdma { device, handles, objects } => vec![rdma(field, device, *handles, *objects)],
        Limit::Unified { file, value } => unified(field, file, value),
        Limit::CpuRealtime { .. }
        | Limit::TcpMemory(_)
        | Limit::Swappiness(_)
        | Limit::OomKillerOff
        | Limit::IoLeafWeight(_)
        | Limit::NetClass(_)
        | Limit::NetPriority { .. } => return no_equivalent(),
    })
}

fn cpu_bandwidth(
    field: &'static str,
    quota: Option<Amount>,
    period: Option<u64>,
    burst: Option<u64>,
) -> Vec<Setting> {
    let max = (quota.is_some() || period.is_some()).then(|| {
        let (quota, period) = (quota.unwrap_or(Amount::Max), Some(period.unwrap_or(PERIOD)));
        Setting::new("cpu", field, "cpu.max", Content::Bandwidth { quota, period }).coupled()
    });
    let burst = burst.map(|burst| {
        let field = "linux.resources.cpu.burst";
        Setting::new("cpu", field, "cpu.max.burst", burst).coupled().optional_if(burst == 0)
    });
    max.into_iter().chain(burst).collect()
}

fn memory(
    field: &'static str,
    limit: Option<Amount>,
    total: Option<Amount>,
    check: bool,
) -> Vec<Setting> {
    let swap = swap_alone(limit, total).map(|swap| {
        let field = "linux.resources.memory.swap";
        let setting = Setting::new("memory", field, "memory.swap.max", Content::v2(swap));
        // A kernel without swap has no such file, and provides "no swap" without it.
        setting.optional_if(matches!(swap, Amount::Max | Amount::Of(0)))
    });
    let limit = limit.map(|limit| {
        let setting = Setting::new("memory", field, "memory.max", Content::v2(limit));
        setting.with_floor(check.then_some("memory.current"))
    });
    swap.into_iter().chain(limit).collect()
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
    let controller = controller_of(file);
    let setting =
        |line| Setting::new(controller, field, file, Content::parse(file, line)).coupled();
    lines.into_iter().map(setting).collect()
}

/// Returns the controller that has a control file; `cgroup` for those that every cgroup has.
pub fn controller_of(file: &str) -> &str {
    file.split_once('.').map_or(file, |(controller, _)| controller)
}
