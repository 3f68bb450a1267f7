//! A cgroup of cgroup v2 below the container's own, in which its process starts: the limits stay
//! above, out of its reach, and what is below is for it to divide. crun's annotations
//! `run.oci.systemd.subgroup` and `run.oci.delegate-cgroup` ask for it.

use std::collections::HashMap;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use crate::config::annotations;
use crate::{Context, Error, Kind, Result};

use super::files;
use super::layout::Mode;
use super::plan::Plan;
use super::record::Dir;

const SUBGROUP: &str = annotations::SYSTEMD_SUBGROUP;
const DELEGATE: &str = annotations::DELEGATE_CGROUP;

impl Plan {
    /// Reads the two annotations. The first one counts only where systemd makes the cgroup, the
    /// second one is below it; an empty value asks for nothing. An error on hosts with cgroup v1,
    /// where a cgroup cannot be delegated safely.
    pub fn set_below(&mut self, annotations: Option<&HashMap<String, String>>) -> Result<()> {
        let mut below = PathBuf::new();
        for name in [SUBGROUP, DELEGATE] {
            let Some(text) = annotations.and_then(|all| all.get(name)) else { continue };
            if text.is_empty() || (name == SUBGROUP && self.unit.is_none()) {
                continue;
            }
            let bad = |why: &str| Error::invalid(format!("annotations: {name}"), text, why);
            if !plain(Path::new(text)) {
                return Err(bad("must be the path of a cgroup below the container's"));
            }
            if self.mode != Mode::Unified {
                return Err(bad("needs a host with cgroup v2 alone"));
            }
            below.push(text);
        }
        self.below = (!below.as_os_str().is_empty()).then_some(below);
        Ok(())
    }
}

fn plain(path: &Path) -> bool {
    let control = path.as_os_str().as_encoded_bytes().iter().any(u8::is_ascii_control);
    !control && path.components().all(|part| matches!(part, Component::Normal(_)))
}

/// Makes the cgroup `below` the container's `dir` and moves process `pid` there; then every controller
/// can be had in it, because the cgroups above have no process any more. Returns it.
pub(super) fn enter(dir: &Dir, below: &Path, pid: i32) -> Result<OwnedFd> {
    let path = dir.path.join(below);
    let made = std::fs::create_dir_all(&path);
    made.with_context(|| format!("mkdir {}", path.display()))?;
    let fd = files::open_dir(&path).with_context(|| format!("open {}", path.display()))?;
    let value = pid.to_string();
    files::write(fd.as_fd(), "cgroup.procs", &value)
        .map_err(|errno| files::write_error(&path, "cgroup.procs", &value, errno))?;
    let mut above = dir.path.clone();
    for part in below.components() {
        let names = files::read_in(&above, "cgroup.controllers")
            .map_err(|errno| files::read_error(&above, "cgroup.controllers", errno))?;
        for name in names.split_ascii_whitespace() {
            // A controller that cannot be enabled must not keep the others from being enabled.
            let _ = files::write_in(&above, "cgroup.subtree_control", &format!("+{name}"));
        }
        above.push(part);
    }
    Ok(fd)
}

/// Where the process of a container starts must be known before it is given away.
pub(super) fn missing() -> Error {
    Error::new(Kind::System, "the container's process is not in its cgroup yet")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_paths_are_below() {
        assert!(plain(Path::new("a")) && plain(Path::new("a/b")));
        for bad in ["..", "/a", "a/../..", "a\nb", "./.."] {
            assert!(!plain(Path::new(bad)), "{bad:?}");
        }
    }
}
