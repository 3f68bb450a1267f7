//! After a failure it is as if nothing had been tried: no process, cgroup, mount or state stays, and
//! the id is free. After a crash of the runtime, `delete --force` gets there.

use std::fs;
use std::time::Duration;

use crate::support::*;

/// One way to make create fail, and what the error has to name.
type Failure = (&'static str, fn(&mut Container), &'static [&'static str]);

const FAILURES: &[Failure] = &[
    (
        "missing program",
        |c| set(c, "/process/args", json!(["/no/such/program"])),
        &["/no/such/program"],
    ),
    (
        "missing mount source",
        |c| mount(c, "/mnt", "bind", "/no/such/source", "bind"),
        &["/no/such/source"],
    ),
    ("unknown file system", |c| mount(c, "/mnt", "nosuchfs", "x", "rw"), &["nosuchfs"]),
    ("bad mount data", |c| mount(c, "/mnt", "tmpfs", "tmpfs", "size=lots"), &["/mnt"]),
    (
        "directory over a file",
        |c| mount(c, "/etc/passwd", "bind", "/tmp", "bind"),
        &["/etc/passwd"],
    ),
    (
        "failing hook",
        |c| set(c, "/hooks", json!({"createContainer": [{"path": "/bin/false"}]})),
        &["hook"],
    ),
    (
        "a directory that cannot be",
        |c| set(c, "/process/cwd", json!("/etc/passwd/x")),
        &["/etc/passwd/x"],
    ),
    (
        "unknown huge page size",
        |c| set(c, "/linux/resources/hugepageLimits", json!([{"pageSize": "3MB", "limit": 1}])),
        &["3MB"],
    ),
    (
        "unknown seccomp action",
        |c| set(c, "/linux/seccomp", json!({"defaultAction": "SCMP_ACT_SING"})),
        &["SCMP_ACT_SING"],
    ),
    (
        "a namespace that is not there",
        |c| namespace(c, "network", "/proc/1/ns/no-such"),
        &["/proc/1/ns/no-such"],
    ),
    (
        "a namespace of another type",
        |c| namespace(c, "network", "/proc/self/ns/uts"),
        &["/proc/self/ns/uts"],
    ),
    (
        "a sysctl that is refused",
        |c| set(c, "/linux/sysctl", json!({"net.ipv4.no_such_thing": "1"})),
        &["no_such_thing"],
    ),
    ("missing root", |c| set(c, "/root/path", json!("no-such-root")), &["no-such-root"]),
    (
        "an unknown unified key",
        |c| set(c, "/linux/resources/unified", json!({"no.such.key": "1"})),
        &["unified"],
    ),
];

fn set(c: &mut Container, pointer: &str, value: Value) {
    c.set(pointer, value);
}

fn mount(c: &mut Container, to: &str, kind: &str, from: &str, option: &str) {
    c.mount(to, kind, from, &[option]);
}

fn namespace(c: &mut Container, kind: &str, path: &str) {
    c.namespace(json!({"type": kind, "path": path}));
}

// Proves: create:error
#[test]
fn a_create_that_fails_leaves_nothing() {
    for_each_row(FAILURES, |(what, spoil, words)| {
        let mut c = Container::with_script("exec sleep 600");
        let good = c.config.clone();
        spoil(&mut c);
        c.create().refused(words);
        assert!(!c.pid_file().exists(), "{what}: a pid file");
        c.assert_gone();
        c.run().refused(words);
        c.assert_gone();
        c.state_call().refused(&["does not exist"]);
        // The id is as free as before.
        c.config = good;
        c.create().ok();
        assert_eq!(c.status(), "created", "{what}");
    });
}

#[test]
fn a_limit_too_small_to_live_in() {
    if controller("memory").is_none() {
        skip!("no memory controller here");
    }
    let mut c = Container::with_script("exec sleep 600");
    c.set("/linux/resources/memory", json!({"limit": 1}));
    let ran = c.create();
    // Init may be killed by it or the limit refused; either is an error and one line.
    ran.refused(&["memory"]);
    c.assert_gone();
}

#[test]
fn memory_above_swap_is_refused() {
    if controller("memory").is_none() {
        skip!("no memory controller here");
    }
    let mut c = Container::with_script("exec sleep 600");
    c.set("/linux/resources/memory", json!({"limit": 64 << 20, "swap": 32 << 20}));
    c.create().refused(&["swap"]);
    c.assert_gone();
}

/// Kills the runtime after `delay` of `verb`, wherever it is then.
fn kill_during(c: &Container, words: &[&str], delay: Duration) {
    c.write();
    let mut call = c.rt.spawn(c.rt.command(words));
    std::thread::sleep(delay);
    // It may be over by now, which is as good.
    call.child.kill().ok();
    call.child.wait().unwrap();
}

#[test]
fn a_runtime_killed_during_create() {
    let c = Container::with_script("exec sleep 600");
    for step in 0..40 {
        let delay = Duration::from_micros(250 * step);
        kill_during(&c, &c.words("create", &[]), delay);
        c.delete_force().ok();
        let left = c.leftovers();
        assert!(left.is_empty(), "killed after {delay:?}: {left:#?}");
        c.delete_force().ok();
    }
    c.create().ok();
    assert_eq!(c.status(), "created");
}

#[test]
fn a_runtime_killed_during_run() {
    let c = Container::with_script("exec sleep 600");
    for step in 0..20 {
        let delay = Duration::from_micros(700 * step);
        kill_during(&c, &c.words("run", &[]), delay);
        c.delete_force().ok();
        let left = c.leftovers();
        assert!(left.is_empty(), "killed after {delay:?}: {left:#?}");
    }
    c.run_detached();
    assert_eq!(c.status(), "running");
}

#[test]
fn a_runtime_killed_during_delete() {
    let c = Container::with_script("exec sleep 600");
    for step in 0..15 {
        c.run_detached();
        let delay = Duration::from_micros(300 * step);
        kill_during(&c, &["delete", "--force", &c.id], delay);
        c.delete_force().ok();
        let left = c.leftovers();
        assert!(left.is_empty(), "killed after {delay:?}: {left:#?}");
    }
}

#[test]
fn a_runtime_killed_during_start() {
    let c = Container::with_script("exec sleep 600");
    for step in 0..15 {
        c.create().ok();
        let delay = Duration::from_micros(200 * step);
        kill_during(&c, &["start", &c.id], delay);
        let status = c.status();
        assert!(["created", "running", "stopped"].contains(&status.as_str()), "{status}");
        c.delete_force().ok();
        c.assert_gone();
    }
}

#[test]
fn processes_that_outlive_init_are_deleted_too() {
    let mut c =
        Container::with_script("setsid sleep 601 & setsid sleep 602 & echo ready; exec sleep 600");
    c.without_namespace("pid");
    c.run_detached().wait_for("ready");
    let init = c.process();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(init.pid), nix::sys::signal::Signal::SIGKILL)
        .unwrap();
    c.wait_status("stopped");
    c.delete_force().ok();
    c.assert_gone();
}

// Proves: delete:others
#[test]
fn delete_removes_only_what_the_runtime_made() {
    let c = Container::new();
    let stranger = c.rt.root.join("home");
    fs::create_dir_all(stranger.join("user")).unwrap();
    fs::write(stranger.join("user/file"), "precious\n").unwrap();
    for words in [&["delete", "--force", "home"][..], &["delete", "home"]] {
        c.rt.call(words);
        let kept = fs::read_to_string(stranger.join("user/file")).unwrap_or_default();
        assert_eq!(kept, "precious\n", "{words:?}");
    }
}

#[test]
fn a_broken_state_is_no_reason_to_crash() {
    for content in ["", "null", "{}", "[]", "{\"id\":", "\u{0}"] {
        let c = Container::with_script("exec sleep 600");
        c.create().ok();
        let process = c.process();
        let dir = c.rt.root.join(&c.id);
        let mut spoiled = Vec::new();
        for entry in fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() && path.extension().is_some_and(|kind| kind == "json") {
                spoiled.push((path.clone(), fs::read(&path).unwrap()));
                fs::write(&path, content).unwrap();
            }
        }
        let ran = c.state_call();
        assert!(ran.status.code().is_some_and(|code| code < 100), "{content:?}: {ran:#?}");
        c.rt.call(&["list"]).ok();
        for (path, text) in spoiled {
            fs::write(path, text).unwrap();
        }
        assert!(process.alive());
        assert_eq!(c.status(), "created");
    }
}

#[test]
fn a_full_life_leaves_no_mount_on_the_host() {
    let before = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let mut c = Container::with_script("exec sleep 600");
    c.set("/linux/maskedPaths", json!(["/proc/version", "/etc"]));
    c.mount("/mnt", "tmpfs", "tmpfs", &["shared"]);
    c.run_detached();
    let during = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!during.contains(c.path().to_str().unwrap()), "{during}");
    c.delete_force().ok();
    let after = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert_eq!(before.lines().count(), after.lines().count());
}
