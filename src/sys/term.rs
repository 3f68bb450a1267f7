//! Terminals, and what supervising a process needs next to them: a descriptor out of a message,
//! a signal by number. See ioctl_tty(2), cmsg(3), pidfd_send_signal(2), sigaction(2).

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::Result;
use nix::errno::Errno;
use nix::libc;
use nix::pty::Winsize;

/// Unlocks the slave of a pseudo terminal (`TIOCSPTLCK`), without which it cannot be opened.
pub fn unlock_peer(master: BorrowedFd<'_>) -> Result<()> {
    let locked: libc::c_int = 0;
    // SAFETY: TIOCSPTLCK reads one int through the pointer, which outlives the call.
    Errno::result(unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCSPTLCK, &raw const locked) })
        .map(drop)
}

/// Opens the slave that belongs to `master` (`TIOCGPTPEER`), read-write, close-on-exec and not as
/// a controlling terminal. No path is looked up, so nothing can be put in its place.
pub fn open_peer(master: BorrowedFd<'_>) -> Result<OwnedFd> {
    let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
    // SAFETY: TIOCGPTPEER takes its flags by value and touches no memory of ours.
    let fd = Errno::result(unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCGPTPEER, flags) })?;
    // SAFETY: the kernel has just made this descriptor for us; nobody else knows its number.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// The size of a terminal, in characters (`TIOCGWINSZ`).
pub fn window_size(terminal: BorrowedFd<'_>) -> Result<Winsize> {
    let mut size = Winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: TIOCGWINSZ writes one winsize through the pointer, which outlives the call.
    Errno::result(unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCGWINSZ, &raw mut size) })?;
    Ok(size)
}

/// Sets the size of a terminal (`TIOCSWINSZ`); its foreground processes get SIGWINCH if it changed.
pub fn set_window_size(terminal: BorrowedFd<'_>, size: &Winsize) -> Result<()> {
    // SAFETY: TIOCSWINSZ reads one winsize through the pointer, which outlives the call.
    Errno::result(unsafe {
        libc::ioctl(terminal.as_raw_fd(), libc::TIOCSWINSZ, std::ptr::from_ref(size))
    })
    .map(drop)
}

/// Receives one message, the flags the kernel gave for it, and every descriptor that came with it.
///
/// The descriptors are close-on-exec. There is room for as many as the kernel lets anyone send in
/// a message (253, `SCM_MAX_FD`), so that none is installed without our knowing its number.
pub fn receive(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
) -> Result<(usize, nix::sys::socket::MsgFlags, Vec<OwnedFd>)> {
    use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};

    let mut control = nix::cmsg_space!([RawFd; 253]);
    let mut parts = [std::io::IoSliceMut::new(buffer)];
    let message = recvmsg::<()>(
        socket.as_raw_fd(),
        &mut parts,
        Some(&mut control),
        MsgFlags::MSG_CMSG_CLOEXEC,
    )?;
    let mut fds = Vec::new();
    // Only a truncated control message is refused here; the flags tell the caller.
    if let Ok(controls) = message.cmsgs() {
        for control in controls {
            if let ControlMessageOwned::ScmRights(raw) = control {
                for fd in raw {
                    // SAFETY: the kernel has just installed this descriptor for us; nobody else
                    // knows its number.
                    fds.push(unsafe { OwnedFd::from_raw_fd(fd) });
                }
            }
        }
    }
    Ok((message.bytes, message.flags, fds))
}

/// Sends signal number `signal` (real-time signals too, which the enums of nix and rustix leave
/// out) to the process behind `pidfd`.
pub fn send_signal(pidfd: BorrowedFd<'_>, signal: i32) -> Result<()> {
    // SAFETY: the information pointer may be null and the flags zero; no memory is touched.
    Errno::result(unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            signal,
            std::ptr::null::<libc::siginfo_t>(),
            0,
        )
    })
    .map(drop)
}

/// Has signal number `signal` ignored.
pub fn ignore(signal: i32) -> Result<()> {
    // SAFETY: SIG_IGN installs no code of ours, so no handler's safety is at stake.
    let previous = unsafe { libc::signal(signal, libc::SIG_IGN) };
    if previous == libc::SIG_ERR { Err(Errno::last()) } else { Ok(()) }
}

/// Which of the descriptors 0, 1 and 2 are closed: one poll(2), no change.
pub fn closed_stdio() -> Result<[bool; 3]> {
    let mut fds = [0, 1, 2].map(|fd| libc::pollfd { fd, events: 0, revents: 0 });
    loop {
        // SAFETY: the pointer and the count describe one array, which outlives the call.
        match Errno::result(unsafe { libc::poll(fds.as_mut_ptr(), fds.len() as libc::nfds_t, 0) }) {
            Ok(_) => return Ok(fds.map(|fd| fd.revents & libc::POLLNVAL != 0)),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// Standard input, output and error.
///
/// They are open in every process of ours: `tty::stdio::ensure_open` opens what the caller had
/// closed, and nothing here closes them.
pub fn stdio() -> [BorrowedFd<'static>; 3] {
    // SAFETY: see above; the standard library lends out the same three on the same grounds.
    unsafe { [BorrowedFd::borrow_raw(0), BorrowedFd::borrow_raw(1), BorrowedFd::borrow_raw(2)] }
}
