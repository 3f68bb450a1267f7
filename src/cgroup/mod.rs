//! Control groups: limits, device rules, and a handle on all processes of a container.
//!
//! One way through: [`Layout`] is what the host has; [`limits`] is what the configuration asks
//! for, every special number resolved; [`knobs`] gives it file names; [`Plan`] says which
//! directories and writes that makes; [`Cgroup`] is the result, open for the first process; and
//! [`Record`] is what outlives this process, to list, freeze, kill and remove. Nothing before
//! [`Plan::create`] changes the host.

mod below;
mod controllers;
mod cpuset;
mod create;
mod device_control;
pub mod devices;
mod files;
mod freeze;
mod keep;
mod kill;
pub mod knobs;
mod layout;
pub mod limits;
#[cfg(test)]
mod members_tests;
#[cfg(test)]
mod native_tests;
mod oom;
mod place;
mod plan;
pub mod program;
mod proof;
mod record;
pub mod stats;
#[cfg(test)]
mod test_support;
mod units;
mod update;

pub use create::Cgroup;
pub use layout::{Layout, Mode};
pub use oom::OomWatch;
pub use plan::{Options, Plan};
pub use record::{CgroupMount, Dir, Record};
pub use stats::Stats;
pub use update::Undo;
