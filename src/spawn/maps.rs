//! The mappings of user namespaces: written for a new namespace, read from an existing namespace.
//!
//! The kernel shows and accepts mappings only in /proc/PID of a process in the namespace.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;

use nix::errno::Errno;
use nix::sched::{CloneFlags, setns};
use rustix::fs::{CWD, Mode, OFlags};

use super::child::Parent;
use crate::config::ids::{IdMap, IdMaps, Writer};
use crate::fs::Proc;
use crate::mount::devices::Maps;
use crate::protocol::read;
use crate::sys::clone::clone3;
use crate::{Context, Error, Kind, Result};

pub(super) fn write(maps: &IdMaps, pid: i32, proc: &Proc) -> Result<()> {
    match maps.writer {
        Writer::Helpers => {
            helper("newuidmap", pid, &maps.uids)?;
            helper("newgidmap", pid, &maps.gids)
        }
        writer => {
            if writer == Writer::Own {
                // Without it, a member of a group that is denied access could leave the group
                // (CVE-2014-8989).
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

/// Makes a user namespace that exists only to carry a mapping: it lives as long as a descriptor of
/// it.
pub(super) fn new_namespace(maps: &IdMaps, proc: &Proc) -> Result<OwnedFd> {
    with_process_in(None, |pid| write(maps, pid, proc).and_then(|()| open_namespace(pid)))
        .context("make a user namespace for the mapping")
}

pub(super) fn open_namespace(pid: i32) -> Result<OwnedFd> {
    let path = format!("/proc/{pid}/ns/user");
    rustix::fs::openat(CWD, &path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .with_context(|| format!("open {path}"))
}

pub(super) fn of_namespace(namespace: BorrowedFd<'_>) -> Result<Maps> {
    with_process_in(Some(namespace), |pid| {
        Ok((read_map(pid, "uid_map")?, read_map(pid, "gid_map")?))
    })
}

pub(crate) fn read_map(pid: i32, file: &str) -> Result<Vec<IdMap>> {
    let path = format!("{pid}/{file}");
    let read = || -> Result<String> {
        let map = Proc::open()?.file(Path::new(&path), OFlags::RDONLY | OFlags::CLOEXEC)?;
        Ok(std::io::read_to_string(std::fs::File::from(map))?)
    };
    let text = read().with_context(|| format!("read {path}"))?;
    IdMaps::parse(&text)
        .ok_or_else(|| Error::new(Kind::System, format!("{path}: not a map: {text:?}")))
}

/// Runs `work` with the id of a process that waits in a user namespace: in `namespace`, or in a new
/// namespace that has no mappings yet.
fn with_process_in<T>(
    namespace: Option<BorrowedFd<'_>>,
    work: impl FnOnce(i32) -> Result<T>,
) -> Result<T> {
    let (own, other) = UnixStream::pair().context("make a socket pair")?;
    let mut own = Some(own);
    let flags = if namespace.is_none() { libc::CLONE_NEWUSER } else { 0 };
    let child = clone3(flags as u64, None, || {
        drop(own.take());
        if let Some(namespace) = namespace {
            let entered = enter(namespace).map_or_else(|errno| errno as i32, |()| 0);
            if nix::unistd::write(&other, &entered.to_ne_bytes()).is_err() {
                return 1;
            }
        }
        // The end of file is the request to exit; it comes even if the parent is killed.
        read(&other, &mut [0]).map_or(1, |_| 0)
    })
    .context("clone a process for the user namespace")?;
    drop(other);
    let entered = match (&own, namespace) {
        (Some(own), Some(_)) => has_entered(own),
        _ => Ok(()),
    };
    let answer = entered.and_then(|()| work(child.pid));
    drop(own);
    let reaped = Parent::Caller.reap(&child).context("wait for the process in the user namespace");
    let answer = answer?;
    reaped.map(|()| answer)
}

/// Enters a user namespace. Processes there must not trace the calling process, which is outside of
/// their pid namespace and has the rights of the runtime.
fn enter(namespace: BorrowedFd<'_>) -> nix::Result<()> {
    prctl::set_dumpable(false).map_err(Errno::from_raw)?;
    setns(namespace, CloneFlags::CLONE_NEWUSER)
}

fn has_entered(socket: &UnixStream) -> Result<()> {
    let mut errno = [0; 4];
    let length = read(socket, &mut errno).context("wait for a process")?;
    match i32::from_ne_bytes(errno) {
        0 if length == errno.len() => Ok(()),
        0 => Err(Error::new(Kind::System, "the process in it died")),
        errno => Err(Error::from(Errno::from_raw(errno)).context("join it")),
    }
}
