//! The directory of a container while `create` works on it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;

use rustix::fs::{AtFlags, FlockOperation, Mode};

use super::dir::{MARK, Root, is_marked, is_named, lock, open_dir, remove};
use super::file;
use super::id::Id;
use super::record::{INTENT_FILE, Intent, STATE_FILE, State};
use crate::{Context, Error, Kind, Result};

/// The directory of a container that is being created. Locked until it is given up or kept; if
/// the process dies, the kernel frees the lock, and others see that nobody works on it any more.
/// Dropping it leaves the directory as it is.
///
/// The lock belongs to the open directory, which a forked child shares: [`Reserved::keep`] frees
/// it for all, and nothing of this may be dropped in the child.
#[derive(Debug)]
pub struct Reserved {
    root: Arc<Root>,
    id: Id,
    dir: OwnedFd,
    path: PathBuf,
}

impl Reserved {
    /// Creates and locks the directory of container `id`, and writes `intent`.
    pub(super) fn new(root: &Arc<Root>, id: &Id, intent: &Intent) -> Result<Reserved> {
        let mut reserved = Reserved::make(root, id)?;
        match reserved.write(INTENT_FILE, intent) {
            Ok(()) => Ok(reserved),
            Err(e) => {
                // Report the first error; the directory holds nothing but known names.
                let _ = crate::error::retry_once(|| reserved.abandon());
                Err(e)
            }
        }
    }

    fn make(root: &Arc<Root>, id: &Id) -> Result<Reserved> {
        let path = root.path.join(id.as_str());
        let what = || format!("create {path:?}");
        // One turn, but for a deleter who takes our directory for a dead one's before we lock it.
        for _ in 0..16 {
            match rustix::fs::mkdirat(&root.fd, id.as_str(), Mode::from_raw_mode(MARK)) {
                Ok(()) => {}
                Err(rustix::io::Errno::EXIST) => {
                    return Err(Error::new(
                        Kind::State,
                        "container with given ID already exists; delete it first, or use another ID",
                    ));
                }
                Err(e) => return Err(e).with_context(what),
            }
            match take(root, id) {
                Ok(Some(dir)) => {
                    return Ok(Reserved { root: root.clone(), id: id.clone(), dir, path });
                }
                Ok(None) => {}
                Err(error) => {
                    // Empty, whoever may have it by now.
                    let _ = rustix::fs::unlinkat(&root.fd, id.as_str(), AtFlags::REMOVEDIR);
                    return Err(error.context(what()));
                }
            }
        }
        Err(Error::new(Kind::State, "removed by others again and again").context(what()))
    }

    /// The container's directory.
    pub fn dir(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }

    /// The container's directory, as an absolute path.
    #[cfg(test)]
    pub fn path(&self) -> &std::path::Path {
        &self.path
    }

    /// Writes the state: from here on the container is there for other commands.
    pub fn commit(&mut self, state: &State) -> Result<()> {
        self.write(STATE_FILE, state)
    }

    fn write<T: serde::Serialize>(&mut self, name: &str, value: &T) -> Result<()> {
        let what = || format!("container directory {:?}", self.path);
        let bytes = serde_json::to_vec(value)
            .map_err(|e| Error::new(Kind::System, format!("write {name}: {e}")))
            .with_context(what)?;
        file::write(self.dir(), name, &bytes).with_context(what)
    }

    /// Removes the directory: create has failed, and has undone the rest already. Can be repeated.
    pub fn abandon(&self) -> Result<()> {
        remove(&self.root, &self.id, &self.dir)?;
        self.unlock();
        Ok(())
    }

    /// Leaves the directory and frees the lock: create has succeeded.
    pub fn keep(self) {
        self.unlock();
    }

    /// An explicit unlock, since init still has a copy of the descriptor.
    fn unlock(&self) {
        // What cannot be unlocked is unlocked by our end.
        let _ = rustix::fs::flock(&self.dir, FlockOperation::Unlock);
    }
}

/// Opens and locks the directory that was made for `id`; `None` if somebody has removed it.
fn take(root: &Root, id: &Id) -> Result<Option<OwnedFd>> {
    let Some(dir) = open_dir(root, id)? else { return Ok(None) };
    lock(&dir)?;
    if !is_named(root, id, &dir)? {
        return Ok(None);
    }
    if !is_marked(&rustix::fs::fstat(&dir).context("fstat")?) {
        // A umask that takes the owner's own bits.
        rustix::fs::fchmod(&dir, Mode::from_raw_mode(MARK)).context("chmod")?;
    }
    Ok(Some(dir))
}
