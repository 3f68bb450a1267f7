//! Device nodes and the links of /dev.
//!
//! A directory can be the host's: the configuration binds /dev, or a volume, and lists a device in
//! it. Nothing is made or changed there, because it would stay on the host: a node that matches is
//! accepted, anything else is an error.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, umount2};
use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, OFlags, Stat, Uid};
use rustix::io::Errno;
use rustix::mount::OpenTreeFlags;

use super::inherited::Init;
use super::mounts::{attach, no_link};
use crate::config::devices::{Attributes, LINKS, Origin};
use crate::config::mounts::{MountKind, is_shared_with_host, last_above};
use crate::config::{Choice, Device, Mount, Plan};
use crate::fs::{PATH, Proc, Root, mount_id};
use crate::mount::closing::close_later;
use crate::mount::trees::Trees;
use crate::mount::{nodes, tree};
use crate::terminal::pty;
use crate::{Context, Error, Kind, Result};

/// All nodes, then the links.
pub(crate) fn all(init: &Init<'_>, root: &Root, trees: &Trees) -> Result<()> {
    let plan = init.plan;
    // In a user namespace nodes have to be bound, which needs a mount namespace.
    let own = plan.populate_dev && !has_to_be_there(plan);
    let dev = own.then(|| own_dev(plan, root, trees)).transpose()?.map(Directory::own);
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
                let found = (path.to_owned(), Directory::find(plan, root, trees, path)?);
                if let Some((_, before)) = last.replace(found) {
                    close_later(before.fd);
                }
            }
            let Some(dir) = in_dev.or(last.as_ref().map(|(_, dir)| dir)) else { return Ok(()) };
            let place = Place { plan, dir, name, proc: &init.inherited.proc };
            match device.origin {
                Origin::Made => place.make(device),
                Origin::Present => place.accept(device),
                Origin::Bound => {
                    let tree = trees.devices.get(i).and_then(Option::as_ref);
                    let tree = tree.ok_or_else(|| Error::new(Kind::System, "it is not open"))?;
                    place.bind(device, || Ok(tree))
                }
                Origin::Staged => {
                    let staged = staged.as_ref();
                    let staged =
                        staged.ok_or_else(|| Error::new(Kind::System, "it is not made"))?;
                    place.bind(device, || staged.node(i))
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
        links(plan, root, dev.fd.as_fd())?;
        close_later(dev.fd);
    }
    Ok(())
}

fn has_to_be_there(plan: &Plan) -> bool {
    plan.namespaces.mount == Choice::Inherit && plan.in_user_namespace
}

/// The container's own /dev, to make nodes and links in. An image can have a link in its place,
/// or one that leads a bind mount of the configuration there: then a directory of the host would
/// be filled with nodes that every user there may open (CVE-2026-41579).
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

/// The bind mounts of the configuration, but for one that is the root file system itself.
fn binds<'a>(mounts: &'a [Mount], trees: &'a Trees) -> impl Iterator<Item = BorrowedFd<'a>> {
    let below = mounts.iter().filter(|mount| mount.destination != Path::new("/"));
    below.filter_map(|mount| trees.mounts.get(mount.index)?.as_ref().map(AsFd::as_fd))
}

/// A directory to have nodes in.
struct Directory {
    fd: OwnedFd,
    /// It is a directory of the host.
    of_host: bool,
}

impl Directory {
    fn own(fd: OwnedFd) -> Directory {
        Directory { fd, of_host: false }
    }

    /// No component may be a link: see [`own_dev`].
    fn find(plan: &Plan, root: &Root, trees: &Trees, path: &Path) -> Result<Directory> {
        let of_host = has_to_be_there(plan) || is_of_host(plan, root, trees, path)?;
        if !of_host {
            return Ok(Directory::own(no_link(root, path)?));
        }
        match root.find_no_links(path) {
            Ok(fd) => Ok(Directory { fd, of_host }),
            Err(Errno::NOENT) => Err(not_made()),
            Err(errno) => Err(Error::from(errno).context(format!("find {path:?} in the rootfs"))),
        }
    }
}

fn not_made() -> Error {
    let why = "it is not there, and nothing is made in a directory of the host";
    Error::new(Kind::Invalid, why)
}

/// Whether `path` is in a bind mount of the host, by the destinations of the mounts or by a link
/// that has led one there; or in the root file system if that is the host's own.
fn is_of_host(plan: &Plan, root: &Root, trees: &Trees, path: &Path) -> Result<bool> {
    let (mut mounts, mut source) = (plan.mounts.as_slice(), path);
    loop {
        let above = last_above(mounts, source);
        match above.and_then(|place| Some((place, mounts.get(place)?))) {
            Some((_, Mount { kind: MountKind::Bind(_), .. })) => return Ok(true),
            // A part of the container's tree, which may be the host's in turn.
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
    // What is mounted below a bind mount is counted as its part.
    for above in path.ancestors().filter(|above| above.parent().is_some()) {
        // Whatever else fails here fails the look-up of the directory itself.
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

/// The tmpfs on which the runtime has made nodes. Only what is attached can be cloned (before Linux
/// 6.15): it lies over the root of init's mount namespace meanwhile, where no look-up of init sees
/// it.
struct Staged<'a>(&'a OwnedFd);

impl Staged<'_> {
    fn attach(nodes: &OwnedFd) -> Result<Staged<'_>> {
        tree::attach_at(nodes, CWD, "/").context("mount the devices of linux.devices")?;
        Ok(Staged(nodes))
    }

    fn node(&self, number: usize) -> Result<OwnedFd> {
        tree::clone_at(self.0, nodes::name(number), OpenTreeFlags::empty())
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

/// Where a node belongs.
struct Place<'a> {
    plan: &'a Plan,
    dir: &'a Directory,
    name: &'a OsStr,
    proc: &'a Proc,
}

impl Place<'_> {
    /// What is there, as O_PATH; a link itself.
    fn look(&self) -> Result<Option<(OwnedFd, Stat)>> {
        let flags = PATH | OFlags::NOFOLLOW;
        match rustix::fs::openat(&self.dir.fd, self.name, flags, Mode::empty()) {
            Ok(file) => {
                let stat = rustix::fs::fstat(&file)?;
                Ok(Some((file, stat)))
            }
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(Error::from(errno)),
        }
    }

    /// Whether what is there is of the host: in its directory, or a bind mount of its own.
    fn is_of_host(&self, file: BorrowedFd<'_>) -> Result<bool> {
        Ok(self.dir.of_host || mount_id(file)? != mount_id(self.dir.fd.as_fd())?)
    }

    fn make(&self, device: &Device) -> Result<()> {
        if self.dir.of_host {
            return self.accept(device);
        }
        let (mode, uid, gid) = device.attributes.or_default();
        let number = rustix::fs::makedev(device.major, device.minor);
        let mode_bits = Mode::from_raw_mode(mode);
        match rustix::fs::mknodat(&self.dir.fd, self.name, device.kind, mode_bits, number) {
            Ok(()) => {}
            Err(Errno::EXIST) => return self.change(device, device.attributes),
            Err(errno) => return Err(Error::from(errno)),
        }
        if (uid, gid) != (0, 0) {
            let owner = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
            let flags = AtFlags::SYMLINK_NOFOLLOW;
            rustix::fs::chownat(&self.dir.fd, self.name, owner.0, owner.1, flags)
                .context("chown")?;
        }
        if device.index.is_none() {
            return Ok(());
        }
        // A set-group-id directory or a default ACL has changed it, or chown(2) a set-id bit.
        let all = Attributes { mode: Some(mode), uid: Some(uid), gid: Some(gid) };
        let stat = rustix::fs::statat(&self.dir.fd, self.name, AtFlags::SYMLINK_NOFOLLOW)?;
        if all.difference(&stat).is_none() { Ok(()) } else { self.change(device, all) }
    }

    /// Gives the node that is there what is requested of it; another file is an error
    /// (config-linux.md, "Devices").
    fn change(&self, device: &Device, wanted: Attributes) -> Result<()> {
        let Some((file, stat)) = self.look()? else { return Err(Error::from(Errno::NOENT)) };
        if !device.is_node(&stat) {
            return Err(another());
        }
        if let Some(why) = wanted.difference(&stat) {
            if self.is_of_host(file.as_fd())? {
                return Err(not_changed(&why));
            }
            let owner = (wanted.uid.map(Uid::from_raw), wanted.gid.map(Gid::from_raw));
            let flags = AtFlags::EMPTY_PATH;
            rustix::fs::chownat(&file, "", owner.0, owner.1, flags).context("chown")?;
            // After chown(2), which clears the set-id bits.
            if let Some(mode) = wanted.mode {
                let mode = Mode::from_raw_mode(mode);
                self.proc.chmod(file.as_fd(), mode).context("chmod")?;
            }
            if let Some(why) = wanted.difference(&rustix::fs::fstat(&file)?) {
                return Err(Error::new(Kind::System, format!("it cannot be changed: {why}")));
            }
        }
        close_later(file);
        Ok(())
    }

    /// The node must be there as it is requested.
    fn accept(&self, device: &Device) -> Result<()> {
        let Some((file, stat)) = self.look()? else { return Err(not_made()) };
        close_later(file);
        if !device.is_node(&stat) {
            return Err(another());
        }
        match difference(device, &stat) {
            None => Ok(()),
            Some(why) => Err(not_changed(&why)),
        }
    }

    /// A node from elsewhere, on the same node, or on an empty file: that is what an earlier
    /// container has left of it.
    fn bind<T: AsFd>(&self, device: &Device, node: impl FnOnce() -> Result<T>) -> Result<()> {
        let there = self.look()?;
        if let Some((file, stat)) = &there {
            let is_empty =
                FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile && stat.st_size == 0;
            let is_node = device.is_node(stat);
            if is_node && difference(device, stat).is_none() {
                return Ok(());
            }
            if !is_node && !is_empty {
                return Err(another());
            }
            if self.plan.mounts.iter().any(is_shared_with_host) && self.is_of_host(file.as_fd())? {
                let why = "its place is shared with the host, where the mount would appear";
                return Err(Error::new(Kind::Invalid, why));
            }
        } else if self.dir.of_host {
            return Err(not_made());
        }
        let node = node()?;
        if device.origin == Origin::Bound
            && device.index.is_some()
            && let Some(why) = difference(device, &rustix::fs::fstat(&node)?)
        {
            let why = format!("{why}: without privileges the host's own node is bound");
            return Err(Error::new(Kind::Invalid, why));
        }
        let target = match there {
            Some((file, _)) => file,
            None => {
                let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let mode = Mode::from_raw_mode(0o644);
                rustix::fs::openat(&self.dir.fd, self.name, flags | OFlags::RDONLY, mode)?
            }
        };
        attach(node.as_fd(), target)
    }
}

/// What an inode that cannot be changed has in place of what is requested.
fn difference(device: &Device, stat: &Stat) -> Option<String> {
    match device.origin {
        Origin::Bound | Origin::Present => device.attributes.difference_of_access(stat),
        Origin::Made | Origin::Staged => device.attributes.difference(stat),
    }
}

fn not_changed(why: &str) -> Error {
    let why = format!("it is there already, but {why}, and it is not changed");
    Error::new(Kind::Invalid, why)
}

fn another() -> Error {
    Error::new(Kind::Invalid, "another file is there already")
}

fn links(plan: &Plan, root: &Root, dev: BorrowedFd<'_>) -> Result<()> {
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

/// The image has a node there, which may be the host's terminals: the container's own is mounted
/// over it. Nothing is removed from a directory that may be shared with others.
fn own_ptmx(plan: &Plan, root: &Root, dev: BorrowedFd<'_>) -> Result<()> {
    let above = last_above(&plan.mounts, Path::new("/dev/ptmx"));
    if above.and_then(|place| plan.mounts.get(place)).is_some_and(is_shared_with_host) {
        // The mount would appear on the host.
        return Ok(());
    }
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
        attach(tree::clone_file(&own, false)?.as_fd(), there)?;
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
