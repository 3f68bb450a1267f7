//! The cgroup below the container's own in which its process starts (cgroup v2): the limits stay
//! above, and the container divides what is below.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use crate::{Context, Error, Kind, Result};

use super::dir::Dir;
use super::files;

/// Creates the cgroup `below` in `dir`, moves process `pid` there, and enables all controllers in
/// it, which is possible once the cgroups above have no processes. Returns its directory.
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

/// Returns the error for a cgroup that is delegated before the process is in it.
pub(super) fn missing() -> Error {
    Error::new(Kind::System, "the container's process is not in its cgroup yet")
}
