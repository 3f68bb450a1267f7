//! The caller's terminal: its size, and raw mode for as long as the container is in front of it.

use std::os::fd::BorrowedFd;

use nix::pty::Winsize;
use nix::sys::termios::{OutputFlags, SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};
use nix::unistd::{getpgrp, isatty, tcgetpgrp};

use crate::{Context, Result, sys};

/// The caller's terminal: the first of standard input, output and error that is one.
pub(super) struct CallerTerminal {
    fd: BorrowedFd<'static>,
    is_input: bool,
    /// The settings to restore, once raw mode was entered.
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

    /// Returns whether another process group is in the foreground of the terminal: then the runtime
    /// may touch neither its settings nor its input. A terminal of another session (ENOTTY) has no
    /// such order.
    pub(super) fn in_background(&self) -> bool {
        tcgetpgrp(self.fd).is_ok_and(|front| front != getpgrp())
    }

    /// Sets the terminal to raw mode: every key is passed on to the container. Called again when the
    /// runtime is continued after a stop, because the shell has used the terminal meanwhile.
    ///
    /// Only when the terminal is standard input: of a terminal that is not read, the keys that
    /// send signals must go on to do so. Output processing stays on, as with runc: the
    /// container's terminal does not add carriage returns, this one does.
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
        // In the background a shell is at its prompt, with its own settings.
        if let Some(original) = self.original.take().filter(|_| !self.in_background()) {
            // The only failure left is a terminal that is gone.
            let _ = tcsetattr(self.fd, SetArg::TCSANOW, &original);
        }
    }
}
