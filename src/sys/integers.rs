//! System calls whose arguments are integers: the kernel reads and writes no memory of the caller.

use nix::errno::Errno;

/// A system call of this kind, with the commands that this crate uses.
#[derive(Debug, Clone, Copy)]
pub(super) enum Call {
    /// close_range(2). That no closed descriptor is used again is the caller's contract.
    CloseRange,
    /// fcntl(2) with F_DUPFD_CLOEXEC, F_GETFD or F_SETFD, which accept a number that is not open.
    Fcntl,
    /// ioprio_set(2).
    IoprioSet,
    /// keyctl(2) with KEYCTL_SETPERM.
    Keyctl,
}

/// Makes the call. Async-signal-safe.
pub(super) fn call(call: Call, first: i32, second: u32, third: u32) -> nix::Result<i32> {
    let number = match call {
        Call::CloseRange => libc::SYS_close_range,
        Call::Fcntl => libc::SYS_fcntl,
        Call::IoprioSet => libc::SYS_ioprio_set,
        Call::Keyctl => libc::SYS_keyctl,
    };
    // The kernel takes some of them as a whole word.
    let (first, second) = (libc::c_long::from(first), libc::c_ulong::from(second));
    let third = libc::c_ulong::from(third);
    // SAFETY: integers only.
    let result = Errno::result(unsafe { libc::syscall(number, first, second, third) })?;
    i32::try_from(result).map_err(|_| Errno::EOVERFLOW)
}
