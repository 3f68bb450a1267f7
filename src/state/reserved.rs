//! The directory of a container while `create` works on it.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use rustix::fs::{AtFlags, FlockOperation, Mode};

use super::dir::{Dir, MARK, Root, is_marked};
use super::file;
use super::id::Id;
use super::record::{CONFIG_FILE, INTENT_FILE, Intent, STATE_FILE, State};
use crate::{Context, Error, Kind, Result};

/// The directory of a container that is being created. Locked until it is abandoned or kept. If the
/// process dies, the kernel releases the lock, which shows other commands that the creation has
/// failed. Dropping the value leaves the directory unchanged.
///
/// The lock belongs to the open directory, which a forked child shares: [`Reserved::keep`] releases
/// it for both, and the child must not drop this value.
#[derive(Debug)]
pub struct Reserved {
    dir: Dir,
    /// The configuration, until it is written. A failed [`Reserved::prepare`] leaves it to
    /// [`Reserved::commit`].
    config: Option<Vec<u8>>,
    /// The state in the temporary file of [`Reserved::prepare`].
    prepared: Option<State>,
}

impl Reserved {
    /// Creates and locks the directory of container `id`, and writes `intent`.
    pub(super) fn new(
        root: &Arc<Root>,
        id: &Id,
        intent: &Intent,
        config: Vec<u8>,
    ) -> Result<Reserved> {
        let reserved = Reserved { config: Some(config), ..Reserved::make(root, id)? };
        match reserved.write_intent(intent) {
            Ok(()) => Ok(reserved),
            Err(e) => {
                // Report the first error; the directory contains nothing but known names.
                let _ = crate::error::retry_once(|| reserved.abandon());
                Err(e)
            }
        }
    }

    fn make(root: &Arc<Root>, id: &Id) -> Result<Reserved> {
        let path = root.path.join(id.as_str());
        let what = || format!("create {path:?}");
        // Usually one turn. More if a delete takes the directory for an abandoned one before it is
        // locked.
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
                Ok(Some(dir)) => return Ok(Reserved { dir, config: None, prepared: None }),
                Ok(None) => {}
                Err(error) => {
                    // It is empty, even if it now belongs to another process.
                    let _ = rustix::fs::unlinkat(&root.fd, id.as_str(), AtFlags::REMOVEDIR);
                    return Err(error.context(what()));
                }
            }
        }
        Err(Error::new(Kind::State, "removed by others again and again").context(what()))
    }

    /// Returns the container's directory.
    pub fn dir(&self) -> BorrowedFd<'_> {
        self.dir.fd.as_fd()
    }

    /// Returns the container's directory, as an absolute path.
    pub fn path(&self) -> std::path::PathBuf {
        self.dir.path()
    }

    /// Writes the state that [`Reserved::commit`] will most likely get, while init is at work. Other
    /// commands do not see it.
    pub fn prepare(&mut self, state: State) -> Result<()> {
        self.write_config().with_context(|| self.what())?;
        let bytes = encode(STATE_FILE, &state).with_context(|| self.what())?;
        file::write_temporary(self.dir(), STATE_FILE, &bytes).with_context(|| self.what())?;
        self.prepared = Some(state);
        Ok(())
    }

    /// Writes the state: from here on the container exists for other commands.
    pub fn commit(&mut self, state: &State) -> Result<()> {
        let prepared = self.prepared.take();
        self.write_config().with_context(|| self.what())?;
        let write = || -> Result<()> {
            match prepared {
                Some(prepared) if is_final(&prepared, state) => {
                    return file::publish(self.dir(), STATE_FILE);
                }
                Some(_) => file::unlink(self.dir(), &file::temporary(STATE_FILE))?,
                None => {}
            }
            file::write(self.dir(), STATE_FILE, &encode(STATE_FILE, state)?)
        };
        write().with_context(|| self.what())
    }

    /// Writes the configuration, before any state: a reader of a state finds it.
    fn write_config(&mut self) -> Result<()> {
        if let Some(config) = &self.config {
            file::create(self.dir(), CONFIG_FILE, config)?;
            self.config = None;
        }
        Ok(())
    }

    fn write_intent(&self, intent: &Intent) -> Result<()> {
        let written = encode(INTENT_FILE, intent)
            .and_then(|bytes| file::write(self.dir(), INTENT_FILE, &bytes));
        written.with_context(|| self.what())
    }

    fn what(&self) -> String {
        format!("container directory {:?}", self.dir.path())
    }

    /// Removes the directory after create has failed and has undone everything else. Can be
    /// repeated.
    pub fn abandon(&self) -> Result<()> {
        self.dir.remove()?;
        self.unlock();
        Ok(())
    }

    /// Keeps the directory and releases the lock: create has succeeded.
    pub fn keep(self) {
        self.unlock();
    }

    /// Unlocks explicitly, since init still has a copy of the descriptor.
    fn unlock(&self) {
        // The exit of this process releases the lock otherwise.
        let _ = rustix::fs::flock(&self.dir.fd, FlockOperation::Unlock);
    }
}

/// Whether a prepared state is equal to the state to commit. Compares what is found out while init
/// works: to encode the state again takes as long as to write it.
fn is_final(prepared: &State, state: &State) -> bool {
    let of_init = |state: &State| (state.pid, state.birth(), state.user_namespace);
    let is_final = of_init(prepared) == of_init(state) && prepared.cgroup == state.cgroup;
    debug_assert!(
        !is_final || encode("", prepared).ok() == encode("", state).ok(),
        "another member has changed"
    );
    is_final
}

fn encode(name: &str, value: &impl serde::Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(value).map_err(|e| Error::new(Kind::System, format!("write {name}: {e}")))
}

/// Opens and locks the new directory of `id`; `None` if another process has removed it.
fn take(root: &Arc<Root>, id: &Id) -> Result<Option<Dir>> {
    let Some(dir) = Dir::open(root, id)? else { return Ok(None) };
    dir.lock()?;
    if !dir.is_named()? {
        return Ok(None);
    }
    if !is_marked(&rustix::fs::fstat(&dir.fd).context("fstat")?) {
        // In case the umask removed bits of the owner.
        rustix::fs::fchmod(&dir.fd, Mode::from_raw_mode(MARK)).context("chmod")?;
    }
    Ok(Some(dir))
}
