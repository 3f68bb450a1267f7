//! Steps of a create that a restore makes as well.

use std::path::Path;

use super::request::Options;
use crate::config::{Plan, annotations};
use crate::spawn::child::send_pidfd;
use crate::state::{self, State, Status};
use crate::sys::clone::Child;
use crate::{Context, Result, hooks, log};

/// Sends a pidfd of init to the sockets of `--pidfd-socket` and of the annotation.
pub(crate) fn send_pidfds(options: &Options, plan: &Plan, init: &Child) -> Result<()> {
    let receiver = (annotations::PIDFD_RECEIVER, &plan.annotations.pidfd_receiver);
    for (name, path) in [("--pidfd-socket", &options.pidfd_socket), receiver] {
        if let Some(path) = path {
            send_pidfd(name, path, init)?;
        }
    }
    Ok(())
}

/// Runs the hooks of a create that run in the runtime's namespaces. Init is the process `pid`.
pub(crate) fn run_create_hooks(plan: &Plan, state: &State, pid: i32) -> Result<()> {
    let state = state::document(state, Status::Creating, pid).to_json()?;
    hooks::run_all("prestart", &plan.hooks.prestart, &state)?;
    hooks::run_all("createRuntime", &plan.hooks.create_runtime, &state)
}

/// Removes the pid file of a container whose create has failed.
pub(crate) fn remove_pid_file(path: &Path) -> Result<()> {
    std::fs::remove_file(path).with_context(|| format!("--pid-file: remove {path:?}"))
}

/// Runs the poststop hooks of a container whose create has failed after the first hook: they end the
/// lifecycle (runtime.md, "Lifecycle"). An error is a warning.
pub(crate) fn run_poststop(plan: &Plan, state: &State) {
    let poststop = &plan.hooks.poststop;
    if poststop.is_empty() {
        return;
    }
    match state::document(state, Status::Stopped, 0).to_json() {
        Ok(json) => hooks::run_all_logging("poststop", poststop, &json),
        Err(error) => log::warn(error),
    }
}
