//! The names that a profile may use, with their values in libseccomp and in the kernel.

use libseccomp::{ScmpArch, ScmpSyscall, ScmpVersion};
use oci_spec::runtime::{
    Arch, LinuxSeccompAction as Action, LinuxSeccompFilterFlag as Flag,
    LinuxSeccompOperator as Operator,
};
use serde::Serialize;

use crate::sys;

/// The valid actions, sorted.
pub const ACTIONS: [Action; 9] = [
    Action::ScmpActAllow,
    Action::ScmpActErrno,
    Action::ScmpActKill,
    Action::ScmpActKillProcess,
    Action::ScmpActKillThread,
    Action::ScmpActLog,
    Action::ScmpActNotify,
    Action::ScmpActTrace,
    Action::ScmpActTrap,
];

/// The valid comparison operators, sorted.
pub const OPERATORS: [Operator; 7] = [
    Operator::ScmpCmpEq,
    Operator::ScmpCmpGe,
    Operator::ScmpCmpGt,
    Operator::ScmpCmpLe,
    Operator::ScmpCmpLt,
    Operator::ScmpCmpMaskedEq,
    Operator::ScmpCmpNe,
];

/// The valid filter flags, sorted.
pub const FLAGS: [Flag; 4] = [
    Flag::SeccompFilterFlagLog,
    Flag::SeccompFilterFlagSpecAllow,
    Flag::SeccompFilterFlagTsync,
    Flag::SeccompFilterFlagWaitKillableRecv,
];

/// The architectures in the terms of the specification and of libseccomp, sorted.
const ARCHS: [(Arch, ScmpArch); 24] = [
    (Arch::ScmpArchAarch64, ScmpArch::Aarch64),
    (Arch::ScmpArchArm, ScmpArch::Arm),
    (Arch::ScmpArchLoongarch64, ScmpArch::Loongarch64),
    (Arch::ScmpArchM68k, ScmpArch::M68k),
    (Arch::ScmpArchMips, ScmpArch::Mips),
    (Arch::ScmpArchMips64, ScmpArch::Mips64),
    (Arch::ScmpArchMips64n32, ScmpArch::Mips64N32),
    (Arch::ScmpArchMipsel, ScmpArch::Mipsel),
    (Arch::ScmpArchMipsel64, ScmpArch::Mipsel64),
    (Arch::ScmpArchMipsel64n32, ScmpArch::Mipsel64N32),
    (Arch::ScmpArchNative, ScmpArch::Native),
    (Arch::ScmpArchParisc, ScmpArch::Parisc),
    (Arch::ScmpArchParisc64, ScmpArch::Parisc64),
    (Arch::ScmpArchPpc, ScmpArch::Ppc),
    (Arch::ScmpArchPpc64, ScmpArch::Ppc64),
    (Arch::ScmpArchPpc64le, ScmpArch::Ppc64Le),
    (Arch::ScmpArchRiscv64, ScmpArch::Riscv64),
    (Arch::ScmpArchS390, ScmpArch::S390),
    (Arch::ScmpArchS390x, ScmpArch::S390X),
    (Arch::ScmpArchSh, ScmpArch::Sh),
    (Arch::ScmpArchSheb, ScmpArch::Sheb),
    (Arch::ScmpArchX32, ScmpArch::X32),
    (Arch::ScmpArchX86, ScmpArch::X86),
    (Arch::ScmpArchX86_64, ScmpArch::X8664),
];

/// Returns the architectures that the loaded libseccomp supports, sorted. `SCMP_ARCH_NATIVE` is
/// accepted too, but the specification does not have it.
pub fn archs() -> Vec<String> {
    let specified = ARCHS.iter().map(|(arch, _)| arch).filter(|a| **a != Arch::ScmpArchNative);
    specified.filter(|arch| scmp_arch(**arch).is_some()).map(json_name).collect()
}

/// Returns the filter flags that the running kernel supports, sorted.
pub fn supported_flags() -> Vec<String> {
    FLAGS.iter().filter(|flag| flag_supported(**flag)).map(json_name).collect()
}

/// Returns the version of the loaded libseccomp.
pub fn library_version() -> String {
    // The library returns a constant; only a null pointer could be an error.
    ScmpVersion::current().map_or_else(|_| "unknown".to_owned(), |version| version.to_string())
}

/// Returns the kernel's value of a flag.
pub(super) fn flag_value(flag: Flag) -> u32 {
    let value = match flag {
        Flag::SeccompFilterFlagLog => libc::SECCOMP_FILTER_FLAG_LOG,
        Flag::SeccompFilterFlagTsync => libc::SECCOMP_FILTER_FLAG_TSYNC,
        Flag::SeccompFilterFlagSpecAllow => libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW,
        Flag::SeccompFilterFlagWaitKillableRecv => libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV,
    };
    value as u32
}

pub(super) fn flag_supported(flag: Flag) -> bool {
    let mut value = flag_value(flag);
    if flag == Flag::SeccompFilterFlagWaitKillableRecv {
        // The kernel accepts it only together with a listener.
        value |= libc::SECCOMP_FILTER_FLAG_NEW_LISTENER as u32;
    }
    sys::seccomp::flags_known(value)
}

/// Returns the architectures in both terms.
pub(super) fn known_archs() -> impl Iterator<Item = (Arch, ScmpArch)> {
    ARCHS.into_iter()
}

/// Returns libseccomp's term for an architecture, if this libseccomp has its system calls.
pub(super) fn scmp_arch(arch: Arch) -> Option<ScmpArch> {
    let (_, found) = ARCHS.iter().find(|(known, _)| *known == arch)?;
    ScmpSyscall::from_name_by_arch("exit", *found).ok().map(|_| *found)
}

/// Returns the name in config.json.
pub(super) fn json_name<T: Serialize + std::fmt::Debug>(value: &T) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(name)) => name,
        _ => format!("{value:?}"),
    }
}

/// Returns the kernel's `AUDIT_ARCH_*`, which a filter sees in `seccomp_data.arch`; `None` for an
/// architecture of a newer libseccomp crate.
pub(super) fn audit_arch(arch: ScmpArch) -> Option<u32> {
    let arch = if arch == ScmpArch::Native { ScmpArch::native() } else { arch };
    // x32 has no audit architecture of its own: it is x86-64 with bit 30 of the number set.
    let arch = if arch == ScmpArch::X32 { ScmpArch::X8664 } else { arch };
    // For all others libseccomp's token is the audit architecture, and oci-spec has the tokens.
    ARCHS.iter().find(|(_, known)| *known == arch).map(|(token, _)| *token as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_sorted_and_in_the_names_of_the_specification() {
        let actions: Vec<String> = ACTIONS.iter().map(json_name).collect();
        let operators: Vec<String> = OPERATORS.iter().map(json_name).collect();
        let flags: Vec<String> = FLAGS.iter().map(json_name).collect();
        for list in [&actions, &operators, &archs(), &flags] {
            assert!(list.is_sorted(), "{list:?}");
            assert!(list.iter().all(|name| name.starts_with("S") && name.contains("_")));
        }
        assert!(archs().contains(&"SCMP_ARCH_X86_64".to_owned()), "{:?}", archs());
        assert!(archs().contains(&"SCMP_ARCH_MIPS64N32".to_owned()), "{:?}", archs());
        assert!(actions.contains(&"SCMP_ACT_KILL_PROCESS".to_owned()));
        assert!(operators.contains(&"SCMP_CMP_MASKED_EQ".to_owned()));
        assert!(flags.contains(&"SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV".to_owned()));
    }

    #[test]
    fn audit_architectures_are_the_kernels() {
        // <linux/audit.h>: the ELF machine, 0x80000000 for 64 bits, 0x40000000 for little endian.
        assert_eq!(audit_arch(ScmpArch::X86), Some(0x4000_0003));
        assert_eq!(audit_arch(ScmpArch::X8664), Some(0xc000_003e));
        assert_eq!(audit_arch(ScmpArch::X32), Some(0xc000_003e));
        assert_eq!(audit_arch(ScmpArch::Aarch64), Some(0xc000_00b7));
        assert_eq!(audit_arch(ScmpArch::S390X), Some(0x8000_0016));
        assert_eq!(audit_arch(ScmpArch::Mips64N32), Some(0xa000_0008));
        assert!(audit_arch(ScmpArch::Native).is_some());
    }
}
