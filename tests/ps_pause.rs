//! `ps`, `pause` and `resume`: what they say against what the kernel says.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::*;

fn asleep() -> Container {
    Container::with_script("sleep 600 & exec sleep 600")
}

/// The container's directory in the hierarchy that freezes, and the file that tells.
fn freezer(c: &Container) -> (PathBuf, &'static str) {
    let (name, file) = match controller("freezer") {
        Some((Version::V1, _)) => ("freezer", "freezer.state"),
        _ => ("", "cgroup.events"),
    };
    for line in c.process().read("cgroup").lines() {
        let fields: Vec<_> = line.splitn(3, ':').collect();
        if fields[1] != name {
            continue;
        }
        for (point, names) in cgroup_mounts() {
            if names.iter().any(|one| one == name) || (name.is_empty() && names.is_empty()) {
                return (point.join(fields[2].trim_start_matches('/')).join(file), file);
            }
        }
    }
    panic!("no hierarchy freezes");
}

fn frozen(c: &Container) -> bool {
    let (path, file) = freezer(c);
    let text = fs::read_to_string(path).unwrap();
    match file {
        "freezer.state" => text.trim() == "FROZEN",
        _ => text.lines().any(|line| line == "frozen 1"),
    }
}

fn ps_json(c: &Container) -> Vec<i64> {
    let ran = c.rt.call(&["ps", "--format", "json", &c.id]).ok();
    assert_eq!(ran.stderr, "");
    serde_json::from_str(&ran.stdout).unwrap()
}

fn both_processes(c: &Container) -> Vec<i64> {
    wait_for("two processes", || Some(ps_json(c)).filter(|pids| pids.len() == 2))
}

#[test]
fn ps_as_json_lists_the_processes() {
    let c = asleep();
    c.run_detached();
    let pids = both_processes(&c);
    assert!(pids.contains(&i64::from(c.process().pid)));
    for pid in &pids {
        let process = Proc::new((*pid).try_into().unwrap());
        assert!(process.read("cgroup").contains(&c.id), "{pid}");
    }
    let short: Vec<i64> =
        serde_json::from_str(&c.rt.call(&["ps", "-f", "json", &c.id]).ok().stdout).unwrap();
    assert_eq!(short, pids);
}

#[test]
fn ps_as_json_sees_sub_cgroups() {
    let c = asleep();
    c.run_detached();
    let pids = both_processes(&c);
    let init = i64::from(c.process().pid);
    let other = pids.iter().find(|pid| **pid != init).unwrap();
    // In every hierarchy, so that no directory of the container's own has it any more.
    for line in c.process().read("cgroup").lines() {
        let fields: Vec<_> = line.splitn(3, ':').collect();
        for (point, names) in cgroup_mounts() {
            let mine = match fields[1] {
                "" => names.is_empty(),
                list => list.split(',').any(|name| names.iter().any(|one| one == name)),
            };
            let own = point.join(fields[2].trim_start_matches('/'));
            if !mine
                || !own.ends_with(c.cgroup(Path::new("")))
                || names.iter().any(|name| name == "cpuset")
            {
                continue;
            }
            fs::create_dir_all(own.join("sub/er")).unwrap();
            fs::write(own.join("sub/er/cgroup.procs"), other.to_string()).unwrap();
        }
    }
    assert_eq!(ps_json(&c), pids);
}

#[test]
fn ps_as_a_table_has_the_header_and_our_lines() {
    let c = asleep();
    c.run_detached();
    let pids = both_processes(&c);
    let id = c.id.as_str();
    for (words, first) in [
        (&["ps", id][..], "UID"),
        (&["ps", "--format", "table", id], "UID"),
        (&["ps", id, "--", "-e", "-o", "pid,comm"], "PID"),
        (&["ps", id, "-e", "-o", "pid,comm"], "PID"),
        (&["ps", id, "-aux"], "USER"),
        (&["ps", id, "-ef"], "UID"),
        (&["ps", id, "-f", "-e"], "UID"),
        (&["ps", id, "aux"], "USER"),
    ] {
        let ran = c.rt.call(words).ok();
        let lines: Vec<&str> = ran.stdout.lines().collect();
        assert!(lines[0].trim_start().starts_with(first), "{words:?}: {lines:#?}");
        let column = lines[0].split_whitespace().position(|title| title == "PID").unwrap();
        let mut found: Vec<i64> = lines[1..]
            .iter()
            .map(|line| line.split_whitespace().nth(column).unwrap().parse().unwrap())
            .collect();
        found.sort_unstable();
        assert_eq!(found, pids, "{words:?}");
    }
}

#[test]
fn ps_says_what_is_wrong() {
    let c = asleep();
    c.rt.call(&["ps", &c.id]).refused(&["container does not exist"]);
    c.run_detached();
    c.rt.call(&["ps", &c.id, "-o", "comm"]).refused(&["PID"]);
    c.rt.call(&["ps", &c.id, "--no-such-option"]).refused(&["run ps", "--no-such-option"]);
    let wrong = c.rt.call(&["ps", "--format", "xml", &c.id]);
    assert_eq!(wrong.code(), Some(1));
    assert!(wrong.stderr.contains("xml"), "{wrong:#?}");
    c.kill("KILL").ok();
    c.wait_status("stopped");
    // As under runc.
    assert_eq!(c.rt.call(&["ps", &c.id]).ok().stdout.lines().count(), 1);
    assert_eq!(c.rt.call(&["ps", "-f", "json", &c.id]).ok().stdout, "[]\n");
}

#[test]
fn a_paused_container_stands_still_until_it_is_resumed() {
    let c = Container::with_script("while :; do echo tick; sleep 0.01; done");
    let ran = c.run_detached();
    ran.wait_for("tick");
    c.rt.call(&["pause", &c.id]).ok();
    assert!(frozen(&c));
    assert_eq!(c.status(), "paused");
    let before = ran.later();
    std::thread::sleep(std::time::Duration::from_millis(100));
    assert_eq!(ran.later(), before);
    assert!(!ps_json(&c).is_empty());
    c.rt.call(&["resume", &c.id]).ok();
    assert!(!frozen(&c));
    assert_eq!(c.status(), "running");
    wait_until("it ticks again", || ran.later().len() > before.len());
}

#[test]
fn a_created_container_can_be_paused() {
    let c = asleep();
    c.create().ok();
    c.rt.call(&["pause", &c.id]).ok();
    assert!(frozen(&c));
    assert_eq!(c.status(), "paused");
    c.rt.call(&["resume", &c.id]).ok();
    assert_eq!(c.status(), "created");
    c.start().ok();
    c.wait_status("running");
}

#[test]
fn a_paused_container_can_be_killed() {
    let c = asleep();
    c.run_detached();
    c.rt.call(&["pause", &c.id]).ok();
    c.kill("KILL").ok();
    c.wait_status("stopped");
}

#[test]
fn pause_and_resume_in_the_wrong_state_are_errors() {
    let c = asleep();
    for verb in ["pause", "resume"] {
        c.rt.call(&[verb, &c.id]).refused(&["container does not exist"]);
    }
    c.run_detached();
    c.rt.call(&["resume", &c.id]).refused(&["resume container", "container not paused"]);
    c.rt.call(&["pause", &c.id]).ok();
    c.rt.call(&["pause", &c.id]).refused(&["pause container", "container not running", "paused"]);
    assert!(frozen(&c));
    c.rt.call(&["resume", &c.id]).ok();
    c.kill("KILL").ok();
    c.wait_status("stopped");
    c.rt.call(&["pause", &c.id]).refused(&["container not running"]);
    c.rt.call(&["resume", &c.id]).refused(&["container not paused"]);
}
