//! Descriptors that init leaves open: one close_range(2) closes them all before the program runs.
//! To close each of them would be a sixth of the system calls of init.

use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// How many descriptors init leaves open until its end: there can be thousands of mounts.
const HELD: u32 = 200;

/// How many descriptors init leaves free below RLIMIT_NOFILE: more than any one of its steps has
/// open at a time.
const FREE: u64 = 32;

/// How many descriptors may still be left open; none in a process that is not init.
static LEFT: AtomicU32 = AtomicU32::new(0);

/// Lets [`close_later`] leave descriptors open. For init, which closes them with close_range(2).
pub(crate) fn allow() {
    LEFT.store(HELD, Ordering::Relaxed);
}

/// Closes a descriptor, in init with close_range(2) at its end if RLIMIT_NOFILE leaves room: the
/// kernel gives the lowest free number, so the number of a descriptor tells how many are open.
pub(crate) fn close_later(descriptor: OwnedFd) {
    static ROOM: OnceLock<u64> = OnceLock::new();
    let left = LEFT.load(Ordering::Relaxed);
    if left == 0 {
        return;
    }
    let room = *ROOM.get_or_init(|| {
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
        limit.current.map_or(u64::MAX, |limit| limit.saturating_sub(FREE))
    });
    if u64::try_from(descriptor.as_raw_fd()).is_ok_and(|number| number < room) {
        LEFT.store(left - 1, Ordering::Relaxed);
        std::mem::forget(descriptor);
    }
}
