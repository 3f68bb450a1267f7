//! Scheduler, I/O priority, memory policy and personality.

use nix::errno::Errno;
use oci_spec::runtime::LinuxSchedulerPolicy;

use crate::config::scheduling::Scheduling;
use crate::sys::sched;
use crate::{Error, Result};

/// Sets the attributes that a process sets itself, while it still has its rights and no filter:
/// memory policy and personality, which no other process can set; the rest if the runtime may not.
pub(crate) fn set_own(wanted: &Scheduling) -> Result<()> {
    if let Some((mode, flags, nodes)) = &wanted.memory_policy {
        sched::set_memory_policy(*flags, nodes).map_err(|errno| {
            let why = match errno {
                Errno::EINVAL => {
                    " (set_mempolicy(2): invalid combination of mode, nodes and flags, or the \
                     cgroup has none of the nodes)"
                }
                _ => "",
            };
            Error::from(errno).context(format!("linux.memoryPolicy: set {mode}{why}"))
        })?;
    }
    if let Some(domain) = wanted.personality {
        sched::set_personality(domain)
            .map_err(|errno| Error::from(errno).context("linux.personality"))?;
    }
    if wanted.sets_own { set(wanted, 0) } else { Ok(()) }
}

/// Sets the attributes that the runtime sets from outside, last of all: a process with a deadline
/// cannot fork.
pub(crate) fn set_of(wanted: &Scheduling, pid: i32) -> Result<()> {
    if wanted.sets_own { Ok(()) } else { set(wanted, pid) }
}

fn set(wanted: &Scheduling, pid: i32) -> Result<()> {
    if let Some((class, number, level)) = wanted.io_priority {
        sched::set_io_priority(pid, number, level).map_err(|errno| {
            let why = if errno == Errno::EPERM { " (needs CAP_SYS_NICE)" } else { "" };
            Error::from(errno).context(format!("process.ioPriority: set {class}, {level}{why}"))
        })?;
    }
    if let Some((policy, attributes)) = &wanted.scheduler {
        sched::set_attributes(pid, attributes).map_err(|errno| {
            let why = why(errno, *policy, wanted.sets_own);
            Error::from(errno).context(format!("process.scheduler: set {policy}{why}"))
        })?;
    }
    Ok(())
}

/// Returns the likely cause of an error of sched_setattr(2). `unprivileged`: the runtime has no
/// CAP_SYS_NICE; else the capability is not what is missing.
fn why(errno: Errno, policy: LinuxSchedulerPolicy, unprivileged: bool) -> &'static str {
    use LinuxSchedulerPolicy::{SchedDeadline, SchedFifo, SchedRr};
    match (errno, policy) {
        (Errno::EPERM, SchedDeadline) if unprivileged => {
            " (needs CAP_SYS_NICE, and a cpuset with all processors)"
        }
        // The words as far as the colon are runc's, for which scripts look.
        (Errno::EPERM, SchedDeadline) => {
            " (process scheduler can't be used together with AllowedCPUs: it needs a cpuset with \
             all processors)"
        }
        (Errno::EPERM, SchedFifo | SchedRr) if !unprivileged => {
            " (on cgroup v1 the cpu cgroup has no time for it: set \
             linux.resources.cpu.realtimeRuntime)"
        }
        (Errno::EPERM, _) => " (needs CAP_SYS_NICE)",
        (Errno::EBUSY, SchedDeadline) => " (the processors have no time left for it)",
        (Errno::EINVAL, SchedDeadline) => {
            " (the period must be within kernel.sched_deadline_period_min_us and _max_us, and each \
             flag be known to this kernel)"
        }
        _ => "",
    }
}
