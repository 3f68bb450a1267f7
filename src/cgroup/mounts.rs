//! The hierarchies that a container sees in its `cgroup` mount.

use std::path::PathBuf;

use super::layout::Mode;
use super::record::Record;

/// A part of the container's `cgroup` mount: the `name` in the mount, and the container's directory on
/// the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CgroupMount {
    /// The v2 hierarchy. `name` is empty if it is the whole mount, and `unified` next to v1.
    Unified { name: String, dir: PathBuf },
    /// A v1 hierarchy.
    V1 {
        name: String,
        /// The options that select the hierarchy in mount(2): controllers, or `name=...`.
        options: Vec<String>,
        dir: PathBuf,
    },
    /// A symbolic link for a controller that shares the hierarchy `target`.
    Link { name: String, target: String },
}

impl Record {
    /// Returns the parts of the container's `cgroup` mount, in the order of their creation.
    pub fn mounts(&self) -> Vec<CgroupMount> {
        let mut mounts = Vec::new();
        // On a hybrid host only the v1 hierarchies: systemd as a container's init would use an
        // existing /sys/fs/cgroup/unified, while engines delegate the v1 hierarchy to it.
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
