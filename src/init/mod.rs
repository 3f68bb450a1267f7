//! The child's side: the steps of a process that the runtime has cloned, up to the execution of the
//! program. `create` and `exec` are the two lists of steps; both end in `last_steps`.

pub(crate) mod birth;
mod cgroups;
pub(crate) mod create;
mod device_node;
mod devices;
pub(crate) mod enter;
pub(crate) mod exec;
mod execute;
pub(crate) mod identity;
mod inherited;
mod interpreter;
pub(crate) mod last_steps;
pub(crate) mod lifetime;
pub(crate) mod limits;
mod mounts;
mod outward;
mod procfs;
mod rootfs;
pub(crate) mod scheduling;
mod seal;
mod search;
pub(crate) mod start;
pub(crate) mod stdio;
mod superblock;

pub(crate) use mounts::ordinary_dir;

pub(crate) use self::inherited::{Inherited, Init};
