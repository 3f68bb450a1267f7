//! What is stored about a container's cgroup, and what can be done with it later: list, mount,
//! remove. Killing is in [`super::kill`], freezing in [`super::freeze`].

use std::os::fd::AsFd;
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use serde::{Deserialize, Serialize};

use crate::systemd::Unit;
use crate::{Context, Error, Kind, Result, log};

use super::create::Cgroup;
use super::files;
use super::layout::Mode;
use super::proof::{Identity, Standing};

/// How long a cgroup may take to lose its last process after that was killed.
const EMPTY_WITHIN: Duration = Duration::from_secs(5);

/// One directory of a container's cgroup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dir {
    /// v1: the hierarchy's directory in /sys/fs/cgroup.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// v1: its controllers, or `name=...`. Empty for v2.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
    /// Where the hierarchy is mounted.
    pub root: PathBuf,
    /// The container's directory.
    pub path: PathBuf,
    /// This runtime made it, and may remove it.
    pub made: bool,
    /// How many directories right above it were made on the way.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub above: usize,
}

fn is_zero(number: &usize) -> bool {
    *number == 0
}

impl Dir {
    /// Is it of the v2 hierarchy?
    pub fn is_unified(&self) -> bool {
        self.options.is_empty()
    }

    /// Does its v1 hierarchy have `controller`?
    pub fn has_controller(&self, controller: &str) -> bool {
        self.options.iter().any(|option| option == controller)
    }

    /// A stored path is believed only if it is what this runtime could have stored: removing or
    /// killing the root of a hierarchy would take the host down.
    fn check(&self) -> Result<()> {
        let plain = |path: &Path| {
            path.is_absolute() && !path.components().any(|part| part == Component::ParentDir)
        };
        let below = self.path.strip_prefix(&self.root).is_ok_and(|rest| rest != Path::new(""));
        if plain(&self.path) && plain(&self.root) && self.root != Path::new("/") && below {
            return Ok(());
        }
        let why = "is not below the root of a cgroup hierarchy; nothing is done to it";
        Err(Error::new(Kind::State, why).context(format!("cgroup {}", self.path.display())))
    }
}

/// Where a container's cgroup is. The names of the fields are part of the state file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    mode: Mode,
    #[serde(default)]
    dirs: Vec<Dir>,
    /// Which of all directories that have been there it got; none before there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) identity: Option<Identity>,
    /// The unit that systemd has made for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    unit: Option<Unit>,
    /// It is not known whether the unit was ever made.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    unit_is_planned: bool,
}

/// What the container's `cgroup` mount consists of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CgroupMount {
    /// The v2 hierarchy. `name` is empty where it is the whole mount, `unified` beside v1.
    Unified {
        /// Directory in the mount.
        name: String,
        /// The container's directory on the host.
        dir: PathBuf,
    },
    /// A v1 hierarchy.
    V1 {
        /// Directory in the mount.
        name: String,
        /// What selects the hierarchy in mount(2): controllers, or `name=...`.
        options: Vec<String>,
        /// The container's directory on the host.
        dir: PathBuf,
    },
    /// A symbolic link, for a controller that shares a hierarchy.
    Link {
        /// Name of the link in the mount.
        name: String,
        /// The directory in the mount that it leads to.
        target: String,
    },
}

impl Record {
    pub(super) fn new(mode: Mode, dirs: Vec<Dir>) -> Record {
        Record { mode, dirs, identity: None, unit: None, unit_is_planned: false }
    }

    /// Of a container in a unit.
    pub(super) fn of_unit(mode: Mode, dirs: Vec<Dir>, unit: Unit) -> Record {
        Record { unit: Some(unit), ..Record::new(mode, dirs) }
    }

    /// The same of a unit that is yet to be made, and may not be ours if there is one of its name.
    pub(super) fn planned(self) -> Record {
        Record { unit_is_planned: true, ..self }
    }

    /// The same with the proof of which directory it is.
    pub(super) fn identified(self, identity: Option<Identity>) -> Record {
        Record { identity, ..self }
    }

    /// The directory that stands for all of them.
    pub(super) fn primary(&self) -> Option<&Dir> {
        self.unified().or_else(|| self.dirs.first())
    }

    /// The unit that systemd has made for it.
    pub fn unit(&self) -> Option<&Unit> {
        self.unit.as_ref()
    }

    /// Of a container without a cgroup.
    pub fn empty() -> Record {
        Record::new(Mode::None, Vec::new())
    }

    /// The same without the directories that were there before. A create that has died may not
    /// have found out yet that others live in them.
    pub fn made(&self) -> Record {
        let dirs = self.dirs.iter().filter(|dir| dir.made).cloned().collect();
        Record { dirs, ..self.clone() }
    }

    /// Where in the unit's cgroup the v2 directory is; empty for the unit's own.
    pub(super) fn below_unit(&self) -> PathBuf {
        let Some((unit, dir)) = self.unit.as_ref().zip(self.unified()) else {
            return PathBuf::new();
        };
        let is_unit = |part: &Component<'_>| part.as_os_str() == unit.name.as_str();
        dir.path.components().skip_while(|part| !is_unit(part)).skip(1).collect()
    }

    /// How cgroups were set up when it was made.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// All directories.
    pub fn dirs(&self) -> &[Dir] {
        &self.dirs
    }

    /// The v2 directory.
    pub fn unified(&self) -> Option<&Dir> {
        self.dirs.iter().find(|dir| dir.is_unified())
    }

    /// The same with the directories that `which` picks replaced by `below` in each of them.
    pub fn descend(&mut self, which: impl Fn(&Dir) -> bool, below: &Path) {
        for dir in self.dirs.iter_mut().filter(|dir| which(dir)) {
            if !below.as_os_str().is_empty() {
                dir.path.push(below);
            }
        }
    }

    /// The same with the v2 directory at `path` below the hierarchy's root.
    pub fn with_unified_at(&self, path: &Path) -> Record {
        let mut record = self.clone();
        for dir in record.dirs.iter_mut().filter(|dir| dir.is_unified()) {
            dir.path = dir.root.join(path.strip_prefix("/").unwrap_or(path));
        }
        record
    }

    pub(super) fn checked(&self) -> Result<&[Dir]> {
        self.dirs.iter().try_for_each(Dir::check)?;
        Ok(&self.dirs)
    }

    /// The cgroup again, to put another process into it.
    pub fn open(&self) -> Result<Cgroup> {
        self.checked()?;
        let open = |dir: &Dir| {
            files::open_dir(&dir.path).with_context(|| format!("open {}", dir.path.display()))
        };
        let unified = self.unified().map(open).transpose()?;
        Ok(Cgroup::opened(self.clone(), unified))
    }

    /// Ids of all processes, those of sub-cgroups too, in ascending order; none if the cgroup is
    /// another container's by now.
    pub fn pids(&self) -> Result<Vec<i32>> {
        let mut pids = Vec::new();
        let dirs = self.checked()?;
        if self.standing()? == Standing::Taken {
            return Ok(pids);
        }
        for dir in dirs {
            pids.extend(files::all_processes(&dir.path)?);
        }
        pids.sort_unstable();
        pids.dedup();
        Ok(pids)
    }

    /// Removes what this runtime made, if there is nothing in it any more; whether there was not.
    /// The usual end of a container whose pid namespace has died: no signal, no wait.
    pub fn remove_if_empty(&self) -> Result<bool> {
        let dirs = self.checked()?;
        if !self.may_remove()? {
            return Ok(true);
        }
        for dir in dirs.iter().filter(|dir| dir.made) {
            match rmdir(&dir.path) {
                Ok(()) | Err(Errno::ENOENT) => {}
                Err(Errno::EBUSY) => return Ok(false),
                Err(errno) => {
                    return Err(errno).with_context(|| format!("rmdir {}", dir.path.display()));
                }
            }
        }
        self.stop_unit();
        self.release();
        Ok(true)
    }

    /// Without its processes a scope ends by itself, unless it has failed; so a container can go
    /// even when systemd does not answer.
    fn stop_unit(&self) {
        if let Some(unit) = self.unit.as_ref().filter(|_| !self.unit_is_planned) {
            unit.stop().unwrap_or_else(log::warn);
        }
    }

    /// Removes what this runtime made: the container's directories with all below them. To be
    /// called when the processes are dead; waits for the kernel to notice. What another container
    /// uses by now stays. Can be repeated.
    pub fn remove(&self) -> Result<()> {
        self.checked()?;
        if !self.may_remove()? {
            return Ok(());
        }
        // All are tried, and the first failure told.
        let mut result = Ok(());
        let end = Instant::now() + EMPTY_WITHIN;
        for dir in self.checked()?.iter().filter(|dir| dir.made) {
            let removed = remove(dir, end).with_context(|| format!("rmdir {}", dir.path.display()));
            result = result.and(removed);
        }
        self.release();
        match result {
            // systemd would kill what is left in the unit, be it the container's or not.
            Ok(()) => {
                self.stop_unit();
                Ok(())
            }
            Err(error) if error.errno() == Some(Errno::EBUSY) => match self.pids()?.as_slice() {
                [] => Err(error),
                pids => Err(self.unproven(pids)),
            },
            other => other,
        }
    }

    /// Takes back a create that has failed: what [`Record::remove`] does, and the directories that
    /// were made on the way, if nobody else uses them by now. (Those of a container that was
    /// there are left to the engine, which may have set limits in them.) Can be repeated.
    pub fn abandon(&self) -> Result<()> {
        if let Some(unit) = self.unit.as_ref().filter(|_| self.unit_is_planned) {
            unit.abandon()?;
        }
        let mut result = self.remove();
        for dir in self.checked()? {
            let above = dir.path.ancestors().skip(1).take(dir.above);
            for path in above.take_while(|path| *path != dir.root) {
                match rmdir(path) {
                    Ok(()) | Err(Errno::ENOENT) => {}
                    Err(Errno::EBUSY | Errno::ENOTEMPTY) => break,
                    Err(errno) => {
                        let failed =
                            Err(errno).with_context(|| format!("rmdir {}", path.display()));
                        result = result.and(failed);
                        break;
                    }
                }
            }
        }
        result
    }

    /// The parts of the container's `cgroup` mount, in the order in which they are to be made.
    pub fn mounts(&self) -> Vec<CgroupMount> {
        let mut mounts = Vec::new();
        // Of a hybrid machine the v1 hierarchies alone: systemd as a container's init takes a
        // /sys/fs/cgroup/unified that is there for its own, and engines give it the v1 one.
        let legacy = self.dirs.iter().any(|dir| !dir.is_unified());
        for dir in &self.dirs {
            let path = dir.path.clone();
            if dir.is_unified() {
                if !legacy {
                    let name = if self.mode == Mode::Unified { "" } else { "unified" };
                    mounts.push(CgroupMount::Unified { name: name.to_owned(), dir: path });
                }
                continue;
            }
            let (name, options) = (dir.name.clone(), dir.options.clone());
            mounts.push(CgroupMount::V1 { name, options, dir: path });
        }
        for dir in self.dirs.iter().filter(|dir| dir.options.len() > 1) {
            let names = dir.options.iter().filter(|name| **name != dir.name);
            for name in names.filter(|name| !name.contains('=')) {
                let (name, target) = (name.clone(), dir.name.clone());
                mounts.push(CgroupMount::Link { name, target });
            }
        }
        mounts
    }
}

fn remove(dir: &Dir, end: Instant) -> Result<(), Errno> {
    let mut pause = Duration::from_millis(1);
    loop {
        match rmdir(&dir.path) {
            Err(Errno::EBUSY) => {}
            Ok(()) | Err(Errno::ENOENT) => return Ok(()),
            Err(errno) => return Err(errno),
        }
        let fd = match files::open_dir(&dir.path) {
            Err(Errno::ENOENT) => return Ok(()),
            other => other?,
        };
        if dir.is_unified() {
            let left = end.saturating_duration_since(Instant::now());
            if !files::wait_event(fd.as_fd(), "populated 0", left)? {
                return Err(Errno::EBUSY);
            }
        }
        match files::remove_below(fd) {
            Ok(()) => match rmdir(&dir.path) {
                Err(Errno::EBUSY) => {}
                Ok(()) | Err(Errno::ENOENT) => return Ok(()),
                Err(errno) => return Err(errno),
            },
            Err(Errno::EBUSY) => {}
            Err(errno) => return Err(errno),
        }
        if Instant::now() >= end {
            return Err(Errno::EBUSY);
        }
        // v1 has no event to wait for.
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

fn rmdir(path: &Path) -> Result<(), Errno> {
    std::fs::remove_dir(path)
        .map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dir(name: &str, options: &[&str], path: &str) -> Dir {
        Dir {
            name: name.to_owned(),
            options: options.iter().map(|option| option.to_string()).collect(),
            root: Path::new("/sys/fs/cgroup").join(name),
            path: path.into(),
            made: true,
            above: 0,
        }
    }

    #[test]
    fn roots_and_strange_paths_are_refused() {
        for path in [
            "/",
            "/sys/fs/cgroup",
            "/sys/fs/cgroup/",
            "/sys/fs/cgroup/../x",
            "/sys/fs/cgroup/a/../..",
            "/sys/fs/cgroupx/a",
            "a",
            "",
            "/home/user",
        ] {
            let record = Record::new(Mode::Unified, vec![dir("", &[], path)]);
            for result in [record.remove(), record.kill_all(), record.freeze(), record.thaw()] {
                assert_eq!(result.unwrap_err().kind(), Kind::State, "{path:?}");
            }
            assert!(record.pids().is_err());
            assert!(record.open().is_err());
        }
        let mut root = dir("", &[], "/etc/x");
        root.root = "/".into();
        assert!(Record::new(Mode::Unified, vec![root]).remove().is_err());
    }

    #[test]
    fn what_was_there_before_is_told_apart() {
        let mut there = dir("freezer", &["freezer"], "/sys/fs/cgroup/freezer/there");
        there.made = false;
        let new = dir("", &[], "/sys/fs/cgroup/unified/new");
        let record = Record::new(Mode::Hybrid, vec![there, new.clone()]);
        assert_eq!(record.made().dirs(), [new]);
    }

    #[test]
    fn nothing_is_left_to_do_for_a_cgroup_that_is_gone() {
        let record = Record::new(
            Mode::Hybrid,
            vec![
                dir("unified", &[], "/sys/fs/cgroup/unified/bulkhead-test-no-such"),
                dir("freezer", &["freezer"], "/sys/fs/cgroup/freezer/bulkhead-test-no-such"),
            ],
        );
        record.remove().unwrap();
        record.kill_all().unwrap();
        assert!(record.pids().unwrap().is_empty());
        assert!(!record.frozen().unwrap());
        Record::empty().remove().unwrap();
    }

    #[test]
    fn mounts_mirror_the_host() {
        let v2 = Record::new(Mode::Unified, vec![dir("", &[], "/sys/fs/cgroup/a")]);
        let whole = CgroupMount::Unified { name: "".into(), dir: "/sys/fs/cgroup/a".into() };
        assert_eq!(v2.mounts(), [whole]);
        let hybrid = Record::new(
            Mode::Hybrid,
            vec![
                dir("unified", &[], "/u/a"),
                dir("cpu,cpuacct", &["cpu", "cpuacct"], "/c/a"),
                dir("systemd", &["name=systemd"], "/s/a"),
            ],
        );
        let link =
            |name: &str| CgroupMount::Link { name: name.into(), target: "cpu,cpuacct".into() };
        let v1 = |name: &str, options: &[&str], dir: &str| CgroupMount::V1 {
            name: name.into(),
            options: options.iter().map(|option| option.to_string()).collect(),
            dir: dir.into(),
        };
        assert_eq!(
            hybrid.mounts(),
            [
                v1("cpu,cpuacct", &["cpu", "cpuacct"], "/c/a"),
                v1("systemd", &["name=systemd"], "/s/a"),
                link("cpu"),
                link("cpuacct"),
            ]
        );
    }

    #[test]
    fn the_stored_form_is_stable() {
        let record = Record::new(
            Mode::Hybrid,
            vec![
                dir("", &[], "/sys/fs/cgroup/a"),
                dir("systemd", &["name=systemd"], "/sys/fs/cgroup/systemd/a"),
            ],
        );
        let text = r#"{"mode":"hybrid","dirs":[{"root":"/sys/fs/cgroup/","path":"/sys/fs/cgroup/a","made":true},{"name":"systemd","options":["name=systemd"],"root":"/sys/fs/cgroup/systemd","path":"/sys/fs/cgroup/systemd/a","made":true}]}"#;
        assert_eq!(serde_json::to_string(&record).unwrap(), text);
        assert_eq!(serde_json::from_str::<Record>(text).unwrap(), record);
        // A field of a later version does not stop this one.
        let later = r#"{"mode":"none","later":1}"#;
        assert_eq!(serde_json::from_str::<Record>(later).unwrap(), Record::empty());
    }
}
