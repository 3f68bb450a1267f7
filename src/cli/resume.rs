//! `resume`: a paused container goes on.

use super::{Global, IdArgs};
use crate::Result;
use crate::state::{self, Id, Store};

/// Resumes the container.
pub fn run(global: &Global, args: &IdArgs) -> Result<i32> {
    let id = Id::new(args.id.as_str())?;
    let mut container = Store::open(global.root.as_deref())?.load(&id)?;
    state::resume(&mut container).map(|()| 0)
}
