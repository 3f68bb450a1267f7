//! `create`: a container whose init waits for `start`.

use super::create_options::CreateOptions;
use super::text::name;
use crate::spawn::create::{Request, launch};
use crate::state::{Id, Store};
use crate::sys::clone::Child;
use crate::terminal::signals::Ignored;
use crate::{Context, Result};

/// Creates container `id` and returns its init.
pub(super) fn create(store: &Store, id: &Id, options: &CreateOptions) -> Result<Child> {
    let signals = Ignored::of_this_process()?;
    let request = Request { waits_for_start: true, ..options.request(id, &signals)? };
    launch(store, &request).and_then(|launch| launch.leave()).with_context(|| name(id))
}
