//! `create`, and what it shares with `run`.

use std::path::{Path, PathBuf};

use super::args::{CgroupManager, CreateArgs, Global, Rootless};
use crate::sd_notify;
use crate::spawn::create::{Request, launch};
use crate::state::{Id, Store};
use crate::terminal::signals::Ignored;
use crate::{Context, Error, Kind, Result, systemd};

/// Creates a container; its process waits for `start`.
pub fn run(global: &Global, args: &CreateArgs) -> Result<i32> {
    let signals = Ignored::of_this_process()?;
    let mut request = request(global, args, &signals)?;
    request.detached = true;
    request.waits_for_start = true;
    let store = Store::open(global.root.as_deref())?;
    launch(&store, &request).and_then(|launch| launch.leave()).with_context(|| name(&args.id))?;
    Ok(0)
}

/// The container in an error's text.
pub fn name(id: &str) -> String {
    format!("container {id:?}")
}

/// What the command line asks of a launch.
pub fn request<'a>(
    global: &Global,
    args: &CreateArgs,
    signals: &'a Ignored,
) -> Result<Request<'a>> {
    Ok(Request {
        id: Id::new(args.id.as_str())?,
        bundle: bundle(args.bundle.as_deref())?,
        config: args.config.clone(),
        console_socket: args.console_socket.clone(),
        pidfd_socket: args.pidfd_socket.clone(),
        pid_file: args.pid_file.clone(),
        no_pivot: args.no_pivot,
        no_new_keyring: args.no_new_keyring,
        preserve_fds: args.preserve_fds,
        detached: false,
        waits_for_start: false,
        rootless: match global.rootless {
            Rootless::True => Some(true),
            Rootless::False => Some(false),
            Rootless::Auto => None,
        },
        systemd_cgroup: match global.cgroup_manager {
            Some(manager) => manager == CgroupManager::Systemd,
            None => global.systemd_cgroup,
        },
        environment: systemd::Environment::new(|name| std::env::var(name).ok()),
        no_cgroup: global.cgroup_manager == Some(CgroupManager::Disabled),
        signals,
        notify: sd_notify::Host::from_environment()?,
        seccomp_cache: seccomp_cache(),
    })
}

/// The bundle as an absolute path.
fn bundle(given: Option<&Path>) -> Result<PathBuf> {
    let given = given.unwrap_or(Path::new("."));
    let what = || format!("--bundle {given:?}");
    // Checked here, because a missing directory is a better story than its missing config.json.
    let is_dir = std::fs::metadata(given).with_context(what)?.is_dir();
    if !is_dir {
        return Err(Error::new(Kind::Invalid, "not a directory").context(what()));
    }
    let absolute = std::path::absolute(given).with_context(what)?;
    Ok(absolute.components().filter(|c| *c != std::path::Component::CurDir).collect())
}

/// Beside the state directories, whatever --root says: a profile is the same in all of them.
pub fn seccomp_cache() -> Option<PathBuf> {
    let base = if nix::unistd::geteuid().is_root() {
        PathBuf::from("/run")
    } else {
        std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|dir| dir.is_absolute())?
    };
    Some(base.join("bulkhead-seccomp"))
}
