//! clone3(2) and clone(2).
//!
//! Every function here forks: parent and child share no memory. The calling process should have one
//! thread only: a lock that another thread holds stays locked in the child forever. libc's cached
//! thread id is stale in the child, which must leave by execve(2) or by returning from its function.

use std::cell::Cell;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicI32, Ordering};

use nix::errno::Errno;

// linux/sched.h; libc's constant is too narrow for it.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// A cloned child: its process id, and a descriptor that outlives the reuse of that id.
#[derive(Debug)]
pub struct Child {
    /// The process id as seen by the caller.
    pub pid: i32,
    /// The pidfd (pidfd_open(2)).
    pub pidfd: OwnedFd,
}

/// Clones the calling process with `flags` (CLONE_NEW*, CLONE_PARENT, …), into the cgroup v2
/// directory `cgroup` if given, and runs `child` in the new process. When `child` returns, the
/// process calls _exit(2) with that status.
///
/// # Errors
/// clone(2): EPERM, EAGAIN, ENOSPC, EINVAL, ENOSYS (before Linux 5.3, or hidden by a seccomp
/// filter); EBUSY or EOPNOTSUPP if the cgroup accepts no process.
pub fn clone3(
    flags: u64,
    cgroup: Option<BorrowedFd<'_>>,
    child: impl FnOnce() -> i32,
) -> nix::Result<Child> {
    fork3(flags, cgroup)?.map_or_else(|| exit_now(child()), Ok)
}

/// Whether this process may call clone3(2). A structure of no size is refused before anything
/// happens.
pub fn has_clone3() -> bool {
    let none: *const libc::clone_args = std::ptr::null();
    // SAFETY: the kernel refuses the size (EINVAL) without reading the structure.
    let answer = Errno::result(unsafe { libc::syscall(libc::SYS_clone3, none, 0usize) });
    answer == Err(Errno::EINVAL)
}

/// Clones like [`clone3`] without flags, and by clone(2) if clone3(2) is missing. A startContainer
/// hook is started under the container's seccomp filter; a filter cannot read the flags of
/// clone3(2), and usually hides it behind ENOSYS.
pub fn clone_child(child: impl FnOnce() -> i32) -> nix::Result<Child> {
    let forked = match fork3(0, None) {
        Err(Errno::ENOSYS) => {
            let pidfd = AtomicI32::new(-1);
            let flags = libc::CLONE_PIDFD | libc::SIGCHLD;
            fork(flags, &pidfd, None)?.map(|pid| Child { pid, pidfd: owned(&pidfd) })
        }
        forked => forked?,
    };
    forked.map_or_else(|| exit_now(child()), Ok)
}

/// Clones a child of the caller's parent (`CLONE_PARENT`) with clone(2) and runs `child` in it with
/// the child's process id in its own pid namespace. With `waits` the caller stops until the child
/// has executed a program or is gone (`CLONE_VFORK`). The child's process id, as the caller sees it,
/// is in `told` before the child runs.
///
/// clone(2) and not clone3(2): a seccomp filter can read its flags, so profiles allow it even if
/// they refuse clone3(2). [`sibling_call`] has the arguments.
///
/// # Errors
/// clone(2): EAGAIN, ENOMEM, EPERM, or the error of a seccomp filter.
pub fn clone_sibling(
    waits: bool,
    told: &AtomicI32,
    child: impl FnOnce(i32) -> i32,
) -> nix::Result<i32> {
    let own = Cell::new(0);
    fork(sibling_flags(waits), told, Some(&own))?.map_or_else(|| exit_now(child(own.get())), Ok)
}

/// Number and first argument of the system call of [`clone_sibling`].
pub fn sibling_call(waits: bool) -> (libc::c_long, u64) {
    (libc::SYS_clone, sibling_flags(waits) as u64)
}

fn sibling_flags(waits: bool) -> libc::c_int {
    // The two SETTID flags report the process id without a system call.
    let flags =
        libc::CLONE_PARENT | libc::CLONE_PARENT_SETTID | libc::CLONE_CHILD_SETTID | libc::SIGCHLD;
    if waits { flags | libc::CLONE_VFORK } else { flags }
}

/// Calls clone3(2). Returns `None` in the child.
fn fork3(flags: u64, cgroup: Option<BorrowedFd<'_>>) -> nix::Result<Option<Child>> {
    const SHARING: libc::c_int =
        libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_THREAD | libc::CLONE_SETTLS;
    if flags & SHARING as u64 != 0 {
        return Err(Errno::EINVAL);
    }
    let pidfd = AtomicI32::new(-1);
    let is_sibling = flags & libc::CLONE_PARENT as u64 != 0;
    let args = libc::clone_args {
        flags: flags | libc::CLONE_PIDFD as u64 | cgroup.map_or(0, |_| CLONE_INTO_CGROUP),
        pidfd: pidfd.as_ptr() as u64,
        child_tid: 0,
        parent_tid: 0,
        // With CLONE_PARENT the exit signal is that of the caller's own clone, and must be zero
        // here.
        exit_signal: if is_sibling { 0 } else { libc::SIGCHLD as u64 },
        stack: 0,
        stack_size: 0,
        tls: 0,
        set_tid: 0,
        set_tid_size: 0,
        cgroup: cgroup.map_or(0, |dir| dir.as_raw_fd() as u64),
    };
    // SAFETY: CLONE_VM is refused above, so parent and child share no memory and each keeps its
    // own stack; the pointers in `args` are live for the call and its size is that of the struct
    // passed.
    let pid = Errno::result(unsafe {
        libc::syscall(libc::SYS_clone3, &raw const args, size_of_val(&args))
    })?;
    Ok((pid != 0).then(|| Child { pid: pid as i32, pidfd: owned(&pidfd) }))
}

/// Calls clone(2) with `flags`, which include neither CLONE_VM nor CLONE_SETTLS. Returns the
/// process id, or `None` in the child. `parent_tid` and `child_tid` receive the ids that the flags
/// request.
fn fork(
    flags: libc::c_int,
    parent_tid: &AtomicI32,
    child_tid: Option<&Cell<i32>>,
) -> nix::Result<Option<i32>> {
    let none = std::ptr::null_mut::<libc::c_int>();
    let child_tid = child_tid.map_or(none, Cell::as_ptr);
    // The order of the last two differs (clone(2), "C library/kernel differences").
    #[cfg(target_arch = "x86_64")]
    let (fourth, fifth) = (child_tid, none);
    #[cfg(not(target_arch = "x86_64"))]
    let (fourth, fifth) = (none, child_tid);
    let flags = libc::c_long::from(flags);
    // SAFETY: without CLONE_VM parent and child share no memory, and a null stack lets each keep
    // its own; both pointers are live here, and `child_tid` in the child's copy of this frame.
    let pid = Errno::result(unsafe {
        libc::syscall(libc::SYS_clone, flags, none, parent_tid.as_ptr(), fourth, fifth)
    })?;
    Ok((pid != 0).then_some(pid as i32))
}

fn owned(pidfd: &AtomicI32) -> OwnedFd {
    // SAFETY: with CLONE_PIDFD and success the kernel has stored a new descriptor, close-on-exec,
    // that nothing else knows.
    unsafe { OwnedFd::from_raw_fd(pidfd.load(Ordering::Relaxed)) }
}

/// Ends the process with `status`, _exit(2): without the exit handlers and the buffers that a
/// clone has copied from its parent. Async-signal-safe.
pub(super) fn exit_now(status: i32) -> ! {
    // SAFETY: _exit takes no pointers and does not return.
    unsafe { libc::_exit(status) }
}
