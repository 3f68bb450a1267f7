//! `process`: the program, with its environment, limits, ids and seccomp filter.

use std::ffi::CString;
use std::path::PathBuf;

use oci_spec::runtime::{ExecCPUAffinity, Linux, Process as Spec};
use rustix::termios::Winsize;

use super::environment::{self, c_string};
use super::identity::{CapSets, Identity};
use super::ids::IdMaps;
use super::linux::one_line;
use super::namespaces::Namespaces;
use super::rlimits::Rlimit;
use super::scheduling::{self, Scheduling};
use super::selinux;
use crate::host::{self, Host};
use crate::list::List;
use crate::seccomp::{self, Filter};
use crate::sys::sched::Mask;
use crate::terminal::pty;
use crate::{Error, Result};

/// The container's process, checked and ready to be started.
#[derive(Debug)]
pub struct Process {
    /// The arguments; at least one.
    pub args: Vec<CString>,
    /// The environment, without duplicate names; the last value counts.
    pub env: Vec<CString>,
    /// The working directory, absolute.
    pub cwd: PathBuf,
    /// Whether the process has a terminal.
    pub terminal: bool,
    /// The rows and columns of the terminal; `None` means the size of the caller's terminal.
    pub console_size: Option<Winsize>,
    /// The ids and capabilities.
    pub identity: Identity,
    /// Whether to set PR_SET_NO_NEW_PRIVS (prctl(2)).
    pub no_new_privileges: bool,
    /// The resource limits. The parent sets them, since it may raise them, unless
    /// [`Process::sets_own_rlimits`] is set.
    pub rlimits: Vec<Rlimit>,
    /// Whether init sets the limits, before it becomes the user: a runtime without CAP_SYS_RESOURCE
    /// (in a container, for example) cannot change the limits of a process of another user.
    pub sets_own_rlimits: bool,
    /// The value for /proc/self/oom_score_adj.
    pub oom_score_adj: Option<i32>,
    /// The compiled seccomp filter.
    pub seccomp: Option<Filter>,
    /// The path of the socket that gets the filter's notify descriptor, and the metadata that goes
    /// with it.
    pub listener: Option<(PathBuf, Option<String>)>,
    /// The scheduler, I/O priority, memory policy and personality.
    pub scheduling: Scheduling,
    /// The AppArmor profile that takes effect at execve(2).
    pub apparmor: Option<String>,
    /// The SELinux label that takes effect at execve(2), and that of a new session keyring.
    pub selinux: Option<String>,
    /// The processors of a process that `exec` starts.
    pub exec_affinity: Option<ExecAffinity>,
}

/// The processors of `execCPUAffinity`; `None` for an empty list, which means unset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecAffinity {
    /// The runtime's processors until the process is in its cgroup.
    pub initial: Option<Mask>,
    /// The processors of the process afterwards.
    pub last: Option<Mask>,
}

impl Process {
    /// Whether the seccomp filter has a listener, which the runtime sends to its agent.
    pub fn has_listener(&self) -> bool {
        self.listener.is_some()
    }

    /// Parses `process`, and the members of `linux` about processes: seccomp, memory policy,
    /// personality.
    pub fn new(
        process: &Spec,
        around: &Surroundings<'_>,
        warnings: &mut Vec<String>,
    ) -> Result<Process> {
        let Surroundings { linux, namespaces, host, .. } = *around;
        let args = args(process.args().as_deref().unwrap_or_default())?;
        let env = environment::parse(process.env().as_deref().unwrap_or_default())?;
        if !process.cwd().is_absolute() {
            return Err(Error::invalid("process.cwd", process.cwd(), "must be an absolute path"));
        }
        let console_size = around.terminal.console_size(process)?;
        let mut identity = Identity::new(process.user(), around.ids, around.keeps_groups)?;
        let rlimits = Rlimit::parse(process.rlimits().as_deref().unwrap_or_default())?;
        let oom_score_adj = oom_score_adj(process.oom_score_adj())?;
        let profile = process.apparmor_profile().as_deref();
        one_line("process.apparmorProfile", profile)?;
        let label = process.selinux_label().as_deref();
        one_line("process.selinuxLabel", label)?;
        let scheduling = Scheduling::new(process, linux, host)?;
        let exec_affinity = process.exec_cpu_affinity().as_ref();
        let exec_affinity = exec_affinity.map(ExecAffinity::new).transpose()?;
        let available = available(namespaces, host)?;
        identity.caps = CapSets::new(process.capabilities().as_ref(), available, warnings);
        let profile_of_calls = linux.and_then(|linux| linux.seccomp().as_ref());
        let seccomp = profile_of_calls.map(|p| seccomp::compile(p, warnings)).transpose()?;
        let listener = profile_of_calls
            .filter(|_| seccomp.as_ref().is_some_and(|filter| filter.notify))
            .and_then(|p| Some((p.listener_path().clone()?, p.listener_metadata().clone())));
        Ok(Process {
            sets_own_rlimits: !namespaces.has_user()
                && !host.may_limit_others()
                && (identity.uid, identity.gid) != (host.uid, host.gid),
            args,
            env,
            cwd: process.cwd().clone(),
            terminal: process.terminal().unwrap_or(false),
            console_size,
            identity,
            no_new_privileges: process.no_new_privileges().unwrap_or(false),
            rlimits,
            oom_score_adj,
            seccomp,
            listener,
            scheduling,
            apparmor: apparmor(profile, host::has_apparmor)?,
            selinux: selinux::label("process.selinuxLabel", label, host::has_selinux)?,
            exec_affinity,
        })
    }

    /// Sets a variable of the environment; replaces a variable of that name.
    pub fn set_env(&mut self, name: &str, value: &str) -> Result<()> {
        environment::set(&mut self.env, name, value)
    }
}

/// Checks the members of `linux` about processes in a configuration without a process (the
/// specification requires one only at `start`).
pub fn check_absent(around: &Surroundings<'_>) -> Result<()> {
    around.terminal.without_terminal()?;
    let Some(linux) = around.linux else { return Ok(()) };
    Scheduling::of_container(linux)?;
    linux.seccomp().as_ref().map_or(Ok(()), seccomp::check)
}

/// The surroundings that a process depends on.
#[derive(Debug, Clone, Copy)]
pub struct Surroundings<'a> {
    /// `linux` of the container's configuration.
    pub linux: Option<&'a Linux>,
    /// The namespaces of the process.
    pub namespaces: &'a Namespaces,
    /// The mappings of the user namespace, if the configuration creates it.
    pub ids: Option<&'a IdMaps>,
    /// Whether the process keeps the supplementary groups of the caller.
    pub keeps_groups: bool,
    /// How the terminal is served.
    pub terminal: TerminalRequest,
    /// The host.
    pub host: &'a Host,
}

/// The terminal options of the command line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TerminalRequest {
    /// Whether `--console-socket` was given.
    pub console_socket: bool,
    /// Whether the runtime exits before the container: `create`, or `--detach`.
    pub detached: bool,
}

impl TerminalRequest {
    /// Returns the size of the terminal. Checks that the master has a receiver, and that a console
    /// socket has a terminal (runtime.md): a runtime that does not exit relays the terminal itself.
    fn console_size(self, process: &Spec) -> Result<Option<Winsize>> {
        let refuse = |why: &str| Err(Error::invalid("process.terminal", true, why));
        if !process.terminal().unwrap_or(false) {
            // The specification ignores consoleSize without a terminal.
            return self.without_terminal().map(|()| None);
        }
        match (self.detached, self.console_socket) {
            (true, false) => {
                refuse("the runtime does not stay to serve the terminal: give --console-socket")
            }
            (false, true) => refuse(
                "--console-socket needs create or --detach: otherwise the runtime itself serves \
                 the terminal",
            ),
            _ => match process.console_size() {
                Some(size) => pty::console_size(size.height(), size.width()),
                None => Ok(None),
            },
        }
    }

    /// Refuses a console socket that would receive no terminal.
    pub fn without_terminal(self) -> Result<()> {
        if self.console_socket {
            let why = "--console-socket needs a terminal";
            return Err(Error::invalid("process.terminal", false, why));
        }
        Ok(())
    }
}

/// Parses the arguments (config.md, "Process"): at least one, and a file to execute.
fn args(list: &[String]) -> Result<Vec<CString>> {
    match list.first() {
        None => Err(Error::invalid_field("process.args", "at least one argument is required")),
        Some(file) if file.is_empty() => {
            Err(Error::invalid("process.args[0]", file, "must name the file to execute"))
        }
        Some(_) => {
            list.iter().enumerate().map(|(i, text)| c_string("process.args", i, text)).collect()
        }
    }
}

/// Checks the range of oom_score_adj (proc_pid_oom_score_adj(5)).
fn oom_score_adj(score: Option<i32>) -> Result<Option<i32>> {
    match score {
        Some(score) if !(-1000..=1000).contains(&score) => {
            Err(Error::invalid("process.oomScoreAdj", score, "must be from -1000 to 1000"))
        }
        score => Ok(score),
    }
}

impl ExecAffinity {
    /// Parses the processor lists (config.md, "Linux Process").
    fn new(affinity: &ExecCPUAffinity) -> Result<ExecAffinity> {
        let mask = |name: &str, text: &Option<String>| -> Result<Option<Mask>> {
            let field = format!("process.execCPUAffinity.{name}");
            let text = text.as_deref().unwrap_or_default();
            let list = List::parse(text).ok_or_else(|| {
                let why = "not a list of numbers and ranges such as \"0-3,7\"";
                Error::invalid(field.as_str(), text, why)
            })?;
            let mask = scheduling::mask(&field, text, &list, "")?;
            Ok(Some(mask).filter(|_| !list.is_empty()))
        };
        Ok(ExecAffinity {
            initial: mask("initial", affinity.initial())?,
            last: mask("final", affinity.cpu_affinity_final())?,
        })
    }
}

/// Returns the AppArmor profile to set. Without AppArmor nothing is confined, so only "unconfined"
/// is accepted.
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

/// Returns the capabilities that the process can get: all that the kernel has in a user namespace
/// other than the runtime's, else those of the runtime.
fn available(namespaces: &Namespaces, host: &Host) -> Result<u64> {
    if !namespaces.has_user() {
        return Ok(host.caps.permitted);
    }
    let text = crate::fs::read_text("/proc/sys/kernel/cap_last_cap")?;
    let last: u32 = text.trim().parse().unwrap_or(40);
    Ok(u64::MAX >> (63 - last.min(63)))
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
        // A confined runtime must set "unconfined" explicitly.
        assert_eq!(with(Some("unconfined")).as_deref(), Some("unconfined"));
        assert_eq!(without(Some("unconfined")).unwrap(), None);
        let error = without(Some("p")).unwrap_err().to_string();
        assert_eq!(error, "process.apparmorProfile: \"p\": AppArmor is not enabled on this host");
        // The host is not examined unless a profile needs it.
        assert!(apparmor(None, || unreachable!()).is_ok());
    }
}
