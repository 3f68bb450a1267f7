//! The parent's side of an exec, which starts another process in a container.
//!
//! All settings come from the state as it was at create; the bundle is not read again (runtime.md,
//! "Lifecycle": later edits of config.json have no effect). Only the process and its pid file are
//! left, so an error undoes nothing but the process.

mod affinity;
mod cgroup;
mod handshake;
mod plan;
pub mod process;
mod request;
mod transaction;

use oci_spec::runtime::Spec;

use self::plan::ExecPlan;
pub use self::request::{ExecRequest, Options};
use crate::config::{FilterPoint, Sibling};
use crate::host::Host;
use crate::init::exec::stopped;
use crate::spawn::child::Running;
use crate::state::{Entry, State, Status};
use crate::terminal::socket;
use crate::{Error, Kind, Result, log};

/// Starts the process; returns when it runs. The calling process must have one thread
/// ([`crate::spawn`]).
///
/// # Errors
/// [`Kind::State`] if the container is stopped, paused or not yet created; [`Kind::Invalid`] for an
/// invalid process; and any error on the way to execve(2). After an error there is no process.
pub fn exec(container: &Entry, request: &ExecRequest<'_>) -> Result<Running> {
    let mut warnings = Vec::new();
    let (state, status) = running(container, request.options.ignore_paused)?;
    let host = Host::probe()?;
    let config = container.config()?;
    let (json, file) = (&request.options.process_json, &request.options.process_file);
    let command = &request.options.command;
    let process =
        process::resolve(&config, json.as_deref(), file.as_deref(), command, &mut warnings)?;
    let plan = ExecPlan::new(&config, &process, state, request, &host, &mut warnings)?;
    let options = request.options;
    let console = socket::open(options.console_socket.as_deref(), options.console.as_deref())?;
    if status == Status::Created {
        if !host.may_trace() {
            // Its init is not dumpable (prctl(2), PR_SET_DUMPABLE): setns(2) would say EPERM.
            let why = "cannot exec before start: operation not permitted without CAP_SYS_PTRACE";
            return Err(Error::new(Kind::State, why));
        }
        check_waiting_init(&config, &plan)?;
    }
    let init = container.pidfd()?.ok_or_else(stopped)?;
    warnings.iter().for_each(log::warn);
    transaction::run(&plan, state, init, request, console)
}

fn running(container: &Entry, ignore_paused: bool) -> Result<(&State, Status)> {
    let refuse = |why: &str| Err(Error::new(Kind::State, why));
    let status = container.status()?;
    match status {
        Status::Created | Status::Running => {}
        Status::Paused if ignore_paused => {}
        Status::Paused => {
            return refuse("cannot exec in a paused container (--ignore-paused waits for resume)");
        }
        Status::Creating => return refuse("cannot exec while the container is being created"),
        Status::Stopped => return Err(stopped()),
    }
    Ok((container.state().ok_or_else(stopped)?, status))
}

/// Refuses an exec before `start` if init waits without its filter. By ptrace(2), a process with
/// the same capabilities could have such an init do what the filter forbids. Init waits so only if
/// the profile forbids the wait itself.
fn check_waiting_init(config: &Spec, plan: &ExecPlan) -> Result<()> {
    let (Some(filter), Some(own)) = (&plan.process.seccomp, config.process()) else {
        return Ok(());
    };
    let hooks = config.hooks().as_ref().and_then(|hooks| hooks.start_container().as_ref());
    // Whether init sets RLIMIT_NPROC depended on the rights of the runtime of its create.
    let sibling = plan
        .joins_pid
        .then(|| Sibling { terminal: own.terminal().unwrap_or(false), sets_process_count: true });
    let point = FilterPoint::of_init(
        filter,
        own.no_new_privileges().unwrap_or(false),
        hooks.is_some_and(|hooks| !hooks.is_empty()),
        sibling,
    );
    if point != FilterPoint::Execute {
        return Ok(());
    }
    let why = "cannot exec before start: the seccomp profile forbids system calls that the \
               container's init needs to wait (read, write, execve, exit_group), so that init is \
               not yet under its filter";
    Err(Error::new(Kind::State, why))
}
