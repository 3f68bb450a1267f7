//! clone3(2): the one fork of a create, run or exec.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::atomic::AtomicI32;

use super::check;

// linux/sched.h; libc's constant is too narrow for it.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// A child made by [`clone3`]: its process id, and a descriptor that names it for good.
#[derive(Debug)]
pub struct Child {
    /// As seen by the caller.
    pub pid: i32,
    /// Stable against reuse of the process id (pidfd_open(2)).
    pub pidfd: OwnedFd,
}

/// Clones the calling process with `flags` (CLONE_NEW*, CLONE_PARENT, …), puts the child into the
/// cgroup v2 directory `cgroup` if one is given, and runs `child` in it. The child never returns:
/// when `child` does, it leaves by _exit(2) with that status.
///
/// The calling process must have one thread only, as every command of this program has: the
/// child is a copy of the caller's thread alone, and a lock that another thread held would stay
/// locked in it for ever. libc's cached thread id is stale in the child, so it must leave by
/// execve(2) or by returning.
///
/// # Errors
/// clone(2): EPERM, EAGAIN, ENOSPC, EINVAL, ENOSYS (before Linux 5.3); EBUSY or EOPNOTSUPP where
/// the cgroup takes no process.
pub fn clone3(
    flags: u64,
    cgroup: Option<BorrowedFd<'_>>,
    child: impl FnOnce() -> i32,
) -> nix::Result<Child> {
    let mut pidfd: libc::c_int = -1;
    // SAFETY: clone_args is plain data; all zero is its "nothing asked for".
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.flags = flags | libc::CLONE_PIDFD as u64;
    args.pidfd = &raw mut pidfd as u64;
    // With CLONE_PARENT the signal is the one of the caller's own clone, and must be zero here.
    if flags & libc::CLONE_PARENT as u64 == 0 {
        args.exit_signal = libc::SIGCHLD as u64;
    }
    if let Some(dir) = cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = dir.as_raw_fd() as u64;
    }
    // SAFETY: no CLONE_VM, so parent and child share no memory and each keeps its own stack; the
    // pointers in `args` are live for the call and its size is that of the struct passed.
    let pid = check(unsafe {
        libc::syscall(libc::SYS_clone3, &raw const args, std::mem::size_of_val(&args))
    })?;
    if pid == 0 {
        let status = child();
        // SAFETY: _exit takes no pointers; it runs none of the parent's exit handlers.
        unsafe { libc::_exit(status) };
    }
    // SAFETY: with CLONE_PIDFD and success the kernel stored a new descriptor that is ours alone.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    Ok(Child { pid: pid as i32, pidfd })
}

/// Clones a child of the caller's parent with clone(2) (`CLONE_PARENT`) and runs `child` in it with
/// the child's process id in its own pid namespace. As with [`clone3`] the child leaves by execve(2)
/// or with the status that `child` returns. With `waits` the caller stops until the child has
/// executed a program or is gone (`CLONE_VFORK`); both have memory of their own in any case. The
/// child's process id, as the caller sees it, is in `told` before the child runs.
///
/// clone(2) in place of clone3(2): a seccomp filter in force can look at its flags, so profiles
/// allow it where they refuse the other. [`sibling_call`] has the arguments.
///
/// # Errors
/// clone(2): EAGAIN, ENOMEM, EPERM, or the error of a seccomp filter.
pub fn clone_sibling(
    waits: bool,
    told: &AtomicI32,
    child: impl FnOnce(i32) -> i32,
) -> nix::Result<i32> {
    let flags = sibling_flags(waits);
    let own = std::cell::Cell::new(0i32);
    let place = own.as_ptr();
    let none = std::ptr::null_mut::<libc::c_int>();
    let told = told.as_ptr();
    // The order of the last two differs (clone(2), "C library/kernel differences").
    #[cfg(target_arch = "x86_64")]
    let (fourth, fifth) = (place, none);
    #[cfg(not(target_arch = "x86_64"))]
    let (fourth, fifth) = (none, place);
    // SAFETY: no CLONE_VM, so parent and child share no memory and a null stack lets each keep its
    // own; `place` is live in the child, which has a copy of this frame, and `told` is live here.
    let pid = check(unsafe { libc::syscall(libc::SYS_clone, flags, none, told, fourth, fifth) })?;
    if pid == 0 {
        let status = child(own.get());
        // SAFETY: _exit takes no pointers; it runs none of the parent's exit handlers.
        unsafe { libc::_exit(status) };
    }
    Ok(pid as i32)
}

/// The system call of [`clone_sibling`]: its number and its first argument.
pub fn sibling_call(waits: bool) -> (libc::c_long, u64) {
    (libc::SYS_clone, sibling_flags(waits) as u64)
}

fn sibling_flags(waits: bool) -> libc::c_long {
    // The two with SETTID tell the process id without a system call.
    let flags =
        libc::CLONE_PARENT | libc::CLONE_PARENT_SETTID | libc::CLONE_CHILD_SETTID | libc::SIGCHLD;
    libc::c_long::from(if waits { flags | libc::CLONE_VFORK } else { flags })
}
