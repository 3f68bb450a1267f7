//! `exec`: runs another process in a container.

use super::args::{ExecArgs, Global};
use super::environment;
use crate::Result;
use crate::config::Listen;
use crate::container::ExecOptions;
use crate::terminal::signals::SignalGuard;
use crate::terminal::supervise::shell_status;

/// The exit status if the process could not be started, as in runc.
pub const NOT_STARTED: u8 = 255;

/// Runs the process. Returns its exit status, or 128 plus the number of the signal that killed it.
pub fn run(global: &Global, args: &ExecArgs) -> Result<i32> {
    // Before the clone, so that no signal for the process is lost.
    let signals = SignalGuard::block()?;
    let options = options(args)?;
    let container = environment::runtime(global)?.container(&args.id)?;
    if args.detach {
        return container.exec(&options).map(|_| 0);
    }
    container.exec_in_foreground(&options, signals).map(shell_status)
}

fn options(args: &ExecArgs) -> Result<ExecOptions> {
    let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    Ok(ExecOptions {
        args: args.command.clone(),
        process_file: args.process.clone(),
        terminal: args.tty,
        cwd: args.cwd.clone().filter(|cwd| !cwd.as_os_str().is_empty()),
        env: args.env.clone(),
        user: given(&args.user),
        additional_gids: args.additional_gids.clone(),
        capabilities: args.cap.clone(),
        no_new_privileges: args.no_new_privs,
        apparmor: given(&args.apparmor),
        selinux_label: given(&args.process_label),
        cgroups: args.cgroup.clone(),
        ignore_paused: args.ignore_paused,
        console_socket: args.console_socket.clone(),
        pidfd_socket: args.pidfd_socket.clone(),
        pid_file: args.pid_file.clone(),
        seccomp_cache: environment::seccomp_cache(),
        preserve_fds: args.preserve_fds,
        listen: Listen::from_environment()?,
        ..ExecOptions::default()
    })
}
