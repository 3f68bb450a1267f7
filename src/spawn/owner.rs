//! The owner of the container's cgroup: runtime specification, config-linux.md, "Cgroup ownership".

use super::maps;
use crate::Result;
use crate::cgroup::Cgroup;
use crate::config::ids::IdMaps;
use crate::config::options::MountAttr;
use crate::config::{Choice, MountKind, Plan};

/// Gives the cgroup to the user of the container's process, who can then divide it further: on
/// cgroup v2, with a cgroup namespace of the container's own and a writable cgroup mount. `init`
/// has entered its user namespace, and the mappings of that are written.
pub(crate) fn hand_over(plan: &Plan, cgroup: &Cgroup, init: i32) -> Result<()> {
    if !cgroup.can_be_delegated() || !is_wanted(plan) {
        return Ok(());
    }
    let inside = plan.process.as_ref().map_or(0, |process| process.identity.uid);
    let owner = if plan.namespaces.has_user() {
        IdMaps::outside(&maps::read_map(init, "uid_map")?, inside)
    } else {
        Some(inside)
    };
    match owner {
        // The runtime has made the cgroup, and so is its owner already.
        Some(uid) if uid == nix::unistd::geteuid().as_raw() => Ok(()),
        Some(uid) => cgroup.delegate(uid),
        // A user id without a mapping can own nothing on the host.
        None => Ok(()),
    }
}

fn is_wanted(plan: &Plan) -> bool {
    let writable = |mount: &&crate::config::Mount| {
        (mount.options.set.0 | mount.options.rec_set.0) & MountAttr::RDONLY.0 == 0
    };
    plan.namespaces.cgroup == Choice::New
        && plan.mounts.iter().filter(|m| m.kind == MountKind::Cgroup).any(|mount| writable(&mount))
}
