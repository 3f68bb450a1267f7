//! Scheduling, I/O priority, memory policy and execution domain of a process.

use nix::errno::Errno;
use nix::sys::personality::{self, Persona};

/// linux/ioprio.h
const IOPRIO_WHO_PROCESS: libc::c_int = 1;
const IOPRIO_CLASS_SHIFT: u32 = 13;

/// The arguments of sched_setattr(2); times are in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Attributes {
    /// SCHED_*
    pub policy: u32,
    /// SCHED_FLAG_*
    pub flags: u64,
    pub nice: i32,
    pub priority: u32,
    pub runtime: u64,
    pub deadline: u64,
    pub period: u64,
}

/// Sets the policy of the process `pid` (0 is the caller), sched_setattr(2).
pub fn set_attributes(pid: i32, attributes: &Attributes) -> nix::Result<()> {
    let attr = libc::sched_attr {
        size: size_of::<libc::sched_attr>() as u32,
        sched_policy: attributes.policy,
        sched_flags: attributes.flags,
        sched_nice: attributes.nice,
        sched_priority: attributes.priority,
        sched_runtime: attributes.runtime,
        sched_deadline: attributes.deadline,
        sched_period: attributes.period,
    };
    let flags: libc::c_uint = 0;
    // SAFETY: `attr` lives through the call and says its own size.
    Errno::result(unsafe { libc::syscall(libc::SYS_sched_setattr, pid, &raw const attr, flags) })?;
    Ok(())
}

/// Sets class (1 realtime, 2 best effort, 3 idle) and level of the process `pid` (0 is the caller),
/// ioprio_set(2).
pub fn set_io_priority(pid: i32, class: u32, level: u32) -> nix::Result<()> {
    let value = class << IOPRIO_CLASS_SHIFT | level;
    // SAFETY: integers only.
    Errno::result(unsafe { libc::syscall(libc::SYS_ioprio_set, IOPRIO_WHO_PROCESS, pid, value) })?;
    Ok(())
}

/// Sets the NUMA policy of the caller, which execve(2) keeps, set_mempolicy(2). `nodes` is a bit
/// mask, with the lowest node in the lowest bit of the first word; empty means no nodes.
pub fn set_memory_policy(mode: i32, nodes: &[libc::c_ulong]) -> nix::Result<()> {
    let mask = if nodes.is_empty() { std::ptr::null() } else { nodes.as_ptr() };
    // The kernel uses one bit less than the given number.
    let bits = if nodes.is_empty() { 0 } else { nodes.len() * libc::c_ulong::BITS as usize + 1 };
    // SAFETY: `mask` is null with a count of 0, or points to that many bits less one, rounded up to
    // words.
    Errno::result(unsafe { libc::syscall(libc::SYS_set_mempolicy, mode, mask, bits) })?;
    Ok(())
}

/// Sets the caller's execution domain, which execve(2) keeps, personality(2).
pub fn set_personality(domain: libc::c_ulong) -> nix::Result<()> {
    let domain = libc::c_int::try_from(domain).map_err(|_| Errno::EINVAL)?;
    personality::set(Persona::from_bits_retain(domain)).map(drop)
}
