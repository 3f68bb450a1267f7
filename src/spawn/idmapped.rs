//! Idmapped mounts of a container.

use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;

use super::maps::{new_namespace, open_namespace};
use crate::config::ids::{IdMaps, Writer};
use crate::config::{Kind as Namespace, Mount, Plan};
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
    for mount in plan.mounts.iter().filter(|mount| !mount.is_idmapped_when_made()) {
        if let Some(namespace) = own_mapping(mount, proc)? {
            apply(mount, sources, &namespace)?;
        }
    }
    Ok(())
}

/// Returns the mounts that are idmapped when init has made them, in their order.
pub(super) fn made_by_init(plan: &Plan) -> std::vec::IntoIter<&Mount> {
    let mounts = plan.mounts.iter().filter(|mount| mount.is_idmapped_when_made());
    mounts.collect::<Vec<_>>().into_iter()
}

/// Idmaps a mount that init, process `pid`, has made: `tree`. In a user namespace init itself has
/// rights neither over the file systems of the host nor over another mapping.
pub(super) fn apply_made(
    mount: &Mount,
    tree: &OwnedFd,
    inherited: &Inherited,
    pid: i32,
) -> Result<()> {
    let namespace = match (own_mapping(mount, &inherited.proc)?, inherited.joined(Namespace::User))
    {
        (Some(own), _) => own,
        (None, Some(joined)) => joined.try_clone().context("keep the user namespace open")?,
        (None, None) => open_namespace(pid)?,
    };
    idmap(mount, tree, &namespace)
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

fn own_mapping(mount: &Mount, proc: &Proc) -> Result<Option<OwnedFd>> {
    let Some(Some((uids, gids))) = &mount.idmap else { return Ok(None) };
    let maps = IdMaps { uids: uids.clone(), gids: gids.clone(), writer: Writer::Privileged };
    new_namespace(&maps, proc).map(Some).with_context(|| mount.idmap_label())
}

fn implied(plan: &Plan) -> impl Iterator<Item = &Mount> {
    plan.mounts
        .iter()
        .filter(|mount| matches!(mount.idmap, Some(None)) && !mount.is_idmapped_when_made())
}

fn apply(mount: &Mount, sources: &Sources, namespace: &OwnedFd) -> Result<()> {
    let tree = sources.trees().and_then(|trees| trees.mount(mount.index));
    let tree = tree.ok_or_else(|| {
        let why = "needs a privileged runtime, and a mount namespace that is not joined by path";
        Error::new(Kind::Invalid, why).context(mount.idmap_label())
    })?;
    idmap(mount, tree, namespace)
}

fn idmap(mount: &Mount, tree: &OwnedFd, namespace: &OwnedFd) -> Result<()> {
    tree::idmap(tree.as_fd(), mount, namespace.as_fd()).map_err(|errno| {
        let error = Error::from(errno);
        let error = match errno {
            Errno::EINVAL => error.context("the file system may not support idmapped mounts"),
            _ => error,
        };
        error.context(mount.idmap_label())
    })
}
