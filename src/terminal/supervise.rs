//! `run` and `exec` in the foreground: waits for the container's process, forwards signals to it,
//! reaps orphans, and relays its terminal.
//!
//! ```text
//!              signalfd          pidfd
//!                  \              /
//! stdin  -------->  poll(2), once  <-------> master ~~~ the container's terminal
//! stdout <--------  a turn
//! ```

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use nix::errno::Errno;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signalfd::SignalFd;
use nix::unistd::getpid;
use rustix::process::{Pid, WaitOptions, wait, waitpid};
use rustix::termios::Winsize;

use super::caller::CallerTerminal;
use super::relay::{Gone, Relay, Rest};
use super::signals::SignalGuard;
use crate::sd_notify::Proxy;
use crate::sys::clone::Child;
use crate::sys::pidfd;
use crate::{Context, Error, Kind, Result};

/// The tasks besides waiting for the process.
#[derive(Debug)]
pub struct Options {
    /// The master of the container's terminal, to be relayed to standard input and output. Init has
    /// created it with [`super::pty::open`] and [`super::pty::clear_onlcr`], and has closed its
    /// copy.
    pub master: Option<OwnedFd>,
    /// Whether to reap every child, for a caller that is a child subreaper. Otherwise only the
    /// container's process is reaped.
    pub subreaper: bool,
    /// Receives the readiness messages of the container.
    pub notify: Option<Proxy>,
}

/// Returns an exit status as shells report it: that of the process, or 128 plus the number of the
/// signal that killed it.
pub fn shell_status(ended: ExitStatus) -> i32 {
    ended.code().or(ended.signal().map(|signal| 128 + signal)).unwrap_or(1)
}

/// Returns the size of the caller's terminal, if standard input, output or error is a terminal.
///
/// For [`super::pty::open`] if the configuration gives no size: the container's program finds the
/// size when it starts. To be called after [`SignalGuard::block`], so that a later change arrives
/// as a SIGWINCH.
pub fn caller_size() -> Option<Winsize> {
    CallerTerminal::find()?.size().ok()
}

/// Waits until the container's process has ended, and its output to the terminal is written. The
/// process is a child of the calling process, and nothing else waits for it.
///
/// On return the caller's terminal has its old settings, whatever the result. Signals stay blocked:
/// see [`SignalGuard`].
pub fn supervise(child: &Child, options: Options, signals: SignalGuard) -> Result<ExitStatus> {
    let mut front = Front {
        signals: signals.watch()?,
        child,
        relay: options.master.map(Relay::open).transpose()?,
        terminal: None,
        notify: options.notify,
        failure: None,
    };
    front.set_up_terminal()?;
    let exit = loop {
        if let Some(exit) = reap(child.pid, options.subreaper)? {
            break exit;
        }
        front.turn()?;
    };
    if let Some(notify) = front.notify.take() {
        notify.finish();
    }
    front.finish()?;
    // Last, so that the exit status is lost only if output is lost too.
    front.failure.map_or(Ok(exit), Err)
}

/// The state of a supervision.
struct Front<'a> {
    signals: SignalFd,
    child: &'a Child,
    relay: Option<Relay>,
    terminal: Option<CallerTerminal>,
    notify: Option<Proxy>,
    failure: Option<Error>,
}

impl Front<'_> {
    fn set_up_terminal(&mut self) -> Result<()> {
        let Some(relay) = &self.relay else { return Ok(()) };
        let Some(mut terminal) = CallerTerminal::find() else { return Ok(()) };
        // Later than by `caller_size`, but better than no size.
        if !relay.has_size() {
            relay.resize(&terminal);
        }
        let raw = terminal.enter_raw();
        self.terminal = Some(terminal);
        raw
    }

    /// Waits for an event and handles it. The caller reaps children after every turn.
    fn turn(&mut self) -> Result<()> {
        let relayed = self.relay.as_ref().map_or([None; 3], Relay::interests);
        let pidfd = (self.child.pidfd.as_fd(), PollFlags::POLLIN);
        let [a, b, c] = relayed;
        let notify = self.notify.as_ref().map(Proxy::interest);
        let others = [Some(pidfd), notify, a, b, c];
        let [signals, _, notify, a, b, c] = wait_for(&self.signals, others)?;
        if !signals.is_empty() {
            self.take_signals()?;
        }
        if !notify.is_empty()
            && let Some(proxy) = &mut self.notify
        {
            proxy.step();
        }
        if let Some(relay) = &mut self.relay
            && let Err(gone) = relay.step([a, b, c], self.terminal.as_ref())
        {
            self.hang_up(gone);
        }
        Ok(())
    }

    fn take_signals(&mut self) -> Result<()> {
        while let Some(signal) = self.signals.read_signal().context("read signalfd")? {
            // A number from the kernel, 1 to 64.
            let number = signal.ssi_signo.cast_signed();
            match number {
                libc::SIGCHLD | libc::SIGURG => continue,
                // From the runtime's own write to a pipe without a reader, which fails with EPIPE
                // too.
                libc::SIGPIPE if signal.ssi_pid == getpid().as_raw().cast_unsigned() => continue,
                libc::SIGWINCH => {
                    if let Some(relay) = &self.relay {
                        if let Some(terminal) = &self.terminal {
                            relay.resize(terminal);
                        }
                        continue;
                    }
                }
                libc::SIGCONT => self.resume()?,
                _ => {}
            }
            // ESRCH: the process has just ended. EPERM: it has become another user, and the
            // runtime is not root; the kernel would have refused the sender too.
            match pidfd::send_signal(self.child.pidfd.as_fd(), number) {
                Ok(()) | Err(Errno::ESRCH | Errno::EPERM) => {}
                Err(errno) => {
                    let what = format!("forward signal {number} to process {}", self.child.pid);
                    return Err(Error::sys(errno).context(what));
                }
            }
        }
        Ok(())
    }

    fn resume(&mut self) -> Result<()> {
        if let Some(relay) = &mut self.relay {
            relay.resume_input();
        }
        match self.terminal.as_mut().map_or(Ok(()), CallerTerminal::enter_raw) {
            // Hung up: the kernel sends SIGCONT with SIGHUP. The container gets both, and may take
            // its time to end.
            Err(error) if error.errno() == Some(Errno::EIO) => Ok(()),
            result => result,
        }
    }

    /// Closes the container's terminal and restores the caller's, so that Ctrl-C works again if the
    /// container keeps running.
    fn hang_up(&mut self, Gone(failure): Gone) {
        self.relay = None;
        self.terminal = None;
        self.failure = failure;
    }

    /// Writes the last output. Waits for a slow reader, but not for a writer; a signal that would
    /// end the runtime ends the wait.
    fn finish(&mut self) -> Result<()> {
        let Some(relay) = self.relay.take() else { return Ok(()) };
        let mut rest = Rest::of(relay);
        let mut ready = false;
        loop {
            match rest.step(ready) {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(gone) => {
                    self.hang_up(gone);
                    return Ok(());
                }
            }
            let [signals, output, ..] =
                wait_for(&self.signals, [rest.interest(), None, None, None, None])?;
            ready = !output.is_empty();
            if !signals.is_empty() {
                use libc::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
                while let Some(signal) = self.signals.read_signal().context("read signalfd")? {
                    if let SIGHUP | SIGINT | SIGQUIT | SIGTERM = signal.ssi_signo.cast_signed() {
                        return Ok(());
                    }
                }
            }
        }
    }
}

/// Calls poll(2), without a time limit, on the signals and up to five other descriptors.
fn wait_for(
    signals: &SignalFd,
    others: [Option<(BorrowedFd<'_>, PollFlags)>; 5],
) -> Result<[PollFlags; 6]> {
    // An unused entry is the signalfd without an event, which never hangs up.
    let unused = || PollFd::new(signals.as_fd(), PollFlags::empty());
    let [a, b, c, d, e] =
        others.map(|other| other.map_or_else(unused, |(fd, events)| PollFd::new(fd, events)));
    let mut fds = [PollFd::new(signals.as_fd(), PollFlags::POLLIN), a, b, c, d, e];
    loop {
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) => return Ok(fds.map(|fd| fd.revents().unwrap_or(PollFlags::all()))),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(Error::sys(errno).context("poll")),
        }
    }
}

/// Reaps children that have ended. Returns how the container's process ended, if it has.
fn reap(pid: i32, all: bool) -> Result<Option<ExitStatus>> {
    let child = Pid::from_raw(pid)
        .ok_or_else(|| Error::new(Kind::System, format!("process {pid}: no such process")))?;
    loop {
        let ended =
            if all { wait(WaitOptions::NOHANG) } else { waitpid(Some(child), WaitOptions::NOHANG) };
        match ended {
            // Do not continue: from here on the number may belong to another process.
            Ok(Some((ended, status))) if ended == child => {
                return Ok(Some(ExitStatus::from_raw(status.as_raw())));
            }
            Ok(Some(_)) => {}
            Ok(None) => return Ok(None),
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(Error::from(errno).context(format!("wait for {pid}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_counts_from_128() {
        for (raw, status) in [(7 << 8, 7), (libc::SIGKILL, 137), (64, 192)] {
            assert_eq!(shell_status(ExitStatus::from_raw(raw)), status);
        }
    }
}
