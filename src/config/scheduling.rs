//! `process.scheduler`, `process.ioPriority`, `linux.memoryPolicy`, `linux.personality`: what
//! processor time, disk and memory a process gets, and what it takes the machine for.

use oci_spec::runtime::{
    IOPriorityClass, Linux, LinuxIOPriority, LinuxMemoryPolicy, LinuxPersonalityDomain,
    LinuxSchedulerFlag, LinuxSchedulerPolicy, MemoryPolicyFlagType, MemoryPolicyModeType, Process,
};

use crate::host::Host;
use crate::list::List;
use crate::sys::sched::Attributes;
use crate::{Error, Result};

// linux/mempolicy.h; libc has not all of them.
const MPOL_PREFERRED_MANY: i32 = 5;
const MPOL_WEIGHTED_INTERLEAVE: i32 = 6;

/// linux/personality.h
const PER_LINUX: libc::c_ulong = 0;
const PER_LINUX32: libc::c_ulong = 8;

/// More than any kernel is built for (CONFIG_NODES_SHIFT is at most 10).
const MAX_NODES: u32 = 1024;

/// linux/sched.h; not in any kernel so far.
const SCHED_ISO: i32 = 4;

/// All four; what is `None` stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scheduling {
    /// Policy and parameters, with the policy's name for error texts.
    pub scheduler: Option<(LinuxSchedulerPolicy, Attributes)>,
    /// Class and level, ioprio_set(2), with the class' name for error texts.
    pub io_priority: Option<(IOPriorityClass, u32, u32)>,
    /// Mode with its flags and mask of nodes, set_mempolicy(2), with the mode's name.
    pub memory_policy: Option<(MemoryPolicyModeType, i32, Vec<libc::c_ulong>)>,
    /// personality(2)
    pub personality: Option<libc::c_ulong>,
    /// Whether the process sets scheduler and I/O priority itself, before it becomes the user.
    /// Else the runtime does, whose CAP_SYS_NICE counts where that of a user namespace does not.
    pub sets_own: bool,
}

impl Scheduling {
    /// Whether a child gets the policy of its parent, sched(7), "Each thread has an associated": one
    /// with a deadline cannot even clone.
    pub fn is_inherited(&self) -> bool {
        self.scheduler.as_ref().is_none_or(|(policy, attributes)| {
            *policy != LinuxSchedulerPolicy::SchedDeadline
                && attributes.flags & libc::SCHED_FLAG_RESET_ON_FORK as u64 == 0
        })
    }

    /// Reads it all; the spec has been checked.
    pub fn new(process: &Process, linux: Option<&Linux>, host: &Host) -> Result<Scheduling> {
        Ok(Scheduling {
            scheduler: process.scheduler().as_ref().map(|scheduler| {
                let flags = scheduler.flags().iter().flatten().map(|flag| scheduler_flag(*flag));
                let attributes = Attributes {
                    policy: policy(*scheduler.policy()) as u32,
                    flags: flags.fold(0, |all, flag| all | flag as u64),
                    nice: scheduler.nice().unwrap_or(0),
                    priority: u32::try_from(scheduler.priority().unwrap_or(0)).unwrap_or(0),
                    runtime: scheduler.runtime().unwrap_or(0),
                    deadline: scheduler.deadline().unwrap_or(0),
                    period: scheduler.period().unwrap_or(0),
                };
                (*scheduler.policy(), attributes)
            }),
            io_priority: process.io_priority().as_ref().map(io_priority),
            memory_policy: linux
                .and_then(|linux| linux.memory_policy().as_ref())
                .map(memory_policy)
                .transpose()?,
            personality: linux.and_then(|linux| linux.personality().as_ref()).map(|personality| {
                match personality.domain() {
                    LinuxPersonalityDomain::PerLinux => PER_LINUX,
                    LinuxPersonalityDomain::PerLinux32 => PER_LINUX32,
                }
            }),
            sets_own: !host.may_schedule_others(),
        })
    }
}

fn policy(policy: LinuxSchedulerPolicy) -> i32 {
    match policy {
        LinuxSchedulerPolicy::SchedOther => libc::SCHED_OTHER,
        LinuxSchedulerPolicy::SchedFifo => libc::SCHED_FIFO,
        LinuxSchedulerPolicy::SchedRr => libc::SCHED_RR,
        LinuxSchedulerPolicy::SchedBatch => libc::SCHED_BATCH,
        LinuxSchedulerPolicy::SchedIso => SCHED_ISO,
        LinuxSchedulerPolicy::SchedIdle => libc::SCHED_IDLE,
        LinuxSchedulerPolicy::SchedDeadline => libc::SCHED_DEADLINE,
    }
}

fn scheduler_flag(flag: LinuxSchedulerFlag) -> i32 {
    match flag {
        LinuxSchedulerFlag::SchedResetOnFork => libc::SCHED_FLAG_RESET_ON_FORK,
        LinuxSchedulerFlag::SchedFlagReclaim => libc::SCHED_FLAG_RECLAIM,
        LinuxSchedulerFlag::SchedFlagDLOverrun => libc::SCHED_FLAG_DL_OVERRUN,
        LinuxSchedulerFlag::SchedFlagKeepPolicy => libc::SCHED_FLAG_KEEP_POLICY,
        LinuxSchedulerFlag::SchedFlagKeepParams => libc::SCHED_FLAG_KEEP_PARAMS,
        LinuxSchedulerFlag::SchedFlagUtilClampMin => libc::SCHED_FLAG_UTIL_CLAMP_MIN,
        LinuxSchedulerFlag::SchedFlagUtilClampMax => libc::SCHED_FLAG_UTIL_CLAMP_MAX,
    }
}

fn io_priority(io: &LinuxIOPriority) -> (IOPriorityClass, u32, u32) {
    let class = match io.class() {
        IOPriorityClass::IoprioClassRt => 1,
        IOPriorityClass::IoprioClassBe => 2,
        IOPriorityClass::IoprioClassIdle => 3,
    };
    (io.class(), class, u32::try_from(io.priority()).unwrap_or(0))
}

fn memory_policy(
    wanted: &LinuxMemoryPolicy,
) -> Result<(MemoryPolicyModeType, i32, Vec<libc::c_ulong>)> {
    let mode = match wanted.mode() {
        MemoryPolicyModeType::MpolDefault => libc::MPOL_DEFAULT,
        MemoryPolicyModeType::MpolBind => libc::MPOL_BIND,
        MemoryPolicyModeType::MpolInterleave => libc::MPOL_INTERLEAVE,
        MemoryPolicyModeType::MpolWeightedInterleave => MPOL_WEIGHTED_INTERLEAVE,
        MemoryPolicyModeType::MpolPreferred => libc::MPOL_PREFERRED,
        MemoryPolicyModeType::MpolPreferredMany => MPOL_PREFERRED_MANY,
        MemoryPolicyModeType::MpolLocal => libc::MPOL_LOCAL,
    };
    let flags = wanted.flags().iter().flatten().map(|flag| match flag {
        MemoryPolicyFlagType::MpolFNumaBalancing => libc::MPOL_F_NUMA_BALANCING,
        MemoryPolicyFlagType::MpolFRelativeNodes => libc::MPOL_F_RELATIVE_NODES,
        MemoryPolicyFlagType::MpolFStaticNodes => libc::MPOL_F_STATIC_NODES,
    });
    let flags = flags.fold(0, |all, flag| all | flag);
    Ok((wanted.mode(), mode | flags, mask(wanted.nodes().as_deref().unwrap_or(""))?))
}

/// Returns the mask of a list of memory nodes, as set_mempolicy(2) takes it.
fn mask(list: &str) -> Result<Vec<libc::c_ulong>> {
    let bytes = List::parse(list).and_then(|list| list.mask(MAX_NODES)).ok_or_else(|| {
        let why = format!("invalid memory policy nodes: the last one is {}", MAX_NODES - 1);
        Error::invalid("linux.memoryPolicy.nodes", list, why)
    })?;
    let word = |bytes: &[u8]| {
        bytes.iter().rev().fold(0, |word, byte| (word << 8) | libc::c_ulong::from(*byte))
    };
    Ok(bytes.chunks(size_of::<libc::c_ulong>()).map(word).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_nodes() {
        assert!(mask("").unwrap().is_empty());
        assert_eq!(mask("0").unwrap(), [1]);
        assert_eq!(mask("1-3,7").unwrap(), [0b1000_1110]);
        assert_eq!(mask("63-64").unwrap(), [1 << 63, 1]);
        let error = mask("0-1024").unwrap_err().to_string();
        assert!(error.starts_with("linux.memoryPolicy.nodes: \"0-1024\""), "{error}");
    }
}
