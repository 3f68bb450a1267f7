//! A compiled filter, and its effect on the system calls that the runtime makes under it.

use super::{interpret, names};

/// A compiled profile, for [`crate::sys::seccomp::load`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// An array of `struct sock_filter` in the byte order of this machine.
    pub program: Vec<u8>,
    /// `SECCOMP_FILTER_FLAG_*`; includes `SECCOMP_FILTER_FLAG_NEW_LISTENER` if and only if `notify`
    /// is set.
    pub flags: u32,
    /// Whether a rule has the action `SCMP_ACT_NOTIFY`: loading then returns a listener, which must
    /// reach the agent at `listenerPath` before the container runs.
    pub notify: bool,
}

/// A system call of the native architecture that the runtime makes under a filter, with the
/// arguments that are known in advance.
#[derive(Debug, Clone, Copy)]
pub struct Call {
    /// `SYS_*`
    pub number: libc::c_long,
    /// The arguments; `None` means unknown.
    pub args: [Option<u64>; 6],
}

impl Call {
    /// Returns a call with unknown arguments.
    pub fn any(number: libc::c_long) -> Call {
        Call { number, args: [None; 6] }
    }

    /// Returns a call whose first arguments are known.
    pub fn with<const N: usize>(number: libc::c_long, first: [u64; N]) -> Call {
        let mut call = Call::any(number);
        call.args.iter_mut().zip(first).for_each(|(arg, value)| *arg = Some(value));
        call
    }
}

impl Filter {
    /// Whether the filter allows each of `calls`, whatever the unknown arguments are.
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
