//! The exchange with the process of an exec, from its clone until the program runs.

use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::plan::ExecPlan;
use super::request::ExecRequest;
use crate::cgroup::Cgroup;
use crate::config::Process;
use crate::init::birth::Report;
use crate::init::{limits, scheduling};
use crate::protocol::{ToInit, ToParent};
use crate::spawn::child::{has_ended, send_pidfd, wait_for_end, write_pid_file};
use crate::spawn::handshake::{Due, Handshake, unexpected};
use crate::state::{self, Status};
use crate::{Context, Error, Kind, Result, log};

pub(super) struct ExecHandshake<'a> {
    pub shared: Handshake<'a>,
    pub plan: &'a ExecPlan,
    pub cgroup: &'a Cgroup,
    pub report: &'a Report,
}

impl ExecHandshake<'_> {
    pub fn until_it_runs(&mut self, request: &ExecRequest<'_>) -> Result<()> {
        self.shared.set_oom_score()?;
        if self.cgroup.needs_enter() {
            let pid = self.shared.child.pid;
            self.cgroup.enter(pid).with_context(|| format!("adding pid {pid} to cgroups"))?;
            self.shared.tell(ToInit::CgroupReady)?;
        }
        if let Some(groups) = &self.shared.state.intel_rdt {
            groups.checked()?.add(self.shared.child.pid)?;
        }
        let ToParent::Ready { .. } = self.shared.receive()? else { return Err(unexpected()) };
        self.check_user_namespace()?;
        let process = &self.plan.process;
        let pid = self.shared.child.pid;
        if !process.sets_own_rlimits {
            let others = process.rlimits.iter().filter(|limit| !limit.is_process_count());
            limits::set(others, Some(pid))?;
            limits::allow_process_count(&process.rlimits, pid)?;
        }
        let inherits_scheduler = process.scheduling.is_inherited();
        if inherits_scheduler {
            scheduling::set_of(&process.scheduling, pid)?;
        }
        log::debug(format_args!("process {pid} is in the container and ready"));
        self.shared.tell(ToInit::Go)?;
        self.until_born()?;
        if !inherits_scheduler {
            scheduling::set_of(&process.scheduling, self.shared.child.pid)?;
        }
        if let Some(path) = &request.options.pidfd_socket {
            send_pidfd("--pidfd-socket", path, self.shared.child)?;
        }
        // Last: an engine recognises a failed exec by the missing file.
        match &request.options.pid_file {
            Some(path) => write_pid_file(path, self.shared.child.pid),
            None => Ok(()),
        }
    }

    /// Ends a failed exec: kills the child and, if that is still the go-between, the process that it has
    /// cloned, which would otherwise run on in the container.
    pub fn kill(&self) -> Result<()> {
        let Handshake { parent, child, .. } = &self.shared;
        parent.kill(child)?;
        // Only now, since the go-between could clone the process up to its end.
        match Pid::from_raw(self.report.born().load(Ordering::Acquire)) {
            Some(pid) if pid.as_raw_pid() != child.pid => parent.kill_by_id(pid),
            _ => Ok(()),
        }
    }

    /// Refuses a container whose init has left the user namespace of its create.
    ///
    /// An init without privileges can make a user namespace and in it a mount namespace, with
    /// programs of its own in the place of the image's. A process with the container's capabilities
    /// must not run those. There is no way back from a user namespace, so if init is in the one of
    /// its create now, the child has joined nothing that was made in another. What init has changed
    /// with capabilities of its own is the container's affair.
    fn check_user_namespace(&self) -> Result<()> {
        use std::os::unix::fs::MetadataExt;
        let expected = self.shared.state.user_namespace;
        if expected == 0 {
            return Ok(());
        }
        let path = format!("/proc/{}/ns/user", self.shared.state.pid);
        let found = std::fs::metadata(&path).with_context(|| format!("look at {path}"))?;
        if found.ino() == expected {
            return Ok(());
        }
        let why = "cannot exec: the container's init has left the user namespace that it was \
                   created in";
        Err(Error::new(Kind::State, why))
    }

    /// Takes over the process of the program. After Go the go-between has closed the socket, cloned
    /// that process and waited until it ran the program or was gone.
    fn until_born(&mut self) -> Result<()> {
        match self.shared.socket.next()? {
            None => {}
            Some(ToParent::Failed(error)) => return Err(error),
            Some(_) => return Err(unexpected()),
        }
        if let Some(listener) = self.shared.listener.take() {
            self.send_listener(listener)?;
        }
        wait_for_end(self.shared.child).context("wait for the go-between")?;
        // A go-between that was killed has reported nothing, but may have cloned the process.
        let killed = || (self.report.born().load(Ordering::Acquire), Err(self.shared.death()));
        let (pid, result) = self.report.read().unwrap_or_else(killed);
        if pid != 0 {
            self.shared.replace_child(pid)?;
        }
        result?;
        self.check_program_ran()
    }

    /// Sends the listener to its agent, for the process that executes the program. Until the agent
    /// has it, that process can wait for the agent in execve(2), and the go-between with it.
    fn send_listener(&mut self, listener: OwnedFd) -> Result<()> {
        let Some(pid) = self.born()? else { return Ok(()) };
        let init = (Status::Running, self.shared.state.pid);
        let sent = self.shared.send_listener(&listener, pid.as_raw_pid(), init);
        // Without a listener, a system call that waits for the agent goes on (ENOSYS).
        drop(listener);
        if sent.is_err() {
            // It is a child of the parent, which reaps it after us, so the id is its own.
            match kill_process(pid, Signal::KILL) {
                Ok(()) | Err(rustix::io::Errno::SRCH) => {}
                Err(errno) => log::warn(Error::from(errno).context("kill the process of the exec")),
            }
            self.shared.replace_child(pid.as_raw_pid())?;
        }
        sent
    }

    /// Returns the process that executes the program; `None` if the go-between has ended and has
    /// cloned no process.
    ///
    /// The id is polled in the shared memory, because there is no event to wait for: the go-between
    /// waits in clone(2) for the execve(2) of the process (CLONE_VFORK), and neither of them holds
    /// a descriptor of the runtime, which the container could take from the process. This concerns
    /// only filters with a listener.
    fn born(&self) -> Result<Option<Pid>> {
        loop {
            let is_gone = has_ended(self.shared.child).context("look at the go-between")?;
            let pid = Pid::from_raw(self.report.born().load(Ordering::Acquire));
            if pid.is_some() || is_gone {
                return Ok(pid);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Fails if the process died before it executed the program: a filter can kill a process whose
    /// execve it refuses, and nothing is reported then.
    fn check_program_ran(&self) -> Result<()> {
        let child = &*self.shared.child;
        if !has_ended(child).context("look at the process of the exec")? {
            return Ok(());
        }
        let signal =
            self.shared.parent.signal_of(child).context("look at the process of the exec")?;
        match signal {
            Some(_) if !state::has_executed(child.pid)? => Err(self.shared.death()),
            _ => Ok(()),
        }
    }
}

/// Returns the messages that are due from the process, in their order; `foreground`: the runtime
/// receives the master of the terminal.
pub(super) fn due(process: &Process, foreground: bool) -> Vec<Due> {
    let all =
        [(Due::Console, foreground), (Due::Listener, process.has_listener()), (Due::Ready, true)];
    all.into_iter().filter_map(|(due, is_due)| is_due.then_some(due)).collect()
}
