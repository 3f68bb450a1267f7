//! The two FIFOs between a created container's init and the `start` that comes later.
//!
//! Init waits in a read of the first; what it has to say after that goes into the second, whose
//! end of file tells `start` that execve has succeeded. Both are opened by `create`, for reading
//! and writing, and inherited: nobody ever blocks in open(2), and whether init still waits can be
//! asked of the kernel: opening the first one for writing without a reader is ENXIO.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::fs::{FileType, Mode, OFlags};

use crate::protocol::{decode_error, read};
use crate::state::{RESULT_FIFO, START_FIFO};
use crate::{Context, Error, Kind, Result};

/// Init's side.
#[derive(Debug)]
pub(crate) struct Fifos {
    /// Init reads one byte from it.
    pub start: OwnedFd,
    /// Init writes an error into it, or closes it by execve.
    pub result: OwnedFd,
}

impl Fifos {
    /// Makes and opens both in the container's state directory.
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

fn open(dir: BorrowedFd<'_>, name: &str, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    rustix::fs::openat(dir, name, flags | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
}

/// Lets the init of the container in `dir` go on, and waits until it has executed the container's
/// program or has failed to.
///
/// # Errors
/// Init's own error; [`Kind::State`] if no init waits there.
pub(crate) fn start(dir: BorrowedFd<'_>) -> Result<()> {
    let result = open(dir, RESULT_FIFO, OFlags::RDONLY | OFlags::NONBLOCK);
    let start = open(dir, START_FIFO, OFlags::WRONLY | OFlags::NONBLOCK);
    let (result, start) = match (result, start) {
        (Ok(result), Ok(start)) => (result, start),
        (Err(errno), _) | (_, Err(errno)) => {
            let gone = matches!(errno, rustix::io::Errno::NXIO | rustix::io::Errno::NOENT);
            return Err(if gone {
                Error::new(Kind::State, "the container's init is not waiting for a start")
            } else {
                Error::from(errno).context("open the FIFO to init")
            });
        }
    };
    // A file would take the byte, and nobody would ever answer.
    let kind = FileType::from_raw_mode(rustix::fs::fstat(&start)?.st_mode);
    if kind != FileType::Fifo {
        return Err(Error::new(Kind::Invalid, format!("{START_FIFO:?} is not a FIFO")));
    }
    nix::unistd::write(&start, b"g").context("tell init to start")?;
    let mut answer = [0; 4096];
    loop {
        let mut wait = [PollFd::new(result.as_fd(), PollFlags::POLLIN)];
        match poll(&mut wait, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(Error::from(errno).context("wait for init")),
        }
        match read(&result, &mut answer) {
            Ok(0) => return Ok(()),
            Ok(length) => {
                let bytes = answer.get(..length).unwrap_or_default();
                return Err(decode_error(bytes).unwrap_or_else(|| {
                    Error::new(Kind::System, "init said something unexpected")
                }));
            }
            Err(Errno::EAGAIN) => {}
            Err(errno) => return Err(Error::from(errno).context("listen to init")),
        }
    }
}
