//! (being written)

pub mod options;
