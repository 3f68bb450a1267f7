//! `process.scheduler`, `process.ioPriority`, `linux.memoryPolicy`, `linux.personality`: the
//! scheduling, memory placement and execution domain of a process.

use oci_spec::runtime::{
    IOPriorityClass, Linux, LinuxIOPriority, LinuxMemoryPolicy, LinuxPersonality,
    LinuxPersonalityDomain, LinuxSchedulerFlag, LinuxSchedulerPolicy, MemoryPolicyFlagType,
    MemoryPolicyModeType, Process, Scheduler,
};

use crate::host::Host;
use crate::list::List;
use crate::sys::sched::{Attributes, Mask};
use crate::{Error, Result};

// linux/mempolicy.h; libc lacks some of these constants.
const MPOL_PREFERRED_MANY: i32 = 5;
const MPOL_WEIGHTED_INTERLEAVE: i32 = 6;

/// linux/personality.h
const PER_LINUX: libc::c_ulong = 0;
const PER_LINUX32: libc::c_ulong = 8;

/// linux/sched.h; no kernel implements it so far.
const SCHED_ISO: i32 = 4;

/// The four settings; `None` leaves a setting unchanged.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scheduling {
    /// The policy and its parameters, with its name for errors.
    pub scheduler: Option<(LinuxSchedulerPolicy, Attributes)>,
    /// The class and level (ioprio_set(2)), with the class's name for errors.
    pub io_priority: Option<(IOPriorityClass, u32, u32)>,
    /// The mode with its flags, and the mask of nodes (set_mempolicy(2)), with the mode's name.
    pub memory_policy: Option<(MemoryPolicyModeType, i32, Mask)>,
    /// The execution domain (personality(2)).
    pub personality: Option<libc::c_ulong>,
    /// Whether the process sets scheduler and I/O priority itself, before it becomes the user.
    /// Otherwise the runtime sets them: its CAP_SYS_NICE is effective, that of a user namespace is
    /// not.
    pub sets_own: bool,
}

impl Scheduling {
    /// Whether a child inherits the policy (sched(7), "Each thread has an associated"). A process
    /// with a deadline policy cannot even clone.
    pub fn is_inherited(&self) -> bool {
        self.scheduler.as_ref().is_none_or(|(policy, attributes)| {
            *policy != LinuxSchedulerPolicy::SchedDeadline
                && attributes.flags & libc::SCHED_FLAG_RESET_ON_FORK as u64 == 0
        })
    }

    /// Parses the four fields.
    pub fn new(process: &Process, linux: Option<&Linux>, host: &Host) -> Result<Scheduling> {
        let own = linux.map(Scheduling::of_container).transpose()?.unwrap_or_default();
        Ok(Scheduling {
            io_priority: process.io_priority().as_ref().map(parse_io_priority).transpose()?,
            scheduler: process.scheduler().as_ref().map(parse_scheduler).transpose()?,
            sets_own: !host.may_schedule_others(),
            ..own
        })
    }

    /// Parses the fields of `linux` alone.
    pub fn of_container(linux: &Linux) -> Result<Scheduling> {
        Ok(Scheduling {
            personality: linux.personality().as_ref().map(parse_personality).transpose()?,
            memory_policy: linux.memory_policy().as_ref().map(parse_memory_policy).transpose()?,
            ..Scheduling::default()
        })
    }
}

/// Parses the personality (config-linux.md, "Personality"). The specification defines no flag, so
/// none is valid.
fn parse_personality(personality: &LinuxPersonality) -> Result<libc::c_ulong> {
    if let Some(flag) = personality.flags().iter().flatten().next() {
        let why = "the spec defines no flag";
        return Err(Error::invalid("linux.personality.flags[0]", flag, why));
    }
    Ok(match personality.domain() {
        LinuxPersonalityDomain::PerLinux => PER_LINUX,
        LinuxPersonalityDomain::PerLinux32 => PER_LINUX32,
    })
}

/// Parses the scheduler (config.md, "Linux Process"; sched_setattr(2)). A field that the policy
/// does not use is an error, since it would be ignored.
fn parse_scheduler(scheduler: &Scheduler) -> Result<(LinuxSchedulerPolicy, Attributes)> {
    use LinuxSchedulerPolicy::{SchedDeadline, SchedFifo, SchedRr};
    let own = "process.scheduler";
    let name = *scheduler.policy();
    let nice = scheduler.nice().unwrap_or(0);
    if !(-20..=19).contains(&nice) {
        return Err(Error::invalid(format!("{own}.nice"), nice, "must be from -20 to 19"));
    }
    let priority = scheduler.priority().unwrap_or(0);
    let (levels, why) = match name {
        SchedFifo | SchedRr => (1..=99, "must be from 1 to 99"),
        _ => (0..=0, "is only valid with SCHED_FIFO and SCHED_RR"),
    };
    let level = u32::try_from(priority).ok().filter(|_| levels.contains(&priority));
    let Some(priority) = level else {
        return Err(Error::invalid(format!("{own}.priority"), priority, why));
    };
    let times = [
        ("runtime", scheduler.runtime().unwrap_or(0)),
        ("deadline", scheduler.deadline().unwrap_or(0)),
        ("period", scheduler.period().unwrap_or(0)),
    ];
    if name == SchedDeadline {
        check_deadline(times)?;
    } else if let Some((field, nanoseconds)) = times.iter().find(|(_, value)| *value != 0) {
        let why = "is only valid with SCHED_DEADLINE";
        return Err(Error::invalid(format!("{own}.{field}"), nanoseconds, why));
    }
    let [runtime, deadline, period] = times.map(|(_, value)| value);
    let flags = scheduler.flags().iter().flatten();
    let flags = flags.fold(0, |all, flag| all | scheduler_flag(*flag) as u64);
    let policy = policy(name) as u32;
    Ok((name, Attributes { policy, flags, nice, priority, runtime, deadline, period }))
}

/// Checks the kernel's rules for deadlines (sched(7), "SCHED_DEADLINE"), for which it has only one
/// error number.
fn check_deadline(times: [(&str, u64); 3]) -> Result<()> {
    /// `DL_SCALE`: the kernel's minimum, 1024 ns.
    const LEAST: u64 = 1024;
    const MOST: u64 = i64::MAX as u64;
    let [(_, runtime), (_, deadline), (_, period)] = times;
    let (name, value, why) = match () {
        () if runtime < LEAST => ("runtime", runtime, format!("must be at least {LEAST}")),
        () if deadline < runtime => {
            ("deadline", deadline, format!("is below the runtime of {runtime}"))
        }
        // A period of 0 means the deadline.
        () if period != 0 && period < deadline => {
            ("period", period, format!("is below the deadline of {deadline}"))
        }
        () if period > MOST => ("period", period, format!("is above {MOST}")),
        () if deadline > MOST => ("deadline", deadline, format!("is above {MOST}")),
        () => return Ok(()),
    };
    let why = format!("{why} (SCHED_DEADLINE: 1024 <= runtime <= deadline <= period, in ns)");
    Err(Error::invalid(format!("process.scheduler.{name}"), value, why))
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

/// Parses the I/O priority (config.md, "Linux Process"): eight levels.
fn parse_io_priority(io: &LinuxIOPriority) -> Result<(IOPriorityClass, u32, u32)> {
    let class = match io.class() {
        IOPriorityClass::IoprioClassRt => 1,
        IOPriorityClass::IoprioClassBe => 2,
        IOPriorityClass::IoprioClassIdle => 3,
    };
    match u32::try_from(io.priority()) {
        Ok(level @ 0..=7) => Ok((io.class(), class, level)),
        _ => {
            let field = "process.ioPriority.priority";
            Err(Error::invalid(field, io.priority(), "must be from 0 to 7"))
        }
    }
}

/// Parses the memory policy (config-linux.md, "Memory policy"; set_mempolicy(2)). Errors begin with
/// runc's "invalid memory policy" texts, for which scripts search.
fn parse_memory_policy(policy: &LinuxMemoryPolicy) -> Result<(MemoryPolicyModeType, i32, Mask)> {
    use MemoryPolicyModeType::{MpolDefault, MpolLocal, MpolPreferred};
    let field = "linux.memoryPolicy.nodes";
    let nodes = policy.nodes().as_deref().unwrap_or_default();
    let Some(list) = List::parse(nodes) else {
        let why = "invalid memory policy nodes: not a list of numbers and ranges such as \"0-3,7\"";
        return Err(Error::invalid(field, nodes, why));
    };
    let mode = policy.mode();
    match (mode, nodes.is_empty()) {
        (MpolDefault | MpolLocal, false) => {
            let count = list.len();
            let why =
                format!("invalid memory policy: {mode} mode requires 0 nodes but got {count}");
            return Err(Error::invalid(field, nodes, why));
        }
        (MpolDefault | MpolLocal | MpolPreferred, _) | (_, false) => {}
        (_, true) => {
            let why = format!("invalid memory policy: {mode} needs a node");
            return Err(Error::invalid_field(field, why));
        }
    }
    let number = match mode {
        MpolDefault => libc::MPOL_DEFAULT,
        MemoryPolicyModeType::MpolBind => libc::MPOL_BIND,
        MemoryPolicyModeType::MpolInterleave => libc::MPOL_INTERLEAVE,
        MemoryPolicyModeType::MpolWeightedInterleave => MPOL_WEIGHTED_INTERLEAVE,
        MpolPreferred => libc::MPOL_PREFERRED,
        MemoryPolicyModeType::MpolPreferredMany => MPOL_PREFERRED_MANY,
        MpolLocal => libc::MPOL_LOCAL,
    };
    let flags = policy.flags().iter().flatten().map(|flag| match flag {
        MemoryPolicyFlagType::MpolFNumaBalancing => libc::MPOL_F_NUMA_BALANCING,
        MemoryPolicyFlagType::MpolFRelativeNodes => libc::MPOL_F_RELATIVE_NODES,
        MemoryPolicyFlagType::MpolFStaticNodes => libc::MPOL_F_STATIC_NODES,
    });
    let flags = flags.fold(0, |all, flag| all | flag);
    let exclusive = libc::MPOL_F_STATIC_NODES | libc::MPOL_F_RELATIVE_NODES;
    if flags & exclusive == exclusive {
        let why = "invalid memory policy flags: MPOL_F_STATIC_NODES and MPOL_F_RELATIVE_NODES \
                   exclude each other";
        return Err(Error::invalid_field("linux.memoryPolicy.flags", why));
    }
    Ok((mode, number | flags, mask(field, nodes, &list, "invalid memory policy nodes: ")?))
}

/// Returns the mask of a list of CPUs or memory nodes. The reason of an error begins with `prefix`.
pub(super) fn mask(field: &str, text: &str, list: &List, prefix: &str) -> Result<Mask> {
    let bytes = list.mask(Mask::LIMIT).ok_or_else(|| {
        Error::invalid(field, text, format!("{prefix}the last number is {}", Mask::LIMIT - 1))
    })?;
    Ok(Mask::from_bytes(&bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_have_a_limit() {
        let mask = |text: &str| mask("f", text, &List::parse(text).unwrap(), "why: ");
        assert_eq!(mask("").unwrap(), Mask::default());
        assert_eq!(mask("1-3,7").unwrap(), Mask::from_bytes(&[0b1000_1110]));
        assert!(mask("0-32767").is_ok());
        let error = mask("0-32768").unwrap_err().to_string();
        assert_eq!(error, "f: \"0-32768\": why: the last number is 32767");
    }
}
