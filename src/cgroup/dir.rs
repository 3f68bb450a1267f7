//! A directory of a cgroup hierarchy.

use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::{Error, Kind, Result};

/// A directory of a container's cgroup. The names of the fields are part of the state file.
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
    /// The container's directory.
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
    /// Whether the directory is in the v2 hierarchy.
    pub fn is_unified(&self) -> bool {
        self.options.is_empty()
    }

    /// Whether the directory is in a v1 hierarchy that has `controller`.
    pub fn has_controller(&self, controller: &str) -> bool {
        self.options.iter().any(|option| option == controller)
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
