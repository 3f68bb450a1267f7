//! The cgroup hierarchies of the host, and the cgroups of this process in them.
//!
//! The sources are the magic numbers of the file systems below /sys/fs/cgroup, and
//! /proc/self/cgroup. The mount table, which can have thousands of lines, is not read.

use std::path::{Path, PathBuf};

use rustix::fs::statfs;
use rustix::io::{Errno, retry_on_intr};
use serde::{Deserialize, Serialize};

use crate::{Context, Result};

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

/// The v2 hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unified {
    /// The mount point.
    pub root: PathBuf,
    /// The path of this process's cgroup.
    pub own: String,
    /// The controllers of the root cgroup.
    pub controllers: Vec<String>,
}

/// A v1 hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hierarchy {
    /// The mount point.
    pub root: PathBuf,
    /// The name of the directory in /sys/fs/cgroup.
    pub name: String,
    /// The controllers, or `name=...` for a hierarchy without.
    pub options: Vec<String>,
    /// The path of this process's cgroup.
    pub own: String,
}

/// The hierarchies of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    pub(super) mode: Mode,
    pub(super) unified: Option<Unified>,
    pub(super) v1: Vec<Hierarchy>,
}

impl Layout {
    /// Examines the host, and the cgroups of this process.
    pub fn probe() -> Result<Layout> {
        let mount = Path::new(MOUNT);
        let magic = magic(mount)?;
        if magic != Some(CGROUP2_MAGIC) && magic != Some(TMPFS_MAGIC) {
            return Ok(Layout { mode: Mode::None, unified: None, v1: Vec::new() });
        }
        let lines = crate::fs::read_text("/proc/self/cgroup")?;
        if magic == Some(CGROUP2_MAGIC) {
            let unified = Some(unified(mount, &lines)?);
            return Ok(Layout { mode: Mode::Unified, unified, v1: Vec::new() });
        }
        let v1 = parse(&lines).filter_map(|line| hierarchy(line).transpose());
        let v1: Vec<Hierarchy> = v1.collect::<Result<_>>()?;
        let v2 = mount.join("unified");
        let unified = match self::magic(&v2)? {
            Some(CGROUP2_MAGIC) => Some(unified(&v2, &lines)?),
            _ => None,
        };
        let mode = match (&unified, v1.is_empty()) {
            (Some(_), _) => Mode::Hybrid,
            (None, false) => Mode::Legacy,
            (None, true) => Mode::None,
        };
        Ok(Layout { mode, unified, v1 })
    }

    /// Returns how cgroups are set up on the host.
    pub fn mode(&self) -> Mode {
        self.mode
    }
}

fn unified(root: &Path, lines: &str) -> Result<Unified> {
    let own = parse(lines)
        .find(|(options, _)| options.is_empty())
        .map_or("/", |(_, path)| path)
        .to_owned();
    let controllers = crate::fs::read_text(&format!("{}/cgroup.controllers", root.display()))?;
    let controllers = controllers.split_ascii_whitespace().map(str::to_owned).collect();
    Ok(Unified { root: root.to_owned(), own, controllers })
}

/// Parses lines of /proc/self/cgroup, `number:controllers:path`; v2 has no controllers there.
fn parse(lines: &str) -> impl Iterator<Item = (&str, &str)> {
    lines.lines().filter_map(|line| {
        let (_, rest) = line.split_once(':')?;
        rest.split_once(':')
    })
}

fn hierarchy((options, own): (&str, &str)) -> Result<Option<Hierarchy>> {
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
            let options = options.split(',').map(str::to_owned).collect();
            let (name, own) = (name.to_owned(), own.to_owned());
            return Ok(Some(Hierarchy { root, name, options, own }));
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
        for hierarchy in &layout.v1 {
            assert_eq!(magic(&hierarchy.root).unwrap(), Some(CGROUP_MAGIC));
            assert!(hierarchy.root.join("cgroup.procs").exists());
        }
        if let Some(unified) = &layout.unified {
            assert_eq!(magic(&unified.root).unwrap(), Some(CGROUP2_MAGIC));
        }
        let expected = match (layout.unified.is_some(), layout.v1.is_empty()) {
            (true, _) if magic(Path::new(MOUNT)).unwrap() == Some(CGROUP2_MAGIC) => Mode::Unified,
            (true, _) => Mode::Hybrid,
            (false, false) => Mode::Legacy,
            (false, true) => Mode::None,
        };
        assert_eq!(layout.mode(), expected);
    }
}
