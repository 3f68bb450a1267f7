//! What the library reports while it works. It prints nothing itself: messages go to the logger
//! that the program has installed for the `log` crate, and without one nowhere.

use std::fmt::Display;
use std::sync::OnceLock;

/// The target of every message.
const TARGET: &str = env!("CARGO_PKG_NAME");

type Sink = Box<dyn Fn(&str) + Send + Sync>;

/// Where the warnings of a worker go: a worker has a copy of the program's logger, but not the
/// descriptors that the logger writes to.
static REDIRECTION: OnceLock<Sink> = OnceLock::new();

/// Passes warnings of this process to `to` from now on, and drops other messages. The first call
/// counts.
pub(crate) fn redirect(to: impl Fn(&str) + Send + Sync + 'static) {
    let _ = REDIRECTION.set(Box::new(to));
}

/// Reports something unexpected that stops nothing.
pub fn warn(message: impl Display) {
    if let Some(to) = REDIRECTION.get() {
        return to(&message.to_string());
    }
    ::log::warn!(target: TARGET, "{message}");
}

/// Reports a step. The message is formatted only if a logger wants it.
pub fn debug(message: impl Display) {
    if REDIRECTION.get().is_some() {
        return;
    }
    ::log::debug!(target: TARGET, "{message}");
}
