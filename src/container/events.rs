//! `events`: the resource usage of a container, and its out-of-memory events.

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, poll};

use super::text::{self, not_running};
use crate::cgroup::{OomWatch, Record, Stats};
use crate::state::{Entry, State, Status};
use crate::sys::pidfd;
use crate::{Context, Result, log, resctrl};

/// An event of a container.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// The container ran out of memory.
    OutOfMemory,
    /// The resource usage of the container.
    Stats(Box<Stats>),
}

/// An iterator of the events of a container, which ends when the container stops.
#[derive(Debug)]
pub struct Events {
    name: String,
    init: OwnedFd,
    cgroup: Record,
    intel_rdt: Option<resctrl::Record>,
    oom: Option<OomWatch>,
    interval: Duration,
    next: Option<Instant>,
    ended: bool,
}

/// Returns the resource usage of the container.
pub fn stats(container: &Entry) -> Result<Stats> {
    let name = || name(container);
    let (_, state) = live(container).with_context(name)?;
    usage(&state.cgroup, state.intel_rdt.as_ref()).with_context(name)
}

/// Returns the resource usage of a container in these groups.
fn usage(cgroup: &Record, intel_rdt: Option<&resctrl::Record>) -> Result<Stats> {
    let mut stats = cgroup.stats()?;
    if let Some(groups) = intel_rdt {
        stats.intel_rdt = groups.checked()?.stats().context("linux.intelRdt")?;
    }
    Ok(stats)
}

/// Returns init and the state of a live container.
pub(super) fn live(container: &Entry) -> Result<(OwnedFd, &State)> {
    let init = match container.status()? {
        Status::Created | Status::Running | Status::Paused => container.pidfd()?,
        Status::Creating | Status::Stopped => None,
    };
    let (Some(init), Some(state)) = (init, container.state()) else { return Err(not_running()) };
    state.cgroup.must_exist()?;
    Ok((init, state))
}

fn name(container: &Entry) -> String {
    format!("events of {}", text::name(container.id()))
}

impl Events {
    /// Starts to watch a live container.
    pub(crate) fn open(container: &Entry, interval: Duration) -> Result<Events> {
        let name = name(container);
        let (init, state) = live(container).with_context(|| name.as_str())?;
        let (cgroup, intel_rdt) = (state.cgroup.clone(), state.intel_rdt.clone());
        let oom = cgroup.watch_oom().with_context(|| name.as_str())?;
        if oom.is_none() {
            log::warn("no memory controller counts this container, so there will be no oom events");
        }
        let next = Instant::now().checked_add(interval);
        Ok(Events { name, init, cgroup, intel_rdt, oom, interval, next, ended: false })
    }

    fn wait(&mut self) -> Result<Option<Event>> {
        while !self.ended {
            let mut fds = vec![PollFd::new(self.init.as_fd(), PollFlags::POLLIN)];
            if let Some(oom) = &self.oom {
                let (fd, flags) = oom.poll();
                fds.push(PollFd::new(fd, flags));
            }
            match poll(&mut fds, pidfd::poll_timeout(self.next)) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno).context("poll"),
            }
            let ready = |fd: Option<&PollFd<'_>>| fd.and_then(PollFd::any).unwrap_or(false);
            self.ended = ready(fds.first());
            let maybe_oom = self.ended || ready(fds.get(1));
            drop(fds);
            // First, because it may be the reason for the end.
            if let Some(oom) = self.oom.as_mut().filter(|_| maybe_oom)
                && oom.happened()?
            {
                return Ok(Some(Event::OutOfMemory));
            }
            if !self.ended && self.next.is_some_and(|next| Instant::now() >= next) {
                // A report whose time has passed is skipped.
                let after = |next: Instant| next.checked_add(self.interval);
                self.next = self.next.and_then(after).map(|next| next.max(Instant::now()));
                match usage(&self.cgroup, self.intel_rdt.as_ref()) {
                    Ok(stats) => return Ok(Some(Event::Stats(Box::new(stats)))),
                    // The container was stopped and deleted meanwhile.
                    Err(_) if pidfd::wait_exit(self.init.as_fd(), Duration::ZERO)? => {
                        self.ended = true;
                    }
                    Err(error) => log::warn(error),
                }
            }
        }
        Ok(None)
    }
}

/// Waits for the next event. The iterator ends after an error.
impl Iterator for Events {
    type Item = Result<Event>;

    fn next(&mut self) -> Option<Result<Event>> {
        let event = self.wait().with_context(|| self.name.clone());
        self.ended |= event.is_err();
        event.transpose()
    }
}
