//! Proof that a cgroup is still the container's own, before anything in it is killed or removed.
//!
//! A path proves nothing: a cgroup that is empty can be removed and made again, or be used as it is
//! by another container that has the same `cgroupsPath`. So create records which directory it got,
//! by inode number, which the kernel does not reuse. A container that finds the directory there
//! marks it with an extended attribute, and whoever had it before finds a mark that is not its own.

use std::os::fd::BorrowedFd;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use nix::errno::Errno as Sys;
use rustix::fs::{FlockOperation, XattrFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::{Context, Error, Kind, Result, log};

use super::plan::Options;
use super::record::Record;

/// Only the machine's root may set it, so that no container forges it.
const TRUSTED: &str = "trusted.bulkhead.container";
/// In its place for a runtime without privileges; cgroup v2 has these since Linux 5.7.
const USER: &str = "user.bulkhead.container";

/// Which directory a container got. That of cgroup v2 stands for all of them, or else the first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    inode: u64,
    /// The mark on a directory that was there before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mark: Option<String>,
    /// The runtime has no privileges.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    rootless: bool,
}

/// Whose a recorded cgroup is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// The container's: the directory is the recorded one, and nobody has taken it over.
    Ours,
    /// Nobody's: there is no such directory any more.
    Gone,
    /// Another directory is there, or another container has taken this one over.
    Taken,
    /// The record does not tell: it was written before the cgroup was made.
    Unknown,
}

impl Identity {
    /// That of an open directory.
    pub(super) fn of(dir: BorrowedFd<'_>, rootless: bool) -> Result<Identity> {
        let stat = rustix::fs::fstat(dir).context("look at the cgroup")?;
        Ok(Identity { inode: stat.st_ino, mark: None, rootless })
    }

    /// That of what is at a path now.
    pub(super) fn of_path(path: &Path, options: &Options) -> Result<Identity> {
        let stat = rustix::fs::lstat(path);
        let stat = stat.with_context(|| format!("look at cgroup {}", path.display()))?;
        Ok(Identity { inode: stat.st_ino, mark: None, rootless: options.rootless })
    }

    /// Tells the earlier users of a directory that it is another container's now. Where the file
    /// system has no extended attributes (cgroup v1 as a rule) the inode number must do.
    pub(super) fn mark(&mut self, dir: BorrowedFd<'_>) -> Result<()> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mark = format!("{}-{}", std::process::id(), now.as_nanos());
        let names: &[&str] = if self.rootless { &[TRUSTED, USER] } else { &[TRUSTED] };
        for name in names {
            match rustix::fs::fsetxattr(dir, *name, mark.as_bytes(), XattrFlags::empty()) {
                Ok(()) => self.mark = Some(mark.clone()),
                Err(Errno::PERM | Errno::ACCESS | Errno::OPNOTSUPP) => {}
                Err(errno) => return Err(errno).context("mark the cgroup as this container's"),
            }
        }
        Ok(())
    }

    /// Takes the mark away, for the next user of a directory that stays.
    fn unmark(&self, path: &Path) {
        for name in [TRUSTED, USER] {
            match rustix::fs::lremovexattr(path, name) {
                Ok(()) | Err(Errno::NODATA | Errno::NOENT | Errno::OPNOTSUPP) => {}
                // Only what that mark names could be misled, and that is gone.
                Err(Errno::PERM | Errno::ACCESS) => {}
                Err(errno) => log::warn(
                    Error::from(errno).context(format!("remove the mark of {}", path.display())),
                ),
            }
        }
    }

    fn standing(&self, path: &Path) -> Result<Standing> {
        let name = || format!("look at cgroup {}", path.display());
        let inode = match rustix::fs::lstat(path) {
            Ok(stat) => stat.st_ino,
            Err(Errno::NOENT) => return Ok(Standing::Gone),
            Err(errno) => return Err(errno).with_context(name),
        };
        if inode != self.inode {
            return Ok(Standing::Taken);
        }
        let names: &[&str] = if self.rootless { &[TRUSTED, USER] } else { &[TRUSTED] };
        for attribute in names {
            let mut mark = [0; 64];
            let own = self.mark.as_deref().map(str::as_bytes);
            match rustix::fs::lgetxattr(path, *attribute, &mut mark) {
                Ok(length) if mark.get(..length) == own => {}
                // A longer one is not ours either.
                Ok(_) | Err(Errno::RANGE) => return Ok(Standing::Taken),
                Err(Errno::NODATA | Errno::OPNOTSUPP) => {}
                Err(Errno::NOENT) => return Ok(Standing::Gone),
                Err(errno) => return Err(errno).with_context(name),
            }
        }
        Ok(Standing::Ours)
    }
}

fn has_mark(path: &Path) -> Result<bool> {
    for name in [TRUSTED, USER] {
        match rustix::fs::lgetxattr(path, name, &mut [0; 64]) {
            Ok(_) | Err(Errno::RANGE) => return Ok(true),
            Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::NOENT | Errno::NOTDIR) => {}
            Err(errno) => {
                return Err(errno).with_context(|| format!("look at cgroup {}", path.display()));
            }
        }
    }
    Ok(false)
}

/// Keeps other creates away from the directory until this one has a process in it, or has failed:
/// two that find it empty at the same moment would share it.
pub(super) fn reserve(dir: BorrowedFd<'_>, path: &Path) -> Result<()> {
    match rustix::fs::flock(dir, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(()),
        Err(Errno::WOULDBLOCK) => {
            let why = "another container is being created in it; use another cgroupsPath";
            Err(Error::new(Kind::State, why).context(format!("cgroup {}", path.display())))
        }
        Err(errno) => Err(errno).with_context(|| format!("lock cgroup {}", path.display())),
    }
}

impl Record {
    /// Whose the cgroup is now.
    pub(super) fn standing(&self) -> Result<Standing> {
        match (&self.identity, self.primary()) {
            (Some(identity), Some(dir)) => identity.standing(&dir.path),
            // Any mark is that of another container.
            (None, Some(dir)) => match has_mark(&dir.path)? {
                true => Ok(Standing::Taken),
                false => Ok(Standing::Unknown),
            },
            (_, None) => Ok(Standing::Gone),
        }
    }

    /// Whether it was made without privileges.
    pub(super) fn is_rootless(&self) -> bool {
        self.identity.as_ref().is_some_and(|identity| identity.rootless)
    }

    /// Whether an open directory is the recorded one, as far as the record tells.
    pub(super) fn is_recorded(&self, dir: BorrowedFd<'_>) -> Result<bool, Sys> {
        match &self.identity {
            Some(identity) => {
                let stat = rustix::fs::fstat(dir).map_err(|e| Sys::from_raw(e.raw_os_error()))?;
                Ok(stat.st_ino == identity.inode)
            }
            None => Ok(true),
        }
    }

    /// Whether the processes in the cgroup are the container's, so that they may be signalled.
    /// [`Kind::State`] if the record does not tell and there are some.
    pub(super) fn may_signal(&self) -> Result<bool> {
        match self.standing()? {
            Standing::Ours | Standing::Gone => Ok(true),
            Standing::Taken => Ok(false),
            Standing::Unknown => match self.pids()?.as_slice() {
                [] => Ok(false),
                pids => Err(self.unproven(pids)),
            },
        }
    }

    /// What is said of processes that are left alone.
    pub(super) fn unproven(&self, pids: &[i32]) -> Error {
        const SHOWN: usize = 8;
        let mut list = pids.iter().take(SHOWN).map(i32::to_string).collect::<Vec<_>>().join(", ");
        if pids.len() > SHOWN {
            list.push_str(", ...");
        }
        let path = self.primary().map(|dir| dir.path.display().to_string()).unwrap_or_default();
        let why = format!(
            "has processes that are not known to be the container's ({list}); \
             end or move them, then delete again"
        );
        Error::new(Kind::State, why).context(format!("cgroup {path}"))
    }

    /// Whether what create made is to be removed: not if another container uses it now.
    pub(super) fn may_remove(&self) -> Result<bool> {
        if self.standing()? != Standing::Taken {
            return Ok(true);
        }
        if let Some(dir) = self.primary() {
            log::warn(format_args!(
                "cgroup {}: another container uses it now; it is left in place",
                dir.path.display()
            ));
        }
        Ok(false)
    }

    /// Takes the mark off a directory that was there before the container.
    pub(super) fn release(&self) {
        if let (Some(identity), Some(dir)) = (&self.identity, self.primary())
            && identity.mark.is_some()
            && !dir.made
        {
            identity.unmark(&dir.path);
        }
    }

    /// [`Kind::State`] if the container has no cgroup at all: one without root privileges may have
    /// none.
    pub fn must_exist(&self) -> Result<()> {
        if self.dirs().is_empty() { Err(Record::no_cgroup()) } else { Ok(()) }
    }

    pub(super) fn no_cgroup() -> Error {
        let why = "the container has no cgroup (it was created without root privileges, \
                   cgroupsPath and limits)";
        Error::new(Kind::State, why)
    }
}
