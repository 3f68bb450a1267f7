//! The OCI state of a container, as hooks and users see it.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;

use super::id::Id;
use super::owner;
use super::record::State;
use crate::text::rfc3339;
use crate::{Error, Kind, Result};

/// The version of the OCI runtime specification that the state complies with.
pub const OCI_VERSION: &str = "1.3.0";

/// The status of a container (runtime.md, "State"; `paused` is runc's addition).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Status {
    /// `create` is in progress.
    Creating,
    /// Init waits for `start`.
    Created,
    /// The process runs.
    Running,
    /// The process runs, but its cgroup is frozen.
    Paused,
    /// There is no process any more.
    Stopped,
}

impl Status {
    /// Returns the term of the specification.
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Creating => "creating",
            Status::Created => "created",
            Status::Running => "running",
            Status::Paused => "paused",
            Status::Stopped => "stopped",
        }
    }
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The OCI state document: printed by `state` and `list`, and read by hooks.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Document<'a> {
    /// [`OCI_VERSION`].
    pub oci_version: &'static str,
    /// The container's id.
    pub id: &'a Id,
    /// The process id of init, in the pid namespace of the reader; 0 if there is none.
    pub pid: i32,
    /// The status.
    pub status: Status,
    /// The bundle.
    pub bundle: &'a Path,
    /// The root file system; absent while the container is being created.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rootfs: Option<&'a Path>,
    /// The start of create, in RFC 3339.
    pub created: String,
    /// The annotations; absent if there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub annotations: Option<&'a BTreeMap<String, String>>,
    /// The name of the user who created the container, or `#uid`.
    pub owner: String,
}

/// Builds the OCI state for `state`, with the given status and pid. The pid of a stopped container
/// is always 0.
pub fn document(state: &State, status: Status, pid: i32) -> Document<'_> {
    Document {
        oci_version: OCI_VERSION,
        id: &state.id,
        pid: if status == Status::Stopped { 0 } else { pid },
        status,
        bundle: &state.bundle,
        rootfs: Some(&state.rootfs),
        created: rfc3339(state.created),
        annotations: Some(&state.annotations).filter(|map| !map.is_empty()),
        owner: owner::name(state.owner),
    }
}

impl Document<'_> {
    /// Serialises the document on one line, for a hook's standard input. Hooks also find the root
    /// file system as `root`: its name before the specification, and still in crun.
    pub fn to_json(&self) -> Result<Vec<u8>> {
        #[derive(Serialize)]
        struct ForHook<'a> {
            #[serde(flatten)]
            document: &'a Document<'a>,
            #[serde(skip_serializing_if = "Option::is_none")]
            root: Option<&'a Path>,
        }
        let document = ForHook { document: self, root: self.rootfs };
        serde_json::to_vec(&document).map_err(|e| Error::new(Kind::System, e.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::record::tests::state;

    #[test]
    fn document_has_the_keys_of_the_specification() {
        let state = state();
        let json = document(&state, Status::Running, 77).to_json().unwrap();
        assert_eq!(
            String::from_utf8(json).unwrap(),
            "{\"ociVersion\":\"1.3.0\",\"id\":\"c1\",\"pid\":77,\"status\":\"running\",\
             \"bundle\":\"/b\",\"rootfs\":\"/b/rootfs\",\
             \"created\":\"2023-11-14T22:13:20.000000005Z\",\"owner\":\"root\",\
             \"root\":\"/b/rootfs\"}"
        );
        assert_eq!(document(&state, Status::Stopped, 77).pid, 0);
    }
}
