//! Mount flags that the host has locked: in a user namespace the flags of a source cannot be
//! cleared, and its access times cannot be changed (mount_namespaces(7)).

use std::os::fd::BorrowedFd;

use nix::errno::Errno;
use nix::sys::statvfs::{FsFlags, fstatvfs};

use super::tree::set;
use crate::config::Mount;
use crate::config::options::MountAttr;
use crate::sys::mount::Change;
use crate::{Error, Result, log};

/// The flags that can be locked: for mount_setattr(2), for statvfs(3), and their names.
const LOCKABLE: [(MountAttr, FsFlags, &str); 5] = [
    (MountAttr::RDONLY, FsFlags::ST_RDONLY, "ro"),
    (MountAttr::NOSUID, FsFlags::ST_NOSUID, "nosuid"),
    (MountAttr::NODEV, FsFlags::ST_NODEV, "nodev"),
    (MountAttr::NOEXEC, FsFlags::ST_NOEXEC, "noexec"),
    (MountAttr::NODIRATIME, FsFlags::ST_NODIRATIME, "nodiratime"),
];

/// Adds the reason to the EPERM of a change of a mount and all mounts below it.
pub(super) fn add_reason(error: Error) -> Error {
    match error.errno() {
        Some(Errno::EPERM) => error.context("the host has locked the flags of the source"),
        _ => error,
    }
}

/// Handles `error` of a change of one mount: returns an error that names the locked flags.
///
/// If `rw` is the only locked flag that a mount is to clear, the mount stays read-only, with a
/// warning; a remount fails. Engines write `rw` without a request (podman for a plain `-v`), crun
/// leaves such a mount read-only, and read-only is the stricter choice.
pub(super) fn recover(
    tree: BorrowedFd<'_>,
    change: Change,
    mount: &Mount,
    error: Error,
) -> Result<()> {
    if error.errno() != Some(Errno::EPERM) {
        return Err(error);
    }
    let Ok(has) = fstatvfs(tree).map(|stat| stat.flags()) else { return Err(error) };
    let clears = |attr: MountAttr| attr.0 & change.clear & !change.set != 0;
    let names: Vec<_> = LOCKABLE
        .iter()
        .filter(|(attr, flag, _)| clears(*attr) && has.contains(*flag))
        .map(|(.., name)| *name)
        .collect();
    if names.contains(&"ro") {
        let rest = Change { clear: change.clear & !MountAttr::RDONLY.0, ..change };
        let by_name = mount.options.remount || names.len() > 1;
        if !by_name && set(tree, false, rest).is_ok() {
            log::warn(format_args!(
                "mounts[{}]: {:?} is read-only: the source is, and the flag is locked",
                mount.index, mount.destination
            ));
            return Ok(());
        }
    }
    let error = add_reason(error);
    Err(if names.is_empty() {
        error
    } else {
        error.context(format!("cannot clear {}", names.join(", ")))
    })
}
