//! One device node: made, changed, accepted or bound.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Stat, Uid};
use rustix::io::Errno;

use crate::config::devices::{Attributes, Origin};
use crate::config::mounts::is_shared_with_host;
use crate::config::{Device, Plan};
use crate::fs::{PATH, Proc, mount_id};
use crate::mount::closing::close_later;
use crate::mount::tree;
use crate::{Context, Error, Kind, Result};

/// A directory in which nodes are made; `of_host`: a directory of the host.
pub(super) struct Directory {
    pub fd: OwnedFd,
    pub of_host: bool,
}

pub(super) struct Node<'a> {
    pub plan: &'a Plan,
    pub dir: &'a Directory,
    pub name: &'a OsStr,
    pub proc: &'a Proc,
}

impl Node<'_> {
    /// Opens the existing file, as an O_PATH descriptor; does not follow a link.
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

    /// Whether an existing file belongs to the host: by its directory, or by a bind mount of its
    /// own.
    fn is_of_host(&self, file: BorrowedFd<'_>) -> Result<bool> {
        Ok(self.dir.of_host || mount_id(file)? != mount_id(self.dir.fd.as_fd())?)
    }

    pub fn make(&self, device: &Device) -> Result<()> {
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
        // A set-group-id directory or a default ACL has changed owner or mode, or chown(2) has
        // cleared a set-id bit.
        let all = Attributes { mode: Some(mode), uid: Some(uid), gid: Some(gid) };
        let stat = rustix::fs::statat(&self.dir.fd, self.name, AtFlags::SYMLINK_NOFOLLOW)?;
        if all.difference(&stat).is_none() { Ok(()) } else { self.change(device, all) }
    }

    /// Gives an existing node the requested owner and mode; a file that is not this node is an
    /// error (config-linux.md, "Devices").
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

    pub fn accept(&self, device: &Device) -> Result<()> {
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

    /// Binds `node` on an existing node of the same device, or on an empty file, which an earlier
    /// container has left behind.
    pub fn bind<T: AsFd>(&self, device: &Device, node: impl FnOnce() -> Result<T>) -> Result<()> {
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
        tree::attach_on(node.as_fd(), target)
    }
}

/// Returns the difference between the request and an inode that cannot be changed.
fn difference(device: &Device, stat: &Stat) -> Option<String> {
    match device.origin {
        Origin::Bound | Origin::Present => device.attributes.difference_of_access(stat),
        Origin::Made | Origin::Staged => device.attributes.difference(stat),
    }
}

fn not_changed(why: &str) -> Error {
    let why = format!("already exists, but {why}, and is not changed");
    Error::new(Kind::Invalid, why)
}

fn another() -> Error {
    Error::new(Kind::Invalid, "another file already exists")
}

/// Returns the error for a node that is missing in a directory of the host.
pub(super) fn not_made() -> Error {
    let why = "missing, and nothing is made in a directory of the host";
    Error::new(Kind::Invalid, why)
}
