//! System calls that a seccomp profile should not permit. Calls that need a capability are left to
//! the rules about capabilities: without it the kernel refuses them.

use oci_spec::runtime::{LinuxSeccomp, LinuxSeccompAction};
use serde_json::Value;

use super::subject::Seccomp;
use crate::seccomp::{self, Filter};

/// `CLONE_NEWUSER` with the signal of an ordinary fork.
const NEW_USER: u64 = libc::CLONE_NEWUSER as u64 | libc::SIGCHLD as u64;

/// The group of [`GROUPS`] whose calls make a user namespace.
pub const USERNS: usize = 0;
/// The group whose calls change mounts.
pub const MOUNT: usize = 1;
/// The group of keyrings.
pub const KEYRING: usize = 2;
/// The group of bpf and perf events.
pub const BPF: usize = 3;
/// The group of io_uring.
pub const IO_URING: usize = 4;
/// The group of userfaultfd.
pub const USERFAULTFD: usize = 5;
/// The group of calls on other processes.
pub const TRACE: usize = 6;

/// A system call, with its first argument if only that is dangerous.
type Call = (&'static str, Option<u64>);

/// The calls, by the rule that reports them.
pub const GROUPS: [&[Call]; 7] = [
    &[("clone", Some(NEW_USER)), ("clone3", None), ("unshare", Some(libc::CLONE_NEWUSER as u64))],
    &[
        ("fsmount", None),
        ("mount", None),
        ("mount_setattr", None),
        ("move_mount", None),
        ("open_tree", None),
        ("pivot_root", None),
        ("umount2", None),
    ],
    &[("add_key", None), ("keyctl", None), ("request_key", None)],
    &[("bpf", None), ("perf_event_open", None)],
    &[("io_uring_enter", None), ("io_uring_register", None), ("io_uring_setup", None)],
    &[("userfaultfd", None)],
    &[("process_vm_readv", None), ("process_vm_writev", None), ("ptrace", None)],
];

/// Compiles `linux.seccomp` and asks the filter about each call.
pub fn of_profile(profile: Option<&Value>) -> Seccomp {
    let Some(profile) = profile else { return Seccomp::Missing };
    let Ok(profile) = serde_json::from_str::<LinuxSeccomp>(&profile.to_string()) else {
        return Seccomp::Unknown;
    };
    use LinuxSeccompAction::{ScmpActAllow, ScmpActLog};
    let permits_unnamed = matches!(profile.default_action(), ScmpActAllow | ScmpActLog);
    // A profile that does not compile is refused by the runtime, which is a finding of its own.
    match seccomp::compile(&profile, &mut Vec::new()) {
        Ok(filter) => Seccomp::Filter { permits_unnamed, permitted: permitted(&filter) },
        Err(_) => Seccomp::Unknown,
    }
}

/// Returns the permitted calls of each group.
fn permitted(filter: &Filter) -> Vec<Vec<&'static str>> {
    let permits = |(name, argument): &&Call| match argument {
        Some(argument) => {
            // A rule for exactly this value does not stop the other namespaces beside it.
            let with_mounts = argument | libc::CLONE_NEWNS as u64;
            let asked = [*argument, with_mounts];
            asked.iter().any(|argument| filter.may_permit_named(name, &[*argument]))
        }
        None => filter.may_permit_named(name, &[]),
    };
    let group =
        |group: &&'static [Call]| group.iter().filter(permits).map(|(name, _)| *name).collect();
    GROUPS.iter().map(group).collect()
}
