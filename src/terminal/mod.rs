//! Terminals and the foreground: creates a pseudo terminal for the container, sends its master to
//! the caller's socket or relays it to the caller's terminal, forwards signals, reaps children.
//!
//! * [`pty`], [`stdio`]: the container's side, used by init.
//! * [`socket`]: sends the master to another process.
//! * [`signals`], [`supervise`], `relay`, `caller`: a `run` or `exec` in the foreground while the
//!   container lives. One thread, one poll(2).

mod buffer;
mod caller;
#[cfg(test)]
mod caller_tests;
pub mod pty;
mod relay;
#[cfg(test)]
mod relay_tests;
pub mod signals;
pub mod socket;
pub mod stdio;
mod streams;
pub mod supervise;
#[cfg(test)]
mod test_support;
