//! The state that outlives the process that created a container.
//!
//! ```text
//! <root>/<id>/            created by one mkdir; its mode 01700 marks it as the runtime's
//!     intent.json         written before the first side effect: what to remove if create dies
//!     config.json         written once, before state.json: the configuration as of create
//!     state.json          written by create and update: what most later commands need
//!     exec.fifo           exists until the process is started
//!     notify/             if a service manager waits for the container to be ready
//! ```
//!
//! No status is stored: it is derived each time from the live process ([`Entry::status`]), so it
//! cannot be stale. Two commands write: `create`, and `update`, which replaces state.json under the
//! lock. `create` holds an exclusive flock(2) on the directory while it works; the kernel releases
//! it if create dies. So other commands can tell a container that is being created from a failed
//! creation.

#[cfg(test)]
mod config_tests;
mod dir;
mod document;
mod entry;
mod file;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod id;
mod owner;
mod process;
#[cfg(test)]
mod race_tests;
mod record;
mod reserved;
#[cfg(test)]
mod root_tests;
mod store;
#[cfg(test)]
mod store_tests;
#[cfg(test)]
pub(crate) mod test_support;

pub use document::{Document, OCI_VERSION, Status, document};
pub use entry::Entry;
pub use id::Id;
#[cfg(test)]
pub use process::process_start_time;
pub use process::{Birth, boot_id, has_executed, is_dying, stat};
pub use record::{Intent, RESULT_FIFO, START_FIFO, State, VERSION};
pub use reserved::Reserved;
pub use store::{Origin, Store};
