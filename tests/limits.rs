//! Limits: each is read back from the cgroup that the process is in, under v1 or v2, and those that
//! a program can run into are run into.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::*;

fn asleep() -> Container {
    Container::with_script("exec sleep 600")
}

/// The directories of the process's cgroup, one a hierarchy.
fn cgroups(process: Proc) -> Vec<PathBuf> {
    let mut dirs = Vec::new();
    for line in process.read("cgroup").lines() {
        let fields: Vec<_> = line.splitn(3, ':').collect();
        for (point, names) in cgroup_mounts() {
            let mine = match fields[1] {
                "" => names.is_empty(),
                list => list.split(',').any(|name| names.iter().any(|one| one == name)),
            };
            if mine {
                dirs.push(point.join(fields[2].trim_start_matches('/')));
            }
        }
    }
    dirs
}

/// Both kinds of hierarchy are in view.
fn hybrid() -> bool {
    let mounts = cgroup_mounts();
    mounts.iter().any(|(_, v1)| v1.is_empty()) && mounts.iter().any(|(_, v1)| !v1.is_empty())
}

// Proves: features.linux.cgroup.{v1, v2}
#[test]
fn the_process_is_in_its_cgroup_in_every_hierarchy() {
    let c = asleep();
    c.run_detached();
    let process = c.process();
    let dirs = cgroups(process);
    assert!(!dirs.is_empty());
    for dir in dirs {
        assert!(dir.ends_with(c.cgroup(Path::new(""))), "{dir:?}");
        let procs = fs::read_to_string(dir.join("cgroup.procs")).unwrap();
        assert!(procs.lines().any(|pid| pid == process.pid.to_string()), "{dir:?}: {procs}");
    }
}

#[test]
fn the_cgroup_is_there_before_the_program_runs() {
    let c = Container::with_script("cat /proc/self/cgroup; exec sleep 600");
    c.create().ok();
    for dir in cgroups(c.process()) {
        assert!(dir.ends_with(c.cgroup(Path::new(""))), "{dir:?}");
    }
}

// Proves: linux.cgroupsPath:unset
#[test]
fn without_a_path_each_container_has_a_cgroup_of_its_own() {
    let mut one = asleep();
    one.remove("/linux/cgroupsPath");
    let mut two = Container::beside(&one);
    two.sh("exec sleep 600").remove("/linux/cgroupsPath");
    one.run_detached();
    two.run_detached();
    let own = Proc::new(std::process::id().try_into().unwrap());
    assert_ne!(one.process().read("cgroup"), two.process().read("cgroup"));
    assert_ne!(one.process().read("cgroup"), own.read("cgroup"));
    let dirs = cgroups(one.process());
    one.delete_force().ok();
    for dir in dirs.iter().filter(|dir| !cgroup_mounts().iter().any(|(point, _)| *dir == point)) {
        assert!(!dir.exists(), "{dir:?}");
    }
    assert!(two.process().alive());
}

// Proves: linux.cgroupsPath:relative
#[test]
fn a_relative_path_is_always_the_same_place() {
    if by_systemd() && matches!(controller("cpu"), Some((Version::V1, _))) {
        skip!("systemd takes the processes of others along when it begins to use a v1 hierarchy");
    }
    let mut c = asleep();
    // A path for systemd is of another form.
    let path = json!(c.id);
    c.set("/linux/cgroupsPath", path);
    let mut seen = Vec::new();
    for _ in 0..2 {
        c.run_detached();
        let dirs = cgroups(c.process());
        assert!(dirs.iter().all(|dir| dir.ends_with(&c.id)), "{dirs:?}");
        seen.push(dirs);
        c.delete_force().ok();
    }
    assert_eq!(seen[0], seen[1]);
}

// Proves: linux.cgroupsPath:absolute
#[test]
fn a_deep_path_is_made_and_removed() {
    if by_systemd() && matches!(controller("cpu"), Some((Version::V1, _))) {
        skip!("systemd takes the processes of others along when it begins to use a v1 hierarchy");
    }
    let mut c = asleep();
    let path = format!("/{}/deep/er", c.id);
    c.set("/linux/cgroupsPath", json!(path));
    c.run_detached();
    for dir in cgroups(c.process()) {
        assert!(dir.ends_with(&path[1..]), "{dir:?}");
    }
    c.delete_force().ok();
    // Directories on the way may be shared with others: those that are empty now are ours here.
    for (point, _) in cgroup_mounts() {
        let made = point.join(&c.id);
        assert!(!made.join("deep/er").exists(), "{made:?}");
        for dir in [made.join("deep"), made] {
            if dir.exists() {
                fs::remove_dir(dir).unwrap();
            }
        }
    }
    for line in fs::read_to_string("/proc/self/cgroup").unwrap().lines() {
        // v1 hierarchies whose path is relative to the caller's own cgroup.
        let path = line.splitn(3, ':').nth(2).unwrap().trim_start_matches('/');
        for (point, _) in cgroup_mounts() {
            for dir in ["deep", ""] {
                let dir = point.join(path).join(&c.id).join(dir);
                if dir.exists() {
                    fs::remove_dir(dir).unwrap();
                }
            }
        }
    }
}

// Proves: linux.resources.memory.{limit, reservation}
#[test]
fn memory_limits() {
    let version = need!("memory");
    let mut c = asleep();
    let mib = 1 << 20;
    c.set("/linux/resources/memory", json!({"limit": 64 * mib, "reservation": 32 * mib}));
    c.run_detached();
    assert_eq!(
        control(&c, "memory", "memory.limit_in_bytes", "memory.max"),
        (64 * mib).to_string()
    );
    let file = ("memory.soft_limit_in_bytes", "memory.low");
    assert_eq!(control(&c, "memory", file.0, file.1), (32 * mib).to_string(), "{version:?}");
}

// Proves: linux.resources.memory.swap
#[test]
fn memory_and_swap() {
    let version = need!("memory");
    let mut c = asleep();
    let mib = 1u64 << 20;
    c.set("/linux/resources/memory", json!({"limit": 64 * mib, "swap": 96 * mib}));
    c.run_detached();
    // Under v1 the figure is memory and swap together, under v2 swap alone.
    let expected = if version == Version::V1 { 96 * mib } else { 32 * mib };
    let found = control(&c, "memory", "memory.memsw.limit_in_bytes", "memory.swap.max");
    assert_eq!(found, expected.to_string());
}

// Proves: linux.resources.memory:unlimited
#[test]
fn memory_minus_one_is_no_limit() {
    let version = need!("memory");
    let mut c = asleep();
    c.set("/linux/resources/memory", json!({"limit": -1}));
    c.run_detached();
    let found = control(&c, "memory", "memory.limit_in_bytes", "memory.max");
    match version {
        Version::V1 => assert!(found.parse::<u64>().unwrap() > 1 << 60, "{found}"),
        Version::V2 => assert_eq!(found, "max"),
    }
}

// Proves: linux.resources.memory.kernelTCP
#[test]
fn v1_memory_of_tcp_buffers() {
    if need!("memory") == Version::V2 {
        skip!("cgroup v2 has no such control");
    }
    let mut c = asleep();
    let mib = 1u64 << 20;
    c.set("/linux/resources/memory", json!({"kernelTCP": 48 * mib}));
    c.run_detached();
    let found = control(&c, "memory", "memory.kmem.tcp.limit_in_bytes", "");
    assert_eq!(found, (48 * mib).to_string());
}

// Proves: linux.resources.memory.swappiness
#[test]
fn v1_memory_swappiness() {
    if need!("memory") != Version::V1 {
        skip!("the memory controller is not under cgroup v1");
    }
    let mut c = asleep();
    c.set("/linux/resources/memory", json!({"swappiness": 17}));
    c.run_detached();
    assert_eq!(control(&c, "memory", "memory.swappiness", ""), "17");
}

/// The machine has no such device; that the kernel says so shows that it was asked.
// Proves: linux.resources.rdma{}.{hcaHandles, hcaObjects}, features.linux.cgroup.rdma
#[test]
fn rdma_reaches_the_kernel() {
    need!("rdma");
    let mut c = asleep();
    c.set("/linux/resources/rdma", json!({"mlx5_9": {"hcaHandles": 3, "hcaObjects": 5}}));
    c.create().refused(&[
        "linux.resources.rdma",
        "\"mlx5_9 hca_handle=3 hca_object=5\"",
        "rdma.max: no such device",
    ]);
    c.assert_gone();
}

// Proves: linux.resources.cpu.{realtimeRuntime, realtimePeriod}
#[test]
fn v1_real_time() {
    match controller("cpu") {
        Some((Version::V1, root)) if root.join("cpu.rt_runtime_us").exists() => {}
        _ => skip!("no real-time share in cgroups here"),
    }
    let mut c = asleep();
    c.set("/linux/resources/cpu", json!({"realtimeRuntime": 9000, "realtimePeriod": 500_000}));
    c.run_detached();
    assert_eq!(control(&c, "cpu", "cpu.rt_runtime_us", ""), "9000");
    assert_eq!(control(&c, "cpu", "cpu.rt_period_us", ""), "500000");
}

// Proves: linux.resources.network.classID, linux.resources.network.priorities[].{name, priority}
#[test]
fn v1_marks_on_network_traffic() {
    if controller("net_cls").is_none() || controller("net_prio").is_none() {
        skip!("no net_cls or net_prio controller here");
    }
    let mut c = asleep();
    let network = json!({"classID": 0x10_0001, "priorities": [{"name": "lo", "priority": 5}]});
    c.set("/linux/resources/network", network);
    c.run_detached();
    assert_eq!(control(&c, "net_cls", "net_cls.classid", ""), 0x10_0001.to_string());
    assert!(control(&c, "net_prio", "net_prio.ifpriomap", "").lines().any(|line| line == "lo 5"));
}

// Proves: linux.resources.memory.limit
#[test]
fn a_process_over_its_memory_is_killed() {
    need!("memory");
    let mut c = Container::with_script("exec tail /dev/zero");
    c.set("/linux/resources/memory", json!({"limit": 32 << 20, "swap": 32 << 20}));
    let ran = c.run();
    assert_eq!(ran.code(), Some(137), "{ran:#?}");
    c.assert_gone();
}

#[test]
fn an_oom_kill_is_counted() {
    need!("memory");
    let mut c = Container::with_script("tail /dev/zero; echo child=$?; exec sleep 600");
    c.set("/linux/resources/memory", json!({"limit": 32 << 20, "swap": 32 << 20}));
    let ran = c.run_detached();
    assert_eq!(said(&ran.wait_for("child="), "child"), "137");
    let events = control(&c, "memory", "memory.oom_control", "memory.events");
    let kills = events.lines().find_map(|line| line.strip_prefix("oom_kill ")).unwrap();
    assert!(kills.parse::<u64>().unwrap() >= 1, "{events}");
}

// Proves: linux.resources.pids.limit
#[test]
fn pids_limit() {
    need!("pids");
    let mut c = Container::with_script("exec sleep 600");
    c.set("/linux/resources/pids", json!({"limit": 17}));
    c.run_detached();
    assert_eq!(control(&c, "pids", "pids.max", "pids.max"), "17");

    let mut c = Container::with_script("exec sleep 600");
    c.set("/linux/resources/pids", json!({"limit": -1}));
    c.run_detached();
    assert_eq!(control(&c, "pids", "pids.max", "pids.max"), "max");
}

/// The process is there already, and may execute its program; it may not fork.
// Proves: linux.resources.pids.limit:zero
#[test]
fn no_process_is_a_pids_limit_too() {
    need!("pids");
    let mut c = Container::with_script("(true); echo forked");
    c.set("/linux/resources/pids", json!({"limit": 0}));
    let ran = c.run();
    assert!(ran.stderr.contains("can't fork") && ran.stdout.is_empty(), "{ran:#?}");
    c.args(&["/bin/sleep", "600"]);
    c.run_detached();
    // The number of processes without a fork.
    assert_eq!(control(&c, "pids", "pids.max", "pids.max"), "1");
}

// Proves: linux.resources.pids.limit
#[test]
fn forks_over_the_pids_limit_are_refused() {
    need!("pids");
    let mut c = Container::with_script(
        "trap 'echo over; exec sleep 600' EXIT\nfor i in $(seq 30); do sleep 600 & done 2>/dev/null",
    );
    c.set("/linux/resources/pids", json!({"limit": 12}));
    let ran = c.run_detached();
    ran.wait_for("over");
    let current: u64 = control(&c, "pids", "pids.current", "pids.current").parse().unwrap();
    assert!((10..=12).contains(&current), "{current} processes");
}

#[test]
fn a_container_starts_in_the_smallest_pids_limit() {
    need!("pids");
    let mut c = Container::new();
    c.set("/linux/resources/pids", json!({"limit": 1}));
    c.run().ok();
}

// Proves: linux.resources.cpu.{shares, quota, period}
#[test]
fn cpu_shares_quota_and_period() {
    let version = need!("cpu");
    let mut c = asleep();
    c.set("/linux/resources/cpu", json!({"shares": 512, "quota": 20_000, "period": 50_000}));
    c.run_detached();
    match version {
        Version::V1 => {
            assert_eq!(control(&c, "cpu", "cpu.shares", ""), "512");
            assert_eq!(control(&c, "cpu", "cpu.cfs_quota_us", ""), "20000");
            assert_eq!(control(&c, "cpu", "cpu.cfs_period_us", ""), "50000");
        }
        Version::V2 => {
            let weight: u64 = control(&c, "cpu", "", "cpu.weight").parse().unwrap();
            assert!((10..=99).contains(&weight), "half of the default shares is weight {weight}");
            assert_eq!(control(&c, "cpu", "", "cpu.max"), "20000 50000");
        }
    }
}

#[test]
fn cpu_quota_minus_one_is_no_limit() {
    let version = need!("cpu");
    let mut c = asleep();
    c.set("/linux/resources/cpu", json!({"quota": -1, "period": 100_000}));
    c.run_detached();
    let expected = if version == Version::V1 { "-1" } else { "max 100000" };
    assert_eq!(control(&c, "cpu", "cpu.cfs_quota_us", "cpu.max"), expected);
}

// Proves: linux.resources.cpu.idle
#[test]
fn cpu_idle() {
    need!("cpu");
    let mut c = asleep();
    c.set("/linux/resources/cpu", json!({"idle": 1}));
    c.run_detached();
    assert_eq!(control(&c, "cpu", "cpu.idle", "cpu.idle"), "1");
}

// Proves: linux.resources.cpu.{cpus, mems}
#[test]
fn cpus_and_memory_nodes() {
    need!("cpuset");
    let mut c = asleep();
    c.set("/linux/resources/cpu", json!({"cpus": "0", "mems": "0"}));
    c.run_detached();
    assert_eq!(control(&c, "cpuset", "cpuset.cpus", "cpuset.cpus"), "0");
    assert_eq!(control(&c, "cpuset", "cpuset.mems", "cpuset.mems"), "0");
    assert_eq!(c.process().status("Cpus_allowed_list"), "0");
}

// Proves: linux.resources.hugepageLimits[].{pageSize, limit}
#[test]
fn hugetlb_limit() {
    let version = need!("hugetlb");
    let mut sizes: Vec<u64> = fs::read_dir("/sys/kernel/mm/hugepages")
        .into_iter()
        .flatten()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .filter_map(|name| name.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse().ok())
        .collect();
    sizes.sort_unstable();
    let Some(size) = sizes.first() else { skip!("the kernel has no huge pages") };
    // arm64 has pages of 64 KB.
    let name = match size {
        0..1024 => format!("{size}KB"),
        1024..1_048_576 => format!("{}MB", size >> 10),
        _ => format!("{}GB", size >> 20),
    };
    let mut c = asleep();
    let limit = size * 1024 * 8;
    c.set("/linux/resources/hugepageLimits", json!([{"pageSize": name, "limit": limit}]));
    if hybrid() && version == Version::V2 {
        // The unified half of a hybrid machine: in force, or refused; never left out in silence.
        let ran = c.create();
        if !ran.status.success() {
            ran.refused(&["hugetlb"]);
            return;
        }
        c.start().ok();
    } else {
        c.run_detached();
    }
    let found = control(
        &c,
        "hugetlb",
        &format!("hugetlb.{name}.limit_in_bytes"),
        &format!("hugetlb.{name}.max"),
    );
    assert_eq!(found, limit.to_string());
}

// Proves: linux.resources.unified
#[test]
fn v2_unified_keys_are_written() {
    let Some((point, _)) = cgroup_mounts().into_iter().find(|(_, names)| names.is_empty()) else {
        skip!("no cgroup v2 hierarchy in view");
    };
    if cgroup_mounts().len() > 1 {
        skip!("unified settings are for machines with cgroup v2 alone");
    }
    let mut c = asleep();
    c.set(
        "/linux/resources/unified",
        json!({"cgroup.max.descendants": "5", "cgroup.max.depth": "3"}),
    );
    c.run_detached();
    let dir = c.cgroup(&point);
    let value = |name: &str| fs::read_to_string(dir.join(name)).unwrap().trim().to_owned();
    assert_eq!(value("cgroup.max.descendants"), "5");
    assert_eq!(value("cgroup.max.depth"), "3");
}

// Proves: linux.resources:missing
#[test]
fn a_limit_without_its_controller_is_an_error() {
    let wanted = [
        ("memory", "/linux/resources/memory", json!({"limit": 1 << 30})),
        ("pids", "/linux/resources/pids", json!({"limit": 100})),
        ("cpuset", "/linux/resources/cpu", json!({"cpus": "0"})),
        ("hugetlb", "/linux/resources/hugepageLimits", json!([{"pageSize": "2MB", "limit": 0}])),
        ("rdma", "/linux/resources/rdma", json!({"mlx5_1": {"hcaHandles": 3}})),
    ];
    let missing: Vec<_> =
        wanted.into_iter().filter(|(name, ..)| controller(name).is_none()).collect();
    assert!(!missing.is_empty() || controller("rdma").is_some());
    for (name, pointer, value) in missing {
        let mut c = asleep();
        c.set(pointer, value);
        c.create().refused(&[name]);
        c.assert_gone();
    }
}

/// Makes a device node inside and opens it: `made=` and `open=` tell how it went.
const OPEN_A_DISK: &str = "mknod /tmp/disk b 7 0; echo made=$?\n\
    head -c 1 /tmp/disk 2>/tmp/why; echo open=$(cat /tmp/why)";

#[test]
fn a_device_not_allowed_cannot_be_opened() {
    let mut c = Container::with_script(OPEN_A_DISK);
    c.capabilities(&["CAP_MKNOD", "CAP_SYS_ADMIN", "CAP_DAC_OVERRIDE"]);
    let output = c.output();
    assert_eq!(said(&output, "made"), "0", "the node itself may be made: {output}");
    assert!(said(&output, "open").contains("Operation not permitted"), "{output}");
}

// Proves: linux.resources.devices[].{allow, type, major, minor, access}
#[test]
fn a_device_allowed_can_be_opened() {
    let mut c = Container::with_script(
        "mknod /tmp/full c 1 7 && head -c 1 /tmp/full | wc -c; mknod /tmp/kmsg c 1 11 && head -c 1 /tmp/kmsg",
    );
    c.capabilities(&["CAP_MKNOD", "CAP_SYSLOG"]);
    c.push("/linux/resources/devices", json!({"allow": false, "access": "rwm"}));
    let ran = c.run();
    assert_eq!(ran.stdout.trim(), "1", "/dev/full is always allowed: {ran:#?}");
    assert!(ran.stderr.contains("Operation not permitted"), "kmsg is not: {ran:#?}");

    let mut c = Container::with_script(
        "mknod /tmp/kmsg c 1 11 && head -c 1 /tmp/kmsg >/dev/null && echo read\n\
         echo x > /tmp/kmsg || echo write refused",
    );
    c.capabilities(&["CAP_MKNOD", "CAP_SYSLOG"]);
    c.push(
        "/linux/resources/devices",
        json!({"allow": true, "type": "c", "major": 1, "minor": 11, "access": "r"}),
    );
    let output = c.output();
    assert!(output.contains("read\n"), "{output}");
    assert!(output.contains("write refused"), "{output}");
}

// Proves: linux.resources.devices:order
#[test]
fn device_rules_are_taken_in_order() {
    // All allowed, then one taken away.
    let mut c = Container::with_script(
        "mknod /tmp/kmsg c 1 11; head -c 1 /tmp/kmsg >/dev/null && echo kmsg; mknod /tmp/mem c 1 8; head -c 1 /tmp/mem >/dev/null && echo random",
    );
    c.capabilities(&["CAP_MKNOD", "CAP_SYSLOG"]);
    c.set(
        "/linux/resources/devices",
        json!([
            {"allow": true, "access": "rwm"},
            {"allow": false, "type": "c", "major": 1, "minor": 11, "access": "rw"}
        ]),
    );
    if by_systemd() && matches!(controller("devices"), Some((Version::V1, _))) {
        // It would write "all is allowed" over it.
        c.run().refused(&["linux.resources.devices", "exception", "--systemd-cgroup"]);
        c.assert_gone();
        return;
    }
    let ran = c.run();
    assert_eq!(ran.stdout, "random\n", "{ran:#?}");
}
