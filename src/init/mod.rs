//! The child's side of a create: the ordered list of steps between the clone and the container's
//! program. Init owns nothing and decides nothing: plan and descriptors were made before the
//! clone and are borrowed here.
//!
//! libc's cached thread id is stale after a raw clone3, and there is no other thread: init must
//! leave by execve or by its exit status, and starts no thread of its own.

pub(crate) mod birth;
mod cgroups;
pub(crate) mod descriptors;
mod devices;
pub(crate) mod enter;
pub(crate) mod exec;
pub(crate) mod identity;
mod inherited;
mod interpreter;
pub(crate) mod limits;
pub(crate) mod mounts;
mod outward;
mod procfs;
mod program;
mod rootfs;
pub(crate) mod scheduling;
mod seal;
pub(crate) mod stdio;
mod superblock;

use std::mem::ManuallyDrop;
use std::os::fd::OwnedFd;

use nix::sys::stat::Mode;

pub(crate) use self::inherited::Inherited;
use crate::cgroup;
use crate::config::Plan;
use crate::error::retry_once;
use crate::fs::Root;
use crate::hooks;
use crate::mount::closing;
use crate::mount::sources::Sources;
use crate::mount::trees::Trees;
use crate::protocol::{Socket, ToInit, ToParent};
use crate::spawn::fifo::Fifos;
use crate::state::Status;
use crate::{Context, Error, Result, sys};

/// What init borrows from the runtime.
pub(crate) struct Init<'a> {
    /// What to do.
    pub plan: &'a Plan,
    /// With which descriptors.
    pub inherited: &'a Inherited,
    /// Where to report.
    pub parent: &'a Socket,
    /// `create`: what `start` opens later. `run` goes on at once.
    pub fifos: Option<&'a Fifos>,
    /// Where the terminal's master goes; `None`: to the runtime itself.
    pub console: Option<&'a OwnedFd>,
    /// The terminal's size where the spec gives none: the caller's, in the foreground.
    pub size: Option<nix::pty::Winsize>,
    /// The container's cgroups, for its own view of them.
    pub cgroups: &'a cgroup::Record,
    /// Whether the runtime says when init is in its cgroups.
    pub waits_for_cgroup: bool,
    /// The signals that the caller ignores, for which the program gets the default action.
    pub signals: &'a crate::terminal::signals::Ignored,
    /// The state that hooks read, but for status and pid.
    pub hook_state: &'a dyn Fn(Status, i32) -> Result<Vec<u8>>,
}

/// What ps(1) shows of init and of a process of an exec until they execute their program.
pub(crate) const TITLE: &[u8] = b"bulkhead init";

/// Runs init to its end; returns the exit status where execve was not reached.
pub(crate) fn run(init: &Init<'_>) -> i32 {
    closing::allow();
    finish(init, first_half(init))
}

fn finish(init: &Init<'_>, result: Result<i32>) -> i32 {
    end(init.parent, result)
}

/// The exit status of a child that has not reached execve; its error is told.
pub(crate) fn end(parent: &Socket, result: Result<i32>) -> i32 {
    match result {
        Ok(status) => status,
        Err(error) => {
            // Nobody is left to tell if the runtime has gone.
            let failed = ToParent::Failed(error);
            let _ = retry_once(|| parent.tell_parent(&failed));
            1
        }
    }
}

/// Up to the process that will be the container's: this one, or the go-between's child.
fn first_half(init: &Init<'_>) -> Result<i32> {
    // A killed runtime must leave nothing behind; the end of file on the socket says it too, but
    // only where init waits for it.
    prctl::set_death_signal(libc::SIGKILL as isize)
        .map_err(|e| Error::from(nix::errno::Errno::from_raw(e)).context("set the death signal"))?;
    sys::title::hide(TITLE);
    enter::user_namespace(init)?;
    if init.plan.route.trampoline {
        enter::go_between(init, || finish(init, second_half(init)))
    } else {
        second_half(init)
    }
}

/// The container's own process: namespaces, root file system, identity, program.
fn second_half(init: &Init<'_>) -> Result<i32> {
    let plan = init.plan;
    enter::other_namespaces(init)?;
    nix::unistd::setsid().context("setsid")?;
    if let Some(name) = &plan.keyring {
        enter::keyring(name, true)?;
    }
    enter::network(plan)?;
    if init.waits_for_cgroup {
        init.parent.wait_for(ToInit::CgroupReady)?;
    }
    enter::clocks(init)?;
    enter::cgroup_namespace(plan)?;
    enter::hide(plan)?;

    // Modes of nodes and directories are given exactly; the program gets the caller's mask back.
    let umask = nix::sys::stat::umask(Mode::empty());
    // These are closed by close_range before the end, and must not be closed a second time.
    let opened: ManuallyDrop<Trees>;
    let trees = match &init.inherited.sources {
        Sources::Open(trees) => trees,
        // Only here, in init's own mount namespace, does an unprivileged runtime have the right, and
        // do the mounts of a user namespace have their locks.
        Sources::OfInit => {
            opened = ManuallyDrop::new(Trees::open(plan, false)?);
            &opened
        }
        Sources::Staged(stage) => {
            opened = ManuallyDrop::new(stage.trees(plan)?);
            &opened
        }
    };
    let mut root = ManuallyDrop::new(rootfs::attach(plan, trees)?);
    let made = mounts::all(init, &mut root, trees)?;
    devices::all(init, &root, trees)?;
    create_hooks(init, &root, umask)?;
    rootfs::make_cwd(plan, &root)?;
    if let Some(process) = &plan.process {
        let proc = &init.inherited.proc;
        if process.terminal {
            let console = stdio::Console {
                socket: init.console,
                parent: init.parent,
                size: init.size,
                is_controlling: !plan.route.joins_pid,
                dev_console: plan.dev_console(),
            };
            stdio::terminal(process, proc, &root, &console)?;
        } else {
            stdio::fix(process, proc, &root)?;
        }
    }
    rootfs::enter(init, &root)?;
    seal::read_only_mounts(made.late)?;
    seal::names(plan)?;
    seal::sysctls(init)?;
    seal::paths(plan, &root, trees, &made.outward)?;
    rootfs::finish(plan, &root)?;
    exec::run(init, umask)
}

/// prestart and createRuntime hooks run beside the runtime, createContainer hooks here: in the
/// container's namespaces, but with the host's root file system still in sight.
fn create_hooks(init: &Init<'_>, root: &Root, umask: Mode) -> Result<()> {
    let hooks = &init.plan.hooks;
    // Before a pid namespace of others is joined the device rules have to be in force, too.
    if hooks.has_create() || init.plan.route.joins_pid {
        // Also for createContainer hooks alone: the runtime owes poststop hooks from here on.
        init.parent.tell_parent(&ToParent::NeedHooks)?;
        init.parent.wait_for(ToInit::HooksDone)?;
    }
    if !hooks.create_container.is_empty() {
        let state = (init.hook_state)(Status::Creating, nix::unistd::getpid().as_raw())?;
        // Where those of runc start too; the state has no path of the root file system.
        nix::unistd::fchdir(root.fd()).context("enter the root file system")?;
        // What a hook writes on the host is not to be everybody's.
        let own = nix::sys::stat::umask(umask);
        hooks::run_all("createContainer", &hooks.create_container, &state)?;
        nix::sys::stat::umask(own);
    }
    Ok(())
}
