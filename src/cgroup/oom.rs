//! Notifications of the kernel that a container has run out of memory.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use nix::errno::Errno;
use nix::poll::PollFlags;
use nix::sys::eventfd::{EfdFlags, EventFd};
use rustix::fs::OFlags;

use crate::{Context, Result};

use super::files::{self, OpenDir, Sys};
use super::record::Record;

/// A watch on the memory of a container.
#[derive(Debug)]
pub enum OomWatch {
    /// v1: an eventfd(2) that the kernel adds to, and the directory.
    V1(EventFd, PathBuf),
    /// v2: memory.events, the directory, and the number of killed processes so far.
    V2(OwnedFd, PathBuf, u64),
}

impl Record {
    /// Starts to watch the container's memory; none if no controller counts it.
    pub fn watch_oom(&self) -> Result<Option<OomWatch>> {
        let dirs = self.checked()?;
        if let Some(dir) = dirs.iter().find(|dir| dir.has_controller("memory")) {
            let watch = || -> Result<EventFd> {
                let open = OpenDir::open(&dir.path)?;
                let control = files::open(&open.fd, "memory.oom_control", OFlags::RDONLY)?;
                let event = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
                let line = format!("{} {}", event.as_fd().as_raw_fd(), control.as_raw_fd());
                open.write("cgroup.event_control", &line)?;
                Ok(event)
            };
            let event = watch()
                .with_context(|| format!("watch {}/memory.oom_control", dir.path.display()))?;
            return Ok(Some(OomWatch::V1(event, dir.path.clone())));
        }
        let Some(dir) = self.unified() else { return Ok(None) };
        let open = OpenDir::open(&dir.path)?;
        let what = || format!("watch {}/memory.events", dir.path.display());
        let fd = match files::open(&open.fd, "memory.events", OFlags::RDONLY) {
            Err(Errno::ENOENT) => return Ok(None),
            other => other.with_context(what)?,
        };
        let before = kills(fd.as_fd()).with_context(what)?;
        Ok(Some(OomWatch::V2(fd, dir.path.clone(), before)))
    }
}

impl OomWatch {
    /// Returns the descriptor and the events for poll(2), to be awaited before
    /// [`OomWatch::happened`] is called.
    pub fn poll(&self) -> (BorrowedFd<'_>, PollFlags) {
        match self {
            OomWatch::V1(event, _) => (event.as_fd(), PollFlags::POLLIN),
            // kernfs reports the change of a file as POLLPRI.
            OomWatch::V2(fd, ..) => (fd.as_fd(), PollFlags::POLLPRI),
        }
    }

    /// Whether the container has run out of memory since the last call. Does not block.
    pub fn happened(&mut self) -> Result<bool> {
        match self {
            OomWatch::V1(event, dir) => match event.read() {
                // The kernel increments the counter also when the cgroup is removed.
                Ok(count) => Ok(count > 0 && dir.exists()),
                Err(Errno::EAGAIN | Errno::EINTR) => Ok(false),
                Err(errno) => Err(errno).context("read an eventfd"),
            },
            OomWatch::V2(fd, dir, before) => match kills(fd.as_fd()) {
                Ok(now) => {
                    let more = now > *before;
                    *before = now;
                    Ok(more)
                }
                // The cgroup was removed.
                Err(Errno::ENODEV) => Ok(false),
                Err(errno) => Err(errno).with_context(|| files::reading(dir, "memory.events")),
            },
        }
    }
}

/// Returns the number of processes that were killed because there was no memory left.
fn kills(events: BorrowedFd<'_>) -> Sys<u64> {
    let text = files::read_fd(events)?;
    let count = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
    Ok(count.and_then(|count| count.trim().parse().ok()).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroup::layout::{Dir, Mode};

    #[test]
    fn kills_are_counted_once() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("c");
        std::fs::create_dir(&path).unwrap();
        let events = path.join("memory.events");
        let dir = Dir {
            name: String::new(),
            options: Vec::new(),
            root: root.path().into(),
            path,
            made: false,
            above: 0,
        };
        let record = Record::new(Mode::Unified, vec![dir]);
        assert!(record.watch_oom().unwrap().is_none());
        std::fs::write(&events, "oom 9\noom_kill 2\noom_group_kill 7\n").unwrap();
        let mut watch = record.watch_oom().unwrap().unwrap();
        assert!(!watch.happened().unwrap());
        std::fs::write(&events, "oom 9\noom_kill 3\noom_group_kill 7\n").unwrap();
        assert!(watch.happened().unwrap());
        assert!(!watch.happened().unwrap());
    }
}
