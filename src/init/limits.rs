//! Resource limits, and the processors that a process may run on.

use rustix::io::Errno;
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use rustix::thread::{CpuSet, sched_setaffinity};

use crate::config::rlimits::Rlimit as Limit;
use crate::{Error, Result};

/// Sets the resource limits of a process, or of the caller. The runtime does it last of all, when
/// init opens nothing any more (a small RLIMIT_NOFILE or RLIMIT_FSIZE would stop init itself), and
/// because in a user namespace init may not raise a limit. To raise a hard limit, or to set a limit
/// of a process with other ids, needs CAP_SYS_RESOURCE (setrlimit(2)).
pub(crate) fn set<'a>(limits: impl IntoIterator<Item = &'a Limit>, pid: Option<i32>) -> Result<()> {
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

/// Lets process `pid` set RLIMIT_NPROC itself: raises its hard limit if a higher one is requested,
/// which only the runtime may have the right to do.
pub(crate) fn allow_process_count(limits: &[Limit], pid: i32) -> Result<()> {
    let Some(limit) = limits.iter().find(|limit| limit.is_process_count()) else { return Ok(()) };
    let own = getrlimit(Resource::Nproc).maximum.unwrap_or(u64::MAX);
    if limit.hard <= own {
        return Ok(());
    }
    set([&Limit { soft: limit.hard, ..*limit }], Some(pid))
}

/// Processors that a process may run on, sched_setaffinity(2).
#[derive(Debug, Clone, Copy)]
pub(crate) enum Affinity {
    /// All processors of its cgroup. The affinity of the caller (for example of a daemon that pins
    /// itself) does not apply to the container, and since Linux 6.2 entering a cgroup does not
    /// reset it.
    All,
    Only(CpuSet),
    Keep,
}

impl Affinity {
    pub fn set(self) -> Result<()> {
        let cpus = match self {
            Affinity::Keep => return Ok(()),
            Affinity::Only(cpus) => cpus,
            // The kernel ignores processors that do not exist.
            Affinity::All => {
                let mut all = CpuSet::new();
                (0..CpuSet::MAX_CPU).for_each(|cpu| all.set(cpu));
                all
            }
        };
        match (sched_setaffinity(None, &cpus), self) {
            (Ok(()), _) => Ok(()),
            // A seccomp filter around the runtime refuses the call; the container is under it, too.
            (Err(Errno::PERM | Errno::NOSYS), Affinity::All) => Ok(()),
            (Err(errno), _) => Err(Error::from(errno).context("set the CPU affinity")),
        }
    }
}
