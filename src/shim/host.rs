//! Facts about the host.

use rustix::fs::statfs;

/// The type of a cgroup v2 file system (statfs(2)).
const CGROUP2: i64 = 0x6367_7270;

/// Where the cgroup file systems are mounted.
pub const CGROUPS: &str = "/sys/fs/cgroup";

/// Whether the host has cgroup v2 alone, in which case containerd expects the metrics of v2.
pub fn is_unified() -> bool {
    statfs(CGROUPS).is_ok_and(|found| found.f_type == CGROUP2)
}
