//! seccomp(2): loads a compiled filter, and queries which actions and flags the kernel supports.
//!
//! The loader of libseccomp is not used: it does not support every flag, and it allocates.

use std::os::fd::{FromRawFd, OwnedFd};

use nix::errno::Errno;

/// The size of a `struct sock_filter` in bytes.
pub const INSTRUCTION: usize = size_of::<libc::sock_filter>();

/// The maximum number of instructions in a filter (`BPF_MAXINSNS`).
pub const MAX_INSTRUCTIONS: usize = 4096;

/// Loads a filter for the calling thread, seccomp(2) `SECCOMP_SET_MODE_FILTER`. `program` is an array
/// of `struct sock_filter` in the byte order of this machine. With `SECCOMP_FILTER_FLAG_NEW_LISTENER`
/// in `flags`, returns the listener of the `SCMP_ACT_NOTIFY` rules (close-on-exec). Makes a single
/// system call and no allocation, so that init can call it just before execve(2).
///
/// # Errors
/// `EINVAL` if the program is empty, too long, or ends within an instruction; `EACCES` without
/// `no_new_privs` and without `CAP_SYS_ADMIN`; `EBUSY` if there is a listener already; `ESRCH` if
/// `SECCOMP_FILTER_FLAG_TSYNC` could not reach a thread.
pub fn load(program: &[u8], flags: u32) -> Result<Option<OwnedFd>, Errno> {
    let count = program.len() / INSTRUCTION;
    if count == 0 || count > MAX_INSTRUCTIONS || !program.len().is_multiple_of(INSTRUCTION) {
        return Err(Errno::EINVAL);
    }
    let value = set_mode_filter(flags, Some((program, count as libc::c_ushort)))?;
    if flags & libc::SECCOMP_FILTER_FLAG_NEW_LISTENER as u32 != 0 {
        let fd = libc::c_int::try_from(value).map_err(|_| Errno::EBADF)?;
        // SAFETY: with NEW_LISTENER a successful call returns a descriptor that is new and ours.
        return Ok(Some(unsafe { OwnedFd::from_raw_fd(fd) }));
    }
    // TSYNC returns a thread that it could not reach as a positive result: nothing was loaded.
    if value == 0 { Ok(None) } else { Err(Errno::ESRCH) }
}

/// Whether this kernel supports the action `SECCOMP_RET_*`, seccomp(2).
pub fn action_known(action: u32) -> bool {
    // SAFETY: the kernel reads one u32 from a pointer that outlives the call.
    let result = unsafe {
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_GET_ACTION_AVAIL, 0u32, &raw const action)
    };
    result == 0
}

/// Whether this kernel supports listeners, seccomp_unotify(2).
pub fn has_notify() -> bool {
    action_known(libc::SECCOMP_RET_USER_NOTIF)
}

/// Returns whether this kernel supports all `flags` (a valid combination of `SECCOMP_FILTER_FLAG_*`).
///
/// The kernel checks the flags before the program, so a null program returns `EFAULT` if the flags
/// are valid and `EINVAL` if they are not. Nothing is ever loaded.
pub fn flags_known(flags: u32) -> bool {
    set_mode_filter(flags, None) == Err(Errno::EFAULT)
}

/// `program`: an array of instructions and their number; else a null pointer.
fn set_mode_filter(
    flags: u32,
    program: Option<(&[u8], libc::c_ushort)>,
) -> Result<libc::c_long, Errno> {
    let filter = program.map(|(bytes, len)| {
        assert!(usize::from(len) * INSTRUCTION <= bytes.len());
        // The kernel only reads it; the type of the field predates const.
        libc::sock_fprog { len, filter: bytes.as_ptr().cast_mut().cast() }
    });
    let pointer = filter.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: the pointer is null, which the kernel refuses, or `filter` and the program it points
    // to outlive the call and `len` instructions are inside the program. The kernel copies them
    // bytewise, so the slice needs no alignment.
    Errno::result(unsafe {
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, pointer)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_is_no_array_of_instructions_is_refused() {
        assert_eq!(load(&[], 0).err(), Some(Errno::EINVAL));
        assert_eq!(load(&[0; 7], 0).err(), Some(Errno::EINVAL));
        assert_eq!(load(&[0; INSTRUCTION * (MAX_INSTRUCTIONS + 1)], 0).err(), Some(Errno::EINVAL));
    }

    #[test]
    fn the_kernel_tells_what_it_knows() {
        assert!(action_known(libc::SECCOMP_RET_KILL_PROCESS));
        assert!(action_known(libc::SECCOMP_RET_USER_NOTIF));
        assert!(!action_known(0x0042_0000));
        assert!(flags_known(libc::SECCOMP_FILTER_FLAG_LOG as u32));
        assert!(!flags_known(1 << 30));
    }
}
