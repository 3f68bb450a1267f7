//! The steps of the process of an exec, which ends like init. It stays outside of the container's pid
//! namespace, where no process of the container sees it, and clones the process that executes the
//! program ([`super::birth`]).

use std::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::sched::{CloneFlags, setns};
use nix::sys::stat::Mode;
use rustix::fs::{CWD, OFlags};

use super::last_steps::Program;
use super::lifetime::{self, exit_status};
use super::{enter, stdio};
use crate::config::Kind;
use crate::fs::{PATH, Root};
use crate::protocol::ToInit;
use crate::{Context, Error, Kind as ErrorKind, Result};

/// The descriptors that lead into the container.
#[derive(Debug)]
pub(crate) struct Entrance {
    /// A pidfd of init, whose namespaces are joined by one setns(2).
    pub init: OwnedFd,
    pub kinds: Vec<Kind>,
    /// Init's root directory, if that may be another than the root of its mount namespace.
    pub root: Option<OwnedFd>,
}

pub(crate) struct Inside<'a> {
    pub program: Program<'a>,
    pub entrance: &'a Entrance,
    pub keyring: Option<&'a CStr>,
    pub console: stdio::Console<'a>,
}

pub(crate) fn run(inside: &Inside<'_>, waits_for_cgroup: bool) -> i32 {
    exit_status(inside.program.parent, enter_and_start(inside, waits_for_cgroup))
}

fn join_namespaces(inside: &Inside<'_>) -> Result<()> {
    let Entrance { init, kinds, .. } = inside.entrance;
    if kinds.contains(&Kind::User) && inside.program.process.identity.groups.is_some() {
        enter::leave_groups()?;
    }
    let flags = kinds.iter().fold(0, |flags, kind| flags | *kind as i32);
    if flags != 0 {
        setns(init.as_fd(), CloneFlags::from_bits_retain(flags)).map_err(|errno| match errno {
            Errno::ESRCH => stopped(),
            errno => Error::from(errno).context("join the container's namespaces"),
        })?;
    }
    if kinds.contains(&Kind::User) {
        enter::become_root()?;
    }
    Ok(())
}

fn enter_and_start(inside: &Inside<'_>, waits_for_cgroup: bool) -> Result<i32> {
    lifetime::begin()?;
    enter::not_dumpable()?;
    join_namespaces(inside)?;
    if let Some(root) = &inside.entrance.root {
        let change = || nix::unistd::fchdir(root).and_then(|()| nix::unistd::chroot("."));
        change().context("change to the container's root directory")?;
    }
    nix::unistd::setsid().context("setsid")?;
    if let Some(name) = inside.keyring {
        enter::keyring(inside.program.proc, name, Some(inside.program.process), false)?;
    }
    if waits_for_cgroup {
        inside.program.parent.wait_for(ToInit::CgroupReady)?;
    }
    let umask = nix::sys::stat::umask(Mode::empty());
    let flags = PATH | OFlags::DIRECTORY;
    let root = rustix::fs::openat(CWD, Path::new("/"), flags, rustix::fs::Mode::empty());
    let root = Root::new(root.context("open the container's root directory")?);
    stdio::set_up(inside.program.process, inside.program.proc, &root, &inside.console)?;
    // close_range(2) closes it before the end; it must not be closed twice.
    std::mem::forget(root);
    inside.program.run(umask)
}

pub(crate) fn stopped() -> Error {
    let why = "cannot exec in a stopped container: container not running";
    Error::new(ErrorKind::State, why)
}
