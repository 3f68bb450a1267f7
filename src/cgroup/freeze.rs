//! Pausing: the freezer controller where the host has one, `cgroup.freeze` otherwise.
//!
//! On hosts with both, the v1 freezer is what engines and other runtimes look at.

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;

use crate::{Context, Error, Kind, Result};

use super::files;
use super::record::{Dir, Record};

/// How long a cgroup may take to freeze.
const FROZEN_WITHIN: Duration = Duration::from_secs(10);

impl Record {
    /// Is the container frozen? Never, if there is no freezer.
    pub fn frozen(&self) -> Result<bool> {
        let Some((dir, fd)) = self.freezer()? else { return Ok(false) };
        let (file, yes) = if dir.is_unified() {
            // Asked for and done: a cgroup that is still freezing is not frozen.
            ("cgroup.events", &["frozen 1"][..])
        } else {
            ("freezer.state", &["FROZEN"][..])
        };
        match files::read(fd.as_fd(), file) {
            Ok(text) => Ok(yes.iter().any(|line| files::has_line(&text, line))),
            Err(Errno::ENODEV | Errno::ENOENT) => Ok(false),
            Err(errno) => Err(files::read_error(&dir.path, file, errno)),
        }
    }

    /// Stops all processes, and returns when all have stopped. If one does not, all go on.
    pub fn freeze(&self) -> Result<()> {
        let (dir, fd) = self.freezer()?.ok_or_else(no_freezer)?;
        let done = if dir.is_unified() { freeze_v2(dir, &fd) } else { freeze_v1(dir, &fd) };
        match done {
            Ok(true) => Ok(()),
            other => {
                // Half frozen is worse than not at all.
                let _ = thaw(dir, &fd);
                other?;
                let why = format!("not frozen within {} seconds", FROZEN_WITHIN.as_secs());
                Err(Error::new(Kind::System, why)
                    .context(format!("freeze cgroup {}", dir.path.display())))
            }
        }
    }

    /// Lets all processes go on.
    pub fn thaw(&self) -> Result<()> {
        let (dir, fd) = self.freezer()?.ok_or_else(no_freezer)?;
        thaw(dir, &fd)
    }

    /// The directory that freezes; none if the cgroup is gone or the host cannot freeze.
    pub(super) fn freezer(&self) -> Result<Option<(&Dir, OwnedFd)>> {
        let dirs = self.checked()?;
        let freezer = dirs.iter().find(|dir| dir.has_controller("freezer"));
        let Some(dir) = freezer.or_else(|| dirs.iter().find(|dir| dir.is_unified())) else {
            return Ok(None);
        };
        match files::open_dir(&dir.path) {
            Ok(fd) => Ok(Some((dir, fd))),
            Err(Errno::ENOENT) => Ok(None),
            Err(errno) => Err(errno).with_context(|| format!("open cgroup {}", dir.path.display())),
        }
    }
}

fn no_freezer() -> Error {
    Error::new(Kind::State, "the container has no cgroup that can be frozen")
}

fn set(dir: &Dir, fd: &OwnedFd, file: &str, value: &str) -> Result<()> {
    files::write(fd.as_fd(), file, value)
        .map_err(|errno| files::write_error(&dir.path, file, value, errno))
}

pub(super) fn thaw(dir: &Dir, fd: &OwnedFd) -> Result<()> {
    if dir.is_unified() {
        set(dir, fd, "cgroup.freeze", "0")
    } else {
        set(dir, fd, "freezer.state", "THAWED")
    }
}

fn freeze_v2(dir: &Dir, fd: &OwnedFd) -> Result<bool> {
    set(dir, fd, "cgroup.freeze", "1")?;
    files::wait_event(fd.as_fd(), "frozen 1", FROZEN_WITHIN)
        .map_err(|errno| files::read_error(&dir.path, "cgroup.events", errno))
}

/// v1 tells of no event, and can stay half-way: a process that was forked meanwhile, or that
/// waits for one that is frozen already, is missed. Asking again catches the first, letting all
/// run for a moment the second.
fn freeze_v1(dir: &Dir, fd: &OwnedFd) -> Result<bool> {
    let end = Instant::now() + FROZEN_WITHIN;
    let mut pause = Duration::from_micros(50);
    for attempt in 1u32.. {
        set(dir, fd, "freezer.state", "FROZEN")?;
        let state = files::read(fd.as_fd(), "freezer.state")
            .map_err(|errno| files::read_error(&dir.path, "freezer.state", errno))?;
        if state.trim() == "FROZEN" {
            return Ok(true);
        }
        if Instant::now() >= end {
            break;
        }
        if attempt.is_multiple_of(32) {
            set(dir, fd, "freezer.state", "THAWED")?;
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(10));
    }
    Ok(false)
}
