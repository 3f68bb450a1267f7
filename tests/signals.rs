//! The signals of what the runtime starts: an empty mask and default actions, whatever the caller
//! of the runtime blocks or ignores. Read from `SigBlk` and `SigIgn` of the process's status.

use std::fs;
use std::process::Command;

use crate::support::*;

/// Calls its arguments with every signal ignored that can be, and every signal blocked. By system
/// calls, because the C library refuses to do it for the two signals that it uses itself.
const HOSTILE_CALLER: &str = "\
import ctypes, os, platform, sys
sigaction, sigprocmask = {'x86_64': (13, 14)}.get(platform.machine(), (134, 135))
call = ctypes.CDLL(None).syscall
ignore = (ctypes.c_ulong * 4)(1, 0, 0, 0)
for signal in range(1, 65):
    call(sigaction, signal, ignore, None, 8)
call(sigprocmask, 2, (ctypes.c_ulong * 1)(2 ** 64 - 1), None, 8)
os.execvp(sys.argv[1], sys.argv[1:])
";

/// Every signal but KILL and STOP.
const ALL: u64 = !(1 << 8 | 1 << 18);

/// The words that make the calls of `c` those of a hostile caller.
fn hostile(c: &mut Container) {
    c.rt.through = ["python3", "-c", HOSTILE_CALLER].map(Into::into).into();
}

fn usual(c: &mut Container) {
    c.rt.through.clear();
}

/// Blocked and ignored signals of a status file.
fn masks(status: &str) -> (u64, u64) {
    let mask = |name: &str| {
        let value = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| {
            panic!("no {name} in {status:?}");
        });
        u64::from_str_radix(value.trim(), 16).unwrap()
    };
    (mask("SigBlk:"), mask("SigIgn:"))
}

#[track_caller]
fn assert_clean(process: Proc, program: &str, what: &str) {
    wait_until("execve", || process.runs(program));
    assert_eq!(masks(&process.read("status")), (0, 0), "{what}");
}

fn sleeper() -> Container {
    let mut c = Container::new();
    c.args(&["/bin/sleep", "600"]);
    c
}

#[test]
fn the_hostile_caller_blocks_and_ignores_all_signals() {
    let words = ["-c", HOSTILE_CALLER, "cat", "/proc/self/status"];
    let output = Command::new("python3").args(words).output().unwrap();
    assert_eq!(masks(std::str::from_utf8(&output.stdout).unwrap()), (ALL, ALL));
}

#[test]
fn the_program_of_run_starts_with_no_signal_blocked_or_ignored() {
    let mut c = sleeper();
    hostile(&mut c);
    c.run_detached();
    usual(&mut c);
    assert_clean(c.process(), "sleep", "run --detach");
}

#[test]
fn the_program_of_create_and_start_starts_with_no_signal_blocked_or_ignored() {
    let mut c = sleeper();
    hostile(&mut c);
    c.create().ok();
    c.start().ok();
    usual(&mut c);
    assert_clean(c.process(), "sleep", "create, start");
}

#[test]
fn a_program_in_a_user_namespace_starts_with_no_signal_blocked_or_ignored() {
    let mut c = sleeper();
    c.map_users(100_000, 65_536);
    hostile(&mut c);
    c.run_detached();
    usual(&mut c);
    assert_clean(c.process(), "sleep", "run with a user namespace");
}

#[test]
fn a_container_of_a_hostile_caller_can_be_stopped() {
    // A shell cannot trap a signal that is ignored when it starts.
    let script = "trap 'exit 7' TERM; echo ready; while :; do sleep 0.1; done";
    let mut c = Container::with_script(script);
    c.write();
    hostile(&mut c);
    let running = c.rt.spawn(c.rt.command(&c.words("run", &[])));
    usual(&mut c);
    wait_until("the trap", || running.stdout().contains("ready"));
    c.kill("TERM").ok();
    assert_eq!(running.wait().code(), Some(7));
}

#[test]
fn the_program_of_exec_starts_with_no_signal_blocked_or_ignored() {
    let mut c = sleeper();
    c.run_detached();
    let pid_file = c.path().join("exec.pid");
    let read_pid = || fs::read_to_string(&pid_file).ok()?.parse().ok();
    let options = ["--pid-file", pid_file.to_str().unwrap()];

    hostile(&mut c);
    c.exec(&["--detach", options[0], options[1]], &["/bin/sleep", "600"]).ok();
    assert_clean(Proc::new(read_pid().unwrap()), "sleep", "exec --detach");
    fs::remove_file(&pid_file).unwrap();

    let words = ["exec", options[0], options[1], &c.id, "/bin/sleep", "600"];
    let running = c.rt.spawn(c.rt.command(&words));
    usual(&mut c);
    let process = Proc::new(wait_for("the pid file", read_pid));
    assert_clean(process, "sleep", "exec");
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(process.pid()), nix::sys::signal::SIGTERM)
        .unwrap();
    assert_eq!(running.wait().code(), Some(128 + 15));
}

#[test]
fn hooks_of_every_kind_start_with_no_signal_blocked_or_ignored() {
    let mut c = sleeper();
    let mut files = Vec::new();
    let kinds =
        ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];
    for kind in kinds {
        // A program, not a shell, which would set signals of its own.
        let (dd, to) = match kind {
            "startContainer" => ("/bin/dd", format!("/tmp/{kind}")),
            _ => ("/usr/bin/dd", c.path().join(kind).to_str().unwrap().to_owned()),
        };
        let args = json!(["dd", "if=/proc/self/status", format!("of={to}")]);
        c.set(&format!("/hooks/{kind}"), json!([{"path": dd, "args": args}]));
        let inside = kind == "startContainer";
        files.push(if inside { c.rootfs().join("tmp").join(kind) } else { to.into() });
    }
    hostile(&mut c);
    c.create().ok();
    c.start().ok();
    c.kill("KILL").ok();
    c.wait_status("stopped");
    c.delete().ok();
    usual(&mut c);
    for (kind, file) in kinds.iter().zip(files) {
        let status = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{kind}: {error}"));
        assert_eq!(masks(&status), (0, 0), "{kind}");
    }
}
