//! Instructions in front of libseccomp's program that return `ENOSYS` for system calls that are
//! newer than the profile.
//!
//! A profile that refuses by errno lists the system calls that were known when it was written. A C
//! library tries the newest system call first, and falls back to an older one at `ENOSYS`, but not
//! at `EPERM`, so programs would break with each new kernel. A number above the highest number in
//! the profile therefore gets `ENOSYS`, as from a kernel without the call. It is still refused.
//!
//! Only a default action of `SCMP_ACT_ERRNO` is amended. A profile that kills or traps by default
//! does so for new system calls too; to return an error would weaken a control.
//!
//! The highest number is an approximation: numbers were not always assigned in the order of
//! releases (`close_range`), and gaps below it keep the default action.

use libseccomp::{ScmpAction, ScmpArch, ScmpSyscall};
use nix::errno::Errno;

use super::names::audit_arch;

pub(super) const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
pub(super) const JUMP: u16 = (libc::BPF_JMP | libc::BPF_JA) as u16;
pub(super) const JUMP_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
pub(super) const JUMP_ABOVE: u16 = (libc::BPF_JMP | libc::BPF_JGT | libc::BPF_K) as u16;
pub(super) const JUMP_AT_LEAST: u16 = (libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K) as u16;
const JUMP_BITS: u16 = (libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K) as u16;
pub(super) const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;

/// Offsets in `struct seccomp_data`.
pub(super) const NUMBER: u32 = 0;
pub(super) const ARCH: u32 = 4;

/// The bit in the number of a system call of the x32 ABI.
const X32_BIT: u32 = 0x4000_0000;

/// The first private call of 32-bit ARM (`set_tls`, `cacheflush`), which is not a newer system call
/// in spite of its number.
const ARM_PRIVATE: u32 = 0x000f_0000;

/// The highest number in a profile for one architecture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Newest {
    /// The architecture, in libseccomp's terms.
    pub arch: ScmpArch,
    /// The number in that architecture's table (with bit 30 for x32).
    pub number: u32,
}

/// Whether a profile with this default action gets the prologue.
pub fn wanted(default: ScmpAction) -> bool {
    matches!(default, ScmpAction::Errno(errno) if errno != Errno::ENOSYS as i32)
}

/// Returns the highest number of `names` on each of `archs`; leaves out architectures without any.
pub fn newest<'a>(archs: &[ScmpArch], names: impl Iterator<Item = &'a str> + Clone) -> Vec<Newest> {
    let highest = |arch| {
        names
            .clone()
            .filter_map(|name| ScmpSyscall::from_name_by_arch(name, arch).ok())
            // Negative numbers are libseccomp's own, for calls that this architecture lacks.
            .filter_map(|call| u32::try_from(call.as_raw_syscall()).ok())
            .filter(|number| arch != ScmpArch::Arm || *number < ARM_PRIVATE)
            .max()
    };
    archs.iter().filter_map(|&arch| highest(arch).map(|number| Newest { arch, number })).collect()
}

/// The target of a test's jump.
#[derive(Clone, Copy)]
enum Target {
    /// The test after the given number of tests behind this one.
    Skip(u8),
    /// libseccomp's program.
    Pass,
    /// The instruction that returns `ENOSYS`.
    Enosys,
}

/// A test: its instruction, the value to compare with, and the targets if it is true and if not.
type Test = (u16, u32, Target, Target);

/// Returns the prologue, an array of `struct sock_filter`; empty if nothing is limited.
pub fn prologue(newest: &[Newest]) -> Vec<u8> {
    let mut blocks: Vec<(u32, Vec<Test>)> = Vec::new();
    for audit in newest.iter().filter_map(|newest| audit_arch(newest.arch)) {
        let of_audit = |n: &&Newest| audit_arch(n.arch) == Some(audit);
        let tests = tests(&newest.iter().filter(of_audit).copied().collect::<Vec<_>>());
        if !tests.is_empty() && blocks.iter().all(|(known, _)| *known != audit) {
            blocks.push((audit, tests));
        }
    }
    if blocks.is_empty() {
        return Vec::new();
    }
    // Each block: compare the architecture, load the number, tests, pass, ENOSYS.
    let mut left: usize = blocks.iter().map(|(_, tests)| tests.len() + 4).sum();
    let mut program = Vec::with_capacity((left + 1) * 8);
    emit(&mut program, LOAD, ARCH, 0, 0);
    for (audit, tests) in &blocks {
        left -= tests.len() + 4;
        emit(&mut program, JUMP_EQUAL, *audit, 0, tests.len() as u8 + 3);
        emit(&mut program, LOAD, NUMBER, 0, 0);
        for (i, (code, value, hit, miss)) in tests.iter().enumerate() {
            let to_pass = (tests.len() - i - 1) as u8;
            let jump = |target: &Target| match target {
                Target::Skip(count) => *count,
                Target::Pass => to_pass,
                Target::Enosys => to_pass + 1,
            };
            emit(&mut program, *code, *value, jump(hit), jump(miss));
        }
        // Over the rest of this block and all following blocks: a jump without the limit of 255.
        emit(&mut program, JUMP, left as u32 + 1, 0, 0);
        emit(&mut program, RETURN, libc::SECCOMP_RET_ERRNO | Errno::ENOSYS as u32, 0, 0);
    }
    program
}

/// Returns the tests of the number for one audit architecture: few, so that every jump is short.
fn tests(newest: &[Newest]) -> Vec<Test> {
    use Target::{Enosys, Pass, Skip};
    let number = |arch| newest.iter().find(|n| n.arch == arch).map(|n| n.number);
    let above = |number| (JUMP_ABOVE, number, Enosys, Pass);
    match (number(ScmpArch::X8664), number(ScmpArch::X32)) {
        (Some(x86_64), Some(x32)) => {
            vec![(JUMP_BITS, X32_BIT, Skip(1), Skip(0)), above(x86_64), above(x32)]
        }
        // Calls of the other ABI are left to libseccomp's program, which has the bad architecture
        // action for them.
        (Some(x86_64), None) => {
            vec![(JUMP_BITS, X32_BIT, Pass, Skip(0)), above(x86_64)]
        }
        (None, Some(x32)) => vec![(JUMP_BITS, X32_BIT, Skip(0), Pass), above(x32)],
        (None, None) => match newest {
            [Newest { arch: ScmpArch::Arm, number }] => {
                vec![(JUMP_AT_LEAST, ARM_PRIVATE, Pass, Skip(0)), above(*number)]
            }
            // On s390 a number that the kernel does not have reaches the filter as 0, the number of
            // the removed setup(2).
            [Newest { arch: ScmpArch::S390 | ScmpArch::S390X, number }] => {
                vec![(JUMP_EQUAL, 0, Enosys, Skip(0)), above(*number)]
            }
            [Newest { number, .. }] => vec![above(*number)],
            // No other architectures share an audit architecture.
            _ => Vec::new(),
        },
    }
}

pub(super) fn emit(program: &mut Vec<u8>, code: u16, value: u32, hit: u8, miss: u8) {
    // struct sock_filter { __u16 code; __u8 jt; __u8 jf; __u32 k; }
    program.extend_from_slice(&code.to_ne_bytes());
    program.extend_from_slice(&[hit, miss]);
    program.extend_from_slice(&value.to_ne_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seccomp::filter::{Call, run};

    /// The return value of the program behind the prologue.
    const PASSED: u32 = libc::SECCOMP_RET_LOG;
    const ENOSYS: u32 = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;

    fn answer(newest: &[Newest], arch: ScmpArch, number: u32) -> u32 {
        let mut program = prologue(newest);
        emit(&mut program, RETURN, PASSED, 0, 0);
        run(&program, audit_arch(arch).unwrap(), &Call::with(number.into(), [0; 6])).unwrap()
    }

    fn n(arch: ScmpArch, number: u32) -> Newest {
        Newest { arch, number }
    }

    #[test]
    fn each_architecture_has_its_own_limit() {
        let all = [
            n(ScmpArch::X86, 400),
            n(ScmpArch::X8664, 300),
            n(ScmpArch::X32, X32_BIT | 500),
            n(ScmpArch::Aarch64, 200),
            n(ScmpArch::Arm, 250),
            n(ScmpArch::Riscv64, 210),
        ];
        for Newest { arch, number } in all {
            assert_eq!(answer(&all, arch, number - 1), PASSED, "{arch:?}");
            assert_eq!(answer(&all, arch, number), PASSED, "{arch:?}");
            assert_eq!(answer(&all, arch, number + 1), ENOSYS, "{arch:?}");
            assert_eq!(answer(&all, arch, number + 1000), ENOSYS, "{arch:?}");
        }
        assert_eq!(answer(&all, ScmpArch::Ppc64Le, 100_000), PASSED);
        assert_eq!(answer(&all, ScmpArch::Arm, ARM_PRIVATE + 2), PASSED);
    }

    #[test]
    fn x32_calls_pass_where_the_profile_has_no_x32() {
        let only = [n(ScmpArch::X8664, 300)];
        assert_eq!(answer(&only, ScmpArch::X8664, X32_BIT | 1), PASSED);
        assert_eq!(answer(&only, ScmpArch::X8664, 301), ENOSYS);
        let only = [n(ScmpArch::X32, X32_BIT | 300)];
        assert_eq!(answer(&only, ScmpArch::X8664, 301), PASSED);
        assert_eq!(answer(&only, ScmpArch::X8664, X32_BIT | 301), ENOSYS);
    }

    #[test]
    fn s390_multiplexes_unknown_numbers_on_zero() {
        let only = [n(ScmpArch::S390X, 300)];
        assert_eq!(answer(&only, ScmpArch::S390X, 0), ENOSYS);
        assert_eq!(answer(&only, ScmpArch::S390X, 1), PASSED);
        assert_eq!(answer(&only, ScmpArch::S390X, 301), ENOSYS);
    }

    #[test]
    fn many_architectures_still_reach_the_program_behind() {
        let all: Vec<Newest> = [
            ScmpArch::X86,
            ScmpArch::X8664,
            ScmpArch::X32,
            ScmpArch::Arm,
            ScmpArch::Aarch64,
            ScmpArch::Mips,
            ScmpArch::Mips64,
            ScmpArch::Mips64N32,
            ScmpArch::Mipsel,
            ScmpArch::Mipsel64,
            ScmpArch::Mipsel64N32,
            ScmpArch::Ppc,
            ScmpArch::Ppc64,
            ScmpArch::Ppc64Le,
            ScmpArch::S390,
            ScmpArch::S390X,
            ScmpArch::Parisc,
            ScmpArch::Parisc64,
            ScmpArch::Riscv64,
            ScmpArch::Loongarch64,
            ScmpArch::M68k,
            ScmpArch::Sh,
            ScmpArch::Sheb,
        ]
        .into_iter()
        .map(|arch| n(arch, if arch == ScmpArch::X32 { X32_BIT | 300 } else { 300 }))
        .collect();
        for Newest { arch, number } in &all {
            assert_eq!(answer(&all, *arch, *number), PASSED, "{arch:?}");
            assert_eq!(answer(&all, *arch, number + 1), ENOSYS, "{arch:?}");
        }
    }

    #[test]
    fn numbers_come_from_each_table() {
        let names = ["read", "openat2", "no_such_call", "set_tls"];
        let found = newest(
            &[ScmpArch::X8664, ScmpArch::X32, ScmpArch::X86, ScmpArch::Arm],
            names.into_iter(),
        );
        assert_eq!(
            found,
            [
                n(ScmpArch::X8664, 437),
                n(ScmpArch::X32, X32_BIT | 437),
                n(ScmpArch::X86, 437),
                n(ScmpArch::Arm, 437),
            ]
        );
        assert!(newest(&[ScmpArch::X8664], ["set_tls"].into_iter()).is_empty());
        assert!(prologue(&[]).is_empty());
    }

    #[test]
    fn only_an_errno_default_is_amended() {
        assert!(wanted(ScmpAction::Errno(1)));
        assert!(!wanted(ScmpAction::Errno(libc::ENOSYS)));
        for action in
            [ScmpAction::KillProcess, ScmpAction::Trap, ScmpAction::Allow, ScmpAction::Log]
        {
            assert!(!wanted(action));
        }
    }
}
