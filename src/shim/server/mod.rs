//! The two sides of the shim's connections: containerd's requests, and events for containerd.

pub mod connection;
pub mod publisher;
