//! Mounts of the container that are peers of the host's (`shared` bind mounts): a mount on them
//! appears on the host, and stays there. Only the container's processes may cause that. Mounts that
//! the runtime makes for the container stay inside, wherever a link of the image leads.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use procfs::process::MountOptFields;
use rustix::mount::{MoveMountFlags, move_mount};

use super::inherited::Init;
use super::rootfs::attach_point;
use crate::config::Mount;
use crate::config::options::PropagationKind;
use crate::fs::{Root, mount_id};
use crate::mount::closing::close_later;
use crate::mount::{table, tree};
use crate::sys::mount::Change;
use crate::{Context, Error, Kind, Result};

/// The mounts with a peer on the host that have been attached so far.
#[derive(Debug, Default)]
pub(crate) struct Outward {
    /// Id of the mount, and its place in the root file system.
    mounts: Vec<(i32, PathBuf)>,
}

impl Outward {
    /// Records a bind mount that has been attached, and all mounts below it, if the host may have a
    /// peer.
    pub fn note(&mut self, init: &Init<'_>, mount: &Mount, tree: BorrowedFd<'_>) -> Result<()> {
        let shared = mount.options.propagation.iter().any(|p| p.kind == PropagationKind::Shared);
        // The copy of a mount namespace for another user namespace has slaves of the host's mounts.
        if !shared || init.plan.namespaces.has_user() {
            return Ok(());
        }
        let mounts = table::read(&init.inherited.proc)?;
        let top = mount_id(tree).context("look at the bind mount")?;
        let tree = table::below(&mounts, top);
        for mount in mounts.iter().filter(|mount| tree.contains(&mount.mnt_id)) {
            let is_shared = |field: &MountOptFields| matches!(field, MountOptFields::Shared(_));
            if mount.opt_fields.iter().any(is_shared) {
                let place = &mount.mount_point;
                let inside = place.strip_prefix(attach_point(init.plan)).unwrap_or(place);
                self.mounts.push((mount.mnt_id, Path::new("/").join(inside)));
            }
        }
        Ok(())
    }

    pub fn attach(&self, root: &Root, mount: BorrowedFd<'_>, target: OwnedFd) -> Result<()> {
        if self.mounts.is_empty() {
            return tree::attach_on(mount, target);
        }
        let below = mount_id(target.as_fd()).context("look at the place of the mount")?;
        let Some((_, place)) = self.mounts.iter().find(|(id, _)| *id == below) else {
            return tree::attach_on(mount, target);
        };
        apart(root, place, below, || tree::attach_on(mount, target))
            .with_context(|| format!("keep a mount on {place:?} from the host"))
    }
}

/// Runs `attach` while the mount `number` at `place` is not a peer of a mount of the host.
fn apart(
    root: &Root,
    place: &Path,
    number: i32,
    attach: impl FnOnce() -> Result<()>,
) -> Result<()> {
    let shared = root.find(place)?;
    if mount_id(shared.as_fd())? != number {
        return Err(Error::new(Kind::System, "another mount covers it"));
    }
    let peer = tree::clone_file(&shared, false)?;
    let private = Change { propagation: libc::MS_PRIVATE, ..Change::default() };
    tree::set(shared.as_fd(), false, private)?;
    attach()?;
    let flags = MoveMountFlags::MOVE_MOUNT_SET_GROUP
        | MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH
        | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(&peer, "", &shared, "", flags)
        .context("make it a peer of the host's mount again (Linux 5.15)")?;
    close_later(peer);
    close_later(shared);
    Ok(())
}
