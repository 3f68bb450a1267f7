//! `process.execCPUAffinity` (config.md, "Linux Process").

use crate::config::process::ExecAffinity;
use crate::init::limits::{self, Affinity};
use crate::sys::sched::{self, Mask};
use crate::{Context, Result};

/// Returns the processors of the runtime until the process is in its cgroup, and those of the
/// process after that. Without the field the process gets all processors of the cgroup. With the
/// field, but without a final list, it keeps the initial list, as far as the cgroup has those
/// processors.
pub(super) fn both(asked: Option<&ExecAffinity>) -> (Option<Mask>, Affinity) {
    let Some(asked) = asked else { return (None, Affinity::All) };
    (asked.initial.clone(), asked.last.clone().map_or(Affinity::Keep, Affinity::Only))
}

/// The initial processors, while they are those of the calling thread: a process inherits the
/// processors of the thread that clones it.
pub(super) struct InitialAffinity(Option<Mask>);

impl InitialAffinity {
    /// Gives the calling thread the processors `cpus`; `None` leaves those that it has.
    pub fn set(cpus: Option<&Mask>) -> Result<InitialAffinity> {
        let Some(cpus) = cpus else { return Ok(InitialAffinity(None)) };
        let field = "process.execCPUAffinity.initial";
        let before = sched::affinity().context(field)?;
        limits::set_affinity(cpus, field)?;
        Ok(InitialAffinity(Some(before)))
    }
}

impl Drop for InitialAffinity {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            // The thread has had these processors, so they are refused only if the cgroup has lost
            // them meanwhile; then the kernel has chosen others.
            let _ = sched::set_affinity(before);
        }
    }
}
