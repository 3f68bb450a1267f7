//! System calls without a safe wrapper in a library, and related helpers. The only module with
//! unsafe code.
//!
//! It imports nothing from the rest of the crate. A function returns the error number, or a
//! [`Failure`] if it makes several calls.

mod failure;
mod integers;

pub mod bpf;
pub mod clone;
pub mod cred;
pub mod exec;
pub mod fdpass;
pub mod fds;
pub mod links;
pub mod lsm;
pub mod mount;
pub mod netlink;
pub mod ns;
pub mod pidfd;
pub mod sched;
pub mod seccomp;
pub mod shared;
pub mod signal;
pub mod spawn;
pub mod term;
pub mod title;

pub use failure::{Cause, Failure, to_nix};
