//! `events`: prints the resource usage of a container, and its out-of-memory events, as a JSON
//! object per line.

use std::time::Duration;

use serde::Serialize;

use super::args::{EventsArgs, Global};
use super::environment;
use super::output::print_json;
use crate::cgroup::Stats;
use crate::container::{self, Events, events};
use crate::{Error, Result};

/// The maximum interval: longer than needed, and short enough to be added to a point in time.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

#[derive(Serialize)]
struct Event<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a Stats>,
}

/// Prints events until the container has stopped, or a single report.
pub fn run(global: &Global, args: &EventsArgs) -> Result<()> {
    let interval = interval(&args.interval)?;
    let container = environment::load(global, &args.id)?;
    let print = |kind, data: Option<&Stats>| print_json(&Event { kind, id: &args.id, data });
    if args.stats {
        return print("stats", Some(&events::stats(&container)?));
    }
    for event in Events::open(&container, interval)? {
        match event? {
            container::Event::OutOfMemory => print("oom", None)?,
            container::Event::Stats(stats) => print("stats", Some(&stats))?,
        }
    }
    Ok(())
}

fn interval(text: &str) -> Result<Duration> {
    let refuse = |why: &str| Err(Error::invalid("--interval", text, why));
    match duration(text) {
        None => refuse("must be numbers with units, such as 100ms, 5s or 1m30s"),
        Some(nanoseconds) if nanoseconds < 1.0 => refuse("must be greater than 0"),
        Some(nanoseconds) => {
            let interval = Duration::try_from_secs_f64(nanoseconds / 1e9).unwrap_or(LONGEST);
            Ok(interval.min(LONGEST))
        }
    }
}

/// Parses a duration into nanoseconds, in the format of Go's `time.ParseDuration`: `1h15m30.5s`,
/// `-2ms`, `0`.
fn duration(text: &str) -> Option<f64> {
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(0.0);
    }
    let mut sum = None;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at(end);
        let number: f64 = number.parse().ok()?;
        let end = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        let unit = match unit {
            "ns" => 1.0,
            // The micro sign, and the Greek letter mu.
            "us" | "\u{b5}s" | "\u{3bc}s" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 60e9,
            "h" => 3600e9,
            _ => return None,
        };
        sum = Some(sum.unwrap_or(0.0) + number * unit);
        rest = after;
    }
    sum.map(|sum| sum * sign)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals() {
        for (text, milliseconds) in [
            ("100ms", 100),
            ("5s", 5000),
            ("1m", 60_000),
            ("1m30s", 90_000),
            ("1.5s", 1500),
            ("+2s", 2000),
            ("1h", 3_600_000),
            (".5s", 500),
            ("3000us", 3),
            ("3000\u{b5}s", 3),
        ] {
            assert_eq!(interval(text).unwrap(), Duration::from_millis(milliseconds), "{text}");
        }
        assert_eq!(interval("1ns").unwrap(), Duration::from_nanos(1));
        assert_eq!(interval("99999999999999h").unwrap(), LONGEST);
    }

    #[test]
    fn bad_intervals_are_named() {
        for text in ["0", "0s", "-1s", "-0.5h", "0.1ns"] {
            let error = interval(text).unwrap_err().to_string();
            assert_eq!(error, format!("--interval: {text:?}: must be greater than 0"));
        }
        for text in ["", "5", "s", "5x", "1..2s", ".s", "-", "--1s", "1s 2s", "NaNs", "infs"] {
            let error = interval(text).unwrap_err().to_string();
            assert!(error.contains("such as 100ms"), "{text}: {error}");
        }
    }

    #[test]
    fn an_event_has_the_keys_that_programs_read() {
        let json = |event: &Event<'_>| serde_json::to_string(event).unwrap();
        let oom = Event { kind: "oom", id: "c1", data: None };
        assert_eq!(json(&oom), r#"{"type":"oom","id":"c1"}"#);
        let stats = Event { kind: "stats", id: "c1", data: Some(&Stats::default()) };
        assert_eq!(
            json(&stats),
            "{\"type\":\"stats\",\"id\":\"c1\",\"data\":{\"cpu\":{},\"cpuset\":\
             {\"cpu_exclusive\":0,\"mem_hardwall\":0,\"mem_exclusive\":0,\"memory_migrate\":0,\
             \"memory_spread_page\":0,\"memory_spread_slab\":0,\"memory_pressure\":0,\
             \"sched_load_balance\":0,\"sched_relax_domain_level\":0},\"memory\":{},\"pids\":{},\
             \"blkio\":{},\"hugetlb\":{},\"intel_rdt\":{},\"network_interfaces\":null}}"
        );
    }
}
