//! The options of a mount: attributes and propagation.
//!
//! In a user namespace the flags of a source that the host has locked cannot be cleared, and its
//! access times cannot be changed (mount_namespaces(7)).

use std::os::fd::BorrowedFd;

use nix::errno::Errno;
use nix::sys::statvfs::{FsFlags, fstatvfs};

use super::tree;
use crate::config::Mount;
use crate::config::options::{MountAttr, PropagationKind};
use crate::sys::mount::Change;
use crate::{Context, Error, Result, log};

pub(crate) fn apply_options(tree: BorrowedFd<'_>, mount: &Mount) -> Result<()> {
    apply_attributes(tree, mount)?;
    apply_propagation(tree, mount)
}

pub(crate) fn apply_propagation(tree: BorrowedFd<'_>, mount: &Mount) -> Result<()> {
    for propagation in &mount.options.propagation {
        let kind = propagation_flag(propagation.kind);
        let change = Change { propagation: kind, ..Change::default() };
        tree::set(tree, propagation.recursive, change).context("set the propagation")?;
    }
    Ok(())
}

fn propagation_flag(kind: PropagationKind) -> u64 {
    match kind {
        PropagationKind::Shared => libc::MS_SHARED,
        PropagationKind::Slave => libc::MS_SLAVE,
        PropagationKind::Private => libc::MS_PRIVATE,
        PropagationKind::Unbindable => libc::MS_UNBINDABLE,
    }
}

/// Sets the attributes: the recursive ones first, then the mount's own, except a read-only flag of
/// its own that has to wait until everything inside is made.
pub(crate) fn apply_attributes(tree: BorrowedFd<'_>, mount: &Mount) -> Result<()> {
    let options = &mount.options;
    let all = Change { set: options.rec_set.0, clear: options.rec_clear.0, propagation: 0 };
    let mut own = Change { set: options.set.0, clear: options.clear.0, propagation: 0 };
    if mount.read_only_late {
        own.set &= !libc::MOUNT_ATTR_RDONLY;
        // A source that is read-only already is so by decision of the host.
        if options.rec_set.contains(MountAttr::RDONLY) && !is_read_only(tree)? {
            own.clear |= libc::MOUNT_ATTR_RDONLY;
        }
    }
    tree::set(tree, true, all).map_err(add_reason)?;
    tree::set(tree, false, own).or_else(|error| recover(tree, own, mount, error))
}

pub(super) fn is_read_only(mount: BorrowedFd<'_>) -> Result<bool> {
    let flags = rustix::fs::fstatvfs(mount).context("ask for the flags of the mount")?.f_flag;
    Ok(flags.contains(rustix::fs::StatVfsMountFlags::RDONLY))
}

/// The flags that can be locked: for mount_setattr(2), for statvfs(3), and their names.
const LOCKABLE: [(MountAttr, FsFlags, &str); 5] = [
    (MountAttr::RDONLY, FsFlags::ST_RDONLY, "ro"),
    (MountAttr::NOSUID, FsFlags::ST_NOSUID, "nosuid"),
    (MountAttr::NODEV, FsFlags::ST_NODEV, "nodev"),
    (MountAttr::NOEXEC, FsFlags::ST_NOEXEC, "noexec"),
    (MountAttr::NODIRATIME, FsFlags::ST_NODIRATIME, "nodiratime"),
];

/// Adds the reason to the EPERM of a change of a mount and all mounts below it.
fn add_reason(error: Error) -> Error {
    match error.errno() {
        Some(Errno::EPERM) => error.context("the host has locked the flags of the source"),
        _ => error,
    }
}

/// Names the locked flags in `error` of a change of one mount. If `rw` is the only locked flag that a
/// mount is to clear, the mount stays read-only, with a warning; a remount fails. Engines write `rw`
/// without a request (podman for a plain `-v`), and read-only is the stricter choice.
fn recover(tree: BorrowedFd<'_>, change: Change, mount: &Mount, error: Error) -> Result<()> {
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
        if !by_name && tree::set(tree, false, rest).is_ok() {
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
