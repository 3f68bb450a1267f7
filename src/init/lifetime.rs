//! The life of a process that the runtime has cloned, until it executes its program.
//!
//! libc's cached thread id is stale after a raw clone3(2), and there is no other thread: the
//! process must leave by execve(2) or by its exit status, and starts no thread of its own.

use std::os::fd::{AsRawFd, RawFd};

use nix::errno::Errno;

use super::start::Fifos;
use crate::error::retry_once;
use crate::mount::closing;
use crate::protocol::{Socket, ToParent};
use crate::sys::fds::close_range;
use crate::{Context, Result, sys};

/// The name in ps(1) of init and of a process of an exec until they execute their program.
const TITLE: &[u8] = b"bulkhead init";

/// Prepares a new process: it ends with the runtime, and hides the command line and environment of
/// the runtime.
pub(super) fn begin() -> Result<()> {
    closing::allow();
    die_with_runtime()?;
    sys::title::hide(TITLE);
    Ok(())
}

/// Has the kernel kill the process when its parent ends: a killed runtime must leave nothing
/// behind. The end of file on the socket has the same effect, but only where the process waits for
/// it.
pub(super) fn die_with_runtime() -> Result<()> {
    prctl::set_death_signal(libc::SIGKILL as isize)
        .map_err(Errno::from_raw)
        .context("set the death signal")
}

/// Clears the death signal: from here on the process learns of the end of the runtime by the end of
/// file on its socket. A change of ids clears the signal anyway, and a filter may soon refuse to
/// change it.
pub(super) fn outlive_runtime() -> Result<()> {
    prctl::set_death_signal(0).map_err(Errno::from_raw).context("clear the death signal")
}

/// Closes every descriptor but the standard ones, the `preserve` that follow, the socket to the
/// runtime and the FIFOs of `start`.
pub(super) fn close_others(preserve: u32, parent: &Socket, fifos: Option<&Fifos>) -> Result<()> {
    let mut kept = vec![parent.as_raw_fd()];
    if let Some(fifos) = fifos {
        kept.extend([fifos.start.as_raw_fd(), fifos.result.as_raw_fd()]);
    }
    kept.sort_unstable();
    close_but(preserve.saturating_add(3), &kept)
}

/// Closes every descriptor from `first` on except `kept`, which is sorted.
pub(crate) fn close_but(mut first: u32, kept: &[RawFd]) -> Result<()> {
    for kept in kept.iter().filter_map(|fd| u32::try_from(*fd).ok()) {
        if kept >= first {
            if kept > first {
                close_range(first, kept - 1).context("close descriptors")?;
            }
            first = kept + 1;
        }
    }
    // The kept descriptors are close-on-exec, like every descriptor of this program. None of them
    // can be among the preserved: those numbers were in use before the first was opened.
    close_range(first, u32::MAX).context("close descriptors")
}

/// Returns the exit status of a process that has not executed its program; reports its error.
pub(super) fn exit_status(parent: &Socket, result: Result<i32>) -> i32 {
    match result {
        Ok(status) => status,
        Err(error) => {
            // If the runtime has ended, no process is left to report to.
            let failed = ToParent::Failed(error);
            let _ = retry_once(|| parent.tell_parent(&failed));
            1
        }
    }
}
