//! Processes by descriptor (pidfd_open(2)): a signal cannot reach another process that reuses the
//! id, and the end of a process can be waited for without polling.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::failure::{Failure, to_nix};

/// Opens a descriptor of the process `pid`; `None` if there is no such process, as for numbers below
/// 1, which do not denote a single process, and for the number of a thread.
pub fn open(pid: i32) -> nix::Result<Option<OwnedFd>> {
    let Some(pid) = Pid::from_raw(pid).filter(|_| pid > 0) else { return Ok(None) };
    match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(fd) => Ok(Some(fd)),
        // EINVAL, or ENOENT since Linux 6.15: a thread that is not the first of its process.
        Err(rustix::io::Errno::SRCH | rustix::io::Errno::INVAL | rustix::io::Errno::NOENT) => {
            Ok(None)
        }
        Err(errno) => Err(to_nix(errno)),
    }
}

/// Returns the inode number of `pidfd`, which no other process has until the host reboots. `None` on
/// kernels without the file system pidfs (before Linux 6.9), where all pidfds have one inode.
pub fn inode(pidfd: BorrowedFd<'_>) -> nix::Result<Option<u64>> {
    const PIDFS: libc::c_long = 0x5049_4446;
    let in_pidfs = rustix::fs::fstatfs(pidfd).map_err(to_nix)?.f_type == PIDFS;
    in_pidfs.then(|| rustix::fs::fstat(pidfd).map(|stat| stat.st_ino)).transpose().map_err(to_nix)
}

/// Sends signal number `signal` (0 only checks) to the process of `pidfd`. Takes a number, because
/// the enums of nix and rustix lack real-time signals.
///
/// # Errors
/// ESRCH once the process has been waited for.
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

/// Waits at most `limit` until the process of `pidfd` has exited (possibly a zombie). Returns false
/// if the time runs out first.
pub fn wait_exit(pidfd: BorrowedFd<'_>, limit: Duration) -> Result<bool, Failure> {
    let deadline = Instant::now().checked_add(limit);
    loop {
        let mut fds = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, poll_timeout(deadline)) {
            Ok(0) if deadline.is_some_and(|at| Instant::now() >= at) => return Ok(false),
            Ok(0) | Err(Errno::EINTR) => {}
            Ok(_) => return Ok(true),
            Err(errno) => return Err(Failure::of("poll a pidfd")(errno)),
        }
    }
}

/// Returns the time until `deadline` for poll(2), rounded up to milliseconds; no limit without a
/// deadline.
pub fn poll_timeout(deadline: Option<Instant>) -> PollTimeout {
    let Some(at) = deadline else { return PollTimeout::NONE };
    let left = at.saturating_duration_since(Instant::now()).as_micros().div_ceil(1000);
    // More than poll(2) can express (24 days): the callers check the clock again and repeat.
    PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_no_process() {
        let (sender, receiver) = std::sync::mpsc::channel();
        let (end, ended) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || {
            sender.send(nix::unistd::gettid().as_raw()).unwrap();
            let _ = ended.recv();
        });
        assert!(open(receiver.recv().unwrap()).unwrap().is_none());
        drop(end);
        thread.join().unwrap();
    }

    #[test]
    fn processes_differ_by_inode() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let ids = [child.id(), std::process::id(), child.id()];
        let inodes = ids.map(|id| {
            let pidfd = open(id.try_into().unwrap()).unwrap().unwrap();
            inode(pidfd.as_fd()).unwrap()
        });
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(inodes[0], inodes[2]);
        assert!(inodes[0].is_none() || inodes[0] != inodes[1], "{inodes:?}");
    }
}
