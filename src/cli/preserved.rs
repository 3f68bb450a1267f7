//! The descriptors that `create`, `run` and `exec` pass on: first those of socket activation, then
//! those of `--preserve-fds`.

use std::os::fd::{AsRawFd, IntoRawFd, RawFd};

use nix::fcntl::{FcntlArg, OFlag, fcntl};

use crate::config::Listen;
use crate::sys::fds::is_open;
use crate::{Context, Error, Kind, Result};

/// The kernel's limit on the descriptors of a process.
const MOST: u32 = 1 << 20;

/// Checks that the descriptors to pass on are open, and occupies the free numbers between them.
/// Otherwise a file that the runtime opens, for example a directory of the host, could get such a
/// number and be passed on. The end of a pipe occupies a number until execve(2) closes it.
///
/// Must run before this process opens a file. Does nothing without descriptors to pass on.
///
/// # Errors
/// If `$LISTEN_FDS` includes a descriptor that is not open, or the last descriptor of
/// `--preserve-fds` is not open. Free numbers below it are no error, because podman converts a list
/// of descriptors into the number of the last descriptor.
pub fn reserve(preserve: u32) -> Result<()> {
    if preserve >= MOST {
        let why = format!("more than {}", MOST - 1);
        return Err(Error::invalid("--preserve-fds", preserve, why));
    }
    let listen = match std::env::var_os("LISTEN_FDS") {
        Some(_) => Listen::from_environment()?.count(),
        None => 0,
    };
    let first = 3_u32.saturating_add(listen);
    let end = first.saturating_add(preserve);
    let mut free = Vec::new();
    for number in (3..end).filter_map(|number| RawFd::try_from(number).ok()) {
        if is_open(number) {
            continue;
        }
        let not_open = |field: &str, count: u32| {
            Err(Error::invalid(field, count, format!("descriptor {number} is not open")))
        };
        if number.unsigned_abs() < first {
            return not_open("LISTEN_FDS", listen);
        } else if number.unsigned_abs() == end - 1 {
            return not_open("--preserve-fds", preserve);
        }
        free.push(number);
    }
    if free.is_empty() { Ok(()) } else { occupy(&free).context("--preserve-fds") }
}

fn occupy(numbers: &[RawFd]) -> Result<()> {
    let ends: [_; 2] = nix::unistd::pipe2(OFlag::O_CLOEXEC).context("pipe")?.into();
    for number in numbers {
        if ends.iter().any(|end| end.as_raw_fd() == *number) {
            continue;
        }
        let [end, _] = &ends;
        let got = fcntl(end, FcntlArg::F_DUPFD_CLOEXEC(*number))
            .with_context(|| format!("occupy descriptor {number}"))?;
        if got != *number {
            return Err(Error::new(Kind::System, format!("descriptor {number} is in use")));
        }
    }
    for end in ends.into_iter().filter(|end| numbers.contains(&end.as_raw_fd())) {
        // Stays open until execve(2), like the copies.
        let _ = end.into_raw_fd();
    }
    Ok(())
}
