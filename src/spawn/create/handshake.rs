//! The messages of a create: the runtime answers init until init is ready.

use crate::cgroup::Cgroup;
use crate::config::Plan;
use crate::hooks;
use crate::init::Inherited;
use crate::protocol::{ToInit, ToParent};
use crate::spawn::handshake::{Handshake, unexpected};
use crate::spawn::{idmapped, maps, owner};
use crate::state::{self, Status};
use crate::{Context, Result};

/// The exchange with init, and what the answers need.
pub(super) struct InitHandshake<'a> {
    /// The part that create and exec share.
    pub shared: Handshake<'a>,
    /// The decisions.
    pub plan: &'a Plan,
    /// The descriptors that are open for init.
    pub inherited: &'a Inherited,
    /// The container's cgroup.
    pub cgroup: &'a mut Cgroup,
    /// Whether NeedHooks has been answered. An init in a joined pid namespace, which neighbours
    /// see, is cloned only after that, so its maps, clocks and hooks are not due again.
    pub hooks_done: bool,
    /// Whether hooks of create have been started: then poststop hooks are owed.
    pub hooks_ran: bool,
    /// The user namespace of init, when init is ready.
    pub user_namespace: u64,
}

impl InitHandshake<'_> {
    /// Answers until init is ready.
    pub fn until_ready(&mut self) -> Result<()> {
        if !self.plan.route.trampoline {
            self.shared.set_oom_score()?;
            if self.plan.ids.is_none() {
                self.enter_cgroup()?;
            }
        }
        loop {
            match self.shared.receive()? {
                ToParent::NeedMap | ToParent::NeedOffsets | ToParent::NeedHooks
                    if self.hooks_done =>
                {
                    return Err(unexpected());
                }
                ToParent::NeedMap => self.map()?,
                ToParent::Pid(pid) if !self.shared.adopted => self.replace_child(pid)?,
                ToParent::NeedOffsets => self.set_clocks()?,
                ToParent::NeedHooks => self.run_hooks()?,
                ToParent::Ready { user_namespace } if self.shared.adopted => {
                    self.user_namespace = user_namespace;
                    self.cgroup.set_devices()?;
                    return owner::hand_over(self.plan, self.cgroup, self.shared.child.pid);
                }
                _ => return Err(unexpected()),
            }
        }
    }

    fn enter_cgroup(&mut self) -> Result<()> {
        let waits = waits_for_cgroup(self.cgroup, self.plan.route.trampoline);
        let pid = self.shared.child.pid;
        self.cgroup.make_unit(pid)?;
        if self.cgroup.needs_enter() {
            self.cgroup.enter(pid)?;
            self.cgroup.enter_below(pid)?;
        }
        if waits {
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

    fn set_clocks(&self) -> Result<()> {
        if let Some(offsets) = &self.plan.time_offsets {
            let path = format!("{}/timens_offsets", self.shared.child.pid);
            self.inherited.proc.write(path, offsets.as_bytes()).context("linux.timeOffsets")?;
        }
        self.shared.tell(ToInit::OffsetsWritten)
    }

    fn replace_child(&mut self, pid: i32) -> Result<()> {
        self.shared.replace_child(pid)?;
        if self.plan.route.joins_pid {
            self.shared.is_visible = true;
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
        self.hooks_done = true;
        // createContainer hooks run in the container's cgroup.
        self.cgroup.set_devices()?;
        self.hooks_ran = self.plan.hooks.has_create();
        let pid = self.shared.child.pid;
        let state = state::document(self.shared.state, Status::Creating, pid).to_json()?;
        hooks::run_all("prestart", &self.plan.hooks.prestart, &state)?;
        hooks::run_all("createRuntime", &self.plan.hooks.create_runtime, &state)?;
        self.shared.tell(ToInit::HooksDone)
    }
}

/// Whether init waits until it is in its cgroups: if the runtime has to put init there, and always
/// behind a go-between, whose message with the id of init must arrive first.
pub(super) fn waits_for_cgroup(cgroup: &Cgroup, go_between: bool) -> bool {
    cgroup.needs_enter() || go_between
}
