//! What a limit is called as a property of a systemd unit. Pure.
//!
//! [`knobs`](super::knobs) decided what is written to which file; a property that makes systemd
//! write that file stands here, so that both say the same. The files are written all the same: not
//! every limit has a property, and not every systemd has every property.
//!
//! systemd.resource-control(5), org.freedesktop.systemd1(5).

use crate::list::List;
use crate::systemd::{Property, Value};
use crate::{Error, Kind, Result};

use super::devices::Ruleset;
use super::knobs::{Knob, Version, Write};
use super::layout::Mode;

/// "infinity", in systemd's own numbers.
const INFINITY: u64 = u64::MAX;

/// systemd keeps quotas in whole percents of a CPU: this many microseconds in each second.
const PERCENT: u64 = 10_000;

/// The kernel's default period of CPU bandwidth, in microseconds.
const PERIOD: u64 = 100_000;

/// More CPUs or memory nodes than any kernel can have.
const MOST_BITS: u32 = 1 << 16;

/// The version whose controllers systemd uses.
pub fn version(mode: Mode) -> Version {
    if mode == Mode::Unified { Version::V2 } else { Version::V1 }
}

/// Accounting for all controllers, limits or not: engines read the figures.
pub fn accounting(version: Version) -> Vec<Property> {
    let io = match version {
        Version::V1 => "BlockIOAccounting",
        Version::V2 => "IOAccounting",
    };
    ["CPUAccounting", "MemoryAccounting", io, "TasksAccounting"]
        .map(|name| Property::new(name, Value::Bool(true)))
        .into()
}

/// The properties for `writes`, in their order. A value that systemd has no words for is left to
/// the file, and to the kernel's judgement.
pub fn properties<'a>(
    version: Version,
    writes: impl IntoIterator<Item = &'a Write>,
) -> Vec<Property> {
    let mut out = Vec::new();
    let (mut quota, mut period) = (None, None);
    for knob in writes.into_iter().flat_map(|write| &write.knobs) {
        match (version, knob.file.as_str()) {
            // Two files on v1, and one property that needs both.
            (Version::V1, "cpu.cfs_quota_us") => quota = Some(knob.value.as_str()),
            (Version::V1, "cpu.cfs_period_us") => period = Some(knob.value.as_str()),
            (Version::V1, _) => out.extend(v1(knob)),
            (Version::V2, "cpu.max") => {
                let mut words = knob.value.split_ascii_whitespace();
                out.extend(bandwidth(words.next(), words.next()));
            }
            (Version::V2, _) => out.extend(v2(knob)),
        }
    }
    if quota.is_some() || period.is_some() {
        out.extend(bandwidth(quota, period));
    }
    if out.iter().any(is_idle) {
        // What is idle has no other weight.
        out.retain(|property| property.name != "CPUWeight" || is_idle(property));
    }
    out
}

fn is_idle(property: &Property) -> bool {
    property.name == "CPUWeight" && property.value == Value::U64(0)
}

fn v1(knob: &Knob) -> Option<Property> {
    let name = match knob.file.as_str() {
        "memory.limit_in_bytes" => "MemoryLimit",
        "cpu.shares" => "CPUShares",
        "blkio.weight" => "BlockIOWeight",
        "pids.max" => return tasks(knob),
        _ => return None,
    };
    Some(Property::new(name, Value::U64(amount(&knob.value)?)))
}

fn v2(knob: &Knob) -> Option<Property> {
    let value = knob.value.trim();
    let name = match knob.file.as_str() {
        "memory.max" => "MemoryMax",
        "memory.high" => "MemoryHigh",
        "memory.low" => "MemoryLow",
        "memory.min" => "MemoryMin",
        "memory.swap.max" => "MemorySwapMax",
        "memory.zswap.max" => {
            return Some(Property::since(253, "MemoryZSwapMax", Value::U64(amount(value)?)));
        }
        "cpu.weight" => "CPUWeight",
        "io.weight" => "IOWeight",
        "pids.max" => return tasks(knob),
        // systemd writes "not idle" with every weight.
        "cpu.idle" if value == "1" => {
            return Some(Property::since(252, "CPUWeight", Value::U64(0)));
        }
        "cpuset.cpus" => return bits("AllowedCPUs", value),
        "cpuset.mems" => return bits("AllowedMemoryNodes", value),
        "memory.oom.group" => {
            let policy = |text| Property::since(253, "OOMPolicy", Value::str(text));
            return match value {
                "0" => Some(policy("continue")),
                "1" => Some(policy("kill").that_is_set_back("memory.oom.group")),
                _ => None,
            };
        }
        _ => return None,
    };
    Some(Property::new(name, Value::U64(amount(value)?)))
}

/// systemd refuses a limit of 0, which the first process exceeds anyway.
fn tasks(knob: &Knob) -> Option<Property> {
    Some(Property::new("TasksMax", Value::U64(amount(&knob.value)?.max(1))))
}

fn amount(text: &str) -> Option<u64> {
    match text.trim() {
        "max" | "-1" => Some(INFINITY),
        number => number.parse().ok(),
    }
}

/// The quota is rounded up, because systemd would round it down when it reads its own files again;
/// the cgroup's file gets it as it is.
fn bandwidth(quota: Option<&str>, period: Option<&str>) -> Vec<Property> {
    let period = match period.map(str::parse::<u64>) {
        None => None,
        Some(Ok(0) | Err(_)) => return Vec::new(),
        Some(Ok(period)) => Some(period),
    };
    let quota = match quota.map_or(Some(INFINITY), amount) {
        None => return Vec::new(),
        Some(INFINITY) => INFINITY,
        Some(quota) => {
            let micros = u128::from(quota) * 1_000_000 / u128::from(period.unwrap_or(PERIOD));
            let Ok(micros) = u64::try_from(micros) else { return Vec::new() };
            match micros.checked_next_multiple_of(PERCENT) {
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
fn bits(name: &str, list: &str) -> Option<Property> {
    let bytes = List::parse(list)?.mask(MOST_BITS)?;
    (!bytes.is_empty()).then(|| Property::since(244, name, Value::bytes(bytes)))
}

/// The device rules, as far as systemd has words for them: a list of what is allowed. Nothing if
/// it has not, and then it leaves devices alone, and our own rules are the only ones.
pub fn devices(rules: &Ruleset) -> Vec<Property> {
    let Some(list) = rules.v1().ok().and_then(|writes| allowed(&writes)) else {
        return Vec::new();
    };
    vec![
        Property::new("DevicePolicy", Value::str("strict")),
        Property::new("DeviceAllow", Value::Array("(ss)".to_owned(), list)),
    ]
}

/// Refuses rules of cgroup v1 that systemd cannot be told of: it writes its own over those that are
/// there whenever it looks at the unit, so that others would not last.
pub fn must_keep(writes: &[(&'static str, String)]) -> Result<()> {
    if can_keep(writes) {
        return Ok(());
    }
    let why = "systemd has no words for an exception from what is allowed, and would let it go on \
               cgroup v1; name what is allowed, or leave out --systemd-cgroup";
    Err(Error::new(Kind::Invalid, why))
}

fn can_keep(writes: &[(&'static str, String)]) -> bool {
    matches!(writes, [("devices.allow", _)]) || allowed(writes).is_some()
}

fn allowed(writes: &[(&'static str, String)]) -> Option<Vec<Value>> {
    let (first, rest) = writes.split_first()?;
    if first.0 != "devices.deny" {
        return None;
    }
    rest.iter()
        .map(|(_, line)| {
            // As in "c 1:3 rwm".
            let mut words = line.split(' ');
            let kind = match words.next()? {
                "c" => "char",
                "b" => "block",
                _ => return None,
            };
            let path = match words.next()?.split_once(':')? {
                ("*", "*") => format!("{kind}-*"),
                ("*", _) => return None,
                (major, "*") => format!("{kind}-{major}"),
                (major, minor) => format!("/dev/{kind}/{major}:{minor}"),
            };
            Some(Value::Struct(vec![Value::Str(path), Value::str(words.next()?)]))
        })
        .collect()
}

#[cfg(test)]
#[path = "units_tests.rs"]
mod tests;
