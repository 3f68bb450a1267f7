//! The owner of the container's cgroup: runtime specification, config-linux.md, "Cgroup ownership".

use crate::cgroup::Cgroup;
use crate::config::options::MountAttr;
use crate::config::{Choice, MountKind, Plan};
use crate::{Context, Error, Kind, Result, fs};

/// Gives the cgroup to the user of the container's process, who can then divide it further: on
/// cgroup v2, with a cgroup namespace of the container's own and a writable cgroup mount. `init`
/// has entered its user namespace, and the mappings of that are written.
pub(crate) fn hand_over(plan: &Plan, cgroup: &Cgroup, init: i32) -> Result<()> {
    if !cgroup.can_be_delegated() || !is_wanted(plan) {
        return Ok(());
    }
    let inside = plan.process.as_ref().map_or(0, |process| process.identity.uid);
    let owner = if plan.namespaces.has_user() { outside(inside, init)? } else { Some(inside) };
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

/// Returns the id on the host of user `uid` of process `pid`, user_namespaces(7).
fn outside(uid: u32, pid: i32) -> Result<Option<u32>> {
    let path = format!("/proc/{pid}/uid_map");
    let map = fs::read_text(&path)?;
    for line in map.lines() {
        let numbers = line.split_ascii_whitespace().map(str::parse::<u32>);
        let numbers: Vec<u32> = numbers
            .collect::<Result<_, _>>()
            .map_err(|e| Error::new(Kind::System, e.to_string()))
            .with_context(|| format!("read {path}"))?;
        if let [inside, outside, size] = numbers.as_slice()
            && let Some(offset) = uid.checked_sub(*inside).filter(|offset| offset < size)
        {
            return Ok(outside.checked_add(offset));
        }
    }
    Ok(None)
}
