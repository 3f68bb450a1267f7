//! Thin wrappers of system calls that no library here has a safe wrapper for: the only unsafe
//! code of the project. One call a function, no policy.

pub mod bpf;
pub mod clone;
pub mod cred;
pub mod exec;
pub mod mount;
pub mod ns;
pub mod pidfd;
pub mod sched;
pub mod seccomp;
pub mod shared;
pub mod signal;
pub mod spawn;
pub mod term;
pub mod title;

use nix::errno::Errno;

/// Turns the C convention (-1 and errno) into a result.
fn check(result: libc::c_long) -> nix::Result<libc::c_long> {
    if result == -1 { Err(Errno::last()) } else { Ok(result) }
}
