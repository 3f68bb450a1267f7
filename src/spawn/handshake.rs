//! The runtime's side of the conversation with init (see [`crate::protocol`]).

use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::io::retry_on_intr;
use rustix::process::{
    Pid, PidfdFlags, PidfdGetfdFlags, WaitId, WaitIdOptions, pidfd_getfd, pidfd_open, waitid,
};

use super::maps;
use super::owner;
use crate::cgroup::Cgroup;
use crate::config::Plan;
use crate::hooks;
use crate::mount::prepare::Prepared;
use crate::protocol::{Socket, ToInit, ToParent};
use crate::seccomp::notify::{ProcessState, send_listener};
use crate::state::{self, OCI_VERSION, State, Status};
use crate::sys::clone::Child;
use crate::{Context, Error, Kind, Result};

/// One side of the conversation, and what it needs to answer.
pub struct Talk<'a> {
    /// What was planned.
    pub plan: &'a Plan,
    /// What was opened.
    pub prepared: &'a Prepared,
    /// To init.
    pub socket: &'a Socket,
    /// Where init is to be.
    pub cgroup: &'a mut Cgroup,
    /// What hooks read, but for status and pid.
    pub state: &'a State,
    /// Init; replaced when a go-between has cloned it.
    pub child: &'a mut Child,
    /// Whether hooks of create have been started: then poststop hooks are owed.
    pub hooks_ran: bool,
    /// The terminal's master, in the foreground.
    pub master: Option<OwnedFd>,
    /// Whether `child` is the container's own process, and will not be replaced.
    pub adopted: bool,
    /// The user namespace that init is in, when it is ready.
    pub user_namespace: u64,
    /// A seccomp listener whose agent is to hear of a process that is not yet born.
    pub listener: Option<OwnedFd>,
}

impl Talk<'_> {
    /// Answers until init is ready.
    pub fn until_ready(&mut self) -> Result<()> {
        if !self.plan.route.trampoline {
            self.adopt()?;
            if self.plan.ids.is_none() {
                self.enter_cgroup()?;
            }
        }
        loop {
            if !self.adopted {
                await_go_between(self.socket, self.child)?;
            }
            match self.socket.next()? {
                // Its neighbours see init from its birth on, and with CAP_SYS_PTRACE could send in its
                // name what it has no reason to: to have hooks run again, for example.
                Some(
                    ToParent::NeedMap
                    | ToParent::NeedOffsets
                    | ToParent::NeedHooks
                    | ToParent::Console(_),
                ) if self.plan.route.joins_pid && self.adopted => return Err(unexpected()),
                Some(ToParent::NeedMap) => self.map()?,
                Some(ToParent::Pid(pid)) if !self.adopted => self.replace_child(pid)?,
                Some(ToParent::NeedOffsets) => self.set_clocks()?,
                Some(ToParent::NeedHooks) => self.run_hooks()?,
                Some(ToParent::Console(master)) => self.master = Some(master),
                Some(ToParent::SeccompFd(fd)) => self.take_listener(fd)?,
                Some(ToParent::Ready { user_namespace }) if self.adopted => {
                    self.user_namespace = user_namespace;
                    self.finish_cgroup()?;
                    return owner::hand_over(self.plan, self.cgroup, self.child.pid);
                }
                Some(ToParent::Failed(error)) => return Err(error),
                Some(ToParent::Pid(_) | ToParent::Ready { .. }) => return Err(unexpected()),
                None => return Err(death(self.child)),
            }
        }
    }

    /// What is done to init from outside, because only the runtime may have the right.
    fn adopt(&mut self) -> Result<()> {
        if let Some(score) = self.plan.process.as_ref().and_then(|p| p.oom_score_adj) {
            let path = format!("{}/oom_score_adj", self.child.pid);
            self.prepared
                .proc
                .write(path, score.to_string().as_bytes())
                .context("process.oomScoreAdj")?;
        }
        Ok(())
    }

    fn enter_cgroup(&mut self) -> Result<()> {
        let waits = init_waits(self.cgroup, self.plan.route.trampoline);
        self.cgroup.make_unit(self.child.pid)?;
        if self.cgroup.needs_enter() {
            self.cgroup.enter(self.child.pid)?;
            self.cgroup.enter_below(self.child.pid)?;
        }
        if waits {
            self.tell(ToInit::CgroupReady)?;
        }
        self.cgroup.prepare_devices();
        Ok(())
    }

    /// The mounts are made: from here on the container is bound by its device rules.
    fn finish_cgroup(&mut self) -> Result<()> {
        self.cgroup.set_devices()
    }

    /// If init has gone, the next message says why.
    fn tell(&self, message: ToInit) -> Result<()> {
        self.socket.tell_init(message).map(drop)
    }

    fn map(&mut self) -> Result<()> {
        if let Some(ids) = &self.plan.ids {
            maps::write(ids, self.child.pid, &self.prepared.proc)?;
        }
        maps::container_idmaps(self.plan, self.prepared, self.child.pid)?;
        self.tell(ToInit::Mapped)?;
        if self.plan.route.trampoline { Ok(()) } else { self.enter_cgroup() }
    }

    fn set_clocks(&self) -> Result<()> {
        if let Some(offsets) = &self.plan.time_offsets {
            let path = format!("{}/timens_offsets", self.child.pid);
            self.prepared.proc.write(path, offsets.as_bytes()).context("linux.timeOffsets")?;
        }
        self.tell(ToInit::OffsetsWritten)
    }

    /// The go-between has done its work.
    fn replace_child(&mut self, pid: i32) -> Result<()> {
        take_over(self.child, pid)?;
        self.adopted = true;
        if self.plan.route.joins_pid {
            if let Some(listener) = self.listener.take() {
                self.hand_over_listener(&listener)?;
            }
            return self.tell(ToInit::Adopted);
        }
        self.adopt()?;
        self.enter_cgroup()
    }

    fn run_hooks(&mut self) -> Result<()> {
        // createContainer hooks run in the container's cgroup.
        self.finish_cgroup()?;
        self.hooks_ran = self.plan.hooks.has_create();
        let state = state::document(self.state, Status::Creating, self.child.pid).to_json()?;
        hooks::run_all("prestart", &self.plan.hooks.prestart, &state)?;
        hooks::run_all("createRuntime", &self.plan.hooks.create_runtime, &state)?;
        self.tell(ToInit::HooksDone)
    }

    fn take_listener(&mut self, fd: i32) -> Result<()> {
        let listener = take_listener(self.child, fd)?;
        if self.adopted {
            self.hand_over_listener(&listener)?;
        } else {
            self.listener = Some(listener);
        }
        self.tell(ToInit::SeccompTaken)
    }

    fn hand_over_listener(&self, listener: &OwnedFd) -> Result<()> {
        let pid = self.child.pid;
        let to = self.plan.process.as_ref().and_then(|p| p.listener.as_ref());
        hand_over_listener(listener, pid, to, &state::document(self.state, Status::Creating, pid))
    }
}

/// A message that has no place here: the child is broken, or no longer the runtime's own program.
pub fn unexpected() -> Error {
    Error::new(Kind::System, "unexpected message from the container's process")
}

/// Waits for a message or for the end of the go-between: the end of file does not tell it,
/// once it has cloned init, which has the socket too and waits for us.
pub fn await_go_between(socket: &Socket, child: &Child) -> Result<()> {
    let mut fds = [
        PollFd::new(socket.fd(), PollFlags::POLLIN),
        PollFd::new(child.pidfd.as_fd(), PollFlags::POLLIN),
    ];
    let mut timeout = PollTimeout::NONE;
    loop {
        match poll(&mut fds, timeout) {
            Ok(_) if fds[0].any().unwrap_or(true) => return Ok(()),
            // Its last message may have come in between.
            Ok(_) if timeout == PollTimeout::NONE => timeout = PollTimeout::ZERO,
            Ok(_) => return Err(death(child)),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(Error::from(errno).context("wait for init")),
        }
    }
}

/// The go-between `child` has cloned process `pid`, which takes its place.
pub fn take_over(child: &mut Child, pid: i32) -> Result<()> {
    let named = Pid::from_raw(pid)
        .ok_or_else(|| Error::new(Kind::System, "init has no process id here"))?;
    let pidfd = pidfd_open(named, PidfdFlags::empty()).context("open the pidfd of init")?;
    // A child of ours keeps its id until we wait for it. Another process would be killed if the create
    // failed, and its id may come from a neighbour that controls init.
    let running = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    retry_on_intr(|| waitid(WaitId::PidFd(pidfd.as_fd()), running)).with_context(|| {
        format!("look at process {pid}, which is to take the place of the go-between")
    })?;
    let go_between = std::mem::replace(child, Child { pid, pidfd });
    retry_on_intr(|| waitid(WaitId::PidFd(go_between.pidfd.as_fd()), WaitIdOptions::EXITED))
        .context("wait for the go-between")?;
    Ok(())
}

/// The listener `fd` of a child, taken out of it, because the filter may refuse the child every way to
/// send it.
pub fn take_listener(child: &Child, fd: i32) -> Result<OwnedFd> {
    pidfd_getfd(&child.pidfd, fd, PidfdGetfdFlags::empty())
        .context("take the seccomp listener from the container's process")
}

/// A listener, to the agent, for the process `pid` that executes the program.
pub fn hand_over_listener(
    listener: &OwnedFd,
    pid: i32,
    to: Option<&(PathBuf, Option<String>)>,
    document: &state::Document<'_>,
) -> Result<()> {
    let Some((path, metadata)) = to else {
        return Err(Error::invalid_field("linux.seccomp.listenerPath", "missing"));
    };
    let document =
        serde_json::to_value(document).map_err(|e| Error::new(Kind::System, e.to_string()))?;
    let message = ProcessState::new(OCI_VERSION, pid, metadata.clone(), document);
    send_listener(path, &message.to_json()?, listener.as_fd())
}

/// Whether a process is told that it is in its cgroups: if somebody has to put it there, and
/// always behind a go-between, because what it says must not overtake the word of its id.
pub fn init_waits(cgroup: &Cgroup, go_between: bool) -> bool {
    cgroup.needs_enter() || go_between
}

/// What init said last, or how it ended.
pub fn last_words(socket: &Socket, child: &Child) -> Error {
    match socket.next() {
        Ok(Some(ToParent::Failed(error))) | Err(error) => error,
        Ok(_) => death(child),
    }
}

/// Why init has gone without a word.
pub fn death(child: &Child) -> Error {
    end_of(child).context("container init")
}

/// How a child that has gone without a word ended.
pub fn end_of(child: &Child) -> Error {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    let status = waitid(WaitId::PidFd(child.pidfd.as_fd()), options).ok().flatten();
    let signal = status.as_ref().and_then(rustix::process::WaitIdStatus::terminating_signal);
    let why = match signal {
        Some(libc::SIGKILL) => {
            "it was killed by SIGKILL (is the memory or pids limit too small for it to start?)"
                .to_owned()
        }
        Some(libc::SIGSYS) => {
            "the seccomp filter killed it before it could execute the program".to_owned()
        }
        Some(signal) => format!("it was killed by signal {signal}"),
        None => "it ended without a word".to_owned(),
    };
    Error::new(Kind::System, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_process_but_a_child_takes_the_place_of_a_go_between() {
        let mut ended = std::process::Command::new("true").spawn().unwrap();
        let pid = ended.id() as i32;
        let pidfd = pidfd_open(Pid::from_raw(pid).unwrap(), PidfdFlags::empty()).unwrap();
        let mut child = Child { pid, pidfd };
        let parent = std::os::unix::process::parent_id() as i32;
        let error = take_over(&mut child, parent).unwrap_err();
        assert_eq!((error.errno(), child.pid), (Some(Errno::ECHILD), pid));
        assert!(take_over(&mut child, 0).is_err());
        ended.wait().unwrap();
    }
}
