//! Protects limits from side effects of systemd: when systemd sets a property, it rewrites the
//! files of all others, in its own units, which are coarser than the kernel's.

use nix::errno::Errno;

use crate::systemd::Property;
use crate::{Result, log};

use super::files::{self, OpenDir};
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
            let open = match OpenDir::open(&dir.path) {
                Err(error) if error.errno() == Some(Errno::ENOENT) => continue,
                other => other?,
            };
            let names = if dir.is_unified() { V2 } else { V1 };
            // An idle cgroup has no weight, and a cgroup that is no longer idle gets a new weight.
            let follows = |name: &str| name == "cpu.weight" && changed.contains(&"cpu.idle");
            for name in names.iter().filter(|name| !changed.contains(name) && !follows(name)) {
                match open.read(name) {
                    // Most do not exist: they belong to other controllers or newer kernels. Without
                    // the feature, some can only be opened.
                    Err(error) if files::is_gone(&error) => {}
                    Err(error) if error.errno() == Some(Errno::EOPNOTSUPP) => {}
                    text => before.push((&dir.path, *name, text?)),
                }
            }
        }
        work()?;
        for (path, name, text) in before {
            if files::read_in(path, name)? == text {
                continue;
            }
            log::debug(format_args!("{}/{name}: systemd has changed it", path.display()));
            let text = text.trim();
            match files::write_in(path, name, text) {
                // An empty list means "as above", and cannot be restored while there are processes.
                Err(error) if text.is_empty() && error.errno() == Some(Errno::ENOSPC) => {}
                written => written?,
            }
        }
        Ok(())
    }

    /// Sets properties of the unit, if there is a unit. systemd then rewrites the device rules of
    /// cgroup v1, beginning with a rule that allows nothing: the container's processes are frozen
    /// meanwhile, so that no allowed access is refused.
    pub(super) fn set_properties(&self, properties: &[Property]) -> Result<()> {
        let Some(unit) = &self.unit else { return Ok(()) };
        match self.dirs.iter().any(|dir| dir.has_controller("devices")) {
            true => self.while_frozen(|| unit.set(properties)),
            false => unit.set(properties),
        }
    }
}
