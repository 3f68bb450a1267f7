//! The configuration: from bytes to a [`Plan`].
//!
//! [`load()`] reads and parses config.json. Each section has one constructor, which checks the
//! section and decides its effect; [`Plan::new`] combines them. An error names the field with its
//! index, the value, and the reason. An empty string counts as unset wherever the Go types of the
//! specification cannot distinguish the two.
//!
//! A path that does not exist, or a namespace of the wrong type, is reported when it is used: only
//! the kernel can detect it.

pub mod annotations;
mod cgroup;
pub mod devices;
mod document;
mod environment;
mod error_path;
mod filter_point;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
#[cfg(test)]
mod guard_tests;
pub mod hooks;
mod identity;
pub mod ids;
pub mod intel_rdt;
pub mod keys;
mod linux;
mod listen;
mod load;
mod members;
mod merge;
pub mod mounts;
mod namespaces;
mod net_devices;
mod plan;
pub mod process;
mod reparse;
pub mod rlimits;
mod route;
pub mod scheduling;
mod selinux;
mod sysctl;
mod version;

#[cfg(test)]
mod cases;

pub use cgroup::CgroupRequest;
pub use devices::Device;
pub use filter_point::{FilterPoint, Sibling};
pub use identity::{CapSets, Identity};
pub use ids::{IdMap, IdMaps};
pub use listen::Listen;
pub use load::{
    MAX_BYTES, load, load_bytes, misspelt, parse, parse_process, parse_stored, read_config,
};
pub use members::distance;
pub use merge::Changes;
pub use mounts::{DevConsole, Mount, MountKind, options};
pub use namespaces::{Choice, KINDS, Kind, Namespaces, kind_name};
pub use net_devices::{InsideName, NetDevice};
pub use plan::{Plan, PlanOptions, keyring_name};
pub use process::{Process, TerminalRequest};
pub use sysctl::namespace as sysctl_namespace;
