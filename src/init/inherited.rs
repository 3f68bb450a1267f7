//! The descriptors that init inherits: the runtime opens them before the clone.

use std::os::fd::OwnedFd;

use crate::config::Kind;
use crate::fs::Proc;
use crate::mount::sources::Sources;

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
