//! Device nodes and the links of /dev.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Gid, Mode, Uid};
use rustix::io::Errno;

use super::done;
use super::mounts::attach;
use crate::fs::Root;
use crate::launch::prepare::Trees;
use crate::plan::devices::LINKS;
use crate::plan::{Choice, Device, Plan};
use crate::{Context, Error, Kind, Result};

/// All nodes, then the links.
pub fn all(plan: &Plan, root: &Root, trees: &Trees) -> Result<()> {
    if plan.namespaces.mount == Choice::Inherit && plan.namespaces.has_user() {
        // Nodes would have to be bound, and there is no mount namespace to bind them in.
        return Ok(());
    }
    // One look-up serves all the nodes of a directory.
    let mut parent: Option<(PathBuf, OwnedFd)> = None;
    for (i, device) in plan.devices.iter().enumerate() {
        let (dir, name) = split(&device.path)?;
        if parent.as_ref().is_none_or(|(path, _)| path != dir) {
            parent = Some((dir.to_owned(), root.make_dir(dir)?));
        }
        let Some((_, held)) = &parent else { continue };
        let tree = trees.devices.get(i).and_then(Option::as_ref);
        match tree {
            Some(tree) => bind(device, held.as_fd(), name, tree.as_fd()),
            None => make(device, held.as_fd(), name),
        }
        .with_context(|| format!("make device {:?}", device.path))?;
    }
    if let Some((_, dir)) = parent {
        done(dir);
    }
    if plan.populate_dev { links(root) } else { Ok(()) }
}

fn split(path: &Path) -> Result<(&Path, &OsStr)> {
    match (path.parent(), path.file_name()) {
        (Some(dir), Some(name)) => Ok((dir, name)),
        _ => Err(Error::invalid("linux.devices: path", path, "names no file")),
    }
}

fn make(device: &Device, dir: BorrowedFd<'_>, name: &OsStr) -> Result<()> {
    let mode = Mode::from_raw_mode(device.mode);
    let number = rustix::fs::makedev(device.major, device.minor);
    match rustix::fs::mknodat(dir, name, device.kind, mode, number) {
        Ok(()) => {}
        Err(Errno::EXIST) => return same(device, dir, name),
        Err(errno) => return Err(Error::from(errno)),
    }
    if (device.uid, device.gid) != (0, 0) {
        let (uid, gid) = (Uid::from_raw(device.uid), Gid::from_raw(device.gid));
        rustix::fs::chownat(dir, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
            .context("chown")?;
    }
    Ok(())
}

/// Something has the name already: the same node will do, anything else is an error
/// (config-linux.md, "Devices").
fn same(device: &Device, dir: BorrowedFd<'_>, name: &OsStr) -> Result<()> {
    let stat = rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?;
    let number = rustix::fs::makedev(device.major, device.minor);
    let is_node = FileType::from_raw_mode(stat.st_mode) == device.kind;
    if is_node && (device.kind == FileType::Fifo || stat.st_rdev == number) {
        return Ok(());
    }
    Err(Error::new(Kind::Invalid, "another file is there already"))
}

/// In a user namespace: the host's node on an empty file.
fn bind(device: &Device, dir: BorrowedFd<'_>, name: &OsStr, tree: BorrowedFd<'_>) -> Result<()> {
    use rustix::fs::OFlags;
    if same(device, dir, name).is_ok() {
        return Ok(());
    }
    let flags = OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::RDONLY;
    match rustix::fs::openat(dir, name, flags | OFlags::EXCL, Mode::from_raw_mode(0o644)) {
        Ok(_) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(Error::from(errno)),
    }
    let target = rustix::fs::openat(dir, name, crate::fs::PATH | OFlags::NOFOLLOW, Mode::empty())?;
    attach(tree, target)
}

fn links(root: &Root) -> Result<()> {
    let dev = root.make_dir(Path::new("/dev"))?;
    for (name, target) in LINKS {
        link(dev.as_fd(), name, target)?;
    }
    // The container's own instance of devpts, not the host's.
    if !link(dev.as_fd(), "ptmx", "pts/ptmx")? {
        own_ptmx(dev.as_fd()).context("replace \"/dev/ptmx\" of the rootfs")?;
    }
    if rustix::fs::access("/proc/kcore", rustix::fs::Access::EXISTS).is_ok() {
        link(dev.as_fd(), "core", "/proc/kcore")?;
    }
    done(dev);
    Ok(())
}

/// A node of that name is the host's terminals; a link is the image's own business.
fn own_ptmx(dev: BorrowedFd<'_>) -> Result<()> {
    let stat = rustix::fs::statat(dev, "ptmx", AtFlags::SYMLINK_NOFOLLOW)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
        rustix::fs::unlinkat(dev, "ptmx", AtFlags::empty())?;
        link(dev, "ptmx", "pts/ptmx")?;
    }
    Ok(())
}

/// What the image has there already is its own business. Whether the link was made.
fn link(dev: BorrowedFd<'_>, name: &str, target: &str) -> Result<bool> {
    match rustix::fs::symlinkat(target, dev, name) {
        Ok(()) => Ok(true),
        Err(Errno::EXIST) => Ok(false),
        Err(errno) => Err(Error::from(errno).context(format!("link \"/dev/{name}\""))),
    }
}
