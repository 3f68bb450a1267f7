//! The parent's side of the processes that the runtime clones: a container's init ([`create`]) and
//! the processes that join a container ([`exec`]).
//!
//! # Contract
//!
//! [`create::create`] and [`exec::exec`], and the methods of [`create::Created`], need a calling
//! process that has **one thread**, as a command of the program has. A program with threads calls
//! them in a worker: a process that it cloned while it had one thread, or that such a process
//! clones. With [`Parent::OfCaller`] the container's processes become children of the worker's
//! parent.
//!
//! The reasons are:
//!
//! * A lock that another thread holds is never released in the cloned process (`sys::clone`).
//! * Some steps change a setting of the calling process until they return: its mount namespace,
//!   root directory and working directory, while the sources of a container with a user namespace
//!   are staged (`mount::sources`); the processors of the calling thread, while an exec with
//!   `process.execCPUAffinity.initial` clones (`exec::affinity`).

pub(crate) mod child;
pub mod create;
pub mod exec;
pub(crate) mod fifo;
mod handshake;
mod idmapped;
pub(crate) mod maps;
pub(crate) mod selfexe;

pub use self::child::{Parent, Running};
