//! Opens what init inherits.

use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use rustix::fs::{CWD, Mode, OFlags};

use crate::config::{IdMaps, KINDS, Kind, Namespaces, Plan, kind_name};
use crate::fs::Proc;
use crate::host::Host;
use crate::init::Inherited;
use crate::mount::devices;
use crate::mount::sources::Sources;
use crate::spawn::{idmapped, maps};
use crate::sys::ns;
use crate::{Context, Error, Kind as ErrorKind, Result};

/// Opens namespaces and sources, and gives idmapped mounts the mappings that are known before the
/// clone.
pub(super) fn open(plan: &Plan, host: &Host) -> Result<Inherited> {
    let joins = joins(&plan.namespaces)?;
    let user = joins.iter().find(|(kind, _)| *kind == Kind::User).map(|(_, user)| user.as_fd());
    let nodes = devices::stage(plan, || {
        let none = || Error::new(ErrorKind::System, "no user namespace to join");
        maps::of_namespace(user.ok_or_else(none)?)
            .context("read the mappings of the user namespace to join")
    })?;
    let inherited = Inherited {
        nodes,
        sources: Sources::open(plan, host.is_privileged())?,
        proc: Proc::open()?,
        pid_is_first: pid_is_first(plan, &joins)?,
        joins,
    };
    idmapped::apply_own(plan, &inherited)?;
    idmapped::apply_joined(plan, &inherited)?;
    check_mappings(plan, &inherited)?;
    Ok(inherited)
}

/// Fails if the mappings in the configuration differ from those of the user namespace to join.
/// containerd and CRI-O write a copy of them; different mappings could not take effect.
fn check_mappings(plan: &Plan, inherited: &Inherited) -> Result<()> {
    let Some(wanted) = &plan.copied_ids else { return Ok(()) };
    let Some(namespace) = inherited.joined(Kind::User) else { return Ok(()) };
    let (uids, gids) = maps::of_namespace(namespace.as_fd())
        .with_context(|| format!("user namespace {:?}", plan.namespaces.user.path()))?;
    for (name, maps, found) in
        [("uidMappings", &wanted.uids, uids), ("gidMappings", &wanted.gids, gids)]
    {
        if found != IdMaps::sorted(maps) {
            let why = "not the mappings of the user namespace to join; give its path or \
                       mappings, not both";
            let field = format!("linux.{name}");
            return Err(Error::invalid(field, IdMaps::text(maps).trim(), why));
        }
    }
    Ok(())
}

fn joins(namespaces: &Namespaces) -> Result<Vec<(Kind, OwnedFd)>> {
    let mut joins = Vec::new();
    for kind in KINDS {
        let Some(path) = namespaces.get(kind).path() else { continue };
        let refuse = |why: String| {
            Error::invalid(format!("linux.namespaces: {}: path", kind_name(kind)), path, why)
        };
        // NONBLOCK: open(2) of a FIFO must not block the runtime.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = rustix::fs::openat(CWD, path, flags, Mode::empty())
            .map_err(|e| refuse(Error::from(e).to_string()))?;
        match ns::namespace_type(file.as_fd()) {
            Ok(found) if found == kind as i32 => joins.push((kind, file)),
            Ok(_) => return Err(refuse("a namespace of another type".into())),
            Err(Errno::ENOTTY | Errno::EINVAL) => {
                return Err(refuse("not a namespace".into()));
            }
            Err(errno) => return Err(refuse(Error::from(errno).to_string())),
        }
    }
    Ok(joins)
}

/// Whether the pid namespace is joined before the user namespace is entered.
///
/// Then it is also the pid namespace of createContainer hooks, which hold the host's root, and the
/// neighbours there see the hooks.
fn pid_is_first(plan: &Plan, joins: &[(Kind, OwnedFd)]) -> Result<bool> {
    let Some((_, pid)) = joins.iter().find(|(kind, _)| *kind == Kind::Pid) else {
        return Ok(false);
    };
    if !plan.namespaces.has_user() || !plan.route.is_privileged {
        return Ok(false);
    }
    let is_first = match joins.iter().find(|(kind, _)| *kind == Kind::User) {
        None => true,
        // Root of the joined user namespace has rights over its own pid namespaces only.
        Some((_, user)) => {
            let owner = ns::owning_user_namespace(pid.as_fd());
            let owner = owner.context("find the pid namespace's owner")?;
            let owner = rustix::fs::fstat(&owner).context("look at the pid namespace's owner")?;
            let user = rustix::fs::fstat(user).context("look at the user namespace to join")?;
            (owner.st_dev, owner.st_ino) != (user.st_dev, user.st_ino)
        }
    };
    if is_first && !plan.hooks.create_container.is_empty() {
        let why = "createContainer hooks cannot be combined with a user namespace and a joined pid \
                   namespace outside of it: processes there could inspect the hooks";
        return Err(Error::invalid_field("hooks.createContainer", why));
    }
    Ok(is_first)
}
