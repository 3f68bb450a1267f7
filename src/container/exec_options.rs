//! Options of `exec`.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::descriptors::{Descriptors, descriptor_methods};
use crate::config::Listen;
use crate::spawn::Parent;
use crate::spawn::exec::ExecRequest;
use crate::spawn::exec::process::{Asked, Command};
use crate::terminal::signals::Ignored;
use crate::{Context, Error, Kind, Result};

/// The process to run in a container, with options.
///
/// Without [`process_file`](Self::process_file), the process has the user, environment,
/// capabilities, limits and seccomp filter of the container's configuration, unless a method
/// changes them.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct ExecOptions {
    pub(crate) args: Vec<String>,
    pub(crate) process_file: Option<PathBuf>,
    pub(crate) terminal: bool,
    pub(crate) cwd: Option<PathBuf>,
    pub(crate) env: Vec<String>,
    pub(crate) user: Option<String>,
    pub(crate) additional_gids: Vec<u32>,
    pub(crate) capabilities: Vec<String>,
    pub(crate) no_new_privileges: bool,
    pub(crate) apparmor: Option<String>,
    pub(crate) selinux_label: Option<String>,
    pub(crate) cgroups: Vec<String>,
    pub(crate) ignore_paused: bool,
    pub(crate) console_socket: Option<PathBuf>,
    pub(crate) pidfd_socket: Option<PathBuf>,
    pub(crate) pid_file: Option<PathBuf>,
    pub(crate) seccomp_cache: Option<PathBuf>,
    #[serde(skip)]
    pub(crate) descriptors: Descriptors,
    /// The number of descriptors, from 3 on, that the process inherits from the calling process.
    #[serde(skip)]
    pub(crate) preserve_fds: u32,
    /// Descriptors of socket activation, which precede those of `preserve_fds`.
    #[serde(skip)]
    pub(crate) listen: Listen,
}

impl ExecOptions {
    /// Runs the program `args[0]` with the arguments `args`.
    pub fn new<S: Into<String>>(args: impl IntoIterator<Item = S>) -> ExecOptions {
        let args = args.into_iter().map(Into::into).collect();
        ExecOptions { args, ..ExecOptions::default() }
    }

    /// Runs the process in the file `path`, which has the format of the `process` object in
    /// config.json. Methods that change the process then have no effect.
    pub fn process_file(path: impl Into<PathBuf>) -> ExecOptions {
        ExecOptions { process_file: Some(path.into()), ..ExecOptions::default() }
    }

    /// Gives the process a terminal. Default: `false`.
    #[must_use]
    pub fn terminal(mut self, terminal: bool) -> Self {
        self.terminal = terminal;
        self
    }

    /// Sets the working directory in the container.
    #[must_use]
    pub fn cwd(mut self, cwd: impl Into<PathBuf>) -> Self {
        self.cwd = Some(cwd.into());
        self
    }

    /// Sets an environment variable, `NAME=value`.
    #[must_use]
    pub fn env(mut self, variable: impl Into<String>) -> Self {
        self.env.push(variable.into());
        self
    }

    /// Sets the user and group ids. Without a group id, the process has the group of the
    /// container's process.
    #[must_use]
    pub fn user(mut self, uid: u32, gid: Option<u32>) -> Self {
        self.user = Some(gid.map_or_else(|| uid.to_string(), |gid| format!("{uid}:{gid}")));
        self
    }

    /// Adds a supplementary group.
    #[must_use]
    pub fn additional_gid(mut self, gid: u32) -> Self {
        self.additional_gids.push(gid);
        self
    }

    /// Adds a capability by its name, such as `CAP_NET_RAW`.
    #[must_use]
    pub fn capability(mut self, name: impl Into<String>) -> Self {
        self.capabilities.push(name.into());
        self
    }

    /// Sets the no_new_privs attribute (prctl(2)). It cannot be unset.
    #[must_use]
    pub fn no_new_privileges(mut self) -> Self {
        self.no_new_privileges = true;
        self
    }

    /// Sets the AppArmor profile.
    #[must_use]
    pub fn apparmor(mut self, profile: impl Into<String>) -> Self {
        self.apparmor = Some(profile.into());
        self
    }

    /// Sets the SELinux label.
    #[must_use]
    pub fn selinux_label(mut self, label: impl Into<String>) -> Self {
        self.selinux_label = Some(label.into());
        self
    }

    /// Runs the process in an existing cgroup below that of the container: `PATH`, or
    /// `CONTROLLER[,CONTROLLER...]:PATH` with cgroup v1.
    #[must_use]
    pub fn cgroup(mut self, cgroup: impl Into<String>) -> Self {
        self.cgroups.push(cgroup.into());
        self
    }

    /// Accepts a paused container, and waits until the container is resumed. Default: `false`,
    /// which is an error.
    #[must_use]
    pub fn ignore_paused(mut self, ignore_paused: bool) -> Self {
        self.ignore_paused = ignore_paused;
        self
    }

    descriptor_methods!();

    fn own_paths_absolute(&mut self) -> Result<()> {
        if let Some(path) = &mut self.process_file {
            *path = std::path::absolute(&*path).with_context(|| format!("{path:?}"))?;
        }
        Ok(())
    }

    /// Returns the request to [`crate::spawn`].
    pub(super) fn request<'a>(
        &self,
        parent: Parent<'a>,
        signals: &'a Ignored,
    ) -> Result<ExecRequest<'a>> {
        Ok(ExecRequest {
            parent,
            process: self.asked()?,
            console_socket: self.console_socket.clone(),
            pidfd_socket: self.pidfd_socket.clone(),
            pid_file: self.pid_file.clone(),
            preserve_fds: self.preserve_fds,
            cgroups: self.cgroups.iter().map(|text| text.parse()).collect::<Result<_>>()?,
            ignore_paused: self.ignore_paused,
            detached: true,
            signals,
            listen: self.listen.clone(),
            seccomp_cache: self.seccomp_cache.clone(),
        })
    }

    fn asked(&self) -> Result<Asked> {
        match (&self.process_file, self.args.is_empty()) {
            (None, true) => {
                Err(Error::new(Kind::Invalid, "exec: no command given (or --process FILE)"))
            }
            (Some(_), false) => {
                let why = "exec: a command and --process were given; only one can run";
                Err(Error::new(Kind::Invalid, why))
            }
            (Some(path), true) => Ok(Asked::File(path.clone())),
            (None, false) => Ok(Asked::Command(Box::new(Command {
                args: self.args.clone(),
                terminal: self.terminal,
                cwd: self.cwd.clone(),
                env: self.env.clone(),
                user: self.user.clone(),
                additional_gids: self.additional_gids.clone(),
                capabilities: self.capabilities.clone(),
                no_new_privileges: self.no_new_privileges,
                apparmor: self.apparmor.clone(),
                label: self.selinux_label.clone(),
            }))),
        }
    }
}
