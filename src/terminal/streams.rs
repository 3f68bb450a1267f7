//! The caller's standard input and output, read and written without blocking.
//!
//! The descriptors 0 and 1 are shared with the caller of the runtime, for example a shell, so
//! O_NONBLOCK is never set on them. [`Output`] describes how writes do not block nevertheless: a
//! stuck reader must not delay the forwarding of signals.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::libc;
use nix::sys::socket::{MsgFlags, send};
use nix::sys::stat::{Mode, SFlag, fstat, makedev};
use nix::unistd::{isatty, write};

use crate::{Context, Result};

/// Reopens a pipe or a terminal: a file description of its own, with O_NONBLOCK. Returns `None` for
/// other files, and if open(2) fails (a file of another user, or no /proc).
fn open_again(fd: BorrowedFd<'_>, access: OFlag) -> Option<OwnedFd> {
    let stat = fstat(fd).ok()?;
    let kind = stat.st_mode & SFlag::S_IFMT.bits();
    // Opening ptmx again would create another terminal.
    let is_terminal = || stat.st_rdev != makedev(5, 2) && isatty(fd).unwrap_or(false);
    if kind != SFlag::S_IFIFO.bits() && !(kind == SFlag::S_IFCHR.bits() && is_terminal()) {
        return None;
    }
    let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
    let flags = access | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    open(path.as_str(), flags, Mode::empty()).ok()
}

/// Standard input. Bytes that poll(2) has reported may be gone before they are read (a shell reads
/// the same terminal), so a read may block unless the descriptor was reopened.
pub(super) enum Input {
    Own(OwnedFd),
    Shared(BorrowedFd<'static>),
}

impl Input {
    pub(super) fn open(stdin: BorrowedFd<'static>) -> Input {
        open_again(stdin, OFlag::O_RDONLY).map_or(Input::Shared(stdin), Input::Own)
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        match self {
            Input::Own(fd) => fd.as_fd(),
            Input::Shared(fd) => *fd,
        }
    }
}

/// Standard output, by the way to write to it without blocking.
pub(super) enum Output {
    /// A pipe or a terminal, reopened.
    Own(OwnedFd),
    /// A socket, which has a flag for each message not to block.
    Socket(BorrowedFd<'static>),
    /// A regular file, /dev/null and the like, which never block in the sense of poll(2).
    File(BorrowedFd<'static>),
    /// A pipe or a terminal of another user, which cannot be reopened. Written to in small pieces,
    /// and only when poll(2) reports room: PIPE_BUF bytes then fit into a pipe.
    Shared(BorrowedFd<'static>),
}

impl Output {
    pub(super) fn open(stdout: BorrowedFd<'static>) -> Result<Output> {
        let stat = fstat(stdout).context("fstat standard output")?;
        if stat.st_mode & SFlag::S_IFMT.bits() == SFlag::S_IFSOCK.bits() {
            return Ok(Output::Socket(stdout));
        }
        if let Some(own) = open_again(stdout, OFlag::O_WRONLY) {
            return Ok(Output::Own(own));
        }
        let is_pipe = stat.st_mode & SFlag::S_IFMT.bits() == SFlag::S_IFIFO.bits();
        let can_block = is_pipe || isatty(stdout).unwrap_or(false);
        Ok(if can_block { Output::Shared(stdout) } else { Output::File(stdout) })
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        match self {
            Output::Own(fd) => fd.as_fd(),
            Output::Socket(fd) | Output::File(fd) | Output::Shared(fd) => *fd,
        }
    }

    /// Writes once. `ready` means that poll(2) has just reported room.
    pub(super) fn write(&self, bytes: &[u8], ready: bool) -> nix::Result<usize> {
        match self {
            Output::Own(fd) => write(fd, bytes),
            Output::File(fd) => write(fd, bytes),
            Output::Socket(fd) => {
                let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
                send(fd.as_raw_fd(), bytes, flags)
            }
            Output::Shared(fd) if ready => write(fd, bytes.get(..libc::PIPE_BUF).unwrap_or(bytes)),
            Output::Shared(_) => Err(Errno::EAGAIN),
        }
    }
}
