//! `create`, and its options, which `run` has too.

use super::args::{self, CreateArgs, Global, Rootless};
use super::environment;
use crate::Result;
use crate::config::Listen;
use crate::container::{CgroupManager, CreateOptions};
use crate::{sd_notify, systemd};

/// Creates a container; its process waits for `start`.
pub fn run(global: &Global, args: &CreateArgs) -> Result<i32> {
    let options = options(global, args)?;
    environment::runtime(global)?.create(&args.id, &options)?;
    Ok(0)
}

/// Returns the options of the command line and of the environment.
pub fn options(global: &Global, args: &CreateArgs) -> Result<CreateOptions> {
    Ok(CreateOptions {
        bundle: args.bundle.clone().unwrap_or_else(|| ".".into()),
        config: args.config.clone(),
        console_socket: args.console_socket.clone(),
        pidfd_socket: args.pidfd_socket.clone(),
        pid_file: args.pid_file.clone(),
        seccomp_cache: environment::seccomp_cache(),
        no_pivot: args.no_pivot,
        no_new_keyring: args.no_new_keyring,
        rootless: match global.rootless {
            Rootless::True => Some(true),
            Rootless::False => Some(false),
            Rootless::Auto => None,
        },
        cgroup_manager: match global.cgroup_manager {
            Some(args::CgroupManager::Cgroupfs) => CgroupManager::Cgroupfs,
            Some(args::CgroupManager::Disabled) => CgroupManager::Disabled,
            Some(args::CgroupManager::Systemd) => CgroupManager::Systemd,
            None if global.systemd_cgroup => CgroupManager::Systemd,
            None => CgroupManager::Cgroupfs,
        },
        preserve_fds: args.preserve_fds,
        listen: Listen::from_environment()?,
        environment: systemd::Environment::new(|name| std::env::var(name).ok()),
        notify: sd_notify::Host::from_environment()?,
        ..CreateOptions::default()
    })
}
