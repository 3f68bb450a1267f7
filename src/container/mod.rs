//! The containers of a state directory: a file for each operation, and the public types.
//!
//! The operations are functions of a [`Store`](crate::state::Store) and run in the calling process;
//! the command line calls them. [`Runtime`] is the API for programs: it runs the operations that
//! create processes in a worker, so that neither the threads nor the process-wide settings of the
//! program matter.

pub(crate) mod checkpoint;
pub(crate) mod create;
mod create_options;
mod criu_options;
pub(crate) mod delete;
mod descriptors;
pub(crate) mod events;
pub(crate) mod exec;
mod exec_options;
mod fork_server;
pub(crate) mod kill;
mod oom;
mod operation;
pub(crate) mod pause;
mod pending;
mod process;
pub(crate) mod ps;
pub(crate) mod restore;
pub(crate) mod run;
mod runtime;
mod signal;
pub(crate) mod start;
mod text;
pub(crate) mod update;
mod worker;

pub(crate) use create_options::absolute_bundle;
pub use create_options::{CgroupManager, CreateOptions};
pub use criu_options::{CheckpointOptions, RestoreOptions};
pub use events::{Event, Events};
pub use exec_options::ExecOptions;
pub use fork_server::ForkServer;
pub use oom::OomWatch;
pub use operation::Operation;
pub use pending::Pending;
pub use process::Process;
pub use runtime::{Container, Runtime};
pub use signal::Signal;
