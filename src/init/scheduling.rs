//! Scheduler, I/O priority, memory policy and personality.

use nix::errno::Errno;

use crate::plan::scheduling::Scheduling;
use crate::sys::sched;
use crate::{Error, Result};

/// What a process sets of itself, while it still has its rights and no filter: memory policy and
/// personality, which nobody else can set; the rest where the runtime may not.
pub fn set_own(wanted: &Scheduling) -> Result<()> {
    if let Some((mode, flags, nodes)) = &wanted.memory_policy {
        sched::set_memory_policy(*flags, nodes).map_err(|errno| {
            let why = match errno {
                Errno::EINVAL => {
                    " (set_mempolicy(2): mode, nodes and flags do not go together, or the cgroup \
                     has none of the nodes)"
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

/// What the runtime sets of a process, from outside and last of all: a process with a deadline
/// cannot fork.
pub fn set_of(wanted: &Scheduling, pid: i32) -> Result<()> {
    if wanted.sets_own { Ok(()) } else { set(wanted, pid) }
}

fn set(wanted: &Scheduling, pid: i32) -> Result<()> {
    if let Some((class, number, level)) = wanted.io_priority {
        sched::set_io_priority(pid, number, level).map_err(|errno| {
            Error::from(errno)
                .context(format!("process.ioPriority: set {class}, {level}{}", right(errno, "")))
        })?;
    }
    if let Some((policy, attributes)) = &wanted.scheduler {
        sched::set_attributes(pid, attributes).map_err(|errno| {
            let other = match policy.to_string().as_str() {
                "SCHED_DEADLINE" => ", and SCHED_DEADLINE also a cpuset with all processors",
                // Where the kernel groups real-time processes (CONFIG_RT_GROUP_SCHED), a new group
                // has no time for them.
                "SCHED_FIFO" | "SCHED_RR" => {
                    ", and on cgroup v1 also linux.resources.cpu.realtimeRuntime"
                }
                _ => "",
            };
            Error::from(errno)
                .context(format!("process.scheduler: set {policy}{}", right(errno, other)))
        })?;
    }
    Ok(())
}

fn right(errno: Errno, other: &str) -> String {
    match errno {
        Errno::EPERM => format!(" (which needs CAP_SYS_NICE{other})"),
        _ => String::new(),
    }
}
