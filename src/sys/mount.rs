//! mount_setattr(2). rustix has the rest of the new mount API.

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::errno::Errno;

/// The changes of a mount_setattr(2).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Change {
    /// MOUNT_ATTR_*, as in `clear`.
    pub set: u64,
    pub clear: u64,
    /// MS_SHARED, MS_SLAVE, MS_PRIVATE, MS_UNBINDABLE, or 0 to leave the propagation.
    pub propagation: u64,
}

/// Calls mount_setattr(2) on the mount that `dir` and `path` name (an empty path with
/// `AT_EMPTY_PATH` names the descriptor). `flags`: AT_EMPTY_PATH, AT_RECURSIVE, …
pub fn mount_setattr(
    dir: BorrowedFd<'_>,
    path: &CStr,
    flags: i32,
    change: Change,
    user_namespace: Option<BorrowedFd<'_>>,
) -> nix::Result<()> {
    let attr = libc::mount_attr {
        attr_set: change.set,
        attr_clr: change.clear,
        propagation: change.propagation,
        userns_fd: user_namespace.map_or(0, |fd| fd.as_raw_fd() as u64),
    };
    // SAFETY: `path` is a C string, `attr` lives through the call and its size is passed.
    Errno::result(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            dir.as_raw_fd(),
            path.as_ptr(),
            flags,
            &raw const attr,
            std::mem::size_of_val(&attr),
        )
    })?;
    Ok(())
}
