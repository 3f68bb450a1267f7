//! Terminals and the foreground, against ordinary processes.
//!
//! The test binary runs itself as a stand-in for the runtime: it makes a pseudo terminal from the
//! host's devpts, starts a shell on it (setsid(1) in init's place) and supervises that. The
//! stand-in is the test `stand_in`, which does nothing unless it is told to by a variable.
//!
//! The library wants a process with one thread, and the test harness has two, so the stand-in is
//! started with all signals blocked (env(1) --block-signal): then both threads have them blocked.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use bulkhead::sys::term::{set_window_size, window_size};
use bulkhead::tty::pty::{self, Pty};
use bulkhead::tty::supervise::{Child as Container, Options, SignalGuard, supervise};
use bulkhead::tty::{fdpass, signals, socket, stdio};
use nix::fcntl::{OFlag, open};
use nix::pty::Winsize;
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::{Mode, fstat, stat};
use nix::sys::termios::{LocalFlags, OutputFlags, Termios, tcgetattr};
use nix::unistd::Pid;
use rustix::process::{PidfdFlags, pidfd_open};

const ROLE: &str = "BULKHEAD_TEST_TTY_ROLE";
const SCRIPT: &str = "BULKHEAD_TEST_TTY_SCRIPT";
const EXTRA: &str = "BULKHEAD_TEST_TTY_EXTRA";

/// Longer than any step takes, so that a hang is a failure and not the end of the test run.
const LIMIT: Duration = Duration::from_secs(15);

// ---------------------------------------------------------------- the stand-in

#[test]
fn stand_in() {
    let Ok(role) = std::env::var(ROLE) else { return };
    // The harness's own words have gone to /dev/null; the real standard output was kept here.
    nix::unistd::dup2_stdout(std::io::stderr()).unwrap();
    let script = std::env::var(SCRIPT).unwrap();
    let extra = std::env::var(EXTRA).unwrap_or_default();
    let status = match role.as_str() {
        "init" => as_init(&script, &extra),
        "console" => as_console(),
        "closed" => as_closed(),
        _ => as_runtime(&role, &script, &extra),
    };
    std::process::exit(status);
}

fn new_pty(size: Option<Winsize>) -> Pty {
    let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    pty::open(open("/dev/pts/ptmx", flags, Mode::empty()).unwrap(), size).unwrap()
}

/// `run` in the foreground, with a terminal ("pty", "sized", "deaf") or without ("plain").
fn as_runtime(role: &str, script: &str, error_file: &str) -> i32 {
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).unwrap();
    let guard = SignalGuard::block().unwrap();
    // The standard library hands the blocked signals down; env undoes that, as init would.
    let mut command = Command::new("env");
    command.args(["--default-signal", "setsid"]);
    let master = if role == "plain" {
        None
    } else {
        let size = if role == "sized" { pty::console_size(11, 111).unwrap() } else { None };
        let Pty { master, slave } = new_pty(size);
        pty::clear_onlcr(master.as_fd()).unwrap();
        command.arg("--ctty").stdout(slave.try_clone().unwrap());
        command.stderr(slave.try_clone().unwrap()).stdin(slave);
        Some(master)
    };
    // `supervise` waits for it.
    #[allow(clippy::zombie_processes)]
    let process = command.args(["sh", "-c", script]).spawn().unwrap();
    drop(command);
    let pid = i32::try_from(process.id()).unwrap();
    let pidfd =
        pidfd_open(rustix::process::Pid::from_raw(pid).unwrap(), PidfdFlags::empty()).unwrap();
    let options = Options { master, subreaper: true, forward_signals: role != "deaf" };
    match supervise(&Container { pid, pidfd }, options, guard) {
        Ok(exit) => exit.status(),
        Err(error) => {
            fs::write(error_file, error.to_string()).unwrap();
            kill(Pid::from_raw(pid), Signal::SIGKILL).ok();
            125
        }
    }
}

/// Init's part: make the terminal, send the master off, become a program on it.
fn as_init(script: &str, socket_path: &str) -> i32 {
    let console = socket::connect("--console-socket", Path::new(socket_path)).unwrap();
    let Pty { master, slave } = new_pty(pty::console_size(10, 110).unwrap());
    socket::send_master(console.as_fd(), master.as_fd(), "/dev/ptmx").unwrap();
    pty::attach(slave.as_fd()).unwrap();
    signals::reset_signals_for_exec(&nix::sys::signal::SigSet::empty()).unwrap();
    let words = [c"sh".to_owned(), c"-c".to_owned(), std::ffi::CString::new(script).unwrap()];
    let Err(errno) = nix::unistd::execv(c"/bin/sh", &words);
    panic!("execv: {errno}");
}

/// Binds a console in a mount namespace of its own, and compares.
fn as_console() -> i32 {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("console");
    File::create(&path).unwrap();
    let target = open(&path, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty()).unwrap();
    let pty = new_pty(None);
    pty::bind_console(pty.slave.as_fd(), target.as_fd()).unwrap();
    let same = stat(&path).unwrap().st_rdev == fstat(&pty.slave).unwrap().st_rdev;
    nix::mount::umount(&path).unwrap();
    i32::from(!same)
}

fn as_closed() -> i32 {
    for fd in [0, 2] {
        nix::unistd::close(fd).unwrap();
    }
    stdio::ensure_open().unwrap();
    let links = [0, 1, 2].map(|fd| fs::read_link(format!("/proc/self/fd/{fd}")).unwrap());
    let null = Path::new("/dev/null");
    i32::from(links[0] != null || links[1] == null || links[2] != null)
}

// ---------------------------------------------------------------- its caller

/// A stand-in to start: `before` are shell words put before the command line.
fn stand_in_command(role: &str, script: &str, prefix: &[&str]) -> Command {
    let line = "exec env --block-signal \"$0\" --exact stand_in --nocapture --test-threads=1 \
                2>&1 >/dev/null";
    let exe = std::env::current_exe().unwrap();
    let mut words = prefix.iter().copied().chain(["sh", "-c", line]);
    let mut command = Command::new(words.next().unwrap());
    command.args(words).arg(exe).env(ROLE, role).env(SCRIPT, script);
    command.stdin(Stdio::null());
    command
}

/// A shell's wait for a signal, ten seconds at most, so that a failure leaves nothing behind.
const LOOP: &str = "for i in $(seq 1000); do sleep 0.01; done; exit 99";

/// A started one, which does not outlive its test.
struct StandIn(Child);

impl std::ops::Deref for StandIn {
    type Target = Child;

    fn deref(&self) -> &Child {
        &self.0
    }
}

impl std::ops::DerefMut for StandIn {
    fn deref_mut(&mut self) -> &mut Child {
        &mut self.0
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        // Both do nothing once it was waited for.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

fn start(command: &mut Command) -> StandIn {
    StandIn(command.spawn().unwrap())
}

fn wait(child: &mut Child) -> ExitStatus {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if start.elapsed() > LIMIT {
            panic!("the stand-in hangs");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn code(child: &mut Child) -> i32 {
    let status = wait(child);
    status.code().unwrap_or_else(|| panic!("killed by signal {:?}", status.signal()))
}

/// Runs to the end: exit status and output.
fn run(role: &str, script: &str) -> (i32, String) {
    let mut child = start(stand_in_command(role, script, &[]).stdout(Stdio::piped()));
    let mut output = child.stdout.take().unwrap();
    let reader = std::thread::spawn(move || {
        let mut text = Vec::new();
        output.read_to_end(&mut text).unwrap();
        String::from_utf8_lossy(&text).into_owned()
    });
    let status = code(&mut child);
    (status, reader.join().unwrap())
}

fn signal(child: &Child, signal: Signal) {
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), signal).unwrap();
}

fn until(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < LIMIT, "never seen: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A stand-in on a terminal that we hold the other end of.
struct OnTerminal {
    child: StandIn,
    pty: Pty,
    seen: String,
    output: mpsc::Receiver<Vec<u8>>,
    before: Termios,
}

impl OnTerminal {
    fn start(role: &str, script: &str, words: &[&str]) -> OnTerminal {
        let pty = new_pty(pty::console_size(24, 80).unwrap());
        let before = tcgetattr(&pty.slave).unwrap();
        let end = || Stdio::from(pty.slave.try_clone().unwrap());
        let prefix: Vec<&str> = ["setsid", "--ctty"].iter().chain(words).copied().collect();
        let mut command = stand_in_command(role, script, &prefix);
        let child = start(command.stdin(end()).stdout(end()).stderr(end()));
        let mut master = File::from(pty.master.try_clone().unwrap());
        let (sender, output) = mpsc::channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = master.read(&mut buffer) {
                if sender.send(buffer[..length].to_vec()).is_err() {
                    return;
                }
            }
        });
        OnTerminal { child, pty, seen: String::new(), output, before }
    }

    fn expect(&mut self, words: &str) {
        while !self.seen.contains(words) {
            match self.output.recv_timeout(LIMIT) {
                Ok(bytes) => self.seen.push_str(&String::from_utf8_lossy(&bytes)),
                Err(_) => panic!("never seen: {words:?}; only {:?}", self.seen),
            }
        }
    }

    fn settings(&self) -> Termios {
        tcgetattr(&self.pty.slave).unwrap()
    }

    fn is_raw(&self) -> bool {
        !self.settings().local_flags.intersects(LocalFlags::ICANON | LocalFlags::ECHO)
    }

    fn keys(&self, keys: &str) {
        nix::unistd::write(&self.pty.master, keys.as_bytes()).unwrap();
    }

    fn restored(&self) {
        assert_eq!(self.settings(), self.before, "the terminal's settings are not restored");
    }
}

/// A directory, and the path of a file in it that does not exist yet.
fn place() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    (dir, path)
}

/// What `yes 0123456789abcdef` writes, compared as it comes.
struct Pattern {
    bytes: Vec<u8>,
    total: usize,
}

impl Pattern {
    const LINE: &str = "0123456789abcdef";

    fn new() -> Pattern {
        Pattern { bytes: format!("{}\n", Self::LINE).repeat(8192).into_bytes(), total: 0 }
    }

    fn check(&mut self, bytes: &[u8]) {
        let start = self.total % (Self::LINE.len() + 1);
        assert!(bytes == &self.bytes[start..start + bytes.len()], "wrong after {}", self.total);
        self.total += bytes.len();
    }

    fn check_all(&mut self, from: &mut impl Read) {
        let mut buffer = vec![0; 65536];
        loop {
            match from.read(&mut buffer).unwrap() {
                0 => return,
                length => self.check(&buffer[..length]),
            }
        }
    }
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
    // One ends first, with another status, and must not be left as a zombie of the stand-in's;
    // one outlives the process.
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

#[test]
fn without_forwarding_a_signal_ends_the_supervision_and_restores_the_terminal() {
    let (_dir, error) = place();
    let mut outer = {
        let script = "echo ready; sleep 30";
        let pty_env = format!("{EXTRA}={}", error.display());
        OnTerminal::start("deaf", script, &["env", &pty_env])
    };
    outer.expect("ready");
    assert!(outer.is_raw());
    signal(&outer.child, Signal::SIGTERM);
    assert_eq!(code(&mut outer.child), 125);
    assert_eq!(fs::read_to_string(error).unwrap(), "ended by signal 15");
    outer.restored();
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
    // More than the terminal holds at once, and an end right after.
    for _ in 0..20 {
        let (status, output) = run("pty", "printf '%015000d' 5; exit 3");
        assert_eq!((status, output.len()), (3, 15000));
    }
}

#[test]
fn a_slow_reader_loses_nothing_and_holds_up_no_signal() {
    slow_reader(&[]);
    // Without a /proc the pipe cannot be opened once more; only root can take it away.
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
    // Soon everything is full, and nobody reads.
    std::thread::sleep(Duration::from_millis(300));
    // Room for less than what is waiting: a write of it all would begin, and not return.
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
    // SIGHUP for the session's leader, an error for who writes on; and no SIGPIPE, which was ours.
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
fn a_process_that_keeps_the_terminal_open_is_not_waited_for() {
    let start = Instant::now();
    let (status, output) = run("pty", "(trap '' HUP; exec sleep 30) & echo $!; exit 4");
    assert_eq!(status, 4);
    assert!(start.elapsed() < Duration::from_secs(10));
    kill(Pid::from_raw(output.trim().parse().unwrap()), Signal::SIGKILL).unwrap();
    // Nor one that never stops writing; the end of the terminal ends it.
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

/// So many reads has it done (proc_pid_io(5)). One that waits does few, one that does not wait
/// does thousands in half a second, however busy the machine is.
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
fn line_feeds_come_out_as_written() {
    assert_eq!(run("pty", "printf 'a\\nb\\n'"), (0, "a\nb\n".to_owned()));
}

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
    // A shell with job control; its job must print, but neither change nor read the terminal.
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
    // env ignores signals that init must reset, and the stand-in starts with all blocked.
    // No program before the first loop: the shell unblocks signals when it starts one.
    let script = "while read -r k v; do case $k in SigBlk:|SigIgn:) echo $v;; esac; done \
                  </proc/$$/status; tty; stty size; \
                  ls -l /proc/self/fd | grep -cE 'ptmx|socket'; : </dev/tty && echo end";
    let ignore = "--ignore-signal=HUP,INT,QUIT,USR1,TERM,XFSZ";
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
    let mask = |line: &str| u64::from_str_radix(line, 16).unwrap() & 0x7fff_ffff;
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
    // Needs the signals blocked, so in a thread of its own, which nothing is sent to.
    std::thread::spawn(move || {
        let guard = SignalGuard::block().unwrap();
        let options = Options { master: None, subreaper: false, forward_signals: true };
        let error = supervise(&Container { pid: 1, pidfd: null }, options, guard).unwrap_err();
        assert_eq!(error.to_string(), "wait for 1: no child processes");
    })
    .join()
    .unwrap();
}
