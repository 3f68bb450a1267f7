//! The effect of compiled filters on real system calls.
//!
//! A filter cannot be removed, so each test runs its own program again and loads the filter there.

use std::env;
use std::net::UdpSocket;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output};
use std::sync::mpsc;
use std::thread;

use crate::seccomp::{Filter, compile};
use crate::sys::seccomp::load;
use libseccomp::{ScmpNotifReq, ScmpNotifResp, ScmpNotifRespFlags, ScmpSyscall};
use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use serde_json::{Value, json};

/// Set in the second process.
const CHILD: &str = "BULKHEAD_TEST_CHILD";

/// Runs `body` in a process of its own, by the test `name`. Returns the output.
fn in_child(name: &str, body: fn()) -> Output {
    if env::var_os(CHILD).is_some() {
        nix::sys::prctl::set_no_new_privs().unwrap();
        body();
        std::process::exit(0);
    }
    Command::new(env::current_exe().unwrap())
        .args([
            "--exact",
            &format!("seccomp::load_tests::{name}"),
            "--nocapture",
            "--test-threads=1",
        ])
        .env(CHILD, "1")
        .output()
        .unwrap()
}

fn succeeds(name: &str, body: fn()) {
    let output = in_child(name, body);
    assert!(output.status.success(), "{output:?}");
    // The test was found, and `body` did not return.
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("running 1 test") && !text.contains("test result"), "{text}");
}

fn compiled(profile: Value) -> Filter {
    let mut warnings = Vec::new();
    let filter = compile(&serde_json::from_value(profile).unwrap(), &mut warnings).unwrap();
    assert!(warnings.is_empty(), "{warnings:?}");
    filter
}

fn put_on(profile: Value) -> Option<OwnedFd> {
    let filter = compiled(profile);
    load(&filter.program, filter.flags).unwrap()
}

fn shipped(name: &str) -> Value {
    let path = format!("{}/seccomp-profiles/{name}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// Calls mkdirat(2) where it would succeed, so that an error comes from the filter.
fn mkdirat() -> Result<(), Errno> {
    let path = env::temp_dir().join(format!("bulkhead-seccomp-{}", std::process::id()));
    let result = rustix::fs::mkdirat(CWD, &path, Mode::RWXU);
    if result.is_ok() {
        std::fs::remove_dir(&path).unwrap();
    }
    result.map_err(|e| Errno::from_raw(e.raw_os_error()))
}

fn openat2() -> Result<(), Errno> {
    rustix::fs::openat2(CWD, "/", OFlags::PATH, Mode::empty(), ResolveFlags::empty())
        .map(drop)
        .map_err(|e| Errno::from_raw(e.raw_os_error()))
}

fn sh(script: &str) -> (bool, String) {
    let output = Command::new("sh").args(["-c", script]).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(text).unwrap())
}

#[test]
fn refused_is_eperm_and_newer_is_enosys() {
    succeeds("refused_is_eperm_and_newer_is_enosys", || {
        assert_eq!((mkdirat(), openat2()), (Ok(()), Ok(())));
        // All numbers up to the last of Linux 4.18, except two.
        let last = ScmpSyscall::from_name("statx").unwrap().as_raw_syscall();
        let names: Vec<String> = (0..=last)
            .filter_map(|number| ScmpSyscall::from_raw_syscall(number).get_name().ok())
            .filter(|name| !name.starts_with("mkdir"))
            .collect();
        let listener = put_on(json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [
            {"names": names, "action": "SCMP_ACT_ALLOW"}]}));
        assert!(listener.is_none());
        assert_eq!(mkdirat(), Err(Errno::EPERM));
        assert_eq!(openat2(), Err(Errno::ENOSYS));
        let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        assert!(status.contains("Seccomp:\t2\n"), "{status}");
        assert!(status.contains("Seccomp_filters:\t1\n"), "{status}");
    });
}

#[test]
fn kill_process_kills() {
    let output = in_child("kill_process_kills", || {
        put_on(json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
            {"names": ["mkdirat", "mkdir"], "action": "SCMP_ACT_KILL_PROCESS"}]}));
        // It does not return: the filter kills the process.
        let _ = mkdirat();
    });
    assert_eq!(output.status.signal(), Some(libc::SIGSYS), "{output:?}");
}

#[test]
fn arguments_and_flags_reach_the_kernel() {
    succeeds("arguments_and_flags_reach_the_kernel", || {
        put_on(json!({"defaultAction": "SCMP_ACT_ALLOW",
            "flags": ["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
                "SECCOMP_FILTER_FLAG_TSYNC"],
            "syscalls": [{"names": ["mkdirat", "mkdir"], "action": "SCMP_ACT_ERRNO", "errnoRet": 99},
                {"names": ["getpriority"], "action": "SCMP_ACT_ERRNO", "errnoRet": 98,
                    "args": [{"index": 1, "value": 0, "op": "SCMP_CMP_NE"}]}]}));
        assert_eq!(mkdirat(), Err(Errno::from_raw(99)));
        assert!(rustix::process::getpriority_process(None).is_ok());
        let other = rustix::process::getpriority_process(rustix::process::Pid::from_raw(1));
        assert_eq!(other.unwrap_err().raw_os_error(), 98);
    });
}

#[test]
fn the_listener_answers() {
    succeeds("the_listener_answers", || {
        let (to_agent, agent) = mpsc::channel::<OwnedFd>();
        // Start the agent before the filter is loaded: it creates directories itself.
        let agent = thread::spawn(move || {
            let listener = agent.recv().unwrap();
            let fd = listener.as_raw_fd();
            let call = ScmpNotifReq::receive(fd).unwrap();
            let answer =
                ScmpNotifResp::new_error(call.id, -libc::EXDEV, ScmpNotifRespFlags::empty());
            answer.respond(fd).unwrap();
            call.data.syscall
        });
        let listener = put_on(json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/unused",
            "flags": ["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", "SECCOMP_FILTER_FLAG_TSYNC"],
            "syscalls": [{"names": ["mkdirat", "mkdir"], "action": "SCMP_ACT_NOTIFY"}]}));
        to_agent.send(listener.unwrap()).unwrap();
        assert_eq!(mkdirat(), Err(Errno::EXDEV));
        let call = agent.join().unwrap();
        assert!(call.get_name().unwrap().starts_with("mkdir"), "{call}");
    });
}

#[test]
fn a_second_listener_is_refused() {
    succeeds("a_second_listener_is_refused", || {
        let profile = json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/unused",
            "syscalls": [{"names": ["mkdirat"], "action": "SCMP_ACT_NOTIFY"}]});
        let first = put_on(profile.clone());
        assert!(first.is_some());
        let filter = compiled(profile);
        assert_eq!(load(&filter.program, filter.flags).err(), Some(Errno::EBUSY));
    });
}

#[test]
fn programs_run_under_the_default_profile() {
    succeeds("programs_run_under_the_default_profile", || {
        put_on(shipped("default"));
        assert_eq!(mkdirat(), Ok(()));
        assert_eq!(
            sh("set -e; echo a | cat; ls / >/dev/null; id -u >/dev/null"),
            (true, "a\n".into())
        );
        UdpSocket::bind("127.0.0.1:0").unwrap();
        let (done, text) = sh("unshare --user true");
        assert!(!done && text.contains("not permitted"), "{text}");
        assert_eq!(unshare(CloneFlags::CLONE_FILES), Err(Errno::EPERM));
    });
}

#[test]
fn a_shell_runs_under_the_strict_profile() {
    succeeds("a_shell_runs_under_the_strict_profile", || {
        put_on(shipped("strict"));
        assert_eq!(sh("echo a | cat; ls / >/dev/null && echo b"), (true, "a\nb\n".into()));
        assert_eq!(mkdirat(), Err(Errno::EPERM));
        let denied = UdpSocket::bind("127.0.0.1:0").unwrap_err();
        assert_eq!(denied.raw_os_error(), Some(libc::EPERM));
    });
}

#[test]
fn no_network_leaves_unix_sockets() {
    succeeds("no_network_leaves_unix_sockets", || {
        UdpSocket::bind("127.0.0.1:0").unwrap();
        put_on(shipped("no-network"));
        let denied = UdpSocket::bind("127.0.0.1:0").unwrap_err();
        assert_eq!(denied.raw_os_error(), Some(libc::EPERM));
        UnixDatagram::pair().unwrap();
        assert_eq!(mkdirat(), Ok(()));
    });
}

#[test]
fn the_audit_profile_refuses_nothing() {
    succeeds("the_audit_profile_refuses_nothing", || {
        put_on(shipped("audit"));
        assert_eq!(mkdirat(), Ok(()));
        // Not in the list, so it is logged and executed.
        assert_eq!(unshare(CloneFlags::CLONE_FILES), Ok(()));
    });
}
