//! Plans the container's cgroup from `linux.cgroupsPath` and `linux.resources`.

use oci_spec::runtime::Spec;

use super::annotations;
use super::linux::cgroups_path;
use super::mounts::{self, Mount};
use crate::cgroup::{CgroupOptions, CgroupPlan, Layout, Resources};
use crate::host::Host;
use crate::{Result, systemd};

/// The cgroup options of the command line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CgroupRequest {
    /// Whether the container gets no cgroup; limits are then refused.
    pub disabled: bool,
    /// The environment to reach systemd with, if systemd creates the cgroup.
    pub systemd: Option<systemd::Environment>,
    /// Whether a cgroup that cannot be used is tolerated, unless a limit is requested.
    pub rootless: bool,
}

/// Plans the cgroup of the container `id`.
pub fn plan(
    spec: &Spec,
    id: &str,
    mounts: &[Mount],
    request: &CgroupRequest,
    host: &Host,
    warnings: &mut Vec<String>,
) -> Result<CgroupPlan> {
    let linux = spec.linux().as_ref();
    let devices = linux.and_then(|linux| linux.devices().as_deref()).unwrap_or_default();
    let resources = linux.and_then(|linux| linux.resources().as_ref());
    let resources = Resources::new(resources, devices)?;
    let path = cgroups_path(linux.and_then(|linux| linux.cgroups_path().as_deref()))?;
    if request.disabled {
        return CgroupPlan::disabled(&resources, warnings);
    }
    let options = CgroupOptions {
        rootless: request.rootless,
        in_user_namespace: host.in_user_namespace,
        systemd: request.systemd.clone(),
        mounts_devices: mounts::needs_device(mounts),
    };
    let layout = Layout::probe()?;
    let mut plan = CgroupPlan::new(&layout, id, path, &resources, &options, warnings)?;
    let annotation = |name| spec.annotations().as_ref().and_then(|all| all.get(name));
    for (name, counts) in [
        (annotations::SYSTEMD_SUBGROUP, request.systemd.is_some()),
        (annotations::DELEGATE_CGROUP, true),
    ] {
        if let Some(path) = annotation(name).filter(|_| counts) {
            plan.start_below(name, path)?;
        }
    }
    if request.systemd.is_some() {
        let annotations = spec.annotations().iter().flatten();
        let pairs = annotations.map(|(key, value)| (key.as_str(), value.as_str()));
        plan.set(systemd::annotations::properties(pairs)?);
    }
    Ok(plan)
}
