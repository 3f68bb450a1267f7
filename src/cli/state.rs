//! `state`: the OCI state of one container, as indented JSON.

use super::{Global, IdArgs, print};
use crate::state::{Id, Store};
use crate::{Error, Kind, Result};

/// Prints the state; an unknown id is an error.
pub fn run(global: &Global, args: &IdArgs) -> Result<i32> {
    let id = Id::new(args.id.as_str())?;
    let container = Store::open(global.root.as_deref())?.load(&id)?;
    let mut json = serde_json::to_vec_pretty(&container.document()?)
        .map_err(|e| Error::new(Kind::System, e.to_string()))?;
    json.push(b'\n');
    print(&json).map(|()| 0)
}
