//! Changes the limits and the device rules of an existing container, and can roll back.

use oci_spec::runtime::{LinuxDevice, LinuxResources};

use crate::Result;

use super::apply;
use super::controllers::enable;
use super::device_rules::Ruleset;
use super::dir_plan::{DirPlan, add};
use super::files::OpenDir;
use super::layout::Layout;
use super::limit::Limit;
use super::limits;
use super::plan::Resources;
use super::record::Record;
use super::undo::Undo;
use super::units;

/// The changes of an update.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Update {
    /// The limits to set, in this order.
    limits: Vec<Limit>,
    /// The device rules before and after, if they change.
    device_rules: Option<(Ruleset, Ruleset)>,
}

impl Update {
    /// Computes the difference between the resources `old` and `new`. A limit is set if it differs,
    /// or if `given`, the change from `old` to `new`, names it. `nodes` is `linux.devices`.
    pub fn new(
        old: &LinuxResources,
        new: &LinuxResources,
        given: &LinuxResources,
        nodes: &[LinuxDevice],
    ) -> Result<Update> {
        // Members that depend on others are not checked here: they are checked as a part of `new`.
        let named = limits::read(given)?;
        let (before, after) =
            (Resources::new(Some(old), nodes)?, Resources::new(Some(new), nodes)?);
        let (old, new) = (before.device_rules, after.device_rules);
        Ok(Update {
            limits: choose(&before.limits, &after.limits, &named),
            device_rules: (given.devices().is_some() && old != new).then_some((old, new)),
        })
    }
}

/// Returns the limits of `new` to be set, in their order.
fn choose(old: &[Limit], new: &[Limit], named: &[Limit]) -> Vec<Limit> {
    let is_named = |limit: &Limit| named.iter().any(|named| named.sets_same_as(limit));
    let becomes = |idle| named.contains(&Limit::CpuIdle(idle));
    let is_idle = new.contains(&Limit::CpuIdle(true));
    let must_set = |limit: &&Limit| match limit {
        // An idle cgroup has no weight, and the kernel forgets the earlier weight.
        Limit::CpuShares(_) if is_idle => is_named(limit),
        Limit::CpuShares(_) if becomes(false) => true,
        _ => is_named(limit) || !old.contains(limit),
    };
    new.iter().filter(must_set).cloned().collect()
}

impl Record {
    /// Changes limits and device rules. On an error everything is as it was. `warnings` collects
    /// lines for the log.
    pub fn update(&self, update: &Update, warnings: &mut Vec<String>) -> Result<Undo> {
        self.must_exist()?;
        let dirs = self.checked()?.iter();
        let mut plans: Vec<DirPlan> = dirs.map(|dir| DirPlan::new(dir.clone())).collect();
        let layout = Layout::probe()?;
        for limit in &update.limits {
            add(&layout, &mut plans, limit, warnings)?;
        }
        plans.retain(DirPlan::has_settings);
        for plan in plans.iter().filter(|plan| plan.dir.is_unified()) {
            enable(plan)?;
        }
        let mut undo = Undo::of_files(self, &plans)?;
        match self.apply(update, &plans, &mut undo) {
            Ok(()) => Ok(undo),
            Err(error) => {
                undo.roll_back();
                Err(error)
            }
        }
    }

    fn apply(&self, update: &Update, plans: &[DirPlan], undo: &mut Undo) -> Result<()> {
        self.set_unit(plans, undo)?;
        plans.iter().try_for_each(apply)?;
        if let Some((old, new)) = &update.device_rules {
            undo.device_rules = Some(old.clone());
            self.replace_devices(new)?;
        }
        Ok(())
    }

    /// Updates the unit, since systemd would otherwise restore its own values later. To be called
    /// before the files are written, because systemd rounds some values.
    fn set_unit(&self, plans: &[DirPlan], undo: &mut Undo) -> Result<()> {
        if self.unit.is_none() {
            return Ok(());
        }
        for plan in plans {
            // Once systemd has written the limit, it is too late to refuse it.
            let dir = OpenDir::open(&plan.dir.path)?;
            apply::check_floors(&dir, plan.settings.iter().flatten())?;
        }
        let version = units::version(self.mode);
        let settings = plans.iter().flat_map(|plan| plan.settings.iter().flatten());
        let new = units::properties(version, settings);
        let mut old = units::properties(version, &undo.settings());
        old.retain(|property| new.iter().any(|new| new.name == property.name));
        // systemd sets all properties or none.
        self.keeping_limits(&undo.changed(), || self.set_properties(&new))?;
        undo.properties = old;
        Ok(())
    }
}

fn apply(plan: &DirPlan) -> Result<()> {
    let dir = OpenDir::open(&plan.dir.path)?;
    plan.settings.iter().try_for_each(|settings| apply::apply(&dir, settings))
}

#[cfg(test)]
#[path = "update_tests.rs"]
mod tests;
