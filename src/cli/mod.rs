//! (being written)

pub mod features;
pub mod spec;
