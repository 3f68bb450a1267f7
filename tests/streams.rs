//! `run` in the foreground, end to end: every byte, every signal, every child.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::*;
use nix::fcntl::OFlag;
use nix::pty::{grantpt, posix_openpt, ptsname_r, unlockpt};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const MANY: usize = 100 * 61_000 * LINE.len();

/// What `yes 0123456789abcdef` writes.
const LINE: &[u8] = b"0123456789abcdef\n";

/// A `run` under way, which does not outlive its test.
struct Front(Child);

impl Drop for Front {
    fn drop(&mut self) {
        // Both do nothing once it was waited for.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

impl Front {
    fn start(c: &Container, set: impl FnOnce(&mut Command) -> &mut Command) -> Front {
        c.write();
        let mut command = c.rt.command(&["run", "--bundle", c.path().to_str().unwrap(), &c.id]);
        Front(set(&mut command).spawn().unwrap())
    }

    fn piped(c: &Container) -> Front {
        Front::start(c, |command| command.stdin(Stdio::piped()).stdout(Stdio::piped()))
    }

    fn output(&mut self) -> ChildStdout {
        self.0.stdout.take().unwrap()
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.0.id().try_into().unwrap()), signal).unwrap();
    }

    #[track_caller]
    fn code(&mut self) -> i32 {
        let status = wait_for("the end of run", || self.0.try_wait().unwrap());
        status.code().unwrap_or_else(|| panic!("{status}"))
    }
}

/// A container with a terminal, or without.
fn container(script: &str, terminal: bool) -> Container {
    let script = if terminal { format!("stty raw -echo; {script}") } else { script.to_owned() };
    let mut c = Container::with_script(&script);
    c.set("/process/terminal", json!(terminal));
    c
}

/// Reads to the end of file; every byte must be the one that `yes` wrote there. Gives the count.
fn check_all(mut from: impl Read, already: usize) -> usize {
    let expected = LINE.repeat(8192);
    let mut buffer = vec![0; 65536];
    let mut total = already;
    loop {
        let length = from.read(&mut buffer).unwrap();
        if length == 0 {
            return total;
        }
        let start = total % LINE.len();
        assert!(buffer[..length] == expected[start..start + length], "wrong after {total}");
        total += length;
    }
}

#[test]
fn a_hundred_megabytes_come_out_for_a_reader_that_is_slow_at_first() {
    for terminal in [false, true] {
        // In large blocks, or the time is that of the container's own small steps.
        let c = container("for i in $(seq 100); do cat /block; done; exit 3", terminal);
        std::fs::write(c.rootfs().join("block"), LINE.repeat(MANY / 100 / LINE.len())).unwrap();
        let mut front = Front::piped(&c);
        let mut output = front.output();
        let mut total = 0;
        for _ in 0..5 {
            // Meanwhile the pipe, the relay and the terminal fill up.
            std::thread::sleep(Duration::from_millis(30));
            let mut some = [0; 17 * 100];
            output.read_exact(&mut some).unwrap();
            total = check_all(&some[..], total);
        }
        assert_eq!(check_all(output, total), MANY, "terminal {terminal}");
        assert_eq!(front.code(), 3, "terminal {terminal}");
        c.assert_gone();
    }
}

#[test]
fn a_hundred_megabytes_go_in_and_come_out() {
    // Through a terminal it is less, because its line discipline takes bytes one by one.
    for (terminal, size) in [(false, MANY), (true, 10 << 20)] {
        let c = container(
            &format!(
                "echo go; dd bs=64k count={size} iflag=fullblock,count_bytes 2>/dev/null; exit 4"
            ),
            terminal,
        );
        let mut front = Front::piped(&c);
        let mut output = front.output();
        // Before it is raw, a terminal would change what is written to it.
        let mut go = [0; 3];
        output.read_exact(&mut go).unwrap();
        assert_eq!(&go, b"go\n");
        let mut input = front.0.stdin.take().unwrap();
        let writer = std::thread::spawn(move || {
            let block = LINE.repeat(8192);
            let mut left = size;
            while left > 0 {
                let length = left.min(block.len());
                input.write_all(&block[..length]).unwrap();
                left -= length;
            }
            // Closed only now: the end of input must not end the output.
        });
        assert_eq!(check_all(output, 0), size, "terminal {terminal}");
        writer.join().unwrap();
        assert_eq!(front.code(), 4, "terminal {terminal}");
    }
}

#[test]
fn the_last_words_are_heard() {
    // More than a terminal holds at once, and the end right behind it.
    for terminal in [false, true] {
        let c = container("printf '%015000d' 5; exit 3", terminal);
        for _ in 0..10 {
            let mut front = Front::piped(&c);
            let mut text = String::new();
            front.output().read_to_string(&mut text).unwrap();
            assert_eq!((text.len(), front.code()), (15000, 3), "terminal {terminal}");
        }
    }
}

#[test]
fn a_reader_comes_late_and_finds_everything() {
    let c = container("printf '%015000d' 5; exit 3", true);
    let mut front = Front::piped(&c);
    let mut output = front.output();
    // The container's process has ended by then.
    std::thread::sleep(Duration::from_millis(300));
    let mut text = String::new();
    output.read_to_string(&mut text).unwrap();
    assert_eq!((text.len(), front.code()), (15000, 3));
}

#[test]
fn children_that_hold_the_terminal_are_not_waited_for() {
    let mut c = container("(trap '' HUP; exec sleep 600) & printf '%05000d' 5; exit 6", true);
    // Without a pid namespace they live on when init has ended.
    c.without_namespace("pid");
    let begin = Instant::now();
    let mut front = Front::piped(&c);
    let mut text = String::new();
    front.output().read_to_string(&mut text).unwrap();
    assert_eq!((text.len(), front.code()), (5000, 6));
    assert!(begin.elapsed() < 2 * *QUICK);
    c.assert_gone();
}

#[test]
fn a_reader_that_leaves_ends_the_container() {
    // The terminal is hung up; a pipe is the container's own, and breaks. Signals without a handler
    // are nothing to an init, but the write fails.
    for terminal in [true, false] {
        let c = container("exec yes", terminal);
        let mut front = Front::piped(&c);
        let mut output = front.output();
        output.read_exact(&mut [0; 2]).unwrap();
        drop(output);
        assert_eq!(front.code(), 1, "terminal {terminal}");
        c.assert_gone();
    }
}

#[test]
fn a_terminal_that_goes_away_ends_the_container() {
    // As when a terminal emulator is closed: hang-up and EIO.
    let c = container("trap 'exit 8' HUP; echo on; while :; do sleep 0.02; done", true);
    let (mut front, mut near, far) = on_terminal(&c, 24, 80);
    drop(far);
    read_until(&mut near, "on");
    drop(near);
    assert_eq!(front.code(), 8);
    c.assert_gone();
}

#[test]
fn input_that_ends_early_ends_nothing() {
    for terminal in [false, true] {
        for stdin in [Stdio::null(), Stdio::piped()] {
            let c = container("sleep 0.2; echo here; exit 5", terminal);
            let mut front = Front::start(&c, |command| command.stdin(stdin).stdout(Stdio::piped()));
            drop(front.0.stdin.take());
            let mut text = String::new();
            front.output().read_to_string(&mut text).unwrap();
            assert_eq!((text.as_str(), front.code()), ("here\n", 5), "terminal {terminal}");
        }
    }
}

#[test]
fn orphans_are_reaped() {
    // Each one's parent has ended, so that it becomes a child of run's, and a zombie at its end.
    let mut c = container(
        "for i in $(seq 30); do sh -c 'sleep 0.05 & exit 0'; done; sleep 0.3; echo ready; read x; exit 0",
        false,
    );
    c.without_namespace("pid");
    let mut front = Front::piped(&c);
    let mut output = front.output();
    output.read_exact(&mut [0; 6]).unwrap();
    let pid = front.0.id();
    let children = format!("/proc/{pid}/task/{pid}/children");
    wait_until("one child", || {
        std::fs::read_to_string(&children).unwrap().split_whitespace().count() == 1
    });
    drop(front.0.stdin.take());
    assert_eq!(front.code(), 0);
}

#[test]
fn signals_reach_the_container() {
    for terminal in [false, true] {
        for (signal, name) in [
            (Signal::SIGTERM, "TERM"),
            (Signal::SIGINT, "INT"),
            (Signal::SIGHUP, "HUP"),
            (Signal::SIGUSR1, "USR1"),
            (Signal::SIGQUIT, "QUIT"),
        ] {
            let script =
                format!("trap 'echo {name}; exit 9' {name}; echo on; while :; do sleep 0.02; done");
            let c = container(&script, terminal);
            let mut front = Front::piped(&c);
            let mut output = front.output();
            output.read_exact(&mut [0; 3]).unwrap();
            front.signal(signal);
            let mut text = String::new();
            output.read_to_string(&mut text).unwrap();
            assert_eq!((text, front.code()), (format!("{name}\n"), 9), "terminal {terminal}");
        }
    }
}

/// `run` on a terminal of its own: it, our end, and the other.
fn on_terminal(c: &Container, rows: u16, columns: u16) -> (Front, File, OwnedFd) {
    // Close-on-exec, or the terminal would stay open in run and in the children of other tests.
    let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let master = posix_openpt(flags).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let mut options = File::options();
    options.read(true).write(true).custom_flags(OFlag::O_NOCTTY.bits());
    let slave: OwnedFd = options.open(ptsname_r(&master).unwrap()).unwrap().into();
    set_size(&slave, rows, columns);
    let master = OwnedFd::from(master);
    let end = || Stdio::from(slave.try_clone().unwrap());
    c.write();
    let run = c.rt.command(&["run", "--bundle", c.path().to_str().unwrap(), &c.id]);
    let mut command = Command::new("setsid");
    command.arg("--ctty").arg(run.get_program()).args(run.get_args()).current_dir(c.path());
    let child = command.stdin(end()).stdout(end()).stderr(end()).spawn().unwrap();
    (Front(child), master.into(), slave)
}

/// Sets the size of a terminal, through either end of it.
fn set_size(terminal: &OwnedFd, rows: u16, columns: u16) {
    let mut stty = Command::new("stty");
    stty.args(["rows", &rows.to_string(), "cols", &columns.to_string()]);
    assert!(stty.stdin(terminal.try_clone().unwrap()).status().unwrap().success());
}

fn read_until(terminal: &mut File, text: &str) -> String {
    let mut seen = String::new();
    let mut buffer = [0; 1024];
    while !seen.contains(text) {
        let length = terminal.read(&mut buffer).unwrap();
        seen.push_str(&String::from_utf8_lossy(&buffer[..length]));
    }
    seen
}

#[test]
fn the_size_is_the_callers_and_follows_it() {
    let mut c = Container::with_script(
        "trap 'echo changed $(stty size)' WINCH; echo first $(stty size); \
         while :; do sleep 0.02; done",
    );
    c.set("/process/terminal", json!(true));
    let (front, mut near, far) = on_terminal(&c, 33, 121);
    read_until(&mut near, "first 33 121");
    set_size(&far, 44, 99);
    read_until(&mut near, "changed 44 99");
    drop(front);
}

// Proves: process.consoleSize.{height, width}
#[test]
fn the_size_of_the_configuration_counts() {
    let mut c = Container::with_script("echo first $(stty size)");
    c.set("/process/terminal", json!(true));
    c.set("/process/consoleSize", json!({"height": 11, "width": 55}));
    let (mut front, mut near, _far) = on_terminal(&c, 33, 121);
    read_until(&mut near, "first 11 55");
    assert_eq!(front.code(), 0);
}
