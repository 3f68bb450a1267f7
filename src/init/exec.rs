//! The steps of the process of an exec: it enters the container's namespaces, root and keyring, and
//! ends like init. The plan and the descriptors are inherited by the clone.
//!
//! The process stays outside of the container's pid namespace, where no process of the container
//! sees it, and clones the process that executes the program ([`super::birth`]).

use std::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::pty::Winsize;
use nix::sched::{CloneFlags, setns};
use nix::sys::stat::Mode;
use rustix::fs::{CWD, OFlags};

use super::birth::{Birth, Report};
use super::identity::Within;
use super::lifetime::{self, exit_status};
use super::limits::Affinity;
use super::program::Program;
use super::{enter, stdio};
use crate::config::{DevConsole, FilterPoint, Kind, Listen, Process};
use crate::fs::{PATH, Proc, Root};
use crate::protocol::{Socket, ToInit};
use crate::terminal::signals::Ignored;
use crate::{Context, Error, Kind as ErrorKind, Result};

/// The descriptors that lead into the container.
#[derive(Debug)]
pub(crate) struct Entrance {
    /// A pidfd of init, whose namespaces are joined by one setns(2).
    pub init: OwnedFd,
    /// The kinds of namespaces to join.
    pub kinds: Vec<Kind>,
    /// Init's root directory, if that may be another than the root of its mount namespace.
    pub root: Option<OwnedFd>,
}

/// What the process of an exec inherits from the runtime.
#[derive(Debug)]
pub(crate) struct Inside<'a> {
    /// The program, its user and its limits.
    pub process: &'a Process,
    /// When the process loads its seccomp filter.
    pub filter_point: FilterPoint,
    /// The session keyring to join.
    pub keyring: Option<&'a CStr>,
    /// The user namespace that the process ends up in.
    pub within: Within,
    /// The processors of the process.
    pub affinity: Affinity,
    /// How many descriptors from 3 up the program gets, those of `listen` among them.
    pub preserve_fds: u32,
    /// Descriptors of socket activation.
    pub listen: &'a Listen,
    /// The descriptors that lead into the container.
    pub entrance: &'a Entrance,
    /// The host's procfs.
    pub proc: &'a Proc,
    /// The socket to the runtime, until the process of the program is cloned.
    pub parent: &'a Socket,
    /// The shared memory for reports after that.
    pub report: &'a Report,
    /// The socket that receives the master of the terminal; `None`: the runtime receives it.
    pub console: Option<&'a OwnedFd>,
    /// The size of the terminal if the process gives none.
    pub size: Option<Winsize>,
    /// The signals that the caller ignores, for which the program gets the default action.
    pub signals: &'a Ignored,
}

/// Runs the process to its end; returns its exit status.
pub(crate) fn run(inside: &Inside<'_>, waits_for_cgroup: bool) -> i32 {
    exit_status(inside.parent, enter_and_start(inside, waits_for_cgroup))
}

fn join_namespaces(inside: &Inside<'_>) -> Result<()> {
    let Entrance { init, kinds, .. } = inside.entrance;
    if kinds.contains(&Kind::User) && inside.process.identity.groups.is_some() {
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

/// The list of steps.
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
        enter::keyring(name, false)?;
    }
    if waits_for_cgroup {
        inside.parent.wait_for(ToInit::CgroupReady)?;
    }
    let umask = nix::sys::stat::umask(Mode::empty());
    let flags = PATH | OFlags::DIRECTORY;
    let root = rustix::fs::openat(CWD, Path::new("/"), flags, rustix::fs::Mode::empty());
    let root = Root::new(root.context("open the container's root directory")?);
    if inside.process.terminal {
        let console = stdio::Console {
            socket: inside.console,
            parent: inside.parent,
            size: inside.size,
            is_controlling: false,
            dev_console: DevConsole::Never,
        };
        stdio::terminal(inside.process, inside.proc, &root, &console)?;
    } else {
        stdio::fix(inside.process, inside.proc, &root)?;
    }
    // close_range(2) closes it before the end; it must not be closed twice.
    std::mem::forget(root);
    let program = Program {
        process: inside.process,
        filter_point: inside.filter_point,
        birth: Birth::Exec(inside.report),
        proc: inside.proc,
        within: inside.within,
        affinity: inside.affinity,
        preserve_fds: inside.preserve_fds,
        listen: inside.listen,
        is_hidden: true,
        parent: inside.parent,
        fifos: None,
        signals: inside.signals,
        before: None,
    };
    program.run(umask)
}

/// Returns the error for a container whose init has ended.
pub(crate) fn stopped() -> Error {
    let why = "cannot exec in a stopped container: container not running";
    Error::new(ErrorKind::State, why)
}
