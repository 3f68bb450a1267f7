//! Which signals reach whom while a container is created and supervised.
//!
//! All of them are blocked before init is cloned, so that one sent in the first moments waits
//! instead of killing the runtime half-way; [`super::supervise`] then reads them from a
//! signalfd(2). Init puts everything back just before execve(2).

use nix::libc;
use nix::sys::signal::{SigSet, SigmaskHow, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use crate::{Context, Result, sys};

/// Proof that every signal is blocked, and the mask from before.
///
/// Dropping it changes nothing, on purpose: a second Ctrl-C must not kill the runtime while it
/// deletes the container whose end the first one brought. [`SignalGuard::restore`] undoes it.
///
/// Children inherit the mask, those of [`std::process::Command`] too; a hook, for example, must
/// have it set back by whoever starts it.
#[derive(Debug)]
pub struct SignalGuard {
    saved: SigSet,
}

impl SignalGuard {
    /// Blocks every signal in this (the only) thread. The caller has given SIGCHLD its default
    /// action, or the kernel would throw our children's exit statuses away.
    pub fn block() -> Result<SignalGuard> {
        let saved = swap_mask(&SigSet::all()).context("block signals")?;
        Ok(SignalGuard { saved })
    }

    /// The mask that was set before, for [`reset_signals_for_exec`].
    pub fn saved_mask(&self) -> &SigSet {
        &self.saved
    }

    /// Sets the mask from before again. Signals that have come since then arrive now.
    pub fn restore(self) -> Result<()> {
        swap_mask(&self.saved).map(drop).context("restore the signal mask")
    }

    /// A descriptor, never blocking, that yields the blocked signals.
    pub(super) fn watch(&self) -> Result<SignalFd> {
        SignalFd::with_flags(&SigSet::all(), SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
            .context("signalfd")
    }
}

/// Sets this thread's signal mask and returns the one from before. Not by pthread_sigmask(3), whose
/// error number nix takes for success: a program must not start with all signals blocked.
pub fn swap_mask(mask: &SigSet) -> nix::Result<SigSet> {
    let mut before = SigSet::empty();
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(mask), Some(&mut before))?;
    Ok(before)
}

/// This thread's signal mask.
pub fn current_mask() -> nix::Result<SigSet> {
    let mut mask = SigSet::empty();
    sigprocmask(SigmaskHow::SIG_SETMASK, None, Some(&mut mask))?;
    Ok(mask)
}

/// What callers are known to hand down ignored: this program itself (SIGPIPE), nohup(1) (SIGHUP),
/// shells in the background (SIGINT, SIGQUIT), job control, Python (SIGPIPE, SIGXFSZ), service
/// managers (SIGTERM).
const HANDED_DOWN: [i32; 9] = [
    libc::SIGHUP,
    libc::SIGINT,
    libc::SIGQUIT,
    libc::SIGPIPE,
    libc::SIGTERM,
    libc::SIGTSTP,
    libc::SIGTTIN,
    libc::SIGTTOU,
    libc::SIGXFSZ,
];

/// Gives signals that the caller may have had ignored their default action, then sets `mask`:
/// what a program may expect at its start. For init, as late as possible, and for other children
/// that execve(2) while signals are blocked. execve resets handlers by itself, but not these.
pub fn reset_signals_for_exec(mask: &SigSet) -> Result<()> {
    for signal in HANDED_DOWN {
        sys::term::default_action(signal).context("reset signals")?;
    }
    swap_mask(mask).map(drop).context("restore the signal mask")
}
