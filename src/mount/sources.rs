//! The sources of a container's mounts, on their way from the runtime to init.

use super::stage::{self, Home, Stage};
use super::trees::Trees;
use crate::Result;
use crate::config::Plan;
use crate::fs::Proc;

/// The way by which init gets the sources of its mounts.
#[derive(Debug)]
pub(crate) enum Sources {
    /// Init opens them in its own mount namespace: the runtime has no right to, or the namespace is
    /// joined and has a tree of its own.
    OfInit,
    /// The runtime has opened them.
    Open(Trees),
    /// In the working directory of init, for a container with a user namespace.
    Staged(Stage),
}

impl Sources {
    /// Opens the sources if the runtime can: `is_privileged`.
    pub fn open(plan: &Plan, is_privileged: bool) -> Result<Sources> {
        if !is_privileged || plan.namespaces.mount.path().is_some() {
            return Ok(Sources::OfInit);
        }
        Trees::open(plan, stage::is_needed(plan)).map(Sources::Open)
    }

    /// Returns the sources if the runtime has opened them and they are not staged.
    pub fn trees(&self) -> Option<&Trees> {
        match self {
            Sources::Open(trees) => Some(trees),
            _ => None,
        }
    }

    /// Whether [`Sources::stage`] will stage the sources.
    pub fn will_be_staged(&self, plan: &Plan) -> bool {
        self.trees().is_some() && stage::is_needed(plan)
    }

    /// Whether the sources are staged.
    pub fn is_staged(&self) -> bool {
        matches!(self, Sources::Staged(_))
    }

    /// Stages the sources that are open, if the container needs that, and enters the mount
    /// namespace of the stage.
    ///
    /// Until [`Home::leave`] the calling process may do nothing but clone init: its mount namespace
    /// and working directory are not its own.
    pub fn stage(&mut self, plan: &Plan, proc: &Proc) -> Result<Option<Home>> {
        // Init's own mount namespace is a copy with locks already if an unprivileged runtime
        // clones.
        let (true, Sources::Open(trees)) = (stage::is_needed(plan), &*self) else {
            return Ok(None);
        };
        let (home, stage) = stage::enter(plan, trees, proc)?;
        *self = Sources::Staged(stage);
        Ok(Some(home))
    }
}
