//! The directory of all containers, and the making of a new one's.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use nix::errno::Errno;
use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags, Stat};

use super::{Container, INTENT_FILE, Id, Intent, RESULT_FIFO, START_FIFO, STATE_FILE, State, file};
use crate::{Context, Error, Kind, Result};

/// The mode of a container's directory. The sticky bit means nothing on a directory that only its
/// owner can enter, so other programs do not set it: it tells our directories from theirs.
const MARK: u32 = 0o1700;

/// What the mark is compared under: set-group-ID is inherited from the parent directory on some
/// file systems and says nothing.
const MARK_MASK: u32 = 0o5777;

/// The state directory (`--root`).
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    /// Given by the caller, so it must exist for `list`.
    explicit: bool,
    /// Below $XDG_RUNTIME_DIR, where what is not sticky may be pruned (XDG base directories).
    sticky: bool,
    root: OnceLock<Arc<Root>>,
}

/// The state directory, open.
#[derive(Debug)]
pub(super) struct Root {
    pub fd: OwnedFd,
    pub path: PathBuf,
}

impl Store {
    /// The store in `root`, or in the default directory: /run/bulkhead, or
    /// $XDG_RUNTIME_DIR/bulkhead without root privileges. The directory need not exist yet; it is
    /// an error if it is `/` or no directory.
    pub fn open(root: Option<&Path>) -> Result<Store> {
        let (path, explicit, sticky) = match root {
            Some(root) => (absolute(root)?, true, false),
            None => match xdg_runtime_dir()? {
                Some(dir) => (dir.join("bulkhead"), false, true),
                None => (PathBuf::from("/run/bulkhead"), false, false),
            },
        };
        let store = Store { path, explicit, sticky, root: OnceLock::new() };
        store.try_open()?;
        Ok(store)
    }

    /// The state directory's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes the state directory, mode 0700, with its parents. It may exist.
    pub fn create_root(&self) -> Result<()> {
        if self.root.get().is_some() {
            return Ok(());
        }
        let what = || format!("create the state directory {:?}", self.path);
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.path)
            .with_context(what)?;
        if self.sticky {
            let mode = std::fs::Permissions::from_mode(0o1700);
            std::fs::set_permissions(&self.path, mode).with_context(what)?;
        }
        match self.try_open()? {
            Some(_) => Ok(()),
            None => Err(Error::sys(Errno::ENOENT)).with_context(what),
        }
    }

    /// The open state directory, or `None` if it does not exist.
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
        let is_root = || Ok(same(&rustix::fs::fstat(&fd)?, &rustix::fs::stat("/")?));
        let checked: rustix::io::Result<bool> = if self.explicit { is_root() } else { Ok(false) };
        if checked.with_context(|| format!("look at the state directory {:?}", self.path))? {
            return Err(Error::invalid("--root", &self.path, "must not be /"));
        }
        Ok(Some(self.root.get_or_init(|| Arc::new(Root { fd, path: self.path.clone() }))))
    }

    /// Makes the directory of a new container, locks it and writes `intent`. Makes the state
    /// directory too. The error says `container with given ID already exists` if it does.
    pub fn reserve(&self, id: &Id, intent: &Intent) -> Result<Reserved> {
        self.create_root()?;
        let Some(root) = self.try_open()? else {
            return Err(Error::sys(Errno::ENOENT).context(format!("open {:?}", self.path)));
        };
        let mut reserved = Reserved::make(root, id)?;
        match reserved.write(INTENT_FILE, intent) {
            Ok(()) => Ok(reserved),
            Err(e) => {
                // The first error is the story; the directory is empty but for known names.
                let _ = crate::error::retry_once(|| reserved.abandon());
                Err(e)
            }
        }
    }

    /// The container of `id`. [`Kind::NotFound`] if there is none, which is also what anything
    /// else of that name in the directory is.
    pub fn load(&self, id: &Id) -> Result<Container> {
        self.load_any(id)?.readable()
    }

    /// The same for those who clean up: also a container whose creation died before it wrote
    /// anything, or whose state cannot be read.
    pub fn load_any(&self, id: &Id) -> Result<Container> {
        match self.try_open()? {
            Some(root) => Container::load(root, id),
            None => Err(not_found(id)),
        }
    }

    /// The container of `id` as [`Store::load_any`] finds it, locked.
    pub fn load_locked(&self, id: &Id) -> Result<Container> {
        match self.try_open()? {
            Some(root) => Container::load_locked(root, id),
            None => Err(not_found(id)),
        }
    }

    /// All containers, sorted by id. What vanishes meanwhile is left out, and what cannot be read
    /// as well, with a warning. A default directory that does not exist holds none.
    pub fn list(&self) -> Result<Vec<Container>> {
        let Some(root) = self.try_open()? else {
            if self.explicit {
                return Err(Error::sys(Errno::ENOENT)
                    .context(format!("open the state directory {:?}", self.path)));
            }
            return Ok(Vec::new());
        };
        let what = || format!("read the state directory {:?}", self.path);
        let mut ids = Vec::new();
        for entry in rustix::fs::Dir::read_from(&root.fd).with_context(what)? {
            let entry = entry.with_context(what)?;
            if let Some(id) = entry.file_name().to_str().ok().and_then(|name| Id::new(name).ok()) {
                ids.push(id);
            }
        }
        ids.sort_unstable();
        let mut containers = Vec::with_capacity(ids.len());
        for id in &ids {
            match Container::load(root, id).and_then(Container::readable) {
                Ok(container) => containers.push(container),
                Err(e) if e.kind() == Kind::NotFound => {}
                Err(e) => crate::log::warn(format_args!(
                    "container {id:?} is left out: {e}",
                    id = id.as_str()
                )),
            }
        }
        Ok(containers)
    }
}

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
    pub fn path(&self) -> &Path {
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

/// The error for a container that is not there, in words that engines search for.
pub(super) fn not_found(id: &Id) -> Error {
    Error::new(Kind::NotFound, format!("container does not exist: {:?}", id.as_str()))
}

/// The directory of `id`, whatever made it; `None` if there is no such directory.
fn open_dir(root: &Root, id: &Id) -> Result<Option<OwnedFd>> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match rustix::fs::openat(&root.fd, id.as_str(), flags, Mode::empty()) {
        Ok(fd) => Ok(Some(fd)),
        // No directory (a link is none either), so no container.
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR | rustix::io::Errno::LOOP) => {
            Ok(None)
        }
        Err(e) => Err(e.into()),
    }
}

/// The directory of container `id`. Only a directory that this runtime made for this user counts:
/// anything else could be any directory of the host (`--root / delete home`), or hold a state
/// that another user wrote to have root kill and execute what he likes.
pub(super) fn open_container(root: &Root, id: &Id) -> Result<OwnedFd> {
    let what = || format!("open {:?}", root.path.join(id.as_str()));
    let dir = match open_dir(root, id) {
        // Somebody else's directory that we may not even look into is no container of ours.
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

fn is_marked(stat: &Stat) -> bool {
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

/// Whether `dir` is still what `id` names: it may have been removed, and made anew by another.
pub(super) fn is_named(root: &Root, id: &Id, dir: &OwnedFd) -> Result<bool> {
    let named = match rustix::fs::statat(&root.fd, id.as_str(), AtFlags::SYMLINK_NOFOLLOW) {
        Err(rustix::io::Errno::NOENT) => return Ok(false),
        other => other.and_then(|named| Ok(same(&named, &rustix::fs::fstat(dir)?))),
    };
    named.with_context(|| format!("look at {:?}", root.path.join(id.as_str())))
}

/// Removes a container's directory and the files that this runtime puts there, never anything
/// else: a directory with other content stays, and is an error.
pub(super) fn remove(root: &Root, id: &Id, dir: &OwnedFd) -> Result<()> {
    let what = || format!("remove {:?}", root.path.join(id.as_str()));
    // The state last, so that a reader never takes a dying container for a beginning one.
    for name in [INTENT_FILE, STATE_FILE] {
        file::unlink(dir.as_fd(), name).with_context(what)?;
    }
    let rmdir = || match rustix::fs::unlinkat(&root.fd, id.as_str(), AtFlags::REMOVEDIR) {
        Err(rustix::io::Errno::NOENT) => Ok(()),
        other => other,
    };
    match rmdir() {
        // Never started, or a crash in the middle of a write.
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

fn same(a: &Stat, b: &Stat) -> bool {
    (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino)
}

fn absolute(root: &Path) -> Result<PathBuf> {
    if root.as_os_str().is_empty() {
        return Err(Error::invalid("--root", root, "must not be empty"));
    }
    std::path::absolute(root).with_context(|| format!("--root {root:?}"))
}

/// $XDG_RUNTIME_DIR, if it is to be used: without root privileges, and as root of a user
/// namespace (podman without root runs us there), but not for the real root.
fn xdg_runtime_dir() -> Result<Option<PathBuf>> {
    let dir =
        std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|dir| dir.is_absolute());
    if !nix::unistd::geteuid().is_root() {
        return match dir {
            Some(dir) => Ok(Some(dir)),
            None => Err(Error::new(
                Kind::Invalid,
                "no state directory: set XDG_RUNTIME_DIR to an absolute path, or give --root",
            )),
        };
    }
    let Some(dir) = dir else { return Ok(None) };
    // root who entered a user namespace of his own (sudo unshare) keeps the usual place.
    if std::env::var_os("USER").as_deref() == Some(OsStr::new("root")) {
        return Ok(None);
    }
    Ok(crate::host::in_user_namespace()?.then_some(dir))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roots_that_are_none() {
        for root in ["/", "//", "/.", "/..", "/tmp/..", ""] {
            let error = Store::open(Some(Path::new(root))).unwrap_err().to_string();
            assert!(error.starts_with("--root: "), "{root}: {error}");
        }
        let error = Store::open(Some(Path::new("/etc/passwd"))).unwrap_err().to_string();
        assert!(error.contains("not a directory"), "{error}");
    }
}
