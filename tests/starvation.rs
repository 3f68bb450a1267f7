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
