//! Processes by descriptor (pidfd_open(2)): a signal that cannot reach a stranger after the number
//! of a dead process was given out again, and a wait that does not poll.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::{Context, Result};

/// A descriptor of process `pid`, or `None` if there is no such process. Numbers below 1 name no
/// single process and give `None`.
pub fn open(pid: i32) -> Result<Option<OwnedFd>> {
    let Some(pid) = rustix::process::Pid::from_raw(pid).filter(|_| pid > 0) else {
        return Ok(None);
    };
    match rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()) {
        Ok(fd) => Ok(Some(fd)),
        Err(rustix::io::Errno::SRCH) => Ok(None),
        Err(e) => Err(e).with_context(|| format!("pidfd_open {pid}")),
    }
}

/// Sends `signal` (0 only checks) to the process of `pidfd`. ESRCH once it has been waited for.
/// By number, because rustix's `Signal` has no real-time signals.
pub fn send_signal(pidfd: BorrowedFd<'_>, signal: i32) -> nix::Result<()> {
    // SAFETY: pidfd_send_signal(2) with a null siginfo reads no memory of ours; the descriptor is
    // borrowed, so it is open for the whole call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            signal,
            std::ptr::null::<libc::siginfo_t>(),
            0,
        )
    };
    Errno::result(result).map(drop)
}

/// Waits until the process of `pidfd` has exited (a zombie has), at most `limit`; false when the
/// time ran out first.
pub fn wait_exit(pidfd: BorrowedFd<'_>, limit: Duration) -> Result<bool> {
    let deadline = Instant::now().checked_add(limit);
    loop {
        let mut fds = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, poll_timeout(deadline)) {
            Ok(0) if deadline.is_some_and(|at| Instant::now() >= at) => return Ok(false),
            Ok(0) | Err(Errno::EINTR) => {}
            Ok(_) => return Ok(true),
            Err(e) => return Err(e).context("poll a pidfd"),
        }
    }
}

/// The time left until `deadline` for poll(2), rounded up to milliseconds; no deadline, no limit.
pub fn poll_timeout(deadline: Option<Instant>) -> PollTimeout {
    let Some(at) = deadline else { return PollTimeout::NONE };
    let left = at.saturating_duration_since(Instant::now()).as_micros().div_ceil(1000);
    // More than poll can count (24 days): the callers look at the clock again and come back.
    PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
}
