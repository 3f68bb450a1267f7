//! Starts a helper program (a hook) from the runtime, or from init in new namespaces, where /proc
//! is not mounted and libc's thread data is stale after a raw clone3(2).
//!
//! Between the clone and execve(2) the child makes only async-signal-safe calls; all memory is
//! allocated before. It reports a failure through a close-on-exec pipe; an empty pipe means that
//! the program was executed.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::signal::SigSet;
use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, getpid, getppid, set_parent_process_death_signal, setsid,
    waitid,
};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};

use super::clone::{self, clone_child};
use super::exec::Exec;
use super::failure::{Failure, to_nix};
use super::signal::{default_action, swap_mask};
use super::{fds, pidfd};

/// The program to execute, and its standard descriptors.
pub struct Command<'a> {
    /// The program, its arguments and its whole environment; no search in PATH.
    pub program: Exec<'a>,
    /// The descriptor that becomes 0.
    pub stdin: BorrowedFd<'a>,
    /// The descriptor that becomes 1.
    pub stdout: BorrowedFd<'a>,
    /// The descriptor that becomes 2.
    pub stderr: BorrowedFd<'a>,
}

/// A started program. It leads a session and a process group, and dies with its parent.
pub struct Child {
    process: clone::Child,
    failure: OwnedFd,
}

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// The program exited with this status.
    Code(i32),
    /// This signal killed the program.
    Signal(i32),
}

/// A step of the child, as reported.
#[derive(Clone, Copy)]
enum Step {
    Stdio = 1,
    Close,
    Execute,
    Signals,
}

impl Step {
    fn operation(number: u8) -> &'static str {
        match number {
            n if n == Step::Stdio as u8 => "set up standard input and output",
            n if n == Step::Close as u8 => "close descriptors",
            n if n == Step::Signals as u8 => "reset signals",
            _ => "execute",
        }
    }
}

/// Starts `command`. Only descriptors 0, 1 and 2 reach the program; its signal mask is empty and
/// every signal has its default action, whatever the caller of the runtime blocks or ignores. An
/// execve(2) that fails is an error of [`Child::wait`].
pub fn spawn(command: &Command<'_>) -> Result<Child, Failure> {
    let (failure, report) = nix::unistd::pipe2(OFlag::O_CLOEXEC).map_err(Failure::of("pipe"))?;
    let parent = getpid();
    // No signal handler of this process may run in the child.
    let before = swap_mask(&SigSet::all()).map_err(Failure::of("block signals"))?;
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
    /// Returns a descriptor that is readable once the program has ended.
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
    pub fn wait(self) -> Result<Exit, Failure> {
        let status = loop {
            match waitid(WaitId::PidFd(self.pidfd()), WaitIdOptions::EXITED) {
                Ok(Some(status)) => break status,
                Ok(None) | Err(rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(Failure::of("waitid")(errno)),
            }
        };
        if let Some(failure) = reported(self.failure)? {
            return Err(failure);
        }
        match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) => Ok(Exit::Code(code)),
            (None, Some(signal)) => Ok(Exit::Signal(signal)),
            (None, None) => Err(Failure::result("waitid", "neither exited nor killed")),
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
    Ok(Some(Failure::of(Step::operation(step))(errno)))
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
            Err(errno) => return tell(report, Step::Stdio, errno),
        };
        let (step, errno) = match self.prepare() {
            Ok(()) => (Step::Execute, self.program.run()),
            Err(failed) => failed,
        };
        tell(moved.fd(), step, errno);
    }

    fn prepare(&self) -> Result<(), (Step, Errno)> {
        self.set_stdio().map_err(|errno| (Step::Stdio, errno))?;
        close_on_exec_from(3).map_err(|errno| (Step::Close, errno))?;
        // KILL and STOP always have their default action, and refuse to be set.
        for signal in (1..=64).filter(|s| !matches!(*s, libc::SIGKILL | libc::SIGSTOP)) {
            default_action(signal).map_err(|errno| (Step::Signals, errno))?;
        }
        swap_mask(&SigSet::empty()).map(drop).map_err(|errno| (Step::Signals, errno))
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

/// A descriptor other than 0, 1 and 2.
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

/// Reports the failed step and its error number to the parent.
fn tell(report: BorrowedFd<'_>, step: Step, errno: Errno) {
    let [a, b, c, d] = (errno as i32).to_ne_bytes();
    // If the parent is gone, there is no receiver.
    let _ = rustix::io::write(report, &[step as u8, a, b, c, d]);
}
