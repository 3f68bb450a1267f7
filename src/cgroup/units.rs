//! Settings as properties of a systemd unit.
//!
//! A setting becomes a property if systemd would write its file. The file is written in any case:
//! not every setting has a property, and not every version of systemd has every property.
//!
//! systemd.resource-control(5), org.freedesktop.systemd1(5).

use crate::list::List;
use crate::systemd::{Property, Value};
use crate::{Error, Kind, Result};

use super::device_list::DeviceList;
use super::device_rules::{Access, DeviceKind, Devices, Ruleset};
use super::layout::Mode;
use super::limit::Amount;
use super::setting::{Content, ControlFile, Setting, Version};

/// No limit, in the notation of systemd.
const INFINITY: u64 = u64::MAX;

/// systemd keeps quotas in whole percents of a CPU: this number of microseconds in each second.
const PERCENT: u64 = 10_000;

/// The kernel's default period of CPU bandwidth, in microseconds.
const PERIOD: u64 = 100_000;

/// More CPUs or memory nodes than any kernel supports.
const MAX_BITS: u32 = 1 << 16;

/// Returns the version whose controllers systemd uses.
pub fn version(mode: Mode) -> Version {
    if mode == Mode::Unified { Version::V2 } else { Version::V1 }
}

/// Returns the properties that enable accounting in all controllers: engines read the figures.
pub fn accounting(version: Version) -> Vec<Property> {
    let io = match version {
        Version::V1 => "BlockIOAccounting",
        Version::V2 => "IOAccounting",
    };
    ["CPUAccounting", "MemoryAccounting", io, "TasksAccounting"]
        .map(|name| Property::new(name, Value::Bool(true)))
        .into()
}

/// Returns the properties for `settings`, in their order. Content that systemd cannot express is
/// left to the control file, so that the kernel checks it.
pub fn properties<'a>(
    version: Version,
    settings: impl IntoIterator<Item = &'a Setting>,
) -> Vec<Property> {
    let mut out = Vec::new();
    let (mut quota, mut period) = (None, None);
    for file in settings.into_iter().flat_map(|setting| &setting.files) {
        match (version, file.name.as_str(), &file.content) {
            // v1 has two files for one property.
            (Version::V1, "cpu.cfs_quota_us", content) => quota = amount(content),
            (Version::V1, "cpu.cfs_period_us", Content::Number(number)) => period = Some(*number),
            (Version::V2, "cpu.max", Content::Bandwidth { quota, period }) => {
                let quota = match quota {
                    Amount::Max => INFINITY,
                    Amount::Of(quota) => *quota,
                };
                out.extend(bandwidth(quota, *period));
            }
            _ => out.extend(property(version, file)),
        }
    }
    if quota.is_some() || period.is_some() {
        out.extend(bandwidth(quota.unwrap_or(INFINITY), period));
    }
    if out.iter().any(is_idle) {
        // An idle cgroup has no weight but that of `cpu.idle`.
        out.retain(|property| property.name != "CPUWeight" || is_idle(property));
    }
    out
}

fn is_idle(property: &Property) -> bool {
    property.name == "CPUWeight" && property.value == Value::U64(0)
}

/// Returns the property of a control file.
fn property(version: Version, file: &ControlFile) -> Option<Property> {
    use Version::{V1, V2};
    let number = |since, name| {
        let number = amount(&file.content)?;
        Some(Property::since(since, name, Value::U64(number)))
    };
    match (version, file.name.as_str(), &file.content) {
        (V1, "memory.limit_in_bytes", _) => number(0, "MemoryLimit"),
        (V1, "cpu.shares", _) => number(0, "CPUShares"),
        (V1, "blkio.weight", _) => number(0, "BlockIOWeight"),
        // systemd refuses a limit of 0, which the first process exceeds anyway.
        (_, "pids.max", content) => {
            Some(Property::new("TasksMax", Value::U64(amount(content)?.max(1))))
        }
        (V2, "memory.max", _) => number(0, "MemoryMax"),
        (V2, "memory.high", _) => number(0, "MemoryHigh"),
        (V2, "memory.low", _) => number(0, "MemoryLow"),
        (V2, "memory.min", _) => number(0, "MemoryMin"),
        (V2, "memory.swap.max", _) => number(0, "MemorySwapMax"),
        (V2, "memory.zswap.max", _) => number(253, "MemoryZSwapMax"),
        (V2, "cpu.weight", _) => number(0, "CPUWeight"),
        (V2, "io.weight", _) => number(0, "IOWeight"),
        // systemd writes 0 to cpu.idle with every weight.
        (V2, "cpu.idle", Content::Number(1)) => {
            Some(Property::since(252, "CPUWeight", Value::U64(0)))
        }
        (V2, "cpuset.cpus", Content::List(list)) => bits("AllowedCPUs", list),
        (V2, "cpuset.mems", Content::List(list)) => bits("AllowedMemoryNodes", list),
        (V2, "memory.oom.group", Content::Number(0)) => {
            Some(Property::since(253, "OOMPolicy", Value::str("continue")))
        }
        (V2, "memory.oom.group", Content::Number(1)) => Some(Property {
            reset_file: Some("memory.oom.group"),
            ..Property::since(253, "OOMPolicy", Value::str("kill"))
        }),
        _ => None,
    }
}

fn amount(content: &Content) -> Option<u64> {
    match content {
        Content::Number(number) => Some(*number),
        Content::Unlimited(_) => Some(INFINITY),
        _ => None,
    }
}

/// Returns the property of a quota, rounded up, because systemd rounds down when it reads its own
/// files again; the control file gets the exact quota.
fn bandwidth(quota: u64, period: Option<u64>) -> Vec<Property> {
    if period == Some(0) {
        return Vec::new();
    }
    let quota = match quota {
        INFINITY => INFINITY,
        quota => {
            let micros = u128::from(quota) * 1_000_000 / u128::from(period.unwrap_or(PERIOD));
            let micros = u64::try_from(micros).ok();
            match micros.and_then(|micros| micros.checked_next_multiple_of(PERCENT)) {
                Some(micros) => micros.max(PERCENT),
                None => return Vec::new(),
            }
        }
    };
    let period =
        period.map(|period| Property::since(242, "CPUQuotaPeriodUSec", Value::U64(period)));
    let quota = Property::new("CPUQuotaPerSecUSec", Value::U64(quota));
    period.into_iter().chain([quota]).collect()
}

/// Returns a list of CPUs or memory nodes as the bit mask that systemd takes.
fn bits(name: &str, list: &List) -> Option<Property> {
    Some(Property::since(244, name, Value::bytes(list.mask(MAX_BITS)?)))
}

/// Returns the device rules as properties. If systemd, which only has a list of allowed devices,
/// cannot express them, the properties limit no devices, and only the runtime's rules apply.
pub fn devices(rules: &Ruleset) -> Vec<Property> {
    let Some(list) = DeviceList::new(rules).ok().and_then(|list| allowed(&list)) else {
        return Vec::new();
    };
    vec![
        Property::new("DevicePolicy", Value::str("strict")),
        Property::new("DeviceAllow", Value::Array("(ss)".to_owned(), list)),
    ]
}

/// Refuses rules of cgroup v1 that systemd cannot express: it overwrites the rules of the cgroup
/// whenever it updates the unit.
pub fn must_keep(list: &DeviceList) -> Result<()> {
    if list.allow && list.exceptions.is_empty() || allowed(list).is_some() {
        return Ok(());
    }
    let why = "systemd cannot express an exception from an allowing rule, and would not enforce it \
               on cgroup v1; list only what is allowed, or omit --systemd-cgroup";
    Err(Error::new(Kind::Invalid, why))
}

fn allowed(list: &DeviceList) -> Option<Vec<Value>> {
    if list.allow {
        return None;
    }
    let entry = |(devices, access): &(Devices, Access)| {
        let kind = match devices.kind? {
            DeviceKind::Char => "char",
            DeviceKind::Block => "block",
        };
        let path = match (devices.major, devices.minor) {
            (None, None) => format!("{kind}-*"),
            (None, Some(_)) => return None,
            (Some(major), None) => format!("{kind}-{major}"),
            (Some(major), Some(minor)) => format!("/dev/{kind}/{major}:{minor}"),
        };
        Some(Value::Struct(vec![Value::Str(path), Value::str(access.to_string())]))
    };
    list.exceptions.iter().map(entry).collect()
}

#[cfg(test)]
#[path = "units_tests.rs"]
mod tests;
