//! `run`: creates and starts a container, and waits until its process ends.

use super::args::{Global, RunArgs};
use super::{create, environment};
use crate::Result;
use crate::container::run::{detached, in_foreground};
use crate::spawn::Parent;
use crate::state::Id;
use crate::terminal::signals::SignalGuard;
use crate::terminal::supervise::shell_status;

/// Runs the container. Returns the exit status of its process, or 128 plus the number of the signal
/// that killed it.
pub fn run(global: &Global, args: &RunArgs) -> Result<i32> {
    // Before the clone, so that no signal for the container is lost.
    let signals = SignalGuard::block()?;
    let store = environment::store(global)?;
    let id = Id::new(&args.create.id)?;
    let options = create::options(global, &args.create)?;
    if args.detach {
        return detached(&store, &id, &options, Parent::Caller, signals).map(|_| 0);
    }
    in_foreground(&store, &id, &options, signals, !args.no_subreaper, args.keep).map(shell_status)
}
