//! `linux.seccomp` (config-linux.md#seccomp): from a profile to a BPF program that init can load.
//!
//! [`profile`] has no side effects and applies the rules of the specification; [`build`] passes the
//! result to libseccomp, adds the [`enosys`] prologue and searches by [`ranges`]; [`cache`] stores the program, since
//! libseccomp takes longer than the rest of a container's start; [`notify`] sends the listener to
//! the agent.

use oci_spec::runtime::LinuxSeccomp;

use crate::Result;

mod assemble;
mod build;
pub mod cache;
pub mod enosys;
mod filter;
#[cfg(test)]
mod load_tests;
pub mod names;
pub mod notify;
mod profile;
#[cfg(test)]
mod profiles_tests;
mod ranges;

pub use cache::compile_cached;
pub use filter::{Call, Filter};

/// Checks a profile by the rules that depend neither on libseccomp nor on the kernel.
///
/// # Errors
/// The field that violates a rule of config-linux.md#seccomp.
pub fn check(profile: &LinuxSeccomp) -> Result<()> {
    profile::Profile::new(profile).map(drop)
}

#[cfg(test)]
pub fn compile(profile: &LinuxSeccomp, warnings: &mut Vec<String>) -> Result<Filter> {
    build::build(&profile::Profile::new(profile)?, warnings)
}
