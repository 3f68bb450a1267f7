//! The two FIFOs between the init of a created container and the `start` that comes later. `create`
//! opens both, for reading and writing, and init inherits them: no process ever blocks in open(2),
//! and to open the first FIFO for writing is ENXIO if init no longer waits.

use std::os::fd::{BorrowedFd, OwnedFd};

use nix::sys::signal::Signal;
use rustix::fs::{FileType, Mode, OFlags};

use crate::error::retry_once;
use crate::protocol::{encode_error, read};
use crate::state::{RESULT_FIFO, START_FIFO};
use crate::sys::signal;
use crate::{Context, Error, Result};

#[derive(Debug)]
pub(crate) struct Fifos {
    /// Init reads one byte from this FIFO.
    pub start: OwnedFd,
    /// Init writes an error into this FIFO, or closes it by execve(2).
    pub result: OwnedFd,
}

impl Fifos {
    pub fn make(dir: BorrowedFd<'_>) -> Result<Fifos> {
        let make = |name: &str| -> Result<OwnedFd> {
            let mode = Mode::RUSR | Mode::WUSR;
            rustix::fs::mknodat(dir, name, FileType::Fifo, mode, 0)
                .and_then(|()| open(dir, name, OFlags::RDWR))
                .with_context(|| format!("make the FIFO {name:?} in the state directory"))
        };
        Ok(Fifos { start: make(START_FIFO)?, result: make(RESULT_FIFO)? })
    }
}

pub(crate) fn open(dir: BorrowedFd<'_>, name: &str, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    rustix::fs::openat(dir, name, flags | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
}

/// Lets the signals that `kill` and a terminal send end the process. Until `start` there is no
/// program to handle them: `kill`, which sends SIGTERM by default, ends a created container as it
/// ends a process.
pub(super) fn end_by_signals() -> Result<()> {
    [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM]
        .into_iter()
        .try_for_each(signal::exit_on)
        .context("handle signals until start")
}

pub(super) fn wait(fifos: Option<&Fifos>) -> Result<()> {
    let Some(fifos) = fifos else { return Ok(()) };
    let mut byte = [0];
    read(&fifos.start, &mut byte).context("wait for start")?;
    Ok(())
}

/// Reports an error after Go: to the `start` that waits, since `create` has ended; else to the
/// caller.
pub(super) fn report(fifos: Option<&Fifos>, error: Error) -> Result<i32> {
    let Some(fifos) = fifos else { return Err(error) };
    let text = encode_error(&error);
    // Without a report, `start` would take the end of file that follows for success.
    retry_once(|| Ok(nix::unistd::write(&fifos.result, &text)?)).context("report to start")?;
    Ok(1)
}
