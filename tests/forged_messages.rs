//! What a neighbour in a joined pid namespace, with CAP_SYS_PTRACE, can tell the runtime in the name
//! of a new init: nothing that makes it run hooks again, adopt another process or use another terminal.

use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, UnixAddr};
use nix::sys::socket::{bind, listen, socket};

use crate::support::*;

/// A container whose process (tests/forge/forge.c) sends a message through the socket of the next
/// process that appears beside it.
fn forger(message: &[&str]) -> (Container, Ran) {
    let mut c = Container::new();
    put_c_program(&c, "forge");
    c.capabilities(&["CAP_SYS_PTRACE"]).args(&[&["/bin/forge"], message].concat());
    let ran = c.run_detached();
    ran.wait_for("ready");
    (c, ran)
}

/// A container in the pid namespace of another. Its hook leaves a line in a file for each run.
fn neighbour_of(other: &Container) -> Container {
    let mut c = Container::new();
    c.namespace(json!({"type": "pid", "path": format!("/proc/{}/ns/pid", other.process().pid)}));
    let hook = c.script("hook", &format!("echo run >>{}", c.path().join("hook-runs").display()));
    c.push("/hooks/createRuntime", json!({"path": hook}));
    c
}

#[track_caller]
fn assert_hook_ran_once(c: &Container) {
    assert_eq!(fs::read_to_string(c.path().join("hook-runs")).unwrap(), "run\n");
}

/// Lets a forger send its message.
fn permit(forger: &Container) {
    fs::write(forger.rootfs().join("mnt/go"), "").unwrap();
}

// Evidence: forged-message (run)
/// The message arrives when the runtime has adopted init. The runtime waits meanwhile, because the
/// queue of the agent's socket is full.
#[test]
fn messages_of_an_adopted_init_are_refused() {
    let own = std::process::id().to_string();
    for message in [&["H"][..], &["M"], &["T"], &["P", &own]] {
        let (first, forger) = forger(message);
        let mut c = neighbour_of(&first);
        let path = c.path().join("agent");
        let agent =
            socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
        bind(agent.as_raw_fd(), &UnixAddr::new(&path).unwrap()).unwrap();
        listen(&agent, Backlog::new(0).unwrap()).unwrap();
        let filler = UnixStream::connect(&path).unwrap();
        c.set(
            "/linux/seccomp",
            json!({
                "defaultAction": "SCMP_ACT_ALLOW",
                "listenerPath": path,
                "syscalls": [{"names": ["chroot"], "action": "SCMP_ACT_NOTIFY"}],
            }),
        );
        c.write();
        let running = c.rt.spawn(c.rt.command(&c.words("run", &[])));
        forger.wait_for("held");
        let call = format!("/proc/{}/syscall", running.child.id());
        let connects = format!("{} ", nix::libc::SYS_connect);
        wait_until("the runtime waits for the agent", || {
            fs::read_to_string(&call).is_ok_and(|call| call.starts_with(&connects))
        });
        permit(&first);
        forger.wait_for("sent");
        let listener = UnixListener::from(agent);
        drop((listener.accept().unwrap(), filler));
        let connection = listener.accept().unwrap();
        running.wait().refused(&["unexpected message from the container's process"]);
        drop(connection);
        assert_hook_ran_once(&c);
    }
}

// Evidence: forged-message (run)
/// The message arrives before the runtime knows init: strace(1) holds the process that has cloned
/// init and reports its id.
#[test]
fn messages_of_an_init_that_is_not_adopted_are_refused() {
    if !Path::new("/usr/bin/strace").exists() {
        assert!(std::env::var_os("CI").is_none(), "strace is missing");
        skip!("needs strace");
    }
    let own = std::process::id().to_string();
    for (message, refusal) in [
        (&["H"][..], "unexpected message from the container's process"),
        (&["M"], "unexpected message from the container's process"),
        (&["T"], "unexpected message from the container's process"),
        (&["C"], "unexpected message from the container's process"),
        (&["P", &own], "take the place of the go-between"),
    ] {
        let (first, forger) = forger(message);
        let mut c = neighbour_of(&first);
        let delay = format!("inject=clone:delay_exit={}", (*PATIENCE / 20).as_micros());
        c.rt.through = ["strace", "-f", "-o", "/dev/null", "-e", "trace=clone", "-e", &delay]
            .map(Into::into)
            .to_vec();
        c.write();
        permit(&first);
        let running = c.rt.spawn(c.rt.command(&c.words("run", &[])));
        forger.wait_for("sent");
        running.wait().refused(&[refusal]);
        c.rt.through.clear();
        assert_hook_ran_once(&c);
    }
}
