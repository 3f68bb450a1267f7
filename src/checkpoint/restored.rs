//! The side effects of a restore, each recorded as it is made, so that an error undoes all of them.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::sched::{CloneFlags, unshare};
use rustix::fs::CWD;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::config_file;
use super::descriptors;
use super::external::{self, External, Joined, Parts, namespace_id};
use super::images::Directories;
use super::mount_points;
use super::rpc::{CgroupRoot, InheritFd, Notify, Opts, Pair, Type};
use super::service::{Service, Start};
use super::settings::Settings;
use crate::cgroup::Cgroup;
use crate::config::{Choice, KINDS, MountKind, Plan, kind_name};
use crate::error::retry_once;
use crate::fs::Proc;
use crate::init::enter::keyring;
use crate::mount::tree;
use crate::mount::trees::open_source;
use crate::spawn::child::write_pid_file;
use crate::spawn::create::handshake::delegate;
use crate::spawn::create::lifecycle::{
    remove_pid_file, run_create_hooks, run_poststop, send_pidfds,
};
use crate::spawn::create::record;
use crate::spawn::create::{CreateRequest, Options};
use crate::spawn::{Parent, Running};
use crate::state::{Reserved, State};
use crate::sys::clone::Child;
use crate::terminal::socket;
use crate::{Context, Error, Kind, Result, log};

/// The parameters of a restore.
pub struct Restore<'a> {
    /// The container, as for a create.
    pub create: CreateRequest<'a>,
    /// The settings of CRIU.
    pub settings: &'a Settings,
}

/// The images, open.
#[derive(Debug)]
pub(super) struct Sources {
    directories: Directories,
    pipes: Vec<InheritFd>,
}

impl Sources {
    pub fn open(settings: &Settings) -> Result<Sources> {
        let directories = Directories::open(settings, false, "restore.log")?;
        let pipes = descriptors::pipes(&directories)?;
        Ok(Sources { directories, pipes })
    }
}

/// A container that is being restored.
pub(super) struct Restored<'a> {
    parent: Parent<'a>,
    plan: Plan,
    state: State,
    reserved: Reserved,
    cgroup: Option<Cgroup>,
    child: Option<Child>,
    master: Option<OwnedFd>,
    pid_file: Option<PathBuf>,
    poststop_owed: bool,
}

impl<'a> Restored<'a> {
    /// Starts with the reserved directory as the only side effect.
    pub fn new(parent: Parent<'a>, plan: Plan, state: State, reserved: Reserved) -> Restored<'a> {
        Restored {
            parent,
            plan,
            state,
            reserved,
            cgroup: None,
            child: None,
            master: None,
            pid_file: None,
            poststop_owed: false,
        }
    }

    /// Makes all side effects, or none.
    pub fn run(
        mut self,
        restore: &Restore<'_>,
        sources: Sources,
        console: Option<OwnedFd>,
    ) -> Result<Running> {
        let made = self.make(restore, &sources, console.as_ref());
        let made = made.and_then(|()| self.announce(restore.create.options));
        match (made, self.child.take()) {
            (Ok(()), Some(child)) => {
                self.reserved.keep();
                Ok(Running { child, master: self.master, notify: None })
            }
            (made, child) => {
                self.child = child;
                let nothing = || Error::new(Kind::System, "criu has restored no process");
                Err(self.undo(made.err().unwrap_or_else(nothing)))
            }
        }
    }

    fn make(
        &mut self,
        restore: &Restore<'_>,
        sources: &Sources,
        console: Option<&OwnedFd>,
    ) -> Result<()> {
        let settings = restore.settings;
        let joined = external::namespaces_to_restore(&self.plan.namespaces)?;
        let places = mount_points::make(&self.plan)?;
        let cgroup = self.cgroup.insert(self.plan.cgroup.create()?);
        self.state.cgroup = cgroup.record().clone();
        let (plan, place) = (&self.plan, self.reserved.path());
        let prepare = || prepare(plan, &place, settings);
        let service = Service::start(&Start {
            settings,
            directories: &sources.directories,
            parent: self.parent,
            // The mounts for CRIU end with it.
            flags: CloneFlags::CLONE_NEWNS.bits(),
            cgroup: cgroup.clone_fd(),
            stdio: true,
            inherited: &joined.files,
            signals: restore.create.signals,
            prepare: &prepare,
        })?;
        service.run(|service| {
            self.enter(service.pid())?;
            service.execute()?;
            let opts = self.opts(settings, sources, &joined, &places, service.pid())?;
            service
                .request(Type::Restore, opts, &mut |notify, fd| self.notified(notify, fd, console))
        })
    }

    /// Moves the process of CRIU to where the processes of the container start.
    fn enter(&mut self, pid: i32) -> Result<()> {
        let Some(cgroup) = &mut self.cgroup else { return Ok(()) };
        let entered = enter(cgroup, pid);
        // A cgroup made by systemd is known only now.
        self.state.cgroup = cgroup.record().clone();
        entered
    }

    fn opts(
        &self,
        settings: &Settings,
        sources: &Sources,
        joined: &Joined,
        places: &[PathBuf],
        pid: i32,
    ) -> Result<Opts> {
        let place = self.reserved.path();
        let root = place.to_str().map(str::to_owned);
        let root = root.ok_or_else(|| Error::invalid("--root", &place, "not UTF-8"))?;
        Ok(Opts {
            root: Some(root),
            log_file: Some(sources.directories.log().to_owned()),
            evasive_devices: Some(true),
            restore_sibling: Some(true),
            config_file: config_file(&self.state.annotations)?,
            external_mounts: self.external_mounts(places)?,
            inherit_fds: [&joined.inherited[..], &sources.pipes[..]].concat(),
            join_ns: joined.replaced.clone(),
            cgroup_roots: cgroup_roots(pid)?,
            manage_cgroups_mode: Some(settings.restored_cgroup_mode().into()),
            ..settings.opts()
        })
    }

    fn external_mounts(&self, places: &[PathBuf]) -> Result<Vec<Pair>> {
        let plan = &self.plan;
        let parts = Parts {
            namespaces: &plan.namespaces,
            mounts: &plan.mounts,
            devices: &plan.devices,
            cgroup: &self.state.cgroup,
        };
        let mut pairs = Vec::new();
        for external in parts.mounts() {
            let field = &external.field;
            let place = external.place(&plan.mounts, places);
            let source = source(&external, plan).with_context(|| field.clone())?;
            let Some(value) = source.to_str().map(str::to_owned) else {
                return Err(Error::invalid(field, &source, "cannot be restored: not UTF-8"));
            };
            pairs.push(Pair { key: external::name(field, &place)?, value });
        }
        if !plan.masked.is_empty() {
            pairs.push(external::null());
        }
        Ok(pairs)
    }

    /// Does what CRIU asks for in the course of the restore.
    fn notified(
        &mut self,
        notify: &Notify,
        fd: Option<OwnedFd>,
        console: Option<&OwnedFd>,
    ) -> Result<()> {
        match notify.script() {
            "setup-namespaces" => self.create_hooks(notify.pid()),
            "orphan-pts-master" => match (fd, console) {
                (Some(master), Some(console)) => {
                    socket::send_master(console.as_fd(), master.as_fd(), "/dev/ptmx")
                }
                (master, _) => {
                    self.master = master;
                    Ok(())
                }
            },
            "post-restore" => self.adopt(notify.pid()).context("take over the restored process"),
            _ => Ok(()),
        }
    }

    /// Runs the hooks that run in the runtime's namespaces while a container is created.
    fn create_hooks(&mut self, pid: i32) -> Result<()> {
        let hooks = &self.plan.hooks;
        if hooks.prestart.is_empty() && hooks.create_runtime.is_empty() {
            return Ok(());
        }
        self.poststop_owed = true;
        run_create_hooks(&self.plan, &self.state, pid)
    }

    /// Makes the restored process, which does not run yet, the init of the container. From here on
    /// the container exists for other commands.
    fn adopt(&mut self, pid: i32) -> Result<()> {
        let named = Pid::from_raw(pid).ok_or_else(|| Error::new(Kind::System, "no process id"))?;
        let pidfd = pidfd_open(named, PidfdFlags::empty()).context("pidfd_open")?;
        let child = self.child.insert(Child { pid, pidfd });
        self.state.set_init(pid, record::birth(child)?);
        self.check_namespaces(pid)?;
        self.state.user_namespace = namespace_id(pid, "user")?;
        self.state.keeps_clocks = !self.plan.namespaces.has(crate::config::Kind::Time)
            && namespace_id(pid, "time")? != namespace_id("self", "time")?;
        if let Some(cgroup) = &mut self.cgroup {
            cgroup.set_devices()?;
            delegate(&self.plan, cgroup, pid)?;
        }
        self.reserved.commit(&self.state)
    }

    /// Checks that the restored process has the namespaces that the configuration requests. CRIU makes
    /// those of the images.
    fn check_namespaces(&self, pid: i32) -> Result<()> {
        for kind in KINDS {
            let name = kind.to_string();
            let found = namespace_id(pid, &name)?;
            let fits = match self.plan.namespaces.get(kind) {
                Choice::Inherit => true,
                Choice::New => found != namespace_id("self", &name)?,
                Choice::Join(path) => {
                    let joined =
                        std::fs::metadata(path).with_context(|| format!("look at {path:?}"));
                    found == std::os::unix::fs::MetadataExt::ino(&joined?)
                }
            };
            if !fits {
                let why =
                    "the restored process does not have it; the images are of another container";
                return Err(Error::invalid("linux.namespaces", kind_name(kind), why));
            }
        }
        Ok(())
    }

    fn announce(&mut self, options: &Options) -> Result<()> {
        let Some(init) = &self.child else { return Ok(()) };
        if let Some(path) = &options.pid_file {
            write_pid_file(path, init.pid)?;
            self.pid_file = Some(path.clone());
        }
        send_pidfds(options, &self.plan, init)
    }

    /// Undoes everything, like a create that has failed. Returns `error`, the first error; an error
    /// on the way is a warning.
    fn undo(self, error: Error) -> Error {
        let warn = |result: Result<()>| result.unwrap_or_else(log::warn);
        if let Some(path) = &self.pid_file {
            warn(retry_once(|| remove_pid_file(path)));
        }
        if let Some(child) = &self.child {
            warn(retry_once(|| self.parent.kill(child)).context("kill the restored process"));
        }
        if let Some(cgroup) = self.cgroup {
            // CRIU kills the processes that it has restored, unless CRIU itself was killed.
            warn(retry_once(|| cgroup.record().kill_all()));
            warn(retry_once(|| cgroup.record().abandon()));
        }
        warn(retry_once(|| self.reserved.abandon()));
        if self.poststop_owed {
            run_poststop(&self.plan, &self.state);
        }
        error
    }
}

/// Returns the path of the source of an external mount. CRIU follows neither a link at its end nor
/// keeps links of the image inside the root file system, so there are none in the path.
fn source(external: &External, plan: &Plan) -> Result<PathBuf> {
    let mount = external.index.and_then(|index| plan.mounts.get(index));
    match mount.map(|mount| &mount.kind) {
        Some(MountKind::Bind(source)) => external::target(open_source(source, plan)?.as_fd()),
        _ => Ok(external.source.clone()),
    }
}

/// Prepares the process of CRIU. CRIU requires a root file system that is a mount, and whose parent
/// is not covered. The directory of the container is such a place; in the mount namespace of CRIU
/// nobody else looks for it.
///
/// A CRIU that leaves cgroups alone makes no cgroup namespace; the restored processes inherit this
/// process's, which is in the container's cgroup.
fn prepare(plan: &Plan, place: &Path, settings: &Settings) -> Result<()> {
    tree::make_all_slaves().context("make the mounts of criu's namespace slaves")?;
    let root = tree::clone_path(&plan.rootfs, true).context("open the root file system")?;
    tree::attach_at(&root, CWD, place)
        .with_context(|| format!("mount the root file system on {place:?} for criu"))?;
    if settings.ignores_cgroups() && plan.namespaces.cgroup == Choice::New {
        unshare(CloneFlags::CLONE_NEWCGROUP).context("make the cgroup namespace")?;
    }
    match &plan.keyring {
        Some(name) => keyring(&Proc::open()?, name, plan.process.as_ref(), true),
        None => Ok(()),
    }
}

fn enter(cgroup: &mut Cgroup, pid: i32) -> Result<()> {
    cgroup.make_unit(pid)?;
    if cgroup.needs_enter() {
        cgroup.enter(pid)?;
        cgroup.enter_below(pid)?;
    }
    cgroup.prepare_devices();
    Ok(())
}

/// Returns the cgroups of a process: CRIU restores the cgroups of the images there.
fn cgroup_roots(pid: i32) -> Result<Vec<CgroupRoot>> {
    let text = crate::fs::read_long_text(&format!("/proc/{pid}/cgroup"))?;
    let mut roots = Vec::new();
    for line in text.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else { continue };
        // The line of cgroup v2 has an empty name, which CRIU expects.
        roots.extend(
            controllers.split(',').map(|name| CgroupRoot {
                controller: Some(name.to_owned()),
                path: path.to_owned(),
            }),
        );
    }
    Ok(roots)
}
