//! `linux.seccomp` (config-linux.md#seccomp): from a profile to a BPF program that init can load.
//!
//! [`profile`] has no side effects and applies the rules of the specification; [`build`] looks the
//! system calls up in a [`table`] for each architecture, whose rules become shared [`decision`]s and
//! then a program; [`notify`] sends the listener to the agent.

use oci_spec::runtime::LinuxSeccomp;

use crate::Result;

mod assemble;
mod build;
mod decision;
mod filter;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
#[cfg(test)]
mod load_tests;
mod multiplexed;
pub mod names;
pub mod notify;
mod profile;
#[cfg(test)]
mod profiles_tests;
#[cfg(test)]
mod program_tests;
pub mod recording;
mod table;

pub use filter::{Call, Filter};

/// Checks a profile by the rules that depend neither on libseccomp nor on the kernel.
///
/// # Errors
/// The field that violates a rule of config-linux.md#seccomp.
pub fn check(profile: &LinuxSeccomp) -> Result<()> {
    profile::Profile::new(profile).map(drop)
}

/// Compiles a profile for this machine and this kernel. System calls that libseccomp does not know
/// are left out of the filter, so the default action applies to them, as in runc; one line in
/// `warnings` lists them.
///
/// # Errors
/// The field that libseccomp does not support (an architecture), that this kernel does not support
/// (an action or flag), or that violates a rule of config-linux.md#seccomp.
pub fn compile(profile: &LinuxSeccomp, warnings: &mut Vec<String>) -> Result<Filter> {
    build::build(&profile::Profile::new(profile)?, warnings)
}
