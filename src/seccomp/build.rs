//! Compiles a parsed profile into libseccomp's program, with the `ENOSYS` prologue in front.

use std::fs::File;
use std::io::{Read, Seek};

use libseccomp::error::{SeccompErrno, SeccompError};
use libseccomp::{ScmpAction, ScmpArch, ScmpFilterContext, ScmpSyscall};
use nix::sys::memfd::{MFdFlags, memfd_create};

use super::enosys;
use super::filter::Filter;
use super::names::{self, flag_supported, flag_value, json_name, scmp_arch};
use super::profile::Profile;
use super::ranges;
use crate::sys::seccomp::{INSTRUCTION, MAX_INSTRUCTIONS, action_known};
use crate::{Context, Error, Kind, Result};

/// The number of rules above which libseccomp generates a binary tree. The tree costs little here
/// and saves up to a few hundred comparisons in every system call of the container. (libseccomp 2.5
/// generates a broken program from a tree without rules.)
const TREE_FROM: usize = 32;
const TREE: u32 = 2;

pub(super) fn build(profile: &Profile<'_>, warnings: &mut Vec<String>) -> Result<Filter> {
    kernel_can(profile)?;
    let (program, archs) = generate(profile, warnings)?;
    let program = ranges::rewrite(program, &archs).map_err(|ranges::Confused| {
        Error::invalid_field(
            "linux.seccomp",
            format!(
                "libseccomp {} compiles this profile into a program that compares the number of a \
                 call without loading the number; name fewer architectures or compare fewer \
                 arguments",
                names::library_version()
            ),
        )
    })?;
    if program.len() > MAX_INSTRUCTIONS * INSTRUCTION {
        let why = format!(
            "the filter has {} instructions, the kernel takes {MAX_INSTRUCTIONS}; \
             name fewer architectures or compare fewer arguments",
            program.len() / INSTRUCTION
        );
        return Err(Error::invalid_field("linux.seccomp", why));
    }
    Ok(Filter { program, flags: profile.flags, notify: profile.notify })
}

/// Returns the prologue and libseccomp's program, and the `AUDIT_ARCH_*` values that they test for.
pub(super) fn generate(
    profile: &Profile<'_>,
    warnings: &mut Vec<String>,
) -> Result<(Vec<u8>, Vec<u32>)> {
    let mut context =
        ScmpFilterContext::new(profile.default).map_err(|e| library(&e, "make the filter"))?;
    let archs = add_archs(&mut context, profile)?;
    let count = add_rules(&mut context, profile, warnings)?;
    if count > TREE_FROM {
        context
            .set_ctl_optimize(TREE)
            .map_err(|e| library(&e, "turn on libseccomp's binary tree"))?;
    }
    let mut program = if enosys::wanted(profile.default) {
        let names = profile.rules.iter().flat_map(|rule| rule.names).map(String::as_str);
        enosys::prologue(&enosys::newest(&archs, names))
    } else {
        Vec::new()
    };
    export(&context, &mut program)?;
    let mut audits: Vec<u32> = archs.iter().filter_map(|arch| names::audit_arch(*arch)).collect();
    audits.sort_unstable();
    audits.dedup();
    Ok((program, audits))
}

/// Checks that the kernel supports the actions and flags. The kernel would treat an unknown action
/// as KILL_PROCESS, and refuse an unknown flag with a bare EINVAL.
fn kernel_can(profile: &Profile<'_>) -> Result<()> {
    let actions = profile.rules.iter().map(|rule| rule.action).chain([profile.default]);
    for (action, value, name) in [
        (ScmpAction::KillProcess, libc::SECCOMP_RET_KILL_PROCESS, "SCMP_ACT_KILL_PROCESS"),
        (ScmpAction::Log, libc::SECCOMP_RET_LOG, "SCMP_ACT_LOG"),
        (ScmpAction::Notify, libc::SECCOMP_RET_USER_NOTIF, "SCMP_ACT_NOTIFY"),
    ] {
        if actions.clone().any(|used| used == action) && !action_known(value) {
            return Err(Error::invalid("linux.seccomp", name, "this kernel has no such action"));
        }
    }
    for flag in names::FLAGS {
        if flag_value(flag) & profile.named_flags != 0 && !flag_supported(flag) {
            let why = "this kernel has no such flag";
            return Err(Error::invalid("linux.seccomp.flags", json_name(&flag), why));
        }
    }
    Ok(())
}

/// Adds the profile's architectures to the native one, which libseccomp always includes. Returns
/// all.
fn add_archs(context: &mut ScmpFilterContext, profile: &Profile<'_>) -> Result<Vec<ScmpArch>> {
    let native = ScmpArch::native();
    let mut archs = vec![native];
    for (i, name) in profile.architectures.iter().enumerate() {
        let refuse = |why: String| {
            Error::invalid(format!("linux.seccomp.architectures[{i}]"), json_name(name), why)
        };
        let Some(arch) = scmp_arch(*name) else {
            let version = names::library_version();
            return Err(refuse(format!("libseccomp {version} does not know it")));
        };
        if arch == ScmpArch::Native || archs.contains(&arch) || !can_occur(native, arch) {
            continue;
        }
        context.add_arch(arch).map_err(|e| refuse(format!("libseccomp refuses it: {e}")))?;
        archs.push(arch);
    }
    Ok(archs)
}

/// Whether a system call of `arch` can reach a filter on this machine. Rules for other
/// architectures are left out: they have no effect, they would slow the filter down, and libseccomp
/// cannot combine architectures of different byte orders in a filter.
fn can_occur(native: ScmpArch, arch: ScmpArch) -> bool {
    use ScmpArch::{Aarch64, Arm, X32, X86, X8664};
    match native {
        X86 | X8664 | X32 => matches!(arch, X86 | X8664 | X32),
        Arm | Aarch64 => matches!(arch, Arm | Aarch64),
        _ => true,
    }
}

/// Adds the rules. Returns their number.
fn add_rules(
    context: &mut ScmpFilterContext,
    profile: &Profile<'_>,
    warnings: &mut Vec<String>,
) -> Result<usize> {
    let mut unknown: Vec<&str> = Vec::new();
    let mut count = 0;
    for (i, rule) in profile.rules.iter().enumerate() {
        // libseccomp refuses a rule with the default action, which changes nothing.
        let redundant = rule.action == profile.default;
        for name in rule.names {
            // The native number, or libseccomp's pseudo number of a call that only other
            // architectures have; libseccomp translates it for each architecture of the filter.
            let Ok(call) = ScmpSyscall::from_name(name) else {
                if !unknown.contains(&name.as_str()) {
                    unknown.push(name);
                }
                continue;
            };
            if redundant {
                continue;
            }
            for conditions in &rule.alternatives {
                context.add_rule_conditional(rule.action, call, conditions).map_err(|e| {
                    let why = match e.errno() {
                        Some(SeccompErrno::EEXIST) => {
                            "contradicts an earlier rule for the same system call".to_owned()
                        }
                        _ => format!("libseccomp refuses the rule: {e}"),
                    };
                    Error::invalid(format!("linux.seccomp.syscalls[{i}]"), name, why)
                })?;
                count += 1;
            }
        }
    }
    if !unknown.is_empty() {
        warnings.push(format!(
            "linux.seccomp.syscalls: libseccomp {} does not know, so the default action holds for: \
             {unknown:?}",
            names::library_version()
        ));
    }
    Ok(count)
}

/// Appends libseccomp's program, which version 2.5 writes only to a descriptor.
fn export(context: &ScmpFilterContext, program: &mut Vec<u8>) -> Result<()> {
    let mut file =
        File::from(memfd_create(c"seccomp", MFdFlags::MFD_CLOEXEC).context("memfd_create")?);
    context.export_bpf(&file).map_err(|e| library(&e, "export the program"))?;
    file.rewind()?;
    file.read_to_end(program)?;
    Ok(())
}

fn library(error: &SeccompError, operation: &str) -> Error {
    let error = Error::new(Kind::System, format!("libseccomp: {error}"));
    error.context(operation).context("linux.seccomp")
}

#[cfg(test)]
mod tests;
