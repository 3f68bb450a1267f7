//! A process that was started in a container.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use rustix::process::{WaitId, WaitIdOptions, waitid};

use super::signal::Signal;
use crate::sys::pidfd;
use crate::{Context, Error, Kind, Result};

/// The init of a container, or a process of an exec; a child of the program.
///
/// Dropping it neither ends nor waits for the process.
#[derive(Debug)]
pub struct Process {
    pid: i32,
    pidfd: OwnedFd,
}

impl Process {
    pub(super) fn new(pid: i32, pidfd: OwnedFd) -> Process {
        Process { pid, pidfd }
    }

    /// Returns the process id in the pid namespace of the program.
    pub fn id(&self) -> u32 {
        self.pid.unsigned_abs()
    }

    /// Waits until the process ends.
    ///
    /// # Errors
    /// [`Kind::State`] if the program has already waited for the process, for example in a handler
    /// of SIGCHLD.
    pub fn wait(&self) -> Result<ExitStatus> {
        loop {
            if let Some(status) = self.wait_with(WaitIdOptions::EXITED)? {
                return Ok(status);
            }
        }
    }

    /// Returns the exit status if the process has ended.
    ///
    /// # Errors
    /// As for [`Process::wait`].
    pub fn try_wait(&self) -> Result<Option<ExitStatus>> {
        self.wait_with(WaitIdOptions::EXITED | WaitIdOptions::NOHANG)
    }

    fn wait_with(&self, options: WaitIdOptions) -> Result<Option<ExitStatus>> {
        let ended = rustix::io::retry_on_intr(|| waitid(WaitId::PidFd(self.as_fd()), options));
        let status = match ended {
            Ok(status) => status,
            Err(rustix::io::Errno::CHILD) => {
                let why = format!("process {} is not a child, or was waited for", self.pid);
                return Err(Error::new(Kind::State, why));
            }
            Err(errno) => {
                return Err(errno).with_context(|| format!("wait for process {}", self.pid));
            }
        };
        let Some(status) = status else { return Ok(None) };
        // The encoding of wait(2).
        let code = status.exit_status().map(|code| (code & 0xff) << 8);
        Ok(code.or(status.terminating_signal()).map(ExitStatus::from_raw))
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// ESRCH if the process has ended and was waited for; EPERM.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        pidfd::send_signal(self.as_fd(), signal.number())
            .with_context(|| format!("send signal {signal} to process {}", self.pid))
    }
}

/// Returns a pidfd (pidfd_open(2)), which is readable when the process has ended.
impl AsFd for Process {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

impl From<Process> for OwnedFd {
    fn from(process: Process) -> OwnedFd {
        process.pidfd
    }
}
