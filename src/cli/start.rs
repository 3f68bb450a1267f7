//! `start`: starts the program of a created container.

use super::args::{Global, IdArgs};
use super::environment;
use crate::{Result, sd_notify};

/// Starts the container. Returns when its program runs and the poststart hooks have run.
pub fn run(global: &Global, args: &IdArgs) -> Result<i32> {
    let container = environment::runtime(global)?.container(&args.id)?;
    let host = sd_notify::Host::from_environment()?;
    container.start_notifying(host.as_ref()).map(|()| 0)
}
