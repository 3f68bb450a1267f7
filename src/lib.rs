//! A low-level OCI container runtime as a library.
//!
//! A [`Runtime`] holds the containers of one state directory; a [`Container`] has a method for each
//! operation of the OCI runtime specification. The `bulkhead` program runs the same operations in
//! its own process.
//!
//! ```no_run
//! use bulkhead::{CreateOptions, ForkServer, Runtime};
//!
//! fn main() -> bulkhead::Result<()> {
//!     bulkhead::protect_executable()?; // first, since it executes the program again
//!     let server = ForkServer::start()?; // before the first thread
//!     let runtime = Runtime::with_fork_server("/run/my-engine", &server)?;
//!     let init = runtime.create("web", &CreateOptions::new("/srv/web"))?;
//!     runtime.container("web")?.start()?;
//!     println!("{}", init.wait()?);
//!     runtime.container("web")?.delete()
//! }
//! ```
//!
//! # What the library does to its caller
//!
//! * It prints nothing: warnings go to the logger of the `log` crate.
//! * It reads no environment variable. Each default is documented with its option.
//! * It changes no setting of the process: a container is created, started and deleted in a worker,
//!   a short-lived clone of the program ([`ForkServer`] has the details). The worker and the
//!   processes of a container are children of the program, which gets a SIGCHLD for each. The
//!   library reaps its workers; the program reaps a container's process with [`Process::wait`].
//!   A program that reaps all children (`waitpid(-1)`) can take away both that status and, while a
//!   call is in progress, that of a process that the call waits for.

#[forbid(unsafe_code)]
mod audit;
#[forbid(unsafe_code)]
mod cgroup;
#[forbid(unsafe_code)]
mod checkpoint;
#[forbid(unsafe_code)]
#[doc(hidden)]
pub mod cli;
#[forbid(unsafe_code)]
mod config;
#[forbid(unsafe_code)]
mod container;
#[forbid(unsafe_code)]
mod error;
#[forbid(unsafe_code)]
mod fs;
#[cfg(any(test, fuzzing))]
#[forbid(unsafe_code)]
#[doc(hidden)]
#[allow(missing_docs)]
pub mod fuzzing;
#[forbid(unsafe_code)]
mod hooks;
#[forbid(unsafe_code)]
mod host;
#[forbid(unsafe_code)]
mod init;
#[forbid(unsafe_code)]
mod list;
#[forbid(unsafe_code)]
mod log;
#[forbid(unsafe_code)]
mod mount;
#[forbid(unsafe_code)]
mod protocol;
#[forbid(unsafe_code)]
mod resctrl;
#[forbid(unsafe_code)]
mod sd_notify;
#[forbid(unsafe_code)]
mod seccomp;
#[cfg(test)]
#[path = "../tests/skip.rs"]
mod skip;
#[forbid(unsafe_code)]
mod spawn;
#[forbid(unsafe_code)]
mod state;
mod sys;
#[forbid(unsafe_code)]
mod systemd;
#[forbid(unsafe_code)]
mod terminal;
#[forbid(unsafe_code)]
mod text;

/// The parts of [`Stats`].
pub mod stats {
    pub use crate::cgroup::stats::figures::*;
    pub use crate::resctrl::stats::*;
}

pub use cgroup::Stats;
pub use checkpoint::{CgroupMode, NetworkLock};
pub use container::{
    CgroupManager, CheckpointOptions, Container, CreateOptions, Event, Events, ExecOptions,
    ForkServer, OomWatch, Operation, Pending, Process, RestoreOptions, Runtime, Signal,
};
pub use error::{Error, Kind, Result};
pub use spawn::selfexe::protect_executable;
pub use state::Status;
#[doc(hidden)]
pub use sys::title::remember as remember_arguments;

/// Returns the features that the library supports, as JSON (OCI runtime specification, features.md).
pub fn features() -> String {
    cli::features().to_string()
}

pub(crate) use error::Context;
