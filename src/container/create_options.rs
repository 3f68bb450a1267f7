//! Options of `create` and `run`.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::descriptors::{Descriptors, descriptor_methods};
use crate::config::Listen;
use crate::sd_notify;
use crate::spawn::Parent;
use crate::spawn::create::CreateRequest;
use crate::state::Id;
use crate::terminal::signals::Ignored;
use crate::{Context, Error, Kind, Result, systemd};

/// The creator of a container's cgroup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub enum CgroupManager {
    /// This library, in the cgroup file system.
    #[default]
    Cgroupfs,
    /// systemd; `linux.cgroupsPath` is then `slice:prefix:name`.
    Systemd,
    /// None: the container stays in the cgroup of its creator, and limits are an error.
    Disabled,
}

/// The bundle of a container to create, with options.
///
/// ```no_run
/// # fn main() -> bulkhead::Result<()> {
/// let options = bulkhead::CreateOptions::new("/srv/web").pid_file("/run/web.pid");
/// let init = bulkhead::Runtime::open("/run/my-engine")?.create("web", &options)?;
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct CreateOptions {
    pub(crate) bundle: PathBuf,
    pub(crate) config: Option<PathBuf>,
    pub(crate) console_socket: Option<PathBuf>,
    pub(crate) pidfd_socket: Option<PathBuf>,
    pub(crate) pid_file: Option<PathBuf>,
    pub(crate) seccomp_cache: Option<PathBuf>,
    pub(crate) no_pivot: bool,
    pub(crate) no_new_keyring: bool,
    pub(crate) rootless: Option<bool>,
    pub(crate) cgroup_manager: CgroupManager,
    /// The environment variables that locate systemd.
    pub(crate) environment: systemd::Environment,
    #[serde(skip)]
    pub(crate) descriptors: Descriptors,
    /// The number of descriptors, from 3 on, that the process inherits from the calling process.
    #[serde(skip)]
    pub(crate) preserve_fds: u32,
    /// Descriptors of socket activation, which precede those of `preserve_fds`.
    #[serde(skip)]
    pub(crate) listen: Listen,
    /// The service manager to notify when the container is ready.
    #[serde(skip)]
    pub(crate) notify: Option<sd_notify::Host>,
}

impl CreateOptions {
    /// Creates options for the bundle directory `bundle`, with the defaults.
    pub fn new(bundle: impl Into<PathBuf>) -> CreateOptions {
        CreateOptions { bundle: bundle.into(), ..CreateOptions::default() }
    }

    /// Reads the configuration from the file `path`. Default: `config.json` in the bundle.
    #[must_use]
    pub fn config(mut self, path: impl Into<PathBuf>) -> Self {
        self.config = Some(path.into());
        self
    }

    /// Chooses the creator of the cgroup. Default: [`CgroupManager::Cgroupfs`].
    #[must_use]
    pub fn cgroup_manager(mut self, manager: CgroupManager) -> Self {
        self.cgroup_manager = manager;
        self
    }

    /// Sets the environment variables with which [`CgroupManager::Systemd`] finds the service manager:
    /// `DBUS_SYSTEM_BUS_ADDRESS`, and without root privileges `DBUS_SESSION_BUS_ADDRESS` or
    /// `XDG_RUNTIME_DIR`. Ignores empty values and all other variables. Default: no variable, so that
    /// only the service manager of the system is found.
    ///
    /// ```
    /// use bulkhead::{CgroupManager, CreateOptions};
    /// let options = CreateOptions::new("/srv/web")
    ///     .cgroup_manager(CgroupManager::Systemd)
    ///     .systemd_environment(std::env::vars_os());
    /// ```
    #[must_use]
    pub fn systemd_environment<N: AsRef<OsStr>, V: AsRef<OsStr>>(
        mut self,
        variables: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        let text = |text: &OsStr| text.to_str().map(str::to_owned);
        let variables: BTreeMap<String, String> = variables
            .into_iter()
            .filter_map(|(name, value)| Some((text(name.as_ref())?, text(value.as_ref())?)))
            .collect();
        self.environment = systemd::Environment::new(|name| variables.get(name).cloned());
        self
    }

    /// Chooses whether a container without limits may run without a cgroup if the caller may not
    /// create one. If not, that is an error. Default: `true` for every user but the root user of
    /// the host.
    #[must_use]
    pub fn rootless(mut self, rootless: bool) -> Self {
        self.rootless = Some(rootless);
        self
    }

    /// Uses chroot(2) in the place of pivot_root(2), which refuses a root file system on a ramdisk.
    /// chroot(2) isolates less. Default: `false`.
    #[must_use]
    pub fn no_pivot(mut self, no_pivot: bool) -> Self {
        self.no_pivot = no_pivot;
        self
    }

    /// Keeps the session keyring of the caller. Default: `false`, which creates a new keyring.
    #[must_use]
    pub fn no_new_keyring(mut self, no_new_keyring: bool) -> Self {
        self.no_new_keyring = no_new_keyring;
        self
    }

    descriptor_methods!();

    fn own_paths_absolute(&mut self) -> Result<()> {
        self.bundle = absolute_bundle(&self.bundle)?;
        if let Some(config) = &mut self.config {
            *config = std::path::absolute(&*config).with_context(|| format!("{config:?}"))?;
        }
        Ok(())
    }

    /// Returns the request to [`crate::spawn`].
    pub(super) fn request<'a>(
        &self,
        id: &Id,
        parent: Parent<'a>,
        signals: &'a Ignored,
    ) -> Result<CreateRequest<'a>> {
        Ok(CreateRequest {
            parent,
            id: id.clone(),
            bundle: absolute_bundle(&self.bundle)?,
            config: self.config.clone(),
            console_socket: self.console_socket.clone(),
            pidfd_socket: self.pidfd_socket.clone(),
            pid_file: self.pid_file.clone(),
            no_pivot: self.no_pivot,
            no_new_keyring: self.no_new_keyring,
            preserve_fds: self.preserve_fds,
            detached: true,
            waits_for_start: false,
            rootless: self.rootless,
            systemd_cgroup: self.cgroup_manager == CgroupManager::Systemd,
            environment: self.environment.clone(),
            no_cgroup: self.cgroup_manager == CgroupManager::Disabled,
            signals,
            listen: self.listen.clone(),
            notify: self.notify.clone(),
            seccomp_cache: self.seccomp_cache.clone(),
        })
    }
}

/// Returns the path of the bundle, absolute and without `.`.
fn absolute_bundle(bundle: &Path) -> Result<PathBuf> {
    let what = || format!("--bundle {bundle:?}");
    // Checked here, because a missing directory is a better reason than a missing config.json.
    if !std::fs::metadata(bundle).with_context(what)?.is_dir() {
        return Err(Error::new(Kind::Invalid, "not a directory").context(what()));
    }
    let absolute = std::path::absolute(bundle).with_context(what)?;
    Ok(absolute.components().filter(|component| *component != Component::CurDir).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_of_systemd_is_picked_from_any_other() {
        let options = CreateOptions::new("/b").systemd_environment([
            ("PATH", "/bin"),
            ("XDG_RUNTIME_DIR", "/run/user/1"),
            ("DBUS_SESSION_BUS_ADDRESS", ""),
        ]);
        let expected = systemd::Environment {
            runtime_dir: Some("/run/user/1".to_owned()),
            ..systemd::Environment::default()
        };
        assert_eq!(options.environment, expected);
    }
}
