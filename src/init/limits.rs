//! Resource limits, and the processors that a process may run on.

use rustix::io::Errno;
use rustix::process::{Pid, Rlimit, prlimit};
use rustix::thread::{CpuSet, sched_setaffinity};

use crate::plan::process::Rlimit as Limit;
use crate::{Context, Error, Result};

/// Sets the limits of a process, or of the caller. From outside it is done last of all, when init
/// makes nothing any more (a small RLIMIT_NOFILE or RLIMIT_FSIZE would get in its own way), and
/// because in a user namespace init may not raise a limit. Only who has CAP_SYS_RESOURCE may raise a hard
/// limit, or set those of a process with other ids (setrlimit(2)).
pub fn set(limits: &[Limit], pid: Option<i32>) -> Result<()> {
    // RLIM_INFINITY is the largest number; rustix has no number for it.
    let value = |n: u64| (n != u64::MAX).then_some(n);
    for limit in limits {
        let new = Rlimit { current: value(limit.soft), maximum: value(limit.hard) };
        prlimit(pid.and_then(Pid::from_raw), limit.resource, new).map_err(|errno| {
            let Limit { name, soft, hard, .. } = limit;
            let right = match errno {
                Errno::PERM => " (above the caller's, which needs CAP_SYS_RESOURCE)",
                _ => "",
            };
            let what = format!("process.rlimits: set {name} to soft {soft}, hard {hard}{right}");
            Error::from(errno).context(what)
        })?;
    }
    Ok(())
}

/// Lets the calling process run on all processors of its cgroup. Those that the runtime's caller
/// is bound to (a daemon that pins itself, say) are no concern of the container, and since
/// Linux 6.2 entering a cgroup does not undo it. The kernel leaves out what is not there.
pub fn all_processors() -> Result<()> {
    let mut all = CpuSet::new();
    (0..CpuSet::MAX_CPU).for_each(|cpu| all.set(cpu));
    match sched_setaffinity(None, &all) {
        // A filter around the runtime keeps it from that, and the container with it.
        Ok(()) | Err(Errno::PERM | Errno::NOSYS) => Ok(()),
        Err(errno) => Err(errno).context("reset the CPU affinity"),
    }
}
