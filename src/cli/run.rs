//! `run`: create and start in one; in the foreground until the process ends.

use std::os::fd::AsFd;

use super::args::{Global, RunArgs};
use super::create;
use crate::error::retry_once;
use crate::spawn::{Running, create as creation};
use crate::state::{self, Id, Store};
use crate::terminal::signals::{Ignored, SignalGuard};
use crate::terminal::supervise::{Child, Options, supervise_notifying};
use crate::{Context, Error, Result, log};

/// The exit status is that of the container's process, or 128 and the number of the signal that
/// killed it.
pub fn run(global: &Global, args: &RunArgs) -> Result<i32> {
    let name = || create::name(&args.create.id);
    // Before the clone, so that a signal meant for the container finds somebody to pass it on.
    let signals = SignalGuard::block()?;
    let ignored = Ignored::of_this_process()?;
    let mut request = create::request(global, &args.create, &ignored)?;
    request.detached = args.detach;
    let subreaper = !args.detach && !args.no_subreaper;
    if subreaper {
        prctl::set_child_subreaper(true).map_err(|errno| {
            Error::sys(nix::errno::Errno::from_raw(errno)).context("become a subreaper")
        })?;
    }
    let store = Store::open(global.root.as_deref())?;
    let running = creation::create(&store, &request)
        .and_then(|created| created.start())
        .with_context(name)?;
    let Running { child, master, notify } = running;
    if args.detach {
        if let Some(mut notify) = notify {
            // It may take long; whoever is tired of waiting leaves the container running.
            signals.restore()?;
            notify.set_main_pid(child.pid);
            notify.until_ready(child.pidfd.as_fd()).with_context(name)?;
        }
        return Ok(0);
    }
    let child = Child { pid: child.pid, pidfd: child.pidfd };
    let options = Options { master, subreaper, forward_signals: true };
    let exit = supervise_notifying(&child, options, signals, notify).with_context(name);
    if !args.keep {
        let id = Id::new(args.create.id.as_str())?;
        let removed = retry_once(|| {
            let container = store.load_locked(&id)?;
            if exit.is_err() {
                state::stop(&container, state::DEATH)?;
            }
            state::destroy(container)
        });
        match (&exit, removed) {
            // Somebody else has deleted it meanwhile.
            (_, Err(error)) if error.kind() == crate::Kind::NotFound => {}
            (Ok(_), Err(error)) => log::warn(error.context(name())),
            (Err(_), Err(error)) => log::warn(error),
            (_, Ok(())) => {}
        }
    }
    Ok(exit?.status())
}
