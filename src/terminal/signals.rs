//! Signals while a container is created and supervised.
//!
//! All signals are blocked before init is cloned, so that an early signal stays pending, and does
//! not kill the runtime half-way; [`super::supervise`] then reads the signals from a signalfd(2).
//! Init gives the program an empty mask and default actions just before execve(2).

use std::fs::File;
use std::io::Read;

use nix::sys::signal::SigSet;
use nix::sys::signalfd::{SfdFlags, SignalFd};

use crate::sys::signal::{all_signals, default_action, swap_mask};
use crate::{Context, Error, Kind, Result};

/// Proof that every signal is blocked; holds the previous mask.
///
/// Dropping it deliberately changes nothing: a second Ctrl-C must not kill the runtime while it
/// deletes the container that the first Ctrl-C has ended. [`SignalGuard::restore`] restores the
/// mask.
///
/// Children inherit the mask, including those of [`std::process::Command`], so code that starts a
/// hook, for example, must reset it.
#[derive(Debug)]
pub struct SignalGuard {
    saved: SigSet,
}

impl SignalGuard {
    /// Blocks every signal in the only thread. The caller has given SIGCHLD its default action;
    /// otherwise the kernel would discard the exit statuses of the children.
    pub fn block() -> Result<SignalGuard> {
        let saved = swap_mask(&all_signals()).context("block signals")?;
        Ok(SignalGuard { saved })
    }

    /// Restores the previous mask. Pending signals are delivered.
    pub fn restore(self) -> Result<()> {
        swap_mask(&self.saved).map(drop).context("restore the signal mask")
    }

    /// Returns a descriptor, non-blocking, to read the blocked signals from.
    pub(super) fn watch(&self) -> Result<SignalFd> {
        SignalFd::with_flags(&all_signals(), SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
            .context("signalfd")
    }
}

/// The signals that this process ignores: those that its caller ignored (execve(2) keeps them
/// ignored), and its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ignored(u64);

impl Ignored {
    /// Reads the set from `/proc/self/status`: three system calls, where rt_sigaction(2) for each
    /// signal takes 64.
    ///
    /// # Errors
    /// The file cannot be read, or has no field `SigIgn`.
    pub fn of_this_process() -> Result<Ignored> {
        let read = || -> Result<Ignored> {
            let mut text = Vec::with_capacity(4096);
            let mut file = File::open("/proc/self/status")?;
            let mut part = [0; 4096];
            loop {
                let length = file.read(&mut part)?;
                text.extend_from_slice(part.get(..length).unwrap_or_default());
                if let Some(set) = field(&text) {
                    return Ok(Ignored(set));
                }
                if length == 0 {
                    return Err(Error::new(Kind::System, "no field SigIgn"));
                }
            }
        };
        read().context("read the ignored signals from /proc/self/status")
    }

    fn signals(self) -> impl Iterator<Item = i32> {
        (1..=64).filter(move |signal| self.0 >> (signal - 1) & 1 == 1)
    }
}

/// Returns the value of a complete line `SigIgn:`. The list of groups before it can be longer than
/// one read.
fn field(status: &[u8]) -> Option<u64> {
    let mut lines = status.split_inclusive(|byte| *byte == b'\n');
    let value = lines.find_map(|line| line.strip_prefix(b"SigIgn:")?.strip_suffix(b"\n"))?;
    u64::from_str_radix(std::str::from_utf8(value).ok()?.trim(), 16).ok()
}

/// Sets every signal of `ignored` to its default action, then empties the signal mask: the state
/// that a program can rely on at its start, whatever the caller of the runtime blocks or ignores.
/// execve(2) resets handlers, but keeps ignored and blocked signals. Called by init as late
/// as possible, and by other children that execute a program while signals are blocked.
pub fn reset_signals_for_exec(ignored: &Ignored) -> Result<()> {
    for signal in ignored.signals() {
        default_action(signal)
            .with_context(|| format!("set signal {signal} to its default action"))?;
    }
    swap_mask(&SigSet::empty()).map(drop).context("empty the signal mask")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ignored_signals_are_read_from_a_complete_line() {
        let status =
            b"Name:\tx\nSigBlk:\tffffffffffffffff\nSigIgn:\t8000000000001001\nSigCgt:\t0\n";
        assert_eq!(field(status), Some(0x8000_0000_0000_1001));
        let signals: Vec<i32> = Ignored(0x8000_0000_0000_1001).signals().collect();
        assert_eq!(signals, [1, 13, 64]);
        for incomplete in [&b""[..], b"SigIgn:\t80000000", b"SigIgn:\n", b"SigIgn:\tx\n"] {
            assert_eq!(field(incomplete), None);
        }
    }
}
