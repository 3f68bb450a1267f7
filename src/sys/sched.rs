//! Scheduling, CPU affinity, I/O priority, memory policy and execution domain of a process.

use nix::errno::Errno;
use nix::sys::personality::{self, Persona};

use super::integers::{Call, call};

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

/// A set of CPUs or memory nodes as the kernel takes it: bits in words, the lowest number in the
/// lowest bit of the first word. `cpu_set_t` of the C library ends at 1024 CPUs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Mask(Vec<libc::c_ulong>);

impl Mask {
    /// The numbers are below this: a multiple of what any kernel is built for (8192 CPUs, 1024
    /// nodes), and the most that set_mempolicy(2) reads, a page.
    pub const LIMIT: u32 = 4096 * 8;

    const WORDS: usize = (Mask::LIMIT / libc::c_ulong::BITS) as usize;

    /// Makes a mask of bytes, the lowest number in the lowest bit of the first byte.
    pub fn from_bytes(bytes: &[u8]) -> Mask {
        let word = |bytes: &[u8]| {
            bytes.iter().rev().fold(0, |word, byte| (word << 8) | libc::c_ulong::from(*byte))
        };
        Mask(bytes.chunks(size_of::<libc::c_ulong>()).map(word).collect())
    }
}

/// Returns the CPUs that the calling thread may run on, sched_getaffinity(2).
pub fn affinity() -> nix::Result<Mask> {
    let mut words = vec![0; Mask::WORDS];
    let length = affinity_call(libc::SYS_sched_getaffinity, &mut words)?;
    words.truncate(usize::try_from(length).unwrap_or(0) / size_of::<libc::c_ulong>());
    Ok(Mask(words))
}

/// Sets the CPUs that the calling thread may run on, sched_setaffinity(2). The kernel ignores those
/// that do not exist, and refuses a mask of no other.
pub fn set_affinity(mask: &Mask) -> nix::Result<()> {
    affinity_call(libc::SYS_sched_setaffinity, &mut mask.0.clone()).map(drop)
}

/// Lets the calling thread run on all CPUs, including those that the host gets later.
pub fn set_affinity_to_all() -> nix::Result<()> {
    let mut all = [libc::c_ulong::MAX; Mask::WORDS];
    affinity_call(libc::SYS_sched_setaffinity, &mut all).map(drop)
}

/// Calls sched_getaffinity(2) or sched_setaffinity(2) for the calling thread.
fn affinity_call(number: libc::c_long, words: &mut [libc::c_ulong]) -> nix::Result<libc::c_long> {
    let size = size_of_val(words);
    // SAFETY: the kernel reads or writes `size` bytes, which `words` has.
    Errno::result(unsafe { libc::syscall(number, 0, size, words.as_mut_ptr()) })
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
    call(Call::IoprioSet, IOPRIO_WHO_PROCESS, pid.cast_unsigned(), value).map(drop)
}

/// Sets the NUMA policy of the caller, which execve(2) keeps, set_mempolicy(2).
pub fn set_memory_policy(mode: i32, nodes: &Mask) -> nix::Result<()> {
    let Mask(nodes) = nodes;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_are_words() {
        assert_eq!(Mask::from_bytes(&[]), Mask(vec![]));
        assert_eq!(Mask::from_bytes(&[1]), Mask(vec![1]));
        let mut bytes = [0; size_of::<libc::c_ulong>() + 1];
        bytes[1] = 0x80;
        *bytes.last_mut().unwrap() = 1;
        assert_eq!(Mask::from_bytes(&bytes), Mask(vec![0x8000, 1]));
    }

    /// A mask of the largest size is as good as the thread's own.
    #[test]
    fn affinities_of_any_size() {
        let own = affinity().unwrap();
        let mut large = own.clone();
        large.0.resize(Mask::WORDS, 0);
        *large.0.last_mut().unwrap() = 1 << (libc::c_ulong::BITS - 1);
        set_affinity(&large).unwrap();
        assert_eq!(affinity(), Ok(own.clone()));
        // The lowest CPU alone, and then all again.
        let at = own.0.iter().position(|word| *word != 0).unwrap();
        let mut lowest = vec![0; at + 1];
        lowest[at] = own.0[at] & own.0[at].wrapping_neg();
        set_affinity(&Mask(lowest.clone())).unwrap();
        assert_eq!(affinity().unwrap().0[..=at], lowest);
        set_affinity_to_all().unwrap();
        let all = affinity().unwrap();
        assert!(own.0.iter().zip(&all.0).all(|(own, all)| own & all == *own), "{own:?} {all:?}");
        set_affinity(&own).unwrap();
        large.0.iter_mut().take(Mask::WORDS - 1).for_each(|word| *word = 0);
        assert_eq!(set_affinity(&large), Err(Errno::EINVAL));
    }
}
