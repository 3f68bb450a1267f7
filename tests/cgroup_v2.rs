//! What only a machine with cgroup v2 and every controller can show (`hack/vm` is one).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use crate::support::*;

fn asleep() -> Container {
    Container::with_script("exec sleep 600")
}

/// Leaves the test where cgroup v2 has not all of these controllers.
macro_rules! need_v2 {
    ($($name:literal),+) => {
        for name in [$($name),+] {
            if !matches!(controller(name), Some((Version::V2, _))) {
                skip!("no {name} controller of cgroup v2 here");
            }
        }
    };
}

/// The container's cgroup, which its processes need not be in.
fn dir(c: &Container) -> PathBuf {
    c.cgroup(&controller("memory").unwrap().1)
}

fn read(c: &Container, file: &str) -> String {
    let path = dir(c).join(file);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path:?}: {e}")).trim().to_owned()
}

/// The figure after a key, in a file of several lines.
fn figure(c: &Container, file: &str, key: &str) -> u64 {
    let text = read(c, file);
    let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
    value.unwrap_or_else(|| panic!("no {key} in {text}")).parse().unwrap()
}

fn update(c: &Container, options: &[&str]) -> Ran {
    let mut words = vec!["update"];
    words.extend(options);
    words.push(&c.id);
    c.rt.call(&words)
}

fn update_by(c: &Container, resources: Value) -> Ran {
    let file = c.file("resources.json", &resources.to_string());
    update(c, &["--resources", file.to_str().unwrap()])
}

// Proves: linux.resources.memory.{limit, reservation, swap}
#[test]
fn memory_and_swap_are_limited_apart() {
    need_v2!("memory");
    let mib = |count: u64| (count << 20).to_string();
    let mut c = asleep();
    c.set(
        "/linux/resources/memory",
        json!({"limit": 64 << 20, "swap": 96 << 20, "reservation": 32 << 20}),
    );
    c.set("/linux/resources/unified", json!({"memory.high": mib(48), "memory.min": mib(1)}));
    c.run_detached();
    for (file, expected) in [
        ("memory.max", 64),
        ("memory.swap.max", 32),
        ("memory.low", 32),
        ("memory.high", 48),
        ("memory.min", 1),
    ] {
        assert_eq!(read(&c, file), mib(expected), "{file}");
    }
    for (memory, total, swap) in [("48M", "48M", "0"), ("48M", "-1", "max"), ("16M", "20M", "")] {
        update(&c, &["--memory", memory, "--memory-swap", total]).ok();
        let swap = if swap.is_empty() { mib(4) } else { swap.to_owned() };
        assert_eq!(read(&c, "memory.swap.max"), swap, "{memory} {total}");
    }
    assert_eq!(read(&c, "memory.max"), mib(16));
    // What no update has named is as it was.
    assert_eq!(read(&c, "memory.high"), mib(48));
}

#[test]
fn who_is_killed_is_counted_and_the_others_live() {
    need_v2!("memory");
    let mut c = Container::with_script("tail /dev/zero; echo child=$?; exec sleep 600");
    c.set("/linux/resources/memory", json!({"limit": 24 << 20, "swap": 24 << 20}));
    let ran = c.run_detached();
    assert_eq!(said(&ran.wait_for("child="), "child"), "137");
    assert_eq!(figure(&c, "memory.events", "oom_kill"), 1);
    assert_eq!(c.status(), "running");

    // With the group flag nobody is spared, and none is left to keep systemd's scope.
    let mut c = Container::with_script("tail /dev/zero; echo child=$?; exec sleep 600");
    c.set("/linux/resources/memory", json!({"limit": 24 << 20, "swap": 24 << 20}));
    c.set("/linux/resources/unified", json!({"memory.oom.group": "1"}));
    let ran = c.run_detached();
    c.wait_status("stopped");
    assert_eq!(ran.later(), "");
    assert!(by_systemd() || figure(&c, "memory.events", "oom_kill") >= 2);
}

#[test]
fn shares_are_a_weight() {
    need_v2!("cpu");
    for (shares, weight) in [(2, "1"), (1024, "100"), (262_144, "10000")] {
        let mut c = asleep();
        c.set("/linux/resources/cpu", json!({"shares": shares}));
        c.create().ok();
        assert_eq!(read(&c, "cpu.weight"), weight, "{shares}");
    }
}

#[test]
fn a_cpuset_is_moved() {
    need_v2!("cpuset");
    let mut c = asleep();
    c.set("/linux/resources/cpu", json!({"cpus": "0", "mems": "0"}));
    c.run_detached();
    assert_eq!(read(&c, "cpuset.cpus.effective"), "0");
    assert_eq!(read(&c, "cpuset.mems"), "0");
    assert_eq!(c.process().status("Cpus_allowed_list"), "0");
    assert_eq!(c.exec_sh("grep Cpus_allowed_list /proc/self/status"), "Cpus_allowed_list:\t0\n");
    if std::thread::available_parallelism().unwrap().get() > 1 {
        update(&c, &["--cpuset-cpus", "1"]).ok();
        assert_eq!(c.process().status("Cpus_allowed_list"), "1");
    }
}

#[test]
fn a_fork_bomb_is_held() {
    need_v2!("pids");
    let mut c = Container::with_script("b() { b | b & }; b; while :; do sleep 1; done");
    c.set("/linux/resources/pids", json!({"limit": 20}));
    c.run_detached();
    wait_until("refused forks", || figure(&c, "pids.events", "max") >= 5);
    assert!(read(&c, "pids.current").parse::<u32>().unwrap() <= 20);
    update(&c, &["--pids-limit", "30"]).ok();
    assert_eq!(read(&c, "pids.max"), "30");
    let begin = Instant::now();
    c.delete_force().ok();
    assert!(begin.elapsed() < *PATIENCE);
    c.assert_gone();
}

// Proves: linux.resources.{unified, unified:missing}
#[test]
fn unified_comes_last() {
    need_v2!("cpu", "pids", "memory");
    let mut c = asleep();
    c.set("/linux/resources/cpu", json!({"shares": 1024}));
    c.set("/linux/resources/pids", json!({"limit": 100}));
    c.set(
        "/linux/resources/unified",
        json!({"cpu.weight": "7", "pids.max": "50", "memory.oom.group": "1", "cpu.max": "9000 90000"}),
    );
    c.run_detached();
    for (file, value) in [
        ("cpu.weight", "7"),
        ("pids.max", "50"),
        ("memory.oom.group", "1"),
        ("cpu.max", "9000 90000"),
    ] {
        assert_eq!(read(&c, file), value, "{file}");
    }
    update_by(&c, json!({"unified": {"memory.high": "33554432"}})).ok();
    assert_eq!(read(&c, "memory.high"), "33554432");
    assert_eq!(read(&c, "cpu.weight"), "7");

    let mut c = asleep();
    c.set("/linux/resources/unified", json!({"memory.no_such": "1"}));
    c.create().refused(&["linux.resources.unified", "memory.no_such"]);
    let mut c = asleep();
    c.set("/linux/resources/unified", json!({"nothing.max": "1"}));
    c.create().refused(&["linux.resources.unified", "nothing"]);
}

/// Nothing of init runs outside of its cgroup, not for a moment.
#[test]
fn init_is_born_in_its_cgroup() {
    need_v2!("memory");
    if by_systemd() {
        skip!("systemd makes the cgroup for a process that is there already");
    }
    // One that ends: strace waits for all that it traces.
    let mut c = Container::new();
    let trace = c.path().join("trace");
    let strace = ["strace", "-f", "-e", "trace=clone3,openat,openat2", "-o"];
    if Command::new("strace").arg("--version").output().is_err() {
        skip!("no strace here");
    }
    c.rt.through = strace.iter().map(Into::into).chain([trace.clone().into()]).collect();
    c.run().ok();
    c.rt.through.clear();
    let text = fs::read_to_string(&trace).unwrap();
    assert!(text.contains("CLONE_INTO_CGROUP"), "{text}");
    assert!(!text.contains("\"cgroup.procs\", O_WRONLY"), "{text}");
}

#[test]
fn controllers_are_enabled_all_the_way_down() {
    need_v2!("memory", "pids", "cpu", "cpuset", "io");
    let mut c = asleep();
    let path = format!("/{0}-pod/a/{0}", c.id);
    c.set("/linux/cgroupsPath", json!(path));
    c.run_detached();
    let root = controller("memory").unwrap().1;
    let pod = root.join(format!("{}-pod", c.id));
    for name in ["memory", "pids", "cpu", "cpuset", "io"] {
        for dir in [root.clone(), pod.clone(), pod.join("a")] {
            let text = fs::read_to_string(dir.join("cgroup.subtree_control")).unwrap();
            assert!(text.split_whitespace().any(|one| one == name), "{name} in {dir:?}: {text}");
        }
    }
    // Below itself the container enables them, or not.
    let own = fs::read_to_string(root.join(&path[1..]).join("cgroup.subtree_control")).unwrap();
    assert_eq!(own.trim(), "");
    c.delete_force().ok();
    for dir in [pod.join("a"), pod] {
        if dir.exists() {
            fs::remove_dir(dir).unwrap();
        }
    }
}

/// The kernel would take some controllers there, and make all children unfit for processes.
#[test]
fn a_parent_with_processes_is_left_as_it_was() {
    need_v2!("memory", "pids", "cpu");
    let holder = asleep();
    holder.run_detached();
    let kind = || (read(&holder, "cgroup.type"), read(&holder, "cgroup.subtree_control"));
    let before = kind();
    assert_eq!(before, ("domain".to_owned(), String::new()));

    let mut c = asleep();
    let path = holder.cgroup(Path::new("/")).join(&c.id);
    c.set("/linux/cgroupsPath", json!(path));
    c.run_detached();
    assert_eq!(kind(), before);
    c.delete_force().ok();

    c.set("/linux/resources/cpu", json!({"shares": 100}));
    c.set("/linux/resources/memory", json!({"limit": 64 << 20}));
    c.create().refused(&["has processes of its own", "+memory", &holder.id]);
    assert_eq!(kind(), before);
}

/// Such as systemd: it moves itself down, and gives its cgroup's children controllers. The cgroup
/// itself takes no process any more.
#[test]
fn an_init_with_cgroups_of_its_own_is_joined() {
    need_v2!("memory", "pids");
    let mut c = Container::with_script(
        "cd /sys/fs/cgroup && mkdir -p init/below && echo 1 >init/cgroup.procs &&\n\
         echo '+memory +pids' >cgroup.subtree_control && echo ready=$(cat cgroup.subtree_control)\n\
         exec sleep 600",
    );
    c.mount("/sys/fs/cgroup", "cgroup", "cgroup", &["nosuid", "nodev", "noexec", "rw"]);
    c.set("/linux/resources/pids", json!({"limit": 50}));
    let ran = c.run_detached();
    assert_eq!(said(&ran.wait_for("ready="), "ready"), "memory pids");
    assert_eq!(c.exec_sh("cat /proc/self/cgroup"), "0::/init\n");
    let busy = ["adding pid ", " to cgroups: ", "device or resource busy"];
    c.exec(&["--cgroup", "/"], &["true"]).not_started(&busy);
    let below = c.exec(&["--cgroup", "init/below"], &["cat", "/proc/self/cgroup"]).ok();
    assert_eq!(below.stdout, "0::/init/below\n");
    // The limit is the whole container's, and holds for what is below.
    update(&c, &["--pids-limit", "40"]).ok();
    assert_eq!(read(&c, "pids.max"), "40");
    let pids: Vec<i64> =
        serde_json::from_str(&c.rt.call(&["ps", "--format", "json", &c.id]).ok().stdout).unwrap();
    assert_eq!(pids, [i64::from(c.process().pid)]);
    c.rt.call(&["pause", &c.id]).ok();
    assert!(read(&c, "cgroup.events").contains("frozen 1"));
    c.rt.call(&["resume", &c.id]).ok();
    c.delete_force().ok();
    c.assert_gone();
}

#[test]
fn update_of_one_limit_keeps_the_others() {
    need_v2!("memory", "cpu", "pids");
    let mut c = asleep();
    c.set("/linux/resources/unified", json!({"memory.oom.group": "1"}));
    // Finer than systemd's whole percents.
    c.set("/linux/resources/cpu", json!({"quota": 12_345, "period": 100_000, "shares": 333}));
    c.set("/linux/resources/memory", json!({"limit": 64 << 20}));
    c.run_detached();
    let files = ["memory.oom.group", "cpu.max", "cpu.weight", "memory.max"];
    let before = files.map(|file| read(&c, file));
    assert_eq!((before[0].as_str(), before[1].as_str()), ("1", "12345 100000"));
    update(&c, &["--pids-limit", "77"]).ok();
    assert_eq!(read(&c, "pids.max"), "77");
    assert_eq!(files.map(|file| read(&c, file)), before);
    let deny = json!([{"allow": false, "access": "rwm"}, {"allow": true, "type": "c", "major": 10, "minor": 1}]);
    let file = c.file("devices.json", &json!({"devices": deny}).to_string());
    update(&c, &["--resources", file.to_str().unwrap()]).ok();
    assert_eq!(files.map(|file| read(&c, file)), before);
}
