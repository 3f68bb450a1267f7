//! `linux.seccomp` (config-linux.md#seccomp): from a profile to a BPF program that init can load.
//!
//! [`profile`] is pure and knows the rules of the specification; [`build`] gives what is left to
//! libseccomp and puts the [`enosys`] prologue in front; [`cache`] keeps the result, since
//! libseccomp takes longer than everything else in a container's start; [`notify`] hands the
//! listener to the agent.

use oci_spec::runtime::LinuxSeccomp;

use crate::Result;

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

pub use cache::compile_cached;
pub use filter::{Call, Filter};

/// Checks a profile by the rules that need neither libseccomp nor the kernel.
///
/// # Errors
/// The field that breaks a rule of config-linux.md#seccomp.
pub fn check(profile: &LinuxSeccomp) -> Result<()> {
    profile::Profile::new(profile).map(drop)
}

/// Compiles a profile for this machine and this kernel.
///
/// Asks libseccomp, and the kernel at most twice for each action and flag that not every kernel has.
/// System call names that libseccomp does not know are left out of the filter, as in runc (the
/// default action then holds for them); one line in `warnings` lists them.
///
/// # Errors
/// Names the field of the profile: an architecture that this libseccomp does not know, an action or
/// flag that this kernel does not know, or a value that breaks a rule of config-linux.md#seccomp.
#[cfg(test)]
pub fn compile(profile: &LinuxSeccomp, warnings: &mut Vec<String>) -> Result<Filter> {
    build::build(&profile::Profile::new(profile)?, warnings)
}
