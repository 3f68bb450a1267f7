//! Starts a hook from the runtime, or from init in new namespaces, where /proc is not mounted and
//! libc's thread data is stale after a raw clone3(2).
//!
//! Between the clone and execve(2) the child makes only async-signal-safe calls. It reports a failure
//! through a close-on-exec pipe; an empty pipe means that the program was executed.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::signal::SigSet;
use rustix::io::retry_on_intr;
use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, WaitIdStatus, getpid, getppid,
    set_parent_process_death_signal, setsid, waitid,
};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};

use super::clone::{self, clone_child};
use super::exec::Exec;
use super::failure::{Failure, to_nix};
use super::signal::{all_signals, default_action, swap_mask};
use super::{fds, pidfd};

/// The program to execute (without a search in PATH), and its standard descriptors.
pub struct Command<'a> {
    pub program: Exec<'a>,
    pub stdin: BorrowedFd<'a>,
    pub stdout: BorrowedFd<'a>,
    pub stderr: BorrowedFd<'a>,
}

/// A started program. It leads a session and a process group, and dies with its parent.
pub struct Child {
    process: clone::Child,
    failure: OwnedFd,
}

/// The steps of the child, which it reports by their index.
const STEPS: [&str; 4] =
    ["set up standard input and output", "close descriptors", "reset signals", "execute"];
const STDIO: u8 = 0;
const CLOSE: u8 = 1;
const SIGNALS: u8 = 2;
const EXECUTE: u8 = 3;

/// Starts `command`. Only descriptors 0, 1 and 2 reach the program; its signal mask is empty and
/// every signal has its default action, whatever the caller of the runtime blocks or ignores. An
/// execve(2) that fails is an error of [`Child::wait`].
pub fn spawn(command: &Command<'_>) -> Result<Child, Failure> {
    let (failure, report) = nix::unistd::pipe2(OFlag::O_CLOEXEC).map_err(Failure::of("pipe"))?;
    let parent = getpid();
    // No signal handler of this process may run in the child.
    let before = swap_mask(&all_signals()).map_err(Failure::of("block signals"))?;
    let process = clone_child(|| {
        command.run(report.as_fd(), parent);
        127
    });
    let restored = swap_mask(&before);
    let process = process.map_err(Failure::of("clone"))?;
    restored.map_err(Failure::of("restore the signal mask"))?;
    Ok(Child { process, failure })
}

impl Child {
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.process.pidfd.as_fd()
    }

    /// Kills the program and the rest of its process group. The number is safe to use: the child
    /// was not waited for, so nothing else can have it.
    pub fn kill_group(&self) {
        // Either call may find no process left.
        let _ = nix::sys::signal::killpg(
            nix::unistd::Pid::from_raw(self.process.pid),
            nix::sys::signal::Signal::SIGKILL,
        );
        let _ = pidfd::send_signal(self.pidfd(), libc::SIGKILL);
    }

    /// Waits for this child only.
    ///
    /// # Errors
    /// If the program was never executed.
    pub fn wait(self) -> Result<WaitIdStatus, Failure> {
        let waited = retry_on_intr(|| waitid(WaitId::PidFd(self.pidfd()), WaitIdOptions::EXITED));
        let status = waited.map_err(to_nix).map_err(Failure::of("waitid"))?;
        match reported(self.failure)? {
            Some(failure) => Err(failure),
            None => status.ok_or_else(|| Failure::result("waitid", "no process")),
        }
    }
}

/// Reads the child's report. The child is dead here and this process's copy of the write end is
/// closed, so the read does not block.
fn reported(pipe: OwnedFd) -> Result<Option<Failure>, Failure> {
    let mut report = Vec::with_capacity(8);
    let read = File::from(pipe).take(8).read_to_end(&mut report);
    let errno = |error: std::io::Error| error.raw_os_error().map_or(Errno::EIO, Errno::from_raw);
    read.map_err(errno).map_err(Failure::of("read a child's report"))?;
    let [step, a, b, c, d] = report[..] else { return Ok(None) };
    let errno = Errno::from_raw(i32::from_ne_bytes([a, b, c, d]));
    let operation = STEPS.get(usize::from(step)).copied().unwrap_or_default();
    Ok(Some(Failure::of(operation)(errno)))
}

impl Command<'_> {
    /// Runs the child's side. Returns only if the program cannot be executed, which is then
    /// reported to the parent.
    fn run(&self, report: BorrowedFd<'_>, parent: Pid) {
        // A hook must not outlive a runtime that was killed during create. The parent's id is 0 for
        // a child in another pid namespace.
        let _ = set_parent_process_death_signal(Some(Signal::KILL));
        if getppid().is_some_and(|now| now != parent) {
            return;
        }
        // A session of its own: no controlling terminal, and a group that can be killed.
        let _ = setsid();

        let moved = match AboveStdio::of(report) {
            Ok(moved) => moved,
            Err(errno) => return tell(report, STDIO, errno),
        };
        let (step, errno) = match self.prepare() {
            Ok(()) => (EXECUTE, self.program.run()),
            Err(failed) => failed,
        };
        tell(moved.fd(), step, errno);
    }

    fn prepare(&self) -> Result<(), (u8, Errno)> {
        self.set_stdio().map_err(|errno| (STDIO, errno))?;
        close_on_exec_from(3).map_err(|errno| (CLOSE, errno))?;
        // KILL and STOP always have their default action, and refuse to be set.
        for signal in (1..=64).filter(|s| !matches!(*s, libc::SIGKILL | libc::SIGSTOP)) {
            default_action(signal).map_err(|errno| (SIGNALS, errno))?;
        }
        swap_mask(&SigSet::empty()).map(drop).map_err(|errno| (SIGNALS, errno))
    }

    fn set_stdio(&self) -> nix::Result<()> {
        // Move them above 2 first: the runtime may have been started with 0, 1 or 2 closed, so that
        // a source can have such a number.
        let stdin = AboveStdio::of(self.stdin)?;
        let stdout = AboveStdio::of(self.stdout)?;
        let stderr = AboveStdio::of(self.stderr)?;
        dup2_stdin(stdin.fd()).map_err(to_nix)?;
        dup2_stdout(stdout.fd()).map_err(to_nix)?;
        dup2_stderr(stderr.fd()).map_err(to_nix)
    }
}

enum AboveStdio<'a> {
    Given(BorrowedFd<'a>),
    Copy(OwnedFd),
}

impl AboveStdio<'_> {
    fn of(fd: BorrowedFd<'_>) -> nix::Result<AboveStdio<'_>> {
        if fd.as_raw_fd() > 2 {
            return Ok(AboveStdio::Given(fd));
        }
        rustix::io::fcntl_dupfd_cloexec(fd, 3).map(AboveStdio::Copy).map_err(to_nix)
    }

    fn fd(&self) -> BorrowedFd<'_> {
        match self {
            AboveStdio::Given(fd) => *fd,
            AboveStdio::Copy(fd) => fd.as_fd(),
        }
    }
}

/// Marks all descriptors from `first` close-on-exec: the runtime's already are, but the caller's
/// (`--preserve-fds`, or leaked by an engine) are not.
fn close_on_exec_from(first: u32) -> nix::Result<()> {
    match fds::close_on_exec_range(first, u32::MAX) {
        // startContainer hooks are started under the container's seccomp filter, whose profile may
        // predate the call (Linux 5.9).
        Err(Errno::ENOSYS) => {}
        answer => return answer,
    }
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let end = limit.maximum.and_then(|end| u32::try_from(end).ok()).unwrap_or(1 << 20);
    (first..end).for_each(fds::close_on_exec);
    Ok(())
}

fn tell(report: BorrowedFd<'_>, step: u8, errno: Errno) {
    let [a, b, c, d] = (errno as i32).to_ne_bytes();
    // If the parent is gone, there is no receiver.
    let _ = rustix::io::write(report, &[step, a, b, c, d]);
}
