//! The life of a process that the runtime has cloned, until it executes its program.
//!
//! libc's cached thread id is stale after a raw clone3(2), and there is no other thread: the
//! process must leave by execve(2) or by its exit status, and starts no thread of its own.

use nix::errno::Errno;

use crate::error::retry_once;
use crate::mount::closing;
use crate::protocol::{Socket, ToParent};
use crate::{Error, Result, sys};

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
        .map_err(|e| Error::from(Errno::from_raw(e)).context("set the death signal"))
}

/// Clears the death signal: from here on the process learns of the end of the runtime by the end of
/// file on its socket. A change of ids clears the signal anyway, and a filter may soon refuse to
/// change it.
pub(super) fn outlive_runtime() -> Result<()> {
    prctl::set_death_signal(0)
        .map_err(|e| Error::from(Errno::from_raw(e)).context("clear the death signal"))
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
