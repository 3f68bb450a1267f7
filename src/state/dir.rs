//! The directory of a container below the state directory.

use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use nix::errno::Errno;
use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags, Stat};

use super::file;
use super::id::Id;
use super::record::{INTENT_FILE, RESULT_FIFO, START_FIFO, STATE_FILE};
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
}

/// Returns the error for a container that does not exist. Engines search for its text.
pub(super) fn not_found(id: &Id) -> Error {
    Error::new(Kind::NotFound, format!("container does not exist: {:?}", id.as_str()))
}

/// Opens the directory of `id`, whatever created it; `None` if there is no such directory.
pub(super) fn open_dir(root: &Root, id: &Id) -> Result<Option<OwnedFd>> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match rustix::fs::openat(&root.fd, id.as_str(), flags, Mode::empty()) {
        Ok(fd) => Ok(Some(fd)),
        // No directory (a symbolic link does not count), so no container.
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR | rustix::io::Errno::LOOP) => {
            Ok(None)
        }
        Err(e) => Err(e.into()),
    }
}

/// Opens the directory of the container `id`. Only a directory that this runtime created for this
/// user counts: anything else could be any directory of the host (`--root / delete home`), or hold
/// a state with which another user could make root kill or execute arbitrary processes.
pub(super) fn open_container(root: &Root, id: &Id) -> Result<OwnedFd> {
    let what = || format!("open {:?}", root.path.join(id.as_str()));
    let dir = match open_dir(root, id) {
        // A directory of another user that this user may not even search is not a container.
        Err(e) if e.errno() == Some(Errno::EACCES) => None,
        other => other.with_context(what)?,
    };
    let Some(dir) = dir else { return Err(not_found(id)) };
    let stat = rustix::fs::fstat(&dir).with_context(what)?;
    if !is_marked(&stat) || stat.st_uid != nix::unistd::geteuid().as_raw() {
        let path = root.path.join(id.as_str());
        let why =
            format!("container does not exist: {path:?} was not made by bulkhead for this user");
        return Err(Error::new(Kind::NotFound, why));
    }
    Ok(dir)
}

pub(super) fn is_marked(stat: &Stat) -> bool {
    stat.st_mode & MARK_MASK == MARK
}

/// Waits for the lock of a container's directory.
pub(super) fn lock(dir: &OwnedFd) -> Result<()> {
    loop {
        match rustix::fs::flock(dir, FlockOperation::LockExclusive) {
            Err(rustix::io::Errno::INTR) => {}
            other => return other.context("lock the container"),
        }
    }
}

/// Whether `dir` is still the directory of `id`: it may have been removed, and created again by
/// another process.
pub(super) fn is_named(root: &Root, id: &Id, dir: &OwnedFd) -> Result<bool> {
    let named = match rustix::fs::statat(&root.fd, id.as_str(), AtFlags::SYMLINK_NOFOLLOW) {
        Err(rustix::io::Errno::NOENT) => return Ok(false),
        other => other.and_then(|named| Ok(same(&named, &rustix::fs::fstat(dir)?))),
    };
    named.with_context(|| format!("look at {:?}", root.path.join(id.as_str())))
}

/// Removes a container's directory and the files of this runtime in it, never anything else: a
/// directory with other content stays, and is an error.
pub(super) fn remove(root: &Root, id: &Id, dir: &OwnedFd) -> Result<()> {
    let what = || format!("remove {:?}", root.path.join(id.as_str()));
    // Remove the state last, so that a reader never takes a dying container for a new one.
    for name in [INTENT_FILE, STATE_FILE] {
        file::unlink(dir.as_fd(), name).with_context(what)?;
    }
    let rmdir = || match rustix::fs::unlinkat(&root.fd, id.as_str(), AtFlags::REMOVEDIR) {
        Err(rustix::io::Errno::NOENT) => Ok(()),
        other => other,
    };
    match rmdir() {
        // The container was never started, or a write was interrupted.
        Err(rustix::io::Errno::NOTEMPTY) => {}
        other => return other.with_context(what),
    }
    let (state, intent) = (file::temporary(STATE_FILE), file::temporary(INTENT_FILE));
    for name in [START_FIFO, RESULT_FIFO, &state, &intent] {
        file::unlink(dir.as_fd(), name).with_context(what)?;
    }
    crate::sd_notify::remove_dir(dir.as_fd()).with_context(what)?;
    rmdir().with_context(what)
}

pub(super) fn same(a: &Stat, b: &Stat) -> bool {
    (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino)
}
