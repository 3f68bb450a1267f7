//! Mount flags that the host has locked: in a user namespace those that a source has cannot be
//! cleared, nor its access times changed (mount_namespaces(7)).

use std::os::fd::BorrowedFd;

use nix::errno::Errno;
use nix::sys::statvfs::{FsFlags, fstatvfs};

use super::prepare::set;
use crate::config::Mount;
use crate::config::options::MountAttr;
use crate::sys::mount::Change;
use crate::{Error, Result, log};

/// What mount_setattr(2) and statvfs(3) call the flags that can be locked.
const LOCKABLE: [(MountAttr, FsFlags, &str); 5] = [
    (MountAttr::RDONLY, FsFlags::ST_RDONLY, "ro"),
    (MountAttr::NOSUID, FsFlags::ST_NOSUID, "nosuid"),
    (MountAttr::NODEV, FsFlags::ST_NODEV, "nodev"),
    (MountAttr::NOEXEC, FsFlags::ST_NOEXEC, "noexec"),
    (MountAttr::NODIRATIME, FsFlags::ST_NODIRATIME, "nodiratime"),
];

/// What is wrong with a change of a mount and all below it.
pub fn explain(error: Error) -> Error {
    match error.errno() {
        Some(Errno::EPERM) => error.context("the host has locked the flags of the source"),
        _ => error,
    }
}

/// After `error` of a change of one mount: an error that names the locked flags.
///
/// `rw` alone is given up with a warning, but for a remount. Engines write it where nobody asked for
/// it (podman for a plain `-v`), crun leaves such a mount read-only, and read-only is the stricter of
/// the two.
pub fn settle(tree: BorrowedFd<'_>, change: Change, mount: &Mount, error: Error) -> Result<()> {
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
    let error = explain(error);
    Err(if names.is_empty() {
        error
    } else {
        error.context(format!("cannot clear {}", names.join(", ")))
    })
}
