//! Limits that systemd must not change on the way: with any property that it is given it writes the
//! files of all others anew, in its own words, which are not as fine as the kernel's.

use std::os::fd::AsFd;

use nix::errno::Errno;

use crate::{Result, log};

use super::files;
use super::record::Record;

/// The files of cgroup v2 that systemd writes. What is idle has no weight, so that comes first.
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

/// Those of cgroup v1.
const V1: &[&str] = &[
    "cpu.shares",
    "cpu.cfs_period_us",
    "cpu.cfs_quota_us",
    "memory.limit_in_bytes",
    "blkio.weight",
    "pids.max",
];

impl Record {
    /// Does `work`, which lets systemd write limits, and puts back those that it was not to change:
    /// all but the files named in `changed`.
    pub(super) fn keeping_limits(
        &self,
        changed: &[&str],
        work: impl FnOnce() -> Result<()>,
    ) -> Result<()> {
        let mut before = Vec::new();
        for dir in self.checked()? {
            let Ok(fd) = files::open_dir(&dir.path) else { continue };
            let names = if dir.is_unified() { V2 } else { V1 };
            // An idle cgroup has no weight, and the end of idleness brings a weight of its own.
            let follows = |name: &str| name == "cpu.weight" && changed.contains(&"cpu.idle");
            for name in names.iter().filter(|name| !changed.contains(name) && !follows(name)) {
                // Most are not there: another controller's, or of a newer kernel.
                if let Ok(text) = files::read(fd.as_fd(), name) {
                    before.push((dir, *name, text));
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
                // An empty list is "as above", and cannot be had back while there are processes.
                Err(Errno::ENOSPC) if text.trim().is_empty() => {}
                Err(errno) => return Err(files::write_error(&dir.path, name, text.trim(), errno)),
                Ok(()) => {}
            }
        }
        Ok(())
    }
}
