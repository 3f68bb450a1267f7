//! Containers and their processes, as the shim knows them.

pub mod container;
pub mod process;
pub mod record;
pub mod rootfs;
