//! Makes a container from images.

use super::restored::{Restore, Restored, Sources};
use super::settings::CgroupMode;
use crate::host::Host;
use crate::spawn::Running;
use crate::spawn::create::{plan, record};
use crate::state::Store;
use crate::terminal::socket;
use crate::{Error, Result, log};

/// Makes the container, whose processes run when the function returns. After an error the host is
/// unchanged, but for mount points in the root file system and the logs of CRIU.
pub fn restore(store: &Store, restore: &Restore<'_>) -> Result<Running> {
    let request = &restore.create;
    let mut warnings = Vec::new();
    let host = Host::probe()?;
    let (mut plan, raw) = plan(request, &host, None, &mut warnings)?;
    if restore.settings.cgroup_mode == Some(CgroupMode::Strict) {
        plan.cgroup.must_be_new("--manage-cgroups-mode strict");
    }
    let process = plan.process.as_ref();
    let unsupported = [
        ("linux.netDevices", !plan.net_devices.is_empty()),
        ("linux.intelRdt", plan.intel_rdt.is_some()),
        ("linux.seccomp.listenerPath", process.is_some_and(|process| process.has_listener())),
        ("preserved descriptors", plan.preserve_fds != 0),
        ("NOTIFY_SOCKET", request.options.notify.is_some()),
    ];
    if let Some((field, _)) = unsupported.iter().find(|(_, requested)| *requested) {
        return Err(Error::unsupported(format_args!("restore with {field}")));
    }
    let sources = Sources::open(restore.settings)?;
    let options = request.options;
    let console = socket::open(options.console_socket.as_deref(), options.console.as_deref())?;
    warnings.iter().for_each(log::warn);
    let state = record::state(request, &plan, &host)?;
    // From here on there is something to undo.
    let reserved = store.reserve(request.id, &record::intent(&state, &plan), raw)?;
    let restored = Restored::new(request.parent, plan, state, reserved);
    restored.run(restore, sources, console)
}
