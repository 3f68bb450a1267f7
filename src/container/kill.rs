//! `kill`: sends a signal to a container.

use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;

use super::text::{name, not_running};
use crate::cgroup::Record;
use crate::state::{Entry, State, Status};
use crate::sys::pidfd;
use crate::{Context, Result};

/// Sends signal number `signal` to init, or with `all` to every process of the cgroup. Without a
/// private pid namespace, where the death of init does not end the other processes, SIGKILL always
/// goes to every process.
///
/// `Kind::State` with the text `container not running` unless the container is created, running
/// or paused. A stopped container is accepted with `all`, or with SIGKILL if processes are left:
/// engines use it to clean up the processes that init has left behind.
pub fn kill(container: &Entry, signal: i32, all: bool) -> Result<()> {
    let name = || format!("kill {}", name(container.id()));
    let status = container.status()?;
    let Some(state) = container.state() else { return Err(not_running()).with_context(name) };
    match status {
        Status::Created | Status::Running | Status::Paused => {
            let Some(init) = container.pidfd()? else {
                return Err(not_running()).with_context(name);
            };
            signal_live(state, init.as_fd(), signal, all)
        }
        // In a pid namespace of its own, all processes of the container have died with init; other
        // processes in the cgroup are not the container's.
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

/// Whether processes of a stopped container are alive, as is possible in a shared pid namespace.
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
        // Init has left its cgroup, or there is no cgroup.
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
