//! `exec`: another process in a container.

use super::exec_options::ExecOptions;
use super::text::name;
use crate::spawn::create::Running;
use crate::spawn::exec::{Request, join};
use crate::state::{Id, Store};
use crate::sys::clone::Child;
use crate::terminal::signals::{Ignored, SignalGuard};
use crate::terminal::supervise::{self, Exit, supervise};
use crate::{Context, Result};

/// Starts a process in container `id`, and returns it.
pub(super) fn detached(store: &Store, id: &Id, options: &ExecOptions) -> Result<Child> {
    let ignored = Ignored::of_this_process()?;
    let request = options.request(&ignored)?;
    let container = store.load(id)?;
    Ok(join(&container, &request).with_context(|| name(id))?.child)
}

/// Starts a process in container `id`, and stays in the foreground until it ends: relays its
/// terminal and passes signals on.
pub(super) fn in_foreground(
    store: &Store,
    id: &Id,
    options: &ExecOptions,
    signals: SignalGuard,
) -> Result<Exit> {
    let name = || name(id);
    let ignored = Ignored::of_this_process()?;
    let request = Request { detached: false, ..options.request(&ignored)? };
    let container = store.load(id)?;
    let Running { child, master, .. } = join(&container, &request).with_context(name)?;
    let child = supervise::Child { pid: child.pid, pidfd: child.pidfd };
    let options = supervise::Options { master, subreaper: false, forward_signals: true };
    supervise(&child, options, signals).with_context(name)
}
