//! `create`: creates a container whose init waits for `start`.

use super::text::name;
use crate::spawn::Parent;
use crate::spawn::create::{self as creation, CreateRequest, Options};
use crate::state::{Id, Store};
use crate::sys::clone::Child;
use crate::terminal::signals::Ignored;
use crate::{Context, Result};

/// Creates the container `id`. Returns its init, a child of `parent`.
pub fn create(store: &Store, id: &Id, options: &Options, parent: Parent<'_>) -> Result<Child> {
    let signals = &Ignored::of_this_process()?;
    let request =
        CreateRequest { parent, id, options, detached: true, waits_for_start: true, signals };
    creation::create(store, &request).and_then(|created| created.leave()).with_context(|| name(id))
}
