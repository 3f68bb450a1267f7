//! `update`: changes the limits of a live container.

use super::text::{name, not_running};
use crate::cgroup::Update;
use crate::config::Changes;
use crate::state::{Entry, Status};
use crate::{Context, Result, log};

/// Changes the limits of a container, and stores them for later commands. Takes the lock. After an
/// error, no limit has changed.
pub fn update(mut container: Entry, changes: &Changes) -> Result<()> {
    container.lock()?;
    let name = format!("update {}", name(container.id()));
    apply(&mut container, changes).with_context(|| name)
}

fn apply(container: &mut Entry, changes: &Changes) -> Result<()> {
    let live = matches!(container.status()?, Status::Created | Status::Running | Status::Paused);
    let Some(state) = container.state().filter(|_| live) else {
        return Err(not_running());
    };
    let spec = container.config()?;
    let linux = spec.linux().as_ref();
    let of_config = || linux.and_then(|linux| linux.resources().clone()).unwrap_or_default();
    let old = state.resources.clone().unwrap_or_else(of_config);
    let new = changes.merge_into(&old);
    let nodes = linux.and_then(|linux| linux.devices().as_deref()).unwrap_or_default();
    let update = Update::new(&old, &new, changes.resources(), nodes)?;
    let mut warnings = Vec::new();
    let undo = state.cgroup.update(&update, &mut warnings)?;
    warnings.iter().for_each(log::warn);
    container.replace_resources(new).inspect_err(|_| undo.roll_back())
}
