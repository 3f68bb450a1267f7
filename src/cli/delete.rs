//! `delete`: frees everything that create made.

use super::{DeleteArgs, Global};
use crate::state::{self, DEATH, Id, Status, Store};
use crate::{Context, Error, Kind, Result};

/// Deletes a stopped container; with `--force` a live one too, and then an unknown id is fine.
pub fn run(global: &Global, args: &DeleteArgs) -> Result<i32> {
    let id = Id::new(args.id.as_str())?;
    let store = Store::open(global.root.as_deref())?;
    match delete(&store, &id, args.force) {
        Err(e) if args.force && e.kind() == Kind::NotFound => Ok(0),
        other => other.map(|()| 0),
    }
}

fn delete(store: &Store, id: &Id, force: bool) -> Result<()> {
    let mut container = store.load_any(id)?;
    if container.broken().is_none() && container.status()? == Status::Creating {
        if !force {
            return Err(not_stopped(id, Status::Creating));
        }
        // create sees its init die and cleans up itself; or it is dead by the time we have the lock.
        state::stop(&container, DEATH)?;
    }
    container.lock()?;
    if let Some(error) = container.broken() {
        if !force {
            return Err(error.clone()).with_context(|| {
                format!("delete container {:?} (--force removes it all the same)", id.as_str())
            });
        }
        crate::log::warn(error);
        state::stop(&container, DEATH)?;
        return state::destroy(container);
    }
    match container.status()? {
        Status::Stopped => {}
        _ if !force && state::ends(&container)? => {}
        _ if force => state::stop(&container, DEATH)?,
        status => return Err(not_stopped(id, status)),
    }
    state::destroy(container)
}

fn not_stopped(id: &Id, status: Status) -> Error {
    let why = format!("it is {status}; stop it first, or use --force");
    Error::new(Kind::State, why).context(format!("cannot delete container {:?}", id.as_str()))
}
