//! The protocol ttrpc: frames with a header of 10 bytes that hold protobuf messages.

pub mod frame;
pub mod rpc;
