//! The cgroup hierarchies of the host, and the cgroups of this process in them.
//!
//! The sources are the magic numbers of the file systems below /sys/fs/cgroup, and
//! /proc/self/cgroup. The mount table, which can have thousands of lines, is not read.

use std::path::{Component, Path, PathBuf};

use rustix::fs::statfs;
use rustix::io::{Errno, retry_on_intr};
use serde::{Deserialize, Serialize};

use crate::{Context, Error, Kind, Result};

/// Where every distribution mounts the hierarchies.
pub const MOUNT: &str = "/sys/fs/cgroup";

const CGROUP_MAGIC: u64 = 0x0027_e0eb; // CGROUP_SUPER_MAGIC
const CGROUP2_MAGIC: u64 = 0x6367_7270; // CGROUP2_SUPER_MAGIC
const TMPFS_MAGIC: u64 = 0x0102_1994;

/// How cgroups are set up on the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// v2 alone, mounted on /sys/fs/cgroup.
    Unified,
    /// v1 hierarchies, and v2 mounted on /sys/fs/cgroup/unified.
    Hybrid,
    /// v1 hierarchies alone.
    Legacy,
    /// Nothing is mounted.
    None,
}

/// A directory of a cgroup hierarchy. The names of the fields are part of the state file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dir {
    /// v1: the name of the hierarchy's directory in /sys/fs/cgroup.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// v1: the controllers of the hierarchy, or `name=...`. Empty for v2.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
    /// The mount point of the hierarchy.
    pub root: PathBuf,
    /// The directory.
    pub path: PathBuf,
    /// Whether this runtime created the directory, and so may remove it.
    pub made: bool,
    /// The number of parent directories that were created for it.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub above: usize,
}

fn is_zero(number: &usize) -> bool {
    *number == 0
}

impl Dir {
    /// Returns the existing directory of the cgroup `cgroup`, as /proc/self/cgroup shows it.
    pub(super) fn new(name: &str, options: &str, root: PathBuf, cgroup: &str) -> Dir {
        Dir {
            name: name.to_owned(),
            options: options
                .split(',')
                .filter(|name| !name.is_empty())
                .map(str::to_owned)
                .collect(),
            path: root.join(cgroup.trim_start_matches('/')),
            root,
            made: false,
            above: 0,
        }
    }

    /// Whether the directory is in the v2 hierarchy.
    pub fn is_unified(&self) -> bool {
        self.options.is_empty()
    }

    /// Whether the directory is in a v1 hierarchy that has `controller`.
    pub fn has_controller(&self, controller: &str) -> bool {
        self.options.iter().any(|option| option == controller)
    }

    /// Whether the directory is directly below the root of the hierarchy.
    pub(super) fn is_child_of_root(&self) -> bool {
        self.path.parent() == Some(&self.root)
    }

    /// Checks that this runtime could have stored the path: to kill or to remove the root of a
    /// hierarchy would take the host down.
    pub(super) fn check(&self) -> Result<()> {
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

/// The hierarchies of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    pub(super) mode: Mode,
    /// The cgroups of this process: that of v2 first.
    pub(super) dirs: Vec<Dir>,
    /// The controllers of the root cgroup of v2.
    pub(super) controllers: Vec<String>,
}

impl Layout {
    /// Examines the host, and the cgroups of this process.
    pub fn probe() -> Result<Layout> {
        let mount = Path::new(MOUNT);
        let mut layout = Layout { mode: Mode::None, dirs: Vec::new(), controllers: Vec::new() };
        let magic = magic(mount)?;
        if magic != Some(CGROUP2_MAGIC) && magic != Some(TMPFS_MAGIC) {
            return Ok(layout);
        }
        let lines = crate::fs::read_text("/proc/self/cgroup")?;
        if magic == Some(CGROUP2_MAGIC) {
            return unified(Mode::Unified, mount, &lines);
        }
        let v2 = mount.join("unified");
        if self::magic(&v2)? == Some(CGROUP2_MAGIC) {
            layout = unified(Mode::Hybrid, &v2, &lines)?;
        }
        for line in parse(&lines) {
            layout.dirs.extend(hierarchy(line)?);
        }
        if layout.mode == Mode::None && !layout.dirs.is_empty() {
            layout.mode = Mode::Legacy;
        }
        Ok(layout)
    }
}

fn unified(mode: Mode, root: &Path, lines: &str) -> Result<Layout> {
    let own = parse(lines).find(|(options, _)| options.is_empty()).map_or("/", |(_, path)| path);
    let controllers = crate::fs::read_text(&format!("{}/cgroup.controllers", root.display()))?;
    let controllers = controllers.split_ascii_whitespace().map(str::to_owned).collect();
    Ok(Layout { mode, dirs: vec![Dir::new("", "", root.to_owned(), own)], controllers })
}

/// Parses lines of /proc/self/cgroup, `number:controllers:path`; v2 has no controllers there.
fn parse(lines: &str) -> impl Iterator<Item = (&str, &str)> {
    lines.lines().filter_map(|line| {
        let (_, rest) = line.split_once(':')?;
        rest.split_once(':')
    })
}

fn hierarchy((options, own): (&str, &str)) -> Result<Option<Dir>> {
    if options.is_empty() {
        return Ok(None);
    }
    // A hierarchy of several controllers is mounted under all their names, or under one of the
    // names.
    let whole = options.strip_prefix("name=").unwrap_or(options);
    let single = options.split(',').filter(|name| *name != whole && !name.starts_with("name="));
    for name in std::iter::once(whole).chain(single).filter(|name| !name.contains('/')) {
        let root = Path::new(MOUNT).join(name);
        if magic(&root)? == Some(CGROUP_MAGIC) {
            return Ok(Some(Dir::new(name, options, root, own)));
        }
    }
    Ok(None)
}

/// Returns the type of the file system of a path; none if the path does not exist or is not
/// accessible. Any other failure is an error: a container must not be left outside of a hierarchy.
fn magic(path: &Path) -> Result<Option<u64>> {
    match retry_on_intr(|| statfs(path)) {
        Ok(stat) => Ok(Some(stat.f_type as u64)),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::ACCESS) => Ok(None),
        Err(errno) => Err(errno).with_context(|| format!("statfs {}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_parsed() {
        let lines = "9:name=systemd:/\n4:cpu,cpuacct:/a:b\n0::/user.slice\nnonsense\n";
        let all: Vec<_> = parse(lines).collect();
        assert_eq!(all, [("name=systemd", "/"), ("cpu,cpuacct", "/a:b"), ("", "/user.slice")]);
    }

    #[test]
    fn a_directory_that_is_no_cgroup_is_no_hierarchy() {
        assert_eq!(hierarchy(("no-such-controller", "/")).unwrap(), None);
        assert_eq!(hierarchy(("name=../../../proc", "/")).unwrap(), None);
        assert_eq!(hierarchy(("", "/")).unwrap(), None);
    }

    #[test]
    fn probe_agrees_with_the_kernel() {
        let layout = Layout::probe().unwrap();
        for dir in &layout.dirs {
            let magic = magic(&dir.root).unwrap();
            assert_eq!(magic, Some(if dir.is_unified() { CGROUP2_MAGIC } else { CGROUP_MAGIC }));
            assert!(dir.root.join("cgroup.procs").exists());
        }
        let unified = layout.dirs.iter().any(Dir::is_unified);
        let expected = match (unified, layout.dirs.iter().all(Dir::is_unified)) {
            (true, _) if magic(Path::new(MOUNT)).unwrap() == Some(CGROUP2_MAGIC) => Mode::Unified,
            (true, _) => Mode::Hybrid,
            (false, false) => Mode::Legacy,
            (false, true) => Mode::None,
        };
        assert_eq!(layout.mode, expected);
    }
}
