//! Placeholder of another room, to compile; dropped at the merge.
use super::Global;
use crate::{Error, Result};

/// Refuses.
pub fn run(_: &Global, _: &super::RunArgs) -> Result<i32> {
    Err(Error::unsupported("run"))
}
