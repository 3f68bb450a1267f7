//! Service managers: descriptors of socket activation (`LISTEN_FDS`) and readiness
//! (`NOTIFY_SOCKET`).

use std::fs;
use std::io::ErrorKind;
use std::os::fd::AsRawFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::symlink;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::support::*;
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};

// ---------------------------------------------------------------- LISTEN_FDS

/// Lets a container be called by a shell that has opened the files as descriptors 3 and up and
/// sets variables; `$$` is the runtime's pid.
fn call_with(c: &mut Container, files: &[&str], variables: &str) {
    let opened: Vec<String> = files
        .iter()
        .enumerate()
        .map(|(i, text)| {
            let file = c.file(&format!("file-{i}"), text);
            format!("{}<{}", i + 3, file.display())
        })
        .collect();
    let script = format!("exec {}; {variables} exec \"$@\"", opened.join(" "));
    c.rt.through = ["bash", "-c", &script, "bash"].iter().map(Into::into).collect();
}

const SHOW: &str = "env | grep -e LISTEN -e NOTIFY | sort; \
                    for fd in 3 4 5 6; do [ -e /proc/self/fd/$fd ] && cat <&$fd; done; exit 0";

#[test]
fn descriptors_of_socket_activation_come_first() {
    let mut c = Container::with_script(SHOW);
    call_with(
        &mut c,
        &["of three\n", "of four\n", "of five\n", "of six\n"],
        "LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES=web:admin",
    );
    let told = "LISTEN_FDNAMES=web:admin\nLISTEN_FDS=2\nLISTEN_PID=1\n";
    assert_eq!(c.output(), format!("{told}of three\nof four\n"));
    let more = c.call("run", &["--preserve-fds", "1"]).ok();
    assert_eq!(more.stdout, format!("{told}of three\nof four\nof five\n"));
}

#[test]
fn descriptors_for_a_created_container() {
    let mut c = Container::with_script(SHOW);
    call_with(&mut c, &["of three\n", "of four\n"], "LISTEN_PID=$$ LISTEN_FDS=1");
    let created = c.create().ok();
    c.rt.through.clear();
    c.start().ok();
    assert_eq!(created.wait_for("of three"), "LISTEN_FDS=1\nLISTEN_PID=1\nof three\n");
}

#[test]
fn descriptors_of_somebody_else_are_not_passed() {
    for variables in [
        "LISTEN_PID=1 LISTEN_FDS=1",
        "LISTEN_FDS=1",
        "LISTEN_PID=$$",
        "LISTEN_PID=$$ LISTEN_FDS=0",
        "LISTEN_PID=x LISTEN_FDS=1 LISTEN_FDNAMES=a",
    ] {
        let mut c = Container::with_script(SHOW);
        call_with(&mut c, &["of three\n"], variables);
        assert_eq!(c.output(), "", "{variables}");
    }
}

#[test]
fn the_program_learns_its_own_id() {
    // Without a pid namespace it is the host's.
    let mut c = Container::with_script("echo own=$$; echo told=$LISTEN_PID");
    c.without_namespace("pid");
    call_with(&mut c, &["x"], "LISTEN_PID=$$ LISTEN_FDS=1");
    let output = c.output();
    assert_eq!(said(&output, "told"), said(&output, "own"));
    assert_ne!(said(&output, "own"), "1");
}

#[test]
fn descriptors_that_are_not_there_are_refused() {
    let mut c = Container::new();
    call_with(&mut c, &["x"], "exec 4<&-; LISTEN_PID=$$ LISTEN_FDS=2");
    c.run().refused(&["LISTEN_FDS", "descriptor 4 is not open"]);
    call_with(&mut c, &["x"], "LISTEN_PID=$$ LISTEN_FDS=many");
    c.run().refused(&["LISTEN_FDS", "many"]);
    c.assert_gone();
}

// ---------------------------------------------------------------- NOTIFY_SOCKET

/// A container that can run the host's perl, and thereby send datagrams. `None` without one.
fn with_perl(script: &str) -> Option<Container> {
    if !Path::new("/usr/bin/perl").exists() {
        return None;
    }
    let mut c = Container::new();
    c.mount("/usr", "bind", "/usr", &["rbind", "ro"]);
    for name in ["lib", "lib64"] {
        let host = PathBuf::from("/").join(name);
        if fs::symlink_metadata(&host).is_ok_and(|meta| meta.is_symlink()) {
            symlink(format!("usr/{name}"), c.rootfs().join(name)).unwrap();
        } else if host.exists() {
            c.mount(&format!("/{name}"), "bind", host.to_str().unwrap(), &["rbind", "ro"]);
        }
    }
    let tell = "use Socket; socket(S, PF_UNIX, SOCK_DGRAM, 0) or die; \
                sub tell_host { send(S, $_[0], 0, sockaddr_un($ENV{NOTIFY_SOCKET})) or die $!; } $|=1;";
    c.args(&["/usr/bin/perl", "-e", &format!("{tell} {script}")]);
    Some(c)
}

macro_rules! perl {
    ($script:expr) => {
        match with_perl($script) {
            Some(container) => container,
            None => skip!("there is no /usr/bin/perl here"),
        }
    };
}

/// The service manager: a socket, and the address of it.
struct Manager {
    socket: UnixDatagram,
    address: String,
}

impl Manager {
    fn new(c: &Container) -> Manager {
        let path = c.path().join("host.sock");
        let socket = UnixDatagram::bind(&path).unwrap();
        Manager::of(socket, path.to_str().unwrap().to_owned())
    }

    fn in_abstract(c: &Container) -> Manager {
        let address = SocketAddr::from_abstract_name(c.id.as_bytes()).unwrap();
        // A child that another test has just forked holds an earlier socket open until its execve.
        let socket = wait_for("a free address", || UnixDatagram::bind_addr(&address).ok());
        Manager::of(socket, format!("@{}", c.id))
    }

    fn of(socket: UnixDatagram, address: String) -> Manager {
        socket.set_read_timeout(Some(*PATIENCE)).unwrap();
        Manager { socket, address }
    }

    /// The next message. Descriptors are not taken, and so closed.
    #[track_caller]
    fn next(&self) -> String {
        let mut buffer = [0; 8192];
        let length = self.socket.recv(&mut buffer).expect("a message");
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }

    #[track_caller]
    fn nothing_more(&self) {
        self.socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let mut buffer = [0; 100];
        // With a time-out, a stop and continuation of the process interrupts the call (signal(7)).
        let kind = loop {
            let answer = self.socket.recv(&mut buffer).map_err(|error| error.kind());
            if answer != Err(ErrorKind::Interrupted) {
                break answer;
            }
        };
        assert_eq!(kind, Err(ErrorKind::WouldBlock), "{buffer:?}");
    }

    fn command(&self, c: &Container, words: &[&str]) -> Command {
        c.write();
        let mut command = c.rt.command(words);
        command.env("NOTIFY_SOCKET", &self.address);
        command
    }
}

#[test]
fn readiness_is_passed_on_in_the_foreground() {
    let c = perl!(
        r#"print "$ENV{NOTIFY_SOCKET}\n"; tell_host("STATUS=starting"); tell_host("FDSTORE=1\nNOTIFYACCESS=all");
           tell_host("x" x 5000); tell_host("READY=1\nMAINPID=1"); tell_host("STOPPING=1"); exit 5"#
    );
    for manager in [Manager::new(&c), Manager::in_abstract(&c)] {
        let running =
            c.rt.spawn(manager.command(&c, &["run", "-b", c.path().to_str().unwrap(), &c.id]));
        let pid = running.child.id();
        assert_eq!(manager.next(), "STATUS=starting");
        assert_eq!(manager.next(), format!("READY=1\nMAINPID={pid}"));
        assert_eq!(manager.next(), "STOPPING=1");
        let ran = running.wait();
        assert_eq!(ran.code(), Some(5), "{ran:#?}");
        assert_eq!(ran.stdout, "/run/notify/notify.sock\n");
        manager.nothing_more();
        c.assert_gone();
    }
}

#[test]
fn a_detached_run_and_start_wait_until_it_is_ready() {
    let c = perl!(r#"sleep 0.01 until -e "/tmp/go"; tell_host("READY=1"); sleep 600"#);
    let bundle = c.path().to_str().unwrap();
    let go = c.rootfs().join("tmp/go");
    for detached in [true, false] {
        let manager = Manager::in_abstract(&c);
        let running = if detached {
            c.rt.spawn(manager.command(&c, &["run", "-d", "-b", bundle, &c.id]))
        } else {
            c.rt.spawn(manager.command(&c, &["create", "-b", bundle, &c.id])).wait().ok();
            c.rt.spawn(manager.command(&c, &["start", &c.id]))
        };
        wait_until("running", || {
            let state = c.state_call();
            state.status.success() && state.stdout.contains("\"running\"")
        });
        manager.nothing_more();
        manager.socket.set_read_timeout(Some(*PATIENCE)).unwrap();
        let runtime = Proc::new(running.child.id().try_into().unwrap());
        assert!(runtime.alive(), "it did not wait");
        fs::write(&go, "").unwrap();
        assert_eq!(manager.next(), format!("READY=1\nMAINPID={}", c.process().pid));
        assert_eq!(manager.next(), "BARRIER=1");
        running.wait().ok();
        fs::remove_file(&go).unwrap();
        c.delete_force().ok();
        c.assert_gone();
    }
}

#[test]
fn the_wait_ends_with_the_container_and_with_a_signal() {
    let c = perl!("exit 0");
    let bundle = c.path().to_str().unwrap().to_owned();
    let manager = Manager::new(&c);
    c.rt.spawn(manager.command(&c, &["run", "-d", "-b", &bundle, &c.id])).wait().ok();
    c.delete().ok();
    manager.nothing_more();

    let c = Container::with_script("exec sleep 600");
    let bundle = c.path().to_str().unwrap().to_owned();
    let manager = Manager::new(&c);
    let mut running = c.rt.spawn(manager.command(&c, &["run", "-d", "-b", &bundle, &c.id]));
    wait_until("running", || {
        let state = c.state_call();
        state.status.success() && state.stdout.contains("\"running\"")
    });
    wait_until("a signal", || {
        let pid = nix::unistd::Pid::from_raw(running.child.id().try_into().unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
        running.child.try_wait().unwrap().is_some()
    });
    assert_eq!(c.status(), "running");
}

#[test]
fn a_flood_holds_up_nothing() {
    // Nobody reads the service manager's socket, and the container sends on and on.
    let c = perl!(
        r#"$SIG{TERM} = sub { exit 7 }; print "on\n"; while (1) { send(S, "STATUS=x", MSG_DONTWAIT,
           sockaddr_un($ENV{NOTIFY_SOCKET})); }"#
    );
    let manager = Manager::new(&c);
    let running =
        c.rt.spawn(manager.command(&c, &["run", "-b", c.path().to_str().unwrap(), &c.id]));
    wait_until("a start", || running.stdout().contains("on"));
    std::thread::sleep(Duration::from_millis(100));
    let pid = nix::unistd::Pid::from_raw(running.child.id().try_into().unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    let ran = running.wait();
    assert_eq!(ran.code(), Some(7), "{ran:#?}");
}

#[test]
fn a_barrier_ends_when_what_came_before_it_was_passed_on() {
    let c = Container::with_script("exec sleep 600");
    let manager = Manager::new(&c);
    let running =
        c.rt.spawn(manager.command(&c, &["run", "-b", c.path().to_str().unwrap(), &c.id]));
    let path = c.rt.root.join(&c.id).join("notify/notify.sock");
    wait_until("running", || c.state_call().stdout.contains("\"running\""));
    let inside = UnixDatagram::unbound().unwrap();
    inside.connect(&path).unwrap();
    inside.send(b"STATUS=before").unwrap();
    let (near, far) = nix::unistd::pipe().unwrap();
    let (raw, text) = ([far.as_raw_fd()], [std::io::IoSlice::new(b"BARRIER=1")]);
    let rights = [ControlMessage::ScmRights(&raw)];
    sendmsg::<()>(inside.as_raw_fd(), &text, &rights, MsgFlags::empty(), None).unwrap();
    drop(far);
    // The end of file: whoever had the other end has closed it.
    assert_eq!(nix::unistd::read(&near, &mut [0; 1]).unwrap(), 0);
    manager.socket.set_nonblocking(true).unwrap();
    assert_eq!(manager.next(), "STATUS=before");
    c.kill("KILL").ok();
    assert_eq!(running.wait().code(), Some(137));
}

#[test]
fn users_of_the_container_can_tell_and_cannot_change() {
    let mut c = perl!(
        r#"mkdir "/run/notify/x" and die "writable"; unlink "/run/notify/notify.sock" and die "removed";
           tell_host("READY=1"); exit 0"#
    );
    c.set("/process/user", json!({"uid": 1000, "gid": 1000})).set("/root/readonly", json!(true));
    c.rt.through =
        ["bash", "-c", "umask 077; exec \"$@\"", "bash"].iter().map(Into::into).collect();
    let manager = Manager::new(&c);
    let ran =
        c.rt.spawn(manager.command(&c, &["run", "-b", c.path().to_str().unwrap(), &c.id])).wait();
    c.rt.through.clear();
    ran.ok();
    assert!(manager.next().starts_with("READY=1\n"));
}

#[test]
fn nobody_listening_is_a_warning_and_a_wrong_address_an_error() {
    let c = Container::with_script("echo $NOTIFY_SOCKET");
    let run = |address: &str| {
        c.write();
        let mut command = c.rt.command(&["run", "-b", c.path().to_str().unwrap(), &c.id]);
        command.env("NOTIFY_SOCKET", address);
        c.rt.spawn(command).wait()
    };
    let ran = run("/nonexistent/socket").ok();
    assert_eq!(ran.stdout, "/run/notify/notify.sock\n");
    assert!(ran.stderr.contains("NOTIFY_SOCKET"), "{ran:#?}");
    run("vsock:2:1").refused(&["NOTIFY_SOCKET", "vsock:2:1"]);
    let ran = run("").ok();
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("\n", ""));
}
