//! `exec`: starts another process in a container.

use std::process::ExitStatus;

use super::exec_options::ExecOptions;
use super::text::name;
use crate::spawn::exec::{self as joining, ExecRequest};
use crate::spawn::{Parent, Running};
use crate::state::{Id, Store};
use crate::sys::clone::Child;
use crate::terminal::signals::{Ignored, SignalGuard};
use crate::terminal::supervise::{self, supervise};
use crate::{Context, Result};

/// Starts a process in the container `id`. Returns the process, a child of `parent`.
pub(super) fn detached(
    store: &Store,
    id: &Id,
    options: &ExecOptions,
    parent: Parent<'_>,
) -> Result<Child> {
    let ignored = Ignored::of_this_process()?;
    let request = options.request(parent, &ignored)?;
    let container = store.load(id)?;
    Ok(joining::exec(&container, &request).with_context(|| name(id))?.child)
}

/// Starts a process in the container `id`, and stays in the foreground until it ends: relays its
/// terminal and forwards signals.
pub(super) fn in_foreground(
    store: &Store,
    id: &Id,
    options: &ExecOptions,
    signals: SignalGuard,
) -> Result<ExitStatus> {
    let name = || name(id);
    let ignored = Ignored::of_this_process()?;
    let request = ExecRequest { detached: false, ..options.request(Parent::Caller, &ignored)? };
    let container = store.load(id)?;
    let Running { child, master, notify } =
        joining::exec(&container, &request).with_context(name)?;
    let options = supervise::Options { master, subreaper: false, notify };
    supervise(&child, options, signals).with_context(name)
}
