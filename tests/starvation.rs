//! System calls that fail in the runtime itself, by strace(1): an error in one line, or none, never
//! a panic, and nothing stays behind.

use crate::support::*;

/// Has `calls` fail with `errno` in the runtime. strace ends with the last process that it follows,
/// so that all that the runtime starts can be followed in the foreground only.
fn failing(c: &mut Container, calls: &str, errno: &str, follow: bool) {
    let trace = format!("trace={calls}");
    let inject = format!("inject={calls}:error={errno}");
    let mut words = vec!["strace", "-qq", "-o", "/dev/null", "-e", &trace, "-e", &inject];
    words.extend(follow.then_some("-f"));
    c.rt.through = words.into_iter().map(Into::into).collect();
}

#[test]
fn the_failure_is_injected() {
    let mut c = Container::new();
    failing(&mut c, "clone3", "EIO", false);
    let ran = c.run();
    c.rt.through.clear();
    ran.refused(&["i/o error"]);
    c.assert_gone();
}

/// The program ends without memory, with a line; Rust's own handler would abort it with several.
#[test]
fn without_memory_an_error_says_so() {
    let mut c = Container::new();
    c.set("/annotations/large", json!("x".repeat(15 << 20)));
    c.rt.through = ["prlimit", "--data=8388608"].map(Into::into).to_vec();
    let ran = c.create();
    c.rt.through.clear();
    ran.refused(&["allocate memory"]);
    c.assert_gone();
}

#[test]
fn without_memory_an_exec_has_its_own_exit_status() {
    let mut c = Container::new();
    c.args(&["/bin/sleep", "600"]);
    c.run_detached().ok();
    let large = json!({"cwd": "/", "args": ["true"], "env": ["x".repeat(15 << 20)]});
    let file = c.file("process.json", &large.to_string());
    c.rt.through = ["prlimit", "--data=8388608"].map(Into::into).to_vec();
    let ran = c.rt.call(&["exec", "--process", file.to_str().unwrap(), &c.id]);
    c.rt.through.clear();
    ran.not_started(&["allocate memory"]);
}

// Evidence: crash-left (exec)
/// The process of the program is a sibling of the process that the runtime has cloned.
#[test]
fn a_failed_exec_leaves_no_process() {
    let mut c = Container::new();
    c.args(&["/bin/sleep", "600"]);
    c.run_detached().ok();
    let before = c.rt.call(&["ps", "--format", "json", &c.id]).ok().stdout;
    for (options, call, errno) in [
        // The first call of the runtime for the process of the program.
        (&["--detach"][..], "waitid", "EIO:when=1"),
        (&[], "signalfd4", "EMFILE"),
    ] {
        failing(&mut c, call, errno, false);
        let ran = c.exec(options, &["/bin/sleep", "600"]);
        c.rt.through.clear();
        ran.not_started(&[]);
        assert_eq!(c.rt.call(&["ps", "--format", "json", &c.id]).ok().stdout, before, "{call}");
    }
}

/// A removal that fails is tried again, and then the hooks must still be known.
#[test]
fn poststop_hooks_run_once_whatever_cannot_be_removed() {
    for call in 1..=16 {
        let mut c = Container::new();
        let runs = c.path().join("hook-runs");
        let hook = c.script("hook", &format!("echo run >>{}", runs.display()));
        c.push("/hooks/poststop", json!({"path": hook}));
        failing(&mut c, "unlinkat,rmdir,unlink", &format!("EIO:when={call}"), false);
        c.run().ok();
        c.rt.through.clear();
        c.assert_gone();
        assert_eq!(std::fs::read_to_string(runs).unwrap(), "run\n", "call {call}");
    }
}

#[test]
fn no_command_needs_random_numbers() {
    for errno in ["EINVAL", "EIO"] {
        let mut c = Container::new();
        c.set("/process/env", json!(["A=1", "A=2", "PATH=/bin"]));
        c.set("/linux/maskedPaths", json!(["/proc/kcore"]));
        failing(&mut c, "getrandom", errno, true);
        c.run().ok();
        c.args(&["/bin/sleep", "600"]);
        failing(&mut c, "getrandom", errno, false);
        c.create().ok();
        c.start().ok();
        assert_eq!(c.status(), "running");
        c.rt.call(&["list"]).ok();
        c.rt.call(&["features"]).ok();
        c.rt.call(&["ps", &c.id]).ok();
        c.rt.call(&["pause", &c.id]).ok();
        c.rt.call(&["resume", &c.id]).ok();
        c.rt.call(&["events", "--stats", &c.id]).ok();
        failing(&mut c, "getrandom", errno, true);
        c.exec(&[], &["/bin/true"]).ok();
        failing(&mut c, "getrandom", errno, false);
        c.kill("KILL").ok();
        c.wait_status("stopped");
        c.delete().ok();
        c.rt.through.clear();
        c.assert_gone();
    }
}
