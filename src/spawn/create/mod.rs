//! The parent's side of a create. After an error the host is unchanged (runtime.md, "Errors"):
//! [`Created`] records each side effect and undoes them.

pub(crate) mod handshake;
pub(crate) mod lifecycle;
mod net_devices;
mod prepare;
pub(crate) mod record;
mod request;
mod transaction;

use std::path::PathBuf;

pub use self::request::{CreateRequest, Options};
pub use self::transaction::Created;
use crate::config::{CgroupRequest, Plan, PlanOptions, TerminalRequest};
use crate::host::Host;
use crate::sd_notify;
use crate::state::Store;
use crate::terminal::socket;
use crate::{Result, config, log};

/// Creates a container up to the point where init waits. The state and the pid file are written; if
/// the calling process dies now, init dies with it.
///
/// The calling process must have one thread ([`crate::spawn`]).
pub fn create<'a>(store: &Store, request: &CreateRequest<'a>) -> Result<Created<'a>> {
    let options = request.options;
    let mut warnings = Vec::new();
    let host = Host::probe()?;
    let notify_dir = || store.path().join(request.id.as_str()).join(sd_notify::DIR);
    let notify_dir = options.notify.as_ref().map(|_| notify_dir());
    let (mut plan, raw) = plan(request, &host, notify_dir, &mut warnings)?;
    let console = socket::open(options.console_socket.as_deref(), options.console.as_deref())?;
    warnings.iter().for_each(log::warn);

    plan.hooks.open_output()?;
    let state = record::state(request, &plan, &host)?;
    // From here on there is something to undo.
    let reserved = store.reserve(request.id, &record::intent(&state, &plan), raw)?;
    transaction::run(plan, state, reserved, &host, request, console)
}

/// Reads the configuration and plans the container. Returns the text of the configuration, too.
pub(crate) fn plan(
    request: &CreateRequest<'_>,
    host: &Host,
    notify_dir: Option<PathBuf>,
    warnings: &mut Vec<String>,
) -> Result<(Plan, Vec<u8>)> {
    let options = request.options;
    let path = options.config.clone().unwrap_or_else(|| options.bundle.join("config.json"));
    let mut loaded = config::load(&path)?;
    warnings.append(&mut loaded.warnings);
    let plan_options = PlanOptions {
        id: request.id.as_str().to_owned(),
        bundle: options.bundle.clone(),
        no_pivot: options.no_pivot,
        no_new_keyring: options.no_new_keyring,
        preserve_fds: options.preserve_fds,
        listen: options.listen.clone(),
        terminal: TerminalRequest {
            console_socket: options.console_socket.is_some() || options.console.is_some(),
            detached: request.detached,
        },
        cgroup: CgroupRequest {
            disabled: options.no_cgroup,
            systemd: options.systemd_cgroup.then(|| options.environment.clone()),
            rootless: options.rootless.unwrap_or(host.is_rootless),
        },
        notify_dir,
    };
    Ok((Plan::new(&loaded.spec, &plan_options, host, warnings)?, loaded.raw))
}
