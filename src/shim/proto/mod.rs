//! The messages of containerd's APIs, with the fields that the shim uses. Unknown fields are ignored
//! when a message is decoded.

pub mod any;
pub mod events;
pub mod metrics_v1;
pub mod metrics_v2;
pub mod options;
pub mod task;
