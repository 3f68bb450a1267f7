//! The steps of a container's init, from the clone to the execution of the program. Their order is a
//! matter of security; a comment gives the reason where a step could seem movable.

use std::mem::ManuallyDrop;
use std::sync::atomic::AtomicI32;

use nix::sys::stat::Mode;

use super::birth::Birth;
use super::identity::{self, Within};
use super::inherited::Init;
use super::last_steps::{Program, user_namespace};
use super::lifetime::{self, close_others, exit_status, outlive_runtime};
use super::limits::Affinity;
use super::search::with_home;
use super::{devices, enter, mounts, rootfs, seal, start, stdio};
use crate::fs::Root;
use crate::hooks;
use crate::mount::sources::Sources;
use crate::mount::trees::Trees;
use crate::protocol::{ToInit, ToParent};
use crate::state::{self, Status};
use crate::sys::clone::clone_sibling;
use crate::{Context, Error, Result};

/// Runs init to its end; returns the exit status of a process that has not executed a program.
pub(crate) fn run(init: &Init<'_>) -> i32 {
    exit_status(init.parent, enter_user_namespace(init))
}

fn enter_user_namespace(init: &Init<'_>) -> Result<i32> {
    lifetime::begin()?;
    enter::user_namespace(init)?;
    if init.plan.route.trampoline {
        enter::go_between(init, || exit_status(init.parent, build_container(init)))
    } else {
        build_container(init)
    }
}

/// The steps of the container's own process, which is the calling process or the child of the calling
/// go-between.
fn build_container(init: &Init<'_>) -> Result<i32> {
    let plan = init.plan;
    enter::other_namespaces(init)?;
    nix::unistd::setsid().context("setsid")?;
    if let Some(name) = &plan.keyring {
        enter::keyring(&init.inherited.proc, name, plan.process.as_ref(), true)?;
    }
    enter::network(plan)?;
    if init.waits_for_cgroup {
        init.parent.wait_for(ToInit::CgroupReady)?;
    }
    enter::network_devices(init)?;
    enter::clocks(init)?;
    enter::cgroup_namespace(plan)?;
    enter::hide(plan)?;

    // Modes of nodes and directories are given exactly; the program gets the caller's mask back.
    let umask = nix::sys::stat::umask(Mode::empty());
    // close_range(2) closes these before the end; they must not be closed twice.
    let opened: ManuallyDrop<Trees>;
    let trees = match &init.inherited.sources {
        Sources::Open(trees) => trees,
        // Only here, in init's own mount namespace, does an unprivileged runtime have the right,
        // and do the mounts of a user namespace have their locks.
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
        stdio::set_up(process, &init.inherited.proc, &root, &init.console)?;
    }
    rootfs::enter(init, &root)?;
    seal::read_only_mounts(made.late)?;
    seal::names(plan)?;
    seal::sysctls(init)?;
    seal::paths(plan, &root, trees, &made.outward)?;
    rootfs::finish(plan, &root)?;
    execute(init, umask)
}

/// Has the runtime run the prestart and createRuntime hooks, and runs the createContainer hooks: in
/// the container's namespaces, but with the host's root file system still in sight.
fn create_hooks(init: &Init<'_>, root: &Root, umask: Mode) -> Result<()> {
    let hooks = &init.plan.hooks;
    // Before a pid namespace of others is joined the device rules have to be in force, too.
    if hooks.has_create() || init.plan.route.joins_pid {
        // Also for createContainer hooks alone: the runtime owes poststop hooks from here on.
        init.parent.tell_parent(&ToParent::NeedHooks)?;
        init.parent.wait_for(ToInit::HooksDone)?;
    }
    if !hooks.create_container.is_empty() {
        let state = hook_state(init, Status::Creating)?;
        // Hooks of runc start there, too; the state has no path of the root file system.
        nix::unistd::fchdir(root.fd()).context("enter the root file system")?;
        // Files that a hook writes on the host must not be open to all users.
        let own = nix::sys::stat::umask(umask);
        hooks::run_all("createContainer", &hooks.create_container, &state)?;
        nix::sys::stat::umask(own);
    }
    Ok(())
}

/// Joins the last namespace and executes the program.
fn execute(init: &Init<'_>, umask: Mode) -> Result<i32> {
    let plan = init.plan;
    let hooks = || start_hooks(init);
    let within = Within {
        user_namespace: plan.in_user_namespace,
        denies_setgroups: plan.ids.as_ref().is_some_and(|ids| ids.denies_setgroups()),
    };
    // The last of all namespaces: every process that is cloned from here on is born there.
    if plan.route.joins_pid {
        enter::pid_namespace(init)?;
    }
    // While the procfs of the host is open.
    let user_namespace = match plan.namespaces.has_user() {
        true => user_namespace(&init.inherited.proc)?,
        false => 0,
    };
    let Some(process) = &plan.process else {
        return without_process(init, within, user_namespace);
    };
    let program = Program {
        process,
        filter_point: plan.filter_point,
        birth: if plan.route.joins_pid { Birth::Init } else { Birth::Here },
        proc: &init.inherited.proc,
        within,
        affinity: Affinity::All,
        preserve_fds: plan.preserve_fds,
        listen: &plan.listen,
        user_namespace,
        is_hidden: enter::is_hidden(plan),
        parent: init.parent,
        fifos: init.fifos,
        signals: init.signals,
        before: if plan.hooks.start_container.is_empty() { None } else { Some(&hooks) },
    };
    program.run(umask)
}

fn hook_state(init: &Init<'_>, status: Status) -> Result<Vec<u8>> {
    state::document(init.state, status, nix::unistd::getpid().as_raw()).to_json()
}

fn start_hooks(init: &Init<'_>) -> Result<()> {
    let state = hook_state(init, Status::Created)?;
    // The hooks are programs of the image like the container's own: they get its environment.
    let env = init.plan.process.as_ref().map(with_home).unwrap_or_default();
    let hooks = init.plan.hooks.start_container.iter();
    let hooks: Vec<_> = hooks.map(|hook| hook.inheriting(&env)).collect();
    hooks::run_all("startContainer", &hooks, &state)
}

/// Ends the create of a container without a process: the specification allows it, and it can never
/// be started.
fn without_process(init: &Init<'_>, within: Within, user_namespace: u64) -> Result<i32> {
    let is_sibling = init.plan.route.joins_pid;
    close_others(init.plan.preserve_fds, init.parent, init.fifos)?;
    outlive_runtime()?;
    identity::forgo(within)?;
    let wait = || {
        init.parent.tell_parent(&ToParent::Ready { user_namespace })?;
        init.parent.wait_for(ToInit::Go)?;
        let missing = || Error::invalid_field("process", "missing, so there is nothing to start");
        start::report(init.fifos, start::wait(init.fifos).err().unwrap_or_else(missing))
    };
    if !is_sibling {
        return wait();
    }
    let born = || init.parent.wait_for(ToInit::Adopted).and_then(|()| wait());
    let pid = clone_sibling(false, &AtomicI32::new(0), |_| exit_status(init.parent, born()));
    init.parent.tell_parent(&ToParent::Pid(pid.context("clone init into the pid namespace")?))?;
    Ok(0)
}
