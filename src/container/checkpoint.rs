//! `checkpoint`: saves a running container.

use super::criu_options::CheckpointOptions;
use super::delete::{DEATH, destroy, stop};
use super::text::name;
use crate::checkpoint;
use crate::spawn::Parent;
use crate::state::{Entry, Id, Status, Store};
use crate::{Context, Error, Kind, Result};

/// Saves the container `id`. Afterwards the container is deleted, unless it is to run on.
/// [`Kind::State`] unless the container is running or paused.
pub fn checkpoint(
    store: &Store,
    id: &Id,
    options: &CheckpointOptions,
    parent: Parent<'_>,
) -> Result<()> {
    let mut container = store.load(id)?;
    let context = || format!("checkpoint {}", name(id));
    container.lock()?;
    save(&container, options, parent).with_context(context)?;
    if options.dump.leave_running || options.dump.pre_dump {
        return Ok(());
    }
    // CRIU has killed the processes, which may not be dead yet.
    stop(&container, DEATH).and_then(|()| destroy(container)).with_context(context)
}

fn save(container: &Entry, options: &CheckpointOptions, parent: Parent<'_>) -> Result<()> {
    match container.status()? {
        Status::Running | Status::Paused => {}
        Status::Stopped => return Err(super::text::not_running()),
        status => {
            let why = format!("it is {status}; only a running container can be checkpointed");
            return Err(Error::new(Kind::State, why));
        }
    }
    checkpoint::dump(container, parent, &options.settings, &options.dump)
}
