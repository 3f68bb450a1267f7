//! Descriptors by number.

use std::os::fd::RawFd;

use nix::errno::Errno;

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
    // SAFETY: integers only. That no closed descriptor is used again is the callers' contract.
    Errno::result(unsafe { libc::syscall(libc::SYS_close_range, first, last, flags) }).map(drop)
}

/// Marks the descriptor `number` close-on-exec, if it is open.
pub fn close_on_exec(number: u32) {
    // SAFETY: F_SETFD changes a flag of a number, open or not, and touches no memory.
    unsafe { libc::fcntl(number.cast_signed(), libc::F_SETFD, libc::FD_CLOEXEC) };
}

/// Returns whether the descriptor `number` is open in this process.
pub fn is_open(number: RawFd) -> bool {
    closed([number]).is_ok_and(|[closed]| !closed)
}

/// Returns which of the descriptors 0, 1 and 2 are closed. Calls poll(2) once and changes nothing.
pub fn closed_stdio() -> nix::Result<[bool; 3]> {
    closed([0, 1, 2])
}

fn closed<const N: usize>(numbers: [RawFd; N]) -> nix::Result<[bool; N]> {
    let mut fds = numbers.map(|fd| libc::pollfd { fd, events: 0, revents: 0 });
    loop {
        // SAFETY: the pointer and the count describe one array, which outlives the call.
        match Errno::result(unsafe { libc::poll(fds.as_mut_ptr(), N as libc::nfds_t, 0) }) {
            Ok(_) => return Ok(fds.map(|fd| fd.revents & libc::POLLNVAL != 0)),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}
