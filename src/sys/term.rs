//! Terminals (ioctl_tty(2)), and the standard descriptors.

use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, unlockpt};
use rustix::termios::{Winsize, tcgetwinsize, tcsetwinsize};

use super::failure::to_nix;

/// Unlocks the slave of a pseudo terminal (`TIOCSPTLCK`), which cannot be opened otherwise.
pub fn unlock_peer(master: BorrowedFd<'_>) -> nix::Result<()> {
    unlockpt(master).map_err(to_nix)
}

/// Opens the slave of `master` (`TIOCGPTPEER`): read-write, close-on-exec and not as a controlling
/// terminal. Uses no path, so the slave cannot be replaced by another file.
pub fn open_peer(master: BorrowedFd<'_>) -> nix::Result<OwnedFd> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    ioctl_tiocgptpeer(master, flags).map_err(to_nix)
}

/// Returns the size of a terminal, in characters (`TIOCGWINSZ`).
pub fn window_size(terminal: BorrowedFd<'_>) -> nix::Result<Winsize> {
    tcgetwinsize(terminal).map_err(to_nix)
}

/// Sets the size of a terminal (`TIOCSWINSZ`); its foreground processes get SIGWINCH if the size
/// changed.
pub fn set_window_size(terminal: BorrowedFd<'_>, size: &Winsize) -> nix::Result<()> {
    tcsetwinsize(terminal, *size).map_err(to_nix)
}

/// Returns standard input, output and error. They are open in every process of the runtime:
/// `terminal::stdio::ensure_open` opens those that the caller had closed, and nothing closes them.
pub fn stdio() -> [BorrowedFd<'static>; 3] {
    [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()]
}
