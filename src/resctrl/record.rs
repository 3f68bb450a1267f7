//! The groups of a container.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::files::{SCHEMATA, TASKS, read, read_if_any, remove_group, write};
use super::schemata::{Schema, line_of};
use crate::{Context, Error, Kind, Result, log};

/// The groups of a container. The names of the fields are part of the state file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The root of the file system.
    pub(super) root: PathBuf,
    /// The control group.
    pub(super) dir: PathBuf,
    /// Whether this container's create has made the control group.
    pub(super) made: bool,
    /// Whether the control group ends with the container.
    pub(super) own: bool,
    /// The monitoring group, which ends with the container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) monitor: Option<PathBuf>,
}

/// The limits before a change.
#[derive(Debug)]
pub struct Undo<'a> {
    record: &'a Record,
    lines: Vec<String>,
}

impl Record {
    /// Adds a process with one thread. Its children start in the groups.
    pub fn add(&self, pid: i32) -> Result<()> {
        // A monitoring group takes processes of its control group only.
        for dir in std::iter::once(&self.dir).chain(&self.monitor) {
            write(&self.root, dir, TASKS, &pid.to_string()).context("linux.intelRdt")?;
        }
        Ok(())
    }

    /// Sets limits. After an error all are as they were.
    pub fn change(&self, schemata: &[Schema]) -> Result<Undo<'_>> {
        let mut undo = Undo { record: self, lines: Vec::new() };
        if schemata.is_empty() {
            return Ok(undo);
        }
        let before = read(&self.dir, SCHEMATA)?;
        for Schema { field, line } in schemata {
            match write(&self.root, &self.dir, SCHEMATA, line) {
                Ok(()) => {}
                Err(error) => {
                    undo.roll_back();
                    return Err(error.context(field));
                }
            }
            let name = line.split(':').next().unwrap_or_default();
            undo.lines.extend(line_of(&before, name).map(str::to_owned));
        }
        Ok(undo)
    }

    /// Removes the groups of a container that has ended. A named control group stays.
    pub fn remove(&self) -> Result<()> {
        match (&self.monitor, self.own) {
            // Its monitoring groups go with it.
            (_, true) => remove_group(&self.dir),
            (Some(monitor), false) => remove_group(monitor),
            (None, false) => Ok(()),
        }
        .context("linux.intelRdt")
    }

    /// Removes the groups of a create that has failed or died. A named control group stays if
    /// another process is in it by now.
    pub fn abandon(&self) -> Result<()> {
        self.remove()?;
        let is_shared = self.made && !self.own;
        if is_shared && !self.has_processes()? {
            remove_group(&self.dir).context("linux.intelRdt")?;
        }
        Ok(())
    }

    pub(super) fn has_processes(&self) -> Result<bool> {
        Ok(!read_if_any(&self.dir, TASKS)?.unwrap_or_default().trim().is_empty())
    }

    /// Checks a record from a file: every group is below the root of the file system, which is not that
    /// of the host. A group that the container removes is not the root of the file system.
    pub fn checked(&self) -> Result<&Record> {
        let inside = |dir: &PathBuf| {
            let below = dir.strip_prefix(&self.root);
            below.is_ok_and(|path| path.components().all(|part| part.as_os_str() != ".."))
        };
        let is_mount = self.root.is_absolute() && self.root != Path::new("/");
        let removed = self.own.then_some(&self.dir).into_iter().chain(&self.monitor);
        let none_is_root = removed.into_iter().all(|dir| *dir != self.root);
        let all_inside = inside(&self.dir) && self.monitor.iter().all(inside);
        if is_mount && none_is_root && all_inside {
            return Ok(self);
        }
        let why = format!("the state names a group outside of {:?}", self.root);
        Err(Error::new(Kind::State, why).context("linux.intelRdt"))
    }
}

impl Undo<'_> {
    /// Restores the limits.
    pub fn roll_back(self) {
        let Record { root, dir, .. } = self.record;
        for line in self.lines.iter().rev() {
            let restored = write(root, dir, SCHEMATA, line);
            restored.context("restore a limit of linux.intelRdt").unwrap_or_else(log::warn);
        }
    }
}
