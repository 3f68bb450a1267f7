//! `exec`: another process in a container.

use super::args::{ExecArgs, Global};
use super::create;
use crate::config::Listen;
use crate::spawn::exec::process::{Asked, Command};
use crate::spawn::exec::{ExecRequest, exec};
use crate::spawn::{Parent, Running};
use crate::state::{Id, Store};
use crate::terminal::signals::{Ignored, SignalGuard};
use crate::terminal::supervise::{Child, Options, supervise};
use crate::{Context, Error, Kind, Result};

/// The exit status when the process could not be started: none that it could have had itself.
pub const NOT_STARTED: u8 = 255;

/// The exit status is that of the process, or 128 and the number of the signal that killed it.
pub fn run(global: &Global, args: &ExecArgs) -> Result<i32> {
    let name = || create::name(&args.id);
    let id = Id::new(args.id.as_str())?;
    // Before the clone, so that a signal meant for the process finds somebody to pass it on.
    let signals = SignalGuard::block()?;
    let ignored = Ignored::of_this_process()?;
    let request = ExecRequest {
        parent: Parent::Caller,
        process: asked(args)?,
        console_socket: args.console_socket.clone(),
        pidfd_socket: args.pidfd_socket.clone(),
        pid_file: args.pid_file.clone(),
        preserve_fds: args.preserve_fds,
        listen: Listen::from_environment()?,
        cgroups: args.cgroup.iter().map(|text| text.parse()).collect::<Result<_>>()?,
        ignore_paused: args.ignore_paused,
        detached: args.detach,
        signals: &ignored,
        seccomp_cache: create::seccomp_cache(),
    };
    let container = Store::open(global.root.as_deref())?.load(&id)?;
    let running = exec(&container, &request).with_context(name)?;
    if args.detach {
        return Ok(0);
    }
    let Running { child, master, .. } = running;
    let child = Child { pid: child.pid, pidfd: child.pidfd };
    let options = Options { master, subreaper: false, forward_signals: true };
    Ok(supervise(&child, options, signals).with_context(name)?.status())
}

fn asked(args: &ExecArgs) -> Result<Asked> {
    let no = |why: &str| Err(Error::new(Kind::Invalid, why));
    match (&args.process, args.command.is_empty()) {
        (None, true) => no("exec: no command given (or --process FILE)"),
        (Some(_), false) => no("exec: a command and --process were given; only one can run"),
        (Some(path), true) => Ok(Asked::File(path.clone())),
        (None, false) => Ok(Asked::Command(Box::new(Command {
            args: args.command.clone(),
            terminal: args.tty,
            cwd: args.cwd.clone().filter(|cwd| !cwd.as_os_str().is_empty()),
            env: args.env.clone(),
            user: args.user.clone().filter(|user| !user.is_empty()),
            additional_gids: args.additional_gids.clone(),
            capabilities: args.cap.clone(),
            no_new_privileges: args.no_new_privs,
            apparmor: args.apparmor.clone().filter(|text| !text.is_empty()),
            label: args.process_label.clone().filter(|text| !text.is_empty()),
        }))),
    }
}
