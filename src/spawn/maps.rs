//! Writing the maps of a new user namespace, and the namespaces of idmapped mounts.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::Command;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use rustix::fs::{CWD, Mode, OFlags};
use rustix::process::{WaitId, WaitIdOptions, waitid};

use crate::config::ids::{IdMap, IdMaps, Writer};
use crate::config::{Kind as Namespace, Mount, MountKind, Plan};
use crate::fs::Proc;
use crate::mount::prepare::{Prepared, Trees};
use crate::mount::stage;
use crate::sys::clone::clone3;
use crate::sys::mount::{Change, mount_setattr};
use crate::{Context, Error, Kind, Result};

/// Writes both maps of the process `pid`.
pub fn write(maps: &IdMaps, pid: i32, proc: &Proc) -> Result<()> {
    match maps.writer {
        Writer::Helpers => {
            helper("newuidmap", pid, &maps.uids)?;
            helper("newgidmap", pid, &maps.gids)
        }
        writer => {
            if writer == Writer::Own {
                // Else a member of a group that is denied something could leave it (CVE-2014-8989).
                proc.write(format!("{pid}/setgroups"), b"deny")?;
            }
            proc.write(format!("{pid}/gid_map"), IdMaps::text(&maps.gids).as_bytes())?;
            proc.write(format!("{pid}/uid_map"), IdMaps::text(&maps.uids).as_bytes())
        }
    }
    .context("write the mappings of the user namespace")
}

fn helper(program: &str, pid: i32, maps: &[IdMap]) -> Result<()> {
    let mut command = Command::new(program);
    command.arg(pid.to_string());
    for map in maps {
        command.args([map.inside, map.outside, map.size].map(|n| n.to_string()));
    }
    let output = command.output().map_err(|error| {
        let hint = format!("run {program} (package uidmap; needed to map more than one's own id)");
        Error::from(error).context(hint)
    })?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(Error::new(Kind::System, said).context(program))
}

/// Gives idmapped mounts their mapping before the clone: those with mappings of their own, and,
/// where init finds a copy of the mounts, those with the container's. A copy cannot be idmapped.
pub fn own_idmaps(plan: &Plan, trees: Option<&Trees>, proc: &Proc) -> Result<()> {
    if let Some(maps) = plan.ids.as_ref().filter(|_| is_early(plan, trees))
        && implied(plan).next().is_some()
    {
        let namespace = namespace_with(maps, proc).context("idmapped mounts")?;
        implied(plan).try_for_each(|mount| apply(mount, trees, &namespace))?;
    }
    for mount in plan.mounts.iter().filter(|mount| !is_own(mount)) {
        if let Some(namespace) = own_mapping(mount, proc)? {
            apply(mount, trees, &namespace)?;
        }
    }
    Ok(())
}

/// The mappings of those whose source is made by init: a part of the container's own tree.
pub fn kept_idmaps(plan: &Plan, proc: &Proc) -> Result<Vec<(usize, OwnedFd)>> {
    let mut kept = Vec::new();
    for mount in plan.mounts.iter().filter(|mount| mount.idmap.is_some() && is_own(mount)) {
        let namespace = match plan.namespaces.has_user() {
            // Init has no rights over the file systems of the host, nor over another mapping.
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

fn is_own(mount: &Mount) -> bool {
    matches!(mount.kind, MountKind::Own(_))
}

fn own_mapping(mount: &Mount, proc: &Proc) -> Result<Option<OwnedFd>> {
    let Some(Some((uids, gids))) = &mount.idmap else { return Ok(None) };
    let maps = IdMaps { uids: uids.clone(), gids: gids.clone(), writer: Writer::Privileged };
    namespace_with(&maps, proc).map(Some).with_context(|| label(mount))
}

fn is_early(plan: &Plan, trees: Option<&Trees>) -> bool {
    trees.is_some() && stage::is_needed(plan)
}

/// Gives the other ones without the container's own: once its maps are written.
pub fn container_idmaps(plan: &Plan, prepared: &Prepared, pid: i32) -> Result<()> {
    let trees = prepared.trees.as_ref();
    let mut mounts = implied(plan).peekable();
    if mounts.peek().is_none() || prepared.stage.is_some() {
        return Ok(());
    }
    let namespace = open_namespace(pid)?;
    mounts.try_for_each(|mount| apply(mount, trees, &namespace))
}

/// The same where the container joins a user namespace: its maps are there from the beginning.
pub fn joined_idmaps(plan: &Plan, prepared: &Prepared) -> Result<()> {
    let Some((_, namespace)) = prepared.joins.iter().find(|(kind, _)| *kind == Namespace::User)
    else {
        return Ok(());
    };
    implied(plan).try_for_each(|mount| apply(mount, prepared.trees.as_ref(), namespace))
}

/// A user namespace that is joined has its mappings, and the configuration may have a copy of them,
/// which containerd and CRI-O write. Other ones could not come into force.
pub fn check_joined(plan: &Plan, prepared: &Prepared) -> Result<()> {
    let Some(wanted) = &plan.copied_ids else { return Ok(()) };
    let user = prepared.joins.iter().find(|(kind, _)| *kind == Namespace::User);
    let Some((_, namespace)) = user else { return Ok(()) };
    let (wait, release) = nix::unistd::pipe2(OFlag::O_CLOEXEC).context("pipe")?;
    let (joined, tell) = nix::unistd::pipe2(OFlag::O_CLOEXEC).context("pipe")?;
    let mut ends = Some((release, joined));
    let child = clone3(0, None, || {
        drop(ends.take());
        let enter = nix::sched::setns(namespace, nix::sched::CloneFlags::CLONE_NEWUSER);
        let errno = enter.map_or_else(|errno| errno as i32, |()| 0);
        if nix::unistd::write(&tell, &errno.to_ne_bytes()).is_err() {
            return 1;
        }
        crate::protocol::read(&wait, &mut [0]).map_or(1, |_| 0)
    })
    .context("clone a process for the user namespace")?;
    let Some((release, joined)) = ends else {
        return Err(Error::new(Kind::System, "the pipes to the user namespace are gone"));
    };
    drop(tell);
    let compare = || -> Result<()> {
        let mut errno = [0; 4];
        crate::protocol::read(&joined, &mut errno).context("wait for a process")?;
        match i32::from_ne_bytes(errno) {
            0 => {}
            errno => return Err(Error::from(Errno::from_raw(errno)).context("join it")),
        }
        for (name, file, maps) in
            [("uidMappings", "uid_map", &wanted.uids), ("gidMappings", "gid_map", &wanted.gids)]
        {
            let text = prepared.proc.read_text(format!("{}/{file}", child.pid))?;
            if IdMaps::parse(&text) != Some(IdMaps::sorted(maps)) {
                let why = "not the mappings of the user namespace to join; give its path or \
                           mappings, not both";
                let field = format!("linux.{name}");
                return Err(Error::invalid(field, IdMaps::text(maps).trim(), why));
            }
        }
        Ok(())
    };
    let compared = compare();
    drop(release);
    waitid(WaitId::PidFd(child.pidfd.as_fd()), WaitIdOptions::EXITED)
        .context("wait for the process in the user namespace")?;
    compared.map_err(|error| match error.kind() {
        Kind::Invalid => error,
        _ => error.context(format!("user namespace {:?}", plan.namespaces.user.path())),
    })
}

fn implied(plan: &Plan) -> impl Iterator<Item = &Mount> {
    plan.mounts.iter().filter(|mount| matches!(mount.idmap, Some(None)) && !is_own(mount))
}

fn label(mount: &Mount) -> String {
    format!("mounts[{}]: idmapped mount on {:?}", mount.index, mount.destination)
}

fn apply(mount: &Mount, trees: Option<&Trees>, namespace: &OwnedFd) -> Result<()> {
    let tree = trees.and_then(|trees| trees.mounts.get(mount.index)).and_then(Option::as_ref);
    let tree = tree.ok_or_else(|| {
        Error::new(Kind::Invalid, "needs a bind mount and a privileged runtime")
            .context(label(mount))
    })?;
    idmap(tree.as_fd(), mount, namespace.as_fd()).with_context(|| label(mount))
}

/// Gives a detached tree the mapping of a user namespace.
pub fn idmap(tree: BorrowedFd<'_>, mount: &Mount, namespace: BorrowedFd<'_>) -> Result<()> {
    let recursive = mount.options.idmap == Some(true);
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    let change = Change { set: libc::MOUNT_ATTR_IDMAP, ..Change::default() };
    Ok(mount_setattr(tree, c"", flags, change, Some(namespace))?)
}

fn open_namespace(pid: i32) -> Result<OwnedFd> {
    let path = format!("/proc/{pid}/ns/user");
    rustix::fs::openat(CWD, &path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .with_context(|| format!("open {path}"))
}

/// A user namespace that exists only to carry a mapping: it lives as long as a descriptor of it.
fn namespace_with(maps: &IdMaps, proc: &Proc) -> Result<OwnedFd> {
    let (wait, release) = nix::unistd::pipe2(OFlag::O_CLOEXEC).context("pipe")?;
    let mut release = Some(release);
    let child = clone3(libc::CLONE_NEWUSER as u64, None, || {
        drop(release.take());
        // The end of file is the word to leave, whatever happens to the parent.
        crate::protocol::read(&wait, &mut [0]).map_or(1, |_| 0)
    })
    .context("make a user namespace for the mapping")?;
    let opened = write(maps, child.pid, proc).and_then(|()| open_namespace(child.pid));
    drop(release);
    waitid(WaitId::PidFd(child.pidfd.as_fd()), WaitIdOptions::EXITED)
        .context("wait for the mapping's process")?;
    opened
}
