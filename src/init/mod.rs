//! The child's side: the steps of a process that the runtime has cloned, up to the execution of the
//! program. `create` and `exec` are the two lists of steps; both end in `last_steps`.

pub(crate) mod birth;
mod cgroups;
pub(crate) mod create;
pub(crate) mod descriptors;
mod dev_links;
mod device_node;
mod devices;
mod enter;
pub(crate) mod exec;
mod execute;
pub(crate) mod identity;
mod inherited;
mod interpreter;
mod last_steps;
mod lifetime;
pub(crate) mod limits;
mod mounts;
mod outward;
mod procfs;
mod program;
mod restrict;
mod rootfs;
pub(crate) mod scheduling;
mod seal;
mod search;
pub(crate) mod start;
mod stdio;
mod superblock;

pub(crate) use self::inherited::{Inherited, Init};
