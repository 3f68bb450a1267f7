//! Texts of errors that several verbs share. Engines search for them.

use crate::state::Id;
use crate::{Error, Kind};

/// The container in the context of an error.
pub(super) fn name(id: &Id) -> String {
    format!("container {:?}", id.as_str())
}

/// The error for a container that is not alive.
pub(super) fn not_running() -> Error {
    Error::new(Kind::State, "container not running")
}
