//! `update`: changes the limits of a live container.

use super::text::{name, not_running};
use crate::cgroup::Update;
use crate::config::Changes;
use crate::resctrl::{self, Schema};
use crate::state::{Entry, State, Status};
use crate::{Context, Error, Result, log};

/// Changes limits to those of `resources`, JSON in the format of `linux.resources` in config.json.
pub fn update_from_json(container: Entry, resources: &str) -> Result<()> {
    let mut warnings = Vec::new();
    let changes = Changes::parse(resources.as_bytes(), "resources", &mut warnings)?;
    warnings.iter().for_each(log::warn);
    update(container, &changes, &[])
}

/// Changes the limits of a container, and stores them for later commands. Takes the lock. After an
/// error, no limit has changed.
pub fn update(mut container: Entry, changes: &Changes, schemata: &[Schema]) -> Result<()> {
    container.lock()?;
    let name = format!("update {}", name(container.id()));
    apply(&mut container, changes, schemata).with_context(|| name)
}

fn apply(container: &mut Entry, changes: &Changes, schemata: &[Schema]) -> Result<()> {
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
    let groups = groups(state, schemata)?.cloned();
    let undo = state.cgroup.update(&update, &mut warnings)?;
    warnings.iter().for_each(log::warn);
    let changed = groups.as_ref().map(|groups| groups.change(schemata)).transpose();
    let undo_schemata = match changed {
        Ok(undo_schemata) => undo_schemata,
        Err(error) => {
            undo.roll_back();
            return Err(error);
        }
    };
    container.replace_resources(new).inspect_err(|_| {
        undo_schemata.into_iter().for_each(resctrl::Undo::roll_back);
        undo.roll_back();
    })
}

/// Returns the resctrl groups in which `schemata` are to be set.
fn groups<'a>(state: &'a State, schemata: &[Schema]) -> Result<Option<&'a resctrl::Record>> {
    let Some(Schema { field, line }) = schemata.first() else { return Ok(None) };
    let missing =
        || Error::invalid(field, line, "the container was created without linux.intelRdt");
    state.intel_rdt.as_ref().ok_or_else(missing)?.checked().map(Some)
}
