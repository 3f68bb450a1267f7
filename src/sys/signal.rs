//! Signal actions.

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

/// Sets signal number `signal` (1 to 64) to its default action. Not by signal(3): the C library
/// refuses the two real-time signals that it uses itself, which a caller can have ignored too.
///
/// Async-signal-safe: one system call, no memory.
pub fn default_action(signal: libc::c_int) -> nix::Result<()> {
    // The kernel's struct sigaction is at most four words; all zero is SIG_DFL without flags.
    let action = [0_u64; 4];
    // SAFETY: the kernel reads its struct from an array that is at least as large, and writes
    // nothing; SIG_DFL installs no code of ours, so no handler's safety is at stake.
    super::check(unsafe {
        libc::syscall(
            libc::SYS_rt_sigaction,
            signal,
            action.as_ptr(),
            std::ptr::null_mut::<u64>(),
            size_of::<u64>(),
        )
    })
    .map(drop)
}
