//! Checkpoint and restore of containers with CRIU, which runs as a separate program.
//!
//! [`Settings`] is what the caller requests; [`external`] lists the parts of a container that belong
//! to the host, and so are not in the images. [`dump()`] writes the images of a running container.
//! [`restore()`] makes a container from them: cgroup, mount points and state are the runtime's,
//! everything inside is CRIU's.
//!
//! [`dump()`] and [`restore()`] need a calling process with one thread ([`crate::spawn`]).

use std::collections::BTreeMap;
use std::path::Path;

use crate::{Context, Error, Result};

mod command;
mod descriptors;
mod dump;
mod external;
mod hierarchy;
mod images;
mod mount_points;
mod restore;
mod restored;
mod rpc;
mod service;
mod settings;

pub use dump::{Dump, dump};
pub use restore::restore;
pub use restored::Restore;
pub use settings::{CgroupMode, NetworkLock, PageServer, Settings};

/// The annotation that names another configuration file for CRIU, or none if it is empty.
pub const CONFIG_ANNOTATION: &str = "org.criu.config";

/// The configuration files for CRIU, the first that exists; CRIU ignores a file that does not.
const CONFIG_FILES: [&str; 2] = ["/etc/criu/bulkhead.conf", "/etc/criu/runc.conf"];

/// Returns the configuration file that overrides the options of a request.
///
/// # Errors
/// A file that is named must exist: CRIU would ignore it otherwise.
fn config_file(annotations: &BTreeMap<String, String>) -> Result<Option<String>> {
    let Some(path) = annotations.get(CONFIG_ANNOTATION) else {
        let mut existing = CONFIG_FILES.iter().filter(|path| Path::new(path).exists());
        return Ok(existing.next().map(|path| (*path).to_owned()));
    };
    if path.is_empty() {
        return Ok(None);
    }
    let field = format!("annotations.{CONFIG_ANNOTATION}");
    if !path.starts_with('/') {
        return Err(Error::invalid(field, path, "must be an absolute path"));
    }
    std::fs::File::open(path).with_context(|| format!("{field}: open {path:?}"))?;
    Ok(Some(path.clone()))
}
