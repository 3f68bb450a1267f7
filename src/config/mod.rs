//! From bytes to a [`Spec`](oci_spec::runtime::Spec) that can be acted upon.
//!
//! [`load`](load::load) reads and parses; [`check`](check::check) is a flat list of pure rules.
//! Neither asks the kernel anything about the container: what only the kernel can tell (a path
//! that is missing, a namespace of another type) is found where the thing is used.

pub mod annotations;
mod audit;
pub mod check;
pub mod devices;
mod document;
mod explain;
mod field_path;
#[cfg(test)]
mod guard_tests;
pub mod identity;
pub mod idmap;
pub mod ids;
pub mod keys;
pub mod listen;
pub mod load;
pub mod merge;
mod mount_flags;
pub mod mounts;
pub mod namespaces;
pub mod options;
mod plan;
pub mod process;
pub mod scheduling;
mod version;

pub use check::{Given, check, check_process, check_resources};
pub use devices::{DevConsole, Device};
pub use identity::{CapSets, Identity};
pub use ids::{IdMap, IdMaps};
pub use listen::Listen;
pub use load::{Loaded, LoadedProcess, load, load_process, parse, parse_process, parse_stored};
pub use merge::Changes;
pub use mounts::{Mount, MountKind};
pub use namespaces::{Choice, Kind, Namespaces, Route};
pub use plan::{Options, Plan, keyring_name};
pub use process::{Process, Rlimit};
