//! `linux.seccomp` (config-linux.md#seccomp): from a profile to a BPF program that init can load.
//!
//! `check` is pure and knows the rules of the specification; `build` gives what is left to
//! libseccomp and puts the [`enosys`] prologue in front; [`cache`] keeps the result, since
//! libseccomp takes longer than everything else in a container's start; [`notify`] hands the
//! listener to the agent.

use oci_spec::runtime::LinuxSeccomp;

use crate::Result;

mod build;
pub mod cache;
mod check;
pub mod enosys;
mod interpret;
#[cfg(test)]
mod load_tests;
pub mod names;
pub mod notify;
#[cfg(test)]
mod profiles_tests;

pub use cache::compile_cached;

/// A compiled profile: what [`crate::sys::seccomp::load`] takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// An array of `struct sock_filter` in the byte order of this machine.
    pub program: Vec<u8>,
    /// `SECCOMP_FILTER_FLAG_*`; has `SECCOMP_FILTER_FLAG_NEW_LISTENER` exactly when `notify` is set.
    pub flags: u32,
    /// Some rule asks for `SCMP_ACT_NOTIFY`: loading gives a listener, which must reach the agent
    /// at `listenerPath` before the container may run.
    pub notify: bool,
}

/// A system call of this machine that the runtime still makes under a filter, with the arguments
/// that are known beforehand.
#[derive(Debug, Clone, Copy)]
pub struct Call {
    /// `SYS_*`
    pub number: libc::c_long,
    /// `None`: anything.
    pub args: [Option<u64>; 6],
}

impl Call {
    /// A call with any arguments.
    pub fn any(number: libc::c_long) -> Call {
        Call { number, args: [None; 6] }
    }

    /// A call whose first arguments are known.
    pub fn with<const N: usize>(number: libc::c_long, first: [u64; N]) -> Call {
        let mut call = Call::any(number);
        call.args.iter_mut().zip(first).for_each(|(arg, value)| *arg = Some(value));
        call
    }
}

impl Filter {
    /// Whether every one of `calls` is carried out by the kernel under this filter, whatever their
    /// unknown arguments are.
    pub fn permits(&self, calls: &[Call]) -> bool {
        let arch = libseccomp::ScmpArch::native();
        let Some(arch) = names::audit_arch(arch) else { return false };
        calls.iter().all(|call| {
            let data = interpret::Data::with(arch, call.number as u32, call.args);
            matches!(
                interpret::run(&self.program, &data),
                Some(libc::SECCOMP_RET_ALLOW | libc::SECCOMP_RET_LOG)
            )
        })
    }
}

/// Compiles a profile for this machine and this kernel.
///
/// Needs nothing but libseccomp, two questions to the kernel at most for each action and flag that
/// is not in every kernel, and a memfd. System call names that libseccomp does not know are left out
/// of the filter, as runc does (the default action then holds for them); they are told in one line
/// added to `warnings`.
///
/// Errors name the field of the profile: an architecture that this libseccomp does not know, an
/// action or flag that this kernel does not know, and every rule of config-linux.md#seccomp.
pub fn compile(profile: &LinuxSeccomp, warnings: &mut Vec<String>) -> Result<Filter> {
    let checked = check::check(profile)?;
    build::build(profile, &checked, warnings)
}
