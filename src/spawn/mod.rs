//! The runtime's side of every process that it makes: init ([`create`]) and those that join a
//! container ([`exec`]).

pub mod create;
pub mod exec;
pub mod fifo;
pub(crate) mod handshake;
pub(crate) mod maps;
mod owner;
pub(crate) mod record;
pub mod selfexe;
