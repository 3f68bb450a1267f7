//! `state`: the OCI state of one container, as indented JSON.

use super::{Global, IdArgs, print};
use crate::state::{Id, Store};
use crate::{Error, Kind, Result, text};

/// Prints the state; an unknown id is an error.
pub fn run(global: &Global, args: &IdArgs) -> Result<i32> {
    let id = Id::new(args.id.as_str())?;
    let container = Store::open(global.root.as_deref())?.load(&id)?;
    let json = serde_json::to_string_pretty(&container.document()?)
        .map_err(|e| Error::new(Kind::System, e.to_string()))?;
    print((text::json(json) + "\n").as_bytes()).map(|()| 0)
}
