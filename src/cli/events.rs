//! `events`: what a container uses, and when it runs out of memory, one JSON object a line.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, poll};
use serde::Serialize;

use super::{EventsArgs, Global, print};
use crate::cgroup::{Record, Stats};
use crate::state::{Id, Status, Store};
use crate::sys::pidfd;
use crate::{Context, Error, Kind, Result, log};

/// Longer than anyone waits, and short enough to be added to a point in time.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

#[derive(Serialize)]
struct Event<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Stats>,
}

/// Prints events until the container has stopped, or one report.
pub fn run(global: &Global, args: &EventsArgs) -> Result<i32> {
    let id = Id::new(args.id.as_str())?;
    let interval = interval(&args.interval)?;
    let container = Store::open(global.root.as_deref())?.load(&id)?;
    let name = || format!("events of container {:?}", id.as_str());
    let init = match container.status()? {
        Status::Created | Status::Running | Status::Paused => container.pidfd()?,
        Status::Creating | Status::Stopped => None,
    };
    let (Some(init), Some(state)) = (init, container.state()) else {
        return Err(Error::new(Kind::State, "container not running")).with_context(name);
    };
    let cgroup = &state.cgroup;
    cgroup.must_exist().with_context(name)?;
    if args.stats {
        return tell("stats", &id, Some(cgroup.stats().with_context(name)?)).map(|()| 0);
    }
    follow(&id, cgroup, init.as_fd(), interval).with_context(name).map(|()| 0)
}

fn follow(
    id: &Id,
    cgroup: &Record,
    init: std::os::fd::BorrowedFd<'_>,
    interval: Duration,
) -> Result<()> {
    let mut oom = cgroup.watch_oom()?;
    if oom.is_none() {
        log::warn("no memory controller counts this container, so there will be no oom events");
    }
    let after = |start: Instant| start.checked_add(interval);
    let mut next = after(Instant::now());
    loop {
        let mut fds = vec![PollFd::new(init, PollFlags::POLLIN)];
        if let Some(oom) = &oom {
            let (fd, flags) = oom.poll();
            fds.push(PollFd::new(fd, flags));
        }
        match poll(&mut fds, pidfd::poll_timeout(next)) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno).context("poll"),
        }
        let ready = |fd: Option<&PollFd<'_>>| fd.and_then(PollFd::any).unwrap_or(false);
        let ended = ready(fds.first());
        let maybe_oom = ended || ready(fds.get(1));
        drop(fds);
        // First, because it may be what the container died of.
        if let Some(oom) = oom.as_mut().filter(|_| maybe_oom)
            && oom.happened()?
        {
            tell("oom", id, None)?;
        }
        if ended {
            return Ok(());
        }
        if next.is_some_and(|next| Instant::now() >= next) {
            match cgroup.stats() {
                Ok(stats) => tell("stats", id, Some(stats))?,
                // Stopped and deleted at this moment.
                Err(_) if pidfd::wait_exit(init, Duration::ZERO)? => return Ok(()),
                Err(error) => log::warn(error),
            }
            // What cannot be printed in time is left out, not caught up with.
            next = next.and_then(after).map(|next| next.max(Instant::now()));
        }
    }
}

fn tell(kind: &'static str, id: &Id, data: Option<Stats>) -> Result<()> {
    let event = Event { kind, id: id.as_str(), data };
    let line =
        serde_json::to_string(&event).map_err(|e| Error::new(Kind::System, e.to_string()))?;
    print((line + "\n").as_bytes())
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

/// Nanoseconds, from the form that Go's `time.ParseDuration` reads: `1h15m30.5s`, `-2ms`, `0`.
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
            // The sign for micro, and the Greek letter.
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
        let stats = Event { kind: "stats", id: "c1", data: Some(Stats::default()) };
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
