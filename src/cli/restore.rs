//! `restore`: makes a container from the images of a checkpoint.

use super::args::{CreateArgs, Global, RestoreArgs};
use super::{checkpoint, create, environment};
use crate::Result;
use crate::checkpoint::Settings;
use crate::container::restore::{detached, in_foreground};
use crate::spawn::Parent;
use crate::state::Id;
use crate::terminal::signals::SignalGuard;
use crate::terminal::supervise::shell_status;

/// Restores the container. Returns the exit status of its process, like `run`.
pub fn run(global: &Global, args: &RestoreArgs) -> Result<i32> {
    // Before the restore, so that no signal for the container is lost.
    let signals = SignalGuard::block()?;
    let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let settings = Settings {
        tcp_close: args.tcp_close,
        lsm_profile: given(&args.lsm_profile),
        lsm_mount_context: given(&args.lsm_mount_context),
        ..checkpoint::settings(&args.criu)?
    };
    let options = create::options(global, &create_args(args))?;
    let (store, id) = (environment::store(global)?, Id::new(&args.id)?);
    if args.detach {
        return detached(&store, &id, &options, &settings, Parent::Caller).map(|_| 0);
    }
    let ended = in_foreground(&store, &id, &options, &settings, signals, !args.no_subreaper);
    ended.map(shell_status)
}

/// Returns the arguments of a create of the same container.
fn create_args(args: &RestoreArgs) -> CreateArgs {
    CreateArgs {
        id: args.id.clone(),
        bundle: args.bundle.clone().filter(|bundle| !bundle.as_os_str().is_empty()),
        config: args.config.clone(),
        pid_file: args.pid_file.clone().filter(|path| !path.as_os_str().is_empty()),
        console_socket: args.console_socket.clone().filter(|path| !path.as_os_str().is_empty()),
        pidfd_socket: None,
        preserve_fds: 0,
        no_pivot: args.no_pivot,
        no_new_keyring: args.no_new_keyring,
    }
}
