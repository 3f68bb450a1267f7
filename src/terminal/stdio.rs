//! Standard input, output and error: opens them, changes their owner, replaces the host's null.

use std::os::fd::{AsFd, BorrowedFd, IntoRawFd};
use std::sync::atomic::{AtomicBool, Ordering};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, makedev};
use nix::unistd::{Uid, dup2_stderr, dup2_stdin, dup2_stdout, fchown};

use crate::{Context, Error, Kind, Result, sys};

/// dup2(2) to descriptor 0, to 1 and to 2.
pub const COPY_TO: [fn(BorrowedFd<'_>) -> nix::Result<()>; 3] =
    [|fd| dup2_stdin(fd), |fd| dup2_stdout(fd), |fd| dup2_stderr(fd)];

/// Whether [`ensure_open`] had to open standard output.
static STDOUT_WAS_CLOSED: AtomicBool = AtomicBool::new(false);

/// Returns whether the caller has closed standard output, so that output to it is lost.
pub fn stdout_was_closed() -> bool {
    STDOUT_WAS_CLOSED.load(Ordering::Relaxed)
}

/// Opens `/dev/null` on each of 0, 1 and 2 that the caller left closed. Otherwise a descriptor that
/// is opened later would get that number and be taken for the container's output. Makes one system
/// call if all three are open. The Rust runtime does the same before `main`, which this program
/// does not have.
pub fn ensure_open() -> Result<()> {
    let closed = sys::fds::closed_stdio().context("poll standard descriptors")?;
    for (number, closed) in (0..).zip(closed) {
        if !closed {
            continue;
        }
        if number == 1 {
            STDOUT_WAS_CLOSED.store(true, Ordering::Relaxed);
        }
        // The lowest free number is the missing descriptor, because those below are open.
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

fn is_pipe_or_file(stat: &FileStat) -> bool {
    let kind = stat.st_mode & SFlag::S_IFMT.bits();
    kind == SFlag::S_IFIFO.bits() || kind == SFlag::S_IFREG.bits()
}

/// Gives 0, 1 and 2 to the container.
///
/// A descriptor of the host's `/dev/null` is replaced by `null`, the container's (which the caller
/// has checked to be character device 1:3: CVE-2025-31133), so that the host's inode does not
/// decide whether `/dev/stdout` can be reopened. Without `null` it stays.
///
/// The container's user becomes the owner of pipes and files, and of a terminal if the container
/// has its own (`own_terminal`): otherwise the user could not reopen `/dev/stdout` or `/dev/tty`.
/// Devices and directories of the host keep their owner: the owner of a node like `/dev/zero` could
/// grant all users any access. The group is kept: the `gid` option of devpts has set it. EPERM and
/// EINVAL mean that the owner or the user is not mapped in this user namespace, EROFS that `/dev`
/// is read-only: the process may still use the open descriptors.
pub fn adopt(null: Option<BorrowedFd<'_>>, uid: Uid, own_terminal: bool) -> Result<()> {
    for (number, (fd, copy)) in sys::term::stdio().into_iter().zip(COPY_TO).enumerate() {
        let stat = fstat(fd).with_context(|| format!("fstat descriptor {number}"))?;
        if is_null(&stat) {
            if let Some(null) = null {
                copy(null).with_context(|| format!("dup2 /dev/null to {number}"))?;
            }
            continue;
        }
        if stat.st_uid == uid.as_raw() || !own_terminal && !is_pipe_or_file(&stat) {
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
