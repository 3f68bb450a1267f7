//! Protects limits from side effects of systemd: when systemd sets a property, it rewrites the
//! files of all others, in its own units, which are coarser than the kernel's.

use std::os::fd::AsFd;

use nix::errno::Errno;

use crate::systemd::Property;
use crate::{Context, Result, log};

use super::files;
use super::record::Record;

/// The files of cgroup v2 that systemd writes. An idle cgroup has no weight, so `cpu.idle` is
/// first.
const V2: &[&str] = &[
    "cpu.idle",
    "cpu.weight",
    "cpu.max",
    "io.weight",
    "memory.min",
    "memory.low",
    "memory.high",
    "memory.max",
    "memory.swap.max",
    "memory.zswap.max",
    "memory.oom.group",
    "pids.max",
    "cpuset.cpus",
    "cpuset.mems",
];

/// The files of cgroup v1 that systemd writes.
const V1: &[&str] = &[
    "cpu.shares",
    "cpu.cfs_period_us",
    "cpu.cfs_quota_us",
    "memory.limit_in_bytes",
    "blkio.weight",
    "pids.max",
];

impl Record {
    /// Calls `work`, which lets systemd write limits, and restores the files that it may not
    /// change: all but those in `changed`.
    pub(super) fn keeping_limits(
        &self,
        changed: &[&str],
        work: impl FnOnce() -> Result<()>,
    ) -> Result<()> {
        let mut before = Vec::new();
        for dir in self.checked()? {
            let fd = match files::open_dir(&dir.path) {
                Ok(fd) => fd,
                Err(Errno::ENOENT) => continue,
                Err(errno) => {
                    return Err(errno).with_context(|| format!("open {}", dir.path.display()));
                }
            };
            let names = if dir.is_unified() { V2 } else { V1 };
            // An idle cgroup has no weight, and a cgroup that is no longer idle gets a new weight.
            let follows = |name: &str| name == "cpu.weight" && changed.contains(&"cpu.idle");
            for name in names.iter().filter(|name| !changed.contains(name) && !follows(name)) {
                match files::read(fd.as_fd(), name) {
                    Ok(text) => before.push((dir, *name, text)),
                    // Most do not exist: they belong to other controllers or newer kernels. Without
                    // the feature, some can only be opened.
                    Err(Errno::ENOENT | Errno::ENODEV | Errno::EOPNOTSUPP) => {}
                    Err(errno) => return Err(files::read_error(&dir.path, name, errno)),
                }
            }
        }
        work()?;
        for (dir, name, text) in before {
            let now = files::read_in(&dir.path, name)
                .map_err(|errno| files::read_error(&dir.path, name, errno))?;
            if now == text {
                continue;
            }
            log::debug(format_args!("{}/{name}: systemd has changed it", dir.path.display()));
            match files::write_in(&dir.path, name, text.trim()) {
                // An empty list means "as above", and cannot be restored while there are processes.
                Err(Errno::ENOSPC) if text.trim().is_empty() => {}
                Err(errno) => return Err(files::write_error(&dir.path, name, text.trim(), errno)),
                Ok(()) => {}
            }
        }
        Ok(())
    }

    /// Sets properties of the unit, if there is a unit. systemd then rewrites the device rules of
    /// cgroup v1, beginning with a rule that allows nothing: the container's processes are frozen
    /// meanwhile, so that no allowed access is refused.
    pub(super) fn set_properties(&self, properties: &[Property]) -> Result<()> {
        let Some(unit) = self.unit() else { return Ok(()) };
        match self.dirs().iter().any(|dir| dir.has_controller("devices")) {
            true => self.while_frozen(|| unit.set(properties)),
            false => unit.set(properties),
        }
    }
}
