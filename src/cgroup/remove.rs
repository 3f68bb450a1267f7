//! Removes the cgroup of a container.

use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use rustix::fs::CWD;

use crate::sys::to_nix;
use crate::{Context, Result, log};

use super::files::{self, DIRECTORY, Sys};
use super::layout::Dir;
use super::record::Record;
use super::walk;

/// How long a cgroup may take to become empty after its last process was killed.
const EMPTY_WITHIN: Duration = Duration::from_secs(5);

impl Record {
    /// Removes what this runtime created, if it has no processes. Returns whether it was removed.
    /// This is the usual end of a container with a pid namespace of its own, and needs no signal
    /// and no wait.
    pub fn remove_if_empty(&self) -> Result<bool> {
        let dirs = self.checked()?;
        if !self.may_remove()? {
            return Ok(true);
        }
        for dir in dirs.iter().filter(|dir| dir.made) {
            match rmdir(&dir.path) {
                Err(Errno::EBUSY) => return Ok(false),
                removed => removed.with_context(|| format!("rmdir {}", dir.path.display()))?,
            }
        }
        self.stop_unit();
        self.release();
        Ok(true)
    }

    /// Stops the unit. A scope without processes ends by itself, unless it has failed: a container
    /// can be deleted even if systemd does not answer.
    fn stop_unit(&self) {
        if let Some(unit) = self.unit.as_ref().filter(|_| !self.unit_is_planned) {
            unit.stop().unwrap_or_else(log::warn);
        }
    }

    /// Removes what this runtime created: the container's directories and all below them. To be
    /// called when the processes are dead; waits for the kernel to notice. Directories that another
    /// container uses stay. Can be repeated.
    pub fn remove(&self) -> Result<()> {
        self.checked()?;
        if !self.may_remove()? {
            return Ok(());
        }
        // Try all of them and report the first failure.
        let mut result = Ok(());
        let end = Instant::now() + EMPTY_WITHIN;
        for dir in self.checked()?.iter().filter(|dir| dir.made) {
            let removed = remove(dir, end).with_context(|| format!("rmdir {}", dir.path.display()));
            result = result.and(removed);
        }
        self.release();
        match result {
            // systemd would kill the remaining processes of the unit, whether or not they are the
            // container's.
            Ok(()) => {
                self.stop_unit();
                Ok(())
            }
            Err(error) if error.errno() == Some(Errno::EBUSY) => match self.pids()?.as_slice() {
                [] => Err(error),
                pids => Err(self.unproven(pids)),
            },
            other => other,
        }
    }

    /// Undoes a failed create: like [`Record::remove`], but also removes the parent directories
    /// that were created, unless others use them. (Those of a complete container are left to the
    /// engine, which may have set limits in them.) Can be repeated.
    pub fn abandon(&self) -> Result<()> {
        if let Some(unit) = self.unit.as_ref().filter(|_| self.unit_is_planned) {
            unit.abandon()?;
        }
        let mut result = self.remove();
        for dir in self.checked()? {
            let above = dir.path.ancestors().skip(1).take(dir.above);
            for path in above.take_while(|path| *path != dir.root) {
                match rmdir(path) {
                    Ok(()) => {}
                    Err(Errno::EBUSY | Errno::ENOTEMPTY) => break,
                    failed => {
                        let failed = failed.with_context(|| format!("rmdir {}", path.display()));
                        result = result.and(failed);
                        break;
                    }
                }
            }
        }
        result
    }
}

fn remove(dir: &Dir, end: Instant) -> Sys<()> {
    let mut pause = Duration::from_millis(1);
    loop {
        match rmdir(&dir.path) {
            Err(Errno::EBUSY) => {}
            removed => return removed,
        }
        let fd = match files::open(CWD, &dir.path, DIRECTORY) {
            Err(Errno::ENOENT) => return Ok(()),
            other => other?,
        };
        if dir.is_unified() {
            let left = end.saturating_duration_since(Instant::now());
            if !files::wait_event(fd.as_fd(), "populated 0", left)? {
                return Err(Errno::EBUSY);
            }
        }
        match walk::remove_below(fd).and_then(|()| rmdir(&dir.path)) {
            Err(Errno::EBUSY) if Instant::now() < end => {}
            removed => return removed,
        }
        // v1 has no event to wait for.
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

/// Removes a directory, if it exists.
fn rmdir(path: &Path) -> Sys<()> {
    match rustix::fs::rmdir(path) {
        Err(rustix::io::Errno::NOENT) => Ok(()),
        removed => removed.map_err(to_nix),
    }
}
