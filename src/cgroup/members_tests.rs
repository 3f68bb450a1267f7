//! The processes of a real cgroup: listed, signalled, frozen, killed, joined by others; and the
//! removal of the empty cgroup.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::test_support::*;
use crate::Kind;
use crate::cgroup::layout::Mode;
use crate::cgroup::{Cgroup, Layout, Record};
use crate::skip::skip;
use rustix::fs::{CWD, Mode as FileMode, OFlags, mkdirat, openat};

#[test]
fn all_processes_are_found_and_signalled() {
    let mut made = Made::new("member", "{}");
    let pid = made.sleeper();
    assert_eq!(made.record().pids().unwrap(), [pid]);
    let membership = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let count = membership.lines().filter(|line| line.ends_with(&name("member"))).count();
    assert_eq!(count, made.record().dirs.len(), "{membership}");
    // An ignored signal, a real-time signal, then a signal that ends the process.
    made.record().signal_all(nix::libc::SIGCONT).unwrap();
    assert_eq!(made.record().pids().unwrap(), [pid]);
    made.record().signal_all(40).unwrap();
    eventually("no processes", || made.record().pids().unwrap().is_empty());
    let status = made.children[0].wait().unwrap();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(40));
}

#[test]
fn clone_descriptor_is_the_v2_directory() {
    let made = Made::new("clone", "{}");
    match (made.cgroup.clone_fd(), made.unified()) {
        (Some(fd), Some(path)) => {
            let stat = rustix::fs::fstat(fd).unwrap();
            assert_eq!(stat.st_ino, fs::metadata(path).unwrap().ino());
            assert_eq!(rustix::fs::fstatfs(fd).unwrap().f_type as u64, 0x6367_7270);
        }
        (None, None) => {}
        (fd, path) => panic!("{fd:?} {path:?}"),
    }
    let v1 = made.record().dirs.iter().any(|dir| !dir.is_unified());
    assert_eq!(made.cgroup.needs_enter(), v1);
}

#[test]
fn freeze_and_thaw() {
    let mut made = Made::new("freeze", "{}");
    let counter = tempfile::NamedTempFile::new().unwrap();
    let path = counter.path().to_owned();
    made.shell(&format!("while :; do echo >>{}; sleep 0.01; done", path.display()));
    let size = || fs::metadata(&path).unwrap().len();
    eventually("it runs", || size() > 0);
    assert!(!made.record().frozen().unwrap());
    for _ in 0..3 {
        made.record().freeze().unwrap();
        assert!(made.record().frozen().unwrap());
        match made.v1("freezer") {
            Some(dir) => assert_eq!(read(dir, "freezer.state"), "FROZEN"),
            None => assert!(read(made.unified().unwrap(), "cgroup.events").contains("frozen 1")),
        }
        let before = size();
        std::thread::sleep(Duration::from_millis(60));
        assert_eq!(size(), before, "it stands still");
        made.record().thaw().unwrap();
        assert!(!made.record().frozen().unwrap());
        eventually("it goes on", || size() > before);
    }
    // A frozen container can be killed, and removed at once.
    made.record().freeze().unwrap();
    made.record().kill_all().unwrap();
    made.record().remove().unwrap();
    assert!(made.record().dirs.iter().all(|dir| !dir.path.exists()));
    made.record().remove().unwrap();
}

#[test]
fn an_empty_cgroup_can_be_frozen() {
    let made = Made::new("empty", "{}");
    made.record().freeze().unwrap();
    assert!(made.record().frozen().unwrap());
    made.record().thaw().unwrap();
}

/// A record without the v2 directory, as on a host without it.
fn without_unified(record: &Record) -> Record {
    let mut json = serde_json::to_value(record).unwrap();
    let dirs = json["dirs"].as_array_mut().unwrap();
    dirs.retain(|dir| dir.get("options").is_some());
    // Another directory identifies the cgroup then.
    let first = dirs[0]["path"].as_str().unwrap();
    let inode = fs::metadata(first).unwrap().ino();
    json["identity"]["inode"] = inode.into();
    serde_json::from_value(json).unwrap()
}

#[test]
fn who_multiplies_is_killed() {
    for (tag, legacy) in [("forks", false), ("forks1", true)] {
        if legacy && Layout::probe().unwrap().mode == Mode::Unified {
            continue;
        }
        let mut made = Made::new(tag, "{}");
        made.shell("f() { sleep 0.05; f & f & wait; }; for i in 1 2 3; do f & done; wait");
        eventually("it multiplies", || made.record().pids().unwrap().len() > 20);
        let record = if legacy { without_unified(made.record()) } else { made.record().clone() };
        record.kill_all().unwrap();
        eventually("all are dead", || made.record().pids().unwrap().is_empty());
        std::thread::sleep(Duration::from_millis(150));
        assert!(made.record().pids().unwrap().is_empty(), "{tag}: none came back");
        assert!(!record.frozen().unwrap());
    }
}

#[test]
fn a_process_that_left_the_v2_cgroup_is_killed_too() {
    let mut made = Made::new("left", "{}");
    let pid = made.sleeper();
    let root = made.record().unified().map(|dir| dir.root.clone());
    let (Some(_), Some(root)) = (made.v1("freezer"), root) else {
        skip!("not both a v1 freezer and cgroup v2 here");
    };
    fs::write(root.join("cgroup.procs"), pid.to_string()).unwrap();
    assert_eq!(made.record().pids().unwrap(), [pid]);
    made.record().kill_all().unwrap();
    eventually("it is dead", || made.children[0].try_wait().unwrap().is_some());
}

#[test]
fn sub_cgroups_however_deep() {
    let mut made = Made::new("deep", "{}");
    let pid = made.sleeper();
    let dirs: Vec<PathBuf> = made.record().dirs.iter().map(|dir| dir.path.clone()).collect();
    // Longer than PATH_MAX.
    let long = "x".repeat(250);
    for dir in &dirs {
        fs::create_dir_all(dir.join("beside/below")).unwrap();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let mut fd = openat(CWD, dir, flags, FileMode::empty()).unwrap();
        for _ in 0..20 {
            mkdirat(&fd, long.as_str(), FileMode::RWXU).unwrap();
            fd = openat(&fd, long.as_str(), flags, FileMode::empty()).unwrap();
        }
        // On cgroup v1, a cpuset without CPUs accepts no process.
        if dir.join("cgroup.controllers").exists() || !dir.join("cpuset.cpus").exists() {
            let procs = openat(&fd, "cgroup.procs", OFlags::WRONLY, FileMode::empty()).unwrap();
            rustix::io::write(procs, pid.to_string().as_bytes()).unwrap();
        }
    }
    assert_eq!(made.record().pids().unwrap(), [pid]);
    made.record().kill_all().unwrap();
    made.record().remove().unwrap();
    assert!(dirs.iter().all(|dir| !dir.exists()));
}

#[test]
fn a_busy_cgroup_is_not_removed() {
    let mut made = Made::new("busy", "{}");
    made.sleeper();
    // One hierarchy suffices, since the wait is long.
    let mut json = serde_json::to_value(made.record()).unwrap();
    json["dirs"].as_array_mut().unwrap().truncate(1);
    let one: Record = serde_json::from_value(json).unwrap();
    let error = one.remove().unwrap_err();
    assert!(error.to_string().contains("not known to be the container's"), "{error}");
    assert_eq!(made.record().pids().unwrap().len(), 1);
}

#[test]
fn what_was_there_before() {
    let plan = plan("before", DENY_ALL);
    let first = Made::from(&plan);
    let second = plan.create().unwrap();
    assert!(first.record().dirs.iter().all(|dir| dir.made));
    assert!(second.record().dirs.iter().all(|dir| !dir.made), "empty: may be used");
    assert!(plan.record().dirs.iter().all(|dir| !dir.made));
    let error = plan.create().unwrap_err();
    assert!(error.to_string().contains("another container is being created in it"), "{error}");
    second.record().remove().unwrap();
    drop(second);
    assert!(plan.paths().all(Path::exists), "but is not removed");

    first.record().freeze().unwrap();
    let error = plan.create().unwrap_err();
    assert_eq!(error.kind(), Kind::State);
    assert!(error.to_string().ends_with("is frozen; thaw it first"), "{error}");
    let below = plan_at(&format!("/{}/below", name("before")), "{}").unwrap();
    let error = below.create().unwrap_err();
    assert!(error.to_string().ends_with("is frozen; thaw it first"), "{error}");
    assert!(below.paths().all(|path| !path.exists()));
    first.record().thaw().unwrap();

    let mut first = first;
    first.sleeper();
    let error = plan.create().unwrap_err();
    assert_eq!(error.kind(), Kind::State);
    assert!(
        error.to_string().contains("container's cgroup is not empty: 1 process(es) found"),
        "{error}"
    );
    assert_eq!(first.record().pids().unwrap().len(), 1);
}

#[test]
fn the_early_record_cleans_up_after_a_crash() {
    let plan = plan("crash", "{}");
    let stored = serde_json::to_string(&plan.record()).unwrap();
    let cgroup = plan.create().unwrap();
    let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
    cgroup.enter_all(pid(&child)).unwrap();
    drop(cgroup);
    let record: Record = serde_json::from_str(&stored).unwrap();
    let error = record.kill_all().unwrap_err();
    assert!(error.to_string().contains(&format!("({})", pid(&child))), "{error}");
    assert!(child.try_wait().unwrap().is_none(), "not known to be the container's");
    child.kill().unwrap();
    child.wait().unwrap();
    for _ in 0..2 {
        record.kill_all().unwrap();
        record.remove().unwrap();
        assert!(plan.paths().all(|path| !path.exists()));
    }
    // And before anything was created.
    record.kill_all().unwrap();
    record.remove().unwrap();
}

#[test]
fn abandoned_with_its_parents() {
    let top = name("parents");
    let plan = plan_at(&format!("/{top}/a"), "{}").unwrap();
    plan.create().unwrap().record().abandon().unwrap();
    for path in plan.paths() {
        assert!(!path.parent().unwrap().exists(), "{}", path.display());
    }
    // Delete leaves the parents, which belong to the engine.
    plan.create().unwrap().record().remove().unwrap();
    for path in plan.paths() {
        assert!(!path.exists());
        fs::remove_dir(path.parent().unwrap()).unwrap();
    }
}

#[test]
fn another_process_joins() {
    let mut made = Made::new("join", "{}");
    let first = made.sleeper();
    let again = Cgroup::open(made.record()).unwrap();
    assert_eq!(again.clone_fd().is_some(), made.unified().is_some());
    let child = Command::new("sleep").arg("1000").spawn().unwrap();
    let second = pid(&child);
    made.children.push(child);
    again.enter_all(second).unwrap();
    let mut pids = [first, second];
    pids.sort_unstable();
    assert_eq!(made.record().pids().unwrap(), pids);
}
