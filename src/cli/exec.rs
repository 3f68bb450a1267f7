//! `exec`: runs another process in a container.

use super::args::{ExecArgs, Global};
use super::environment;
use crate::Result;
use crate::config::Listen;
use crate::container::exec::{detached, in_foreground};
use crate::spawn::Parent;
use crate::spawn::exec::Options;
use crate::spawn::exec::process::Command;
use crate::state::Id;
use crate::terminal::signals::SignalGuard;
use crate::terminal::supervise::shell_status;

/// The exit status if the process could not be started, as in runc.
pub const NOT_STARTED: u8 = 255;

/// Runs the process. Returns its exit status, or 128 plus the number of the signal that killed it.
pub fn run(global: &Global, args: &ExecArgs) -> Result<i32> {
    // Before the clone, so that no signal for the process is lost.
    let signals = SignalGuard::block()?;
    let store = environment::store(global)?;
    let id = Id::new(&args.id)?;
    let options = options(args)?;
    if args.detach {
        return detached(&store, &id, &options, Parent::Caller).map(|_| 0);
    }
    in_foreground(&store, &id, &options, signals).map(shell_status)
}

fn options(args: &ExecArgs) -> Result<Options> {
    let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    Ok(Options {
        process_file: args.process.clone(),
        process_json: None,
        command: Command {
            args: args.command.clone(),
            terminal: args.tty,
            cwd: args.cwd.clone().filter(|cwd| !cwd.as_os_str().is_empty()),
            env: args.env.clone(),
            user: given(&args.user),
            additional_gids: args.additional_gids.clone(),
            capabilities: args.cap.clone(),
            no_new_privileges: args.no_new_privs,
            apparmor: given(&args.apparmor),
            label: given(&args.process_label),
        },
        cgroups: args.cgroup.iter().map(|text| text.parse()).collect::<Result<_>>()?,
        ignore_paused: args.ignore_paused,
        console_socket: args.console_socket.clone(),
        console: None,
        pidfd_socket: args.pidfd_socket.clone(),
        pid_file: args.pid_file.clone(),
        preserve_fds: args.preserve_fds,
        listen: Listen::from_environment()?,
    })
}
