//! The caller's terminal: its size, and raw mode for as long as the container is in front of it.

use std::os::fd::BorrowedFd;

use nix::pty::Winsize;
use nix::sys::termios::{OutputFlags, SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};
use nix::unistd::{getpgrp, isatty, tcgetpgrp};

use crate::{Context, Result, sys};

/// The first of standard input, output and error that is a terminal.
pub(super) struct CallerTerminal {
    fd: BorrowedFd<'static>,
    is_input: bool,
    /// The settings to go back to, once raw mode was entered.
    original: Option<Termios>,
}

impl CallerTerminal {
    /// Looks for it. None is no error: output may go to files.
    pub(super) fn find() -> Option<CallerTerminal> {
        let (number, fd) = sys::term::stdio()
            .into_iter()
            .enumerate()
            .find(|(_, fd)| isatty(fd).unwrap_or(false))?;
        Some(CallerTerminal { fd, is_input: number == 0, original: None })
    }

    /// Its size.
    pub(super) fn size(&self) -> nix::Result<Winsize> {
        sys::term::window_size(self.fd)
    }

    /// Whether another process group is in front of the terminal, ours behind it: then neither
    /// its settings nor its input are ours to touch. A terminal that is not our session's
    /// (ENOTTY) knows no such order.
    pub(super) fn in_background(&self) -> bool {
        tcgetpgrp(self.fd).is_ok_and(|front| front != getpgrp())
    }

    /// Passes every key on to the container instead of acting on it. Done again when the runtime
    /// is continued after a stop, because the shell has used the terminal meanwhile.
    ///
    /// Only when the terminal is standard input: of a terminal that we do not read, the keys that
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
        // In the background a shell is at its prompt and has its own settings on.
        if let Some(original) = self.original.take().filter(|_| !self.in_background()) {
            // The one failure there is left is a terminal that is gone.
            let _ = tcsetattr(self.fd, SetArg::TCSANOW, &original);
        }
    }
}
