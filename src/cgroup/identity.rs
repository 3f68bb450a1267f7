//! Evidence that a cgroup still belongs to the container, checked before anything in it is killed
//! or removed.
//!
//! A path is no evidence: an empty cgroup can be removed and created again, or be used by another
//! container with the same `cgroupsPath`. So create records the inode number of the directory,
//! which the kernel does not reuse. A container that finds an existing directory marks it with an
//! extended attribute, and its earlier owner then finds a mark that is not its own.

use std::os::fd::BorrowedFd;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::{FlockOperation, Stat, XattrFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::files::OpenDir;
use crate::{Context, Error, Kind, Result, log};

/// Only the root user of the host may set this attribute, so that no container forges it.
const TRUSTED: &str = "trusted.bulkhead.container";
/// The attribute for a runtime without privileges.
const USER: &str = "user.bulkhead.container";

/// Returns the attributes that can hold the mark of a container.
fn attributes(rootless: bool) -> &'static [&'static str] {
    if rootless { &[TRUSTED, USER] } else { &[TRUSTED] }
}

/// Identifies the directory of a container: that of cgroup v2, or else the first one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    pub(super) inode: u64,
    /// The mark on a directory that existed before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) mark: Option<String>,
    /// Whether the runtime has no privileges.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) rootless: bool,
}

/// The owner of a recorded cgroup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    /// No other container: the directory is the recorded directory and has not been taken over, or
    /// it no longer exists.
    Ours,
    /// Another container: the directory is a new one, or has been taken over.
    Taken,
    /// Unknown: the record was written before the cgroup was created.
    Unknown,
}

impl Identity {
    /// Returns the identity of a directory with this `stat`.
    pub(super) fn new(stat: &Stat, rootless: bool) -> Identity {
        Identity { inode: stat.st_ino, mark: None, rootless }
    }

    /// Returns the identity of the directory at a path.
    pub(super) fn of_path(path: &Path, rootless: bool) -> Result<Identity> {
        let stat = rustix::fs::lstat(path).with_context(|| looking(path))?;
        Ok(Identity::new(&stat, rootless))
    }

    /// Marks a directory, so that earlier users notice that it belongs to another container now. If
    /// the file system has no extended attributes (usually cgroup v1), only the inode number
    /// identifies it.
    pub(super) fn mark(&mut self, dir: BorrowedFd<'_>) -> Result<()> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mark = format!("{}-{}", std::process::id(), now.as_nanos());
        for name in attributes(self.rootless) {
            match rustix::fs::fsetxattr(dir, *name, mark.as_bytes(), XattrFlags::empty()) {
                Ok(()) => self.mark = Some(mark.clone()),
                Err(Errno::PERM | Errno::ACCESS | Errno::OPNOTSUPP) => {}
                Err(errno) => return Err(errno).context("mark the cgroup as this container's"),
            }
        }
        Ok(())
    }

    /// Removes the mark, for the next user of a directory that stays.
    pub(super) fn unmark(&self, path: &Path) {
        for name in [TRUSTED, USER] {
            match rustix::fs::lremovexattr(path, name) {
                Err(Errno::NODATA | Errno::NOENT | Errno::OPNOTSUPP) => {}
                // The mark could mislead only the container that it names, which is gone.
                Err(Errno::PERM | Errno::ACCESS) => {}
                removed => removed
                    .with_context(|| format!("remove the mark of {}", path.display()))
                    .unwrap_or_else(log::warn),
            }
        }
    }

    /// Returns the owner of the directory at `path`, of which this is the recorded identity.
    pub(super) fn owner(&self, path: &Path) -> Result<Owner> {
        let stat = match rustix::fs::lstat(path) {
            Err(Errno::NOENT) => return Ok(Owner::Ours),
            stat => stat.with_context(|| looking(path))?,
        };
        let is_other =
            stat.st_ino != self.inode || has_other_mark(path, self.rootless, self.mark.as_deref())?;
        Ok(if is_other { Owner::Taken } else { Owner::Ours })
    }
}

/// Whether a directory has a mark other than `own`, and so belongs to another container.
pub(super) fn has_other_mark(path: &Path, rootless: bool, own: Option<&str>) -> Result<bool> {
    for attribute in attributes(rootless) {
        let mut mark = [0; 64];
        match rustix::fs::lgetxattr(path, *attribute, &mut mark) {
            Ok(length) if mark.get(..length) == own.map(str::as_bytes) => {}
            // A longer mark belongs to another container.
            Ok(_) | Err(Errno::RANGE) => return Ok(true),
            Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::NOENT | Errno::NOTDIR) => {}
            Err(errno) => return Err(errno).with_context(|| looking(path)),
        }
    }
    Ok(false)
}

fn looking(path: &Path) -> String {
    format!("look at cgroup {}", path.display())
}

/// Locks the directory against other creates until this one has a process in it, or has failed: two
/// creates that find it empty at the same moment would share it.
pub(super) fn reserve(dir: &OpenDir<'_>) -> Result<()> {
    match rustix::fs::flock(&dir.fd, FlockOperation::NonBlockingLockExclusive) {
        Err(Errno::WOULDBLOCK) => {
            let why = "another container is being created in it; use another cgroupsPath";
            Err(Error::new(Kind::State, why).context(format!("cgroup {}", dir.path.display())))
        }
        locked => locked.with_context(|| format!("lock cgroup {}", dir.path.display())),
    }
}
