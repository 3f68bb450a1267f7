//! The commands that containerd calls, besides the server itself.

pub mod address;
pub mod args;
pub mod delete;
pub mod info;
pub mod sha256;
pub mod start;
