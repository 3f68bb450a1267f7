//! The directory of all containers. Creates the directories of new containers.

use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use nix::errno::Errno;
use rustix::fs::{Mode, OFlags};

use super::dir::{Root, not_found, same};
use super::entry::Entry;
use super::id::Id;
use super::record::Intent;
use super::reserved::Reserved;
use crate::{Context, Error, Kind, Result};

/// How the path of the state directory was chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// Chosen by the user. The directory must exist to list its containers, and must not be `/`.
    Named,
    /// The default of this program or of its caller.
    Default,
    /// A default below $XDG_RUNTIME_DIR, where a periodic clean-up may remove files without the
    /// sticky bit (XDG Base Directory Specification).
    RuntimeDir,
}

/// The state directory (`--root`).
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    origin: Origin,
    root: OnceLock<Arc<Root>>,
}

impl Store {
    /// Opens the store in the directory `path`, which need not exist yet.
    ///
    /// # Errors
    /// [`Kind::Invalid`] if a directory that the caller has named is `/`; an error of open(2), for
    /// example ENOTDIR.
    pub fn open(path: &Path, origin: Origin) -> Result<Store> {
        let path = match origin {
            Origin::Named => absolute(path)?,
            Origin::Default | Origin::RuntimeDir => path.to_owned(),
        };
        let store = Store { path, origin, root: OnceLock::new() };
        store.try_open()?;
        Ok(store)
    }

    /// Returns the state directory's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Creates the state directory, mode 0700, with its parents. It may exist.
    pub(super) fn create_root(&self) -> Result<&Arc<Root>> {
        if let Some(root) = self.root.get() {
            return Ok(root);
        }
        let what = || format!("create the state directory {:?}", self.path);
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.path)
            .with_context(what)?;
        if self.origin == Origin::RuntimeDir {
            let mode = std::fs::Permissions::from_mode(0o1700);
            std::fs::set_permissions(&self.path, mode).with_context(what)?;
        }
        self.try_open()?.ok_or_else(|| Error::sys(Errno::ENOENT).context(what()))
    }

    /// Returns the open state directory, or `None` if it does not exist.
    fn try_open(&self) -> Result<Option<&Arc<Root>>> {
        if let Some(root) = self.root.get() {
            return Ok(Some(root));
        }
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = match rustix::fs::open(&self.path, flags, Mode::empty()) {
            Ok(fd) => fd,
            Err(rustix::io::Errno::NOENT) => return Ok(None),
            Err(e) => {
                return Err(e).with_context(|| format!("open the state directory {:?}", self.path));
            }
        };
        if self.origin == Origin::Named {
            let is_root = || Ok(same(&rustix::fs::fstat(&fd)?, &rustix::fs::stat("/")?));
            let is_root: Result<bool> = is_root();
            if is_root.with_context(|| format!("look at the state directory {:?}", self.path))? {
                return Err(Error::invalid("--root", &self.path, "must not be /"));
            }
        }
        let uid = nix::unistd::geteuid().as_raw();
        Ok(Some(self.root.get_or_init(|| Arc::new(Root { fd, path: self.path.clone(), uid }))))
    }

    /// Creates the directory of a new container, locks it and writes `intent`. Creates the state
    /// directory too. If the container exists, the error contains `container with given ID already
    /// exists`. `config` is the configuration, which is written with the state.
    pub fn reserve(&self, id: &Id, intent: &Intent, config: Vec<u8>) -> Result<Reserved> {
        Reserved::new(self.create_root()?, id, intent, config)
    }

    /// Loads the container `id`. [`Kind::NotFound`] if it does not exist; another file of that name
    /// does not count.
    pub fn load(&self, id: &Id) -> Result<Entry> {
        self.load_any(id)?.readable()
    }

    /// Loads the container `id` for removal: also a container whose creation died before it wrote
    /// anything, or whose state cannot be read.
    pub fn load_any(&self, id: &Id) -> Result<Entry> {
        Entry::load(self.root_of(id)?, id)
    }

    /// Loads the container `id` like [`Store::load_any`], and locks it.
    pub fn load_locked(&self, id: &Id) -> Result<Entry> {
        Entry::load_locked(self.root_of(id)?, id)
    }

    fn root_of(&self, id: &Id) -> Result<&Arc<Root>> {
        self.try_open()?.ok_or_else(|| not_found(id))
    }

    /// Returns the ids of all containers, sorted, also of those that cannot be read. A directory that
    /// does not exist has none.
    pub fn ids(&self) -> Result<Vec<Id>> {
        let Some(root) = self.try_open()? else { return Ok(Vec::new()) };
        let what = || format!("read the state directory {:?}", self.path);
        let mut ids = Vec::new();
        for entry in rustix::fs::Dir::read_from(&root.fd).with_context(what)? {
            let entry = entry.with_context(what)?;
            if let Some(id) = entry.file_name().to_str().ok().and_then(|name| Id::new(name).ok()) {
                ids.push(id);
            }
        }
        ids.sort_unstable();
        Ok(ids)
    }

    /// Returns all containers, sorted by id. Leaves out containers that vanish meanwhile, and, with
    /// a warning, those that cannot be read. A default directory that does not exist has no
    /// containers.
    ///
    /// Each container is loaded when the iterator reaches it: there can be more containers than the
    /// process may open files.
    pub fn list(&self) -> Result<impl Iterator<Item = Entry> + use<'_>> {
        let root = self.try_open()?;
        if root.is_none() && self.origin == Origin::Named {
            return Err(Error::sys(Errno::ENOENT)
                .context(format!("open the state directory {:?}", self.path)));
        }
        let ids = self.ids()?.into_iter();
        Ok(ids.filter_map(move |id| load(root?, &id)))
    }
}

/// Returns the container `id`; `None` if it vanishes meanwhile, or, with a warning, if it cannot be
/// read.
fn load(root: &Arc<Root>, id: &Id) -> Option<Entry> {
    match Entry::load(root, id).and_then(Entry::readable) {
        Ok(container) => Some(container),
        Err(e) if e.kind() == Kind::NotFound => None,
        Err(e) => {
            crate::log::warn(format_args!("container {:?} is left out: {e}", id.as_str()));
            None
        }
    }
}

fn absolute(root: &Path) -> Result<PathBuf> {
    if root.as_os_str().is_empty() {
        return Err(Error::invalid("--root", root, "must not be empty"));
    }
    std::path::absolute(root).with_context(|| format!("--root {root:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roots_that_are_none() {
        for root in ["/", "//", "/.", "/..", "/tmp/..", ""] {
            let error = Store::open(Path::new(root), Origin::Named).unwrap_err().to_string();
            assert!(error.starts_with("--root: "), "{root}: {error}");
        }
        let error = Store::open(Path::new("/etc/passwd"), Origin::Named).unwrap_err().to_string();
        assert!(error.contains("not a directory"), "{error}");
    }
}
