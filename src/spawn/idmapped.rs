//! Idmapped mounts of a container.

use std::os::fd::{AsFd, OwnedFd};

use super::maps::{new_namespace, open_namespace};
use crate::config::ids::{IdMaps, Writer};
use crate::config::{Kind as Namespace, Mount, MountKind, Plan};
use crate::fs::Proc;
use crate::init::Inherited;
use crate::mount::sources::Sources;
use crate::mount::tree;
use crate::{Context, Error, Kind, Result};

/// Idmaps, before the clone, the mounts with mappings of their own and, if the sources will be
/// staged, the mounts with the container's mappings: a staged copy cannot be idmapped.
pub(super) fn apply_own(plan: &Plan, inherited: &Inherited) -> Result<()> {
    let Inherited { sources, proc, .. } = inherited;
    if let Some(maps) = plan.ids.as_ref().filter(|_| sources.will_be_staged(plan))
        && implied(plan).next().is_some()
    {
        let namespace = new_namespace(maps, proc).context("idmapped mounts")?;
        implied(plan).try_for_each(|mount| apply(mount, sources, &namespace))?;
    }
    for mount in plan.mounts.iter().filter(|mount| !is_own(mount)) {
        if let Some(namespace) = own_mapping(mount, proc)? {
            apply(mount, sources, &namespace)?;
        }
    }
    Ok(())
}

/// Returns the mappings of the mounts whose source is a part of the container's own tree: init
/// idmaps them.
pub(super) fn for_init(plan: &Plan, proc: &Proc) -> Result<Vec<(usize, OwnedFd)>> {
    let mut kept = Vec::new();
    for mount in plan.mounts.iter().filter(|mount| mount.idmap.is_some() && is_own(mount)) {
        let namespace = match plan.namespaces.has_user() {
            // Init has rights neither over the file systems of the host nor over another mapping.
            true => None,
            false => own_mapping(mount, proc)?,
        };
        let namespace = namespace.ok_or_else(|| {
            let why = "a part of the container's own tree cannot be idmapped in a user namespace";
            Error::new(Kind::Invalid, why).context(label(mount))
        })?;
        kept.push((mount.index, namespace));
    }
    Ok(kept)
}

/// Idmaps the mounts with the container's mappings, once the mappings of its new user namespace,
/// that of process `pid`, are written.
pub(super) fn apply_container(plan: &Plan, sources: &Sources, pid: i32) -> Result<()> {
    let mut mounts = implied(plan).peekable();
    if mounts.peek().is_none() || sources.is_staged() {
        return Ok(());
    }
    let namespace = open_namespace(pid)?;
    mounts.try_for_each(|mount| apply(mount, sources, &namespace))
}

/// Idmaps the mounts with the container's mappings, if it joins a user namespace.
pub(super) fn apply_joined(plan: &Plan, inherited: &Inherited) -> Result<()> {
    let Some(namespace) = inherited.joined(Namespace::User) else { return Ok(()) };
    implied(plan).try_for_each(|mount| apply(mount, &inherited.sources, namespace))
}

fn is_own(mount: &Mount) -> bool {
    matches!(mount.kind, MountKind::Own(_))
}

fn own_mapping(mount: &Mount, proc: &Proc) -> Result<Option<OwnedFd>> {
    let Some(Some((uids, gids))) = &mount.idmap else { return Ok(None) };
    let maps = IdMaps { uids: uids.clone(), gids: gids.clone(), writer: Writer::Privileged };
    new_namespace(&maps, proc).map(Some).with_context(|| label(mount))
}

fn implied(plan: &Plan) -> impl Iterator<Item = &Mount> {
    plan.mounts.iter().filter(|mount| matches!(mount.idmap, Some(None)) && !is_own(mount))
}

fn label(mount: &Mount) -> String {
    format!("mounts[{}]: idmapped mount on {:?}", mount.index, mount.destination)
}

fn apply(mount: &Mount, sources: &Sources, namespace: &OwnedFd) -> Result<()> {
    let tree = sources.trees().and_then(|trees| trees.mount(mount.index));
    let tree = tree.ok_or_else(|| {
        Error::new(Kind::Invalid, "needs a bind mount and a privileged runtime")
            .context(label(mount))
    })?;
    tree::idmap(tree.as_fd(), mount, namespace.as_fd()).with_context(|| label(mount))
}
