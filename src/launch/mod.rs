//! The runtime's side of a create, top to bottom: read, check, plan, reserve, prepare, cgroup,
//! clone, answer init, write the state.
//!
//! After an error the host is as if nothing had been tried (runtime.md, "Errors"): [`Launch`]
//! knows what has been made so far and undoes exactly that.

pub mod fifo;
mod maps;
pub mod prepare;
pub mod selfexe;
mod talk;

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use nix::sched::{CloneFlags, setns};
use nix::sys::signal::SigSet;
use rustix::fs::{CWD, Mode};
use rustix::process::{Pid, Rlimit, WaitId, WaitIdOptions, prlimit, waitid};
use serde_json::value::RawValue;

use self::fifo::Fifos;
use self::prepare::Prepared;
use self::talk::Talk;
use crate::cgroup::{self, Cgroup};
use crate::error::twice;
use crate::fs::write_whole;
use crate::host::Host;
use crate::init::{self, Init};
use crate::plan::{Kind as Ns, Options, Plan};
use crate::state::{self, Id, Intent, Reserved, State, Status, Store};
use crate::sync::{self, Socket, ToInit, ToParent};
use crate::sys::clone::{Child, clone3};
use crate::sys::pidfd;
use crate::tty::{socket, supervise};
use crate::{Context, Error, Kind, Result, hooks, log, spec};

/// What a command asks for.
#[derive(Debug)]
pub struct Request<'a> {
    /// The new container's id.
    pub id: Id,
    /// The bundle, absolute.
    pub bundle: PathBuf,
    /// In place of the bundle's config.json.
    pub config: Option<PathBuf>,
    /// Where the terminal's master goes.
    pub console_socket: Option<PathBuf>,
    /// Where a pidfd of init goes.
    pub pidfd_socket: Option<PathBuf>,
    /// Where its process id is written.
    pub pid_file: Option<PathBuf>,
    /// chroot in place of pivot_root.
    pub no_pivot: bool,
    /// Keep the caller's session keyring.
    pub no_new_keyring: bool,
    /// Descriptors from 3 up that the container gets.
    pub preserve_fds: u32,
    /// The runtime does not stay in the foreground.
    pub detached: bool,
    /// Init waits for a later `start`.
    pub waits_for_start: bool,
    /// Whether a cgroup that may not be used is no error, if no limit is asked for; `None`: yes
    /// without the machine's root.
    pub rootless: Option<bool>,
    /// The signal mask that the container's program starts with.
    pub signals: &'a SigSet,
    /// Where compiled seccomp filters are kept.
    pub seccomp_cache: Option<PathBuf>,
}

/// A container whose init is ready and waits for the word to go on.
#[derive(Debug)]
pub struct Launch {
    /// Init.
    pub child: Child,
    /// The terminal's master, in the foreground.
    pub master: Option<OwnedFd>,
    /// What later commands will know.
    pub state: State,
    plan: Plan,
    socket: Socket,
    reserved: Reserved,
    cgroup: Cgroup,
    poststop_owed: bool,
    pid_file: Option<PathBuf>,
}

/// Does everything up to the point where init waits. The state and the pid file are written; if
/// this process dies now, init dies with it.
pub fn launch(store: &Store, request: &Request<'_>) -> Result<Launch> {
    let mut warnings = Vec::new();
    let host = Host::probe()?;
    let path = request.config.clone().unwrap_or_else(|| request.bundle.join("config.json"));
    let mut loaded = spec::load(&path)?;
    warnings.append(&mut loaded.warnings);
    let rootless = request.rootless.unwrap_or(host.is_rootless);
    let given = spec::Given {
        console_socket: request.console_socket.is_some(),
        detached: request.detached,
        rootless: !host.is_privileged(),
    };
    spec::check(&loaded.spec, &given)?;
    let options = Options {
        id: request.id.as_str().to_owned(),
        bundle: request.bundle.clone(),
        no_pivot: request.no_pivot,
        no_new_keyring: request.no_new_keyring,
        preserve_fds: request.preserve_fds,
        seccomp_cache: request.seccomp_cache.clone(),
    };
    let plan = Plan::new(&loaded.spec, &options, &host, &mut warnings)?;
    let cgroup_plan = plan_cgroup(&loaded.spec, request, rootless, &mut warnings)?;
    let console = request.console_socket.as_deref();
    let console = console.map(|path| socket::connect("--console-socket", path)).transpose()?;
    check_preserved(request.preserve_fds)?;
    warnings.iter().for_each(log::warn);

    let state = first_state(request, &plan, &host, &cgroup_plan, &loaded.raw)?;
    let reserved = store.reserve(&request.id, &intent(&state))?;
    let mut undo = Undo { child: None, cgroup: None, private_pid: plan.has_private_pid() };
    let made = make(&plan, &cgroup_plan, request, &host, &state, &reserved, console, &mut undo);
    match made {
        Ok((socket, master, state, poststop_owed)) => {
            let (Some(child), Some(cgroup)) = (undo.child.take(), undo.cgroup.take()) else {
                return Err(Error::new(Kind::System, "init was not made"));
            };
            let pid_file = None;
            let mut launch = Launch {
                child,
                master,
                state,
                plan,
                socket,
                reserved,
                cgroup,
                poststop_owed,
                pid_file,
            };
            match launch.commit(request) {
                Ok(()) => Ok(launch),
                Err(error) => Err(launch.undo(error)),
            }
        }
        Err((error, poststop_owed)) => {
            undo.run();
            owe_poststop(poststop_owed, &plan, &state);
            abandon(reserved);
            Err(error)
        }
    }
}

type Made = (Socket, Option<OwnedFd>, State, bool);

/// The side effects, each noted in `undo` as it is made.
#[allow(clippy::too_many_arguments)]
fn make(
    plan: &Plan,
    cgroup_plan: &cgroup::Plan,
    request: &Request<'_>,
    host: &Host,
    state: &State,
    reserved: &Reserved,
    console: Option<OwnedFd>,
    undo: &mut Undo,
) -> std::result::Result<Made, (Error, bool)> {
    let early = |error: Error| (error, false);
    let prepared = Prepared::new(plan, host).map_err(early)?;
    maps::own_idmaps(plan, prepared.trees.as_ref(), &prepared.proc).map_err(early)?;
    let fifos = request.waits_for_start.then(|| Fifos::make(reserved.dir()));
    let fifos = fifos.transpose().map_err(early)?;
    let cgroup = undo.cgroup.insert(cgroup_plan.create().map_err(early)?);
    let (socket, init_socket) = sync::pair().map_err(early)?;
    let mut socket = Some(socket);
    let foreground_terminal =
        console.is_none() && plan.process.as_ref().is_some_and(|process| process.terminal);
    let init = Init {
        plan,
        prepared: &prepared,
        parent: &init_socket,
        fifos: fifos.as_ref(),
        console: console.as_ref(),
        size: foreground_terminal.then(supervise::caller_size).flatten(),
        cgroups: cgroup.record(),
        waits_for_cgroup: cgroup.needs_enter(),
        signals: request.signals,
        hook_state: &|status, pid| state::document(state, status, pid).to_json(),
    };
    let cloned = in_pid_namespace(plan, &prepared, || {
        clone3(plan.route.clone_flags as u64, cgroup.clone_fd(), || {
            // Its copy of the runtime's end would hide the runtime's death from init.
            drop(socket.take());
            init::run(&init)
        })
        .context("clone init")
    });
    // Likewise here: without it the end of init is an end of file.
    drop(init_socket);
    let child = undo.child.insert(cloned.map_err(early)?);
    let Some(socket) = socket else {
        return Err(early(Error::new(Kind::System, "the socket to init is gone")));
    };
    let mut talk = Talk {
        plan,
        prepared: &prepared,
        socket: &socket,
        cgroup,
        state,
        child,
        hooks_ran: false,
        master: None,
        adopted: !plan.route.trampoline,
    };
    let answer = talk.until_ready().and_then(|()| set_rlimits(plan, talk.child.pid));
    if answer.is_err() && !talk.adopted {
        // An init may be there already that only its go-between knew.
        socket.outlive();
    }
    let (hooks_ran, master, pid) = (talk.hooks_ran, talk.master.take(), talk.child.pid);
    answer.map_err(|error| (error, hooks_ran))?;
    let state = with_pid(state, pid).map_err(|error| (error, hooks_ran))?;
    Ok((socket, master, state, hooks_ran))
}

/// Clones with the joined pid namespace set for children, where the plan wants it so, and sets
/// the runtime's own again: hooks run in the runtime's namespaces.
fn in_pid_namespace(
    plan: &Plan,
    prepared: &Prepared,
    clone: impl FnOnce() -> Result<Child>,
) -> Result<Child> {
    let join = prepared.joins.iter().find(|(kind, _)| *kind == Ns::Pid);
    let Some((_, namespace)) = join.filter(|_| plan.route.parent_joins_pid) else {
        return clone();
    };
    let own =
        std::fs::File::open("/proc/self/ns/pid").context("open the runtime's pid namespace")?;
    setns(namespace.as_fd(), CloneFlags::CLONE_NEWPID)
        .with_context(|| format!("join the pid namespace {:?}", plan.namespaces.pid.path()))?;
    let cloned = clone();
    setns(own.as_fd(), CloneFlags::CLONE_NEWPID)
        .context("return to the runtime's pid namespace")?;
    cloned
}

impl Launch {
    /// Writes what must be there before init goes on.
    fn commit(&mut self, request: &Request<'_>) -> Result<()> {
        self.reserved.commit(&self.state)?;
        if let Some(path) = &request.pid_file {
            write_pid_file(path, self.child.pid)
                .with_context(|| format!("--pid-file: write {path:?}"))?;
            self.pid_file = Some(path.clone());
        }
        if let Some(path) = &request.pidfd_socket {
            let send = || -> Result<()> {
                let socket = socket::connect("--pidfd-socket", path)?;
                crate::tty::fdpass::send_with_fd(
                    socket.as_fd(),
                    self.child.pid.to_string().as_bytes(),
                    Some(self.child.pidfd.as_fd()),
                )
            };
            send().with_context(|| format!("--pidfd-socket: send to {path:?}"))?;
        }
        Ok(())
    }

    /// `create`: init now waits for `start`, and no longer for this process.
    pub fn leave(self) -> Result<()> {
        match self.socket.tell_init(ToInit::Go) {
            Ok(true) => {
                self.reserved.keep();
                Ok(())
            }
            Ok(false) => {
                let error = talk::last_words(&self.socket, &self.child);
                Err(self.undo(error))
            }
            Err(error) => Err(self.undo(error)),
        }
    }

    /// `run`: init goes on to execve; then the poststart hooks.
    pub fn start(mut self) -> Result<Running> {
        let go = || -> Result<()> {
            if !self.socket.tell_init(ToInit::Go)? {
                return Err(talk::last_words(&self.socket, &self.child));
            }
            match self.socket.next()? {
                // Close-on-exec: the program runs.
                None => Ok(()),
                Some(ToParent::Failed(error)) => Err(error),
                Some(_) => Err(Error::new(Kind::System, "init said something unexpected")),
            }
        };
        if let Err(error) = go().and_then(|()| self.poststart()) {
            // It was created, so what undoes it is its end, with all that belongs to that.
            self.poststop_owed = true;
            return Err(self.undo(error));
        }
        self.reserved.keep();
        Ok(Running { child: self.child, master: self.master, state: self.state })
    }

    fn poststart(&self) -> Result<()> {
        let hooks = &self.plan.hooks.poststart;
        if hooks.is_empty() {
            return Ok(());
        }
        let state = state::document(&self.state, Status::Running, self.child.pid).to_json()?;
        hooks::run_all("poststart", hooks, &state)
    }

    /// Takes everything back; returns the error that led here.
    fn undo(self, error: Error) -> Error {
        let undo = Undo {
            child: Some(self.child),
            cgroup: Some(self.cgroup),
            private_pid: self.plan.has_private_pid(),
        };
        undo.run();
        if let Some(path) = &self.pid_file {
            let removed = twice(|| Ok(std::fs::remove_file(path)?));
            if let Err(error) = removed.with_context(|| format!("--pid-file: remove {path:?}")) {
                log::warn(error);
            }
        }
        owe_poststop(self.poststop_owed, &self.plan, &self.state);
        abandon(self.reserved);
        error
    }
}

/// A container whose program runs.
#[derive(Debug)]
pub struct Running {
    /// Its process.
    pub child: Child,
    /// The terminal's master, in the foreground.
    pub master: Option<OwnedFd>,
    /// What later commands know.
    pub state: State,
}

/// What has been made so far.
struct Undo {
    child: Option<Child>,
    cgroup: Option<Cgroup>,
    private_pid: bool,
}

impl Undo {
    /// Kills init and all that it may have started, and removes the cgroup. What fails here is
    /// told as a warning: the error that led here is the story.
    fn run(self) {
        if let Some(child) = &self.child {
            let end = || -> Result<()> {
                match pidfd::send_signal(child.pidfd.as_fd(), libc::SIGKILL) {
                    Ok(()) | Err(nix::errno::Errno::ESRCH) => {}
                    Err(errno) => return Err(Error::from(errno)),
                }
                match waitid(WaitId::PidFd(child.pidfd.as_fd()), WaitIdOptions::EXITED) {
                    // It was waited for at the first try.
                    Ok(_) | Err(rustix::io::Errno::CHILD) => Ok(()),
                    Err(errno) => Err(Error::from(errno)),
                }
            };
            if let Err(error) = twice(end) {
                log::warn(error.context("kill the container's init"));
            }
        }
        let Some(cgroup) = &self.cgroup else { return };
        let record = cgroup.record();
        if self.child.is_some() && !self.private_pid {
            if let Err(error) = twice(|| record.kill_all()) {
                log::warn(error);
            }
        }
        if let Err(error) = twice(|| record.abandon()) {
            log::warn(error);
        }
    }
}

/// When a hook of create has failed the lifecycle goes on at its end (runtime.md, "Lifecycle").
fn owe_poststop(owed: bool, plan: &Plan, state: &State) {
    if !owed || plan.hooks.poststop.is_empty() {
        return;
    }
    match state::document(state, Status::Stopped, 0).to_json() {
        Ok(json) => hooks::run_all_logging("poststop", &plan.hooks.poststop, &json),
        Err(error) => log::warn(error),
    }
}

fn abandon(reserved: Reserved) {
    if let Err(error) = twice(|| reserved.abandon()) {
        log::warn(error);
    }
}

fn plan_cgroup(
    spec: &oci_spec::runtime::Spec,
    request: &Request<'_>,
    rootless: bool,
    warnings: &mut Vec<String>,
) -> Result<cgroup::Plan> {
    let linux = spec.linux().as_ref();
    let layout = cgroup::Layout::probe()?;
    let options = cgroup::Options { rootless };
    cgroup::Plan::new(
        &layout,
        request.id.as_str(),
        linux.and_then(|l| l.cgroups_path().as_deref()),
        linux.and_then(|l| l.resources().as_ref()),
        linux.and_then(|l| l.devices().as_deref()).unwrap_or(&[]),
        options,
        warnings,
    )
}

/// Only what the caller has open can be handed on.
fn check_preserved(count: u32) -> Result<()> {
    for number in 3..3_u32.saturating_add(count) {
        let path = format!("/proc/self/fd/{number}");
        if std::fs::symlink_metadata(&path).is_err() {
            let why = format!("descriptor {number} is not open");
            return Err(Error::invalid("--preserve-fds", count, why));
        }
    }
    Ok(())
}

fn first_state(
    request: &Request<'_>,
    plan: &Plan,
    host: &Host,
    cgroup: &cgroup::Plan,
    raw: &[u8],
) -> Result<State> {
    let invalid = |e: String| Error::new(Kind::Invalid, e).context("config.json");
    let text = String::from_utf8(raw.to_vec()).map_err(|e| invalid(e.to_string()))?;
    Ok(State {
        version: state::VERSION,
        id: request.id.clone(),
        bundle: request.bundle.clone(),
        rootfs: plan.rootfs.clone(),
        created: SystemTime::now(),
        owner: host.uid,
        pid: 0,
        start_time: 0,
        boot_id: state::boot_id()?.to_owned(),
        cgroup: cgroup.record(),
        private_pid: plan.has_private_pid(),
        annotations: plan.annotations.clone().into_iter().collect(),
        has_process: plan.process.is_some(),
        rootless: host.is_rootless,
        systemd_cgroup: false,
        config: RawValue::from_string(text).map_err(|e| invalid(e.to_string()))?,
    })
}

fn with_pid(state: &State, pid: i32) -> Result<State> {
    let start_time = state::process_start_time(pid)?
        .ok_or_else(|| Error::new(Kind::System, "it has ended").context("container init"))?;
    Ok(State { pid, start_time, ..state.clone() })
}

fn intent(state: &State) -> Intent {
    Intent {
        version: state::VERSION,
        id: state.id.clone(),
        bundle: state.bundle.clone(),
        created: state.created,
        cgroup: state.cgroup.clone(),
        boot_id: state.boot_id.clone(),
    }
}

/// Last of all, when init makes nothing any more: a small RLIMIT_NOFILE or RLIMIT_FSIZE would get
/// in its own way; and from outside, because in a user namespace it may not raise a limit.
fn set_rlimits(plan: &Plan, pid: i32) -> Result<()> {
    let Some(process) = &plan.process else { return Ok(()) };
    // RLIM_INFINITY is the largest number; rustix has no number for it.
    let value = |n: u64| (n != u64::MAX).then_some(n);
    for limit in &process.rlimits {
        let new = Rlimit { current: value(limit.soft), maximum: value(limit.hard) };
        prlimit(Pid::from_raw(pid), limit.resource, new).map_err(|errno| {
            let wanted = format!("soft {}, hard {}", limit.soft, limit.hard);
            Error::from(errno).context(format!("process.rlimits: set {} to {wanted}", limit.name))
        })?;
    }
    Ok(())
}

/// Whole or not at all: who waits for the file must never read half a number. No newline.
fn write_pid_file(path: &Path, pid: i32) -> Result<()> {
    let mode = Mode::from_raw_mode(0o666);
    write_whole(CWD, path, mode, pid.to_string().as_bytes())
}
