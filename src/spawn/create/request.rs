use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::config::Listen;
use crate::spawn::child::Parent;
use crate::state::Id;
use crate::terminal::signals::Ignored;
use crate::{sd_notify, systemd};

pub struct CreateRequest<'a> {
    pub parent: Parent<'a>,
    /// The new container's id.
    pub id: &'a Id,
    /// What the user chooses.
    pub options: &'a Options,
    /// The runtime does not stay in the foreground.
    pub detached: bool,
    /// Init waits for a later `start`.
    pub waits_for_start: bool,
    /// The signals that the caller ignores, for which the program gets the default action.
    pub signals: &'a Ignored,
}

/// The bundle of a container, and the options of its user.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Options {
    /// The bundle, absolute.
    pub bundle: PathBuf,
    pub config: Option<PathBuf>,
    /// The socket that receives the master of the terminal.
    pub console_socket: Option<PathBuf>,
    /// A connected socket that receives the master, in the place of `console_socket`.
    #[serde(skip)]
    pub console: Option<Arc<OwnedFd>>,
    /// The socket that receives a pidfd of init.
    pub pidfd_socket: Option<PathBuf>,
    pub pid_file: Option<PathBuf>,
    /// Use chroot(2) in place of pivot_root(2).
    pub no_pivot: bool,
    /// Keep the caller's session keyring.
    pub no_new_keyring: bool,
    /// Whether a cgroup without access is accepted if no limit is requested; `None`: only without
    /// the rights of the machine's root.
    pub rootless: Option<bool>,
    pub systemd_cgroup: bool,
    pub environment: systemd::Environment,
    pub no_cgroup: bool,
    /// How many descriptors from 3 up the container gets. The caller has opened them, or reserved
    /// their numbers.
    pub preserve_fds: u32,
    /// Descriptors of socket activation, which come before the preserved ones.
    #[serde(skip)]
    pub listen: Listen,
    /// The service manager that waits for the readiness of the container.
    #[serde(skip)]
    pub notify: Option<sd_notify::Host>,
}
