//! Options of `exec`.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use super::descriptors::{Descriptors, absolute, descriptor_methods};
use crate::Result;
use crate::spawn::exec::Options;

/// The process to run in a container, with options.
///
/// Without [`process_file`](Self::process_file), the process has the user, environment,
/// capabilities, limits and seccomp filter of the container's configuration, unless a method
/// changes them.
#[derive(Debug, Clone, Default)]
pub struct ExecOptions {
    options: Options,
    cgroups: Vec<String>,
    pub(super) descriptors: Descriptors,
}

impl ExecOptions {
    /// Runs the program `args[0]` with the arguments `args`.
    pub fn new<S: Into<String>>(args: impl IntoIterator<Item = S>) -> ExecOptions {
        let mut options = ExecOptions::default();
        options.options.command.args = args.into_iter().map(Into::into).collect();
        options
    }

    /// Runs the process in the file `path`, which has the format of the `process` object in
    /// config.json. Methods that change the process then have no effect.
    pub fn process_file(path: impl Into<PathBuf>) -> ExecOptions {
        let options = Options { process_file: Some(path.into()), ..Options::default() };
        ExecOptions { options, ..ExecOptions::default() }
    }

    /// Runs the process that `json` describes, in the format of the `process` object in config.json.
    /// Methods that change the process then have no effect.
    pub fn process_json(json: impl Into<String>) -> ExecOptions {
        let options = Options { process_json: Some(json.into()), ..Options::default() };
        ExecOptions { options, ..ExecOptions::default() }
    }

    /// Gives the process a terminal. Default: `false`.
    #[must_use]
    pub fn terminal(mut self, terminal: bool) -> Self {
        self.options.command.terminal = terminal;
        self
    }

    /// Sets the working directory in the container.
    #[must_use]
    pub fn cwd(mut self, cwd: impl Into<PathBuf>) -> Self {
        self.options.command.cwd = Some(cwd.into());
        self
    }

    /// Sets an environment variable, `NAME=value`.
    #[must_use]
    pub fn env(mut self, variable: impl Into<String>) -> Self {
        self.options.command.env.push(variable.into());
        self
    }

    /// Sets the user and group ids. Without a group id, the process has the group of the
    /// container's process.
    #[must_use]
    pub fn user(mut self, uid: u32, gid: Option<u32>) -> Self {
        self.options.command.user =
            Some(gid.map_or_else(|| uid.to_string(), |gid| format!("{uid}:{gid}")));
        self
    }

    /// Adds a supplementary group.
    #[must_use]
    pub fn additional_gid(mut self, gid: u32) -> Self {
        self.options.command.additional_gids.push(gid);
        self
    }

    /// Adds a capability by its name, such as `CAP_NET_RAW`.
    #[must_use]
    pub fn capability(mut self, name: impl Into<String>) -> Self {
        self.options.command.capabilities.push(name.into());
        self
    }

    /// Sets the no_new_privs attribute (prctl(2)). It cannot be unset.
    #[must_use]
    pub fn no_new_privileges(mut self) -> Self {
        self.options.command.no_new_privileges = true;
        self
    }

    /// Sets the AppArmor profile.
    #[must_use]
    pub fn apparmor(mut self, profile: impl Into<String>) -> Self {
        self.options.command.apparmor = Some(profile.into());
        self
    }

    /// Sets the SELinux label.
    #[must_use]
    pub fn selinux_label(mut self, label: impl Into<String>) -> Self {
        self.options.command.label = Some(label.into());
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
        self.options.ignore_paused = ignore_paused;
        self
    }

    descriptor_methods!();

    /// Returns the options for a worker, which can have another working directory.
    pub(super) fn absolute(&self) -> Result<Options> {
        let mut options = self.options.clone();
        self.make_absolute(&mut options)?;
        absolute(&mut options.process_file)?;
        options.cgroups = self.cgroups.iter().map(|text| text.parse()).collect::<Result<_>>()?;
        Ok(options)
    }
}
