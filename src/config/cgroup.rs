//! The cgroup's part of the plan: `linux.cgroupsPath` and `linux.resources`.

use oci_spec::runtime::Spec;

use super::check;
use super::linux::cgroups_path;
use super::mounts::{self, Mount};
use crate::cgroup::{self, Layout};
use crate::{Result, systemd};

/// What the command line says about cgroups.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CgroupRequest {
    /// No cgroup is made, and limits are refused.
    pub disabled: bool,
    /// systemd makes the cgroup.
    pub systemd: bool,
    /// A cgroup that may not be used is no error if no limit is requested.
    pub rootless: bool,
}

/// Plans the cgroup of container `id`.
pub fn plan(
    spec: &Spec,
    id: &str,
    mounts: &[Mount],
    request: CgroupRequest,
    warnings: &mut Vec<String>,
) -> Result<cgroup::Plan> {
    check::check(spec)?;
    let linux = spec.linux().as_ref();
    let resources = linux.and_then(|linux| linux.resources().as_ref());
    let path = cgroups_path(linux.and_then(|linux| linux.cgroups_path().as_deref()))?;
    if request.disabled {
        return cgroup::Plan::disabled(resources, warnings);
    }
    let options = cgroup::Options {
        rootless: request.rootless,
        systemd: request.systemd,
        mounts_devices: mounts::needs_device(mounts),
    };
    let devices = linux.and_then(|linux| linux.devices().as_deref()).unwrap_or_default();
    let layout = Layout::probe()?;
    let mut plan = cgroup::Plan::new(&layout, id, path, resources, devices, options, warnings)?;
    plan.set_below(spec.annotations().as_ref())?;
    if request.systemd {
        let annotations = spec.annotations().iter().flatten();
        let pairs = annotations.map(|(key, value)| (key.as_str(), value.as_str()));
        plan.set(systemd::annotations::properties(pairs)?);
    }
    Ok(plan)
}
