//! The plan for a container's cgroup: every decision, without side effects.

use std::path::{Component, Path, PathBuf};

use oci_spec::runtime::{LinuxDevice, LinuxResources};

use crate::systemd::{Environment, Names, Property, TransientUnit};
use crate::{Context, Error, Kind, Result};

use super::cgroups_path::CgroupsPath;
use super::device_control::DeviceControl;
use super::device_list::DeviceList;
use super::device_rules::Ruleset;
use super::dir_plan::{DirPlan, add};
use super::layout::{Dir, Layout, MOUNT, Mode};
use super::limit::Limit;
use super::limits;
use super::record::Record;
use super::units;

/// The requests of `linux.resources` and `linux.devices` to the cgroup, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resources {
    pub(crate) limits: Vec<Limit>,
    pub(crate) device_rules: Ruleset,
    /// Whether `linux.resources` lists device rules.
    pub(crate) lists_devices: bool,
}

impl Resources {
    /// Parses both sections; nothing else reads them.
    pub fn new(resources: Option<&LinuxResources>, nodes: &[LinuxDevice]) -> Result<Resources> {
        let limits = resources.map(limits::checked).transpose()?.unwrap_or_default();
        let listed = resources.and_then(|resources| resources.devices().as_deref());
        let listed = listed.unwrap_or_default();
        let device_rules = Ruleset::new(listed, nodes)?;
        Ok(Resources { limits, device_rules, lists_devices: !listed.is_empty() })
    }
}

/// The options of a plan, besides configuration and host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CgroupOptions {
    /// The runtime is not privileged: a cgroup that it may not create is left out, if neither a
    /// limit nor a path is requested.
    pub rootless: bool,
    /// The runtime is in a user namespace, where it may not limit devices.
    pub in_user_namespace: bool,
    /// systemd creates the cgroup, and `linux.cgroupsPath` is `slice:prefix:name`.
    pub systemd: Option<Environment>,
    /// The container's mounts need devices that its rules may not allow.
    pub mounts_devices: bool,
}

/// The plan for a container's cgroup.
#[derive(Debug, Clone, PartialEq)]
pub struct CgroupPlan {
    pub(super) mode: Mode,
    /// With a unit the paths are an assumption, until systemd reports the actual one.
    pub(super) dirs: Vec<DirPlan>,
    pub(super) devices: DeviceControl,
    pub(super) rootless: bool,
    pub(super) in_user_namespace: bool,
    /// Whether the configuration names a path.
    pub(super) explicit: bool,
    /// Whether a limit forbids to clone into the v2 cgroup; a process can still be moved there.
    pub(super) enter_unified: bool,
    /// The unit that systemd creates as soon as there is a process for it.
    pub(super) unit: Option<TransientUnit>,
    /// The device rules as properties of the unit, set once the container's mounts are made.
    pub(super) unit_devices: Vec<Property>,
    /// The path below the v2 directory in which the container's process starts.
    pub(super) below: Option<PathBuf>,
    /// The option that forbids a cgroup which exists already.
    pub(super) new_for: Option<&'static str>,
}

impl CgroupPlan {
    /// Plans no cgroup.
    fn none(options: &CgroupOptions) -> CgroupPlan {
        CgroupPlan {
            mode: Mode::None,
            dirs: Vec::new(),
            devices: DeviceControl::None,
            rootless: options.rootless,
            in_user_namespace: options.in_user_namespace,
            explicit: false,
            enter_unified: false,
            unit: None,
            unit_devices: Vec::new(),
            below: None,
            new_for: None,
        }
    }

    /// Makes it an error, because of `option`, that the cgroup exists already.
    pub fn must_be_new(&mut self, option: &'static str) {
        self.new_for = Some(option);
    }

    /// Plans no cgroup, because the caller has disabled them.
    ///
    /// # Errors
    /// A limit that needs a cgroup. Device rules are only a warning: engines always set them, and a
    /// caller that disables cgroups knows that nothing enforces them.
    pub fn disabled(resources: &Resources, warnings: &mut Vec<String>) -> Result<CgroupPlan> {
        if let Some(limit) = resources.limits.first() {
            let why = "cannot be set without a cgroup (--cgroup-manager disabled)";
            return Err(Error::invalid_field(limit.field(), why));
        }
        if resources.lists_devices {
            warnings.push(
                "linux.resources.devices: not enforced (--cgroup-manager disabled)".to_owned(),
            );
        }
        Ok(CgroupPlan::none(&CgroupOptions::default()))
    }

    /// Plans the cgroup of container `id` on the host `layout`. `warnings` collects lines for the
    /// log.
    pub fn new(
        layout: &Layout,
        id: &str,
        cgroups_path: Option<&Path>,
        resources: &Resources,
        options: &CgroupOptions,
        warnings: &mut Vec<String>,
    ) -> Result<CgroupPlan> {
        let (unit, path) = match &options.systemd {
            Some(environment) => {
                let names = Names::new(id, cgroups_path, options.rootless)?;
                let path = CgroupsPath::new(id, Some(&names.path))?;
                (Some(TransientUnit::new(id, &names, options.rootless, environment)?), path)
            }
            None => (None, CgroupsPath::new(id, cgroups_path)?),
        };
        let explicit =
            unit.is_some() || cgroups_path.is_some_and(|path| !path.as_os_str().is_empty());
        if unit.is_some() && options.rootless && layout.mode != Mode::Unified {
            let why = "without root privileges it needs a host with cgroup v2 alone";
            return Err(Error::new(Kind::System, why).context("--systemd-cgroup"));
        }
        if layout.mode == Mode::None {
            if options.rootless && resources.limits.is_empty() && !explicit {
                return Ok(CgroupPlan::none(options));
            }
            let why = format!("{MOUNT}: no cgroup file system is mounted there");
            return Err(Error::new(Kind::System, why));
        }
        let mut dirs = DirPlan::all(layout, &path)?;
        for limit in &resources.limits {
            add(layout, &mut dirs, limit, warnings)?;
        }
        let rules = &resources.device_rules;
        let mut plan = CgroupPlan {
            mode: layout.mode,
            devices: device_control(&dirs, rules, options.rootless)?,
            explicit,
            // clone3(2) into a full cgroup fails; moving a process there does not.
            enter_unified: dirs.iter().filter(|plan| plan.dir.is_unified()).any(DirPlan::is_full),
            dirs,
            ..CgroupPlan::none(options)
        };
        if let Some(unit) = unit {
            plan.set_unit(unit, rules, options.mounts_devices)?;
        }
        Ok(plan)
    }

    fn set_unit(
        &mut self,
        mut unit: TransientUnit,
        rules: &Ruleset,
        mounts_devices: bool,
    ) -> Result<()> {
        if let DeviceControl::V1(list) = &self.devices {
            units::must_keep(list).context("linux.resources.devices")?;
        }
        let version = units::version(self.mode);
        let settings = self.dirs.iter().flat_map(|plan| plan.settings.iter().flatten());
        unit.add(units::accounting(version));
        unit.add(units::properties(version, settings));
        // The service manager of a user may not limit devices.
        if !self.rootless {
            // They would apply to init before it has made the mounts. On v2 the runtime's own program
            // is enough; on v1 systemd overwrites the rules until the unit has these properties.
            match units::devices(rules) {
                properties if !mounts_devices => unit.add(properties),
                properties if self.mode != Mode::Unified => self.unit_devices = properties,
                _ => {}
            }
        }
        self.unit = Some(unit);
        Ok(())
    }

    /// Adds properties of the unit; of several with the same name the last one wins. Does nothing
    /// if there is no unit.
    pub fn set(&mut self, properties: Vec<Property>) {
        if let Some(unit) = &mut self.unit {
            // The properties for devices are set last, and so are those of the configuration.
            let late = !self.unit_devices.is_empty();
            let is_late = |property: &Property| late && property.name.starts_with("Device");
            let (devices, others): (Vec<_>, Vec<_>) = properties.into_iter().partition(is_late);
            unit.add(others);
            self.unit_devices.extend(devices);
        }
    }

    /// Lets the container's process start in the cgroup `path` below the container's own, so that
    /// the limits stay above, out of its reach. With several calls each path is below the one
    /// before; an empty path has no effect. `annotation` names the source in errors.
    ///
    /// # Errors
    /// A path that is not below, or a host with cgroup v1, where delegation is not safe.
    pub fn start_below(&mut self, annotation: &str, path: &str) -> Result<()> {
        let bad = |why: &str| Error::invalid(format!("annotations: {annotation}"), path, why);
        if path.is_empty() {
            return Ok(());
        }
        let is_name = |part| matches!(part, Component::Normal(_));
        if path.contains(|c: char| c.is_ascii_control())
            || !Path::new(path).components().all(is_name)
        {
            return Err(bad("must be the path of a cgroup below the container's"));
        }
        if self.mode != Mode::Unified {
            return Err(bad("needs a host with cgroup v2 alone"));
        }
        self.below.get_or_insert_default().push(path);
        Ok(())
    }

    /// Returns the record to store before [`CgroupPlan::create`], so that a crash can be cleaned
    /// up. Existing directories are not to be removed.
    pub fn record(&self) -> Record {
        let dirs = self.dirs.iter().map(|plan| {
            let missing = |path: &&Path| path.symlink_metadata().is_err();
            let below_root = |path: &&Path| *path != plan.dir.root;
            let ancestors = plan.dir.path.ancestors().take_while(below_root);
            let new = ancestors.take_while(missing).count();
            Dir { made: new > 0, above: new.saturating_sub(1), ..plan.dir.clone() }
        });
        let Some(unit) = &self.unit else { return Record::new(self.mode, dirs.collect()) };
        // systemd creates and removes the v2 directory; the runtime removes the v1 directories that
        // systemd does not use.
        let ours = dirs.filter(|dir| self.mode != Mode::Unified && dir.made);
        Record {
            unit: Some(unit.unit.clone()),
            unit_is_planned: true,
            ..Record::new(self.mode, ours.collect())
        }
    }

    /// Iterates over the directories of the container.
    #[cfg(test)]
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.dirs.iter().map(|plan| plan.dir.path.as_path())
    }
}

fn device_control(dirs: &[DirPlan], rules: &Ruleset, rootless: bool) -> Result<DeviceControl> {
    if dirs.iter().any(|plan| plan.dir.has_controller("devices")) {
        return Ok(DeviceControl::V1(DeviceList::new(rules)?));
    }
    if dirs.iter().any(|plan| plan.dir.is_unified()) {
        return Ok(DeviceControl::Program(rules.clone()));
    }
    if rootless {
        return Ok(DeviceControl::None);
    }
    let why = "the host has no cgroup controller \"devices\", and no cgroup v2 to do without it";
    Err(Error::new(Kind::System, why).context("linux.resources.devices"))
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
