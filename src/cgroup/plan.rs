//! What is to be made: directories, writes, device rules. Every decision, no side effect.

use std::path::{Path, PathBuf};

use oci_spec::runtime::{LinuxDevice, LinuxResources};

use crate::{Context, Error, Kind, Result};

use super::devices::Ruleset;
use super::knobs::{self, Version, Write};
use super::layout::{Layout, MOUNT, Mode};
use super::limits::{Limit, limits};
use super::place::Place;
use super::record::{Dir, Record};
use super::units;
use crate::systemd::{Names, Property, Request};

/// What the caller knows about itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Options {
    /// The runtime is not privileged: a cgroup that may not be made is done without, if neither
    /// a limit nor a path is asked for.
    pub rootless: bool,
    /// systemd makes the cgroup, and `linux.cgroupsPath` is `slice:prefix:name`.
    pub systemd: bool,
    /// The container's mounts need devices, which its rules may not allow.
    pub mounts_devices: bool,
}

/// How the device rules get to the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum DeviceControl {
    /// Not at all.
    None,
    /// Writes to the files of the v1 controller, in the directory of this index.
    V1(usize, Vec<(&'static str, String)>),
    /// A program on the v2 directory of this index.
    Program(usize, Ruleset),
}

/// One directory of the container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub dir: Dir,
    /// Typed limits, then `unified`.
    pub writes: [Vec<Write>; 2],
    /// v2: controllers to have in it if they are to be had.
    pub wanted: Vec<String>,
    /// v2: those of them that limits need.
    pub needed: Vec<String>,
    /// v1 cpuset: the lists that the configuration does not give; they come from the parent.
    pub inherit: Vec<&'static str>,
}

impl Target {
    /// A directory that is there already, with nothing to be written yet.
    pub fn of(dir: &Dir) -> Target {
        Target {
            dir: dir.clone(),
            writes: [Vec::new(), Vec::new()],
            wanted: Vec::new(),
            needed: Vec::new(),
            inherit: Vec::new(),
        }
    }

    fn is_full(&self) -> bool {
        let mut knobs = self.writes.iter().flatten().flat_map(|write| &write.knobs);
        let limit = knobs.rfind(|knob| knob.file == "pids.max");
        limit.is_some_and(|knob| knob.value.trim() == "0")
    }

    pub fn has_limits(&self) -> bool {
        self.writes.iter().any(|writes| !writes.is_empty())
    }
}

/// A container's cgroup before it is made.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    pub(super) mode: Mode,
    pub(super) targets: Vec<Target>,
    pub(super) devices: DeviceControl,
    pub(super) options: Options,
    /// The configuration names a path.
    pub(super) explicit: bool,
    /// A limit forbids to clone into the v2 cgroup; a process can still be moved there.
    pub(super) enter_unified: bool,
    /// The unit that systemd is asked for, once there is a process for it. The directories of
    /// `targets` are a guess then: systemd says where they are.
    pub(super) unit: Option<Request>,
    /// The device rules as settings of the unit that are made when the container's mounts are.
    pub(super) unit_devices: Vec<Property>,
    /// Where below the v2 directory the container's process starts.
    pub(super) below: Option<PathBuf>,
}

impl Plan {
    /// No cgroup at all, for engines that ask for none.
    pub fn none() -> Plan {
        Plan {
            mode: Mode::None,
            targets: Vec::new(),
            devices: DeviceControl::None,
            options: Options::default(),
            explicit: false,
            enter_unified: false,
            unit: None,
            unit_devices: Vec::new(),
            below: None,
        }
    }

    /// No cgroup, because the caller has disabled them.
    ///
    /// # Errors
    /// A limit that needs a cgroup. Device rules are a warning only: engines always set them, and
    /// a caller that asks for no cgroup knows that nothing can enforce them.
    pub fn disabled(
        resources: Option<&LinuxResources>,
        warnings: &mut Vec<String>,
    ) -> Result<Plan> {
        let limits = resources.map(limits).transpose()?.unwrap_or_default();
        if let Some(limit) = limits.first() {
            let why = "cannot be set without a cgroup (--cgroup-manager disabled)";
            return Err(Error::invalid_field(limit.field(), why));
        }
        let rules = resources.and_then(|resources| resources.devices().as_deref());
        if rules.is_some_and(|rules| !rules.is_empty()) {
            warnings.push(
                "linux.resources.devices: not enforced (--cgroup-manager disabled)".to_owned(),
            );
        }
        Ok(Plan::none())
    }

    /// The cgroup of container `id`: `linux.cgroupsPath`, `linux.resources` and `linux.devices`
    /// on the host `layout`. `warnings` collects lines for the log.
    pub fn new(
        layout: &Layout,
        id: &str,
        cgroups_path: Option<&Path>,
        resources: Option<&LinuxResources>,
        devices: &[LinuxDevice],
        options: Options,
        warnings: &mut Vec<String>,
    ) -> Result<Plan> {
        let mut unit = None;
        let place = if options.systemd {
            let names = Names::new(id, cgroups_path, options.rootless)?;
            unit = Some(Request::new(id, &names, options.rootless)?);
            Place::new(id, Some(&names.path()?))?
        } else {
            Place::new(id, cgroups_path)?
        };
        let limits = resources.map(limits).transpose()?.unwrap_or_default();
        let listed = resources.and_then(|resources| resources.devices().as_deref());
        let rules = Ruleset::new(listed.unwrap_or_default(), devices)?;
        let explicit =
            options.systemd || cgroups_path.is_some_and(|path| !path.as_os_str().is_empty());
        if options.systemd && options.rootless && layout.mode() != Mode::Unified {
            let why = "without root privileges it needs a host with cgroup v2 alone";
            return Err(Error::new(Kind::System, why).context("--systemd-cgroup"));
        }
        if layout.mode() == Mode::None {
            if options.rootless && limits.is_empty() && !explicit {
                return Ok(Plan { options, ..Plan::none() });
            }
            let why = format!("{MOUNT}: no cgroup file system is mounted there");
            return Err(Error::new(Kind::System, why));
        }
        let mut targets = targets(layout, &place)?;
        for limit in &limits {
            add(layout, &mut targets, limit, warnings)?;
        }
        let mut unit_devices = Vec::new();
        if let Some(unit) = &mut unit {
            unit.add(settings(layout, &targets));
            // The user's own service manager may not limit devices.
            match units::devices(&rules) {
                _ if options.rootless => {}
                properties if !options.mounts_devices => unit.add(properties),
                // They would bind init before it has made the mounts. On v2 our own program is
                // enough, on v1 systemd writes its own rules over ours until it knows these.
                properties if layout.mode() != Mode::Unified => unit_devices = properties,
                _ => {}
            }
        }
        let devices = device_control(&targets, rules, options)?;
        if let (Some(_), DeviceControl::V1(_, writes)) = (&unit, &devices) {
            units::must_keep(writes).context("linux.resources.devices")?;
        }
        // clone3 into a full cgroup is refused; moving a process there is not.
        let enter_unified =
            targets.iter().filter(|target| target.dir.is_unified()).any(Target::is_full);
        let mode = layout.mode();
        Ok(Plan {
            mode,
            targets,
            devices,
            options,
            explicit,
            enter_unified,
            unit,
            unit_devices,
            below: None,
        })
    }

    /// Settings that the unit gets besides; of those of the same name the later one wins. Nothing
    /// is done if there is no unit.
    pub fn set(&mut self, properties: Vec<Property>) {
        if let Some(unit) = &mut self.unit {
            // Those of devices come last of all, and so do the configuration's own words for them.
            let late = !self.unit_devices.is_empty();
            let (devices, others): (Vec<_>, Vec<_>) = properties
                .into_iter()
                .partition(|property| late && property.name.starts_with("Device"));
            unit.add(others);
            self.unit_devices.extend(devices);
        }
    }

    /// What must be stored before [`Plan::create`], so that a crash in it can be cleaned up.
    /// Directories that exist already are not to be removed.
    pub fn record(&self) -> Record {
        let dirs = self.targets.iter().map(|target| {
            let missing = |path: &&Path| path.symlink_metadata().is_err();
            let below_root = |path: &&Path| *path != target.dir.root;
            let way = target.dir.path.ancestors().take_while(below_root);
            let new = way.take_while(missing).count();
            Dir { made: new > 0, above: new.saturating_sub(1), ..target.dir.clone() }
        });
        let Some(request) = &self.unit else { return Record::new(self.mode, dirs.collect()) };
        // systemd makes that of v2, and ends it; those of v1 that it has no use for are our own.
        let ours = dirs.filter(|dir| self.mode != Mode::Unified && dir.made);
        Record::of_unit(self.mode, ours.collect(), request.unit.clone()).planned()
    }

    /// The directories, v1 and v2, that the container will have.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.targets.iter().map(|target| target.dir.path.as_path())
    }
}

/// A directory in every hierarchy, whether or not a limit needs it: that is how all processes of
/// the container are found, and what engines read figures from.
fn targets(layout: &Layout, place: &Place) -> Result<Vec<Target>> {
    let mut targets = Vec::with_capacity(layout.v1.len() + 1);
    if let Some(unified) = &layout.unified {
        let path = place.v2(&unified.root, &unified.own)?;
        let wanted = match layout.mode() {
            // Engines read figures of all of them.
            Mode::Unified => unified.controllers.clone(),
            // Those that v1 left over; whoever else uses v2 here may not want them enabled.
            _ => Vec::new(),
        };
        targets.push(target(String::new(), Vec::new(), &unified.root, path, wanted));
    }
    for hierarchy in &layout.v1 {
        let path = place.v1(&hierarchy.root, &hierarchy.own)?;
        let (name, options) = (hierarchy.name.clone(), hierarchy.options.clone());
        let mut target = target(name, options, &hierarchy.root, path, Vec::new());
        if target.dir.has_controller("cpuset") {
            target.inherit = vec!["cpuset.cpus", "cpuset.mems"];
        }
        targets.push(target);
    }
    Ok(targets)
}

fn target(
    name: String,
    options: Vec<String>,
    root: &Path,
    path: PathBuf,
    wanted: Vec<String>,
) -> Target {
    let dir = Dir { name, options, root: root.to_owned(), path, made: false, above: 0 };
    Target { wanted, ..Target::of(&dir) }
}

/// The settings of a unit that is made: accounting and limits.
fn settings(layout: &Layout, targets: &[Target]) -> Vec<Property> {
    let version = units::version(layout.mode());
    let mut out = units::accounting(version);
    let writes = targets.iter().flat_map(|target| target.writes.iter().flatten());
    out.extend(units::properties(version, writes));
    out
}

/// Adds the writes of one limit to the hierarchy that has its controller.
pub(super) fn add(
    layout: &Layout,
    targets: &mut [Target],
    limit: &Limit,
    warnings: &mut Vec<String>,
) -> Result<()> {
    if let (Limit::Unified { file, .. }, Mode::Hybrid | Mode::Legacy) = (limit, layout.mode()) {
        let why = "needs a host with cgroup v2 alone";
        return Err(Error::invalid(limit.field(), file, why));
    }
    let v1 = knobs::controller(limit, Version::V1);
    if let Some(target) = targets
        .iter_mut()
        .find(|target| v1.is_some_and(|controller| target.dir.has_controller(controller)))
    {
        let writes = knobs::knobs(limit, Version::V1, warnings)?;
        target.inherit.retain(|file| {
            !writes.iter().flat_map(|write| &write.knobs).any(|knob| knob.file == *file)
        });
        let [typed, _] = &mut target.writes;
        typed.extend(writes);
        return Ok(());
    }
    let v2 = knobs::controller(limit, Version::V2);
    let available = layout.unified.as_ref().map_or(&[][..], |unified| &unified.controllers);
    let lacks = |controller: &str| {
        let why = format!("the host has no cgroup controller {controller:?}");
        Err(Error::new(Kind::System, why).context(limit.field()))
    };
    if layout.mode() != Mode::Unified {
        let controller = v1.or(v2).unwrap_or("cgroup");
        if !v2.is_some_and(|v2| available.iter().any(|name| name == v2)) {
            return lacks(controller);
        }
    }
    let writes = knobs::knobs(limit, Version::V2, warnings)?;
    let Some(target) = targets.iter_mut().find(|target| target.dir.is_unified()) else {
        return lacks(v2.unwrap_or("cgroup"));
    };
    for write in &writes {
        let controller = write.controller.as_str();
        if controller == "cgroup" {
            continue;
        }
        if !available.iter().any(|name| name == controller) {
            return lacks(controller);
        }
        for list in [&mut target.needed, &mut target.wanted] {
            if !list.iter().any(|name| name == controller) {
                list.push(controller.to_owned());
            }
        }
    }
    let [typed, unified] = &mut target.writes;
    let list = if matches!(limit, Limit::Unified { .. }) { unified } else { typed };
    list.extend(writes);
    Ok(())
}

fn device_control(targets: &[Target], rules: Ruleset, options: Options) -> Result<DeviceControl> {
    if let Some(index) = targets.iter().position(|target| target.dir.has_controller("devices")) {
        return Ok(DeviceControl::V1(index, rules.v1()?));
    }
    if let Some(index) = targets.iter().position(|target| target.dir.is_unified()) {
        return Ok(DeviceControl::Program(index, rules));
    }
    if options.rootless {
        return Ok(DeviceControl::None);
    }
    let why = "the host has no cgroup controller \"devices\", and no cgroup v2 to do without it";
    Err(Error::new(Kind::System, why).context("linux.resources.devices"))
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
