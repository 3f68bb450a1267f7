//! `delete`: ends a container, and removes everything that `create` has made.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use super::kill::signal_live;
use super::text::name;
use crate::error::retry_once;
use crate::state::{self, Entry, Id, Intent, State, Status, Store};
use crate::sys::pidfd;
use crate::{Context, Error, Kind, Result, hooks, log, resctrl};

/// How long a killed process may take to die: writing its memory to a slow disk takes time.
pub const DEATH: Duration = Duration::from_secs(10);

/// How long `delete` waits for a container that may be about to end.
const MOMENT: Duration = Duration::from_millis(100);

/// How long to wait for a killed init before it is thawed and killed again.
const STUBBORN: Duration = Duration::from_millis(200);

/// Deletes the container `id`. With `force`, also if it runs or its state is broken, and an unknown
/// id is no error.
pub fn delete(store: &Store, id: &Id, force: bool) -> Result<()> {
    match delete_existing(store, id, force) {
        Err(error) if force && error.kind() == Kind::NotFound => Ok(()),
        other => other,
    }
}

fn delete_existing(store: &Store, id: &Id, force: bool) -> Result<()> {
    let mut container = store.load_any(id)?;
    if container.broken().is_none() && container.status()? == Status::Creating {
        if !force {
            return Err(not_stopped(id, Status::Creating));
        }
        // The creator notices the death of its init and cleans up, or is dead when the lock is
        // free.
        stop(&container, DEATH)?;
    }
    container.lock()?;
    if let Some(error) = container.broken() {
        if !force {
            return Err(error.clone())
                .with_context(|| format!("delete {} (--force removes it all the same)", name(id)));
        }
        log::warn(error);
        stop(&container, DEATH)?;
        return destroy(container);
    }
    match container.status()? {
        Status::Stopped => {}
        _ if !force && ends(&container)? => {}
        _ if force => stop(&container, DEATH)?,
        status => return Err(not_stopped(id, status)),
    }
    destroy(container)
}

fn not_stopped(id: &Id, status: Status) -> Error {
    let why = format!("it is {status}; stop it first, or use --force");
    Error::new(Kind::State, why).context(format!("cannot delete {}", name(id)))
}

/// Ends a container by SIGKILL, and waits at most `limit` until its init is dead. A dead init is no
/// error.
pub fn stop(container: &Entry, limit: Duration) -> Result<()> {
    let name = || format!("stop {}", name(container.id()));
    if !container.this_boot()? {
        return Ok(());
    }
    let Some(state) = container.state() else {
        // The pid is not known; if init was created, it is in the cgroup.
        return match container.intent() {
            Some(intent) => intent.cgroup.made().kill_unfinished().with_context(name),
            None => Ok(()),
        };
    };
    let Some(init) = container.pidfd()? else { return Ok(()) };
    match signal_live(state, init.as_fd(), libc::SIGKILL, false) {
        // Init has died meanwhile.
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
        // Other processes of the container may freeze it again and again (cgroup v1); kill them
        // first.
        state.cgroup.kill_all().with_context(name)?;
        state.cgroup.thaw_to_die().with_context(name)?;
    }
    let why = format!("process {} is still alive {} s after SIGKILL", state.pid, limit.as_secs());
    Err(Error::new(Kind::System, why)).with_context(name)
}

/// Waits for a dying container, as after `kill ID KILL`, which returns before the kernel is done.
/// Returns whether the container has ended. For any other live container it waits only a moment.
pub fn ends(container: &Entry) -> Result<bool> {
    let (Some(state), Some(init)) = (container.state(), container.pidfd()?) else {
        return Ok(container.status()? == Status::Stopped);
    };
    if pidfd::wait_exit(init.as_fd(), MOMENT)? {
        return Ok(true);
    }
    // A frozen process does not die, so do not wait for it.
    Ok(state::is_dying(state.pid)?
        && !state.cgroup.frozen()?
        && pidfd::wait_exit(init.as_fd(), DEATH)?)
}

/// Removes everything that create made (runtime.md, "Delete"): processes in the cgroup, the cgroup,
/// the directory. Then runs the poststop hooks, whose failure is a warning. [`Kind::State`] if the
/// container is not stopped. Takes the lock if the caller has not; can be repeated after a crash.
pub fn destroy(mut container: Entry) -> Result<()> {
    container.lock()?;
    let id = container.id().clone();
    let name = || format!("delete {}", name(&id));
    if container.broken().is_none() {
        let status = container.status()?;
        if status != Status::Stopped {
            return Err(Error::new(Kind::State, format!("it is {status}"))).with_context(name);
        }
    }
    let poststop = match container.state() {
        Some(_) => retry_once(|| poststop(&container)).unwrap_or_else(|e| {
            log::warn(e.context("poststop hooks").context(name()));
            None
        }),
        None => None,
    };
    // After a reboot the cgroup is gone, and a cgroup of its name belongs to another process.
    if container.this_boot()? {
        match (container.state(), container.intent()) {
            // The death of init ends a pid namespace. Any process in the cgroup then came from
            // elsewhere, and must not be killed.
            (Some(State { private_pid: true, cgroup, .. }), _) => {
                if !cgroup.remove_if_empty().with_context(name)? {
                    cgroup.remove().with_context(name)?;
                }
            }
            (Some(State { cgroup, .. }), _) => {
                cgroup.kill_all().with_context(name)?;
                cgroup.remove().with_context(name)?;
            }
            // The init of a create that has died dies with it. Whether that create ever made the
            // cgroup is unknown, so no signal is sent to the processes in it.
            (None, Some(Intent { cgroup, .. })) => cgroup.abandon().with_context(name)?,
            (None, None) => {}
        }
        match (container.state(), container.intent()) {
            (Some(State { intel_rdt: Some(groups), .. }), _) => {
                groups.checked().and_then(resctrl::Record::remove).with_context(name)?;
            }
            (None, Some(Intent { intel_rdt: Some(groups), .. })) => {
                groups.checked().and_then(resctrl::Record::abandon).with_context(name)?;
            }
            _ => {}
        }
        if let Some(State { own_mount: Some(mount), rootfs, .. }) = container.state() {
            mount.detach(rootfs).with_context(name)?;
        }
    }
    container.remove()?;
    if let Some((hooks, state)) = poststop {
        hooks::run_all_logging("poststop", &hooks, &state);
    }
    Ok(())
}

/// Returns the poststop hooks and the state for them, read before the directory is removed.
fn poststop(container: &Entry) -> Result<Option<(Vec<hooks::Hook>, Vec<u8>)>> {
    let hooks = container.hooks()?.poststop;
    if hooks.is_empty() {
        return Ok(None);
    }
    let Some(state) = container.state() else { return Ok(None) };
    Ok(Some((hooks, state::document(state, Status::Stopped, state.pid).to_json()?)))
}
