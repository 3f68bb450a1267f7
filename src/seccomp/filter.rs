//! A compiled filter, and its effect on the system calls that the runtime makes under it.

use libseccomp::{ScmpArch, ScmpSyscall};

use super::names;

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
        let Some(arch) = names::audit_arch(ScmpArch::native()) else { return false };
        calls.iter().all(|call| {
            let action = run(&self.program, arch, call);
            matches!(action, Some(libc::SECCOMP_RET_ALLOW | libc::SECCOMP_RET_LOG))
        })
    }
}

impl Filter {
    /// Whether the filter allows the system call of that name in the native architecture, with these
    /// first arguments and whatever the others are. A call that the architecture does not have is
    /// not allowed.
    #[cfg(test)]
    pub fn permits_named(&self, name: &str, first: &[u64]) -> bool {
        named(name, first).is_some_and(|call| self.permits(&[call]))
    }

    /// Whether the filter allows the system call of that name in the native architecture with these
    /// first arguments and some others. A call that the architecture does not have is not allowed.
    pub fn may_permit_named(&self, name: &str, first: &[u64]) -> bool {
        let Some(arch) = names::audit_arch(ScmpArch::native()) else { return false };
        let allowed = |action| matches!(action, libc::SECCOMP_RET_ALLOW | libc::SECCOMP_RET_LOG);
        // The action depends on an argument that is not given: a profile names it for some value.
        named(name, first).is_some_and(|call| run(&self.program, arch, &call).is_none_or(allowed))
    }
}

/// Returns the call of that name with these first arguments.
fn named(name: &str, first: &[u64]) -> Option<Call> {
    let number = i32::from(ScmpSyscall::from_name(name).ok()?);
    let mut call = Call::any(number.into());
    call.args.iter_mut().zip(first).for_each(|(arg, value)| *arg = Some(*value));
    (number >= 0).then_some(call)
}

/// Returns the `SECCOMP_RET_*` value of `program` for `call` of the architecture `arch`
/// (`AUDIT_ARCH_*`), without loading the program. `None` if the value depends on unknown parts, or
/// if the kernel would not load the program.
pub(super) fn run(program: &[u8], arch: u32, call: &Call) -> Option<u32> {
    // `struct seccomp_data`; the instruction pointer is unknown.
    let mut words = [None; 16];
    words[0] = Some(call.number as u32);
    words[1] = Some(arch);
    for (i, arg) in call.args.into_iter().enumerate() {
        let (low, high) = (arg.map(|arg| arg as u32), arg.map(|arg| (arg >> 32) as u32));
        let pair = if cfg!(target_endian = "little") { [low, high] } else { [high, low] };
        words[4 + 2 * i..6 + 2 * i].copy_from_slice(&pair);
    }
    let (mut at, mut a) = (0usize, 0u32);
    loop {
        let i = program.get(at.checked_mul(8)?..)?.first_chunk::<8>()?;
        let code = u32::from(u16::from_ne_bytes([i[0], i[1]]));
        let k = u32::from_ne_bytes([i[4], i[5], i[6], i[7]]);
        let branch = |hit: bool| usize::from(if hit { i[2] } else { i[3] });
        // Jumps go only forward, so the loop ends.
        at += 1;
        match (code & 0x07, code & 0xf8) {
            (libc::BPF_LD, mode) if mode == libc::BPF_W | libc::BPF_ABS => {
                a = (*words.get(k as usize / 4)?)?;
            }
            (libc::BPF_ALU, op) if op == libc::BPF_AND | libc::BPF_K => a &= k,
            (libc::BPF_JMP, op) => {
                at += match op & 0xf0 {
                    libc::BPF_JA => k as usize,
                    libc::BPF_JEQ => branch(a == k),
                    libc::BPF_JGT => branch(a > k),
                    libc::BPF_JGE => branch(a >= k),
                    _ => return None,
                }
            }
            (libc::BPF_RET, _) => return Some(k),
            _ => return None,
        }
    }
}
