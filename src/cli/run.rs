//! `run`: creates and starts a container, and waits until its process ends.

use super::args::{Global, RunArgs};
use super::{create, environment};
use crate::Result;
use crate::container::Foreground;
use crate::terminal::signals::SignalGuard;
use crate::terminal::supervise::shell_status;

/// Runs the container. Returns the exit status of its process, or 128 plus the number of the signal
/// that killed it.
pub fn run(global: &Global, args: &RunArgs) -> Result<i32> {
    // Before the clone, so that no signal for the container is lost.
    let signals = SignalGuard::block()?;
    let options = create::options(global, &args.create)?;
    let runtime = environment::runtime(global)?;
    let id = &args.create.id;
    if args.detach {
        return runtime.run_detached(id, &options, signals).map(|_| 0);
    }
    let foreground = Foreground { subreaper: !args.no_subreaper, keep: args.keep };
    runtime.run_in_foreground(id, &options, foreground, signals).map(shell_status)
}
