//! Control groups: limits, device rules, and a handle on all processes of a container.
//!
//! [`Resources`] is what the configuration requests, checked; [`Layout`] is what the host has.
//! [`CgroupPlan`] decides which directories and settings follow. [`Cgroup`] is the created cgroup,
//! open for processes; [`Record`] is what later commands know of it, to list, freeze, kill and
//! remove the processes. Nothing before [`CgroupPlan::create`] changes the host.
//!
//! The modules are in layers, each of which uses only those above it in this list.

// What the configuration requests.
pub(crate) mod device_rules;
pub(crate) mod limit;
pub(crate) mod limits;

// Its forms for the kernel and for systemd.
mod device_list;
mod device_program;
mod setting;
mod settings;

// The host.
mod cgroups_path;
mod cpuset;
mod files;
mod layout;
mod walk;

mod apply;
mod identity;
mod record;

// What can be done with the record of a cgroup.
#[cfg(any(test, fuzzing))]
pub mod device_fuzzing;
mod freeze;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod keep;
mod kill;
#[cfg(test)]
mod members_tests;
mod mounts;
#[cfg(test)]
mod native_tests;
mod oom;
mod remove;
pub mod stats;

// Creating and changing a cgroup.
mod controllers;
mod create;
mod device_control;
mod dir_plan;
mod handle;
mod plan;
#[cfg(test)]
mod test_support;
mod undo;
mod units;
mod update;

pub use handle::Cgroup;
pub use layout::Layout;
pub use mounts::CgroupMount;
pub use oom::OomWatch;
pub use plan::{CgroupOptions, CgroupPlan, Resources};
pub use record::Record;
pub use stats::Stats;
pub use update::Update;
