//! Scheduler, I/O priority, memory policy and personality: what the kernel says of the process, and
//! of one that `exec` has added.

use std::process::Command;

use crate::support::rootless::of_nobody;
use crate::support::*;

/// Nice value, realtime priority and policy of /proc/PID/stat (proc_pid_stat(5), 19, 40 and 41).
fn scheduler(process: Proc) -> [i64; 3] {
    let stat = process.read("stat");
    let fields: Vec<&str> = stat[stat.rfind(')').unwrap()..].split_whitespace().collect();
    // The name was the second field; what is left begins with the closing parenthesis of it.
    [19, 40, 41].map(|field| fields[field - 2].parse().unwrap())
}

/// The nice value that a policy without one leaves as it was.
fn own_nice() -> i64 {
    scheduler(Proc::new(i32::try_from(std::process::id()).unwrap()))[0]
}

fn io_priority(pid: i32) -> String {
    let output = Command::new("ionice").args(["-p", &pid.to_string()]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn asleep() -> Container {
    Container::with_script("exec sleep 600")
}

/// Another process in the container; its pid on the host.
fn exec(c: &Container, options: &[&str]) -> Proc {
    let file = c.path().join("exec-pid");
    let mut words = vec!["exec", "--detach", "--pid-file", file.to_str().unwrap()];
    words.extend(options);
    words.push(&c.id);
    if !options.contains(&"--process") {
        words.extend(["sleep", "600"]);
    }
    c.rt.call(&words).ok();
    Proc::new(std::fs::read_to_string(file).unwrap().parse().unwrap())
}

// Proves: process.scheduler.policy={SCHED_OTHER, SCHED_BATCH, SCHED_IDLE, SCHED_DEADLINE},
// process.scheduler.nice
#[test]
fn policies() {
    let mut cases = vec![
        (json!({"policy": "SCHED_BATCH", "nice": 7}), [7, 0, 3]),
        (json!({"policy": "SCHED_IDLE"}), [own_nice(), 0, 5]),
        (json!({"policy": "SCHED_OTHER", "nice": -5}), [-5, 0, 0]),
    ];
    let deadline = json!({"policy": "SCHED_DEADLINE", "flags": ["SCHED_FLAG_RESET_ON_FORK"],
        "runtime": 420_000, "deadline": 1_000_000, "period": 10_000_000});
    cases.push((deadline, [own_nice(), 0, 6]));
    for (asked, expected) in &cases {
        let mut c = asleep();
        c.set("/process/scheduler", asked.clone());
        c.run_detached();
        assert_eq!(scheduler(c.process()), *expected, "{asked}");
    }
}

/// What chrt(1) reads with sched_getattr(2), as the lines after "pid N's current ".
fn attributes(process: Proc) -> Vec<String> {
    let output = Command::new("chrt").args(["-p", &process.pid.to_string()]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let start = format!("pid {}'s current ", process.pid);
    text.lines().map(|line| line.strip_prefix(&start).expect(&text).to_owned()).collect()
}

// Proves: process.scheduler.{flags, runtime, deadline, period}
#[test]
fn flags_and_the_times_of_a_deadline() {
    let mut c = asleep();
    let asked = json!({"policy": "SCHED_DEADLINE", "flags": ["SCHED_FLAG_RESET_ON_FORK"],
        "runtime": 420_000, "deadline": 1_000_000, "period": 10_000_000});
    c.set("/process/scheduler", asked);
    c.run_detached();
    let found = attributes(c.process());
    assert!(found[0].ends_with("SCHED_DEADLINE|SCHED_RESET_ON_FORK"), "{found:?}");
    let times =
        found.iter().find_map(|line| line.strip_prefix("runtime/deadline/period parameters: "));
    assert_eq!(times, Some("420000/1000000/10000000"), "{found:?}");
}

/// In a user namespace a process has no right to a higher priority: it is the runtime that sets it.
// Proves: process.ioPriority.{class, priority}
#[test]
fn a_user_namespace_is_no_hindrance() {
    let mut c = asleep();
    c.map_users(100_000, 65536);
    c.set("/process/user", json!({"uid": 5, "gid": 5}));
    c.set("/process/scheduler", json!({"policy": "SCHED_OTHER", "nice": -5}));
    c.set("/process/ioPriority", json!({"class": "IOPRIO_CLASS_RT", "priority": 6}));
    c.run_detached();
    assert_eq!(scheduler(c.process()), [-5, 0, 0]);
    assert_eq!(io_priority(c.process().pid), "realtime: prio 6");
}

/// Without privileges the process sets its own, as far as anybody may; the rest is an error.
#[test]
fn without_root() {
    if !unprivileged_user_namespaces() {
        skip!("unprivileged user namespaces are switched off");
    }
    let mut c = of_nobody("exec sleep 600");
    c.set("/process/scheduler", json!({"policy": "SCHED_BATCH", "nice": 15}));
    c.set("/process/ioPriority", json!({"class": "IOPRIO_CLASS_IDLE", "priority": 0}));
    c.run_detached();
    assert_eq!(scheduler(c.process()), [15, 0, 3]);
    assert_eq!(io_priority(c.process().pid), "idle");
    let mut c = of_nobody("exec sleep 600");
    c.set("/process/scheduler", json!({"policy": "SCHED_FIFO", "priority": 1}));
    let ran = c.create();
    assert_ne!(ran.status.code(), Some(0), "{ran:#?}");
    assert!(ran.stderr.contains("process.scheduler: set SCHED_FIFO"), "{ran:#?}");
    assert!(ran.stderr.contains("CAP_SYS_NICE"), "{ran:#?}");
    c.assert_gone();
}

// Proves: process.ioPriority.{class, priority}
#[test]
fn exec_takes_over_or_brings_its_own() {
    let mut c = asleep();
    c.set("/process/scheduler", json!({"policy": "SCHED_BATCH", "nice": 3}));
    c.set("/process/ioPriority", json!({"class": "IOPRIO_CLASS_BE", "priority": 2}));
    c.run_detached();
    assert_eq!(io_priority(c.process().pid), "best-effort: prio 2");
    let same = exec(&c, &[]);
    assert_eq!(scheduler(same), [3, 0, 3]);
    assert_eq!(io_priority(same.pid), "best-effort: prio 2");
    let own = json!({
        "user": {"uid": 0, "gid": 0}, "cwd": "/", "args": ["/bin/sleep", "600"],
        "scheduler": {"policy": "SCHED_IDLE"},
        "ioPriority": {"class": "IOPRIO_CLASS_IDLE", "priority": 0},
    });
    let file = c.file("process.json", &own.to_string());
    let other = exec(&c, &["--process", file.to_str().unwrap()]);
    assert_eq!(scheduler(other), [own_nice(), 0, 5]);
    assert_eq!(io_priority(other.pid), "idle");
}

/// As under runc and crun: the idle class has no priorities (ioprio_set(2)).
#[test]
fn a_missing_io_priority_is_zero() {
    for (class, expected) in [("IDLE", "idle"), ("BE", "best-effort: prio 0")] {
        let mut c = asleep();
        c.set("/process/ioPriority", json!({"class": format!("IOPRIO_CLASS_{class}")}));
        c.run_detached();
        assert_eq!(io_priority(c.process().pid), expected);
    }
}

// Proves: process.scheduler.policy=SCHED_ISO
#[test]
fn what_the_kernel_refuses_is_an_error() {
    let mut c = asleep();
    c.set("/process/scheduler", json!({"policy": "SCHED_ISO"}));
    let ran = c.create();
    assert_ne!(ran.status.code(), Some(0), "{ran:#?}");
    assert!(ran.stderr.contains("process.scheduler: set SCHED_ISO"), "{ran:#?}");
    c.assert_gone();
}

// Proves: linux.personality.domain={LINUX, LINUX32}
#[test]
fn personality() {
    let machine = match std::env::consts::ARCH {
        "x86_64" => "i686\n",
        "aarch64" => "armv8l\n",
        _ => skip!("not every machine has a 32-bit personality"),
    };
    let mut c = Container::with_script("uname -m; exec sleep 600");
    c.set("/linux/personality", json!({"domain": "LINUX32"}));
    // The filter is loaded after it.
    let rules = json!([{"names": ["personality"], "action": "SCMP_ACT_ERRNO"}]);
    c.set("/linux/seccomp", json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules}));
    let ran = c.run_detached();
    assert_eq!(ran.wait_for("\n"), machine);
    assert_eq!(c.process().read("personality").trim(), "00000008");
    assert_eq!(exec(&c, &[]).read("personality").trim(), "00000008");
    let mut plain = asleep();
    plain.set("/linux/personality", json!({"domain": "LINUX"}));
    plain.run_detached();
    assert_eq!(plain.process().read("personality").trim(), "00000000");
}

// Proves: linux.memoryPolicy.mode={MPOL_DEFAULT, MPOL_BIND, MPOL_INTERLEAVE, MPOL_PREFERRED,
// MPOL_LOCAL}, linux.memoryPolicy.nodes, linux.memoryPolicy.flags={MPOL_F_RELATIVE_NODES,
// MPOL_F_STATIC_NODES}
#[test]
fn memory_policies() {
    if std::fs::read("/proc/self/numa_maps").is_err() {
        skip!("the kernel has no NUMA");
    }
    let cases: &[(Value, &str)] = &[
        (json!({"mode": "MPOL_INTERLEAVE", "nodes": "0"}), "interleave:0"),
        (
            json!({"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"]}),
            "bind=static:0",
        ),
        (
            json!({"mode": "MPOL_PREFERRED", "nodes": "0", "flags": ["MPOL_F_RELATIVE_NODES"]}),
            "prefer=relative:0",
        ),
        (json!({"mode": "MPOL_LOCAL"}), "local"),
        (json!({"mode": "MPOL_DEFAULT"}), "default"),
    ];
    for (asked, expected) in cases {
        let mut c = asleep();
        c.set("/linux/memoryPolicy", asked.clone());
        c.run_detached();
        for process in [c.process(), exec(&c, &[])] {
            let maps = process.read("numa_maps");
            let found = maps.lines().next().unwrap().split(' ').nth(1);
            assert_eq!(found, Some(*expected), "{asked}");
        }
    }
    let mut c = asleep();
    for nodes in ["1023", "0,32767"] {
        c.set("/linux/memoryPolicy", json!({"mode": "MPOL_BIND", "nodes": nodes}));
        let ran = c.create();
        assert_ne!(ran.status.code(), Some(0), "{ran:#?}");
        assert!(ran.stderr.contains("linux.memoryPolicy: set MPOL_BIND"), "{ran:#?}");
        c.assert_gone();
    }
}

/// Each has come with some version of Linux: it is in force, or the kernel's refusal is an error.
// Proves: linux.memoryPolicy.mode={MPOL_WEIGHTED_INTERLEAVE, MPOL_PREFERRED_MANY},
// linux.memoryPolicy.flags=MPOL_F_NUMA_BALANCING
#[test]
fn memory_policies_of_newer_kernels() {
    if std::fs::read("/proc/self/numa_maps").is_err() {
        skip!("the kernel has no NUMA");
    }
    for (asked, expected, version) in [
        (json!({"mode": "MPOL_PREFERRED_MANY", "nodes": "0"}), "prefer (many):0", (5, 15)),
        (
            json!({"mode": "MPOL_WEIGHTED_INTERLEAVE", "nodes": "0"}),
            "weighted interleave:0",
            (6, 9),
        ),
        (
            json!({"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_NUMA_BALANCING"]}),
            "bind=balancing:0",
            (5, 12),
        ),
    ] {
        let mut c = asleep();
        c.set("/linux/memoryPolicy", asked.clone());
        if !kernel_at_least(version.0, version.1) {
            c.create().refused(&["linux.memoryPolicy: set MPOL_"]);
            continue;
        }
        c.run_detached();
        let maps = c.process().read("numa_maps");
        let policy = maps.lines().next().unwrap().split_once(' ').unwrap().1;
        // Before 6.14 only some stable releases have a word for the flag.
        let nameless = expected == "bind=balancing:0" && !kernel_at_least(6, 14);
        let found = policy.starts_with(&format!("{expected} "));
        assert!(found || nameless && policy.starts_with("bind:0 "), "{asked}: {policy}");
    }
}
