//! A call that a worker runs, and its answer.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::process::{WaitId, WaitIdOptions, waitid};

use super::process::Process;
use super::worker::Answer;
use crate::sys::fdpass::recv_with_fd;
use crate::{Context, Error, Kind, Result, log};

/// A call that [`Runtime::begin`](super::Runtime::begin) has started, and that a worker runs.
///
/// Dropping it ends neither the worker nor the operation; the program must then reap the worker.
#[derive(Debug)]
pub struct Pending {
    answer: OwnedFd,
    /// The worker; with a fork server, unknown until the server has cloned it.
    worker: Option<OwnedFd>,
    result: Option<Result<Option<Process>>>,
}

impl Pending {
    pub(super) fn new(answer: OwnedFd, worker: Option<OwnedFd>) -> Pending {
        Pending { answer, worker, result: None }
    }

    /// Returns the descriptors for poll(2). If any of them is readable, [`Pending::try_wait`] may
    /// return the result.
    pub fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        std::iter::once(self.answer.as_fd()).chain(self.worker.as_ref().map(AsFd::as_fd))
    }

    /// Waits until the operation is done. Returns the process that it has started: init for
    /// [`Operation::Create`](super::Operation::Create) and `Restore`, the new process for `Exec`.
    ///
    /// # Errors
    /// Those of the operation.
    pub fn wait(mut self) -> Result<Option<Process>> {
        let result = self.next(PollTimeout::NONE).transpose();
        result.unwrap_or_else(|| Err(Error::new(Kind::System, "no answer of a worker")))
    }

    /// Returns the result of the operation if it is done, and then not again. Does not wait, except for
    /// a worker that has answered and is about to end.
    ///
    /// # Errors
    /// Those of the operation.
    pub fn try_wait(&mut self) -> Result<Option<Option<Process>>> {
        self.next(PollTimeout::ZERO)
    }

    /// Receives messages until the worker has answered and ended, or until none comes within
    /// `timeout`.
    ///
    /// The end of the worker does not end the socket, since init can have a copy of it.
    fn next(&mut self, timeout: PollTimeout) -> Result<Option<Option<Process>>> {
        let mut buffer = [0; crate::protocol::MAX];
        while self.result.is_none() || self.worker.is_none() {
            match self.has_message(timeout)? {
                Some(true) => {}
                Some(false) => break,
                None => return Ok(None),
            }
            let (length, fd) = recv_with_fd(self.answer.as_fd(), &mut buffer)
                .context("wait for the answer of a worker")?;
            let message = buffer.get(..length).unwrap_or_default();
            if message.is_empty() {
                break;
            }
            match (Answer::parse(message), fd) {
                (Some(Answer::Worker), Some(fd)) => self.worker = Some(fd),
                (Some(Answer::Ended), Some(fd)) => reap(&fd)?,
                (Some(Answer::Warning(text)), _) => log::warn(text),
                (Some(Answer::Done(pid)), Some(fd)) => {
                    self.result = Some(Ok(Some(Process::new(pid, fd))));
                }
                (Some(Answer::Done(_)), None) => self.result = Some(Ok(None)),
                (Some(Answer::Failed(error)), _) => self.result = Some(Err(error)),
                (None, _) | (Some(Answer::Worker | Answer::Ended), None) => {
                    let why = "unexpected answer of a worker";
                    self.result = Some(Err(Error::new(Kind::System, why)));
                }
            }
        }
        if let Some(worker) = self.worker.take() {
            reap(&worker)?;
        }
        let ended = || Err(Error::new(Kind::System, "a worker ended without an answer"));
        self.result.take().unwrap_or_else(ended).map(Some)
    }

    /// Waits for a message. Returns `false` if the worker has ended without a message, `None` if
    /// neither happens within `timeout`.
    fn has_message(&self, mut timeout: PollTimeout) -> Result<Option<bool>> {
        let mut ended = false;
        loop {
            let mut fds: Vec<_> =
                self.descriptors().map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
            match poll(&mut fds, timeout) {
                Ok(0) => return Ok(None),
                Ok(_) if fds.first().and_then(PollFd::any).unwrap_or(true) => {
                    return Ok(Some(true));
                }
                // The last message may have arrived before the end was noticed.
                Ok(_) if !ended => (timeout, ended) = (PollTimeout::ZERO, true),
                Ok(_) => return Ok(Some(false)),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno).context("wait for the answer of a worker"),
            }
        }
    }
}

/// Reaps a worker or a process that a worker has created, unless the program has already reaped it,
/// for example in a handler of SIGCHLD.
pub(super) fn reap(child: &OwnedFd) -> Result<()> {
    let wait = || waitid(WaitId::PidFd(child.as_fd()), WaitIdOptions::EXITED);
    match rustix::io::retry_on_intr(wait) {
        Ok(_) | Err(rustix::io::Errno::CHILD) => Ok(()),
        Err(errno) => Err(errno).context("wait for a worker"),
    }
}
