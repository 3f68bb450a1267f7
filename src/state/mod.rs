//! What must outlive the process that made a container.
//!
//! ```text
//! <root>/<id>/            made by one mkdir; its mode 01700 says that it is ours
//!     intent.json         before the first side effect: what to clean if create dies
//!     state.json          by create, and update: everything that later commands need
//!     exec.fifo           there until the process is started
//!     notify/             if a service manager wants to know when the container is ready
//! ```
//!
//! No status is stored: it is derived each time from the live process ([`Container::status`]), so
//! it cannot be stale. Two commands write: `create`, and `update`, which replaces state.json by one
//! with the new limits in its configuration, under the lock. `create` holds an exclusive flock(2) on
//! the directory for as long as it works; the kernel frees it if create dies, which is how others
//! tell a container that is being created from one whose creation has failed.

mod container;
mod control;
mod file;
mod id;
mod owner;
mod process;
#[cfg(test)]
mod race_tests;
#[cfg(test)]
mod root_tests;
mod store;
#[cfg(test)]
mod store_tests;
#[cfg(test)]
mod test_support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

pub use container::Container;
pub use control::{destroy, ends, kill, pause, processes, resume, stop};
pub use id::Id;
pub use process::{boot_id, has_executed, process_start_time};
pub use store::{Reserved, Store};

use crate::cgroup;
use crate::fs::OwnMount;
use crate::{Error, Kind, Result};

/// The version of the OCI runtime specification that the state complies with.
pub const OCI_VERSION: &str = "1.2.1";

/// The version of [`State`] and [`Intent`] that this program writes, and the newest that it reads.
pub const VERSION: u32 = 1;

/// The FIFO in a container's directory on which init waits for `start`. Its presence is what makes
/// a live container `created`; `start` removes it.
pub const START_FIFO: &str = "exec.fifo";

/// The FIFO through which init tells `start` why it could not execute the program.
pub const RESULT_FIFO: &str = "result.fifo";

/// How long a killed process may take to die: writing out its memory to a slow disk takes time.
pub const DEATH: Duration = Duration::from_secs(10);

const STATE_FILE: &str = "state.json";
const INTENT_FILE: &str = "intent.json";

/// What create is about to make; written before it makes anything.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Intent {
    /// [`VERSION`].
    pub version: u32,
    /// The container's id.
    pub id: Id,
    /// The bundle, an absolute path.
    pub bundle: PathBuf,
    /// When create began.
    #[serde(with = "time")]
    pub created: SystemTime,
    /// The cgroup that will be made.
    pub cgroup: cgroup::Record,
    /// The boot in which this was written: [`boot_id`].
    pub boot_id: String,
}

/// Everything that must be known about a container after create has ended.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    /// [`VERSION`].
    pub version: u32,
    /// The container's id.
    pub id: Id,
    /// The bundle, an absolute path.
    pub bundle: PathBuf,
    /// The root file system, an absolute path on the host.
    pub rootfs: PathBuf,
    /// When create began.
    #[serde(with = "time")]
    pub created: SystemTime,
    /// The user who created it.
    pub owner: u32,
    /// Init, in the pid namespace of the runtime.
    pub pid: i32,
    /// When init started: [`process_start_time`].
    pub start_time: u64,
    /// The boot in which it runs: [`boot_id`].
    pub boot_id: String,
    /// Its cgroup.
    pub cgroup: cgroup::Record,
    /// Whether it has a pid namespace of its own, so that the death of init ends all of it.
    pub private_pid: bool,
    /// The annotations of the configuration.
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
    /// Whether the configuration has a `process`, without which `start` is an error.
    pub has_process: bool,
    /// The root file system's mount, if it is one of the runtime's own mount namespace: the
    /// container has none, and the mount does not end with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own_mount: Option<OwnMount>,
    /// The user namespace of init at create, by its inode number; 0: unknown.
    #[serde(default)]
    pub user_namespace: u64,
    /// Whether it was created without root privileges.
    pub rootless: bool,
    /// Whether systemd made the cgroup.
    pub systemd_cgroup: bool,
    /// Whether it has the session keyring of its creator.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub no_new_keyring: bool,
    /// The name of its own session keyring.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keyring: Option<String>,
    /// config.json as it was at create, with the limits that `update` has set since; later edits
    /// of the bundle have no effect. Kept as text, because most readers do not want it.
    pub config: Box<RawValue>,
}

/// The status of a container (runtime.md "State"; `paused` is an addition that runc made).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// `create` is at work.
    Creating,
    /// Init waits for `start`.
    Created,
    /// The configured process runs.
    Running,
    /// It runs, but its cgroup is frozen.
    Paused,
    /// No process any more.
    Stopped,
}

impl Status {
    /// The word that the specification uses.
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

/// The OCI state document: what `state` and `list` print and what hooks read.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Document<'a> {
    /// [`OCI_VERSION`].
    pub oci_version: &'static str,
    /// The container's id.
    pub id: &'a Id,
    /// Init, in the pid namespace of the reader; 0 if there is none.
    pub pid: i32,
    /// The status.
    pub status: Status,
    /// The bundle.
    pub bundle: &'a Path,
    /// The root file system; absent while the container is being created.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rootfs: Option<&'a Path>,
    /// When create began, RFC 3339.
    pub created: String,
    /// The annotations; absent if there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub annotations: Option<&'a BTreeMap<String, String>>,
    /// The name of the user who created it, or `#uid`.
    pub owner: String,
}

/// The OCI state of the container of `state`, with the status and the pid that its reader is to
/// see. The pid of a stopped container is 0 whatever is given.
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
    /// On one line, for a hook's standard input. Hooks find the root file system under the name
    /// `root` as well: so it was called before the specification, and is still under crun.
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

/// `at` as RFC 3339 in UTC with nanoseconds. A time that it cannot show becomes 1970.
pub fn rfc3339(at: SystemTime) -> String {
    // humantime panics outside of 1970 to 9999.
    const YEAR_9999: Duration = Duration::from_secs(253_402_300_799);
    let since = at.duration_since(UNIX_EPOCH).ok().filter(|since| *since <= YEAR_9999);
    humantime::format_rfc3339_nanos(UNIX_EPOCH + since.unwrap_or_default()).to_string()
}

/// Times in our files: RFC 3339, for those who read them.
mod time {
    use super::*;

    pub fn serialize<S: Serializer>(at: &SystemTime, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&rfc3339(*at))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<SystemTime, D::Error> {
        let text = String::deserialize(from)?;
        humantime::parse_rfc3339(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> State {
        State {
            version: VERSION,
            id: Id::new("c1").unwrap(),
            bundle: "/b".into(),
            rootfs: "/b/rootfs".into(),
            created: UNIX_EPOCH + Duration::new(1_700_000_000, 5),
            owner: 0,
            pid: 77,
            start_time: 1,
            boot_id: "x".into(),
            cgroup: cgroup::Record::empty(),
            private_pid: true,
            annotations: BTreeMap::new(),
            has_process: true,
            own_mount: None,
            user_namespace: 0,
            keyring: None,
            rootless: false,
            systemd_cgroup: false,
            no_new_keyring: false,
            config: RawValue::from_string("{\"ociVersion\":\"1.0.0\"}".into()).unwrap(),
        }
    }

    #[test]
    fn document_has_the_keys_of_the_specification() {
        let state = state();
        let json = document(&state, Status::Running, 77).to_json().unwrap();
        assert_eq!(
            String::from_utf8(json).unwrap(),
            "{\"ociVersion\":\"1.2.1\",\"id\":\"c1\",\"pid\":77,\"status\":\"running\",\
             \"bundle\":\"/b\",\"rootfs\":\"/b/rootfs\",\
             \"created\":\"2023-11-14T22:13:20.000000005Z\",\"owner\":\"root\",\
             \"root\":\"/b/rootfs\"}"
        );
        assert_eq!(document(&state, Status::Stopped, 77).pid, 0);
    }

    #[test]
    fn state_survives_a_round_trip() {
        let text = serde_json::to_string(&state()).unwrap();
        let back: State = serde_json::from_str(&text).unwrap();
        assert_eq!(back.created, state().created);
        assert_eq!(back.config.get(), state().config.get());
        assert_eq!(serde_json::to_string(&back).unwrap(), text);
    }

    #[test]
    fn strange_times_do_not_panic() {
        assert!(rfc3339(UNIX_EPOCH - Duration::from_secs(1)).starts_with("1970-"));
        assert!(rfc3339(UNIX_EPOCH + Duration::from_secs(1 << 40)).starts_with("1970-"));
        assert!(rfc3339(UNIX_EPOCH + Duration::from_secs(253_402_300_799)).starts_with("9999-"));
    }
}
