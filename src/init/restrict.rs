//! The last restrictions of a process: its seccomp filter is loaded and its capabilities are set.

use std::os::fd::AsRawFd;

use super::identity;
use super::program::Program;
use crate::protocol::{ToInit, ToParent};
use crate::sys::seccomp as filter;
use crate::{Context, Result};

/// The restrictions that a process must still take on before it executes the program.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Remaining {
    /// None.
    Nothing,
    /// The filter.
    Filter,
    /// The filter needs a capability to be loaded.
    FilterThenCapabilities,
}

impl Program<'_> {
    /// Sets the capabilities and, if `now`, loads the filter.
    pub fn restrict(&self, now: bool) -> Result<Remaining> {
        let remaining = match (&self.process.seccomp, self.process.no_new_privileges) {
            (None, _) => Remaining::Nothing,
            (Some(_), true) => Remaining::Filter,
            (Some(_), false) => Remaining::FilterThenCapabilities,
        };
        if remaining != Remaining::FilterThenCapabilities {
            identity::set_capabilities(&self.process.identity.caps)?;
        }
        if !now {
            return Ok(remaining);
        }
        self.restrict_fully(remaining)?;
        Ok(Remaining::Nothing)
    }

    /// Takes on the remaining restrictions. Without no_new_privs a filter needs CAP_SYS_ADMIN to be
    /// loaded, so it is loaded before that capability goes; but after every step that needs system
    /// calls which the filter may refuse.
    pub fn restrict_fully(&self, remaining: Remaining) -> Result<()> {
        match remaining {
            Remaining::Nothing => Ok(()),
            Remaining::Filter => self.seccomp(),
            Remaining::FilterThenCapabilities => {
                identity::regain(&self.process.identity)?;
                self.seccomp()?;
                identity::set_capabilities(&self.process.identity.caps)
            }
        }
    }

    fn seccomp(&self) -> Result<()> {
        let Some(compiled) = &self.process.seccomp else { return Ok(()) };
        let listener =
            filter::load(&compiled.program, compiled.flags).context("load the seccomp filter")?;
        if let Some(listener) = listener {
            self.parent.tell_parent(&ToParent::SeccompFd(listener.as_raw_fd()))?;
            self.parent.wait_for(ToInit::SeccompTaken)?;
        }
        Ok(())
    }
}
