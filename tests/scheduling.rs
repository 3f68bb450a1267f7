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

/// In a user namespace a process has no right to a higher priority: it is the runtime that sets it.
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

#[test]
fn what_the_kernel_refuses_is_an_error() {
    let mut c = asleep();
    c.set("/process/scheduler", json!({"policy": "SCHED_ISO"}));
    let ran = c.create();
    assert_ne!(ran.status.code(), Some(0), "{ran:#?}");
    assert!(ran.stderr.contains("process.scheduler: set SCHED_ISO"), "{ran:#?}");
    c.assert_gone();
}

#[test]
fn personality() {
    if cfg!(not(target_arch = "x86_64")) {
        skip!("not every machine has a 32-bit personality");
    }
    let mut c = Container::with_script("uname -m; exec sleep 600");
    c.set("/linux/personality", json!({"domain": "LINUX32"}));
    // The filter is loaded after it.
    let rules = json!([{"names": ["personality"], "action": "SCMP_ACT_ERRNO"}]);
    c.set("/linux/seccomp", json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules}));
    let ran = c.run_detached();
    assert_eq!(ran.wait_for("\n"), "i686\n");
    assert_eq!(c.process().read("personality").trim(), "00000008");
    assert_eq!(exec(&c, &[]).read("personality").trim(), "00000008");
    let mut plain = asleep();
    plain.set("/linux/personality", json!({"domain": "LINUX"}));
    plain.run_detached();
    assert_eq!(plain.process().read("personality").trim(), "00000000");
}

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
    c.set("/linux/memoryPolicy", json!({"mode": "MPOL_BIND", "nodes": "1023"}));
    let ran = c.create();
    assert_ne!(ran.status.code(), Some(0), "{ran:#?}");
    assert!(ran.stderr.contains("linux.memoryPolicy: set MPOL_BIND"), "{ran:#?}");
    c.assert_gone();
}
