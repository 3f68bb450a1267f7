//! `start`: lets a created container's process go on.

use std::os::fd::{AsFd, OwnedFd};

use super::args::{Global, IdArgs};
use super::create::name;
use crate::hooks;
use crate::sd_notify;
use crate::spawn::fifo;
use crate::state::{self, Container, Id, Status, Store};
use crate::{Context, Error, Kind, Result, log};

/// Returns when the program runs and the poststart hooks have; if either fails, the container is
/// stopped and destroyed (runtime.md, "Lifecycle").
pub fn run(global: &Global, args: &IdArgs) -> Result<i32> {
    let store = Store::open(global.root.as_deref())?;
    let container = store.load(&Id::new(args.id.as_str())?)?;
    let host = sd_notify::Host::from_environment()?;
    let context = || format!("start {}", name(&args.id));
    if let Some((proxy, init)) = start(&store, container, host).with_context(context)? {
        proxy.until_ready(init.as_fd()).with_context(context)?;
    }
    Ok(0)
}

/// What is left to do is to wait until the program is ready, which the second descriptor ends: a
/// pidfd of init. The container's lock is free again by then.
fn start(
    store: &Store,
    mut container: Container,
    host: Option<sd_notify::Host>,
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
    let mut proxy = match &host {
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
        let end = |container: Container| {
            state::stop(&container, state::DEATH).and_then(|()| state::destroy(container))
        };
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

fn poststart(container: &Container) -> Result<()> {
    let hooks = container.hooks()?.poststart;
    if hooks.is_empty() {
        return Ok(());
    }
    let Some(state) = container.state() else { return Ok(()) };
    let document = state::document(state, Status::Running, state.pid).to_json()?;
    hooks::run_all("poststart", &hooks, &document)
}
