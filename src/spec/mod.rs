//! From bytes to a [`Spec`](oci_spec::runtime::Spec) that can be acted upon.
//!
//! [`load`](load::load) reads and parses; [`check`](check::check) is a flat list of pure rules.
//! Neither asks the kernel anything about the container: what only the kernel can tell (a path
//! that is missing, a namespace of another type) is found where the thing is used.

pub mod annotations;
mod audit;
pub mod check;
mod document;
mod explain;
pub mod keys;
pub mod load;
pub mod merge;
mod place;
mod version;

pub use check::{Given, check, check_process, check_resources};
pub use load::{Loaded, LoadedProcess, load, load_process, parse, parse_process, parse_stored};
pub use merge::Changes;
