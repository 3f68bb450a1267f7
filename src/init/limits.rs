//! Resource limits, and the processors that a process may run on.

use nix::errno::Errno as Refused;
use rustix::io::Errno;
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};

use crate::config::rlimits::Rlimit as Limit;
use crate::sys::sched::{self, Mask};
use crate::{Context, Error, Kind, Result};

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
#[derive(Debug, Clone)]
pub(crate) enum Affinity {
    /// All processors of its cgroup. The affinity of the caller (for example of a daemon that pins
    /// itself) does not apply to the container, and since Linux 6.2 entering a cgroup does not
    /// reset it.
    All,
    Only(Mask),
    Keep,
}

impl Affinity {
    pub fn set(&self) -> Result<()> {
        match self {
            Affinity::Keep => Ok(()),
            Affinity::Only(cpus) => set_affinity(cpus, "process.execCPUAffinity.final"),
            // A seccomp filter around the runtime refuses the call; the container is under it, too.
            Affinity::All => match sched::set_affinity_to_all() {
                Err(Refused::EPERM | Refused::ENOSYS) => Ok(()),
                answer => answer.context("set the CPU affinity"),
            },
        }
    }
}

/// Lets the caller run on `cpus`, those of the field `field`.
pub(crate) fn set_affinity(cpus: &Mask, field: &str) -> Result<()> {
    sched::set_affinity(cpus).map_err(|errno| match errno {
        Refused::EINVAL => {
            Error::new(Kind::Invalid, "none of these CPUs is available").context(field)
        }
        errno => Error::from(errno).context("set the CPU affinity").context(field),
    })
}
