//! Starting a helper program (a hook) from a process that may be anything: the runtime, or init in
//! new namespaces where /proc is not mounted and libc's thread data is stale after a raw clone3.
//!
//! Between the clone and execve the child makes async-signal-safe calls only; all it needs was
//! allocated before. It tells a failure through a close-on-exec pipe: an empty pipe means that the
//! program was executed.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::signal::SigSet;
use rustix::process::{WaitId, WaitIdOptions};

use crate::terminal::signals::swap_mask;
use crate::{Context, Error, Kind, Result};

/// What to execute, and with which standard descriptors.
pub struct Command<'a> {
    /// The program; no search in PATH.
    pub path: &'a CStr,
    /// argv, the program's own name first.
    pub argv: &'a [CString],
    /// The whole environment.
    pub env: &'a [CString],
    /// Becomes descriptor 0.
    pub stdin: BorrowedFd<'a>,
    /// Becomes descriptor 1.
    pub stdout: BorrowedFd<'a>,
    /// Becomes descriptor 2.
    pub stderr: BorrowedFd<'a>,
}

/// A started program: it has a session and a process group of its own, and dies with its parent.
pub struct Child {
    pid: libc::pid_t,
    pidfd: OwnedFd,
    failure: OwnedFd,
}

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It exited with this status.
    Code(i32),
    /// This signal ended it.
    Signal(i32),
}

/// Steps of the child, as it reports them.
const STEP_STDIO: u8 = 1;
const STEP_CLOSE: u8 = 2;
const STEP_EXEC: u8 = 3;
const STEP_SIGNALS: u8 = 4;

/// Starts `command`. Only descriptors 0, 1 and 2 reach it; the signal mask is empty and every
/// signal has its default action, whatever the caller of the runtime blocks or ignores. An execve that fails is told by `Child::failure`.
pub fn spawn(command: &Command<'_>) -> Result<Child> {
    let argv = pointers(command.argv);
    let env = pointers(command.env);
    let (failure, report) = nix::unistd::pipe2(OFlag::O_CLOEXEC).context("pipe")?;
    let launch = Launch {
        path: command.path.as_ptr(),
        argv: argv.as_ptr(),
        env: env.as_ptr(),
        stdin: command.stdin.as_raw_fd(),
        stdout: command.stdout.as_raw_fd(),
        stderr: command.stderr.as_raw_fd(),
        report: report.as_raw_fd(),
        parent: nix::unistd::getpid().as_raw(),
    };

    // No handler of this process may run in the child, where it would find a strange world.
    let before = swap_mask(&SigSet::all()).context("block signals")?;
    // SAFETY: the child runs `Launch::run` alone, which makes async-signal-safe calls only and
    // never returns; the memory it reads was copied with the address space.
    let cloned = unsafe { clone_process() };
    if let Ok(Cloned::Child) = cloned {
        // SAFETY: we are the child of the clone above; the pointers in `launch` point into our
        // copy of vectors and strings that are alive in this frame and its callers.
        unsafe { launch.run() }
    }
    let restored = swap_mask(&before);
    match cloned.context("clone")? {
        Cloned::Parent { pid, pidfd } => {
            let child = Child { pid, pidfd, failure };
            restored.context("restore the signal mask")?;
            Ok(child)
        }
        // `run` has not returned.
        Cloned::Child => Err(Error::new(Kind::System, "clone returned in the child")),
    }
}

/// Gives SIGCHLD its default action. An ignored SIGCHLD outlives execve, and with it the kernel
/// reaps our children before we can ask how they ended.
pub fn default_sigchld() -> nix::Result<()> {
    // SAFETY: SIG_DFL is no function of ours, so no code runs in signal context.
    unsafe {
        nix::sys::signal::signal(nix::sys::signal::SIGCHLD, nix::sys::signal::SigHandler::SigDfl)
    }
    .map(drop)
}

impl Child {
    /// Readable once the program has ended.
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// Kills the program and the rest of its process group. The number is safe to use: the child
    /// was not waited for, so nothing else can have it.
    pub fn kill_group(&self) {
        // Both may find nothing left to kill, which is what they are for.
        let _ = nix::sys::signal::killpg(
            nix::unistd::Pid::from_raw(self.pid),
            nix::sys::signal::Signal::SIGKILL,
        );
        let _ = super::pidfd::send_signal(self.pidfd.as_fd(), libc::SIGKILL);
    }

    /// Waits for the end, and for this child only. An error if the program was never executed.
    pub fn wait(self) -> Result<Exit> {
        let status = loop {
            match rustix::process::waitid(WaitId::PidFd(self.pidfd.as_fd()), WaitIdOptions::EXITED)
            {
                Ok(Some(status)) => break status,
                Ok(None) | Err(rustix::io::Errno::INTR) => {}
                Err(e) => return Err(e).context("waitid"),
            }
        };
        if let Some(error) = exec_failure(self.failure)? {
            return Err(error);
        }
        match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) => Ok(Exit::Code(code)),
            (None, Some(signal)) => Ok(Exit::Signal(signal)),
            (None, None) => Err(Error::new(Kind::System, "waitid: neither exited nor killed")),
        }
    }
}

/// What the child wrote into its pipe. The child is dead here and our copy of the write end is
/// closed, so the read does not block.
fn exec_failure(pipe: OwnedFd) -> Result<Option<Error>> {
    let mut report = Vec::with_capacity(8);
    File::from(pipe).take(8).read_to_end(&mut report).context("read a child's report")?;
    let [step, a, b, c, d] = report[..] else { return Ok(None) };
    let what = match step {
        STEP_STDIO => "set up standard input and output",
        STEP_CLOSE => "close descriptors",
        STEP_SIGNALS => "reset signals",
        _ => "execute",
    };
    let errno = Errno::from_raw(i32::from_ne_bytes([a, b, c, d]));
    Ok(Some(Error::sys(errno).context(what)))
}

fn pointers(strings: &[CString]) -> Vec<*const libc::c_char> {
    strings.iter().map(|s| s.as_ptr()).chain([ptr::null()]).collect()
}

enum Cloned {
    Parent { pid: libc::pid_t, pidfd: OwnedFd },
    Child,
}

/// A fork with a pidfd, without libc's fork handlers.
///
/// # Safety
/// In the child only async-signal-safe calls may follow, up to execve or _exit.
unsafe fn clone_process() -> nix::Result<Cloned> {
    let mut pidfd: RawFd = -1;
    // SAFETY: clone_args is plain integers, for which all zeroes is a value.
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.flags = libc::CLONE_PIDFD as u64;
    args.pidfd = ptr::from_mut(&mut pidfd) as u64;
    args.exit_signal = libc::SIGCHLD as u64;
    // SAFETY: without CLONE_VM this is a fork: the child has a copy of this stack. `args` and
    // `pidfd` outlive the call.
    let pid = unsafe {
        libc::syscall(libc::SYS_clone3, ptr::from_ref(&args), size_of::<libc::clone_args>())
    };
    match Errno::result(pid) {
        Ok(0) => Ok(Cloned::Child),
        Ok(pid) => {
            // SAFETY: the kernel has just made this descriptor for us, close-on-exec.
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            Ok(Cloned::Parent { pid: pid as libc::pid_t, pidfd })
        }
        // Linux before 5.3, or a seccomp filter of an outer container that hides clone3.
        Err(Errno::ENOSYS) => {
            // SAFETY: the caller's promise covers the child.
            match Errno::result(unsafe { libc::fork() })? {
                0 => Ok(Cloned::Child),
                pid => match super::pidfd::open(pid) {
                    Ok(Some(pidfd)) => Ok(Cloned::Parent { pid, pidfd }),
                    // Our own unreaped child is always found; without pidfds it cannot be served.
                    other => {
                        let _ = nix::sys::signal::kill(
                            nix::unistd::Pid::from_raw(pid),
                            nix::sys::signal::Signal::SIGKILL,
                        );
                        let _ = nix::sys::wait::waitpid(nix::unistd::Pid::from_raw(pid), None);
                        Err(other.err().and_then(|e| e.errno()).unwrap_or(Errno::ESRCH))
                    }
                },
            }
        }
        Err(e) => Err(e),
    }
}

/// All that the child needs, as plain numbers and pointers.
struct Launch {
    path: *const libc::c_char,
    argv: *const *const libc::c_char,
    env: *const *const libc::c_char,
    stdin: RawFd,
    stdout: RawFd,
    stderr: RawFd,
    report: RawFd,
    parent: libc::pid_t,
}

impl Launch {
    /// The child's side.
    ///
    /// # Safety
    /// Only in a fresh clone; the pointers must be valid there.
    unsafe fn run(&self) -> ! {
        // SAFETY: plain system calls on numbers, and execve on the pointers that the caller vouches
        // for; all of them are async-signal-safe.
        unsafe {
            // A hook must not outlive a runtime that was killed in the middle of create. The
            // parent's number is 0 for a child in another pid namespace.
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            let parent = libc::getppid();
            if parent != 0 && parent != self.parent {
                libc::_exit(127);
            }
            // A session of its own: no controlling terminal, and a group that can be killed.
            libc::setsid();

            // Out of the way of 0, 1 and 2 first: the runtime may have been started with these
            // closed, so that a source has one of their numbers.
            let report = above_stdio(self.report, self.report);
            let stdin = above_stdio(self.stdin, report);
            let stdout = above_stdio(self.stdout, report);
            let stderr = above_stdio(self.stderr, report);
            for (from, to) in [(stdin, 0), (stdout, 1), (stderr, 2)] {
                if libc::dup2(from, to) < 0 {
                    fail(report, STEP_STDIO);
                }
            }
            close_on_exec_from(3, report);

            // KILL and STOP have no other action, and refuse to be given one.
            for signal in (1..=64).filter(|s| !matches!(*s, libc::SIGKILL | libc::SIGSTOP)) {
                if super::signal::default_action(signal).is_err() {
                    fail(report, STEP_SIGNALS);
                }
            }
            let mut none: libc::sigset_t = std::mem::zeroed();
            libc::sigemptyset(&mut none);
            if libc::sigprocmask(libc::SIG_SETMASK, &none, ptr::null_mut()) != 0 {
                fail(report, STEP_SIGNALS);
            }

            libc::execve(self.path, self.argv, self.env);
            fail(report, STEP_EXEC)
        }
    }
}

/// `fd`, or a copy of it that is not 0, 1 or 2.
unsafe fn above_stdio(fd: RawFd, report: RawFd) -> RawFd {
    if fd > 2 {
        return fd;
    }
    // SAFETY: fcntl on a number.
    let copy = unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 3) };
    if copy < 0 {
        // SAFETY: we are the child.
        unsafe { fail(report, STEP_STDIO) }
    }
    copy
}

/// Marks all descriptors from `first` close-on-exec: ours are already, but the caller's
/// (`--preserve-fds`, or leaked by an engine) are not.
unsafe fn close_on_exec_from(first: RawFd, report: RawFd) {
    // SAFETY: system calls on numbers; getrlimit fills our own struct.
    unsafe {
        let flag = libc::CLOSE_RANGE_CLOEXEC;
        if libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, flag) == 0 {
            return;
        }
        // The call is of Linux 5.9, the flag of 5.11.
        if !matches!(Errno::last(), Errno::ENOSYS | Errno::EINVAL) {
            fail(report, STEP_CLOSE);
        }
        let mut limit: libc::rlimit = std::mem::zeroed();
        if libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) != 0 {
            fail(report, STEP_CLOSE);
        }
        let end = RawFd::try_from(limit.rlim_max).unwrap_or(1 << 20);
        for fd in first..end {
            // EBADF: not open.
            libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC);
        }
    }
}

/// Tells the parent which step failed, and with which errno, and ends the child.
unsafe fn fail(report: RawFd, step: u8) -> ! {
    let [a, b, c, d] = (Errno::last() as i32).to_ne_bytes();
    let message = [step, a, b, c, d];
    // SAFETY: writes five bytes of our own array; a parent that is gone is nobody to tell.
    unsafe {
        libc::write(report, message.as_ptr().cast(), message.len());
        libc::_exit(127)
    }
}
