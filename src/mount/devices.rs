//! Device nodes for a container in a user namespace, where mknod(2) is refused. A privileged runtime
//! makes the nodes on a tmpfs that belongs to the initial user namespace and stays detached from the
//! host's tree; init binds each node from it. Any other runtime binds the host's own nodes.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Gid, Mode, Uid};

use super::filesystem;
use super::tree::{self, clone_path};
use crate::config::devices::Origin;
use crate::config::{Device, IdMap, IdMaps, Plan};
use crate::fs::{is_char_device, read_text};
use crate::sys::mount::Change;
use crate::{Context, Error, Kind, Result};

/// Clones the mount of the host's node for a device that is bound; `None` for any other device.
pub(super) fn source(device: &Device) -> Result<Option<OwnedFd>> {
    if device.origin != Origin::Bound {
        return Ok(None);
    }
    let path = &device.path;
    let open = |path: &Path| -> Result<Option<OwnedFd>> {
        let tree = clone_path(path, false)?;
        let is_it = device.is_node(&rustix::fs::fstat(&tree)?);
        Ok(is_it.then_some(tree))
    };
    // The usual name first, then the name that the host uses for the number.
    let tree = match open(path) {
        Ok(Some(tree)) => Ok(tree),
        answer => match host_path(device).map(|path| open(&path)) {
            Some(Ok(Some(tree))) => Ok(tree),
            _ => answer.and_then(|_| {
                let numbers = format!("{}:{}", device.major, device.minor);
                Err(Error::new(Kind::Invalid, format!("the host's node is not {numbers}")))
            }),
        },
    };
    let tree = tree.with_context(|| {
        format!("bind device {path:?} (in a user namespace the host's own node is bound)")
    })?;
    restrict(tree.as_fd()).with_context(|| format!("bind device {path:?}"))?;
    Ok(Some(tree))
}

/// Returns the path of the node that the kernel (devtmpfs) has made for the number of a device.
fn host_path(device: &Device) -> Option<PathBuf> {
    let kind = if device.kind == FileType::BlockDevice { "block" } else { "char" };
    let text = read_text(&format!("/sys/dev/{kind}/{}:{}/uevent", device.major, device.minor));
    let text = text.ok()?;
    let name = text.lines().find_map(|line| line.strip_prefix("DEVNAME="))?;
    Some(Path::new("/dev").join(name))
}

/// Protects the host's node from a container that uses it. Read-only: mode, owner and times, which
/// are the host's, cannot be changed. Private: on a peer of the host's /dev, a container that may
/// mount would mount over the host's node.
fn restrict(node: BorrowedFd<'_>) -> Result<()> {
    let attributes = libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NOEXEC;
    tree::set(node, false, Change { set: attributes, clear: 0, propagation: libc::MS_PRIVATE })
}

pub(super) fn null() -> Result<OwnedFd> {
    let null = clone_path(Path::new("/dev/null"), false).context("open /dev/null")?;
    check_null(null.as_fd())?;
    restrict(null.as_fd()).context("make the mount of /dev/null read-only")?;
    Ok(null)
}

/// Fails unless `null` is the null device: any other file at /dev/null would be mounted over every
/// masked path (CVE-2025-31133).
fn check_null(null: BorrowedFd<'_>) -> Result<()> {
    if is_char_device(&rustix::fs::fstat(null).context("check /dev/null")?, 1, 3) {
        return Ok(());
    }
    Err(Error::new(Kind::System, "/dev/null is not the character device 1:3"))
}

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
    let dir =
        tmpfs(count, plan.mount_label.as_deref()).context("make a tmpfs for linux.devices")?;
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

fn tmpfs(nodes: usize, label: Option<&str>) -> Result<OwnedFd> {
    // The directory itself takes an inode.
    let inodes = nodes.saturating_add(1).to_string();
    // Init looks the nodes up as another user than their owner, so the mode is 711.
    let options = [("mode", "711"), ("nr_inodes", inodes.as_str()), ("nr_blocks", "1")];
    filesystem::tmpfs(&options, label, libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NOEXEC)
}

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
