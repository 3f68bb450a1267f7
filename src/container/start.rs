//! `start`: makes init execute the program of the container.

use std::os::fd::{AsFd, OwnedFd};

use super::delete::{DEATH, destroy, stop};
use super::text::name;
use crate::hooks;
use crate::sd_notify;
use crate::spawn::fifo;
use crate::state::{self, Entry, Id, Status, Store};
use crate::{Context, Error, Kind, Result, log};

/// Starts the container `id`. Returns when the program runs and the poststart hooks have run; if
/// either fails, the container is stopped and deleted (runtime.md, "Lifecycle"). With `host`, also
/// waits until the program is ready.
pub fn start(store: &Store, id: &Id, host: Option<&sd_notify::Host>) -> Result<()> {
    let container = store.load(id)?;
    let context = || format!("start {}", name(id));
    match start_locked(store, container, host).with_context(context)? {
        Some((proxy, init)) => proxy.until_ready(init.as_fd()).with_context(context),
        None => Ok(()),
    }
}

/// Starts the container under its lock. If the caller must still wait until the program is ready,
/// returns the proxy of the readiness socket, and a pidfd of init, whose end ends the wait.
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
        // The container is not changed: the caller may still delete it.
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
        // Report this error; an error of the clean-up is a warning.
        let id = container.id().clone();
        let end = |container: Entry| stop(&container, DEATH).and_then(|()| destroy(container));
        match end(container).or_else(|_| store.load_locked(&id).and_then(end)) {
            // Another process has deleted the container.
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
