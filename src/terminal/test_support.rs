//! The stand-in for the runtime, and functions for its tests.

use std::fs::{self, File};
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::sys::clone::Child as Container;
use crate::terminal::pty::{self, Pty};
use crate::terminal::signals::SignalGuard;
use crate::terminal::supervise::{Options, caller_size, shell_status, supervise};
use crate::terminal::{signals, socket, stdio};
use nix::fcntl::{OFlag, open};
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::{Mode, fstat, stat};
use nix::sys::termios::{LocalFlags, Termios, tcgetattr};
use nix::unistd::Pid;
use rustix::process::{PidfdFlags, pidfd_open};
use rustix::termios::Winsize;

pub const ROLE: &str = "BULKHEAD_TEST_TTY_ROLE";
pub const SCRIPT: &str = "BULKHEAD_TEST_TTY_SCRIPT";
pub const EXTRA: &str = "BULKHEAD_TEST_TTY_EXTRA";

/// Longer than any step takes, so that a hang fails the test and does not block the test run.
pub const LIMIT: Duration = Duration::from_secs(30);

// ---------------------------------------------------------------- the stand-in

/// Runs the role of this process, if the variable is set.
pub fn stand_in() {
    let Ok(role) = std::env::var(ROLE) else { return };
    // The harness writes to /dev/null; stderr is a copy of the real standard output.
    nix::unistd::dup2_stdout(std::io::stderr()).unwrap();
    let script = std::env::var(SCRIPT).unwrap();
    let extra = std::env::var(EXTRA).unwrap_or_default();
    let status = match role.as_str() {
        "init" => as_init(&script, &extra),
        "console" => as_console(),
        "closed" => as_closed(),
        "owner" => as_owner(),
        _ => as_runtime(&role, &script, &extra),
    };
    std::process::exit(status);
}

pub fn new_pty(size: Option<Winsize>) -> Pty {
    let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    pty::open(open("/dev/pts/ptmx", flags, Mode::empty()).unwrap(), size).unwrap()
}

/// Runs the shell in the foreground, with a terminal ("pty"; "sized" and "late" set its size) or
/// without ("plain").
pub fn as_runtime(role: &str, script: &str, error_file: &str) -> i32 {
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).unwrap();
    let guard = SignalGuard::block().unwrap();
    // The standard library passes on the blocked signals; env resets them, as init would.
    let mut command = Command::new("env");
    command.args(["--default-signal", "setsid"]);
    let master = if role == "plain" {
        None
    } else {
        let size = match role {
            "sized" => pty::console_size(11, 111).unwrap(),
            "late" => None,
            _ => caller_size(),
        };
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
    let options = Options { master, subreaper: true, notify: None };
    match supervise(&Container { pid, pidfd }, options, guard) {
        Ok(ended) => shell_status(ended),
        Err(error) => {
            fs::write(error_file, error.to_string()).unwrap();
            kill(Pid::from_raw(pid), Signal::SIGKILL).ok();
            125
        }
    }
}

/// Acts as init: creates the terminal, sends the master, executes a program on it.
pub fn as_init(script: &str, socket_path: &str) -> i32 {
    let console = socket::connect("--console-socket", Path::new(socket_path)).unwrap();
    let Pty { master, slave } = new_pty(pty::console_size(10, 110).unwrap());
    socket::send_master(console.as_fd(), master.as_fd(), "/dev/ptmx").unwrap();
    pty::control(slave.as_fd()).unwrap();
    pty::attach(slave.as_fd()).unwrap();
    let ignored = signals::Ignored::of_this_process().unwrap();
    signals::reset_signals_for_exec(&ignored).unwrap();
    let words = [c"sh".to_owned(), c"-c".to_owned(), std::ffi::CString::new(script).unwrap()];
    let Err(errno) = nix::unistd::execv(c"/bin/sh", &words);
    panic!("execv: {errno}");
}

/// Binds a console in a mount namespace of its own, and compares the devices.
pub fn as_console() -> i32 {
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

pub fn as_closed() -> i32 {
    for fd in [0, 2] {
        nix::unistd::close(fd).unwrap();
    }
    stdio::ensure_open().unwrap();
    let links = [0, 1, 2].map(|fd| fs::read_link(format!("/proc/self/fd/{fd}")).unwrap());
    let null = Path::new("/dev/null");
    i32::from(links[0] != null || links[1] == null || links[2] != null)
}

/// Changes the owner of standard output, if allowed, and reopens null on standard input.
pub fn as_owner() -> i32 {
    let owner = || fstat(std::io::stdout()).unwrap().st_uid;
    let of_null = || fstat(std::io::stdin()).unwrap().st_uid;
    let before = of_null();
    let user = nix::unistd::Uid::from_raw(12345);
    stdio::adopt(None, user, false).unwrap();
    let is_terminal = nix::unistd::isatty(std::io::stdout()).unwrap();
    assert_eq!(owner() == 12345, !is_terminal, "not the caller's terminal");
    stdio::adopt(None, user, true).unwrap();
    assert_eq!(owner(), 12345);
    assert_eq!(of_null(), before, "not /dev/null");
    let null = File::options().read(true).append(true).open("/dev/null").unwrap();
    stdio::adopt(Some(null.as_fd()), user, true).unwrap();
    let flags = |fd: std::os::fd::BorrowedFd<'_>| {
        OFlag::from_bits_retain(nix::fcntl::fcntl(fd, nix::fcntl::FcntlArg::F_GETFL).unwrap())
    };
    assert!(flags(std::io::stdin().as_fd()).contains(OFlag::O_APPEND));
    assert!(!flags(std::io::stdout().as_fd()).contains(OFlag::O_APPEND));
    0
}

// ---------------------------------------------------------------- its caller

/// Returns a command that starts a stand-in; `before` are shell words in front of the command line.
pub fn stand_in_command(role: &str, script: &str, prefix: &[&str]) -> Command {
    let line = "exec env --block-signal \"$0\" --exact terminal::relay_tests::stand_in --nocapture --test-threads=1 \
                2>&1 >/dev/null";
    let exe = std::env::current_exe().unwrap();
    let mut words = prefix.iter().copied().chain(["sh", "-c", line]);
    let mut command = Command::new(words.next().unwrap());
    command.args(words).arg(exe).env(ROLE, role).env(SCRIPT, script);
    command.stdin(Stdio::null());
    command
}

/// A shell's wait for a signal, at most ten seconds, so that a failure leaves nothing behind.
pub const LOOP: &str = "for i in $(seq 1000); do sleep 0.01; done; exit 99";

/// A running stand-in, which does not outlive its test.
pub struct StandIn(Child);

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
        // Both do nothing after the child was waited for.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

pub fn start(command: &mut Command) -> StandIn {
    StandIn(command.spawn().unwrap())
}

pub fn wait(child: &mut Child) -> ExitStatus {
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

pub fn code(child: &mut Child) -> i32 {
    let status = wait(child);
    status.code().unwrap_or_else(|| panic!("killed by signal {:?}", status.signal()))
}

/// Runs a stand-in to its end. Returns exit status and output.
pub fn run(role: &str, script: &str) -> (i32, String) {
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

pub fn signal(child: &Child, signal: Signal) {
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), signal).unwrap();
}

pub fn until(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < LIMIT, "never seen: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A stand-in on a terminal whose other end the test holds.
pub struct OnTerminal {
    pub child: StandIn,
    pub pty: Pty,
    seen: String,
    output: mpsc::Receiver<Vec<u8>>,
    before: Termios,
}

impl OnTerminal {
    pub fn start(role: &str, script: &str, words: &[&str]) -> OnTerminal {
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

    pub fn expect(&mut self, words: &str) {
        while !self.seen.contains(words) {
            match self.output.recv_timeout(LIMIT) {
                Ok(bytes) => self.seen.push_str(&String::from_utf8_lossy(&bytes)),
                Err(_) => panic!("never seen: {words:?}; only {:?}", self.seen),
            }
        }
    }

    pub fn settings(&self) -> Termios {
        tcgetattr(&self.pty.slave).unwrap()
    }

    pub fn is_raw(&self) -> bool {
        !self.settings().local_flags.intersects(LocalFlags::ICANON | LocalFlags::ECHO)
    }

    pub fn keys(&self, keys: &str) {
        nix::unistd::write(&self.pty.master, keys.as_bytes()).unwrap();
    }

    pub fn restored(&self) {
        assert_eq!(self.settings(), self.before, "the terminal's settings are not restored");
    }
}

/// Returns a directory, and the path of a file in it that does not exist yet.
pub fn place() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    (dir, path)
}

/// The output of `yes 0123456789abcdef`, compared while it arrives.
pub struct Pattern {
    bytes: Vec<u8>,
    pub total: usize,
}

impl Pattern {
    pub const LINE: &str = "0123456789abcdef";

    pub fn new() -> Pattern {
        Pattern { bytes: format!("{}\n", Self::LINE).repeat(8192).into_bytes(), total: 0 }
    }

    pub fn check(&mut self, bytes: &[u8]) {
        let start = self.total % (Self::LINE.len() + 1);
        assert!(bytes == &self.bytes[start..start + bytes.len()], "wrong after {}", self.total);
        self.total += bytes.len();
    }

    pub fn check_all(&mut self, from: &mut impl Read) {
        let mut buffer = vec![0; 65536];
        loop {
            match from.read(&mut buffer).unwrap() {
                0 => return,
                length => self.check(&buffer[..length]),
            }
        }
    }
}
