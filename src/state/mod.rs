//! What must outlive the process that made a container.
//!
//! ```text
//! <root>/<id>/            made by one mkdir; its mode 01700 says that it is ours
//!     intent.json         before the first side effect: what to clean if create dies
//!     state.json          by create, and update: everything that later commands need
//!     exec.fifo           there until the process is started
//!     notify/             if a service manager wants to know when the container is ready
//! ```
//!
//! No status is stored: it is derived each time from the live process ([`Entry::status`]), so
//! it cannot be stale. Two commands write: `create`, and `update`, which replaces state.json by one
//! with the new limits in its configuration, under the lock. `create` holds an exclusive flock(2) on
//! the directory for as long as it works; the kernel frees it if create dies, which is how others
//! tell a container that is being created from one whose creation has failed.

mod dir;
mod document;
mod entry;
mod file;
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
mod test_support;

pub use document::{Document, OCI_VERSION, Status, document};
pub use entry::Entry;
pub use id::Id;
pub use process::{boot_id, has_executed, is_dying, process_start_time};
pub use record::{Intent, RESULT_FIFO, START_FIFO, State, VERSION};
pub use reserved::Reserved;
pub use store::{Origin, Store};
