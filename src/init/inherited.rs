//! What init inherits from the runtime.

use std::os::fd::OwnedFd;

use super::start::Fifos;
use super::stdio::Console;
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
    pub plan: &'a Plan,
    pub inherited: &'a Inherited,
    pub parent: &'a Socket,
    /// `None`: init executes the program without waiting for `start`.
    pub fifos: Option<&'a Fifos>,
    pub console: Console<'a>,
    /// The container's cgroups, for its own view of them.
    pub cgroups: &'a cgroup::Record,
    /// Whether the runtime sends [`crate::protocol::ToInit::CgroupReady`].
    pub waits_for_cgroup: bool,
    /// The signals that the caller ignores, for which the program gets the default action.
    pub signals: &'a Ignored,
    pub state: &'a State,
}

#[derive(Debug)]
pub(crate) struct Inherited {
    pub sources: Sources,
    pub proc: Proc,
    /// A tmpfs with the devices of [`crate::config::devices::Origin::Staged`].
    pub nodes: Option<OwnedFd>,
    /// Namespaces to join, the mount namespace last.
    pub joins: Vec<(Kind, OwnedFd)>,
    /// The container has a user namespace of its own, to which the joined pid namespace does not
    /// belong: the pid namespace may be joined only before the user namespace is entered.
    pub pid_is_first: bool,
}

impl Inherited {
    pub fn joined(&self, kind: Kind) -> Option<&OwnedFd> {
        self.joins.iter().find(|(joined, _)| *joined == kind).map(|(_, namespace)| namespace)
    }
}
