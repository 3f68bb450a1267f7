//! Terminals and the foreground: a pseudo terminal for the container, its master handed to the
//! caller's socket or relayed to the caller's terminal, signals passed on, children reaped.
//!
//! * [`pty`], [`stdio`]: the container's side, used by init.
//! * [`socket`]: the master sent to another process.
//! * [`signals`], [`supervise`], `relay`, `caller`: the side of a `run` or `exec` that stays in
//!   the foreground while the container lives. One thread, one poll(2).

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
#[cfg(test)]
mod stand_in;
pub mod stdio;
mod streams;
pub mod supervise;
