//! Signals to a container, its pauses, and its end.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::{Container, DEATH, Intent, State, Status};
use crate::cgroup::Record;
use crate::sys::pidfd;
use crate::{Context, Error, Kind, Result, hooks};

/// How long `delete` waits for the end of a container that may be about to end.
const MOMENT: Duration = Duration::from_millis(100);

/// After how long a killed init is looked after once more.
const STUBBORN: Duration = Duration::from_millis(200);

/// Sends signal number `signal` to init, or with `all` to every process of the cgroup. SIGKILL
/// reaches all of them as well where init's death would not end them: without a private pid
/// namespace. [`Kind::State`], with the words `container not running`, unless the container is
/// created, running or paused; with `all` a stopped one is fine, and what its init has left behind
/// gets the signal: engines clean up with it after the end. SIGKILL gets there without `all` too,
/// if there is anything.
pub fn kill(container: &Container, signal: i32, all: bool) -> Result<()> {
    let name = || format!("kill container {:?}", container.id().as_str());
    let status = container.status()?;
    let Some(state) = container.state() else { return Err(not_running()).with_context(name) };
    match status {
        Status::Created | Status::Running | Status::Paused => {
            let Some(init) = container.pidfd()? else {
                return Err(not_running()).with_context(name);
            };
            signal_live(state, init.as_fd(), signal, all)
        }
        // With a pid namespace of its own all of it has died with init; what is in the cgroup is not
        // the container's.
        Status::Stopped if all && !state.private_pid && container.this_boot()? => {
            signal_cgroup(&state.cgroup, signal)
        }
        Status::Stopped if all => Ok(()),
        Status::Stopped if signal == libc::SIGKILL && survivors(container, state)? => {
            state.cgroup.kill_all()
        }
        Status::Stopped | Status::Creating => Err(not_running()),
    }
    .with_context(name)
}

/// Whether processes of a stopped container live on, as they can in a pid namespace of others.
fn survivors(container: &Container, state: &State) -> Result<bool> {
    Ok(!state.private_pid && container.this_boot()? && !state.cgroup.pids()?.is_empty())
}

/// Freezes all processes of a container, and returns when they stand still. Takes the lock.
/// [`Kind::State`], with the words `container not running`, unless it is created or running.
pub fn pause(container: &mut Container) -> Result<()> {
    container.lock()?;
    let name = || format!("pause container {:?}", container.id().as_str());
    match (container.status()?, container.state()) {
        (Status::Created | Status::Running, Some(state)) => {
            state.cgroup.freeze().with_context(name)
        }
        (Status::Paused, _) => {
            let why = "container not running: it is paused already";
            Err(Error::new(Kind::State, why)).with_context(name)
        }
        _ => Err(not_running()).with_context(name),
    }
}

/// Lets a paused container go on. Takes the lock. [`Kind::State`], with the words `container not
/// paused`, unless it is paused.
pub fn resume(container: &mut Container) -> Result<()> {
    container.lock()?;
    let name = || format!("resume container {:?}", container.id().as_str());
    match (container.status()?, container.state()) {
        (Status::Paused, Some(state)) => state.cgroup.thaw().with_context(name),
        _ => Err(Error::new(Kind::State, "container not paused")).with_context(name),
    }
}

/// Ids of all processes in the container's cgroups, in ascending order: of a stopped one what has
/// outlived its init, usually nothing. [`Kind::State`], with the words `container not running`, if
/// it is not made yet.
pub fn processes(container: &Container) -> Result<Vec<i32>> {
    let name = || format!("list the processes of container {:?}", container.id().as_str());
    match (container.status()?, container.state()) {
        (Status::Created | Status::Running | Status::Paused, Some(state)) => {
            state.cgroup.must_exist().and_then(|()| state.cgroup.pids()).with_context(name)
        }
        (Status::Stopped, Some(state)) if container.this_boot()? => {
            state.cgroup.pids().with_context(name)
        }
        (Status::Stopped, _) => Ok(Vec::new()),
        _ => Err(not_running()).with_context(name),
    }
}

fn not_running() -> Error {
    Error::new(Kind::State, "container not running")
}

fn signal_live(state: &State, init: BorrowedFd<'_>, signal: i32, all: bool) -> Result<()> {
    let rest = all && !matches!(signal, 0 | libc::SIGKILL);
    if rest && state.cgroup.pids()?.contains(&state.pid) {
        return signal_cgroup(&state.cgroup, signal);
    }
    match pidfd::send_signal(init, signal) {
        Ok(()) => {}
        Err(Errno::ESRCH) => return Err(not_running()),
        Err(e) => return Err(e).with_context(|| format!("send signal {signal} to {}", state.pid)),
    }
    if rest {
        // init has left its cgroup, or there is none.
        return signal_cgroup(&state.cgroup, signal);
    }
    if signal == libc::SIGKILL {
        if all || !state.private_pid {
            state.cgroup.kill_all()?;
        }
        state.cgroup.thaw_to_die()?;
    }
    Ok(())
}

fn signal_cgroup(cgroup: &Record, signal: i32) -> Result<()> {
    match signal {
        0 => Ok(()),
        libc::SIGKILL => cgroup.kill_all(),
        signal => cgroup.signal_all(signal),
    }
}

/// Ends a container by SIGKILL, and waits at most `limit` until its init is dead. It is no error
/// if it is dead already.
pub fn stop(container: &Container, limit: Duration) -> Result<()> {
    let name = || format!("stop container {:?}", container.id().as_str());
    if !container.this_boot()? {
        return Ok(());
    }
    let Some(state) = container.state() else {
        // The pid is not known; init is in the cgroup, if it was ever made.
        return match container.intent() {
            Some(intent) => intent.cgroup.made().kill_unfinished().with_context(name),
            None => Ok(()),
        };
    };
    let Some(init) = container.pidfd()? else { return Ok(()) };
    match signal_live(state, init.as_fd(), libc::SIGKILL, false) {
        // Dead a moment ago.
        Err(e) if e.kind() == Kind::State => {}
        other => other.with_context(name)?,
    }
    let end = Instant::now() + limit;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if pidfd::wait_exit(init.as_fd(), left.min(STUBBORN))? {
            return Ok(());
        }
        if left.is_zero() {
            break;
        }
        // Others in the container may freeze it again and again (cgroup v1); they go first.
        state.cgroup.kill_all().with_context(name)?;
        state.cgroup.thaw_to_die().with_context(name)?;
    }
    let why = format!("process {} is still alive {} s after SIGKILL", state.pid, limit.as_secs());
    Err(Error::new(Kind::System, why)).with_context(name)
}

/// Waits for the end of a container that is dying, as after `kill ID KILL`, which returns before the
/// kernel is done; whether it has ended. For any other live container it waits a moment, and gives up.
pub fn ends(container: &Container) -> Result<bool> {
    let (Some(state), Some(init)) = (container.state(), container.pidfd()?) else {
        return Ok(container.status()? == Status::Stopped);
    };
    if pidfd::wait_exit(init.as_fd(), MOMENT)? {
        return Ok(true);
    }
    // A frozen one does not die, so it is not waited for.
    Ok(super::process::is_dying(state.pid)?
        && !state.cgroup.frozen()?
        && pidfd::wait_exit(init.as_fd(), DEATH)?)
}

/// Frees all that create made (runtime.md "Delete"): processes left in the cgroup, the cgroup, the
/// directory; then runs the poststop hooks, whose failure is a warning. [`Kind::State`] if the
/// container is not stopped. Takes the lock if the caller has not; can be repeated after a crash.
pub fn destroy(mut container: Container) -> Result<()> {
    container.lock()?;
    let id = container.id().clone();
    let name = || format!("delete container {:?}", id.as_str());
    if container.broken().is_none() {
        let status = container.status()?;
        if status != Status::Stopped {
            return Err(Error::new(Kind::State, format!("it is {status}"))).with_context(name);
        }
    }
    let poststop = match container.state() {
        Some(_) => poststop(&container).unwrap_or_else(|e| {
            crate::log::warn(e.context("poststop hooks").context(name()));
            None
        }),
        None => None,
    };
    // After a reboot the cgroup is gone, and one of its name is somebody else's.
    if container.this_boot()? {
        match (container.state(), container.intent()) {
            // The death of init ends a pid namespace. What is in the cgroup then was put there from
            // elsewhere, and is not the container's to kill.
            (Some(State { private_pid: true, cgroup, .. }), _) => {
                if !cgroup.remove_if_empty().with_context(name)? {
                    cgroup.remove().with_context(name)?;
                }
            }
            (Some(State { cgroup, .. }), _) => {
                cgroup.kill_all().with_context(name)?;
                cgroup.remove().with_context(name)?;
            }
            // The init of a create that has died dies with it. Nothing else is known of the cgroup,
            // not even whether that create ever made it: so no signal is sent to what is there.
            (None, Some(Intent { cgroup, .. })) => cgroup.abandon().with_context(name)?,
            (None, None) => {}
        }
    }
    if container.this_boot()?
        && let Some(state) = container.state()
        && let Some(mount) = state.own_mount
    {
        mount.detach(&state.rootfs).with_context(name)?;
    }
    container.remove()?;
    if let Some((hooks, state)) = poststop {
        hooks::run_all_logging("poststop", &hooks, &state);
    }
    Ok(())
}

/// The poststop hooks and the state that they read, taken before the directory is gone.
fn poststop(container: &Container) -> Result<Option<(Vec<hooks::Hook>, Vec<u8>)>> {
    let hooks = container.hooks()?.poststop;
    if hooks.is_empty() {
        return Ok(None);
    }
    Ok(Some((hooks, container.document()?.to_json()?)))
}
