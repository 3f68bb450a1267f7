//! Signal handlers.

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

/// Has the caller exit, with the shell's status, when it gets `signal`: the default action of a
/// fatal signal does not reach process 1 of a pid namespace (pid_namespaces(7)), but a handler
/// does. execve(2) brings the default back.
pub fn exit_on(signal: Signal) -> nix::Result<()> {
    extern "C" fn leave(signal: libc::c_int) {
        // SAFETY: _exit is async-signal-safe (signal-safety(7)), and does not return.
        unsafe { libc::_exit(128 + signal) }
    }
    let action = SigAction::new(SigHandler::Handler(leave), SaFlags::empty(), SigSet::empty());
    // SAFETY: the handler calls nothing but _exit, whatever it interrupts.
    unsafe { sigaction(signal, &action) }.map(drop)
}
