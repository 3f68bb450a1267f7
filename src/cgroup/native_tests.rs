//! Creates real cgroups: reads back what is set, and checks that nothing is left behind.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use super::test_support::*;
use crate::cgroup::layout::Mode;
use crate::cgroup::{CgroupMount, CgroupOptions, CgroupPlan as Plan, Layout, Resources};
use crate::skip::skip;
use oci_spec::runtime::LinuxResources;

#[test]
fn limits_are_what_the_kernel_says() {
    let mode = Layout::probe().unwrap().mode;
    if mode != Mode::Unified {
        let made = Made::new(
            "limits",
            r#"{"cpu":{"shares":512,"quota":20000,"period":50000,"burst":1000,
                    "cpus":"0","mems":"0"},
                "memory":{"limit":16777216,"swap":33554432,"reservation":8388608,"swappiness":10},
                "pids":{"limit":7}}"#,
        );
        for (controller, file, value) in [
            ("cpu", "cpu.shares", "512"),
            ("cpu", "cpu.cfs_quota_us", "20000"),
            ("cpu", "cpu.cfs_period_us", "50000"),
            ("cpu", "cpu.cfs_burst_us", "1000"),
            ("cpuset", "cpuset.cpus", "0"),
            ("cpuset", "cpuset.mems", "0"),
            ("memory", "memory.limit_in_bytes", "16777216"),
            ("memory", "memory.memsw.limit_in_bytes", "33554432"),
            ("memory", "memory.soft_limit_in_bytes", "8388608"),
            ("memory", "memory.swappiness", "10"),
            ("pids", "pids.max", "7"),
        ] {
            assert_eq!(read(made.v1(controller).unwrap(), file), value, "{file}");
        }
    }
    if hugetlb_on_v2() {
        let limit = r#"{"hugepageLimits":[{"pageSize":"2MB","limit":4194304}]}"#;
        let made = Made::new("huge", limit);
        assert_eq!(read(made.unified().unwrap(), "hugetlb.2MB.max"), "4194304");
        assert_eq!(read(made.unified().unwrap(), "hugetlb.2MB.rsvd.max"), "4194304");
    }
    if mode == Mode::Unified {
        let resources = if hugetlb_on_v2() {
            r#"{"hugepageLimits":[{"pageSize":"2MB","limit":4194304}],
                "unified":{"cgroup.max.depth":"3","hugetlb.2MB.max":"2097152"}}"#
        } else {
            r#"{"unified":{"cgroup.max.depth":"3"}}"#
        };
        let made = Made::new("unified", resources);
        let dir = made.unified().unwrap();
        assert_eq!(read(dir, "cgroup.max.depth"), "3");
        if hugetlb_on_v2() {
            assert_eq!(read(dir, "hugetlb.2MB.max"), "2097152", "unified comes last");
        }
    }
}

#[test]
fn controllers_are_enabled_on_the_way() {
    if !hugetlb_on_v2() {
        skip!("no hugetlb controller on cgroup v2");
    }
    let limit = r#"{"hugepageLimits":[{"pageSize":"2MB","limit":2097152}]}"#;
    let plan = plan_at(&format!("/{}/a/b", name("way")), limit).unwrap();
    let cgroup = plan.create().unwrap();
    let leaf = cgroup.record().unified().unwrap().path.clone();
    assert_eq!(read(&leaf, "hugetlb.2MB.max"), "2097152");
    // And all other controllers: containers in containers need them.
    let available = fs::read_to_string(leaf.ancestors().nth(3).unwrap().join("cgroup.controllers"));
    for dir in leaf.ancestors().skip(1).take(3) {
        assert_eq!(read(dir, "cgroup.subtree_control"), available.as_deref().unwrap().trim());
    }
    assert_eq!(read(&leaf, "cgroup.subtree_control"), "");
    cgroup.record().abandon().unwrap();

    // Not if processes prevent it: an error, and nothing left behind.
    let mut made = Made::new("inside", "{}");
    made.sleeper();
    let below = plan_at(&format!("/{}/below", name("inside")), limit).unwrap();
    let error = below.create().unwrap_err().to_string();
    assert!(error.contains("has processes of its own"), "{error}");
    assert!(error.contains("write \"+hugetlb\" to /sys/fs/cgroup/"), "{error}");
    assert!(below.paths().all(|path| !path.exists()));
}

/// The kernel checks memory against memory plus swap, and quota against period and burst, at every
/// single write: the right order depends on the current values.
#[test]
fn limits_are_raised_and_lowered() {
    if Layout::probe().unwrap().mode == Mode::Unified {
        skip!("only cgroup v1 has them in files of their own");
    }
    let limits = |memory: u64, quota: u64, shares: u64, idle: u8| {
        format!(
            r#"{{"memory":{{"limit":{memory},"swap":{memory}}},
                "cpu":{{"quota":{quota},"period":{quota},"burst":{quota},
                    "shares":{shares},"idle":{idle}}}}}"#
        )
    };
    let made = Made::new("raise", &limits(16 << 20, 20_000, 300, 0));
    for (memory, quota, shares) in [(64 << 20, 90_000, 400), (8 << 20, 5_000, 500)] {
        let again = create(&plan("raise", &limits(memory, quota, shares, 0)));
        let (of_memory, of_cpu) = (made.v1("memory").unwrap(), made.v1("cpu").unwrap());
        assert_eq!(read(of_memory, "memory.limit_in_bytes"), memory.to_string());
        assert_eq!(read(of_memory, "memory.memsw.limit_in_bytes"), memory.to_string());
        assert_eq!(read(of_cpu, "cpu.cfs_quota_us"), quota.to_string());
        assert_eq!(read(of_cpu, "cpu.cfs_period_us"), quota.to_string());
        assert_eq!(read(of_cpu, "cpu.cfs_burst_us"), quota.to_string());
        assert_eq!(read(of_cpu, "cpu.shares"), shares.to_string());
        // An idle cgroup accepts shares only when it is no longer idle.
        fs::write(of_cpu.join("cpu.idle"), "1").unwrap();
        again.record().remove().unwrap();
    }
}

#[test]
fn pids_limit_zero_stops_forks() {
    let Ok(plan) = plan_at(&format!("/{}", name("nofork")), r#"{"pids":{"limit":0}}"#) else {
        skip!("no pids controller here");
    };
    let mut made = Made::from(&plan);
    assert!(!made.succeeds("/bin/true; :"), "a fork");
    assert!(made.succeeds("exec true"));
}

#[test]
fn failure_leaves_nothing() {
    let top = name("fail");
    let (resources, messages) = match Layout::probe().unwrap().mode {
        Mode::Unified if !hugetlb_on_v2() => skip!("no hugetlb controller on cgroup v2"),
        Mode::Unified => (
            r#"{"hugepageLimits":[{"pageSize":"3MB","limit":1}]}"#,
            [
                "(the kernel has no huge pages of this size): write \"1\" to /sys/fs/cgroup/",
                "/hugetlb.3MB.max: no such file or directory",
            ],
        ),
        _ => (
            r#"{"cpu":{"cpus":"4095"}}"#,
            ["linux.resources.cpu.cpus: CPU 4095 does not exist", "; the host has 0"],
        ),
    };
    let plan = plan_at(&format!("/{top}/a/b"), resources).unwrap();
    let error = plan.create().unwrap_err().to_string();
    for message in messages {
        assert!(error.contains(message), "{error}");
    }
    for path in plan.paths() {
        assert!(!path.ancestors().nth(2).unwrap().exists(), "{}", path.display());
    }
}

#[test]
fn devices() {
    if !Path::new("/dev/kmsg").exists() {
        skip!("no /dev/kmsg");
    }
    let mut made = Made::new("dev", DENY_ALL);
    assert!(made.succeeds("exec 3</dev/zero 4>/dev/null 5<>/dev/full"));
    for open in ["3</dev/kmsg", "3>/dev/kmsg", "3<>/dev/kmsg"] {
        // The cgroup refuses it.
        assert!(
            Command::new("sh").args(["-c", &format!("exec {open}")]).status().unwrap().success()
        );
        assert!(!made.succeeds(&format!("exec {open}")), "{open}");
    }
    let dir = tempfile::tempdir().unwrap();
    let node = dir.path().join("node");
    let node = node.display();
    assert!(made.succeeds(&format!("mknod {node} c 1 11")), "nodes may be made");
    assert!(!made.succeeds(&format!("exec 3<{node}")), "but not opened");
    drop(made);

    let mut made = Made::new(
        "devr",
        r#"{"devices":[{"allow":false,"access":"rwm"},
            {"allow":true,"type":"c","major":1,"minor":11,"access":"r"}]}"#,
    );
    assert!(made.succeeds("exec 3</dev/kmsg"));
    assert!(!made.succeeds("exec 3>/dev/kmsg"));
    assert!(!made.succeeds("exec 3<>/dev/kmsg"));
    drop(made);

    let mut made = Made::new("deva", r#"{"devices":[{"allow":true,"access":"rwm"}]}"#);
    assert!(made.succeeds("exec 3<>/dev/kmsg"));
}

#[test]
fn a_hole_in_a_wildcard() {
    if !Path::new("/dev/kmsg").exists() {
        skip!("no /dev/kmsg");
    }
    let resources = r#"{"devices":[{"allow":false,"access":"rwm"},
        {"allow":true,"type":"c","major":1,"access":"rw"},
        {"allow":false,"type":"c","major":1,"minor":11,"access":"w"}]}"#;
    match plan_at(&format!("/{}", name("hole")), resources) {
        Ok(plan) => {
            let mut made = Made::from(&plan);
            assert!(made.succeeds("exec 3</dev/kmsg"));
            assert!(!made.succeeds("exec 3>/dev/kmsg"));
        }
        // v1 cannot express it, and must report an error in the place of allowing it.
        Err(error) => {
            assert_ne!(Layout::probe().unwrap().mode, Mode::Unified);
            assert!(error.to_string().contains("cgroup v1 cannot make an exception"), "{error}");
        }
    }
}

#[test]
fn device_rules_of_an_earlier_owner_are_replaced() {
    if !Path::new("/dev/kmsg").exists() {
        skip!("no /dev/kmsg");
    }
    let _first = Made::new("again", DENY_ALL);
    for _ in 0..3 {
        let mut made = Made::new("again", r#"{"devices":[{"allow":true,"access":"rwm"}]}"#);
        assert!(made.succeeds("exec 3<>/dev/kmsg"));
        eventually("empty", || made.record().pids().unwrap().is_empty());
        let mut made = Made::new("again", DENY_ALL);
        assert!(!made.succeeds("exec 3<>/dev/kmsg"));
        eventually("empty", || made.record().pids().unwrap().is_empty());
    }
}

#[test]
fn mounts_are_the_directories() {
    let made = Made::new("mounts", "{}");
    let mounts = made.record().mounts();
    assert!(!mounts.is_empty());
    for mount in mounts {
        match mount {
            CgroupMount::Unified { name, dir } => {
                assert!(dir.join("cgroup.events").exists());
                let whole = Layout::probe().unwrap().mode == Mode::Unified;
                assert_eq!(name, if whole { "" } else { "unified" });
            }
            CgroupMount::V1 { name, options, dir } => {
                assert!(dir.starts_with(Path::new("/sys/fs/cgroup").join(&name)));
                assert!(dir.join("cgroup.procs").exists());
                let lines = fs::read_to_string("/proc/self/cgroup").unwrap();
                assert!(lines.contains(&format!(":{}:", options.join(","))));
            }
            CgroupMount::Link { name, target } => {
                assert!(target.split(',').any(|part| part == name));
            }
        }
    }
}

#[test]
fn delegation() {
    let made = Made::new("owner", "{}");
    made.cgroup.delegate(12345).unwrap();
    let owner = |path: &Path| fs::metadata(path).unwrap().uid();
    let whole = Layout::probe().unwrap().mode == Mode::Unified;
    let expected = if whole { 12345 } else { 0 };
    for dir in &made.record().dirs {
        assert_eq!(owner(&dir.path), expected);
        assert_eq!(owner(&dir.path.join("cgroup.procs")), expected);
        let max = dir.path.join("cgroup.max.depth");
        assert!(!max.exists() || owner(&max) == 0, "limits stay out of reach");
    }
}

const UNPRIVILEGED: &str = "BULKHEAD_TEST_CGROUP_USER";

/// Runs the next test as a user who may not create cgroups.
#[test]
fn without_privileges() {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let copy = dir.path().join("test");
    fs::copy(std::env::current_exe().unwrap(), &copy).unwrap();
    let output = Command::new(copy)
        .args(["--exact", "cgroup::native_tests::as_somebody"])
        .env(UNPRIVILEGED, "1")
        .current_dir("/")
        .uid(65534)
        .gid(65534)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("test cgroup::native_tests::as_somebody ... ok"), "{text}");
}

#[test]
fn as_somebody() {
    if std::env::var_os(UNPRIVILEGED).is_none() {
        return;
    }
    assert!(!nix::unistd::geteuid().is_root());
    let layout = Layout::probe().unwrap();
    let make = |path: Option<&str>, resources: &str, rootless: bool| {
        let resources: LinuxResources = serde_json::from_str(resources).unwrap();
        let resources = Resources::new(Some(&resources), &[])?;
        let options = CgroupOptions { rootless, ..CgroupOptions::default() };
        let path = path.map(Path::new);
        let id = name("somebody");
        Plan::new(&layout, &id, path, &resources, &options, &mut Vec::new())?.create()
    };
    let none = make(None, DENY_ALL, true).unwrap();
    assert!(none.clone_fd().is_none() && !none.needs_enter());
    assert!(none.record().dirs.is_empty());
    none.enter(1).unwrap();

    let error = make(None, "{}", false).unwrap_err().to_string();
    assert!(error.contains("mkdir /sys/fs/cgroup/"), "{error}");
    let named = make(Some("/x"), "{}", true).unwrap_err().to_string();
    assert!(named.starts_with("rootless: delegate a cgroup to this user"), "{named}");
    let limit = if layout.mode == Mode::Unified && hugetlb_on_v2() {
        r#"{"hugepageLimits":[{"pageSize":"2MB","limit":0}]}"#
    } else {
        r#"{"pids":{"limit":1}}"#
    };
    let limited = make(None, limit, true).unwrap_err().to_string();
    assert!(limited.starts_with("rootless: delegate a cgroup to this user"), "{limited}");
    assert!(limited.ends_with("permission denied"), "{limited}");
}
