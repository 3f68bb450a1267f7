//! Options of `checkpoint` and `restore`.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::create_options::CreateOptions;
use crate::checkpoint::{CgroupMode, Dump, NetworkLock, PageServer, Settings};
use crate::spawn::create::Options;
use crate::{Context, Result};

/// The CRIU program of most distributions.
const CRIU: &str = "/usr/sbin/criu";

/// The default PATH of CRIU, which runs ip(8), iptables-restore(8) and others.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

fn settings(images: PathBuf) -> Settings {
    let environment = vec![("PATH".into(), PATH.into())];
    Settings { program: CRIU.into(), environment, images, ..Settings::default() }
}

fn absolute(settings: &Settings) -> Result<Settings> {
    let mut settings = settings.clone();
    let paths = [&mut settings.program, &mut settings.images];
    for path in paths.into_iter().chain(&mut settings.work) {
        *path = std::path::absolute(&*path).with_context(|| format!("{path:?}"))?;
    }
    Ok(settings)
}

/// Defines the methods that [`CheckpointOptions`] and [`RestoreOptions`] share.
macro_rules! criu_methods {
    () => {
        /// Uses the CRIU program at `path`. Default: `/usr/sbin/criu`.
        #[must_use]
        pub fn criu(mut self, path: impl Into<PathBuf>) -> Self {
            self.settings.program = path.into();
            self
        }

        /// Sets the environment of CRIU, and with `PATH` the directories of the programs that CRIU
        /// runs. Default: only `PATH`, with the usual directories.
        #[must_use]
        pub fn criu_environment<N: AsRef<OsStr>, V: AsRef<OsStr>>(
            mut self,
            variables: impl IntoIterator<Item = (N, V)>,
        ) -> Self {
            let owned = |text: &OsStr| -> OsString { text.to_owned() };
            let pairs = variables.into_iter().map(|(n, v)| (owned(n.as_ref()), owned(v.as_ref())));
            self.settings.environment = pairs.collect();
            self
        }

        /// Writes CRIU's log and statistics to the directory `path`, which is created if it does
        /// not exist. Default: the image directory.
        #[must_use]
        pub fn work_dir(mut self, path: impl Into<PathBuf>) -> Self {
            self.settings.work = Some(path.into());
            self
        }

        /// Keeps established TCP connections.
        #[must_use]
        pub fn tcp_established(mut self, keep: bool) -> Self {
            self.settings.tcp_established = keep;
            self
        }

        /// Accepts Unix sockets that are connected to processes outside of the container.
        #[must_use]
        pub fn external_unix_sockets(mut self, accept: bool) -> Self {
            self.settings.ext_unix_sk = accept;
            self
        }

        /// Accepts a session or a terminal that belongs to a process outside of the container.
        #[must_use]
        pub fn shell_job(mut self, accept: bool) -> Self {
            self.settings.shell_job = accept;
            self
        }

        /// Keeps file locks.
        #[must_use]
        pub fn file_locks(mut self, keep: bool) -> Self {
            self.settings.file_locks = keep;
            self
        }

        /// Transfers memory pages on demand after the restore.
        #[must_use]
        pub fn lazy_pages(mut self, lazy: bool) -> Self {
            self.settings.lazy_pages = lazy;
            self
        }

        /// Removes memory pages from earlier images once they are not needed.
        #[must_use]
        pub fn auto_dedup(mut self, remove: bool) -> Self {
            self.settings.auto_dedup = remove;
            self
        }

        /// Chooses how CRIU treats cgroups. Default: that of CRIU.
        #[must_use]
        pub fn cgroup_mode(mut self, mode: CgroupMode) -> Self {
            self.settings.cgroup_mode = Some(mode);
            self
        }

        /// Chooses how CRIU keeps packets from the sockets of the container. Default: that of CRIU.
        #[must_use]
        pub fn network_lock(mut self, lock: NetworkLock) -> Self {
            self.settings.network_lock = Some(lock);
            self
        }
    };
}

/// Where and how a container is saved.
///
/// ```no_run
/// # fn main() -> bulkhead::Result<()> {
/// let options = bulkhead::CheckpointOptions::new("/srv/images").leave_running(true);
/// bulkhead::Runtime::open("/run/my-engine")?.container("web")?.checkpoint(&options)
/// # }
/// ```
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CheckpointOptions {
    pub(crate) settings: Settings,
    pub(crate) dump: Dump,
}

impl CheckpointOptions {
    /// Saves the container in the directory `images`, which is created if it does not exist.
    pub fn new(images: impl Into<PathBuf>) -> CheckpointOptions {
        CheckpointOptions { settings: settings(images.into()), dump: Dump::default() }
    }

    criu_methods!();

    /// Saves only what has changed since the pre-dump in the directory `path`, which is relative to
    /// the image directory.
    #[must_use]
    pub fn parent_images(mut self, path: impl Into<PathBuf>) -> Self {
        self.dump.parent_images = Some(path.into());
        self
    }

    /// Saves memory only; the container runs on.
    #[must_use]
    pub fn pre_dump(mut self, pre_dump: bool) -> Self {
        self.dump.pre_dump = pre_dump;
        self
    }

    /// Keeps the container running after it is saved. Otherwise the container is deleted.
    #[must_use]
    pub fn leave_running(mut self, leave_running: bool) -> Self {
        self.dump.leave_running = leave_running;
        self
    }

    /// Leaves out TCP connections that the container has not accepted yet.
    #[must_use]
    pub fn tcp_skip_in_flight(mut self, skip: bool) -> Self {
        self.settings.tcp_skip_in_flight = skip;
        self
    }

    /// Saves files that are open but unlinked by linking them again.
    #[must_use]
    pub fn link_remap(mut self, link: bool) -> Self {
        self.settings.link_remap = link;
        self
    }

    /// Sends memory pages to a page server in the place of the image directory.
    #[must_use]
    pub fn page_server(mut self, address: impl Into<String>, port: u16) -> Self {
        self.settings.page_server = Some(PageServer { address: address.into(), port });
        self
    }

    /// Returns the options for a worker, which can have another working directory.
    pub(super) fn absolute(&self) -> Result<CheckpointOptions> {
        Ok(CheckpointOptions { settings: absolute(&self.settings)?, dump: self.dump.clone() })
    }
}

/// The images and the bundle of a container to restore, with options.
#[derive(Debug, Clone)]
pub struct RestoreOptions {
    pub(super) create: CreateOptions,
    settings: Settings,
}

impl RestoreOptions {
    /// Restores the images in the directory `images`, with the bundle and options of `create`.
    pub fn new(images: impl Into<PathBuf>, create: CreateOptions) -> RestoreOptions {
        RestoreOptions { create, settings: settings(images.into()) }
    }

    criu_methods!();

    /// Closes established TCP connections.
    #[must_use]
    pub fn tcp_close(mut self, close: bool) -> Self {
        self.settings.tcp_close = close;
        self
    }

    /// Gives the processes another security label, as `apparmor:PROFILE` or `selinux:LABEL`.
    #[must_use]
    pub fn lsm_profile(mut self, profile: impl Into<String>) -> Self {
        self.settings.lsm_profile = Some(profile.into());
        self
    }

    /// Gives mounts that have an SELinux context another context.
    #[must_use]
    pub fn lsm_mount_context(mut self, context: impl Into<String>) -> Self {
        self.settings.lsm_mount_context = Some(context.into());
        self
    }

    /// Returns the options for a worker, which can have another working directory.
    pub(super) fn absolute(&self) -> Result<(Options, Settings)> {
        Ok((self.create.absolute()?, absolute(&self.settings)?))
    }
}
