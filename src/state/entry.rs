//! The stored records of a container.

use std::cell::OnceCell;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use oci_spec::runtime::{LinuxResources, Spec};
use rustix::fs::{FlockOperation, Mode, OFlags};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::dir::{Dir, Root, not_found};
use super::document::{Document, OCI_VERSION, Status, document};
use super::id::Id;
use super::process::boot_id;
use super::record::{
    CONFIG_FILE, INTENT_FILE, Intent, OLDEST, RESULT_FIFO, START_FIFO, STATE_FILE, State, VERSION,
};
use super::{file, owner};
use crate::error::retry_once;
use crate::hooks::Hooks;
use crate::sys::pidfd;
use crate::text::rfc3339;
use crate::{Context, Error, Kind, Result, config};

/// A container of a [`super::Store`].
#[derive(Debug)]
pub struct Entry {
    dir: Dir,
    contents: Contents,
    /// The text of the configuration, once it is read.
    config: OnceCell<String>,
    locked: bool,
}

#[derive(Debug)]
enum Contents {
    /// create has succeeded.
    Complete(Box<State>),
    /// create is in progress.
    Creating(Box<Intent>),
    /// create was killed, or has not written anything yet.
    Unfinished(Option<Box<Intent>>),
    /// state.json was not written by this runtime.
    Broken(Error, Option<Box<Intent>>),
}

impl Entry {
    pub(super) fn load(root: &Arc<Root>, id: &Id) -> Result<Entry> {
        let dir = Dir::of_container(root, id)?;
        let contents = read(&dir, false)?;
        Ok(Entry { dir, contents, config: OnceCell::new(), locked: false })
    }

    /// Locks the container and then loads it, so that every file is read once.
    pub(super) fn load_locked(root: &Arc<Root>, id: &Id) -> Result<Entry> {
        let dir = Dir::of_container(root, id)?;
        let contents = lock_and_read(&dir)?;
        Ok(Entry { dir, contents, config: OnceCell::new(), locked: true })
    }

    /// Returns an error for a container that only `delete` can use.
    pub(super) fn readable(self) -> Result<Entry> {
        match self.contents {
            Contents::Unfinished(None) => Err(not_found(&self.dir.id)),
            Contents::Broken(error, _) => Err(error),
            _ => Ok(self),
        }
    }

    /// Returns the id.
    pub fn id(&self) -> &Id {
        &self.dir.id
    }

    /// Returns the directory.
    pub fn dir(&self) -> BorrowedFd<'_> {
        self.dir.fd.as_fd()
    }

    /// Returns the state, if create has succeeded.
    pub fn state(&self) -> Option<&State> {
        match &self.contents {
            Contents::Complete(state) => Some(state),
            _ => None,
        }
    }

    /// Returns the intent of create, if create has not succeeded or the state is broken.
    pub fn intent(&self) -> Option<&Intent> {
        match &self.contents {
            Contents::Creating(intent) => Some(intent),
            Contents::Unfinished(intent) | Contents::Broken(_, intent) => intent.as_deref(),
            Contents::Complete(_) => None,
        }
    }

    /// Returns the error of a state.json that cannot be read.
    pub fn broken(&self) -> Option<&Error> {
        match &self.contents {
            Contents::Broken(error, _) => Some(error),
            _ => None,
        }
    }

    /// Derives the status from the live process at each call.
    pub fn status(&self) -> Result<Status> {
        let state = match &self.contents {
            Contents::Complete(state) => state,
            Contents::Creating(_) => return Ok(Status::Creating),
            Contents::Unfinished(_) => return Ok(Status::Stopped),
            Contents::Broken(error, _) => return Err(error.clone()),
        };
        if self.pidfd()?.is_none() {
            return Ok(Status::Stopped);
        }
        if state.cgroup.frozen()? {
            return Ok(Status::Paused);
        }
        // Check whether init waits on the FIFO, not whether the file exists: a start that was
        // killed may have left it.
        use rustix::io::Errno;
        let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match rustix::fs::openat(self.dir(), START_FIFO, flags, Mode::empty()) {
            Ok(_) => Ok(Status::Created),
            // Init waits on none of these: no file, no reader, a link or a directory.
            Err(Errno::NOENT | Errno::NXIO | Errno::LOOP | Errno::ISDIR) => Ok(Status::Running),
            Err(e) => {
                Err(e).with_context(|| format!("open {START_FIFO} of {:?}", self.id().as_str()))
            }
        }
    }

    /// Returns whether the files were written since the host booted. If not, their process ids and
    /// cgroups can belong to other processes.
    pub fn this_boot(&self) -> Result<bool> {
        let written = match (&self.contents, self.intent()) {
            (Contents::Complete(state), _) => &state.boot_id,
            (_, Some(intent)) => &intent.boot_id,
            (_, None) => return Ok(true),
        };
        Ok(written == boot_id()?)
    }

    /// Returns a pidfd of init, or `None` if init is dead. It never refers to another process.
    pub fn pidfd(&self) -> Result<Option<OwnedFd>> {
        let Some(state) = self.state() else { return Ok(None) };
        if !self.this_boot()? {
            return Ok(None);
        }
        let Some(fd) =
            pidfd::open(state.pid).with_context(|| format!("pidfd_open {}", state.pid))?
        else {
            return Ok(None);
        };
        Ok(state.birth().is_alive(state.pid, fd.as_fd())?.then_some(fd))
    }

    /// Waits for the lock, which is required to change the container, and reads the files again.
    /// [`Kind::NotFound`] if the container was removed meanwhile.
    pub fn lock(&mut self) -> Result<()> {
        if !self.locked {
            self.contents = lock_and_read(&self.dir)?;
            self.locked = true;
        }
        Ok(())
    }

    /// Removes the FIFOs of a container that has been started.
    pub fn forget_fifos(&self) -> Result<()> {
        file::unlink(self.dir(), START_FIFO)?;
        file::unlink(self.dir(), RESULT_FIFO)
    }

    /// Removes the container's directory. Its process and cgroup must be gone, and the lock held. Tries
    /// twice: without the state, a later command would not know the poststop hooks.
    pub fn remove(self) -> Result<()> {
        retry_once(|| self.dir.remove())
    }

    /// Returns the configuration as of create, with the limits of later updates.
    pub fn config(&self) -> Result<Spec> {
        config::parse_stored(self.config_text()?)
            .context("config")
            .with_context(|| self.config_file())
    }

    /// Replaces the resources that `update` has set. The lock must be held. A reader sees the old
    /// state or the new state; after an error the old state stays.
    pub fn replace_resources(&mut self, resources: LinuxResources) -> Result<()> {
        let name = || self.state_file();
        let Some(old) = self.state().filter(|_| self.locked) else {
            return Err(Error::new(Kind::State, "not created, or not locked")).with_context(name);
        };
        let failed = |e: serde_json::Error| Error::new(Kind::System, e.to_string());
        let state = State { resources: Some(resources), ..old.clone() };
        let bytes = serde_json::to_vec(&state).map_err(failed).with_context(name)?;
        // Left by an update that was killed.
        file::unlink(self.dir(), &file::temporary(STATE_FILE)).with_context(name)?;
        file::write(self.dir(), STATE_FILE, &bytes).with_context(name)?;
        self.contents = Contents::Complete(Box::new(state));
        Ok(())
    }

    /// Returns the hooks of the configuration.
    pub fn hooks(&self) -> Result<Hooks> {
        /// Skips the other members, which is faster than [`Spec`].
        #[derive(Deserialize)]
        struct OnlyHooks {
            hooks: Option<oci_spec::runtime::Hooks>,
        }
        if self.state().is_some_and(|state| !state.has_hooks) {
            return Ok(Hooks::default());
        }
        let text = self.config_text()?;
        // A search takes a fraction of the time of a parse, which can see a profile of some hundred
        // system calls here. An escape could spell the key in another way.
        let parsed = if text.contains("\"hooks\"") || text.contains("\\u") {
            serde_json::from_str(text)
        } else {
            Ok(OnlyHooks { hooks: None })
        };
        let OnlyHooks { hooks } = parsed
            .map_err(|e| Error::new(Kind::Invalid, format!("config: {e}")))
            .with_context(|| self.config_file())?;
        let annotations = self.state().map(|state| &state.annotations);
        config::hooks::parse(hooks.as_ref(), |name| annotations?.get(name).map(String::as_str))
    }

    /// Returns the text of the configuration as of create.
    pub fn config_text(&self) -> Result<&str> {
        let Some(state) = self.state() else {
            return Err(Error::new(Kind::State, "container was not created"));
        };
        match (&state.config, self.config.get()) {
            (Some(config), _) => Ok(config.get()),
            (None, Some(config)) => Ok(config),
            (None, None) => {
                let config = self.read_config().with_context(|| self.config_file())?;
                Ok(self.config.get_or_init(|| config))
            }
        }
    }

    fn read_config(&self) -> Result<String> {
        let bytes = file::read(self.dir(), CONFIG_FILE)?;
        let Some(bytes) = bytes else {
            // `delete` removes the state first; without the lock, it can be at work.
            return Err(match file::read(self.dir(), STATE_FILE)? {
                Some(_) => Error::new(Kind::Invalid, "does not exist"),
                None => not_found(&self.dir.id),
            });
        };
        String::from_utf8(bytes).map_err(|e| Error::new(Kind::Invalid, e.to_string()))
    }

    /// Returns the OCI state.
    pub fn document(&self) -> Result<Document<'_>> {
        let status = self.status()?;
        if let Some(state) = self.state() {
            return Ok(document(state, status, state.pid));
        }
        let Some(intent) = self.intent() else { return Err(not_found(&self.dir.id)) };
        Ok(Document {
            oci_version: OCI_VERSION,
            id: self.id(),
            pid: 0,
            status,
            bundle: &intent.bundle,
            rootfs: None,
            created: rfc3339(intent.created),
            annotations: None,
            // The directories of other users are not containers.
            owner: owner::name(nix::unistd::geteuid().as_raw()),
        })
    }

    /// Returns the name of the file that has the configuration.
    fn config_file(&self) -> String {
        match self.state() {
            Some(State { config: Some(_), .. }) => self.state_file(),
            _ => format!("{:?}", self.dir.path().join(CONFIG_FILE)),
        }
    }

    fn state_file(&self) -> String {
        format!("{:?}", self.dir.path().join(STATE_FILE))
    }
}

fn lock_and_read(dir: &Dir) -> Result<Contents> {
    dir.lock()?;
    if !dir.is_named()? {
        return Err(not_found(&dir.id));
    }
    read(dir, true)
}

/// Reads the files of a container; `locked` means that no other process can change them.
fn read(dir: &Dir, locked: bool) -> Result<Contents> {
    if let Some(contents) = read_state(dir)? {
        return Ok(contents);
    }
    let intent = match read_intent(dir)? {
        Some(intent) if !locked => intent,
        // Without an intent, create has made nothing yet. Do not try the lock: create is about to
        // take it, and many readers that each hold it for a moment would starve create.
        intent => return Ok(Contents::Unfinished(intent)),
    };
    // The process that creates the container holds the lock.
    match rustix::fs::flock(&dir.fd, FlockOperation::NonBlockingLockShared) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => return Ok(Contents::Creating(intent)),
        Err(e) => return Err(e).context("lock the container"),
    }
    // Between the reads and the lock, create may have ended and the container been deleted.
    let again = read(dir, true);
    rustix::fs::flock(&dir.fd, FlockOperation::Unlock).context("unlock the container")?;
    again
}

fn read_state(dir: &Dir) -> Result<Option<Contents>> {
    let parsed = match file::read(dir.fd.as_fd(), STATE_FILE) {
        Ok(None) => return Ok(None),
        Ok(Some(bytes)) => {
            parse(&bytes, |s: &State| s.version).and_then(|state| check(state, &dir.id))
        }
        Err(e) => Err(e),
    };
    match parsed.with_context(|| format!("{:?}", dir.path().join(STATE_FILE))) {
        Ok(state) => Ok(Some(Contents::Complete(state))),
        Err(e) if e.kind() == Kind::Invalid => Ok(Some(Contents::Broken(e, read_intent(dir)?))),
        Err(e) => Err(e),
    }
}

/// Checks the numbers of a state.
pub(super) fn check(state: State, id: &Id) -> Result<Box<State>> {
    if state.id != *id {
        let why = "is not the name of its directory";
        return Err(Error::invalid("id", state.id.as_str(), why));
    }
    // 0 and -1 mean many processes to kill(2), and 1 is never a process of a container.
    if state.pid <= 1 {
        return Err(Error::invalid("pid", state.pid, "is no container's process"));
    }
    Ok(Box::new(state))
}

/// Reads the intent. A broken intent counts as none: the file is written atomically, so this
/// runtime did not write it.
fn read_intent(dir: &Dir) -> Result<Option<Box<Intent>>> {
    let parsed = match file::read(dir.fd.as_fd(), INTENT_FILE) {
        Ok(None) => return Ok(None),
        Ok(Some(bytes)) => parse(&bytes, |i: &Intent| i.version),
        Err(e) => Err(e),
    };
    match parsed.with_context(|| format!("{:?}", dir.path().join(INTENT_FILE))) {
        Ok(intent) => Ok(Some(Box::new(intent)).filter(|intent| intent.id == dir.id)),
        Err(e) if e.kind() == Kind::Invalid => {
            crate::log::warn(&e);
            Ok(None)
        }
        Err(e) => Err(e),
    }
}

/// Parses a record. [`Kind::Invalid`] if it is not valid, [`Kind::State`] if its version is newer.
pub(super) fn parse<T: DeserializeOwned>(bytes: &[u8], version: impl Fn(&T) -> u32) -> Result<T> {
    #[derive(Deserialize)]
    struct Versioned {
        version: u32,
    }
    let parsed = serde_json::from_slice::<T>(bytes);
    let found = match &parsed {
        Ok(value) => version(value),
        // A newer record may lack fields; the version is then the better reason.
        Err(_) => serde_json::from_slice(bytes).map_or(VERSION, |v: Versioned| v.version),
    };
    if found > VERSION {
        let why =
            format!("written by a newer bulkhead (version {found}; this one reads {VERSION})");
        return Err(Error::new(Kind::State, why));
    }
    if found < OLDEST {
        return Err(Error::invalid("version", found, "there is no such version"));
    }
    parsed.map_err(|e| Error::new(Kind::Invalid, e.to_string()))
}
