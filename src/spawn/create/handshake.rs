//! The messages of a create: the runtime answers init until init is ready.

use std::iter::repeat_n;
use std::os::fd::OwnedFd;

use super::lifecycle::run_create_hooks;
use super::net_devices::NetDevices;
use super::record;
use crate::cgroup::Cgroup;
use crate::config::options::MountAttr;
use crate::config::{Choice, FilterPoint, IdMaps, Mount, MountKind, Plan, Process};
use crate::init::Inherited;
use crate::init::last_steps::user_namespace;
use crate::protocol::{ToInit, ToParent};
use crate::spawn::handshake::{Due, Handshake, unexpected};
use crate::spawn::{idmapped, maps};
use crate::state::{Birth, Reserved, Status};
use crate::{Context, Result};

pub(super) struct InitHandshake<'a> {
    pub shared: Handshake<'a>,
    pub plan: &'a Plan,
    pub inherited: &'a Inherited,
    /// The mounts that init makes and the runtime idmaps, in their order.
    pub idmapped: std::vec::IntoIter<&'a Mount>,
    pub cgroup: &'a mut Cgroup,
    pub waits_for_cgroup: bool,
    /// The network devices that have moved.
    pub net_devices: Option<NetDevices>,
    /// Whether hooks of create have been started: then poststop hooks are owed.
    pub hooks_ran: bool,
    pub user_namespace: u64,
    /// Identifies init, if it is known.
    pub birth: Option<Birth>,
    pub reserved: &'a mut Reserved,
}

impl InitHandshake<'_> {
    pub fn until_ready(&mut self) -> Result<()> {
        if !self.plan.route.trampoline {
            self.shared.set_oom_score()?;
            if self.plan.ids.is_none() {
                self.enter_cgroup()?;
            }
        }
        loop {
            if self.shared.due.as_slice() == [Due::Ready] {
                // A failure repeats in commit, which reports it: init may have ended with an error of
                // its own.
                let _ = self.prepare_state();
            }
            match self.shared.receive()? {
                ToParent::NeedMap => self.map()?,
                ToParent::Pid(pid) => self.replace_child(pid)?,
                ToParent::NeedNetDevices => self.move_net_devices()?,
                ToParent::NeedOffsets => self.set_clocks()?,
                ToParent::NeedIdmap(index, mount) => self.idmap(index, &mount)?,
                ToParent::NeedHooks => self.run_hooks()?,
                ToParent::Ready { user_namespace } => {
                    self.user_namespace = match self.plan.namespaces.has_user() {
                        true => user_namespace,
                        false => self.own_user_namespace()?,
                    };
                    self.cgroup.set_devices()?;
                    return delegate(self.plan, self.cgroup, self.shared.child.pid);
                }
                _ => return Err(unexpected()),
            }
        }
    }

    /// Writes the state while init is at work, so that init does not wait for it. In a user namespace
    /// the state is known only when init is ready.
    fn prepare_state(&mut self) -> Result<()> {
        if self.plan.namespaces.has_user() {
            return Ok(());
        }
        let mut state = self.shared.state.clone();
        let init = &*self.shared.child;
        state.set_init(init.pid, record::birth(init)?);
        state.user_namespace = self.own_user_namespace()?;
        state.cgroup = self.cgroup.record().clone();
        self.birth = Some(state.birth());
        self.reserved.prepare(state)
    }

    /// Returns the user namespace of the runtime.
    fn own_user_namespace(&mut self) -> Result<u64> {
        if self.user_namespace == 0 {
            self.user_namespace = user_namespace(&self.inherited.proc)?;
        }
        Ok(self.user_namespace)
    }

    fn enter_cgroup(&mut self) -> Result<()> {
        let pid = self.shared.child.pid;
        self.cgroup.make_unit(pid)?;
        if self.cgroup.needs_enter() {
            self.cgroup.enter(pid)?;
            self.cgroup.enter_below(pid)?;
        }
        if self.waits_for_cgroup {
            self.shared.tell(ToInit::CgroupReady)?;
        }
        self.cgroup.prepare_devices();
        Ok(())
    }

    fn map(&mut self) -> Result<()> {
        if let Some(ids) = &self.plan.ids {
            maps::write(ids, self.shared.child.pid, &self.inherited.proc)?;
        }
        idmapped::apply_container(self.plan, &self.inherited.sources, self.shared.child.pid)?;
        self.shared.tell(ToInit::Mapped)?;
        if self.plan.route.trampoline { Ok(()) } else { self.enter_cgroup() }
    }

    fn move_net_devices(&mut self) -> Result<()> {
        let opened = NetDevices::open(&self.inherited.proc, self.shared.child.pid)?;
        let net_devices = self.net_devices.insert(opened);
        for device in &self.plan.net_devices {
            net_devices.move_in(device)?;
        }
        self.shared.tell(ToInit::NetDevicesMoved)
    }

    fn set_clocks(&self) -> Result<()> {
        if let Some(offsets) = &self.plan.time_offsets {
            let path = format!("{}/timens_offsets", self.shared.child.pid);
            self.inherited.proc.write(path, offsets.as_bytes()).context("linux.timeOffsets")?;
        }
        self.shared.tell(ToInit::OffsetsWritten)
    }

    fn idmap(&mut self, index: u32, tree: &OwnedFd) -> Result<()> {
        let mount = self.idmapped.next().filter(|mount| u32::try_from(mount.index) == Ok(index));
        let mount = mount.ok_or_else(unexpected)?;
        idmapped::apply_made(mount, tree, self.inherited, self.shared.child.pid)?;
        self.shared.tell(ToInit::Idmapped)
    }

    fn replace_child(&mut self, pid: i32) -> Result<()> {
        self.shared.replace_child(pid)?;
        if self.plan.route.joins_pid {
            if let Some(listener) = self.shared.listener.take() {
                let pid = self.shared.child.pid;
                self.shared.send_listener(&listener, pid, (Status::Creating, pid))?;
            }
            return self.shared.tell(ToInit::Adopted);
        }
        self.shared.set_oom_score()?;
        self.enter_cgroup()
    }

    fn run_hooks(&mut self) -> Result<()> {
        // createContainer hooks run in the container's cgroup.
        self.cgroup.set_devices()?;
        self.hooks_ran = self.plan.hooks.has_create();
        run_create_hooks(self.plan, self.shared.state, self.shared.child.pid)?;
        self.shared.tell(ToInit::HooksDone)
    }
}

/// Gives the cgroup to the user of the container's process `init`, who can then divide it further
/// (config-linux.md, "Cgroup ownership"): on cgroup v2, with a cgroup namespace of the container's own
/// and a writable cgroup mount.
pub(crate) fn delegate(plan: &Plan, cgroup: &Cgroup, init: i32) -> Result<()> {
    let is_writable = plan
        .mounts
        .iter()
        .filter(|mount| mount.kind == MountKind::Cgroup)
        .any(|mount| !(mount.options.set | mount.options.rec_set).contains(MountAttr::RDONLY));
    let is_wanted = plan.namespaces.cgroup == Choice::New && is_writable;
    if !is_wanted || !cgroup.can_be_delegated() {
        return Ok(());
    }
    let inside = plan.process.as_ref().map_or(0, |process| process.identity.uid);
    let owner = if plan.namespaces.has_user() {
        IdMaps::outside(&maps::read_map(init, "uid_map")?, inside)
    } else {
        Some(inside)
    };
    match owner {
        // The runtime has made the cgroup, and so is its owner already.
        Some(uid) if uid == nix::unistd::geteuid().as_raw() => Ok(()),
        Some(uid) => cgroup.delegate(uid),
        // A user id without a mapping can own nothing on the host.
        None => Ok(()),
    }
}

/// Returns the messages that are due from init, in their order; `foreground`: the runtime receives the
/// master of the terminal.
pub(super) fn due(plan: &Plan, foreground: bool) -> Vec<Due> {
    let has_listener = plan.process.as_ref().is_some_and(Process::has_listener);
    let joins_pid = plan.route.joins_pid;
    let early = joins_pid && plan.filter_point == FilterPoint::Clone;
    let has_offsets = plan.namespaces.time == Choice::New && plan.time_offsets.is_some();
    let idmaps = plan.mounts.iter().filter(|mount| mount.is_idmapped_when_made()).count();
    let until_mounts = [
        (Due::Map, plan.ids.is_some()),
        (Due::Pid, plan.route.trampoline),
        (Due::NetDevices, !plan.net_devices.is_empty()),
        (Due::Offsets, has_offsets && plan.namespaces.has_user()),
    ];
    let rest = [
        (Due::Hooks, plan.hooks.has_create() || joins_pid),
        (Due::Console, foreground),
        (Due::Listener, has_listener && early),
        (Due::Pid, joins_pid),
        (Due::Listener, has_listener && !early),
        (Due::Ready, true),
    ];
    let all = until_mounts.into_iter().chain(repeat_n((Due::Idmap, true), idmaps)).chain(rest);
    all.filter_map(|(due, is_due)| is_due.then_some(due)).collect()
}
