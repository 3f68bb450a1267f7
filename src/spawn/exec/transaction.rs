//! The side effects of an exec.

use std::os::fd::OwnedFd;

use nix::errno::Errno;
use rustix::fs::{CWD, Mode, OFlags};

use super::affinity::InitialAffinity;
use super::handshake::{ExecHandshake, due};
use super::plan::ExecPlan;
use super::request::ExecRequest;
use crate::cgroup::Cgroup;
use crate::config::{DevConsole, Kind};
use crate::error::retry_once;
use crate::fs::{PATH, Proc};
use crate::init::birth::{Birth, Report};
use crate::init::exec::{self, Entrance, Inside};
use crate::init::last_steps::Program;
use crate::init::stdio::Console;
use crate::protocol;
use crate::spawn::child::Running;
use crate::spawn::handshake::Handshake;
use crate::state::State;
use crate::terminal::supervise;
use crate::{Context, Error, Kind as ErrorKind, Result, log};

pub(super) fn run(
    plan: &ExecPlan,
    state: &State,
    init: OwnedFd,
    request: &ExecRequest<'_>,
    console: Option<OwnedFd>,
) -> Result<Running> {
    let proc = Proc::open()?;
    let entrance = entrance(plan, state, init)?;
    let affinity = InitialAffinity::set(plan.initial_affinity.as_ref())?;
    let (mut socket, child_socket) = protocol::pair().map(|(own, child)| (Some(own), child))?;
    let terminal = console.is_none() && plan.process.terminal;
    let report = Report::new()?;
    let inside = Inside {
        program: Program {
            process: &plan.process,
            filter_point: plan.filter_point,
            birth: Birth::Exec(&report),
            proc: &proc,
            within: plan.within,
            affinity: plan.affinity.clone(),
            preserve_fds: plan.preserve_fds,
            listen: &plan.listen,
            user_namespace: 0,
            is_hidden: true,
            parent: &child_socket,
            fifos: None,
            signals: request.signals,
            before: None,
        },
        entrance: &entrance,
        keyring: plan.keyring.as_deref(),
        console: Console {
            socket: console.as_ref(),
            parent: &child_socket,
            size: terminal.then(supervise::caller_size).flatten(),
            is_controlling: false,
            dev_console: DevConsole::Never,
        },
    };
    let mut cgroup = plan.cgroup.open(state.pid)?;
    let mut clone = |cgroup: &Cgroup| {
        request.parent.clone(0, cgroup.clone_fd(), || {
            // The child's copy of the runtime's end would hide the runtime's death from the child.
            drop(socket.take());
            exec::run(&inside, cgroup.needs_enter())
        })
    };
    let cloned = match clone(&cgroup) {
        Err(errno @ (Errno::EBUSY | Errno::EOPNOTSUPP | Errno::ENOENT | Errno::ENODEV)) => {
            cgroup = plan.cgroup.open_of_init(state.pid, refused(errno))?;
            clone(&cgroup)
        }
        Err(errno @ Errno::EACCES) => {
            cgroup = cgroup.by_systemd().ok_or_else(|| refused(errno))?;
            clone(&cgroup)
        }
        answer => answer,
    };
    drop(affinity);
    // With the end of the child open here, the death of the child would cause no end of file.
    drop(child_socket);
    let mut child = cloned.map_err(refused)?;
    let Some(socket) = socket else {
        return Err(Error::new(ErrorKind::System, "the socket to the process is gone"));
    };
    let mut handshake = ExecHandshake {
        shared: Handshake {
            parent: request.parent,
            name: "process in the container",
            process: Some(&plan.process),
            state,
            proc: &proc,
            socket: &socket,
            child: &mut child,
            adopted: false,
            due: due(&plan.process, terminal).into_iter(),
            master: None,
            listener: None,
        },
        plan,
        cgroup: &cgroup,
        report: &report,
    };
    let answer = handshake.until_it_runs(request);
    let master = handshake.shared.master.take();
    match answer {
        Ok(()) => Ok(Running { child, master, notify: None }),
        Err(error) => {
            retry_once(|| handshake.kill())
                .context("kill the process of the exec")
                .unwrap_or_else(log::warn);
            Err(error)
        }
    }
}

fn refused(errno: Errno) -> Error {
    Error::from(errno).context("clone the process into the container's cgroup")
}

/// Opens the descriptors that lead into the container, with the rights and in the view of the
/// runtime.
fn entrance(plan: &ExecPlan, state: &State, init: OwnedFd) -> Result<Entrance> {
    let pid = state.pid;
    let open = |name: &str, flags: OFlags| {
        let path = format!("/proc/{pid}/{name}");
        rustix::fs::openat(CWD, &path, flags | OFlags::CLOEXEC, Mode::empty())
            .with_context(|| format!("open {path}"))
    };
    let mut kinds = plan.kinds.clone();
    if plan.has(Kind::User) && is_own_user_namespace(pid)? {
        // setns(2) refuses the namespace that the caller is in.
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
