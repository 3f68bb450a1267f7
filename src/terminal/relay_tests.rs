//! Terminals and the foreground, against ordinary processes.
//!
//! The test binary runs itself as a stand-in for the runtime: it creates a pseudo terminal in the
//! host's devpts, starts a shell on it (setsid(1) in the place of init) and supervises it. The
//! stand-in is the test `stand_in`, which does nothing unless a variable is set.
//!
//! The library requires a process with one thread, and the test harness has two, so the stand-in is
//! started with all signals blocked (env(1) --block-signal): both threads then block them.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use super::test_support::*;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Not a test: see above.
#[test]
fn stand_in() {
    super::test_support::stand_in();
}

// ---------------------------------------------------------------- exit status and signals

#[test]
fn the_exit_status_is_the_process_s() {
    for role in ["plain", "pty"] {
        for (script, status) in [
            ("exit 0", 0),
            ("exit 7", 7),
            ("exit 255", 255),
            ("kill -KILL $$", 137),
            ("kill -TERM $$", 143),
            ("kill -40 $$", 168),
        ] {
            assert_eq!(run(role, script).0, status, "{role}: {script}");
        }
    }
}

#[test]
fn orphans_are_reaped_and_not_waited_for() {
    // One child ends first, with another status, and must not become a zombie of the stand-in; the
    // other outlives the process.
    let script = "sh -c '(sleep 0.1; exit 3) & exit 4'; sleep 0.3; \
                  cat /proc/$PPID/task/*/children | wc -w; \
                  (exec sleep 30 >/dev/null 2>&1) & echo $!; exit 5";
    let start = Instant::now();
    let (status, output) = run("plain", script);
    assert_eq!(status, 5);
    assert!(start.elapsed() < Duration::from_secs(10));
    let (children, alive) = output.trim().split_once('\n').unwrap();
    kill(Pid::from_raw(alive.parse().unwrap()), Signal::SIGKILL).unwrap();
    assert_eq!(children, "1");
}

#[test]
fn signals_are_forwarded() {
    for role in ["plain", "pty"] {
        for name in ["TERM", "INT", "HUP", "USR1", "CONT", "TSTP", "PIPE"] {
            let (_dir, ready) = place();
            let script = format!("trap 'exit 9' {name}; : >{}; {LOOP}", ready.display());
            let mut child = start(stand_in_command(role, &script, &[]).stdout(Stdio::piped()));
            until("the trap is set", || ready.exists());
            signal(&child, format!("SIG{name}").parse().unwrap());
            assert_eq!(code(&mut child), 9, "{role}: {name}");
        }
    }
}

// ---------------------------------------------------------------- bytes

#[test]
fn a_hundred_megabytes_come_out() {
    const SIZE: usize = 100 << 20;
    let script = format!("stty raw; yes {} | head -c {SIZE}", Pattern::LINE);
    let mut child = start(stand_in_command("pty", &script, &[]).stdout(Stdio::piped()));
    let mut pattern = Pattern::new();
    pattern.check_all(child.stdout.as_mut().unwrap());
    assert_eq!((code(&mut child), pattern.total), (0, SIZE));
}

#[test]
fn ten_megabytes_go_in() {
    const SIZE: usize = 10 << 20;
    let (_dir, file) = place();
    let script = format!("stty raw -echo; echo go; head -c {SIZE} >{}", file.display());
    let mut command = stand_in_command("pty", &script, &[]);
    let mut child = start(command.stdin(Stdio::piped()).stdout(Stdio::piped()));
    let mut word = [0; 2];
    child.stdout.as_mut().unwrap().read_exact(&mut word).unwrap();
    assert_eq!(&word, b"go");
    let mut input = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || {
        let block = format!("{}\n", Pattern::LINE).repeat(1000);
        let mut left = SIZE;
        while left > 0 {
            let length = left.min(block.len());
            input.write_all(&block.as_bytes()[..length]).unwrap();
            left -= length;
        }
    });
    assert_eq!(code(&mut child), 0);
    writer.join().unwrap();
    let mut pattern = Pattern::new();
    pattern.check_all(&mut File::open(file).unwrap());
    assert_eq!(pattern.total, SIZE);
}

#[test]
fn the_last_bytes_are_not_lost() {
    // More than the terminal holds, and an end right after.
    for _ in 0..20 {
        let (status, output) = run("pty", "printf '%015000d' 5; exit 3");
        assert_eq!((status, output.len()), (3, 15000));
    }
}

#[test]
fn a_slow_reader_loses_nothing_and_holds_up_no_signal() {
    slow_reader(&[]);
    // Without /proc the pipe cannot be reopened; only root can hide it.
    if nix::unistd::geteuid().is_root() {
        let hidden = "mount -t tmpfs none /proc && exec \"$@\"";
        slow_reader(&["unshare", "--mount", "sh", "-c", hidden, "hidden"]);
    }
}

fn slow_reader(prefix: &[&str]) {
    const SIZE: usize = 1 << 20;
    let (_dir, file) = place();
    let script = format!(
        "stty raw; trap ': >{}' USR1; (yes {} | head -c {SIZE}) & wait; wait",
        file.display(),
        Pattern::LINE
    );
    let mut command = stand_in_command("pty", &script, prefix);
    let mut child = start(command.stdout(Stdio::piped()));
    let mut output = child.stdout.take().unwrap();
    let mut pattern = Pattern::new();
    let mut first = vec![0; 1000];
    output.read_exact(&mut first).unwrap();
    pattern.check(&first);
    // Soon all buffers are full, and nothing reads them.
    std::thread::sleep(Duration::from_millis(300));
    // Room for less than is pending: writing all of it would block.
    let mut small = vec![0; 20_000];
    output.read_exact(&mut small).unwrap();
    pattern.check(&small);
    std::thread::sleep(Duration::from_millis(50));
    signal(&child, Signal::SIGUSR1);
    until("the signal has arrived", || file.exists());
    for _ in 0..20 {
        let length = output.read(&mut small).unwrap();
        pattern.check(&small[..length]);
        std::thread::sleep(Duration::from_millis(5));
    }
    pattern.check_all(&mut output);
    assert_eq!((code(&mut child), pattern.total), (0, SIZE));
}

#[test]
fn a_terminal_that_is_not_read_holds_up_no_signal() {
    let pty = new_pty(None);
    let mut command = stand_in_command("pty", "yes & trap 'kill $!; exit 9' TERM; wait", &[]);
    let mut child = start(command.stdout(pty.slave));
    let mut byte = [0; 1];
    nix::unistd::read(&pty.master, &mut byte).unwrap();
    std::thread::sleep(Duration::from_millis(300));
    signal(&child, Signal::SIGTERM);
    // The process has ended; its last output waits for the reader, until a second signal.
    std::thread::sleep(Duration::from_millis(300));
    assert!(child.try_wait().unwrap().is_none(), "the last output was dropped");
    signal(&child, Signal::SIGTERM);
    assert_eq!(code(&mut child), 9);
}

#[test]
fn a_reader_that_leaves_hangs_up_the_terminal() {
    // SIGHUP for the session's leader, an error for a process that keeps writing; no SIGPIPE, which
    // was the runtime's.
    let stubborn = "trap '' HUP; trap 'exit 11' PIPE; yes; sleep 0.2; exit 12";
    for (script, status) in [("yes", 129), (stubborn, 12)] {
        let mut command = stand_in_command("pty", script, &[]);
        let mut child = start(command.stdout(Stdio::piped()));
        let mut output = child.stdout.take().unwrap();
        let mut line = [0; 2];
        output.read_exact(&mut line).unwrap();
        assert_eq!(&line, b"y\n");
        drop(output);
        assert_eq!(code(&mut child), status, "{script}");
    }
}

#[test]
fn output_that_cannot_be_written_is_an_error() {
    let (_dir, error) = place();
    let full = File::options().write(true).open("/dev/full").unwrap();
    let mut command = stand_in_command("pty", "echo lost; exit 0", &[]);
    let mut child = start(command.env(EXTRA, &error).stdout(full));
    assert_eq!(code(&mut child), 125);
    let text = fs::read_to_string(error).unwrap();
    assert_eq!(text, "write the container's output: no space left on device");
}

#[test]
fn an_error_restores_the_terminal() {
    let (_dir, error) = place();
    let extra = format!("{EXTRA}={}", error.display());
    let words = ["env", &extra, "sh", "-c", "exec \"$0\" \"$@\" >/dev/full"];
    let mut outer = OnTerminal::start("pty", "read line; echo lost; exit 0", &words);
    until("the terminal is raw", || outer.is_raw());
    outer.keys("go\r");
    assert_eq!(code(&mut outer.child), 125);
    assert!(fs::read_to_string(error).unwrap().starts_with("write the container's output: "));
    outer.restored();
}

#[test]
fn a_process_that_keeps_the_terminal_open_is_not_waited_for() {
    let start = Instant::now();
    let (status, output) = run("pty", "(trap '' HUP; exec sleep 30) & echo $!; exit 4");
    assert_eq!(status, 4);
    assert!(start.elapsed() < Duration::from_secs(10));
    kill(Pid::from_raw(output.trim().parse().unwrap()), Signal::SIGKILL).unwrap();
    // Nor a process that never stops writing; the end of the terminal ends it.
    let (status, output) = run("pty", "(trap '' HUP; exec yes) & echo first; sleep 0.1; exit 5");
    assert_eq!(status, 5);
    assert!(output.contains("first\n"), "{:?}", output.get(..80));
}

#[test]
fn a_terminal_that_everybody_closed_can_be_opened_again() {
    let script = "echo one; tty=$(tty); exec 0</dev/null 1>/dev/null 2>&1; sleep 0.5; \
                  exec >$tty; echo two; read line <$tty; echo $line";
    let mut command = stand_in_command("pty", script, &[]);
    let mut child = start(command.stdin(Stdio::piped()).stdout(Stdio::piped()));
    let mut input = child.stdin.take().unwrap();
    let mut output = child.stdout.take().unwrap();
    let mut text = [0; 8];
    output.read_exact(&mut text).unwrap();
    assert_eq!(&text, b"one\ntwo\n");
    assert!(reads(&child) < 300, "{} reads in half a second of waiting", reads(&child));
    input.write_all(b"three\n").unwrap();
    assert_eq!(code(&mut child), 0);
    let mut text = String::new();
    output.read_to_string(&mut text).unwrap();
    assert_eq!(text, "three\nthree\n", "the echo, and the program");
}

#[test]
fn the_end_of_input_is_looked_at_once() {
    for stdin in [Stdio::null(), Stdio::piped()] {
        let mut command = stand_in_command("pty", "echo one; sleep 0.5; echo two; read x", &[]);
        let mut child = start(command.stdin(stdin).stdout(Stdio::piped()));
        drop(child.stdin.take());
        let mut text = [0; 8];
        child.stdout.as_mut().unwrap().read_exact(&mut text).unwrap();
        assert_eq!(&text, b"one\ntwo\n");
        assert!(reads(&child) < 300, "{} reads in half a second of waiting", reads(&child));
        signal(&child, Signal::SIGKILL);
        wait(&mut child);
    }
}

/// Returns the number of reads of a process (proc_pid_io(5)). A process that waits has few reads, a
/// busy loop has thousands in half a second, however busy the machine is.
fn reads(child: &Child) -> u64 {
    let io = fs::read_to_string(format!("/proc/{}/io", child.id())).unwrap();
    let line = io.lines().find_map(|line| line.strip_prefix("syscr: ")).unwrap();
    line.parse().unwrap()
}

#[test]
fn standard_input_of_every_kind() {
    let (_dir, file) = place();
    fs::write(&file, "from a file\n").unwrap();
    for (stdin, line) in [("<\"$F\"", "from a file"), ("<&-", ""), ("</dev/null", ""), ("</", "")] {
        let prefix_line = format!("exec \"$0\" \"$@\" {stdin}");
        // The program does not wait for input that never comes.
        let script = if line.is_empty() { "echo ok" } else { "read l; echo \"[$l]\"; echo ok" };
        let mut command = stand_in_command("pty", script, &["sh", "-c", &prefix_line]);
        let child = command.env("F", &file).stdout(Stdio::piped());
        let mut child = start(child);
        assert_eq!(code(&mut child), 0, "{stdin}");
        let mut text = String::new();
        child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
        assert!(text.ends_with("ok\n"), "{stdin}: {text:?}");
        assert!(line.is_empty() || text.contains(&format!("[{line}]")), "{stdin}: {text:?}");
    }
}

#[test]
fn closed_descriptors_are_opened_on_null() {
    let mut child = start(stand_in_command("closed", "", &[]).stdout(Stdio::piped()));
    assert_eq!(code(&mut child), 0);
}

#[test]
fn standard_output_is_given_away_but_not_the_caller_s_terminal() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let mut child = start(stand_in_command("owner", "", &[]).stdout(Stdio::piped()));
    assert_eq!(code(&mut child), 0);
    let mut outer = OnTerminal::start("owner", "", &["sh", "-c", "exec \"$0\" \"$@\" </dev/null"]);
    assert_eq!(code(&mut outer.child), 0);
}

#[test]
fn line_feeds_come_out_as_written() {
    assert_eq!(run("pty", "printf 'a\\nb\\n'"), (0, "a\nb\n".to_owned()));
}
