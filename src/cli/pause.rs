//! `pause`: freezes all processes of a container.

use super::args::{Global, IdArgs};
use super::environment;
use crate::Result;

/// Pauses the container, and waits until its processes are frozen.
pub fn run(global: &Global, args: &IdArgs) -> Result<i32> {
    environment::runtime(global)?.container(&args.id)?.pause().map(|()| 0)
}
