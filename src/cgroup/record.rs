//! The record of a container's cgroup: what is stored, and whether it still applies.

use std::os::fd::BorrowedFd;
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use serde::{Deserialize, Serialize};

use crate::sys::to_nix;
use crate::systemd::Unit;
use crate::{Error, Kind, Result, log};

use super::identity::{Identity, Owner, has_other_mark};
use super::layout::{Dir, Layout, Mode};
use super::walk;

/// The cgroup of a container. The names of the fields are part of the state file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    pub(super) mode: Mode,
    #[serde(default)]
    pub(crate) dirs: Vec<Dir>,
    /// The identity of the primary directory; none before it exists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) identity: Option<Identity>,
    /// The unit that systemd has created for the cgroup.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) unit: Option<Unit>,
    /// Whether it is unknown if the unit was ever created.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) unit_is_planned: bool,
}

impl Record {
    pub(super) fn new(mode: Mode, dirs: Vec<Dir>) -> Record {
        Record { mode, dirs, identity: None, unit: None, unit_is_planned: false }
    }

    /// Returns the directory that identifies the cgroup.
    pub(super) fn primary(&self) -> Option<&Dir> {
        self.unified().or_else(|| self.dirs.first())
    }

    /// Returns the cgroups of this process, as found on the host.
    pub fn of_caller(layout: &Layout) -> Record {
        Record::new(layout.mode, layout.dirs.clone())
    }

    /// Returns the record without the directories that existed before: a create that died may not
    /// have noticed that others use them.
    pub fn made(&self) -> Record {
        let dirs = self.dirs.iter().filter(|dir| dir.made).cloned().collect();
        Record { dirs, ..self.clone() }
    }

    /// Returns the path of the v2 directory below the cgroup of the unit; empty if they are the
    /// same.
    pub(super) fn below_unit(&self) -> PathBuf {
        let Some((unit, dir)) = self.unit.as_ref().zip(self.unified()) else {
            return PathBuf::new();
        };
        let is_unit = |part: &Component<'_>| part.as_os_str() == unit.name.as_str();
        dir.path.components().skip_while(|part| !is_unit(part)).skip(1).collect()
    }

    /// Returns the v2 directory.
    pub fn unified(&self) -> Option<&Dir> {
        self.dirs.iter().find(|dir| dir.is_unified())
    }

    /// Replaces each directory that `which` selects by `below` in it.
    pub fn descend(&mut self, which: impl Fn(&Dir) -> bool, below: &Path) {
        let chosen = self.dirs.iter_mut().filter(|dir| which(dir));
        chosen.filter(|_| !below.as_os_str().is_empty()).for_each(|dir| dir.path.push(below));
    }

    /// Returns the record with the v2 directory at `path` below the root of the hierarchy.
    pub fn with_unified_at(&self, path: &Path) -> Record {
        let mut record = self.clone();
        for dir in record.dirs.iter_mut().filter(|dir| dir.is_unified()) {
            dir.path = dir.root.join(path.strip_prefix("/").unwrap_or(path));
        }
        record
    }

    /// Returns all directories, after a check that this runtime could have stored them.
    pub(super) fn checked(&self) -> Result<&[Dir]> {
        self.dirs.iter().try_for_each(Dir::check)?;
        Ok(&self.dirs)
    }

    /// Returns the ids of all processes, including those of sub-cgroups, in ascending order; none
    /// if another container has taken the cgroup over.
    pub fn pids(&self) -> Result<Vec<i32>> {
        let mut pids = Vec::new();
        let dirs = self.checked()?;
        if self.owner()? == Owner::Taken {
            return Ok(pids);
        }
        for dir in dirs {
            pids.extend(walk::all_processes(&dir.path)?);
        }
        pids.sort_unstable();
        pids.dedup();
        Ok(pids)
    }

    /// Returns the owner of the cgroup.
    pub(super) fn owner(&self) -> Result<Owner> {
        match (&self.identity, self.primary()) {
            (Some(identity), Some(dir)) => identity.owner(&dir.path),
            (None, Some(dir)) if has_other_mark(&dir.path, true, None)? => Ok(Owner::Taken),
            (None, Some(_)) => Ok(Owner::Unknown),
            (_, None) => Ok(Owner::Ours),
        }
    }

    /// Whether an open directory is the recorded one, or the record has no identity.
    pub(super) fn is_recorded(&self, dir: BorrowedFd<'_>) -> Result<bool, Errno> {
        let Some(identity) = &self.identity else { return Ok(true) };
        Ok(rustix::fs::fstat(dir).map_err(to_nix)?.st_ino == identity.inode)
    }

    /// Whether the processes in the cgroup belong to the container, and so may be signalled. An error
    /// if the record does not show whether they do.
    pub(super) fn may_signal(&self) -> Result<bool> {
        match self.owner()? {
            Owner::Ours => Ok(true),
            Owner::Taken => Ok(false),
            Owner::Unknown => match self.pids()?.as_slice() {
                [] => Ok(false),
                pids => Err(self.unproven(pids)),
            },
        }
    }

    /// Returns the error for processes that may not be the container's.
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

    /// Whether the cgroup may be removed: not if another container uses it now.
    pub(super) fn may_remove(&self) -> Result<bool> {
        if self.owner()? != Owner::Taken {
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

    /// Removes the mark from a directory that existed before the container.
    pub(super) fn release(&self) {
        if let (Some(identity), Some(dir)) = (&self.identity, self.primary())
            && identity.mark.is_some()
            && !dir.made
        {
            identity.unmark(&dir.path);
        }
    }

    /// Checks that the container has a cgroup. A container that was created without root privileges
    /// may have none.
    pub fn must_exist(&self) -> Result<()> {
        if self.dirs.is_empty() { Err(Record::no_cgroup()) } else { Ok(()) }
    }

    pub(super) fn no_cgroup() -> Error {
        let why = "the container has no cgroup (it was created without root privileges, \
                   cgroupsPath and limits)";
        Error::new(Kind::State, why)
    }
}

#[cfg(test)]
#[path = "record_tests.rs"]
mod tests;
