//! The directory of a container below the state directory.

use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;

use nix::errno::Errno;
use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags, Stat, unlinkat};

use super::file;
use super::id::Id;
use super::record::{CONFIG_FILE, INTENT_FILE, RESULT_FIFO, START_FIFO, STATE_FILE};
use crate::{Context, Error, Kind, Result};

/// The mode of a container's directory. It distinguishes the runtime's directories from others: the
/// sticky bit has no effect on a directory that only its owner can enter, so other programs do not
/// set it.
pub(super) const MARK: u32 = 0o1700;

/// The bits of the mode that are compared: set-group-ID is inherited from the parent directory on
/// some file systems.
const MARK_MASK: u32 = 0o5777;

/// The state directory, open.
#[derive(Debug)]
pub(super) struct Root {
    pub fd: OwnedFd,
    pub path: PathBuf,
    /// The user whose containers the directory holds: that of the calling process.
    pub uid: u32,
}

/// Returns the error for a container that does not exist. Engines search for its text.
pub(super) fn not_found(id: &Id) -> Error {
    Error::new(Kind::NotFound, format!("container does not exist: {:?}", id.as_str()))
}

/// The directory of a container, open.
#[derive(Debug)]
pub(super) struct Dir {
    root: Arc<Root>,
    pub id: Id,
    pub fd: OwnedFd,
}

impl Dir {
    /// Opens the directory of `id`, whatever created it; `None` if there is no such directory.
    pub fn open(root: &Arc<Root>, id: &Id) -> Result<Option<Dir>> {
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match rustix::fs::openat(&root.fd, id.as_str(), flags, Mode::empty()) {
            Ok(fd) => Ok(Some(Dir { root: root.clone(), id: id.clone(), fd })),
            // No directory (a symbolic link does not count), so no container.
            Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR | rustix::io::Errno::LOOP) => {
                Ok(None)
            }
            Err(e) => Err(e.into()),
        }
    }

    /// Opens the directory of the container `id`. Only a directory that this runtime created for
    /// this user counts: anything else could be any directory of the host (`--root / delete home`),
    /// or hold a state with which another user could make root kill or execute arbitrary processes.
    pub fn of_container(root: &Arc<Root>, id: &Id) -> Result<Dir> {
        let path = root.path.join(id.as_str());
        let what = || format!("open {path:?}");
        let dir = match Dir::open(root, id) {
            // A directory of another user that this user may not even search is not a container.
            Err(e) if e.errno() == Some(Errno::EACCES) => None,
            other => other.with_context(what)?,
        };
        let dir = dir.ok_or_else(|| not_found(id))?;
        let stat = rustix::fs::fstat(&dir.fd).with_context(what)?;
        if !is_marked(&stat) || stat.st_uid != root.uid {
            let why = format!(
                "container does not exist: {path:?} was not made by bulkhead for this user"
            );
            return Err(Error::new(Kind::NotFound, why));
        }
        Ok(dir)
    }

    /// Returns the path of the directory.
    pub fn path(&self) -> PathBuf {
        self.root.path.join(self.id.as_str())
    }

    /// Waits for the lock.
    pub fn lock(&self) -> Result<()> {
        loop {
            match rustix::fs::flock(&self.fd, FlockOperation::LockExclusive) {
                Err(rustix::io::Errno::INTR) => {}
                other => return other.context("lock the container"),
            }
        }
    }

    /// Whether this is still the directory of the id: it may have been removed, and created again by
    /// another process.
    pub fn is_named(&self) -> Result<bool> {
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        let named = match rustix::fs::statat(&self.root.fd, self.id.as_str(), flags) {
            Err(rustix::io::Errno::NOENT) => return Ok(false),
            other => other.and_then(|named| Ok(same(&named, &rustix::fs::fstat(&self.fd)?))),
        };
        named.with_context(|| format!("look at {:?}", self.path()))
    }

    /// Removes the directory and the files of this runtime in it, never anything else: a directory
    /// with other content stays, and is an error.
    pub fn remove(&self) -> Result<()> {
        self.empty_and_remove().with_context(|| format!("remove {:?}", self.path()))
    }

    fn empty_and_remove(&self) -> Result<()> {
        // Remove the state after the intent, so that a reader never takes a dying container for a new
        // one, and before the configuration, which a state is never without.
        for name in [INTENT_FILE, STATE_FILE, CONFIG_FILE] {
            file::unlink(self.fd.as_fd(), name)?;
        }
        let rmdir = || match unlinkat(&self.root.fd, self.id.as_str(), AtFlags::REMOVEDIR) {
            Err(rustix::io::Errno::NOENT) => Ok(()),
            other => other,
        };
        match rmdir() {
            // The container was never started, or a write was interrupted.
            Err(rustix::io::Errno::NOTEMPTY) => {}
            other => return Ok(other?),
        }
        let (state, intent) = (file::temporary(STATE_FILE), file::temporary(INTENT_FILE));
        for name in [START_FIFO, RESULT_FIFO, &state, &intent] {
            file::unlink(self.fd.as_fd(), name)?;
        }
        crate::sd_notify::remove_dir(self.fd.as_fd())?;
        Ok(rmdir()?)
    }
}

pub(super) fn is_marked(stat: &Stat) -> bool {
    stat.st_mode & MARK_MASK == MARK
}

pub(super) fn same(a: &Stat, b: &Stat) -> bool {
    (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino)
}
