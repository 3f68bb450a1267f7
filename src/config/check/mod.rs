//! The rules of a configuration: a flat list of pure functions, the first failure wins.
//!
//! A rule looks at the configuration and at how the runtime was called, never at the machine.
//! Each names the field with its index, the value, and what is wrong with it. An empty string
//! counts as unset wherever the spec's own Go types cannot tell the two apart.

mod devices;
mod hooks;
mod linux;
mod mappings;
mod mounts;
mod namespaces;
mod not_built;
mod process;
mod seccomp;
pub mod sysctl;

use std::path::Path;

use oci_spec::runtime::{Linux, LinuxNamespace, LinuxNamespaceType, Process, Spec};

use crate::{Error, Result};

/// How the runtime was called, as far as a rule depends on it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Given {
    /// `--console-socket` was given.
    pub console_socket: bool,
    /// The runtime does not stay: `create`, or `--detach`.
    pub detached: bool,
    /// The caller is not root in its user namespace.
    pub rootless: bool,
}

type Rule = fn(&Spec, &Given) -> Result<()>;
type ProcessRule = fn(&Process, &Spec, &Given) -> Result<()>;

/// The rules of a whole configuration, in order.
const RULES: &[Rule] = &[
    root,
    annotations,
    namespaces::types_are_unique,
    namespaces::paths_are_absolute,
    namespaces::rootless_has_user_namespace,
    namespaces::user_namespace_and_mappings,
    namespaces::names_need_uts,
    namespaces::restricted_paths_need_mount,
    namespaces::time_offsets,
    mounts::mounts,
    linux::restricted_paths,
    linux::rootfs_propagation,
    linux::mount_label,
    linux::personality,
    linux::memory_policy,
    linux::net_devices,
    linux::intel_rdt,
    linux::cgroups_path,
    sysctl::names_and_values,
    devices::nodes,
    devices::unique,
    seccomp::rules,
    seccomp::errno,
    seccomp::notify,
    hooks::hooks,
];

/// The rules of a process; those of `exec` too.
const PROCESS_RULES: &[ProcessRule] = &[
    process::args,
    process::env,
    process::cwd,
    process::terminal,
    process::ids,
    process::umask,
    process::rlimits,
    process::oom_score_adj,
    process::labels,
    process::io_priority,
    process::scheduler,
    process::exec_cpu_affinity,
];

/// Checks a configuration for `create` or `run`.
///
/// A configuration without a process passes: the spec asks for one only at `start`.
///
/// # Errors
/// The first rule that is broken, then the first thing asked for that this version cannot do.
pub fn check(spec: &Spec, given: &Given) -> Result<()> {
    RULES.iter().try_for_each(|rule| rule(spec, given))?;
    match spec.process() {
        Some(process) => check_process(process, spec, given)?,
        None if given.console_socket => return process::no_terminal(),
        None => {}
    }
    not_built::config(spec)
}

/// Checks a process for `exec`; `spec` is the configuration of the container.
///
/// # Errors
/// As [`check`].
pub fn check_process(process: &Process, spec: &Spec, given: &Given) -> Result<()> {
    PROCESS_RULES.iter().try_for_each(|rule| rule(process, spec, given))?;
    not_built::process(process)
}

/// config.md, "Root": required on Linux.
fn root(spec: &Spec, _: &Given) -> Result<()> {
    match spec.root() {
        None => Err(Error::invalid_field("root", "missing; the spec requires it")),
        Some(root) if root.path().as_os_str().is_empty() => {
            Err(Error::invalid("root.path", root.path(), "must name a directory"))
        }
        Some(_) => Ok(()),
    }
}

/// config.md, "Annotations": keys must not be empty; and the rules of those that are read here.
fn annotations(spec: &Spec, _: &Given) -> Result<()> {
    match spec.annotations() {
        Some(map) if map.contains_key("") => {
            Err(Error::invalid("annotations", "", "a key must not be empty"))
        }
        _ => crate::config::annotations::check(spec),
    }
}

fn linux(spec: &Spec) -> Option<&Linux> {
    spec.linux().as_ref()
}

/// The elements of an optional list.
fn each<T>(list: &Option<Vec<T>>) -> impl Iterator<Item = (usize, &T)> {
    list.iter().flatten().enumerate()
}

/// The namespace of that type the container gets, new or joined.
fn namespace(spec: &Spec, typ: LinuxNamespaceType) -> Option<&LinuxNamespace> {
    linux(spec)?.namespaces().iter().flatten().find(|namespace| namespace.typ() == typ)
}

/// The path of a namespace to join; `None` if a new one is asked for.
fn joined(namespace: &LinuxNamespace) -> Option<&Path> {
    namespace.path().as_deref().filter(|path| !path.as_os_str().is_empty())
}

/// Checks a list such as `0-3,7`; an empty one means unset.
fn number_list(field: &str, list: &str) -> Result<()> {
    match crate::list::List::parse(list) {
        Some(_) => Ok(()),
        None => {
            let why = "not a list of numbers and ranges such as \"0-3,7\"";
            Err(Error::invalid(field, list, why))
        }
    }
}

/// A text that is set: not absent and not empty.
fn set(text: &Option<String>) -> Option<&str> {
    text.as_deref().filter(|text| !text.is_empty())
}

#[cfg(test)]
mod cases;
