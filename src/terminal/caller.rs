//! The caller's terminal: its size, and raw mode while the container is in the foreground.

use std::os::fd::BorrowedFd;

use nix::sys::termios::{OutputFlags, SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};
use nix::unistd::{getpgrp, isatty, tcgetpgrp};
use rustix::termios::Winsize;

use crate::{Context, Result, sys};

/// The caller's terminal: the first terminal among standard input, output and error.
pub(super) struct CallerTerminal {
    fd: BorrowedFd<'static>,
    is_input: bool,
    /// The settings to restore, after raw mode was entered.
    original: Option<Termios>,
}

impl CallerTerminal {
    /// Finds the terminal. `None` is no error: output may go to files.
    pub(super) fn find() -> Option<CallerTerminal> {
        let (number, fd) = sys::term::stdio()
            .into_iter()
            .enumerate()
            .find(|(_, fd)| isatty(fd).unwrap_or(false))?;
        Some(CallerTerminal { fd, is_input: number == 0, original: None })
    }

    /// Returns the size of the terminal.
    pub(super) fn size(&self) -> nix::Result<Winsize> {
        sys::term::window_size(self.fd)
    }

    /// Whether another process group is in the foreground of the terminal: the runtime may then
    /// change neither its settings nor read its input. A terminal of another session (ENOTTY) has
    /// no foreground.
    pub(super) fn in_background(&self) -> bool {
        tcgetpgrp(self.fd).is_ok_and(|front| front != getpgrp())
    }

    /// Sets the terminal to raw mode, so that every key reaches the container. Called again when
    /// the runtime continues after a stop, because the shell has used the terminal meanwhile.
    ///
    /// Only if the terminal is standard input: on a terminal that is not read, the keys that send
    /// signals must keep working. Output processing stays on, as with runc: the container's
    /// terminal does not add carriage returns, so the caller's must.
    pub(super) fn enter_raw(&mut self) -> Result<()> {
        if !self.is_input || self.in_background() {
            return Ok(());
        }
        let current = tcgetattr(self.fd).context("read the terminal's settings")?;
        let mut raw = current.clone();
        cfmakeraw(&mut raw);
        raw.output_flags.insert(OutputFlags::OPOST);
        self.original.get_or_insert(current);
        tcsetattr(self.fd, SetArg::TCSANOW, &raw).context("set the terminal to raw mode")
    }
}

impl Drop for CallerTerminal {
    fn drop(&mut self) {
        // In the background, a shell has set the terminal for its prompt.
        if let Some(original) = self.original.take().filter(|_| !self.in_background()) {
            // This fails only if the terminal is gone.
            let _ = tcsetattr(self.fd, SetArg::TCSANOW, &original);
        }
    }
}
