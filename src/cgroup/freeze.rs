//! Pausing a container, with the freezer controller where the host has it, else with
//! `cgroup.freeze`.
//!
//! On hosts with both, engines and other runtimes look at the v1 freezer.

use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::errno::Errno;

use crate::{Context, Error, Kind, Result};

use super::files::{self, OpenDir};
use super::identity::Owner;
use super::layout::Dir;
use super::record::Record;
use super::walk;

/// How long a cgroup may take to freeze.
const FROZEN_WITHIN: Duration = Duration::from_secs(10);

impl Record {
    /// Whether the container is frozen. False if there is no freezer.
    pub fn frozen(&self) -> Result<bool> {
        let Some(dir) = self.freezer_dir()? else { return Ok(false) };
        let (file, yes) = match dir.is_unified() {
            // The completed state: a cgroup that is still freezing is not frozen.
            true => ("cgroup.events", "frozen 1"),
            false => ("freezer.state", "FROZEN"),
        };
        match files::read_in(&dir.path, file) {
            // The state of a cgroup that another container has taken over does not apply to this
            // container.
            Ok(text) => Ok(files::has_line(&text, yes) && self.owner()? != Owner::Taken),
            Err(error) if files::is_gone(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Freezes all processes, and waits until all are frozen. If a process cannot be frozen, all
    /// continue.
    pub fn freeze(&self) -> Result<()> {
        self.must_be_ours()?;
        self.must_exist()?;
        let (dir, open) = self.freezer()?.ok_or_else(no_freezer)?;
        let done = if dir.is_unified() { freeze_v2(&open) } else { freeze_v1(&open) };
        match done {
            Ok(true) => Ok(()),
            other => {
                // A half-frozen container is worse than a running one.
                let _ = thaw(dir, &open);
                other?;
                let why = format!("not frozen within {} seconds", FROZEN_WITHIN.as_secs());
                Err(Error::new(Kind::System, why)
                    .context(format!("freeze cgroup {}", dir.path.display())))
            }
        }
    }

    /// Lets all processes continue.
    pub fn thaw(&self) -> Result<()> {
        self.must_be_ours()?;
        let (dir, open) = self.freezer()?.ok_or_else(no_freezer)?;
        thaw(dir, &open)
    }

    /// Thaws the cgroup so that killed processes die: on v1 the processes of a frozen cgroup do not
    /// die, neither in the container's cgroup nor in a cgroup below that the container has frozen.
    /// Does nothing to the cgroup of another container.
    pub fn thaw_to_die(&self) -> Result<()> {
        let Some((dir, open)) = self.freezer()? else { return Ok(()) };
        let stopped = match dir.is_unified() {
            true => self.frozen()?,
            false => {
                let state = open.read("freezer.state");
                has_children(&open.fd) || state.is_ok_and(|state| state.trim() != "THAWED")
            }
        };
        match stopped && self.owner()? != Owner::Taken {
            true => self.thaw_tree(),
            false => Ok(()),
        }
    }

    /// Lets all processes continue, including those in sub-cgroups that the container itself has
    /// frozen. Does nothing if there is no freezer.
    pub(super) fn thaw_tree(&self) -> Result<()> {
        let Some((dir, open)) = self.freezer()? else { return Ok(()) };
        // On v2 frozen processes die, in whatever cgroup.
        thaw(dir, &open)?;
        if dir.is_unified() || !has_children(&open.fd) {
            return Ok(());
        }
        walk::walk(open.fd, |below| files::write(below, "freezer.state", "THAWED"))
            .with_context(|| files::writing(&dir.path, "*/freezer.state", "THAWED"))
    }

    /// Calls `work` while all processes are frozen, if there is a freezer.
    pub(super) fn while_frozen(&self, work: impl FnOnce() -> Result<()>) -> Result<()> {
        if self.freezer()?.is_none() || self.frozen()? {
            return work();
        }
        self.freeze()?;
        let done = work();
        self.thaw().and(done)
    }

    /// Checks that no other container has taken the cgroup over.
    fn must_be_ours(&self) -> Result<()> {
        self.checked()?;
        if self.owner()? == Owner::Taken {
            let why = "the container's cgroup is used by another container now";
            return Err(Error::new(Kind::State, why));
        }
        Ok(())
    }

    /// Returns the path of the directory with the freezer that [`Record::freeze`] uses.
    pub fn freezer_path(&self) -> Result<Option<PathBuf>> {
        Ok(self.freezer()?.map(|(dir, _)| dir.path.clone()))
    }

    /// Returns the directory with the freezer; none if the cgroup is gone or the host has no
    /// freezer.
    fn freezer(&self) -> Result<Option<(&Dir, OpenDir<'_>)>> {
        let Some(dir) = self.freezer_dir()? else { return Ok(None) };
        match OpenDir::open(&dir.path) {
            Err(error) if error.errno() == Some(Errno::ENOENT) => Ok(None),
            open => Ok(Some((dir, open?))),
        }
    }

    /// Returns the recorded directory with the freezer; none if the host has no freezer.
    fn freezer_dir(&self) -> Result<Option<&Dir>> {
        let dirs = self.checked()?;
        let freezer = dirs.iter().find(|dir| dir.has_controller("freezer"));
        Ok(freezer.or_else(|| dirs.iter().find(|dir| dir.is_unified())))
    }
}

fn no_freezer() -> Error {
    Error::new(Kind::State, "the container has no cgroup that can be frozen")
}

/// Whether there are cgroups below, by the number of links. True if that is unknown.
fn has_children(dir: &OwnedFd) -> bool {
    rustix::fs::fstat(dir).map_or(true, |stat| stat.st_nlink > 2)
}

fn thaw(dir: &Dir, open: &OpenDir<'_>) -> Result<()> {
    match dir.is_unified() {
        true => open.write("cgroup.freeze", "0"),
        false => open.write("freezer.state", "THAWED"),
    }
}

fn freeze_v2(open: &OpenDir<'_>) -> Result<bool> {
    open.write("cgroup.freeze", "1")?;
    files::wait_event(open.fd.as_fd(), "frozen 1", FROZEN_WITHIN)
        .with_context(|| files::reading(open.path, "cgroup.events"))
}

/// Freezes on v1, which has no event to wait for, and can stop half-way: it misses a process that
/// is forked meanwhile, or that waits for a frozen process. Repeating the request catches the first
/// kind, a short thaw the second.
fn freeze_v1(open: &OpenDir<'_>) -> Result<bool> {
    let end = Instant::now() + FROZEN_WITHIN;
    let mut pause = Duration::from_micros(50);
    for attempt in 1u32.. {
        open.write("freezer.state", "FROZEN")?;
        if open.read("freezer.state")?.trim() == "FROZEN" {
            return Ok(true);
        }
        if Instant::now() >= end {
            break;
        }
        if attempt.is_multiple_of(32) {
            open.write("freezer.state", "THAWED")?;
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(10));
    }
    Ok(false)
}
