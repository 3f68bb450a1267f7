//! `ps`: lists the processes of a container.

use super::text::{name, not_running};
use crate::state::{Entry, Status};
use crate::{Context, Result};

/// Returns the ids of all processes in the container's cgroups, in ascending order. For a stopped
/// container these are the processes that have outlived init, usually none. `Kind::State` with
/// the text `container not running` if the container is being created.
pub fn processes(container: &Entry) -> Result<Vec<i32>> {
    let name = || format!("list the processes of {}", name(container.id()));
    match (container.status()?, container.state()) {
        (Status::Created | Status::Running | Status::Paused, Some(state)) => {
            state.cgroup.must_exist().and_then(|()| state.cgroup.pids()).with_context(name)
        }
        (Status::Stopped, Some(state)) if container.this_boot()? => {
            state.cgroup.pids().with_context(name)
        }
        (Status::Stopped, _) => Ok(Vec::new()),
        _ => Err(not_running()).with_context(name),
    }
}
