//! `kill`: a signal for a container.

use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;

use super::text::not_running;
use crate::cgroup::Record;
use crate::state::{Entry, State, Status};
use crate::sys::pidfd;
use crate::{Context, Result};

/// Sends signal number `signal` to init, or with `all` to every process of the cgroup. SIGKILL
/// reaches all of them as well where init's death would not end them: without a private pid
/// namespace. [`Kind::State`], with the words `container not running`, unless the container is
/// created, running or paused; with `all` a stopped one is fine, and what its init has left behind
/// gets the signal: engines clean up with it after the end. SIGKILL gets there without `all` too,
/// if there is anything.
pub fn kill(container: &Entry, signal: i32, all: bool) -> Result<()> {
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
fn survivors(container: &Entry, state: &State) -> Result<bool> {
    Ok(!state.private_pid && container.this_boot()? && !state.cgroup.pids()?.is_empty())
}

pub(super) fn signal_live(
    state: &State,
    init: BorrowedFd<'_>,
    signal: i32,
    all: bool,
) -> Result<()> {
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
