//! Descriptors that a process closes before it opens any file of the image.

use std::os::fd::{AsRawFd, RawFd};

use super::start::Fifos;
use crate::protocol::Socket;
use crate::sys::fds::close_range;
use crate::{Context, Result};

/// Closes every descriptor but the standard ones, the `preserve` that follow, the socket to the
/// runtime and the FIFOs of `start`.
pub(crate) fn close_others(preserve: u32, parent: &Socket, fifos: Option<&Fifos>) -> Result<()> {
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
