//! The processes that the runtime clones for a container.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use rustix::fs::{CWD, Mode};
use rustix::io::retry_on_intr;
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, WaitIdStatus, kill_process, pidfd_open, waitid,
};

use crate::sd_notify;
use crate::state::stat;
use crate::sys::clone::{Child, clone3};
use crate::sys::{fdpass, pidfd};
use crate::terminal::socket;
use crate::{Context, Error, Kind, Result, fs};

/// The parent of a container's processes, which reaps them.
#[derive(Clone, Copy, Default)]
pub enum Parent<'a> {
    #[default]
    Caller,
    /// The parent of the calling process (clone(2), `CLONE_PARENT`).
    ///
    /// Only the parent can reap its children. The function receives the pidfd of each process that
    /// has ended before the verb returns and that the parent has to reap: a go-between, or the
    /// process of a verb that failed. The parent must reap no other process of the container before
    /// the verb returns.
    ///
    /// The end of the caller does not signal the container's process; the process reads the end of
    /// file from its socket at the next message that it waits for, and exits.
    OfCaller(&'a dyn Fn(OwnedFd)),
}

#[derive(Debug)]
pub struct Running {
    pub child: Child,
    /// The master of its terminal, in the foreground.
    pub master: Option<OwnedFd>,
    /// The readiness messages of the program, to be passed on.
    pub notify: Option<sd_notify::Proxy>,
}

impl Parent<'_> {
    /// Clones a process of the container; see [`clone3`], whose caller must have one thread.
    pub(crate) fn clone(
        &self,
        flags: i32,
        cgroup: Option<BorrowedFd<'_>>,
        child: impl FnOnce() -> i32,
    ) -> nix::Result<Child> {
        let parent = match self {
            Parent::Caller => 0,
            Parent::OfCaller(_) => libc::CLONE_PARENT,
        };
        clone3((flags | parent) as u64, cgroup, child)
    }

    /// Replaces the go-between `child` by process `pid`, which it has cloned, and reaps it.
    pub(super) fn replace(&self, child: &mut Child, pid: i32) -> Result<()> {
        let named = Pid::from_raw(pid)
            .ok_or_else(|| Error::new(Kind::System, "init has no process id here"))?;
        let pidfd = pidfd_open(named, PidfdFlags::empty())
            .with_context(|| format!("open the pidfd of process {pid}"))?;
        let new = Child { pid, pidfd };
        self.check_sibling(child, &new).with_context(|| {
            format!("look at process {pid}, which is to take the place of the go-between")
        })?;
        let go_between = std::mem::replace(child, new);
        self.reap(&go_between).context("wait for the go-between")
    }

    /// Fails unless `sibling` has the parent that a sibling of `go_between` has. A failed verb
    /// kills it, and its id may come from a neighbour that controls init.
    fn check_sibling(&self, go_between: &Child, sibling: &Child) -> Result<()> {
        let Parent::OfCaller(_) = self else {
            // The id of a child is not reused until the child is reaped.
            let running = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
            retry_on_intr(|| waitid(WaitId::PidFd(sibling.pidfd.as_fd()), running))?;
            return Ok(());
        };
        // The parent can have children of other containers, too, which are in other cgroups.
        let (new, own) = (stat(sibling.pid)?, stat(std::process::id() as i32)?);
        let cgroup = |child: &Child| fs::read_long_text(&format!("/proc/{}/cgroup", child.pid));
        if new.ppid != own.ppid
            || new.starttime < own.starttime
            || !same_cgroups(&cgroup(sibling)?, &cgroup(go_between)?)
        {
            return Err(Error::from(Errno::ECHILD));
        }
        // The process has not been reaped yet, so the id was its own all the time.
        Ok(pidfd::send_signal(sibling.pidfd.as_fd(), 0)?)
    }

    pub(crate) fn reap(&self, child: &Child) -> Result<()> {
        match self {
            Parent::Caller => {
                let ended = WaitId::PidFd(child.pidfd.as_fd());
                retry_on_intr(|| waitid(ended.clone(), WaitIdOptions::EXITED))?;
            }
            Parent::OfCaller(hand_over) => {
                wait_for_end(child)?;
                hand_over(child.pidfd.try_clone()?);
            }
        }
        Ok(())
    }

    /// Kills a process and reaps it. A process that has been reaped is no error.
    pub(crate) fn kill(&self, child: &Child) -> Result<()> {
        match pidfd::send_signal(child.pidfd.as_fd(), libc::SIGKILL) {
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(errno) => return Err(Error::from(errno)),
        }
        match self.reap(child) {
            Err(error) if error.errno() == Some(Errno::ECHILD) => Ok(()),
            answer => answer,
        }
    }

    /// Like [`Parent::kill`], for a process that has no pidfd: perhaps none can be opened. It must be a
    /// child of the parent that has not been reaped, so that the id is its own.
    pub(super) fn kill_by_id(&self, pid: Pid) -> Result<()> {
        match kill_process(pid, Signal::KILL) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => {}
            Err(errno) => return Err(Error::from(errno)),
        }
        if let Parent::OfCaller(_) = self {
            let pidfd = pidfd_open(pid, PidfdFlags::empty())?;
            return self.reap(&Child { pid: pid.as_raw_pid(), pidfd });
        }
        match retry_on_intr(|| waitid(WaitId::Pid(pid), WaitIdOptions::EXITED)) {
            Ok(_) | Err(rustix::io::Errno::CHILD) => Ok(()),
            Err(errno) => Err(Error::from(errno)),
        }
    }

    pub(super) fn signal_of(&self, child: &Child) -> Result<Option<i32>> {
        match self {
            Parent::Caller => {
                let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
                let ended = WaitId::PidFd(child.pidfd.as_fd());
                let status = retry_on_intr(|| waitid(ended.clone(), options))?;
                Ok(status.as_ref().and_then(WaitIdStatus::terminating_signal))
            }
            Parent::OfCaller(_) => {
                wait_for_end(child)?;
                let status = stat(child.pid)?.exit_code.unwrap_or(0);
                Ok(Some(libc::WTERMSIG(status)).filter(|signal| *signal != 0))
            }
        }
    }

    pub(super) fn death(&self, child: &Child, what: &'static str) -> Error {
        // The cause that cannot be read is left out: the process has ended in any case.
        let why = match self.signal_of(child).unwrap_or_default() {
            Some(libc::SIGKILL) => {
                "killed by SIGKILL (is the memory or pids limit too small for it to start?)"
                    .to_owned()
            }
            Some(libc::SIGSYS) => {
                "the seccomp filter killed it before it could execute the program".to_owned()
            }
            Some(signal) => format!("killed by signal {signal}"),
            None => "it exited without reporting an error".to_owned(),
        };
        Error::new(Kind::System, why).context(what)
    }
}

/// Writes the pid file atomically: a process that waits for the file must never read half a number.
/// No newline.
pub(crate) fn write_pid_file(path: &Path, pid: i32) -> Result<()> {
    let mode = Mode::from_raw_mode(0o666);
    fs::write_atomic(CWD, path, mode, pid.to_string().as_bytes())
        .with_context(|| format!("--pid-file: write {path:?}"))
}

/// Sends the pidfd and the id of a process to the socket `path`, which option `name` gives.
pub(super) fn send_pidfd(name: &str, path: &Path, child: &Child) -> Result<()> {
    let socket = socket::connect(name, path)?;
    let pid = child.pid.to_string();
    fdpass::send_with_fd(socket.as_fd(), pid.as_bytes(), Some(child.pidfd.as_fd()))
        .with_context(|| format!("{name}: send to {path:?}"))
}

/// Whether two processes are in the same cgroups, by their /proc/PID/cgroup. A process that has ended
/// keeps its v2 cgroup, but shows the root of every v1 hierarchy.
fn same_cgroups(one: &str, other: &str) -> bool {
    let is_ended = |line: &str| line.ends_with(":/") && !line.starts_with("0::");
    let is_same = |(a, b): (&str, &str)| a == b || is_ended(a) || is_ended(b);
    one.lines().count() == other.lines().count() && one.lines().zip(other.lines()).all(is_same)
}

/// Whether a process has ended, reaped or not.
pub(super) fn has_ended(child: &Child) -> Result<bool> {
    Ok(pidfd::wait_exit(child.pidfd.as_fd(), Duration::ZERO)?)
}

pub(super) fn wait_for_end(child: &Child) -> Result<()> {
    pidfd::wait_exit(child.pidfd.as_fd(), Duration::MAX)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(pid: u32) -> Child {
        let pid = pid as i32;
        let pidfd = pidfd_open(Pid::from_raw(pid).unwrap(), PidfdFlags::empty()).unwrap();
        Child { pid, pidfd }
    }

    #[test]
    fn no_process_but_a_child_takes_the_place_of_a_go_between() {
        let mut ended = std::process::Command::new("true").spawn().unwrap();
        let mut child = open(ended.id());
        let pid = child.pid;
        let parent = std::os::unix::process::parent_id() as i32;
        for kind in [Parent::Caller, Parent::OfCaller(&|_| ())] {
            let error = kind.replace(&mut child, parent).unwrap_err();
            assert_eq!((error.errno(), child.pid), (Some(Errno::ECHILD), pid), "{error}");
            assert!(kind.replace(&mut child, 0).is_err());
        }
        ended.wait().unwrap();
    }

    #[test]
    fn cgroups_of_processes_that_have_ended() {
        let alive = "9:pids:/a\n1:cpu:/b\n0::/c\n";
        for (other, same) in [
            (alive, true),
            ("9:pids:/\n1:cpu:/\n0::/c\n", true),
            ("9:pids:/\n1:cpu:/\n0::/\n", false),
            ("9:pids:/a\n1:cpu:/x\n0::/c\n", false),
            ("0::/c\n", false),
            ("", false),
        ] {
            assert_eq!(same_cgroups(alive, other), same, "{other:?}");
            assert_eq!(same_cgroups(other, alive), same, "{other:?}");
        }
    }

    #[test]
    fn a_sibling_is_handed_over_when_it_has_ended() {
        let mut ended = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let child = open(ended.id());
        let reaped = std::cell::RefCell::new(Vec::new());
        let hand_over = |pidfd| reaped.borrow_mut().push(pidfd);
        let parent = Parent::OfCaller(&hand_over);
        assert!(!has_ended(&child).unwrap());
        parent.kill(&child).unwrap();
        assert!(has_ended(&child).unwrap() && reaped.borrow().len() == 1);
        assert_eq!(parent.signal_of(&child).unwrap(), Some(libc::SIGKILL));
        assert_eq!(Parent::Caller.signal_of(&child).unwrap(), Some(libc::SIGKILL));
        ended.wait().unwrap();
    }
}
