//! Signal actions and the signal mask.

use nix::errno::Errno;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

use super::clone::exit_now;

/// Makes the caller exit, with the shell's status, on `signal`: the default action of a fatal
/// signal does not apply to process 1 of a pid namespace (pid_namespaces(7)), but a handler does.
/// execve(2) restores the default action.
pub fn exit_on(signal: Signal) -> nix::Result<()> {
    extern "C" fn leave(signal: libc::c_int) {
        exit_now(128 + signal)
    }
    let action = SigAction::new(SigHandler::Handler(leave), SaFlags::empty(), SigSet::empty());
    // SAFETY: the handler calls nothing but _exit, which is async-signal-safe (signal-safety(7)).
    unsafe { sigaction(signal, &action) }.map(drop)
}

/// Sets signal number `signal` (1 to 64) to its default action. Async-signal-safe.
pub fn default_action(signal: libc::c_int) -> nix::Result<()> {
    set_action(signal, libc::SIG_DFL)
}

/// Ignores signal number `signal` (1 to 64).
pub fn ignore(signal: libc::c_int) -> nix::Result<()> {
    set_action(signal, libc::SIG_IGN)
}

/// Does not use signal(3): the C library refuses the two real-time signals that it uses itself,
/// which a caller can have ignored too. Makes a single system call and needs no memory.
fn set_action(signal: libc::c_int, action: libc::sighandler_t) -> nix::Result<()> {
    debug_assert!(matches!(action, libc::SIG_DFL | libc::SIG_IGN));
    // The kernel's struct sigaction is at most four words, the handler first; zero in the others
    // means no flags.
    let action = [action as u64, 0, 0, 0];
    // SAFETY: the kernel reads its struct from an array that is at least as large, and writes
    // nothing; neither action is code of ours, so no handler's safety is at stake.
    Errno::result(unsafe {
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

/// Returns the set of all signals. sigfillset(3) leaves out those that the C library uses itself: 32
/// and 33, and with musl also 34, the first real-time signal of other programs (glibc's SIGRTMIN).
pub fn all_signals() -> SigSet {
    // SAFETY: the kernel's 64 signals are the first 64 bits of a sigset_t, an array of integers; any
    // bits in it are a set, and its size is at least eight bytes.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        (&raw mut set).cast::<u64>().write_unaligned(u64::MAX);
        SigSet::from_sigset_t_unchecked(set)
    }
}

/// Sets this thread's signal mask. Returns the previous mask. Does not use sigprocmask(2) of the C
/// library: glibc's blocks the signals 32 and 33 never, and musl's leaves 32 to 34 out of the previous
/// mask, so that restoring it would unblock them. Async-signal-safe.
pub fn swap_mask(mask: &SigSet) -> nix::Result<SigSet> {
    let mut before = SigSet::empty();
    let new: *const libc::sigset_t = mask.as_ref();
    // SAFETY: the kernel reads and writes the 64 bits of its set, the first of a sigset_t.
    Errno::result(unsafe {
        let old: *mut libc::sigset_t = (&raw mut before).cast();
        libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, new, old, size_of::<u64>())
    })?;
    Ok(before)
}
