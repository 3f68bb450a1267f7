//! `start`: init executes the program of the container.

use std::os::fd::{AsFd, OwnedFd};

use super::delete::{DEATH, destroy, stop};
use super::text::name;
use crate::hooks;
use crate::sd_notify;
use crate::spawn::fifo;
use crate::state::{self, Entry, Id, Status, Store};
use crate::{Context, Error, Kind, Result, log};

/// Starts container `id`. Returns when the program runs and the poststart hooks have run; if either
/// fails, the container is stopped and deleted (runtime.md, "Lifecycle"). With `host`, also waits
/// until the program is ready.
pub(super) fn start(store: &Store, id: &Id, host: Option<&sd_notify::Host>) -> Result<()> {
    let container = store.load(id)?;
    let context = || format!("start {}", name(id));
    match start_locked(store, container, host).with_context(context)? {
        Some((proxy, init)) => proxy.until_ready(init.as_fd()).with_context(context),
        None => Ok(()),
    }
}

/// What is left to do is to wait until the program is ready, which the second descriptor ends: a
/// pidfd of init. The container's lock is free again by then.
fn start_locked(
    store: &Store,
    mut container: Entry,
    host: Option<&sd_notify::Host>,
) -> Result<Option<(sd_notify::Proxy, OwnedFd)>> {
    container.lock()?;
    match container.status()? {
        Status::Created => {}
        Status::Paused => return Err(Error::new(Kind::State, "it is paused")),
        status => {
            return Err(Error::new(
                Kind::State,
                format!("it is {status}; only a created container can be started"),
            ));
        }
    }
    if !container.state().is_some_and(|state| state.has_process) {
        // No effect on the container: the caller may still delete it in peace.
        return Err(Error::invalid_field("process", "missing in config.json; nothing to start"));
    }
    let mut proxy = match host {
        Some(host) => sd_notify::Proxy::bind(container.dir(), host)?,
        None => None,
    };
    let init = proxy.as_ref().map(|_| container.pidfd()).transpose()?.flatten();
    let started = fifo::start(container.dir()).and_then(|()| {
        container.forget_fifos()?;
        poststart(&container)
    });
    if let Err(error) = started {
        // The error is the story; what the clean-up adds is a warning.
        let id = container.id().clone();
        let end = |container: Entry| stop(&container, DEATH).and_then(|()| destroy(container));
        match end(container).or_else(|_| store.load_locked(&id).and_then(end)) {
            // Somebody else was faster.
            Err(more) if more.kind() == Kind::NotFound => {}
            Err(more) => log::warn(more),
            Ok(()) => {}
        }
        return Err(error);
    }
    if let (Some(proxy), Some(state)) = (&mut proxy, container.state()) {
        proxy.set_main_pid(state.pid);
    }
    Ok(proxy.zip(init))
}

fn poststart(container: &Entry) -> Result<()> {
    let hooks = container.hooks()?.poststart;
    if hooks.is_empty() {
        return Ok(());
    }
    let Some(state) = container.state() else { return Ok(()) };
    let document = state::document(state, Status::Running, state.pid).to_json()?;
    hooks::run_all("poststart", &hooks, &document)
}
