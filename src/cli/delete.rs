//! `delete`: removes a container.

use super::args::{DeleteArgs, Global};
use super::environment;
use crate::Result;

/// Deletes a stopped container. With `--force`, also a live container, and an unknown id is no
/// error.
pub fn run(global: &Global, args: &DeleteArgs) -> Result<i32> {
    let container = environment::runtime(global)?.container(&args.id)?;
    container.delete_with(args.force).map(|()| 0)
}
