//! The containers of a state directory: a file for each operation, and the public types.
//!
//! The operations are functions of a [`Store`](crate::state::Store) and run in the calling process.
//! [`Runtime`] is the API for programs: it runs the operations that create processes in a worker,
//! so that neither the threads nor the process-wide settings of the program matter.

mod create;
mod create_options;
mod delete;
mod descriptors;
mod events;
mod exec;
mod exec_options;
mod fork_server;
mod kill;
mod pause;
mod process;
mod ps;
mod run;
mod runtime;
mod signal;
mod start;
mod text;
mod update;
mod worker;

pub use create_options::{CgroupManager, CreateOptions};
#[cfg(test)]
pub(crate) use delete::{destroy, stop};
pub use events::{Event, Events};
pub use exec_options::ExecOptions;
pub use fork_server::ForkServer;
pub use kill::kill;
pub use process::Process;
pub(crate) use run::Foreground;
pub use runtime::{Container, Runtime};
pub use signal::Signal;
