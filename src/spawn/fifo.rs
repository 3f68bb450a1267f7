//! The `start` side of the FIFOs between a created container's init and `start`
//! ([`crate::init::start`]).

use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::fs::{FileType, OFlags};

use crate::init::start::open;
use crate::protocol::{decode_error, read};
use crate::state::{RESULT_FIFO, START_FIFO};
use crate::{Context, Error, Kind, Result};

/// Lets the init of the container with state directory `dir` go on, and waits until it has executed
/// the container's program or has failed.
///
/// # Errors
/// The error of init; [`Kind::State`] if no init waits.
pub(crate) fn start(dir: BorrowedFd<'_>) -> Result<()> {
    let open = |name: &str, flags: OFlags| {
        open(dir, name, flags | OFlags::NONBLOCK).map_err(|errno| match errno {
            rustix::io::Errno::NXIO | rustix::io::Errno::NOENT => {
                Error::new(Kind::State, "the container's init is not waiting for a start")
            }
            errno => Error::from(errno).context("open the FIFO to init"),
        })
    };
    let (result, start) = (open(RESULT_FIFO, OFlags::RDONLY)?, open(START_FIFO, OFlags::WRONLY)?);
    // A regular file would take the byte, and no process would ever answer.
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
                return Err(decode_error(bytes)
                    .unwrap_or_else(|| Error::new(Kind::System, "unexpected message from init")));
            }
            Err(rustix::io::Errno::AGAIN) => {}
            Err(errno) => return Err(Error::from(errno).context("read the answer of init")),
        }
    }
}
