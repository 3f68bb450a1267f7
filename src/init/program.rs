//! The program of a container's process, and the decisions about the process that executes it.

use super::birth::Birth;
use super::identity::Within;
use super::limits::Affinity;
use super::start::Fifos;
use crate::Result;
use crate::config::rlimits::Rlimit;
use crate::config::{FilterPoint, Listen, Process};
use crate::fs::Proc;
use crate::protocol::Socket;
use crate::terminal::signals::Ignored;

/// The program of a process that has its namespaces, its root and its terminal.
pub(super) struct Program<'a> {
    /// The program, its user and its limits.
    pub process: &'a Process,
    /// When the process loads its seccomp filter.
    pub filter_point: FilterPoint,
    /// The process that executes the program.
    pub birth: Birth<'a>,
    /// The host's procfs.
    pub proc: &'a Proc,
    /// The user namespace of the process.
    pub within: Within,
    /// The processors of the process.
    pub affinity: Affinity,
    /// How many descriptors from 3 up the program gets, those of `listen` among them.
    pub preserve_fds: u32,
    /// Descriptors of socket activation.
    pub listen: &'a Listen,
    /// Whether the process is not dumpable until it executes the program.
    pub is_hidden: bool,
    /// The socket to the runtime.
    pub parent: &'a Socket,
    /// The FIFOs of `start`; `None`: the process does not wait for `start`.
    pub fifos: Option<&'a Fifos>,
    /// The signals that the caller ignores, for which the program gets the default action.
    pub signals: &'a Ignored,
    /// Runs the startContainer hooks, between `start` and execve(2).
    pub before: Option<&'a dyn Fn() -> Result<()>>,
}

impl Program<'_> {
    /// Whether the sibling sets RLIMIT_NPROC: always for an exec, whose sibling is not waited for.
    pub fn sets_process_count(&self) -> bool {
        match self.birth {
            Birth::Here => false,
            Birth::Init => self.process.sibling(self.process.sets_own_rlimits).sets_process_count,
            Birth::Exec(_) => self.process.sibling(true).sets_process_count,
        }
    }

    /// Returns the limits that the process sets before a sibling is born.
    pub fn limits_before_birth(&self) -> impl Iterator<Item = &Rlimit> {
        let all = !self.sets_process_count();
        self.process.rlimits.iter().filter(move |limit| all || !limit.is_process_count())
    }
}
