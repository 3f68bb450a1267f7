//! `process`: what runs, with which environment, limits and filter.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ffi::CString;
use std::path::{Path, PathBuf};

use oci_spec::runtime::{Linux, PosixRlimitType};
use rustix::process::Resource;

use super::identity::{CapSets, Identity};
use super::namespaces::Namespaces;
use super::scheduling::Scheduling;
use crate::host::{self, Host};
use crate::seccomp::cache::Unsaved;
use crate::seccomp::{self, Filter};
use crate::terminal::pty;
use crate::{Context, Error, Result};

/// The container's process, ready to be made.
#[derive(Debug)]
pub struct Process {
    /// argv; at least one.
    pub args: Vec<CString>,
    /// The environment: of a name given twice the last one.
    pub env: Vec<CString>,
    /// Absolute.
    pub cwd: PathBuf,
    /// A terminal of its own.
    pub terminal: bool,
    /// Rows and columns of that terminal; `None`: the caller's.
    pub console_size: Option<nix::pty::Winsize>,
    /// Ids and capabilities.
    pub identity: Identity,
    /// prctl(2) PR_SET_NO_NEW_PRIVS
    pub no_new_privileges: bool,
    /// Set by the parent, which may raise them, unless [`Process::sets_own_rlimits`].
    pub rlimits: Vec<Rlimit>,
    /// Whether init sets them itself, before it becomes the user: a runtime without
    /// CAP_SYS_RESOURCE (in a container, say) may not change those of a process of another user.
    pub sets_own_rlimits: bool,
    /// /proc/self/oom_score_adj
    pub oom_score_adj: Option<i32>,
    /// The compiled filter.
    pub seccomp: Option<Filter>,
    /// The cache's entry for it, to be saved when the process is there.
    pub unsaved_filter: Option<Unsaved>,
    /// Where the notify descriptor of that filter goes, and what goes with it.
    pub listener: Option<(PathBuf, Option<String>)>,
    /// Processor time, disk, memory, kind of machine.
    pub scheduling: Scheduling,
    /// The AppArmor profile that execve puts it under.
    pub apparmor: Option<String>,
}

/// One limit of getrlimit(2).
#[derive(Debug, Clone, Copy)]
pub struct Rlimit {
    /// Which.
    pub resource: Resource,
    /// Its name, for error texts.
    pub name: PosixRlimitType,
    /// rlim_cur
    pub soft: u64,
    /// rlim_max
    pub hard: u64,
}

impl Process {
    /// To be called when the process is there.
    pub fn save_filter(&self) {
        if let Some(unsaved) = &self.unsaved_filter {
            unsaved.save();
        }
    }

    /// Reads `process`, and of `linux` what concerns processes: seccomp, memory policy, personality.
    pub fn new(
        process: &oci_spec::runtime::Process,
        linux: Option<&Linux>,
        namespaces: &Namespaces,
        keeps_groups: bool,
        cache: Option<&Path>,
        host: &Host,
        warnings: &mut Vec<String>,
    ) -> Result<Process> {
        let available = available(namespaces, host)?;
        let caps = CapSets::new(process.capabilities().as_ref(), available, warnings);
        let profile = linux.and_then(|linux| linux.seccomp().as_ref());
        let seccomp = profile
            .map(|profile| seccomp::compile_cached(profile, cache, warnings))
            .transpose()
            .context("linux.seccomp")?;
        let (seccomp, unsaved_filter) = seccomp.unzip();
        let listener = profile
            .filter(|_| seccomp.as_ref().is_some_and(|filter| filter.notify))
            .and_then(|p| Some((p.listener_path().clone()?, p.listener_metadata().clone())));
        let identity = Identity::new(process.user(), keeps_groups, caps);
        let scheduling = Scheduling::new(process, linux, host)?;
        Ok(Process {
            sets_own_rlimits: !namespaces.has_user()
                && !host.may_limit_others()
                && (identity.uid, identity.gid) != (host.uid, host.gid),
            args: strings("process.args", process.args().as_deref().unwrap_or(&[]))?,
            env: environment(process.env().as_deref().unwrap_or(&[]))?,
            cwd: process.cwd().clone(),
            terminal: process.terminal().unwrap_or(false),
            console_size: match process.console_size() {
                Some(size) => pty::console_size(size.height(), size.width())?,
                None => None,
            },
            identity,
            no_new_privileges: process.no_new_privileges().unwrap_or(false),
            rlimits: rlimits(process.rlimits().as_deref().unwrap_or(&[])),
            oom_score_adj: process.oom_score_adj(),
            seccomp,
            unsaved_filter: unsaved_filter.flatten(),
            listener,
            scheduling,
            apparmor: apparmor(process.apparmor_profile().as_deref(), host::has_apparmor)?,
        })
    }
}

/// The profile asked for. Where there is no AppArmor nothing is confined, and only that can be had.
fn apparmor(
    profile: Option<&str>,
    has_apparmor: impl Fn() -> Result<bool>,
) -> Result<Option<String>> {
    match profile.filter(|profile| !profile.is_empty()) {
        None => Ok(None),
        Some(profile) if has_apparmor()? => Ok(Some(profile.to_owned())),
        Some("unconfined") => Ok(None),
        Some(profile) => {
            let why = "AppArmor is not enabled on this host";
            Err(Error::invalid("process.apparmorProfile", profile, why))
        }
    }
}

/// What the container's process may have at most: in a user namespace that is not the runtime's
/// everything the kernel knows, else what the runtime has itself.
fn available(namespaces: &Namespaces, host: &Host) -> Result<u64> {
    if !namespaces.has_user() {
        return Ok(host.caps.permitted);
    }
    let text = crate::fs::read_text("/proc/sys/kernel/cap_last_cap")?;
    let last: u32 = text.trim().parse().unwrap_or(40);
    Ok(u64::MAX >> (63 - last.min(63)))
}

fn strings(field: &str, list: &[String]) -> Result<Vec<CString>> {
    let convert = |(i, text): (usize, &String)| {
        CString::new(text.as_str())
            .map_err(|_| Error::invalid(format!("{field}[{i}]"), text, "holds a NUL"))
    };
    list.iter().enumerate().map(convert).collect()
}

/// Of a name given twice the last one counts, at the place of the first.
fn environment(list: &[String]) -> Result<Vec<CString>> {
    let mut kept: Vec<&String> = Vec::with_capacity(list.len());
    let mut places = BTreeMap::new();
    for entry in list {
        let name = entry.split('=').next().unwrap_or("");
        match places.entry(name) {
            Entry::Occupied(place) => kept[*place.get()] = entry,
            Entry::Vacant(place) => {
                place.insert(kept.len());
                kept.push(entry);
            }
        }
    }
    let kept: Vec<String> = kept.into_iter().cloned().collect();
    strings("process.env", &kept)
}

fn rlimits(list: &[oci_spec::runtime::PosixRlimit]) -> Vec<Rlimit> {
    list.iter()
        .map(|limit| Rlimit {
            resource: resource(limit.typ()),
            name: limit.typ(),
            soft: limit.soft(),
            hard: limit.hard(),
        })
        .collect()
}

fn resource(kind: PosixRlimitType) -> Resource {
    match kind {
        PosixRlimitType::RlimitCpu => Resource::Cpu,
        PosixRlimitType::RlimitFsize => Resource::Fsize,
        PosixRlimitType::RlimitData => Resource::Data,
        PosixRlimitType::RlimitStack => Resource::Stack,
        PosixRlimitType::RlimitCore => Resource::Core,
        PosixRlimitType::RlimitRss => Resource::Rss,
        PosixRlimitType::RlimitNproc => Resource::Nproc,
        PosixRlimitType::RlimitNofile => Resource::Nofile,
        PosixRlimitType::RlimitMemlock => Resource::Memlock,
        PosixRlimitType::RlimitAs => Resource::As,
        PosixRlimitType::RlimitLocks => Resource::Locks,
        PosixRlimitType::RlimitSigpending => Resource::Sigpending,
        PosixRlimitType::RlimitMsgqueue => Resource::Msgqueue,
        PosixRlimitType::RlimitNice => Resource::Nice,
        PosixRlimitType::RlimitRtprio => Resource::Rtprio,
        PosixRlimitType::RlimitRttime => Resource::Rttime,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_apparmor_only_nothing_can_be_had() {
        let with = |profile| apparmor(profile, || Ok(true)).unwrap();
        let without = |profile| apparmor(profile, || Ok(false));
        assert_eq!((with(None), with(Some(""))), (None, None));
        assert_eq!(with(Some("p")).as_deref(), Some("p"));
        // A runtime that is confined itself has to ask for it.
        assert_eq!(with(Some("unconfined")).as_deref(), Some("unconfined"));
        assert_eq!(without(Some("unconfined")).unwrap(), None);
        let error = without(Some("p")).unwrap_err().to_string();
        assert_eq!(error, "process.apparmorProfile: \"p\": AppArmor is not enabled on this host");
        // Nobody is asked for what is not needed.
        assert!(apparmor(None, || unreachable!()).is_ok());
    }

    #[test]
    fn the_last_of_two_equal_names_wins() {
        let list: Vec<String> =
            ["A=1", "B=2", "A=3", "C="].iter().map(ToString::to_string).collect();
        let env = environment(&list).unwrap();
        let env: Vec<&str> = env.iter().map(|e| e.to_str().unwrap()).collect();
        assert_eq!(env, ["A=3", "B=2", "C="]);
    }
}
