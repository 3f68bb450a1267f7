//! `run`: creates and starts a container.

use std::os::fd::AsFd;
use std::process::ExitStatus;

use nix::errno::Errno;

use super::delete::{DEATH, destroy, stop};
use super::text::name;
use crate::error::retry_once;
use crate::spawn::create::{self as creation, CreateRequest, Options};
use crate::spawn::{Parent, Running};
use crate::state::{Id, Store};
use crate::sys::clone::Child;
use crate::terminal::signals::{Ignored, SignalGuard};
use crate::terminal::supervise::{self, supervise};
use crate::{Context, Error, Kind, Result, log};

/// Creates and starts the container `id`. Returns its init, a child of `parent`. The caller has
/// blocked all signals.
pub fn detached(
    store: &Store,
    id: &Id,
    options: &Options,
    parent: Parent<'_>,
    signals: SignalGuard,
) -> Result<Child> {
    let name = || name(id);
    let running = run(store, id, options, parent, true)?;
    if let Some(mut notify) = running.notify {
        // This can take long. A signal that ends the caller leaves the container running.
        signals.restore()?;
        notify.set_main_pid(running.child.pid);
        notify.until_ready(running.child.pidfd.as_fd()).with_context(name)?;
    }
    Ok(running.child)
}

/// Creates and starts the container `id`, and stays in the foreground until its init ends: relays
/// the terminal, forwards signals and, unless `keep`, deletes the container.
///
/// Only for a process that does nothing else: with `subreaper`, makes the process a subreaper and
/// reaps all children.
pub fn in_foreground(
    store: &Store,
    id: &Id,
    options: &Options,
    signals: SignalGuard,
    subreaper: bool,
    keep: bool,
) -> Result<ExitStatus> {
    become_subreaper(subreaper)?;
    let running = run(store, id, options, Parent::Caller, false)?;
    supervise_and_delete(store, id, running, signals, subreaper, keep)
}

/// Lets the calling process adopt the orphans of a container in the foreground, if `adopts`.
pub(super) fn become_subreaper(adopts: bool) -> Result<()> {
    if adopts {
        prctl::set_child_subreaper(true)
            .map_err(|errno| Error::sys(Errno::from_raw(errno)).context("become a subreaper"))?;
    }
    Ok(())
}

/// Waits until init ends, and, unless `keep`, deletes the container then.
pub(super) fn supervise_and_delete(
    store: &Store,
    id: &Id,
    running: Running,
    signals: SignalGuard,
    subreaper: bool,
    keep: bool,
) -> Result<ExitStatus> {
    let name = || name(id);
    let Running { child, master, notify } = running;
    let options = supervise::Options { master, subreaper, notify };
    let exit = supervise(&child, options, signals).with_context(name);
    if !keep {
        let removed = retry_once(|| {
            let container = store.load_locked(id)?;
            if exit.is_err() {
                stop(&container, DEATH)?;
            }
            destroy(container)
        });
        match (&exit, removed) {
            // Another process has deleted the container meanwhile.
            (_, Err(error)) if error.kind() == Kind::NotFound => {}
            (Ok(_), Err(error)) => log::warn(error.context(name())),
            (Err(_), Err(error)) => log::warn(error),
            (_, Ok(())) => {}
        }
    }
    exit
}

fn run(
    store: &Store,
    id: &Id,
    options: &Options,
    parent: Parent<'_>,
    detached: bool,
) -> Result<Running> {
    let signals = &Ignored::of_this_process()?;
    let request = CreateRequest { parent, id, options, detached, waits_for_start: false, signals };
    creation::create(store, &request).and_then(|created| created.start()).with_context(|| name(id))
}
