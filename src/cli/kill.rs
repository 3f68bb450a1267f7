//! `kill`: sends a signal to a container.

use super::args::{Global, KillArgs};
use super::environment;
use crate::Result;

/// Sends the signal.
pub fn run(global: &Global, args: &KillArgs) -> Result<i32> {
    let signal = args.signal.parse()?;
    let container = environment::runtime(global)?.container(&args.id)?;
    let sent = if args.all { container.kill_all(signal) } else { container.kill(signal) };
    sent.map(|()| 0)
}
