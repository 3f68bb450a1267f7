//! What the library reports while it works. It prints nothing itself: messages go to the logger
//! that the program has installed for the `log` crate, and without one nowhere.

use std::fmt::Display;

/// The target of every message.
const TARGET: &str = env!("CARGO_PKG_NAME");

/// Reports something unexpected that stops nothing.
pub fn warn(message: impl Display) {
    ::log::warn!(target: TARGET, "{message}");
}

/// Reports a step. The message is formatted only if a logger wants it.
pub fn debug(message: impl Display) {
    ::log::debug!(target: TARGET, "{message}");
}
