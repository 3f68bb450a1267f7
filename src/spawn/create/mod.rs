//! The parent's side of a create: read, check, plan, reserve; then `transaction` makes the side
//! effects.
//!
//! After an error the host is unchanged (runtime.md, "Errors"): [`Created`] records each side
//! effect and undoes them.

mod handshake;
mod prepare;
mod transaction;

use std::path::PathBuf;

pub use self::transaction::Created;
use crate::config::{CgroupRequest, Listen, Plan, PlanOptions, TerminalRequest};
use crate::host::Host;
use crate::sd_notify;
use crate::spawn::child::Parent;
use crate::spawn::record;
use crate::state::{Id, Store};
use crate::terminal::signals::Ignored;
use crate::terminal::socket;
use crate::{Result, config, log, systemd};

/// The parameters of a create.
#[derive(Debug)]
pub struct CreateRequest<'a> {
    /// The parent of init.
    pub parent: Parent<'a>,
    /// The new container's id.
    pub id: Id,
    /// The bundle, absolute.
    pub bundle: PathBuf,
    /// The file to read in place of the bundle's config.json.
    pub config: Option<PathBuf>,
    /// The socket that receives the master of the terminal.
    pub console_socket: Option<PathBuf>,
    /// The socket that receives a pidfd of init.
    pub pidfd_socket: Option<PathBuf>,
    /// The file for the process id of init.
    pub pid_file: Option<PathBuf>,
    /// Use chroot(2) in place of pivot_root(2).
    pub no_pivot: bool,
    /// Keep the caller's session keyring.
    pub no_new_keyring: bool,
    /// How many descriptors from 3 up the container gets. The caller has opened them, or reserved
    /// their numbers.
    pub preserve_fds: u32,
    /// Descriptors of socket activation, in front of those.
    pub listen: Listen,
    /// The runtime does not stay in the foreground.
    pub detached: bool,
    /// Init waits for a later `start`.
    pub waits_for_start: bool,
    /// Whether a cgroup without access is no error if no limit is requested; `None`: yes without
    /// the machine's root.
    pub rootless: Option<bool>,
    /// Let systemd make the cgroup.
    pub systemd_cgroup: bool,
    /// The variables that tell where systemd is.
    pub environment: systemd::Environment,
    /// Make no cgroup, and refuse limits.
    pub no_cgroup: bool,
    /// The signals that the caller ignores, for which the program gets the default action.
    pub signals: &'a Ignored,
    /// The service manager that waits for the readiness of the container.
    pub notify: Option<sd_notify::Host>,
    /// The directory of compiled seccomp filters.
    pub seccomp_cache: Option<PathBuf>,
}

/// Creates a container up to the point where init waits. The state and the pid file are written; if
/// the calling process dies now, init dies with it.
///
/// The calling process must have one thread ([`crate::spawn`]).
pub fn create<'a>(store: &Store, request: &CreateRequest<'a>) -> Result<Created<'a>> {
    let mut warnings = Vec::new();
    let host = Host::probe()?;
    let path = request.config.clone().unwrap_or_else(|| request.bundle.join("config.json"));
    let mut loaded = config::load(&path)?;
    warnings.append(&mut loaded.warnings);
    let notify_dir = || store.path().join(request.id.as_str()).join(sd_notify::DIR);
    let options = PlanOptions {
        id: request.id.as_str().to_owned(),
        bundle: request.bundle.clone(),
        no_pivot: request.no_pivot,
        no_new_keyring: request.no_new_keyring,
        preserve_fds: request.preserve_fds,
        listen: request.listen.clone(),
        seccomp_cache: request.seccomp_cache.clone(),
        terminal: TerminalRequest {
            console_socket: request.console_socket.is_some(),
            detached: request.detached,
        },
        cgroup: CgroupRequest {
            disabled: request.no_cgroup,
            systemd: request.systemd_cgroup.then(|| request.environment.clone()),
            rootless: request.rootless.unwrap_or(host.is_rootless),
        },
        notify_dir: request.notify.as_ref().map(|_| notify_dir()),
    };
    let mut plan = Plan::new(&loaded.spec, &options, &host, &mut warnings)?;
    let notify = request.notify.clone().filter(|_| plan.notifies);
    let console = request.console_socket.as_deref();
    let console = console.map(|path| socket::connect("--console-socket", path)).transpose()?;
    warnings.iter().for_each(log::warn);

    plan.hooks.open_output()?;
    let state = record::state(request, &plan, &host, &loaded.raw)?;
    // From here on there is something to undo.
    let reserved = store.reserve(&request.id, &record::intent(&state))?;
    let created = Created::new(request.parent, plan, state, reserved, notify);
    let created = created.run(&host, request, console)?;
    created.save_filter();
    Ok(created)
}
