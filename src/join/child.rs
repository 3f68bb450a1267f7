//! The child's side of an exec: into the container's namespaces, its root and its keyring; then
//! the room where init ends, too. As there, the plan and the descriptors are borrowed by fork.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::sched::{CloneFlags, setns};
use nix::sys::signal::SigSet;
use nix::sys::stat::Mode;
use rustix::fs::{CWD, OFlags};

use super::Plan;
use crate::fs::{PATH, Proc, Root};
use crate::init::exec::Program;
use crate::init::{self, enter, stdio};
use crate::plan::Kind;
use crate::sync::{Socket, ToInit, ToParent};
use crate::sys::clone::clone3;
use crate::{Context, Error, Result};

/// What leads into the container.
#[derive(Debug)]
pub struct Entrance {
    /// A pidfd of init, whose namespaces are joined by one setns(2).
    pub init: OwnedFd,
    /// Those to be joined.
    pub kinds: Vec<Kind>,
    /// Init's root directory, where it may not be that of its mount namespace.
    pub root: Option<OwnedFd>,
}

/// What the child borrows from the runtime.
#[derive(Debug)]
pub struct Inside<'a> {
    /// What to do.
    pub plan: &'a Plan,
    /// With which descriptors.
    pub entrance: &'a Entrance,
    /// The host's procfs.
    pub proc: &'a Proc,
    /// Where to report.
    pub parent: &'a Socket,
    /// Where the terminal's master goes; `None`: to the runtime itself.
    pub console: Option<&'a OwnedFd>,
    /// The terminal's size where the process gives none.
    pub size: Option<nix::pty::Winsize>,
    /// The caller's signal mask, which the program gets back.
    pub signals: &'a SigSet,
}

/// Runs the child to its end; returns the exit status where execve was not reached.
pub fn run(inside: &Inside<'_>, waits_for_cgroup: bool) -> i32 {
    init::end(inside.parent, first_half(inside, waits_for_cgroup))
}

/// Up to the process that stays: this one, or the go-between's child.
fn first_half(inside: &Inside<'_>, waits_for_cgroup: bool) -> Result<i32> {
    die_with_runtime()?;
    join_namespaces(inside)?;
    if !inside.plan.needs_go_between() {
        return second_half(inside, waits_for_cgroup);
    }
    let child = clone3(libc::CLONE_PARENT as u64, None, || {
        let ran = die_with_runtime().and_then(|()| second_half(inside, waits_for_cgroup));
        init::end(inside.parent, ran)
    });
    let pid = child.context("clone the process into the container's pid namespace")?.pid;
    inside.parent.tell_parent(&ToParent::Pid(pid))?;
    Ok(0)
}

fn die_with_runtime() -> Result<()> {
    prctl::set_death_signal(libc::SIGKILL as isize)
        .map_err(|e| Error::from(Errno::from_raw(e)).context("set the death signal"))
}

fn join_namespaces(inside: &Inside<'_>) -> Result<()> {
    let Entrance { init, kinds, .. } = inside.entrance;
    // Processes of the container must not reach into this one while it holds descriptors of the
    // host (CVE-2016-9962).
    enter::not_dumpable()?;
    if kinds.contains(&Kind::User) && inside.plan.process.identity.groups.is_some() {
        enter::leave_groups()?;
    }
    let here = |kind: &&Kind| **kind != Kind::Pid || inside.plan.needs_go_between();
    let flags = kinds.iter().filter(here).fold(0, |flags, kind| flags | kind.flag());
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

/// The process itself: session, keyring, terminal, program.
fn second_half(inside: &Inside<'_>, waits_for_cgroup: bool) -> Result<i32> {
    let plan = inside.plan;
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
            is_dev_console: false,
        };
        stdio::terminal(&plan.process, inside.proc, &root, &console)?;
    } else {
        stdio::fix(&plan.process, inside.proc, &root)?;
    }
    // close_range closes it before the end, so it must not be closed a second time.
    std::mem::forget(root);
    let program = Program {
        process: &plan.process,
        proc: inside.proc,
        within: plan.within,
        affinity: plan.affinity,
        preserve_fds: plan.preserve_fds,
        listen: &plan.listen,
        parent: inside.parent,
        fifos: None,
        signals: inside.signals,
        before: None,
    };
    program.run(umask)
}
