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
mod interpret;
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

/// Compiles a profile for this machine and this kernel.
///
/// Queries libseccomp, and the kernel at most twice for each action and flag that not every kernel
/// has. System calls that libseccomp does not know are left out of the filter, so the default
/// action applies to them, as in runc; one line in `warnings` lists them.
///
/// # Errors
/// The field that libseccomp does not support (an architecture), that this kernel does not support
/// (an action or flag), or that violates a rule of config-linux.md#seccomp.
#[cfg(test)]
pub fn compile(profile: &LinuxSeccomp, warnings: &mut Vec<String>) -> Result<Filter> {
    build::build(&profile::Profile::new(profile)?, warnings)
}
