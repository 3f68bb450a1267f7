//! The intent and the state of a create.

use std::os::fd::AsFd;
use std::time::SystemTime;

use super::request::CreateRequest;
use crate::config::Plan;
use crate::hooks::Hooks;
use crate::host::Host;
use crate::resctrl;
use crate::state::{self, Birth, Intent, State};
use crate::sys::clone::Child;
use crate::{Error, Kind, Result};

pub(crate) fn state(request: &CreateRequest<'_>, plan: &Plan, host: &Host) -> Result<State> {
    Ok(State {
        version: state::VERSION,
        id: request.id.clone(),
        bundle: request.options.bundle.clone(),
        rootfs: plan.rootfs.clone(),
        created: SystemTime::now(),
        owner: host.uid,
        pid: 0,
        start_time: 0,
        pidfd_inode: 0,
        boot_id: state::boot_id()?.to_owned(),
        cgroup: plan.cgroup.record(),
        intel_rdt: None,
        private_pid: plan.has_private_pid(),
        annotations: plan.annotations.all.clone(),
        has_process: plan.process.is_some(),
        has_hooks: plan.hooks != Hooks::default(),
        own_mount: None,
        user_namespace: 0,
        keeps_clocks: false,
        rootless: host.is_rootless,
        systemd_cgroup: request.options.systemd_cgroup,
        no_new_keyring: request.options.no_new_keyring,
        keyring: plan.keyring.as_ref().map(|name| name.to_string_lossy().into_owned()),
        resources: None,
        config: None,
    })
}

/// Identifies a live init: its process id alone may belong to another process later.
pub(crate) fn birth(init: &Child) -> Result<Birth> {
    let ended = || Error::new(Kind::System, "it has ended").context("container init");
    Birth::of(init.pid, init.pidfd.as_fd())?.ok_or_else(ended)
}

/// Returns the intent, which is written before the first side effect.
pub(crate) fn intent(state: &State, plan: &Plan) -> Intent {
    Intent {
        version: state::VERSION,
        id: state.id.clone(),
        bundle: state.bundle.clone(),
        created: state.created,
        cgroup: state.cgroup.clone(),
        boot_id: state.boot_id.clone(),
        intel_rdt: plan.intel_rdt.as_ref().map(resctrl::Plan::record),
    }
}
