//! Device nodes for a container in a user namespace, where mknod(2) is refused. The runtime makes
//! the nodes on a tmpfs that belongs to the initial user namespace and stays detached from the
//! host's tree; init binds each node from it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Gid, Mode, Uid};

use super::filesystem;
use crate::config::devices::Origin;
use crate::config::{Device, IdMap, IdMaps, Plan};
use crate::{Context, Error, Result};

/// The mappings of the container's user namespace: of user ids, of group ids.
pub(crate) type Maps = (Vec<IdMap>, Vec<IdMap>);

/// Makes the nodes, each named by [`name`], on a new tmpfs; `None` without nodes to make here.
/// `joined` reads the mappings of a user namespace to join.
pub(crate) fn stage(plan: &Plan, joined: impl FnOnce() -> Result<Maps>) -> Result<Option<OwnedFd>> {
    let staged = |device: &&Device| device.origin == Origin::Staged;
    let count = plan.devices.iter().filter(staged).count();
    if count == 0 {
        return Ok(None);
    }
    let maps = match &plan.ids {
        Some(ids) => (ids.uids.clone(), ids.gids.clone()),
        None => joined()?,
    };
    let dir = tmpfs(count).context("make a tmpfs for linux.devices")?;
    for (number, device) in plan.devices.iter().enumerate().filter(|(_, device)| staged(device)) {
        let index = device.index.unwrap_or(number);
        let owner = owner(device, index, &maps)?;
        make(dir.as_fd(), &name(number), device, owner)
            .with_context(|| format!("linux.devices[{index}]: make device {:?}", device.path))?;
    }
    Ok(Some(dir))
}

/// Returns the name on the tmpfs of the device with that index in the plan.
pub(crate) fn name(number: usize) -> String {
    number.to_string()
}

fn tmpfs(nodes: usize) -> Result<OwnedFd> {
    // The directory itself takes an inode.
    let inodes = nodes.saturating_add(1).to_string();
    // Init looks the nodes up as another user than their owner, so the mode is 711.
    let options = [("mode", "711"), ("nr_inodes", inodes.as_str()), ("nr_blocks", "1")];
    filesystem::tmpfs(&options, libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NOEXEC)
}

/// Returns owner and group of a device on the host.
fn owner(device: &Device, index: usize, (uids, gids): &Maps) -> Result<(Uid, Gid)> {
    let (_, uid, gid) = device.attributes.or_default();
    let outside = |maps: &[IdMap], field: &str, id: u32| {
        IdMaps::outside(maps, id).ok_or_else(|| {
            let field = format!("linux.devices[{index}].{field}");
            Error::invalid(field, id, "not mapped in the user namespace")
        })
    };
    let (uid, gid) = (outside(uids, "uid", uid)?, outside(gids, "gid", gid)?);
    Ok((Uid::from_raw(uid), Gid::from_raw(gid)))
}

fn make(dir: BorrowedFd<'_>, name: &str, device: &Device, owner: (Uid, Gid)) -> Result<()> {
    let mode = Mode::from_raw_mode(device.attributes.or_default().0);
    let number = rustix::fs::makedev(device.major, device.minor);
    rustix::fs::mknodat(dir, name, device.kind, Mode::empty(), number).context("mknod")?;
    let (uid, gid) = owner;
    rustix::fs::chownat(dir, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
        .context("chown")?;
    // After chown(2), which clears the set-id bits. The caller's umask does not apply.
    rustix::fs::chmodat(dir, name, mode, AtFlags::empty()).context("chmod")
}
