//! `resume`: thaws all processes of a paused container.

use super::args::{Global, IdArgs};
use super::environment;
use crate::Result;

/// Resumes the container.
pub fn run(global: &Global, args: &IdArgs) -> Result<i32> {
    environment::runtime(global)?.container(&args.id)?.resume().map(|()| 0)
}
