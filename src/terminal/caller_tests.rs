//! The caller's terminal, and the container's side of its own.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::sys::termios::OutputFlags;

use super::signals::SignalGuard;
use super::supervise::{Options, supervise};
use super::test_support::*;
use crate::sys::clone::Child as Container;
use crate::sys::fdpass;
use crate::sys::term::{set_window_size, window_size};

// ---------------------------------------------------------------- the caller's terminal

#[test]
fn the_size_follows_the_caller_s_terminal() {
    let script = format!("stty size; trap 'stty size; exit 3' WINCH; echo ready; {LOOP}");
    let mut outer = OnTerminal::start("pty", &script, &[]);
    outer.expect("24 80\r\nready");
    let mut size = window_size(outer.pty.master.as_fd()).unwrap();
    (size.ws_row, size.ws_col) = (30, 100);
    set_window_size(outer.pty.master.as_fd(), &size).unwrap();
    outer.expect("30 100\r\n");
    assert_eq!(code(&mut outer.child), 3);
}

#[test]
fn a_terminal_without_a_size_gets_the_caller_s() {
    let mut outer = OnTerminal::start("late", "sleep 0.5; stty size", &[]);
    outer.expect("24 80");
    assert_eq!(code(&mut outer.child), 0);
}

#[test]
fn a_size_from_the_configuration_stays() {
    let mut outer = OnTerminal::start("sized", "stty size", &[]);
    outer.expect("11 111");
    assert_eq!(code(&mut outer.child), 0);
}

#[test]
fn the_terminal_is_raw_meanwhile_and_restored_afterwards() {
    for (end, status) in [("exit 3", 3), ("kill -KILL $$", 137)] {
        let script = format!("echo ready; read line; echo \"[$line]\"; {end}");
        let mut outer = OnTerminal::start("pty", &script, &[]);
        outer.expect("ready\r\n");
        assert!(outer.is_raw());
        assert!(outer.settings().output_flags.contains(OutputFlags::OPOST));
        outer.keys("word\r");
        outer.expect("[word]\r\n");
        assert_eq!(code(&mut outer.child), status);
        outer.restored();
    }
}

#[test]
fn control_c_goes_to_the_container_s_terminal() {
    let script = format!("trap 'exit 8' INT; echo ready; {LOOP}");
    let mut outer = OnTerminal::start("pty", &script, &[]);
    outer.expect("ready");
    outer.keys("\x03");
    assert_eq!(code(&mut outer.child), 8);
    outer.restored();
}

#[test]
fn a_signal_that_kills_the_container_leaves_the_terminal_restored() {
    let mut outer = OnTerminal::start("pty", "echo ready; sleep 30", &[]);
    outer.expect("ready");
    assert!(outer.is_raw());
    signal(&outer.child, Signal::SIGTERM);
    assert_eq!(code(&mut outer.child), 143);
    outer.restored();
}

#[test]
fn in_the_background_the_terminal_is_left_alone_until_continued_in_front() {
    // A shell with job control; its job must write to the terminal, but neither change nor read it.
    let job = "set -m; \"$@\" & read word; echo word=$word; fg; echo status=$?";
    let script = "echo ready; read line; echo \"[$line]\"; exit 6";
    let mut outer = OnTerminal::start("pty", script, &["sh", "-c", job, "job"]);
    outer.expect("ready");
    std::thread::sleep(Duration::from_millis(100));
    assert!(!outer.is_raw());
    outer.keys("mine\r");
    outer.expect("word=mine");
    until("raw mode", || outer.is_raw());
    outer.keys("yours\r");
    outer.expect("[yours]");
    outer.expect("status=6");
    assert_eq!(code(&mut outer.child), 0);
    outer.restored();
}

// ---------------------------------------------------------------- init's side

#[test]
fn init_sends_the_master_and_starts_clean_on_the_slave() {
    let (_dir, path) = place();
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    // env ignores signals that init must reset, and the stand-in starts with all signals blocked.
    // No program before the first loop: the shell unblocks signals when it starts a program.
    let script = "while read -r k v; do case $k in SigBlk:|SigIgn:) echo $v;; esac; done \
                  </proc/$$/status; tty; stty size; \
                  ls -l /proc/self/fd | grep -cE 'ptmx|socket'; : </dev/tty && echo end";
    let ignore = "--ignore-signal=HUP,INT,QUIT,PIPE,TERM,TSTP,TTIN,TTOU,XFSZ,USR1,RTMAX";
    let mut command = stand_in_command("init", script, &["setsid", "env", ignore]);
    let mut child = start(command.env(EXTRA, &path));
    let (socket, _) = listener.accept().unwrap();
    let mut name = [0; 64];
    let (length, master) = fdpass::recv_with_fd(socket.as_fd(), &mut name).unwrap();
    assert_eq!(&name[..length], b"/dev/ptmx");
    let mut master = File::from(master.unwrap());
    let mut bytes = Vec::new();
    let mut buffer = [0; 1024];
    while let Ok(length @ 1..) = master.read(&mut buffer) {
        bytes.extend_from_slice(&buffer[..length]);
    }
    assert_eq!(code(&mut child), 0);
    let text = String::from_utf8(bytes).unwrap();
    let lines: Vec<&str> = text.split("\r\n").collect();
    let mask = |line: &str| u64::from_str_radix(line, 16).unwrap();
    assert_eq!((mask(lines[0]), mask(lines[1])), (0, 0), "{text:?}");
    assert!(lines[2].starts_with("/dev/pts/"), "{text:?}");
    assert_eq!(lines[3], "10 110");
    assert_eq!(lines[4], "0", "neither the master nor the socket stays open: {text:?}");
    assert_eq!(lines[5], "end", "there is a controlling terminal: {text:?}");
}

#[test]
fn the_console_is_bound_from_its_descriptor() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let mut child = start(&mut stand_in_command("console", "", &["unshare", "--mount"]));
    assert_eq!(code(&mut child), 0);
}

#[test]
fn supervising_what_is_not_a_child_is_an_error() {
    let null: OwnedFd = File::open("/dev/null").unwrap().into();
    assert!(null.as_raw_fd() > 2);
    // Needs blocked signals, so run it in a thread of its own, which gets no signals.
    std::thread::spawn(move || {
        let guard = SignalGuard::block().unwrap();
        let options = Options { master: None, subreaper: false, notify: None };
        let error = supervise(&Container { pid: 1, pidfd: null }, options, guard).unwrap_err();
        assert_eq!(error.to_string(), "wait for 1: no child processes");
    })
    .join()
    .unwrap();
}
