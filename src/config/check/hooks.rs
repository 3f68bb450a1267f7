//! hooks.

use oci_spec::runtime::{Hook, Hooks, Spec};

use super::process::assignment;
use super::{Given, each};
use crate::{Error, Result};

/// config.md, "POSIX-platform Hooks".
pub fn hooks(spec: &Spec, _: &Given) -> Result<()> {
    let Some(hooks) = spec.hooks() else { return Ok(()) };
    for (name, list) in [
        ("prestart", prestart(hooks)),
        ("createRuntime", hooks.create_runtime()),
        ("createContainer", hooks.create_container()),
        ("startContainer", hooks.start_container()),
        ("poststart", hooks.poststart()),
        ("poststop", hooks.poststop()),
    ] {
        for (index, hook) in each(list) {
            let field = |member: &str| format!("hooks.{name}[{index}].{member}");
            if !hook.path().is_absolute() {
                let why = "must be an absolute path";
                return Err(Error::invalid(field("path"), hook.path(), why));
            }
            if let Some(timeout) = hook.timeout().filter(|seconds| *seconds <= 0) {
                return Err(Error::invalid(field("timeout"), timeout, "must be above 0"));
            }
            for (at, entry) in each(hook.env()) {
                assignment(|| field(&format!("env[{at}]")), entry)?;
            }
        }
    }
    Ok(())
}

#[allow(deprecated)] // Deprecated in the spec too, and still used by every engine.
fn prestart(hooks: &Hooks) -> &Option<Vec<Hook>> {
    hooks.prestart()
}
