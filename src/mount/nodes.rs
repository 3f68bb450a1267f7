//! Device nodes for a container in a user namespace, where mknod(2) is refused: the runtime makes
//! them on a tmpfs of the initial user namespace. It stays detached from the host's tree; init
//! binds each node from it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::fcntl::OFlag;
use nix::sched::{CloneFlags, setns};
use rustix::fs::{AtFlags, Gid, Mode, Uid};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_string, fsmount,
    fsopen,
};
use rustix::process::{WaitId, WaitIdOptions, waitid};

use crate::config::devices::Origin;
use crate::config::{Device, IdMap, IdMaps, Kind as Namespace, Plan};
use crate::fs::read_text;
use crate::init::enter;
use crate::sys::clone::clone3;
use crate::{Context, Error, Kind, Result};

/// The mappings of the container's user namespace: those of uids, those of gids.
type Maps = (Vec<IdMap>, Vec<IdMap>);

/// The tmpfs with the nodes that are to be made here, each named by [`name`]. `None`: there are
/// none.
pub fn stage(plan: &Plan, joins: &[(Namespace, OwnedFd)]) -> Result<Option<OwnedFd>> {
    let staged = |device: &&Device| device.origin == Origin::Staged;
    let count = plan.devices.iter().filter(staged).count();
    if count == 0 {
        return Ok(None);
    }
    let maps = match (&plan.ids, joins.iter().find(|(kind, _)| *kind == Namespace::User)) {
        (Some(ids), _) => (ids.uids.clone(), ids.gids.clone()),
        (None, Some((_, namespace))) => {
            maps_of(namespace.as_fd()).context("read the mappings of the user namespace to join")?
        }
        (None, None) => return Err(Error::new(Kind::System, "there is no user namespace")),
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

/// The name of the node on the tmpfs, by its place in the plan.
pub fn name(number: usize) -> String {
    number.to_string()
}

fn tmpfs(nodes: usize) -> Result<OwnedFd> {
    let context = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    // Init looks the nodes up as another user than the owner. One inode is the directory's own.
    fsconfig_set_string(&context, "mode", "711")?;
    fsconfig_set_string(&context, "nr_inodes", nodes.saturating_add(1).to_string())?;
    fsconfig_set_string(&context, "nr_blocks", "1")?;
    fsconfig_create(&context)?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    Ok(fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)?)
}

/// Owner and group on the host.
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
    // After chown(2), which clears the set-id bits; and the caller's umask does not apply.
    rustix::fs::chmodat(dir, name, mode, AtFlags::empty()).context("chmod")
}

/// The mappings of a user namespace that is joined. The kernel shows them for a process only, so a
/// child enters it and waits; it stays in the runtime's pid namespace and is not dumpable.
fn maps_of(namespace: BorrowedFd<'_>) -> Result<Maps> {
    let pipe = || nix::unistd::pipe2(OFlag::O_CLOEXEC).context("pipe");
    let ((entered, tell), (wait, release)) = (pipe()?, pipe()?);
    let mut release = Some(release);
    let child = clone3(0, None, || {
        drop(release.take());
        let enter = || -> Result<usize> {
            enter::not_dumpable()?;
            setns(namespace, CloneFlags::CLONE_NEWUSER)?;
            nix::unistd::write(&tell, &[0])?;
            // Ends with the parent at the latest: the end of file is the signal to exit.
            Ok(crate::protocol::read(&wait, &mut [0])?)
        };
        enter().map_or(1, |_| 0)
    })
    .context("clone a process to enter it")?;
    drop(tell);
    let read = || -> Result<Maps> {
        if crate::protocol::read(&entered, &mut [0])? == 0 {
            return Err(Error::new(Kind::System, "it cannot be joined"));
        }
        Ok((map(child.pid, "uid_map")?, map(child.pid, "gid_map")?))
    };
    let maps = read();
    drop(release);
    waitid(WaitId::PidFd(child.pidfd.as_fd()), WaitIdOptions::EXITED)
        .context("wait for the process that entered it")?;
    maps
}

fn map(pid: i32, file: &str) -> Result<Vec<IdMap>> {
    let path = format!("/proc/{pid}/{file}");
    let text = read_text(&path)?;
    IdMaps::parse(&text)
        .ok_or_else(|| Error::new(Kind::System, format!("{path}: not a map: {text:?}")))
}
