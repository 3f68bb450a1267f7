//! `restore`: makes a container from the images of a checkpoint.

use std::process::ExitStatus;

use super::run::{become_subreaper, supervise_and_delete};
use super::text::name;
use crate::checkpoint::{self, Restore, Settings};
use crate::spawn::create::{CreateRequest, Options};
use crate::spawn::{Parent, Running};
use crate::state::{Id, Store};
use crate::sys::clone::Child;
use crate::terminal::signals::{Ignored, SignalGuard};
use crate::{Context, Result};

/// Restores the container `id`. Returns its init, a child of `parent`.
pub fn detached(
    store: &Store,
    id: &Id,
    options: &Options,
    settings: &Settings,
    parent: Parent<'_>,
) -> Result<Child> {
    Ok(restore(store, id, options, settings, parent, true)?.child)
}

/// Restores the container `id`, and stays in the foreground until its init ends, like `run`.
pub fn in_foreground(
    store: &Store,
    id: &Id,
    options: &Options,
    settings: &Settings,
    signals: SignalGuard,
    subreaper: bool,
) -> Result<ExitStatus> {
    become_subreaper(subreaper)?;
    let running = restore(store, id, options, settings, Parent::Caller, false)?;
    supervise_and_delete(store, id, running, signals, subreaper, false)
}

fn restore(
    store: &Store,
    id: &Id,
    options: &Options,
    settings: &Settings,
    parent: Parent<'_>,
    detached: bool,
) -> Result<Running> {
    let signals = &Ignored::of_this_process()?;
    let create = CreateRequest { parent, id, options, detached, waits_for_start: false, signals };
    let restored = checkpoint::restore(store, &Restore { create, settings });
    restored.with_context(|| format!("restore {}", name(id)))
}
