//! One process on its way into a container: the runtime's side, from the clone to the pid file.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::Ordering;
use std::time::Duration;

use nix::errno::Errno;
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::retry_on_intr;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};
use rustix::thread::sched_setaffinity;

use super::child::{self, Entrance};
use super::{Plan, Request, cgroup};
use crate::cgroup::Cgroup;
use crate::config::Kind;
use crate::error::retry_once;
use crate::fs::{PATH, Proc};
use crate::init::birth::{self, Report};
use crate::init::{limits, scheduling};
use crate::protocol::{self, Socket, ToInit, ToParent};
use crate::spawn::create::{Running, kill};
use crate::spawn::{handshake, record};
use crate::state::{self, State, Status};
use crate::sys::clone::{Child, clone3};
use crate::sys::fdpass;
use crate::terminal::{socket, supervise};
use crate::{Context, Error, Kind as ErrorKind, Result, log};

/// Starts the process, or leaves none.
pub fn run(
    plan: &Plan,
    state: &State,
    init: OwnedFd,
    request: &Request<'_>,
    console: Option<OwnedFd>,
) -> Result<Running> {
    let proc = Proc::open()?;
    let entrance = entrance(plan, state, init)?;
    if let Some(cpus) = &plan.initial_affinity {
        sched_setaffinity(None, cpus).context("process.execCPUAffinity.initial")?;
    }
    let (mut socket, child_socket) = protocol::pair().map(|(own, child)| (Some(own), child))?;
    let terminal = console.is_none() && plan.process.terminal;
    let report = Report::new()?;
    let inside = child::Inside {
        plan,
        entrance: &entrance,
        proc: &proc,
        parent: &child_socket,
        report: &report,
        console: console.as_ref(),
        size: terminal.then(supervise::caller_size).flatten(),
        signals: request.signals,
    };
    let mut cgroup = cgroup::open(plan, state.pid)?;
    let mut clone = |cgroup: &Cgroup| {
        clone3(0, cgroup.clone_fd(), || {
            // Its copy of the runtime's end would hide the runtime's death from it.
            drop(socket.take());
            child::run(&inside, cgroup.needs_enter())
        })
    };
    let cloned = match clone(&cgroup) {
        Err(errno @ (Errno::EBUSY | Errno::EOPNOTSUPP | Errno::ENOENT | Errno::ENODEV)) => {
            cgroup = cgroup::fallback(plan, state.pid, refused(errno))?;
            clone(&cgroup)
        }
        Err(errno @ Errno::EACCES) => {
            cgroup = cgroup.by_systemd().ok_or_else(|| refused(errno))?;
            clone(&cgroup)
        }
        answer => answer,
    };
    // Without it the end of the child is an end of file.
    drop(child_socket);
    let mut child = cloned.map_err(refused)?;
    let Some(socket) = socket else {
        return Err(Error::new(ErrorKind::System, "the socket to the process is gone"));
    };
    let mut attempt = Attempt {
        plan,
        state,
        proc: &proc,
        cgroup: &cgroup,
        socket: &socket,
        child: &mut child,
        report: &report,
        master: None,
        listener: None,
    };
    match attempt.until_it_runs(request) {
        Ok(()) => {
            let master = attempt.master.take();
            Ok(Running { child, master, notify: None })
        }
        Err(error) => {
            let killed = retry_once(|| kill(&child)).context("kill the process that could not run");
            killed.unwrap_or_else(log::warn);
            Err(error)
        }
    }
}

fn refused(errno: Errno) -> Error {
    Error::from(errno).context("clone the process into the container's cgroup")
}

/// What leads into the container, opened with the runtime's rights and in its view.
fn entrance(plan: &Plan, state: &State, init: OwnedFd) -> Result<Entrance> {
    let pid = state.pid;
    let open = |name: &str, flags: OFlags| {
        let path = format!("/proc/{pid}/{name}");
        rustix::fs::openat(CWD, &path, flags | OFlags::CLOEXEC, Mode::empty())
            .with_context(|| format!("open {path}"))
    };
    let mut kinds = plan.kinds.clone();
    if plan.has(Kind::User) && is_own_user_namespace(pid)? {
        // setns(2) refuses the one that the caller is in.
        kinds.retain(|kind| *kind != Kind::User);
    }
    // setns(2) gives the root of the mount namespace. That is not the container's, if it has no
    // namespace of its own, or if the runtime that made it was in a chroot: then it is the host's.
    // An unprivileged runtime may not look before execve, nor has it a chroot to be in.
    let opens = !plan.has(Kind::Mount) || plan.is_privileged;
    let root = opens.then(|| open("root", PATH | OFlags::DIRECTORY)).transpose()?;
    Ok(Entrance { init, kinds, root })
}

fn is_own_user_namespace(pid: i32) -> Result<bool> {
    use std::os::unix::fs::MetadataExt;
    let look = |path: String| {
        std::fs::metadata(&path)
            .map(|meta| (meta.dev(), meta.ino()))
            .with_context(|| format!("look at {path}"))
    };
    Ok(look(format!("/proc/{pid}/ns/user"))? == look("/proc/self/ns/user".into())?)
}

struct Attempt<'a> {
    plan: &'a Plan,
    state: &'a State,
    proc: &'a Proc,
    cgroup: &'a Cgroup,
    socket: &'a Socket,
    child: &'a mut Child,
    report: &'a Report,
    master: Option<OwnedFd>,
    listener: Option<OwnedFd>,
}

impl Attempt<'_> {
    fn until_it_runs(&mut self, request: &Request<'_>) -> Result<()> {
        self.adopt()?;
        self.until_ready()?;
        self.check_user_namespace()?;
        let process = &self.plan.process;
        if !process.sets_own_rlimits {
            let others = process.rlimits.iter().filter(|limit| !limits::is_process_count(limit));
            limits::set(others, Some(self.child.pid))?;
            limits::allow_process_count(&process.rlimits, self.child.pid)?;
        }
        let inherits_scheduler = process.scheduling.is_inherited();
        if inherits_scheduler {
            scheduling::set_of(&process.scheduling, self.child.pid)?;
        }
        log::debug(format_args!("process {} is in the container and ready", self.child.pid));
        self.tell(ToInit::Go)?;
        self.until_born()?;
        if !inherits_scheduler {
            scheduling::set_of(&process.scheduling, self.child.pid)?;
        }
        if let Some(path) = &request.pidfd_socket {
            let to = socket::connect("--pidfd-socket", path)?;
            let pid = self.child.pid.to_string();
            fdpass::send_with_fd(to.as_fd(), pid.as_bytes(), Some(self.child.pidfd.as_fd()))
                .with_context(|| format!("--pidfd-socket: send to {path:?}"))?;
        }
        // Last: an engine knows a failed exec by the missing file.
        match &request.pid_file {
            Some(path) => record::write_pid_file(path, self.child.pid),
            None => Ok(()),
        }
    }

    fn until_ready(&mut self) -> Result<()> {
        loop {
            match self.socket.next()? {
                Some(ToParent::Console(master)) => self.master = Some(master),
                Some(ToParent::SeccompFd(fd)) => {
                    self.listener = Some(handshake::take_listener(self.child, fd)?);
                    self.tell(ToInit::SeccompTaken)?;
                }
                Some(ToParent::Ready { .. }) => return Ok(()),
                Some(ToParent::Failed(error)) => return Err(error),
                Some(_) => return Err(handshake::unexpected()),
                None => return Err(self.death()),
            }
        }
    }

    /// An init without privileges can make a user namespace and in it a mount namespace, with programs
    /// of its own in the place of the image's. A process with the container's capabilities must not
    /// run those. There is no way back from a user namespace, so if init is in the one of its create
    /// now, the child has joined nothing that was made in another. What init has changed with
    /// capabilities of its own is the container's affair.
    fn check_user_namespace(&self) -> Result<()> {
        use std::os::unix::fs::MetadataExt;
        let expected = self.plan.user_namespace;
        if expected == 0 {
            return Ok(());
        }
        let path = format!("/proc/{}/ns/user", self.state.pid);
        let found = std::fs::metadata(&path).with_context(|| format!("look at {path}"))?;
        if found.ino() == expected {
            return Ok(());
        }
        let why = "cannot exec: the container's init has left the user namespace that it was \
                   created in";
        Err(Error::new(ErrorKind::State, why))
    }

    /// After Go: the child has closed the socket, cloned the process of the program and waited until
    /// that ran or was gone. From here on that process is ours.
    fn until_born(&mut self) -> Result<()> {
        match self.socket.next()? {
            None => {}
            Some(ToParent::Failed(error)) => return Err(error),
            Some(_) => return Err(handshake::unexpected()),
        }
        if let Some(listener) = self.listener.take() {
            self.hand_over_listener(listener)?;
        }
        let ended = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        retry_on_intr(|| waitid(WaitId::PidFd(self.child.pidfd.as_fd()), ended))
            .context("wait for the process that clones the exec's")?;
        let (pid, result) = self.report.read().ok_or_else(|| self.death())?;
        if pid != 0 {
            handshake::take_over(self.child, pid)?;
        }
        result?;
        self.check_program_ran()
    }

    /// The agent hears of the process that executes the program. Until it has the listener, that process
    /// can wait for it in execve(2), and the process that clones with it.
    fn hand_over_listener(&mut self, listener: OwnedFd) -> Result<()> {
        let Some(pid) = self.born()? else { return Ok(()) };
        let document = state::document(self.state, Status::Running, self.state.pid);
        let to = self.plan.process.listener.as_ref();
        let sent = handshake::hand_over_listener(&listener, pid.as_raw_pid(), to, &document);
        // Without one, what waits for the agent goes on (ENOSYS).
        drop(listener);
        if sent.is_err() {
            // It is a child of ours that nobody has waited for, so the id is its own.
            match kill_process(pid, Signal::KILL) {
                Ok(()) | Err(rustix::io::Errno::SRCH) => {}
                Err(errno) => log::warn(Error::from(errno).context("kill the exec's process")),
            }
            handshake::take_over(self.child, pid.as_raw_pid())?;
        }
        sent
    }

    /// The process that executes the program; `None` if the one that clones it is gone and has cloned
    /// none. There is no event to wait for: none may be open in the new process.
    fn born(&self) -> Result<Option<Pid>> {
        let ended = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
        loop {
            let is_gone = retry_on_intr(|| waitid(WaitId::PidFd(self.child.pidfd.as_fd()), ended))
                .context("look at the process that clones the exec's")?
                .is_some();
            let pid = Pid::from_raw(self.report.born().load(Ordering::Acquire));
            if pid.is_some() || is_gone {
                return Ok(pid);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// A filter can kill a process whose execve it refuses, and nothing is reported then.
    fn check_program_ran(&self) -> Result<()> {
        let dead = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
        let status = retry_on_intr(|| waitid(WaitId::PidFd(self.child.pidfd.as_fd()), dead))
            .context("look at the process of the exec")?;
        let signal = status.as_ref().and_then(rustix::process::WaitIdStatus::terminating_signal);
        match signal {
            Some(signal) if !state::has_executed(self.child.pid)? => Err(birth::killed_by(signal)),
            _ => Ok(()),
        }
    }

    /// What is done to the process from outside, because only the runtime may have the right.
    fn adopt(&self) -> Result<()> {
        if let Some(score) = self.plan.process.oom_score_adj {
            let path = format!("{}/oom_score_adj", self.child.pid);
            let written = self.proc.write(path, score.to_string().as_bytes());
            written.context("process.oomScoreAdj")?;
        }
        if self.cgroup.needs_enter() {
            self.cgroup.enter(self.child.pid)?;
        }
        match self.cgroup.needs_enter() {
            true => self.tell(ToInit::CgroupReady),
            false => Ok(()),
        }
    }

    /// If the process has gone, what it said last is the story.
    fn tell(&self, message: ToInit) -> Result<()> {
        if self.socket.tell_init(message)? {
            return Ok(());
        }
        match self.socket.next() {
            Ok(Some(ToParent::Failed(error))) | Err(error) => Err(error),
            Ok(_) => Err(self.death()),
        }
    }

    fn death(&self) -> Error {
        handshake::end_of(self.child).context("process in the container")
    }
}
