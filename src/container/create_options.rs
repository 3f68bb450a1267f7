//! Options of `create` and `run`.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use super::descriptors::{Descriptors, absolute, descriptor_methods};
use crate::spawn::create::Options;
use crate::{Context, Error, Kind, Result, systemd};

/// The creator of a container's cgroup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
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
#[derive(Debug, Clone, Default)]
pub struct CreateOptions {
    options: Options,
    pub(super) descriptors: Descriptors,
}

impl CreateOptions {
    /// Creates options for the bundle directory `bundle`, with the defaults.
    pub fn new(bundle: impl Into<PathBuf>) -> CreateOptions {
        let options = Options { bundle: bundle.into(), ..Options::default() };
        CreateOptions { options, ..CreateOptions::default() }
    }

    /// Reads the configuration from the file `path`. Default: `config.json` in the bundle.
    #[must_use]
    pub fn config(mut self, path: impl Into<PathBuf>) -> Self {
        self.options.config = Some(path.into());
        self
    }

    /// Chooses the creator of the cgroup. Default: [`CgroupManager::Cgroupfs`].
    #[must_use]
    pub fn cgroup_manager(mut self, manager: CgroupManager) -> Self {
        self.options.systemd_cgroup = manager == CgroupManager::Systemd;
        self.options.no_cgroup = manager == CgroupManager::Disabled;
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
        self.options.environment = systemd::Environment::new(|name| variables.get(name).cloned());
        self
    }

    /// Chooses whether a container without limits may run without a cgroup if the caller may not
    /// create one. If not, that is an error. Default: `true` for every user but the root user of
    /// the host.
    #[must_use]
    pub fn rootless(mut self, rootless: bool) -> Self {
        self.options.rootless = Some(rootless);
        self
    }

    /// Uses chroot(2) in the place of pivot_root(2), which refuses a root file system on a ramdisk.
    /// chroot(2) isolates less. Default: `false`.
    #[must_use]
    pub fn no_pivot(mut self, no_pivot: bool) -> Self {
        self.options.no_pivot = no_pivot;
        self
    }

    /// Keeps the session keyring of the caller. Default: `false`, which creates a new keyring.
    #[must_use]
    pub fn no_new_keyring(mut self, no_new_keyring: bool) -> Self {
        self.options.no_new_keyring = no_new_keyring;
        self
    }

    descriptor_methods!();

    /// Returns the options for a worker, which can have another working directory.
    pub(super) fn absolute(&self) -> Result<Options> {
        let mut options = self.options.clone();
        self.make_absolute(&mut options)?;
        absolute(&mut options.config)?;
        options.bundle = absolute_bundle(&options.bundle)?;
        Ok(options)
    }
}

/// Returns the path of the bundle, absolute and without `.`.
pub fn absolute_bundle(bundle: &Path) -> Result<PathBuf> {
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
        assert_eq!(options.options.environment, expected);
    }
}
