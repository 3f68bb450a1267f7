//! `exec`: starts another process in a container.

use std::process::ExitStatus;

use super::text::name;
use crate::error::retry_once;
use crate::spawn::exec::{self as joining, ExecRequest, Options};
use crate::spawn::{Parent, Running};
use crate::state::{Id, Store};
use crate::sys::clone::Child;
use crate::terminal::signals::{Ignored, SignalGuard};
use crate::terminal::supervise::{self, supervise};
use crate::{Context, Error, Kind, Result, log};

/// Starts a process in the container `id`. Returns the process, a child of `parent`.
pub fn detached(store: &Store, id: &Id, options: &Options, parent: Parent<'_>) -> Result<Child> {
    Ok(exec(store, id, options, parent, true)?.child)
}

/// Starts a process in the container `id`, and stays in the foreground until it ends: relays its
/// terminal and forwards signals.
pub fn in_foreground(
    store: &Store,
    id: &Id,
    options: &Options,
    signals: SignalGuard,
) -> Result<ExitStatus> {
    let Running { child, master, notify } = exec(store, id, options, Parent::Caller, false)?;
    let options = supervise::Options { master, subreaper: false, notify };
    let exit = supervise(&child, options, signals);
    if exit.is_err() {
        // Nobody is left to wait for it.
        let killed = retry_once(|| Parent::Caller.kill(&child));
        killed.context("kill the process of the exec").unwrap_or_else(log::warn);
    }
    exit.with_context(|| name(id))
}

fn exec(
    store: &Store,
    id: &Id,
    options: &Options,
    parent: Parent<'_>,
    detached: bool,
) -> Result<Running> {
    let described = options.process_file.is_some() || options.process_json.is_some();
    let why = match (described, options.command.args.is_empty()) {
        (false, true) => "exec: no command given (or --process FILE)",
        (true, false) => "exec: a command and --process were given; only one can run",
        _ => {
            let signals = &Ignored::of_this_process()?;
            let request = ExecRequest { parent, options, detached, signals };
            return joining::exec(&store.load(id)?, &request).with_context(|| name(id));
        }
    };
    Err(Error::new(Kind::Invalid, why))
}
