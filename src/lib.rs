//! bulkhead, the engine: from an OCI bundle to a contained Linux process.
//!
//! Data flows one way. `config` turns bytes into a [`oci_spec::runtime::Spec`], and the spec, the
//! options of the command and the facts about the host into a plan; `spawn` opens what the plan
//! needs, clones init and answers it; `init` is the child's side, an ordered list of steps. `state`
//! records what later commands need.
//!
//! The binary is one user of this library; unsafe code lives in `sys` only.

#[forbid(unsafe_code)]
pub mod cgroup;
#[forbid(unsafe_code)]
pub mod cli;
#[forbid(unsafe_code)]
pub mod config;
#[forbid(unsafe_code)]
pub mod container;
#[forbid(unsafe_code)]
pub mod error;
#[forbid(unsafe_code)]
pub mod fs;
#[forbid(unsafe_code)]
pub mod hooks;
#[forbid(unsafe_code)]
pub mod host;
#[forbid(unsafe_code)]
pub mod init;
#[forbid(unsafe_code)]
mod list;
#[forbid(unsafe_code)]
pub mod log;
#[forbid(unsafe_code)]
pub mod mount;
#[forbid(unsafe_code)]
pub mod protocol;
#[forbid(unsafe_code)]
pub mod sd_notify;
#[forbid(unsafe_code)]
pub mod seccomp;
#[cfg(test)]
#[path = "../tests/skip.rs"]
mod skip;
#[forbid(unsafe_code)]
pub mod spawn;
#[forbid(unsafe_code)]
pub mod state;
pub mod sys;
#[forbid(unsafe_code)]
pub mod systemd;
#[forbid(unsafe_code)]
pub mod terminal;
#[forbid(unsafe_code)]
pub mod text;

pub use container::*;
pub use error::{Context, Error, Kind, Result};
