//! `create`, and its options, which `run` has too.

use super::args::{CgroupManager, CreateArgs, Global, Rootless};
use super::environment;
use crate::config::Listen;
use crate::container::{absolute_bundle, create};
use crate::spawn::Parent;
use crate::spawn::create::Options;
use crate::state::Id;
use crate::{Result, sd_notify, systemd};

/// Creates a container; its process waits for `start`.
pub fn run(global: &Global, args: &CreateArgs) -> Result<()> {
    let store = environment::store(global)?;
    let id = Id::new(&args.id)?;
    create::create(&store, &id, &options(global, args)?, Parent::Caller).map(drop)
}

/// Returns the options of the command line and of the environment.
pub fn options(global: &Global, args: &CreateArgs) -> Result<Options> {
    let systemd = global.systemd_cgroup.then_some(CgroupManager::Systemd);
    let manager = global.cgroup_manager.or(systemd).unwrap_or(CgroupManager::Cgroupfs);
    Ok(Options {
        bundle: absolute_bundle(args.bundle.as_deref().unwrap_or(".".as_ref()))?,
        config: args.config.clone(),
        console_socket: args.console_socket.clone(),
        console: None,
        pidfd_socket: args.pidfd_socket.clone(),
        pid_file: args.pid_file.clone(),
        no_pivot: args.no_pivot,
        no_new_keyring: args.no_new_keyring,
        rootless: match global.rootless {
            Rootless::True => Some(true),
            Rootless::False => Some(false),
            Rootless::Auto => None,
        },
        systemd_cgroup: manager == CgroupManager::Systemd,
        no_cgroup: manager == CgroupManager::Disabled,
        environment: systemd::Environment::new(|name| std::env::var(name).ok()),
        preserve_fds: args.preserve_fds,
        listen: Listen::from_environment()?,
        notify: sd_notify::Host::from_environment()?,
    })
}
