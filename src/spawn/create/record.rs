//! The intent and the state of a create.

use std::time::SystemTime;

use serde_json::value::RawValue;

use super::request::CreateRequest;
use crate::config::Plan;
use crate::host::Host;
use crate::resctrl;
use crate::state::{self, Intent, State};
use crate::{Error, Kind, Result};

pub(crate) fn state(
    request: &CreateRequest<'_>,
    plan: &Plan,
    host: &Host,
    raw: &[u8],
) -> Result<State> {
    let invalid = |e: String| Error::new(Kind::Invalid, e).context("config.json");
    let text = String::from_utf8(raw.to_vec()).map_err(|e| invalid(e.to_string()))?;
    Ok(State {
        version: state::VERSION,
        id: request.id.clone(),
        bundle: request.options.bundle.clone(),
        rootfs: plan.rootfs.clone(),
        created: SystemTime::now(),
        owner: host.uid,
        pid: 0,
        start_time: 0,
        boot_id: state::boot_id()?.to_owned(),
        cgroup: plan.cgroup.record(),
        intel_rdt: None,
        private_pid: plan.has_private_pid(),
        annotations: plan.annotations.all.clone(),
        has_process: plan.process.is_some(),
        own_mount: None,
        user_namespace: 0,
        keeps_clocks: false,
        rootless: host.is_rootless,
        systemd_cgroup: request.options.systemd_cgroup,
        no_new_keyring: request.options.no_new_keyring,
        keyring: plan.keyring.as_ref().map(|name| name.to_string_lossy().into_owned()),
        resources: None,
        config: RawValue::from_string(text).map_err(|e| invalid(e.to_string()))?,
    })
}

/// Adds the process id of init and its start time: the id alone may belong to another process
/// later. `start_time`: if it is known.
pub(crate) fn set_pid(state: &mut State, pid: i32, start_time: Option<u64>) -> Result<()> {
    let start_time = match start_time {
        None => state::process_start_time(pid)?,
        known => known,
    };
    state.start_time = start_time
        .ok_or_else(|| Error::new(Kind::System, "it has ended").context("container init"))?;
    state.pid = pid;
    Ok(())
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
