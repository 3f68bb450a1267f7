//! The child's side of an exec: into the container's namespaces, its root and its keyring; then
//! the room where init ends, too. As there, the plan and the descriptors are borrowed by fork.
//!
//! The child stays outside of the container's pid namespace, where no process of the container sees
//! it, and clones the process that does not ([`crate::init::birth`]).

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::sched::{CloneFlags, setns};
use nix::sys::stat::Mode;
use rustix::fs::{CWD, OFlags};

use super::ExecPlan;
use crate::config::{DevConsole, Kind};
use crate::fs::{PATH, Proc, Root};
use crate::init::birth::{Birth, Report};
use crate::init::exec::Program;
use crate::init::{self, enter, stdio};
use crate::mount::closing;
use crate::protocol::{Socket, ToInit};
use crate::terminal::signals::Ignored;
use crate::{Context, Error, Result, sys};

/// What leads into the container.
#[derive(Debug)]
pub(crate) struct Entrance {
    /// A pidfd of init, whose namespaces are joined by one setns(2).
    pub init: OwnedFd,
    /// Those to be joined.
    pub kinds: Vec<Kind>,
    /// Init's root directory, where it may not be that of its mount namespace.
    pub root: Option<OwnedFd>,
}

/// What the child borrows from the runtime.
#[derive(Debug)]
pub(crate) struct Inside<'a> {
    /// What to do.
    pub plan: &'a ExecPlan,
    /// With which descriptors.
    pub entrance: &'a Entrance,
    /// The host's procfs.
    pub proc: &'a Proc,
    /// Where to report until the process of the program is cloned.
    pub parent: &'a Socket,
    /// Where to report from then on.
    pub report: &'a Report,
    /// Where the terminal's master goes; `None`: to the runtime itself.
    pub console: Option<&'a OwnedFd>,
    /// The terminal's size where the process gives none.
    pub size: Option<nix::pty::Winsize>,
    /// The signals that the caller ignores, for which the program gets the default action.
    pub signals: &'a Ignored,
}

/// Runs the child to its end; returns its exit status.
pub(crate) fn run(inside: &Inside<'_>, waits_for_cgroup: bool) -> i32 {
    init::end(inside.parent, enter_and_start(inside, waits_for_cgroup))
}

fn die_with_runtime() -> Result<()> {
    prctl::set_death_signal(libc::SIGKILL as isize)
        .map_err(|e| Error::from(Errno::from_raw(e)).context("set the death signal"))
}

fn join_namespaces(inside: &Inside<'_>) -> Result<()> {
    let Entrance { init, kinds, .. } = inside.entrance;
    if kinds.contains(&Kind::User) && inside.plan.process.identity.groups.is_some() {
        enter::leave_groups()?;
    }
    let flags = kinds.iter().fold(0, |flags, kind| flags | kind.flag());
    if flags != 0 {
        setns(init.as_fd(), CloneFlags::from_bits_retain(flags)).map_err(|errno| match errno {
            Errno::ESRCH => super::stopped(),
            errno => Error::from(errno).context("join the container's namespaces"),
        })?;
    }
    if kinds.contains(&Kind::User) {
        enter::become_root()?;
    }
    Ok(())
}

fn enter_and_start(inside: &Inside<'_>, waits_for_cgroup: bool) -> Result<i32> {
    let plan = inside.plan;
    closing::allow();
    die_with_runtime()?;
    sys::title::hide(init::TITLE);
    enter::not_dumpable()?;
    join_namespaces(inside)?;
    if let Some(root) = &inside.entrance.root {
        let change = || nix::unistd::fchdir(root).and_then(|()| nix::unistd::chroot("."));
        change().context("change to the container's root directory")?;
    }
    nix::unistd::setsid().context("setsid")?;
    if let Some(name) = &plan.keyring {
        enter::keyring(name, false)?;
    }
    if waits_for_cgroup {
        inside.parent.wait_for(ToInit::CgroupReady)?;
    }
    let umask = nix::sys::stat::umask(Mode::empty());
    let flags = PATH | OFlags::DIRECTORY;
    let root = rustix::fs::openat(CWD, Path::new("/"), flags, rustix::fs::Mode::empty());
    let root = Root::new(root.context("open the container's root directory")?);
    if plan.process.terminal {
        let console = stdio::Console {
            socket: inside.console,
            parent: inside.parent,
            size: inside.size,
            is_controlling: false,
            dev_console: DevConsole::Never,
        };
        stdio::terminal(&plan.process, inside.proc, &root, &console)?;
    } else {
        stdio::fix(&plan.process, inside.proc, &root)?;
    }
    // close_range closes it before the end, so it must not be closed a second time.
    std::mem::forget(root);
    let program = Program {
        process: &plan.process,
        birth: Birth::Exec(inside.report),
        proc: inside.proc,
        within: plan.within,
        affinity: plan.affinity,
        preserve_fds: plan.preserve_fds,
        listen: &plan.listen,
        is_hidden: true,
        parent: inside.parent,
        fifos: None,
        signals: inside.signals,
        before: None,
    };
    program.run(umask)
}
