//! Descriptors by number.

use std::os::fd::{FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;

use super::integers::{Call, call};

/// Closes the descriptors from `first` to `last`, close_range(2). The caller must not use a
/// descriptor in that range afterwards, nor return to code that closes one again.
pub fn close_range(first: u32, last: u32) -> nix::Result<()> {
    range(first, last, 0)
}

/// Marks the descriptors from `first` to `last` close-on-exec, close_range(2).
pub fn close_on_exec_range(first: u32, last: u32) -> nix::Result<()> {
    range(first, last, libc::CLOSE_RANGE_CLOEXEC)
}

fn range(first: u32, last: u32, flags: libc::c_uint) -> nix::Result<()> {
    call(Call::CloseRange, first.cast_signed(), last, flags).map(drop)
}

fn fcntl(number: RawFd, command: libc::c_int, argument: libc::c_int) -> nix::Result<RawFd> {
    call(Call::Fcntl, number, command.cast_unsigned(), argument.cast_unsigned())
}

/// Marks the descriptor `number` close-on-exec, if it is open.
pub fn close_on_exec(number: u32) {
    // A number that is not open needs no flag.
    let _ = fcntl(number.cast_signed(), libc::F_SETFD, libc::FD_CLOEXEC);
}

/// Returns whether the descriptor `number` is open in this process. Not by poll(2), which takes a
/// descriptor of O_PATH for closed.
pub fn is_open(number: RawFd) -> bool {
    fcntl(number, libc::F_GETFD, 0).is_ok()
}

/// Takes over the descriptor `number`, which the caller of the program has passed: returns a copy, and
/// closes the number.
pub fn take(number: RawFd) -> nix::Result<OwnedFd> {
    let copy = fcntl(number, libc::F_DUPFD_CLOEXEC, 3)?;
    // SAFETY: the number is new, so nothing else owns it.
    let copy = unsafe { OwnedFd::from_raw_fd(copy) };
    if let Ok(number) = u32::try_from(number) {
        close_range(number, number)?;
    }
    Ok(copy)
}

/// Returns which of the descriptors 0, 1 and 2 are closed. Calls poll(2) once and changes nothing.
pub fn closed_stdio() -> nix::Result<[bool; 3]> {
    let mut fds = [0, 1, 2].map(|fd| libc::pollfd { fd, events: 0, revents: 0 });
    loop {
        // SAFETY: the pointer and the count describe one array, which outlives the call.
        match Errno::result(unsafe { libc::poll(fds.as_mut_ptr(), 3, 0) }) {
            Ok(_) => return Ok(fds.map(|fd| fd.revents & libc::POLLNVAL != 0)),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::OpenOptionsExt;

    use super::*;

    #[test]
    fn a_descriptor_of_a_path_is_open() {
        let mut options = std::fs::OpenOptions::new();
        let path = options.read(true).custom_flags(libc::O_PATH).open("/").unwrap();
        assert!(is_open(path.as_raw_fd()) && !is_open(-1) && !is_open(1 << 20));
    }
}
