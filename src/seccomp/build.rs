//! Compiles a parsed profile into a BPF program. libseccomp knows the numbers of the system calls.
//!
//! libseccomp's own compiler is not used. It takes longer than the rest of a container's start, its
//! programs have four times as many instructions, and version 2.5.4 compiles some profiles with
//! conditions and several architectures into programs without the rules of an architecture.

use std::collections::BTreeSet;

use libseccomp::{ScmpArch, ScmpSyscall};

use super::filter::Filter;
use super::names::{self, flag_supported, flag_value, json_name, scmp_arch};
use super::profile::Profile;
use super::table::{self, Refusal, Table};
use crate::sys::seccomp::{INSTRUCTION, MAX_INSTRUCTIONS, action_known};
use crate::{Error, Result};

pub(super) fn build(profile: &Profile<'_>, warnings: &mut Vec<String>) -> Result<Filter> {
    kernel_can(profile)?;
    let mut tables: Vec<Table> = archs(profile)?.into_iter().map(Table::new).collect();
    fill(&mut tables, profile, warnings)?;
    let program = table::program(&tables, profile.default).map_err(|_| too_large())?;
    if program.len() > MAX_INSTRUCTIONS * INSTRUCTION {
        return Err(too_large());
    }
    Ok(Filter { program, flags: profile.flags, notify: profile.notify })
}

fn too_large() -> Error {
    let why = format!(
        "the filter has more instructions than the {MAX_INSTRUCTIONS} that the kernel takes; name \
         fewer architectures or compare fewer arguments"
    );
    Error::invalid_field("linux.seccomp", why)
}

/// Checks that the kernel supports the actions and flags. The kernel would treat an unknown action
/// as KILL_PROCESS, and refuse an unknown flag with a bare EINVAL.
fn kernel_can(profile: &Profile<'_>) -> Result<()> {
    let actions = profile.rules.iter().map(|rule| rule.action).chain([profile.default]);
    for (action, name) in [
        (libc::SECCOMP_RET_KILL_PROCESS, "SCMP_ACT_KILL_PROCESS"),
        (libc::SECCOMP_RET_LOG, "SCMP_ACT_LOG"),
        (libc::SECCOMP_RET_USER_NOTIF, "SCMP_ACT_NOTIFY"),
    ] {
        if actions.clone().any(|used| used == action) && !action_known(action) {
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

/// Returns the native architecture, which every filter has, and those of the profile.
fn archs(profile: &Profile<'_>) -> Result<Vec<ScmpArch>> {
    let native = ScmpArch::native();
    let mut archs = vec![native];
    for (i, name) in profile.architectures.iter().enumerate() {
        let Some(arch) = scmp_arch(*name) else {
            let field = format!("linux.seccomp.architectures[{i}]");
            let why = format!("libseccomp {} does not know it", names::library_version());
            return Err(Error::invalid(field, json_name(name), why));
        };
        if arch != ScmpArch::Native && !archs.contains(&arch) && can_occur(native, arch) {
            archs.push(arch);
        }
    }
    Ok(archs)
}

/// Whether a system call of `arch` can reach a filter on this machine. Rules for other
/// architectures are left out: they have no effect, and would slow the filter down.
pub(super) fn can_occur(native: ScmpArch, arch: ScmpArch) -> bool {
    use ScmpArch::{Aarch64, Arm, X32, X86, X8664};
    match native {
        X86 | X8664 | X32 => matches!(arch, X86 | X8664 | X32),
        Arm | Aarch64 => matches!(arch, Arm | Aarch64),
        _ => true,
    }
}

/// Adds the rules to the table of each architecture.
fn fill(tables: &mut [Table], profile: &Profile<'_>, warnings: &mut Vec<String>) -> Result<()> {
    let mut unknown = BTreeSet::new();
    for (i, rule) in profile.rules.iter().enumerate() {
        let mut named = BTreeSet::new();
        for name in rule.names {
            // A repeated name would only take the time of its alternatives.
            if rule.alternatives.len() > 1 && !named.insert(name) {
                continue;
            }
            for (index, table) in tables.iter_mut().enumerate() {
                let numbers = table.name(name);
                // The first table is that of the native architecture. libseccomp knows the names of
                // calls that other architectures have, too.
                if index == 0 && numbers == [None; 2] && ScmpSyscall::from_name(name).is_err() {
                    unknown.insert(name);
                    break;
                }
                for number in numbers.into_iter().flatten() {
                    // A rule with the default action changes nothing, as with libseccomp.
                    if rule.action == profile.default {
                        continue;
                    }
                    for conditions in &rule.alternatives {
                        let added = table.add(number, conditions, rule.action);
                        added.map_err(|refusal| match refusal {
                            Refusal::TooMany => too_large(),
                            Refusal::Contradiction => {
                                let field = format!("linux.seccomp.syscalls[{i}]");
                                let why = "contradicts an earlier rule for the same system call";
                                Error::invalid(field, name, why)
                            }
                        })?;
                    }
                }
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
    Ok(())
}

#[cfg(test)]
mod tests;
