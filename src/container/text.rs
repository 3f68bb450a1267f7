//! Error texts that several operations share. Engines search for them.

use crate::state::Id;
use crate::{Error, Kind};

/// Names the container, as the context of an error.
pub(super) fn name(id: &Id) -> String {
    format!("container {:?}", id.as_str())
}

/// Returns the error for a container that is not alive.
pub(super) fn not_running() -> Error {
    Error::new(Kind::State, "container not running")
}
