//! Signals to all processes of a container.
//!
//! A process id can be reused before a signal is sent. So a process is first pinned by a pidfd,
//! then its id is looked up in the cgroup again: a signalled process was in the cgroup after it was
//! pinned.

use std::collections::BTreeSet;
use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::sys::pidfd::send_signal;
use crate::{Context, Result};

use super::files::{self, OpenDir};
use super::identity::Owner;
use super::record::Record;

/// The number of processes that are pinned at a time; each takes a descriptor.
const PINNED: usize = 128;

/// How often the processes are listed, to catch those that are forked meanwhile.
const PASSES: usize = 64;

impl Record {
    /// Sends signal number `signal`, which may be a real-time signal, to every process once. Does
    /// nothing if another container has taken the cgroup over.
    pub fn signal_all(&self, signal: i32) -> Result<()> {
        self.checked()?;
        if !self.may_signal()? {
            return Ok(());
        }
        self.signal(&self.pids()?, signal)
    }

    /// Sends SIGKILL to every process, frozen or not. Returns when no process can escape, which is
    /// before the last process is gone. Does nothing if another container has taken the cgroup over;
    /// an error if the record does not show whose the processes are.
    pub fn kill_all(&self) -> Result<()> {
        self.checked()?;
        if self.may_signal()? { self.kill_members() } else { Ok(()) }
    }

    /// Kills the processes of a container whose record does not identify the cgroup, because it is
    /// being created or its state is lost. Does nothing if another container has taken the cgroup
    /// over.
    pub fn kill_unfinished(&self) -> Result<()> {
        self.checked()?;
        if self.owner()? == Owner::Taken { Ok(()) } else { self.kill_members() }
    }

    fn kill_members(&self) -> Result<()> {
        let dirs = self.checked()?;
        let mut killed = false;
        for dir in dirs.iter().filter(|dir| dir.is_unified()) {
            let written = OpenDir::open(&dir.path).and_then(|open| {
                // Check the descriptor, not the path, because the descriptor is written to.
                match self.is_recorded(open.fd.as_fd())? {
                    true => open.write("cgroup.kill", "1").map(|()| true),
                    false => Ok(false),
                }
            });
            match written {
                // Linux 5.14. The kernel handles sub-cgroups, concurrent forks and frozen
                // processes.
                Ok(written) => killed |= written,
                // An older kernel, a removed directory, or a threaded cgroup.
                Err(error) if files::is_gone(&error) => {}
                Err(error) if error.errno() == Some(Errno::EOPNOTSUPP) => {}
                Err(error) => return Err(error),
            }
        }
        if killed && dirs.len() == 1 {
            return Ok(());
        }
        let killed = self.kill_each();
        // Always thaw: the container may have been paused, and on v1 a frozen process does not die.
        match self.thaw_tree() {
            // The cgroup is gone: nothing is frozen.
            Err(error) if files::is_gone(&error) => killed,
            thawed => killed.and(thawed),
        }
    }

    fn kill_each(&self) -> Result<()> {
        // v1: a frozen process cannot fork, and dies when thawed.
        let mut frozen = false;
        let mut known = BTreeSet::new();
        for pass in 0..PASSES {
            // Only those that have had no signal yet: a dying process stays listed for a while.
            let new: Vec<i32> = self.pids()?.into_iter().filter(|pid| known.insert(*pid)).collect();
            if new.is_empty() {
                break;
            }
            if pass > 0 && !frozen {
                // The processes fork. If they cannot be frozen, only the passes catch their
                // children.
                frozen = self.freeze().is_ok();
                if frozen {
                    // From here on the list is complete, and an id in it may have been reused.
                    known.clear();
                }
            }
            self.signal(&new, libc::SIGKILL)?;
        }
        Ok(())
    }

    /// Signals those of `pids` that are still in the cgroup.
    fn signal(&self, pids: &[i32], signal: i32) -> Result<()> {
        for chunk in pids.chunks(PINNED) {
            let pinned = chunk
                .iter()
                .filter_map(|pid| Some((*pid, pin(*pid)?)))
                .map(|(pid, fd)| Ok((pid, fd?)))
                .collect::<Result<Vec<(i32, OwnedFd)>>>()?;
            // Empty if another container has taken the cgroup over since.
            let members: BTreeSet<i32> = self.pids()?.into_iter().collect();
            for (pid, fd) in pinned {
                if !members.contains(&pid) {
                    continue;
                }
                match send_signal(fd.as_fd(), signal) {
                    Err(Errno::ESRCH) => {}
                    sent => {
                        sent.with_context(|| format!("send signal {signal} to process {pid}"))?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// Opens a process; `None` if it is gone.
fn pin(pid: i32) -> Option<Result<OwnedFd>> {
    match pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()) {
        Ok(fd) => Some(Ok(fd)),
        // EINVAL: the thread no longer leads its process, which is as good as gone.
        Err(rustix::io::Errno::SRCH | rustix::io::Errno::INVAL) => None,
        Err(error) => Some(Err(error).with_context(|| format!("open process {pid}"))),
    }
}
