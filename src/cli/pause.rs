//! `pause`: all processes of a container stand still.

use super::{Global, IdArgs};
use crate::Result;
use crate::state::{self, Id, Store};

/// Pauses the container; it does stand still when this returns.
pub fn run(global: &Global, args: &IdArgs) -> Result<i32> {
    let id = Id::new(args.id.as_str())?;
    let mut container = Store::open(global.root.as_deref())?.load(&id)?;
    state::pause(&mut container).map(|()| 0)
}
