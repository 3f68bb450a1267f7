//! bulkhead, the engine: from an OCI bundle to a contained Linux process.
//!
//! Data flows one way. Bytes become a [`oci_spec::runtime::Spec`] (`spec`); the spec, the options
//! of the command and what the host can do become a `plan`; `launch` opens what the plan needs,
//! clones init and answers it; `init` is the child's side, an ordered list of steps. What must
//! outlive the process is written by `state`.
//!
//! The binary is one user of this library; unsafe code lives in `sys` only.

#[forbid(unsafe_code)]
pub mod cgroup;
#[forbid(unsafe_code)]
pub mod cli;
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
pub mod join;
#[forbid(unsafe_code)]
pub mod launch;
#[forbid(unsafe_code)]
pub mod log;
#[forbid(unsafe_code)]
pub mod notify;
#[forbid(unsafe_code)]
pub mod plan;
#[forbid(unsafe_code)]
pub mod seccomp;
#[forbid(unsafe_code)]
pub mod spec;
#[forbid(unsafe_code)]
pub mod state;
#[forbid(unsafe_code)]
pub mod sync;
pub mod sys;
#[forbid(unsafe_code)]
pub mod systemd;
#[forbid(unsafe_code)]
pub mod text;
#[forbid(unsafe_code)]
pub mod tty;

pub use error::{Context, Error, Kind, Result};
