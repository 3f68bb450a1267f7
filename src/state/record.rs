//! The files of a container's directory: their names and contents.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::SystemTime;

use oci_spec::runtime::LinuxResources;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

use super::id::Id;
use super::process::Birth;
use crate::cgroup;
use crate::fs::OwnMount;
use crate::resctrl;
use crate::text::rfc3339;

/// The version of [`State`] and [`Intent`] that this program writes, and the newest that it reads. In
/// version 1, state.json had the configuration too.
pub const VERSION: u32 = 2;

/// The oldest version that this program reads.
pub(super) const OLDEST: u32 = 1;

/// The FIFO in a container's directory on which init waits for `start`. A live container with this
/// FIFO has the status `created`; `start` removes it.
pub const START_FIFO: &str = "exec.fifo";

/// The FIFO through which init reports to `start` why it could not execute the program.
pub const RESULT_FIFO: &str = "result.fifo";

pub(super) const STATE_FILE: &str = "state.json";
pub(super) const INTENT_FILE: &str = "intent.json";
pub(super) const CONFIG_FILE: &str = "config.json";

/// The intent of create, written before create makes anything.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Intent {
    /// [`VERSION`].
    pub version: u32,
    /// The container's id.
    pub id: Id,
    /// The bundle, an absolute path.
    pub bundle: PathBuf,
    /// The start of create.
    #[serde(with = "time")]
    pub created: SystemTime,
    /// The cgroup that create will make.
    pub cgroup: cgroup::Record,
    /// The boot in which the file was written: [`boot_id`](super::boot_id).
    pub boot_id: String,
    /// The resctrl groups that create will make.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intel_rdt: Option<resctrl::Record>,
}

/// The facts about a container that later commands need.
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
    /// The start of create.
    #[serde(with = "time")]
    pub created: SystemTime,
    /// The user who created the container.
    pub owner: u32,
    /// The process id of init, in the pid namespace of the runtime.
    pub pid: i32,
    /// The start time of init, if its pidfd does not identify it; else 0.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub start_time: u64,
    /// The inode number of init's pidfd; 0 if pidfds have none of their own. Absent in a state of
    /// version 1.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub pidfd_inode: u64,
    /// The boot in which the container runs: [`boot_id`](super::boot_id).
    pub boot_id: String,
    /// The container's cgroup.
    pub cgroup: cgroup::Record,
    /// The container's resctrl groups.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intel_rdt: Option<resctrl::Record>,
    /// Whether the container has a pid namespace of its own, so that the death of init ends all its
    /// processes.
    pub private_pid: bool,
    /// The annotations of the configuration.
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
    /// Whether the configuration has a `process`, without which `start` is an error.
    pub has_process: bool,
    /// Whether the configuration may have hooks.
    #[serde(default = "unknown_hooks")]
    pub has_hooks: bool,
    /// The root file system's mount, if it is in the runtime's own mount namespace: the container
    /// has none, so the mount does not end with the container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own_mount: Option<OwnMount>,
    /// The user namespace of init at create, by its inode number; 0 means unknown.
    #[serde(default)]
    pub user_namespace: u64,
    /// Whether a restore has put the processes into a time namespace that the configuration does not
    /// ask for: CRIU preserves the clocks of the processes this way.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub keeps_clocks: bool,
    /// Whether the container was created without root privileges.
    pub rootless: bool,
    /// Whether systemd created the cgroup.
    pub systemd_cgroup: bool,
    /// Whether the container keeps the session keyring of its creator.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub no_new_keyring: bool,
    /// The name of the container's own session keyring.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keyring: Option<String>,
    /// `linux.resources` after `update`; absent before the first update, and in containers that an
    /// earlier version has updated: the configuration's resources apply then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<LinuxResources>,
    /// The configuration in a state of version 1, which has no file of its own for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<Box<RawValue>>,
}

impl State {
    /// Returns what tells init from a later process with its id.
    pub fn birth(&self) -> Birth {
        match self.pidfd_inode {
            0 => Birth::StartTime(self.start_time),
            inode => Birth::Inode(inode),
        }
    }

    /// Sets the process of init.
    pub fn set_init(&mut self, pid: i32, birth: Birth) {
        self.pid = pid;
        (self.pidfd_inode, self.start_time) = match birth {
            Birth::Inode(inode) => (inode, 0),
            Birth::StartTime(time) => (0, time),
        };
    }
}

#[allow(clippy::trivially_copy_pass_by_ref)] // the signature that serde requires
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// A state of version 1 does not tell.
fn unknown_hooks() -> bool {
    true
}

/// Formats times in the files as RFC 3339, for human readers.
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
pub(super) mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;
    use crate::state::test_support;

    pub fn state() -> State {
        State {
            bundle: "/b".into(),
            rootfs: "/b/rootfs".into(),
            created: UNIX_EPOCH + Duration::new(1_700_000_000, 5),
            owner: 0,
            annotations: BTreeMap::new(),
            ..test_support::state("c1", 77)
        }
    }

    #[test]
    fn state_survives_a_round_trip() {
        let text = serde_json::to_string(&state()).unwrap();
        let back: State = serde_json::from_str(&text).unwrap();
        assert_eq!(back.created, state().created);
        assert_eq!(serde_json::to_string(&back).unwrap(), text);
    }
}
