//! Device nodes and the links of /dev.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;

use super::done;
use super::mounts::{attach, no_link};
use super::seal::clone_mount;
use crate::fs::{PATH, Root, mount_id};
use crate::launch::prepare::Trees;
use crate::plan::devices::LINKS;
use crate::plan::{Choice, Device, Plan};
use crate::tty::pty;
use crate::{Context, Error, Kind, Result};

/// All nodes, then the links.
pub fn all(plan: &Plan, root: &Root, trees: &Trees) -> Result<()> {
    if plan.namespaces.mount == Choice::Inherit && plan.in_user_namespace {
        // Nodes would have to be bound, and there is no mount namespace to bind them in.
        return Ok(());
    }
    let dev = plan.populate_dev.then(|| own_dev(root, trees)).transpose()?;
    // One look-up serves all the nodes of a directory.
    let mut parent: Option<(PathBuf, OwnedFd)> = None;
    for (i, device) in plan.devices.iter().enumerate() {
        let (dir, name) = split(&device.path)?;
        let in_dev = dev.as_ref().filter(|_| dir == Path::new("/dev"));
        if in_dev.is_none() && parent.as_ref().is_none_or(|(path, _)| path != dir) {
            // No component may be a link: see `own_dev`.
            if let Some((_, last)) = parent.replace((dir.to_owned(), no_link(root, dir)?)) {
                done(last);
            }
        }
        let Some(held) = in_dev.or(parent.as_ref().map(|(_, dir)| dir)) else { continue };
        let held = held.as_fd();
        let tree = trees.devices.get(i).and_then(Option::as_ref);
        match tree {
            Some(tree) => bind(device, held, name, tree.as_fd()),
            None => make(device, held, name),
        }
        .with_context(|| format!("make device {:?}", device.path))?;
    }
    if let Some((_, dir)) = parent {
        done(dir);
    }
    if let Some(dev) = dev {
        links(plan, root, dev.as_fd())?;
        done(dev);
    }
    Ok(())
}

/// The container's own /dev, to make nodes and links in. An image can have a link in its place,
/// or one that leads a bind mount of the configuration there: then a directory of the host would
/// be filled with nodes that every user there may open (CVE-2026-41579).
fn own_dev(root: &Root, trees: &Trees) -> Result<OwnedFd> {
    let dev = no_link(root, Path::new("/dev"))?;
    let mut binds = trees.mounts.iter().flatten().peekable();
    if binds.peek().is_none() {
        return Ok(dev);
    }
    let mount = mount_id(dev.as_fd()).context("look at \"/dev\" in the rootfs")?;
    for bind in binds {
        if mount_id(bind.as_fd()).context("look at a bind mount")? == mount {
            let why = "\"/dev\" in the rootfs: a symbolic link has led a bind mount there";
            return Err(Error::new(Kind::Invalid, why));
        }
    }
    Ok(dev)
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
    if same(device, dir, name).is_ok() {
        return Ok(());
    }
    let flags = OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::RDONLY;
    match rustix::fs::openat(dir, name, flags | OFlags::EXCL, Mode::from_raw_mode(0o644)) {
        Ok(_) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(Error::from(errno)),
    }
    let target = rustix::fs::openat(dir, name, PATH | OFlags::NOFOLLOW, Mode::empty())?;
    attach(tree, target)
}

fn links(plan: &Plan, root: &Root, dev: BorrowedFd<'_>) -> Result<()> {
    for (name, target) in LINKS {
        link(dev, name, target)?;
    }
    // The container's own instance of devpts, not the host's.
    if !link(dev, "ptmx", "pts/ptmx")? && plan.namespaces.mount != Choice::Inherit {
        own_ptmx(root, dev).context("replace \"/dev/ptmx\" of the rootfs")?;
    }
    if rustix::fs::access("/proc/kcore", rustix::fs::Access::EXISTS).is_ok() {
        link(dev, "core", "/proc/kcore")?;
    }
    Ok(())
}

/// The image has a node there, which may be the host's terminals: the container's own is mounted
/// over it. Nothing is removed from a directory that may be shared with others.
fn own_ptmx(root: &Root, dev: BorrowedFd<'_>) -> Result<()> {
    let flags = PATH | OFlags::NOFOLLOW;
    let there = rustix::fs::openat(dev, "ptmx", flags, Mode::empty())?;
    if FileType::from_raw_mode(rustix::fs::fstat(&there)?.st_mode) == FileType::Symlink {
        // A link is the image's own business.
        return Ok(());
    }
    let own = match root.find_no_links(Path::new("/dev/pts/ptmx")) {
        Ok(own) => own,
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(()),
        Err(errno) => return Err(Error::from(errno)),
    };
    if pty::verify_ptmx(own.as_fd()).is_ok() {
        attach(clone_mount(own.as_fd(), false)?.as_fd(), there)?;
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
