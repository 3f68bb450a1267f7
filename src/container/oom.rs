//! A watch on the memory of a container, for a program with a loop of its own.

use std::os::fd::{AsFd, BorrowedFd};

use super::events::live;
use super::text::name;
use crate::cgroup;
use crate::state::Entry;
use crate::{Context, Result};

/// Watches a container for a lack of memory. [`AsFd`] returns the descriptor to wait for.
#[derive(Debug)]
pub struct OomWatch(cgroup::OomWatch);

impl OomWatch {
    pub(super) fn open(container: &Entry) -> Result<Option<OomWatch>> {
        let watch = live(container).and_then(|(_, state)| state.cgroup.watch_oom());
        let name = || format!("watch the memory of {}", name(container.id()));
        Ok(watch.with_context(name)?.map(OomWatch))
    }

    /// Returns the events to wait for with poll(2): POLLIN, or POLLPRI with cgroup v2, where the
    /// descriptor is always readable.
    pub fn events(&self) -> i16 {
        self.0.poll().1.bits()
    }

    /// Whether the container has run out of memory since the last call. Does not wait.
    pub fn happened(&mut self) -> Result<bool> {
        self.0.happened()
    }
}

impl AsFd for OomWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.poll().0
    }
}
