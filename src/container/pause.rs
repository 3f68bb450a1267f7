//! `pause` and `resume`: freezes and thaws all processes of a container.

use super::text::{name, not_running};
use crate::state::{Entry, Status};
use crate::{Context, Error, Kind, Result};

/// Freezes all processes of a container, and waits until they are frozen. Takes the lock.
/// [`Kind::State`] with the text `container not running` unless the container is created or
/// running.
pub fn pause(container: &mut Entry) -> Result<()> {
    container.lock()?;
    let name = || format!("pause {}", name(container.id()));
    match (container.status()?, container.state()) {
        (Status::Created | Status::Running, Some(state)) => {
            state.cgroup.freeze().with_context(name)
        }
        (Status::Paused, _) => {
            let why = "container not running: it is paused already";
            Err(Error::new(Kind::State, why)).with_context(name)
        }
        _ => Err(not_running()).with_context(name),
    }
}

/// Thaws all processes of a paused container. Takes the lock. [`Kind::State`] with the text
/// `container not paused` unless the container is paused.
pub fn resume(container: &mut Entry) -> Result<()> {
    container.lock()?;
    let name = || format!("resume {}", name(container.id()));
    match (container.status()?, container.state()) {
        (Status::Paused, Some(state)) => state.cgroup.thaw().with_context(name),
        _ => Err(Error::new(Kind::State, "container not paused")).with_context(name),
    }
}
