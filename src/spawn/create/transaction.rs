//! The side effects of a create, each recorded as it is made, so that an error undoes all of them.

use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use super::handshake::{InitHandshake, due};
use super::lifecycle::{remove_pid_file, run_poststop, send_pidfds};
use super::net_devices::NetDevices;
use super::request::CreateRequest;
use super::{prepare, record};
use crate::cgroup::Cgroup;
use crate::config::Plan;
use crate::error::retry_once;
use crate::fs::OwnMount;
use crate::host::Host;
use crate::init::start::Fifos;
use crate::init::stdio::Console;
use crate::init::{Init, create as child_side, limits, scheduling};
use crate::protocol::{self, Socket, ToInit, ToParent};
use crate::sd_notify;
use crate::spawn::child::{Parent, Running, write_pid_file};
use crate::spawn::handshake::{self, Due, Handshake};
use crate::spawn::idmapped;
use crate::state::{self, Birth, Reserved, State, Status};
use crate::sys::clone::Child;
use crate::terminal::supervise;
use crate::{Context, Error, Kind, Result, hooks, log, resctrl};

/// A container whose init is ready and waits for [`ToInit::Go`].
pub struct Created<'a> {
    parent: Parent<'a>,
    plan: Plan,
    state: State,
    /// Identifies init, if it is known already.
    birth: Option<Birth>,
    reserved: Reserved,
    cgroup: Option<Cgroup>,
    net_devices: Option<NetDevices>,
    child: Option<Child>,
    socket: Option<Socket>,
    master: Option<OwnedFd>,
    pid_file: Option<PathBuf>,
    service_manager: Option<sd_notify::Host>,
    notify: Option<sd_notify::Proxy>,
    poststop_owed: bool,
}

/// Makes all side effects, or undoes them, and the reservation too.
pub(super) fn run<'a>(
    plan: Plan,
    state: State,
    reserved: Reserved,
    host: &Host,
    request: &CreateRequest<'a>,
    console: Option<OwnedFd>,
) -> Result<Created<'a>> {
    let mut created = Created {
        parent: request.parent,
        service_manager: request.options.notify.clone().filter(|_| plan.notifies),
        plan,
        state,
        birth: None,
        reserved,
        cgroup: None,
        net_devices: None,
        child: None,
        socket: None,
        master: None,
        pid_file: None,
        notify: None,
        poststop_owed: false,
    };
    let made = created.make(host, request, console);
    if let Err(error) = made.and_then(|()| created.commit(request)) {
        return Err(created.undo(error));
    }
    Ok(created)
}

impl Created<'_> {
    /// Opens descriptors, makes the cgroup, clones init and answers it until it is ready.
    fn make(
        &mut self,
        host: &Host,
        request: &CreateRequest<'_>,
        console: Option<OwnedFd>,
    ) -> Result<()> {
        if let Some(host) = &self.service_manager {
            sd_notify::make_dir(self.reserved.dir())?;
            // For a created container, `start` makes the proxy and listens.
            if !request.waits_for_start {
                self.notify = sd_notify::Proxy::bind(self.reserved.dir(), host)?;
            }
        }
        let plan = &self.plan;
        let mut inherited = prepare::open(plan, host)?;
        let trees = inherited.sources.trees().filter(|_| plan.mounts_in_callers_namespace());
        self.state.own_mount = trees.map(|t| OwnMount::of(t.root.as_fd())).transpose()?;
        let fifos = request.waits_for_start.then(|| Fifos::make(self.reserved.dir()));
        let fifos = fifos.transpose()?;
        self.state.intel_rdt = plan.intel_rdt.as_ref().map(resctrl::Plan::make).transpose()?;
        let cgroup = self.cgroup.insert(plan.cgroup.create()?);
        // Without privileges the cgroup may be less than the intended cgroup.
        self.state.cgroup = cgroup.record().clone();
        let state = &self.state;
        let (socket, init_socket) = protocol::pair()?;
        let mut socket = Some(socket);
        let foreground_terminal =
            console.is_none() && plan.process.as_ref().is_some_and(|process| process.terminal);
        // Behind a go-between, init always waits: the message with its id must arrive first.
        let waits_for_cgroup = cgroup.needs_enter() || plan.route.trampoline;
        let home = inherited.sources.stage(plan, &inherited.proc)?;
        let init = Init {
            plan,
            inherited: &inherited,
            parent: &init_socket,
            fifos: fifos.as_ref(),
            console: Console {
                socket: console.as_ref(),
                parent: &init_socket,
                size: foreground_terminal.then(supervise::caller_size).flatten(),
                is_controlling: !plan.route.joins_pid,
                dev_console: plan.dev_console(),
            },
            cgroups: cgroup.record(),
            waits_for_cgroup,
            signals: request.signals,
            state,
        };
        let cloned = self.parent.clone(plan.route.clone_flags, cgroup.clone_fd(), || {
            // Init's copy of the runtime's end would hide the runtime's death from init.
            drop(socket.take());
            child_side::run(&init)
        });
        let cloned = cloned.context("clone init");
        let Some(socket) = socket else {
            return Err(Error::new(Kind::System, "the socket to init is gone"));
        };
        // Recorded from here on, so that it is killed if the runtime cannot return.
        let cloned = cloned.map(|child| self.child.insert(child));
        let cloned = match home {
            Some(home) => {
                home.leave(cloned, |child| handshake::await_go_between(self.parent, &socket, child))
            }
            None => cloned,
        };
        // With the end of init open here, the death of init would cause no end of file.
        drop(init_socket);
        let child = cloned?;
        log::debug(format_args!("cloned process {}", child.pid));
        let due = due(plan, foreground_terminal);
        let mut handshake = InitHandshake {
            shared: Handshake {
                parent: self.parent,
                name: handshake::INIT,
                process: plan.process.as_ref(),
                state,
                proc: &inherited.proc,
                socket: &socket,
                child,
                // A go-between sends the id of init.
                adopted: !due.contains(&Due::Pid),
                due: due.into_iter(),
                master: None,
                listener: None,
            },
            plan,
            inherited: &inherited,
            idmapped: idmapped::made_by_init(plan),
            cgroup,
            waits_for_cgroup,
            net_devices: None,
            hooks_ran: false,
            user_namespace: 0,
            birth: None,
            reserved: &mut self.reserved,
        };
        let ready = handshake.until_ready();
        if ready.is_err() && !handshake.shared.adopted {
            // There may be an init already that only its go-between knew.
            socket.shutdown_and_drain();
        }
        self.poststop_owed = handshake.hooks_ran;
        self.net_devices = handshake.net_devices.take();
        self.master = handshake.shared.master.take();
        self.birth = handshake.birth;
        self.state.user_namespace = handshake.user_namespace;
        self.socket = Some(socket);
        // A cgroup made by systemd is known only now.
        self.state.cgroup = cgroup.record().clone();
        ready
    }

    /// Sets limits and writes state and pid file: both must exist before init goes on.
    fn commit(&mut self, request: &CreateRequest<'_>) -> Result<()> {
        let child = self.child.as_ref().ok_or_else(not_made)?;
        if let Some(process) = self.plan.process.as_ref().filter(|p| !p.sets_own_rlimits) {
            limits::set(&process.rlimits, Some(child.pid))?;
        }
        if let Some(process) = &self.plan.process {
            scheduling::set_of(&process.scheduling, child.pid)?;
        }
        if let Some(groups) = &self.state.intel_rdt {
            groups.add(child.pid)?;
        }
        let birth = self.birth.map_or_else(|| record::birth(child), Ok)?;
        self.state.set_init(child.pid, birth);
        log::debug(format_args!("init is process {} and is ready", child.pid));
        self.reserved.commit(&self.state)?;
        if let Some(path) = &request.options.pid_file {
            write_pid_file(path, child.pid)?;
            self.pid_file = Some(path.clone());
        }
        send_pidfds(request.options, &self.plan, child)
    }

    /// Ends a create: from here on init waits for `start`, and no longer for this process.
    pub fn leave(mut self) -> Result<Child> {
        match self.go() {
            Ok(_) => {
                let child = self.child.take().ok_or_else(not_made)?;
                self.reserved.keep();
                Ok(child)
            }
            Err(error) => Err(self.undo(error)),
        }
    }

    pub fn start(mut self) -> Result<Running> {
        let started = self.go().and_then(|socket| match socket.next()? {
            // Close-on-exec: the program runs.
            None => Ok(()),
            Some(ToParent::Failed(error)) => Err(error),
            Some(_) => Err(handshake::unexpected()),
        });
        if let Err(error) = started.and_then(|()| self.poststart()) {
            // The container was created: undoing that is its end, with the poststop hooks.
            self.poststop_owed = true;
            return Err(self.undo(error));
        }
        let child = self.child.take().ok_or_else(not_made)?;
        self.reserved.keep();
        Ok(Running { child, master: self.master, notify: self.notify })
    }

    fn go(&self) -> Result<&Socket> {
        let (Some(socket), Some(child)) = (&self.socket, &self.child) else {
            return Err(not_made());
        };
        if socket.tell_init(ToInit::Go)? {
            Ok(socket)
        } else {
            Err(handshake::last_error(self.parent, socket, child, handshake::INIT))
        }
    }

    fn poststart(&self) -> Result<()> {
        let hooks = &self.plan.hooks.poststart;
        if hooks.is_empty() {
            return Ok(());
        }
        let state = state::document(&self.state, Status::Running, self.state.pid).to_json()?;
        hooks::run_all("poststart", hooks, &state)
    }

    /// Undoes everything: ends init and all processes that it may have started, and removes the
    /// cgroup and the directory. If hooks of create have run, the poststop hooks end the lifecycle
    /// (runtime.md, "Lifecycle"). Returns `error`, the first error; an error on the way is a
    /// warning.
    fn undo(self, error: Error) -> Error {
        let warn = |result: Result<()>| result.unwrap_or_else(log::warn);
        if let Some(path) = &self.pid_file {
            warn(retry_once(|| remove_pid_file(path)));
        }
        if let Some(child) = &self.child {
            warn(retry_once(|| self.parent.kill(child)).context("kill the container's init"));
        }
        if let Some(mount) = &self.state.own_mount {
            warn(retry_once(|| mount.detach(&self.plan.rootfs)));
        }
        if let Some(groups) = &self.state.intel_rdt {
            warn(retry_once(|| groups.abandon()));
        }
        if let Some(cgroup) = self.cgroup {
            if self.child.is_some() && !self.plan.has_private_pid() {
                warn(retry_once(|| cgroup.record().kill_all()));
            }
            warn(retry_once(|| cgroup.record().abandon()));
        }
        // After the last process of the container, which could have put another device in its place.
        if let Some(net_devices) = self.net_devices {
            net_devices.move_back();
        }
        warn(retry_once(|| self.reserved.abandon()));
        if self.poststop_owed {
            run_poststop(&self.plan, &self.state);
        }
        error
    }
}

fn not_made() -> Error {
    Error::new(Kind::System, "the container has no init")
}
