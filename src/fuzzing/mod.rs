//! The fuzzers' targets: functions that take any bytes and panic if an invariant does not hold.
//!
//! The invariants of private code are in a module `fuzzing` beside it. fuzz/README.md describes how to
//! run the fuzzers; the unit test `replay` runs the targets on the seeds and on mutations of them.

mod input;
mod json;
mod plain;
#[cfg(test)]
mod replay;

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

pub use crate::cgroup::device_fuzzing::devices;
pub use crate::cgroup::fuzzing::cgroup;
pub use crate::cli::fuzzing::args;
pub use crate::config::fuzzing::{config, mounts};
pub use crate::fs::fuzzing::paths;
pub use crate::seccomp::fuzzing::seccomp;
pub use crate::state::fuzzing::state;
pub use crate::systemd::fuzzing::{dbus, gvariant};
pub use input::Input;
pub use json::edit;
pub use plain::{escape, protocol, words};

static REACHED: AtomicU32 = AtomicU32::new(0);

/// Counts the inputs that were accepted and whose result was checked.
pub fn reached() {
    REACHED.fetch_add(1, Relaxed);
}

/// Checks that the text of an error or a warning is one line without characters that control a
/// terminal or change the order of the text.
pub fn assert_one_line(text: &str) {
    let bad = |c: char| {
        c.is_control()
            || matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
            || matches!(c, '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{e0001}' | '\u{e0020}'..='\u{e007f}')
    };
    assert!(!text.is_empty() && !text.contains(bad), "{text:?}");
}
