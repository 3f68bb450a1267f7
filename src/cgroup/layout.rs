//! Which cgroup hierarchies the host has, and where in them this process is.
//!
//! Two sources, both cheap: the magic numbers of what is mounted below /sys/fs/cgroup, and
//! /proc/self/cgroup. The mount table is not read: it can be thousands of lines long.

use std::path::{Path, PathBuf};

use rustix::fs::statfs;
use rustix::io::{Errno, retry_on_intr};
use serde::{Deserialize, Serialize};

use super::record::{Dir, Record};
use crate::{Context, Result};

/// Where the hierarchies are mounted, by convention of every distribution.
pub const MOUNT: &str = "/sys/fs/cgroup";

const CGROUP_MAGIC: u64 = 0x0027_e0eb; // CGROUP_SUPER_MAGIC
const CGROUP2_MAGIC: u64 = 0x6367_7270; // CGROUP2_SUPER_MAGIC
const TMPFS_MAGIC: u64 = 0x0102_1994;

/// How cgroups are set up on the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// v2 alone, on /sys/fs/cgroup itself.
    Unified,
    /// v1 hierarchies, and v2 on /sys/fs/cgroup/unified.
    Hybrid,
    /// v1 hierarchies alone.
    Legacy,
    /// Nothing is mounted.
    None,
}

/// The v2 hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unified {
    /// Where it is mounted.
    pub root: PathBuf,
    /// Path of this process's cgroup in it.
    pub own: String,
    /// Controllers that the root has.
    pub controllers: Vec<String>,
}

/// A v1 hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hierarchy {
    /// Where it is mounted.
    pub root: PathBuf,
    /// Its directory's name in /sys/fs/cgroup.
    pub name: String,
    /// Its controllers, or `name=...` for one without.
    pub options: Vec<String>,
    /// Path of this process's cgroup in it.
    pub own: String,
}

/// What the host has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    pub(super) mode: Mode,
    pub(super) unified: Option<Unified>,
    pub(super) v1: Vec<Hierarchy>,
}

impl Layout {
    /// The cgroups that this process is in, none of them made by it.
    pub fn own(&self) -> Record {
        let dir = |name: &str, options: &[String], root: &Path, own: &str| Dir {
            name: name.to_owned(),
            options: options.to_vec(),
            root: root.to_owned(),
            path: root.join(own.trim_start_matches('/')),
            made: false,
            above: 0,
        };
        let v2 = self.unified.iter().map(|u| dir("", &[], &u.root, &u.own));
        let v1 = self.v1.iter().map(|h| dir(&h.name, &h.options, &h.root, &h.own));
        Record::new(self.mode, v2.chain(v1).collect())
    }

    /// Looks at the host.
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

    /// How cgroups are set up.
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

/// The lines of /proc/self/cgroup, `number:controllers:path`; v2 has no controllers there.
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
    // A hierarchy of several controllers is mounted under all their names, or under one of them.
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

/// What file system a path is on; none if there is no such path for us. Any other failure is an
/// error: a hierarchy must not be missed, or the container would be outside of it.
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
