//! Path look-ups that a hostile image or a racing process cannot redirect: [`Root`] for paths in a
//! container's root file system, [`Proc`] for the host's procfs.
//!
//! Once the root is open, every function that takes a path in it uses a `Root`: that rules out the
//! whole class of CVE-2019-18837, CVE-2021-30465 and CVE-2024-45310.

mod atomic_file;
mod copy_up;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod open;
mod own_mount;
mod proc;
mod read;
mod root;
mod walk;

pub use atomic_file::write_atomic;
pub use copy_up::copy_tree;
pub use open::{PATH, is_char_device, mount_id};
pub use own_mount::OwnMount;
pub use proc::Proc;
pub use read::{copy_bytes, is_end, read_bytes, read_long_text, read_text};
pub use root::Root;
