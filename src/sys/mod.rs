//! Thin wrappers of system calls that no library here has a safe wrapper for: the only unsafe
//! code of the project. One call a function, no policy.

pub mod bpf;
pub mod pidfd;
pub mod seccomp;
pub mod spawn;
pub mod term;
