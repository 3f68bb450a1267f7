//! Device nodes and the links of /dev.
//!
//! A directory can belong to the host: the configuration binds /dev, or a volume, and lists a
//! device in it. Nothing is made or changed there, because it would stay on the host. A node that
//! matches is accepted; any other file is an error.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, umount2};
use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::OpenTreeFlags;

use super::device_node::{Directory, Node, not_made};
use super::inherited::Init;
use super::mounts::no_link;
use crate::config::devices::{LINKS, Origin};
use crate::config::mounts::{MountKind, is_shared_with_host, last_above};
use crate::config::{Choice, Mount, Plan};
use crate::fs::{PATH, Root, mount_id};
use crate::mount::closing::close_later;
use crate::mount::trees::Trees;
use crate::mount::{devices, tree};
use crate::terminal::pty;
use crate::{Context, Error, Kind, Result};

pub(crate) fn all(init: &Init<'_>, root: &Root, trees: &Trees) -> Result<()> {
    let plan = init.plan;
    // In a user namespace nodes have to be bound, which needs a mount namespace.
    let own = plan.populate_dev && !has_to_be_there(plan);
    let dev = own.then(|| own_dev(plan, root, trees)).transpose()?;
    let dev = dev.map(|fd| Directory { fd, of_host: false });
    let staged = init.inherited.nodes.as_ref().map(Staged::attach).transpose()?;
    // One look-up serves all the nodes of a directory.
    let mut last: Option<(PathBuf, Directory)> = None;
    for (i, device) in plan.devices.iter().enumerate() {
        if device.origin == Origin::Present && device.index.is_none() {
            continue;
        }
        let mut put = || -> Result<()> {
            let (path, name) = split(&device.path)?;
            let in_dev = dev.as_ref().filter(|_| path == Path::new("/dev"));
            if in_dev.is_none() && last.as_ref().is_none_or(|(other, _)| path != other) {
                let found = (path.to_owned(), find_directory(plan, root, trees, path)?);
                if let Some((_, before)) = last.replace(found) {
                    close_later(before.fd);
                }
            }
            let Some(dir) = in_dev.or(last.as_ref().map(|(_, dir)| dir)) else { return Ok(()) };
            let node = Node { plan, dir, name, proc: &init.inherited.proc };
            match device.origin {
                Origin::Made => node.make(device),
                Origin::Present => node.accept(device),
                Origin::Bound => {
                    let tree = trees.devices.get(i).and_then(Option::as_ref);
                    node.bind(device, || tree.ok_or_else(not_open))
                }
                Origin::Staged => {
                    node.bind(device, || staged.as_ref().ok_or_else(not_open)?.node(i))
                }
            }
        };
        put().with_context(|| match device.index {
            Some(index) => format!("linux.devices[{index}]: make device {:?}", device.path),
            None => format!("make device {:?}", device.path),
        })?;
    }
    if let Some(staged) = staged {
        staged.detach()?;
    }
    if let Some((_, dir)) = last {
        close_later(dir.fd);
    }
    if let Some(dev) = dev {
        make_links(plan, root, dev.fd.as_fd())?;
        close_later(dev.fd);
    }
    Ok(())
}

fn not_open() -> Error {
    Error::new(Kind::System, "the node is not open")
}

fn has_to_be_there(plan: &Plan) -> bool {
    plan.namespaces.mount == Choice::Inherit && plan.in_user_namespace
}

/// Opens the container's own /dev, to make nodes and links in. The image can have a link at /dev,
/// or a link that leads a bind mount of the configuration there: a directory of the host would then
/// be filled with nodes that every user of the host may open (CVE-2026-41579).
fn own_dev(plan: &Plan, root: &Root, trees: &Trees) -> Result<OwnedFd> {
    let dev = no_link(root, Path::new("/dev"))?;
    let mut binds = binds(&plan.mounts, trees).peekable();
    if binds.peek().is_none() {
        return Ok(dev);
    }
    let mount = mount_id(dev.as_fd()).context("look at \"/dev\" in the rootfs")?;
    for bind in binds {
        if mount_id(bind).context("look at a bind mount")? == mount {
            let why = "\"/dev\" in the rootfs: a symbolic link has led a bind mount there";
            return Err(Error::new(Kind::Invalid, why));
        }
    }
    Ok(dev)
}

/// Returns the bind mounts of the configuration, except one that is the root file system itself.
fn binds<'a>(mounts: &'a [Mount], trees: &'a Trees) -> impl Iterator<Item = BorrowedFd<'a>> {
    let below = mounts.iter().filter(|mount| mount.destination != Path::new("/"));
    below.filter_map(|mount| trees.mount(mount.index).map(AsFd::as_fd))
}

/// Opens a directory for nodes. No component of its path may be a link: see [`own_dev`].
fn find_directory(plan: &Plan, root: &Root, trees: &Trees, path: &Path) -> Result<Directory> {
    let of_host = has_to_be_there(plan) || is_of_host(plan, root, trees, path)?;
    if !of_host {
        return Ok(Directory { fd: no_link(root, path)?, of_host });
    }
    match root.find_no_links(path) {
        Ok(fd) => Ok(Directory { fd, of_host }),
        Err(Errno::NOENT) => Err(not_made()),
        Err(errno) => Err(Error::from(errno).context(format!("find {path:?} in the rootfs"))),
    }
}

/// Whether `path` is in a bind mount of the host, by the destinations of the mounts or by a link
/// that has led a mount there; or in the root file system, if that belongs to the host.
fn is_of_host(plan: &Plan, root: &Root, trees: &Trees, path: &Path) -> Result<bool> {
    let (mut mounts, mut source) = (plan.mounts.as_slice(), path);
    loop {
        let above = last_above(mounts, source);
        match above.and_then(|place| Some((place, mounts.get(place)?))) {
            Some((_, Mount { kind: MountKind::Bind(_), .. })) => return Ok(true),
            // A part of the container's tree, which may belong to the host, too.
            Some((place, Mount { kind: MountKind::Own(own), .. })) => {
                mounts = mounts.get(..place).unwrap_or_default();
                source = own;
            }
            None if plan.rootfs == Path::new("/") => return Ok(true),
            _ => break,
        }
    }
    let mut ids = Vec::new();
    for bind in binds(&plan.mounts, trees) {
        ids.push(mount_id(bind).context("look at a bind mount")?);
    }
    if ids.is_empty() {
        return Ok(false);
    }
    // Mounts below a bind mount count as its parts.
    for above in path.ancestors().filter(|above| above.parent().is_some()) {
        // Any other failure here also fails the look-up of the directory.
        if let Ok(dir) = root.find_no_links(above)
            && ids.contains(&mount_id(dir.as_fd()).context("look at a directory")?)
        {
            return Ok(true);
        }
    }
    Ok(false)
}

fn split(path: &Path) -> Result<(&Path, &OsStr)> {
    match (path.parent(), path.file_name()) {
        (Some(dir), Some(name)) => Ok((dir, name)),
        _ => Err(Error::invalid("linux.devices: path", path, "names no file")),
    }
}

/// The tmpfs on which the runtime has made nodes. Only an attached mount can be cloned (before
/// Linux 6.15): meanwhile the tmpfs lies over the root of init's mount namespace, where no look-up
/// of init sees it.
struct Staged<'a>(&'a OwnedFd);

impl Staged<'_> {
    fn attach(nodes: &OwnedFd) -> Result<Staged<'_>> {
        tree::attach_at(nodes, CWD, "/").context("mount the devices of linux.devices")?;
        Ok(Staged(nodes))
    }

    fn node(&self, number: usize) -> Result<OwnedFd> {
        tree::clone_at(self.0, devices::name(number), OpenTreeFlags::empty())
            .context("clone its mount")
    }

    fn detach(self) -> Result<()> {
        let detach = || -> nix::Result<()> {
            nix::unistd::fchdir(self.0)?;
            umount2(".", MntFlags::MNT_DETACH)?;
            nix::unistd::chdir("/")
        };
        detach().context("unmount the devices of linux.devices")
    }
}

/// Makes the links of /dev that the specification and engines expect.
fn make_links(plan: &Plan, root: &Root, dev: BorrowedFd<'_>) -> Result<()> {
    for (name, target) in LINKS {
        link(dev, name, target)?;
    }
    // The container's own instance of devpts, not the host's.
    if !link(dev, "ptmx", "pts/ptmx")? && plan.namespaces.mount != Choice::Inherit {
        own_ptmx(plan, root, dev).context("replace \"/dev/ptmx\" of the rootfs")?;
    }
    if rustix::fs::access("/proc/kcore", rustix::fs::Access::EXISTS).is_ok() {
        link(dev, "core", "/proc/kcore")?;
    }
    Ok(())
}

/// Mounts the ptmx of the container's own devpts over a node of the image, which may lead to the
/// host's terminals. Nothing is removed from a directory that may be shared with others.
fn own_ptmx(plan: &Plan, root: &Root, dev: BorrowedFd<'_>) -> Result<()> {
    let above = last_above(&plan.mounts, Path::new("/dev/ptmx"));
    if above.and_then(|place| plan.mounts.get(place)).is_some_and(is_shared_with_host) {
        // The mount would appear on the host.
        return Ok(());
    }
    let flags = PATH | OFlags::NOFOLLOW;
    let there = rustix::fs::openat(dev, "ptmx", flags, Mode::empty())?;
    if FileType::from_raw_mode(rustix::fs::fstat(&there)?.st_mode) == FileType::Symlink {
        // The image decides where its own link leads.
        return Ok(());
    }
    let own = match root.find_no_links(Path::new("/dev/pts/ptmx")) {
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(()),
        own => own?,
    };
    match pty::verify_ptmx(own.as_fd()) {
        // The image has another file there.
        Err(error) if error.kind() == Kind::Invalid => Ok(()),
        verified => {
            verified?;
            tree::attach_on(tree::clone_file(&own, false)?.as_fd(), there)
        }
    }
}

/// Makes a link unless a file of that name exists; returns whether the link was made.
fn link(dev: BorrowedFd<'_>, name: &str, target: &str) -> Result<bool> {
    match rustix::fs::symlinkat(target, dev, name) {
        Ok(()) => Ok(true),
        Err(Errno::EXIST) => Ok(false),
        Err(errno) => Err(Error::from(errno).context(format!("link \"/dev/{name}\""))),
    }
}
