//! Groups of the resctrl file system: parts of caches and of memory bandwidth, and their use
//! (Intel RDT, AMD PQoS; Documentation/filesystems/resctrl.rst of the kernel).
//!
//! A *control group* is a directory at the top with limits in its file `schemata`; a *monitoring
//! group* is a directory in `mon_groups` of a control group, which counts the use of its processes
//! apart. A process is in one group of each kind, by its id in the file `tasks`; its children start
//! in the same groups.

mod files;
mod plan;
mod record;
mod schemata;
pub mod stats;
#[cfg(test)]
mod tests;

pub use plan::{Class, Plan, Request};
pub use record::{Record, Undo};
pub use schemata::Schema;
pub use stats::IntelRdt;
