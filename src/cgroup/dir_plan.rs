//! The planned directories of a cgroup, and which limits are set in which of them.

use super::cgroups_path::CgroupsPath;
use super::layout::{Dir, Layout, Mode};
use super::limit::Limit;
use super::setting::{Content, Setting, Version};
use super::settings;
use crate::{Error, Kind, Result};

/// The plan for one directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DirPlan {
    pub dir: Dir,
    /// The settings of typed limits, then those of `unified`.
    pub settings: [Vec<Setting>; 2],
    /// v2: the controllers to enable if they are available.
    pub wanted: Vec<String>,
    /// v2: the wanted controllers that limits need.
    pub needed: Vec<String>,
    /// v1 cpuset: the lists that the configuration leaves unset, and that the parent provides.
    pub inherit: Vec<&'static str>,
}

impl DirPlan {
    /// Plans nothing for a directory yet.
    pub fn new(dir: Dir) -> DirPlan {
        DirPlan {
            dir,
            settings: [Vec::new(), Vec::new()],
            wanted: Vec::new(),
            needed: Vec::new(),
            inherit: Vec::new(),
        }
    }

    /// Plans a directory in every hierarchy, whether or not a limit needs it: the processes of the
    /// container are found there, and engines read figures from all of them.
    pub fn all(layout: &Layout, path: &CgroupsPath) -> Result<Vec<DirPlan>> {
        let plan = |own: &Dir| {
            let mut plan = DirPlan::new(Dir { path: path.below(own)?, ..own.clone() });
            // On a hybrid host these are the controllers that v1 left over; other users of v2 may
            // not want them enabled.
            if layout.mode == Mode::Unified {
                plan.wanted.clone_from(&layout.controllers);
            }
            if own.has_controller("cpuset") {
                plan.inherit = vec!["cpuset.cpus", "cpuset.mems"];
            }
            Ok(plan)
        };
        layout.dirs.iter().map(plan).collect()
    }

    /// Whether the limit on processes allows none at all.
    pub fn is_full(&self) -> bool {
        let mut files = self.settings.iter().flatten().flat_map(|setting| &setting.files);
        let limit = files.rfind(|file| file.name == "pids.max");
        limit.is_some_and(|file| file.content == Content::Number(0))
    }

    pub fn has_settings(&self) -> bool {
        self.settings.iter().any(|settings| !settings.is_empty())
    }

    fn need(&mut self, controller: &str) {
        for list in [&mut self.needed, &mut self.wanted] {
            if !list.iter().any(|name| name == controller) {
                list.push(controller.to_owned());
            }
        }
    }
}

/// Adds the settings of a limit to the directory in the hierarchy that has its controller.
pub(super) fn add(
    layout: &Layout,
    plans: &mut [DirPlan],
    limit: &Limit,
    warnings: &mut Vec<String>,
) -> Result<()> {
    if *limit == Limit::KernelMemory {
        // Engines still set it, but the kernel ignores it since Linux 5.16: the only limit that is
        // ignored with a warning.
        warnings.push(format!("{}: ignored: the kernel has no such limit any more", limit.field()));
        return Ok(());
    }
    if let (Limit::Unified { file, .. }, Mode::Hybrid | Mode::Legacy) = (limit, layout.mode) {
        let why = "invalid configuration: needs a host with cgroup v2 alone";
        return Err(Error::invalid(limit.field(), file, why));
    }
    let v1 = settings::controller(limit, Version::V1);
    let has_v1 = |plan: &&mut DirPlan| v1.is_some_and(|name| plan.dir.has_controller(name));
    if let Some(plan) = plans.iter_mut().find(has_v1) {
        let settings = settings::settings(limit, Version::V1)?;
        let files = || settings.iter().flat_map(|setting| &setting.files);
        plan.inherit.retain(|list| !files().any(|file| file.name == *list));
        let [typed, _] = &mut plan.settings;
        typed.extend(settings);
        return Ok(());
    }
    let v2 = settings::controller(limit, Version::V2);
    let is_available = |controller: &str| layout.controllers.iter().any(|name| name == controller);
    let lacks = |controller: &str| {
        let why = format!("the host has no cgroup controller {controller:?}");
        Err(Error::new(Kind::System, why).context(limit.field()))
    };
    if layout.mode != Mode::Unified && !v2.is_some_and(is_available) {
        return lacks(v1.or(v2).unwrap_or("cgroup"));
    }
    let settings = settings::settings(limit, Version::V2)?;
    let Some(plan) = plans.iter_mut().find(|plan| plan.dir.is_unified()) else {
        return lacks(v2.unwrap_or("cgroup"));
    };
    let controllers = settings.iter().map(Setting::controller);
    for controller in controllers.filter(|controller| *controller != "cgroup") {
        if !is_available(controller) {
            return lacks(controller);
        }
        plan.need(controller);
    }
    let [typed, unified] = &mut plan.settings;
    let list = if matches!(limit, Limit::Unified { .. }) { unified } else { typed };
    list.extend(settings);
    Ok(())
}
