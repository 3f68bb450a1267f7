//! Standard input, output and error: always open, of the right owner, and not the host's null.

use std::os::fd::{AsFd, BorrowedFd, IntoRawFd};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, major, makedev, minor};
use nix::unistd::{Uid, dup2_stderr, dup2_stdin, dup2_stdout, fchown, isatty};

use crate::{Context, Error, Kind, Result, sys};

/// dup2(2) to 0, to 1 and to 2.
pub(super) const COPY_TO: [fn(BorrowedFd<'_>) -> nix::Result<()>; 3] =
    [|fd| dup2_stdin(fd), |fd| dup2_stdout(fd), |fd| dup2_stderr(fd)];

/// Opens `/dev/null` on whichever of 0, 1 and 2 the caller left closed, so that no descriptor
/// opened later lands there and is taken for the container's output. One system call when all
/// three are open.
///
/// The Rust runtime does the same before `main`; this is for users of the library that have no
/// Rust `main`, and so that it does not depend on a habit of the runtime that nothing promises.
pub fn ensure_open() -> Result<()> {
    let closed = sys::term::closed_stdio().context("poll standard descriptors")?;
    for (number, closed) in (0..).zip(closed) {
        if !closed {
            continue;
        }
        // The lowest free number is the one that is missing, because those below are open.
        let null = open("/dev/null", OFlag::O_RDWR, Mode::empty())
            .context("open /dev/null")?
            .into_raw_fd();
        if null != number {
            let why = format!("/dev/null: opened as {null} where {number} was free");
            return Err(Error::new(Kind::System, why));
        }
    }
    Ok(())
}

fn is_null(stat: &FileStat) -> bool {
    stat.st_mode & SFlag::S_IFMT.bits() == SFlag::S_IFCHR.bits() && stat.st_rdev == makedev(1, 3)
}

/// Replaces each of 0, 1 and 2 that is the host's `/dev/null` with the container's, so that a
/// process which opens `/dev/stdout` again is not refused (or let through) by the host's inode.
///
/// `null` is a descriptor (read-write) of the container's `/dev/null`, checked here to be
/// character device 1:3 (CVE-2025-31133).
pub fn reopen_null(null: BorrowedFd<'_>) -> Result<()> {
    let stat = fstat(null).context("fstat /dev/null")?;
    if !is_null(&stat) {
        let (major, minor) = (major(stat.st_rdev), minor(stat.st_rdev));
        let why = format!("/dev/null: not character device 1:3 but {major}:{minor}");
        return Err(Error::new(Kind::Invalid, why));
    }
    for (number, (fd, copy)) in sys::term::stdio().into_iter().zip(COPY_TO).enumerate() {
        if is_null(&fstat(fd).with_context(|| format!("fstat descriptor {number}"))?) {
            copy(null).with_context(|| format!("dup2 /dev/null to {number}"))?;
        }
    }
    Ok(())
}

/// Gives 0, 1 and 2 to the container's user, who otherwise could not open `/dev/stdout` or
/// `/dev/tty` again. The group stays: devpts' `gid` option has set it.
///
/// Left alone: `/dev/null`, and a terminal that is not the container's own (`own_terminal` tells
/// whether it has one), because taking the caller's terminal away from the caller is no way to
/// run a container. EPERM and EINVAL mean that the owner or the user is not mapped in this user
/// namespace, EROFS that `/dev` is read-only: the process may still use what is open.
pub fn give_to(uid: Uid, own_terminal: bool) -> Result<()> {
    for (number, fd) in sys::term::stdio().into_iter().enumerate() {
        let stat = fstat(fd).with_context(|| format!("fstat descriptor {number}"))?;
        if stat.st_uid == uid.as_raw() || is_null(&stat) {
            continue;
        }
        if !own_terminal && isatty(fd).unwrap_or(false) {
            continue;
        }
        match fchown(fd.as_fd(), Some(uid), None) {
            Ok(()) | Err(Errno::EPERM | Errno::EINVAL | Errno::EROFS) => {}
            Err(errno) => {
                return Err(
                    Error::sys(errno).context(format!("chown descriptor {number} to {uid}"))
                );
            }
        }
    }
    Ok(())
}
