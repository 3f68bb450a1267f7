//! `update`: other limits for a container that is alive.

use oci_spec::runtime::LinuxResources;

use super::text::{name, not_running};
use crate::cgroup::devices::Ruleset;
use crate::config::{self, Changes};
use crate::state::{Entry, Status};
use crate::{Context, Error, Result, log};

/// Changes the limits of a container, and keeps them in its state for later commands. Takes the
/// lock. After an error all limits are as before.
pub(super) fn update(mut container: Entry, changes: &Changes) -> Result<()> {
    container.lock()?;
    let name = format!("update {}", name(container.id()));
    apply(&mut container, changes).with_context(|| name)
}

fn apply(container: &mut Entry, changes: &Changes) -> Result<()> {
    let live = matches!(container.status()?, Status::Created | Status::Running | Status::Paused);
    let Some(state) = container.state().filter(|_| live) else {
        return Err(not_running());
    };
    let merged = changes.merge_into(state.config.get())?;
    let parse =
        |text: &str| config::parse(text.as_bytes().to_vec(), "the container's configuration");
    let (old, new) = (parse(state.config.get())?.spec, parse(&merged)?.spec);
    config::check_resources(&new)?;
    let resources =
        |spec: &oci_spec::runtime::Spec| spec.linux().as_ref().and_then(|l| l.resources().clone());
    let wanted = resources(&new).unwrap_or_default();
    let mut warnings = Vec::new();
    let given = changes.resources()?;
    let before = resources(&old);
    let rules = given.devices().as_ref().map(|_| {
        let of = |resources: Option<&LinuxResources>| {
            let listed = resources.and_then(|r| r.devices().as_deref()).unwrap_or_default();
            let linux = old.linux().as_ref();
            Ruleset::new(listed, linux.and_then(|l| l.devices().as_deref()).unwrap_or_default())
        };
        Ok::<_, Error>((of(before.as_ref())?, of(Some(&wanted))?))
    });
    let rules = rules.transpose()?;
    let mut undo = state.cgroup.update(before.as_ref(), &wanted, &given, &mut warnings)?;
    if let Some((old, new)) = rules {
        undo = undo.and_devices(&state.cgroup, old, &new)?;
    }
    warnings.iter().for_each(log::warn);
    container.replace_config(merged).inspect_err(|_| undo.roll_back())
}
