//! What init inherits from the runtime: the finished plan and open descriptors.

use std::os::fd::OwnedFd;

use nix::pty::Winsize;

use super::start::Fifos;
use crate::cgroup;
use crate::config::{Kind, Plan};
use crate::fs::Proc;
use crate::mount::sources::Sources;
use crate::protocol::Socket;
use crate::state::State;
use crate::terminal::signals::Ignored;

/// The plan and the descriptors of a container, which init borrows from the memory that it
/// inherits.
pub(crate) struct Init<'a> {
    /// The decisions.
    pub plan: &'a Plan,
    /// The descriptors.
    pub inherited: &'a Inherited,
    /// The socket to the runtime.
    pub parent: &'a Socket,
    /// The FIFOs of `start`; `None`: init executes the program without waiting for `start`.
    pub fifos: Option<&'a Fifos>,
    /// The socket that receives the master of the terminal; `None`: the runtime receives it.
    pub console: Option<&'a OwnedFd>,
    /// The size of the terminal if the configuration gives none: the caller's, in the foreground.
    pub size: Option<Winsize>,
    /// The container's cgroups, for its own view of them.
    pub cgroups: &'a cgroup::Record,
    /// Whether the runtime sends [`crate::protocol::ToInit::CgroupReady`].
    pub waits_for_cgroup: bool,
    /// The signals that the caller ignores, for which the program gets the default action.
    pub signals: &'a Ignored,
    /// The state of the container, of which hooks get a document.
    pub state: &'a State,
}

/// Descriptors for init.
#[derive(Debug)]
pub(crate) struct Inherited {
    /// The sources of mounts.
    pub sources: Sources,
    /// The host's procfs.
    pub proc: Proc,
    /// The mappings of idmapped mounts whose source only init has: index of the mount, namespace.
    pub idmaps: Vec<(usize, OwnedFd)>,
    /// A tmpfs with the devices of [`crate::config::devices::Origin::Staged`].
    pub nodes: Option<OwnedFd>,
    /// Namespaces to join, the mount namespace last.
    pub joins: Vec<(Kind, OwnedFd)>,
    /// The container has a user namespace of its own, to which the joined pid namespace does not
    /// belong: the pid namespace may be joined only before the user namespace is entered.
    pub pid_is_first: bool,
}

impl Inherited {
    /// Returns the namespace of a kind that the container joins.
    pub fn joined(&self, kind: Kind) -> Option<&OwnedFd> {
        self.joins.iter().find(|(joined, _)| *joined == kind).map(|(_, namespace)| namespace)
    }
}
