//! The options of a mount: attributes and propagation.

use std::os::fd::BorrowedFd;

use super::{locked, tree};
use crate::config::Mount;
use crate::config::options::{MountAttr, PropagationKind};
use crate::sys::mount::Change;
use crate::{Context, Result};

/// Sets the attributes and the propagation of a mount.
pub(crate) fn apply_options(tree: BorrowedFd<'_>, mount: &Mount) -> Result<()> {
    apply_attributes(tree, mount)?;
    apply_propagation(tree, mount)
}

/// Sets the propagation, each change in the order listed.
pub(crate) fn apply_propagation(tree: BorrowedFd<'_>, mount: &Mount) -> Result<()> {
    for propagation in &mount.options.propagation {
        let kind = propagation_flag(propagation.kind);
        let change = Change { propagation: kind, ..Change::default() };
        tree::set(tree, propagation.recursive, change).context("set the propagation")?;
    }
    Ok(())
}

/// Returns the MS_* bit that mount_setattr(2) takes.
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
    tree::set(tree, true, all).map_err(locked::add_reason)?;
    tree::set(tree, false, own).or_else(|error| locked::recover(tree, own, mount, error))
}

/// Whether a mount is read-only.
pub(super) fn is_read_only(mount: BorrowedFd<'_>) -> Result<bool> {
    let flags = rustix::fs::fstatvfs(mount).context("ask for the flags of the mount")?.f_flag;
    Ok(flags.contains(rustix::fs::StatVfsMountFlags::RDONLY))
}
