//! Making the planned cgroup. What fails half-way is undone, and nothing else.

use std::fs::DirBuilder;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use crate::{Context, Error, Kind, Result, log};

use super::Mode;
use super::below;
use super::controllers::{THREADED, enable, fill_cpuset};
use super::device_control::Devices;
use super::files;
use super::plan::{DeviceControl, Plan, Target};
use super::proof::{self, Identity};
use super::record::{Dir, Record};

/// A container's cgroup, ready for its first process.
#[derive(Debug)]
pub struct Cgroup {
    record: Record,
    /// The v2 directory.
    unified: Option<OwnedFd>,
    /// Processes are moved into the v2 cgroup, because the kernel would refuse a clone into it.
    enter_unified: bool,
    /// What is to be made by systemd as soon as there is a process for it.
    awaited: Option<Plan>,
    /// systemd moves processes there, because this user may not.
    by_systemd: bool,
    /// Device rules that are not in force yet.
    devices: Option<Devices>,
    /// Where below the v2 directory the process starts.
    below: Option<PathBuf>,
    /// The directory at `below`, once it exists.
    below_fd: Option<OwnedFd>,
    /// The directory that stands for all, locked against other creates, where it is not the v2 one.
    _reserved: Option<OwnedFd>,
}

impl Plan {
    /// Makes the directories and sets the limits; on an error everything is removed again.
    /// [`Cgroup::set_devices`] applies the device rules. [`Cgroup::make_unit`] makes the unit that
    /// systemd provides, because a unit needs a process.
    pub fn create(&self) -> Result<Cgroup> {
        if self.unit.is_some() {
            let record = Record::new(self.mode, Vec::new());
            let awaited = Some(self.clone());
            let below = self.below.clone();
            return Ok(Cgroup { awaited, below, ..Cgroup::opened(record, None) });
        }
        let mut made = Vec::new();
        self.create_all(&mut made).inspect_err(|_| {
            for dir in made.iter().rev() {
                // In use by others by now, or gone: neither is ours to care for.
                let _ = std::fs::remove_dir(dir);
            }
        })
    }

    fn create_all(&self, made: &mut Vec<PathBuf>) -> Result<Cgroup> {
        // The container reads its limits here, as whatever user, whatever the caller's umask is.
        let umask = nix::sys::stat::umask(nix::sys::stat::Mode::empty());
        let result = self.create_dirs(made);
        nix::sys::stat::umask(umask);
        result
    }

    fn create_dirs(&self, made: &mut Vec<PathBuf>) -> Result<Cgroup> {
        let mut dirs: Vec<Dir> = Vec::with_capacity(self.targets.len());
        let (mut unified, mut reserved) = (None, None);
        let (mut identity, mut devices) = (None, None);
        for (index, target) in self.targets.iter().enumerate() {
            let path = &target.dir.path;
            let before = made.len();
            let new = match make(&target.dir, made) {
                Ok(new) => new,
                Err(error) if self.may_lack(target, &error) => continue,
                Err(error) => return Err(self.explain(error)),
            };
            let above = made.len().saturating_sub(before + usize::from(new));
            dirs.push(Dir { made: new, above, ..target.dir.clone() });
            log::debug(format_args!("cgroup {}", path.display()));
            devices = devices.or_else(|| self.devices_of(index, path, new));
            let first = identity.is_none();
            if new && !first && self.is_bare(target) {
                continue;
            }
            let fd = files::open_dir(path).with_context(|| format!("open {}", path.display()))?;
            if first {
                proof::reserve(fd.as_fd(), path)?;
                identity = Some(Identity::of(fd.as_fd(), self.options.rootless)?);
            }
            if !new && self.unit.is_none() {
                must_be_unused(&target.dir.path)?;
            }
            if !new || path.parent() != Some(&target.dir.root) {
                must_be_thawed(&target.dir, fd.as_fd())?;
            }
            if target.dir.is_unified() {
                enable(target)?;
                must_take_processes(target, fd.as_fd())?;
            }
            if target.dir.has_controller("cpuset") {
                fill_cpuset(target, new)?;
            }
            for writes in &target.writes {
                files::apply(fd.as_fd(), path, writes).map_err(|error| self.explain(error))?;
            }
            match (target.dir.is_unified(), first) {
                (true, _) => unified = Some(fd),
                (false, true) => reserved = Some(fd),
                (false, false) => {}
            }
        }
        // Now that nothing can fail any more.
        if let (Some(identity), Some(dir)) = (&mut identity, unified.as_ref().or(reserved.as_ref()))
            && self.unit.is_none()
            && dirs.first().is_some_and(|dir| !dir.made)
        {
            identity.mark(dir.as_fd())?;
        }
        let record = Record::new(self.mode, dirs).identified(identity);
        Ok(Cgroup {
            enter_unified: self.enter_unified || enters_only(&record),
            devices,
            below: self.below.clone(),
            _reserved: reserved,
            ..Cgroup::opened(record, unified)
        })
    }

    /// Whether a new directory is all there is to be done: in most v1 hierarchies it is. One
    /// that is a child of the root cannot be frozen from above.
    fn is_bare(&self, target: &Target) -> bool {
        let child_of_root = target.dir.path.parent() == Some(&target.dir.root);
        !target.dir.is_unified()
            && !target.dir.has_controller("cpuset")
            && (child_of_root || !target.dir.has_controller("freezer"))
            && !target.has_limits()
    }

    /// Whether a container can do without a directory that may not be made.
    fn may_lack(&self, target: &Target, error: &Error) -> bool {
        self.options.rootless && !self.explicit && !target.has_limits() && is_permission(error)
    }

    fn explain(&self, error: Error) -> Error {
        if self.options.rootless && is_permission(&error) {
            return error.context(
                "rootless: delegate a cgroup to this user, or ask for no limits and no cgroupsPath",
            );
        }
        error
    }

    /// The device rules, if the directory of this index is the one that they are for.
    fn devices_of(&self, index: usize, path: &Path, new: bool) -> Option<Devices> {
        match &self.devices {
            DeviceControl::V1(at, _) | DeviceControl::Program(at, _) if *at == index => {
                // systemd attaches its own rules beside ours, and both count.
                let new = new || self.unit.is_some();
                let (control, properties) = (self.devices.clone(), self.unit_devices.clone());
                Some(Devices::new(control, properties, path, new, self.options.rootless))
            }
            _ => None,
        }
    }
}

/// Whether a process must be moved into the v2 directory, because it was there before: since
/// Linux 6.13 a process that is cloned into a cgroup dies at once if `cgroup.kill` has ever been
/// written to there.
fn enters_only(record: &Record) -> bool {
    record.unified().is_some_and(|dir| !dir.made)
}

pub(super) fn is_permission(error: &Error) -> bool {
    matches!(error.errno(), Some(Errno::EPERM | Errno::EACCES | Errno::EROFS))
}

/// Makes the directory and those above it. True if it was not there before.
fn make(dir: &Dir, made: &mut Vec<PathBuf>) -> Result<bool> {
    // Someone who removes an empty parent at the same moment makes this start again.
    for _ in 0..16 {
        match mkdir(&dir.path, made) {
            Ok(new) => return Ok(new),
            Err(Errno::ENOENT) => {}
            Err(errno) => return Err(mkdir_error(&dir.path, errno)),
        }
        let below: Vec<&Path> =
            dir.path.ancestors().skip(1).take_while(|path| *path != dir.root).collect();
        for path in below.into_iter().rev() {
            match mkdir(path, made) {
                Ok(_) | Err(Errno::ENOENT) => {}
                Err(errno) => return Err(mkdir_error(path, errno)),
            }
        }
    }
    Err(mkdir_error(&dir.path, Errno::ENOENT))
}

fn mkdir(path: &Path, made: &mut Vec<PathBuf>) -> std::result::Result<bool, Errno> {
    match DirBuilder::new().mode(0o755).create(path) {
        Ok(()) => {
            made.push(path.to_owned());
            Ok(true)
        }
        Err(error) => match Errno::from_raw(error.raw_os_error().unwrap_or(0)) {
            Errno::EEXIST => Ok(false),
            errno => Err(errno),
        },
    }
}

fn mkdir_error(path: &Path, errno: Errno) -> Error {
    Error::sys(errno).context(format!("mkdir {}", path.display()))
}

/// A cgroup that was there before may be another container's.
fn must_be_unused(path: &Path) -> Result<()> {
    let pids = files::all_processes(path)?;
    if pids.is_empty() {
        return Ok(());
    }
    // The words that runc has, which scripts look for.
    let why = format!(
        "container's cgroup is not empty: {} process(es) found; use another cgroupsPath",
        pids.len()
    );
    Err(Error::new(Kind::State, why).context(format!("cgroup {}", path.display())))
}

/// A frozen cgroup, or one below a frozen one, would stop init for good, and us with it.
fn must_be_thawed(dir: &Dir, fd: BorrowedFd<'_>) -> Result<()> {
    let (file, thawed) = if dir.is_unified() {
        ("cgroup.events", "frozen 0")
    } else if dir.has_controller("freezer") {
        ("freezer.state", "THAWED")
    } else {
        return Ok(());
    };
    let path = &dir.path;
    let text = files::read(fd, file).map_err(|errno| files::read_error(path, file, errno))?;
    // Before Linux 5.2 v2 cannot freeze, and says nothing about it.
    if files::has_line(&text, thawed) || (dir.is_unified() && !text.contains("frozen")) {
        return Ok(());
    }
    // The first words are runc's.
    let why = "container's cgroup unexpectedly frozen: it or one above it is frozen; thaw it first";
    Err(Error::new(Kind::State, why).context(format!("cgroup {}", path.display())))
}

/// v2: a cgroup below a threaded one takes no ordinary process, unless it is made threaded too.
fn must_take_processes(target: &Target, fd: BorrowedFd<'_>) -> Result<()> {
    let path = &target.dir.path;
    // A child of the root is always a domain.
    if path.parent() == Some(&target.dir.root) {
        return Ok(());
    }
    let file = "cgroup.type";
    let kind = files::read(fd, file).map_err(|errno| files::read_error(path, file, errno))?;
    if kind.trim() != "domain invalid" {
        return Ok(());
    }
    if !target.needed.iter().all(|name| THREADED.contains(&name.as_str())) {
        let why = "is below a threaded cgroup, where only cpu, cpuset and pids can be limited";
        return Err(Error::new(Kind::State, why).context(format!("cgroup {}", path.display())));
    }
    let threaded = "threaded";
    files::write(fd, file, threaded)
        .map_err(|errno| files::write_error(path, file, threaded, errno))
}

impl Cgroup {
    pub(super) fn opened(record: Record, unified: Option<OwnedFd>) -> Cgroup {
        Cgroup {
            enter_unified: enters_only(&record),
            record,
            unified,
            awaited: None,
            by_systemd: false,
            devices: None,
            below: None,
            below_fd: None,
            _reserved: None,
        }
    }

    /// Does what [`Cgroup::set_devices`] would have to do otherwise, while init is at work.
    pub fn prepare_devices(&mut self) {
        if let Some(devices) = &mut self.devices {
            // A failure comes again, and is told then.
            let _ = devices.prepare();
        }
    }

    /// Puts the device rules in force. They bind the container and not its making: init mounts file
    /// systems from devices that the container must not use. So this is called when the mounts are
    /// made, and before any program that the container may choose runs. Nothing is done a second
    /// time.
    pub fn set_devices(&mut self) -> Result<()> {
        match self.devices.take() {
            Some(mut devices) => devices.set(&self.record),
            None => Ok(()),
        }
    }

    /// The v2 directory, for clone3 with `CLONE_INTO_CGROUP`. None if there is none, or if a
    /// limit forbids it: then [`Cgroup::enter`] moves the process there.
    pub fn clone_fd(&self) -> Option<BorrowedFd<'_>> {
        if self.enter_unified || self.by_systemd { None } else { self.unified_fd() }
    }

    fn unified_fd(&self) -> Option<BorrowedFd<'_>> {
        self.unified.as_ref().map(AsFd::as_fd)
    }

    /// Whether [`Cgroup::enter`] must be called for a process that was cloned into
    /// [`Cgroup::clone_fd`].
    pub fn needs_enter(&self) -> bool {
        self.awaited.is_some()
            || self.enter_unified
            || self.by_systemd
            || self.below.is_some()
            || self.record.dirs().iter().any(|dir| !dir.is_unified())
    }

    /// Moves process `pid` into all directories where clone3 did not put it.
    pub fn enter(&self, pid: i32) -> Result<()> {
        if let Some(unit) = self.record.unit().filter(|_| self.by_systemd) {
            return unit.attach(&self.record.below_unit(), pid);
        }
        self.record
            .dirs()
            .iter()
            .filter(|dir| self.enter_unified || !dir.is_unified())
            .try_for_each(|dir| enter(dir, pid))
    }

    /// Moves process `pid` on into the cgroup below where it is to start, if there is to be one.
    pub fn enter_below(&mut self, pid: i32) -> Result<()> {
        if let (Some(below), Some(dir)) = (&self.below, self.record.unified()) {
            self.below_fd = Some(below::enter(dir, below, pid)?);
        }
        Ok(())
    }

    /// The same cgroup, into which systemd puts processes, for a user whom the kernel has refused
    /// (`EACCES`): the cgroup above both, that of the login session and the container's, is not
    /// his. None if systemd has not made it.
    pub fn by_systemd(mut self) -> Option<Cgroup> {
        self.by_systemd = self.record.unit().is_some() && self.record.mode() == Mode::Unified;
        self.by_systemd.then_some(self)
    }

    /// If systemd is to make the cgroup, it is asked now, for one with process `pid` in it; then
    /// the limits that systemd does not set are set. [`Cgroup::enter`] comes next.
    pub fn make_unit(&mut self, pid: i32) -> Result<()> {
        let Some(mut plan) = self.awaited.take() else { return Ok(()) };
        let Some(request) = &plan.unit else { return Ok(()) };
        // systemd would take over what it finds.
        plan.targets.iter().try_for_each(|target| must_be_unused(&target.dir.path))?;
        let path = request.start(pid)?;
        let path = path.strip_prefix("/").unwrap_or(&path);
        for target in &mut plan.targets {
            target.dir.path = target.dir.root.join(path);
            // What systemd has made is ours to remove, when it has failed to.
            target.dir.made = true;
        }
        // From here on it is there, and is to be stopped whatever happens.
        let dirs = plan.targets.iter().map(|target| target.dir.clone()).collect();
        let record = Record::of_unit(plan.mode, dirs, request.unit.clone());
        let identity = record.primary().map(|dir| Identity::of_path(&dir.path, &plan.options));
        self.record = record.identified(identity.transpose()?);
        // systemd moves it only into a scope, and on v1 only where it has a use for the hierarchy.
        self.enter_unified = request.slice.is_none() || plan.mode != Mode::Unified;
        let made = plan.create_all(&mut Vec::new())?;
        self.unified = made.unified;
        self.devices = made.devices;
        let dirs = made.record.dirs().iter().map(|dir| Dir { made: true, ..dir.clone() });
        self.record = Record::of_unit(plan.mode, dirs.collect(), request.unit.clone())
            .identified(made.record.identity.clone());
        Ok(())
    }

    /// Moves process `pid` into all directories, however it was cloned.
    pub fn enter_all(&self, pid: i32) -> Result<()> {
        self.record.dirs().iter().try_for_each(|dir| enter(dir, pid))
    }

    /// What must be stored to find the cgroup again.
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// Whether [`Cgroup::delegate`] does anything.
    pub fn can_be_delegated(&self) -> bool {
        self.record.mode() == Mode::Unified && self.record.unified().is_some()
    }

    /// Gives the v2 cgroup to user `uid` of the host, who then may divide it further but not
    /// lift its limits. The caller decides whether that is wanted: config-linux.md, "Cgroup
    /// ownership". Nothing is done on hosts with v1, where delegation is not secure.
    pub fn delegate(&self, uid: u32) -> Result<()> {
        if !self.can_be_delegated() {
            return Ok(());
        }
        let Some((mut dir, record)) = self.unified_fd().zip(self.record.unified()) else {
            return Ok(());
        };
        let mut path = record.path.clone();
        if let Some(below) = &self.below {
            dir = self.below_fd.as_ref().ok_or_else(below::missing)?.as_fd();
            path.push(below);
        }
        let list = std::fs::read_to_string("/sys/kernel/cgroup/delegate").unwrap_or_else(|_| {
            "cgroup.procs\ncgroup.subtree_control\ncgroup.threads\n".to_owned()
        });
        let names = std::iter::once(".").chain(list.lines());
        for name in names.filter(|name| !name.is_empty() && !name.contains('/')) {
            let flags = nix::fcntl::AtFlags::AT_SYMLINK_NOFOLLOW;
            match nix::unistd::fchownat(dir, name, Some(uid.into()), None, flags) {
                Ok(()) | Err(Errno::ENOENT) => {}
                // Not every user may: that one keeps it, and the container divides it no further.
                Err(Errno::EPERM | Errno::EACCES) if self.record.is_rootless() => return Ok(()),
                Err(errno) => {
                    let file = path.join(name);
                    return Err(Error::sys(errno).context(format!("chown {}", file.display())));
                }
            }
        }
        Ok(())
    }
}

fn enter(dir: &Dir, pid: i32) -> Result<()> {
    let value = pid.to_string();
    files::write_in(&dir.path, "cgroup.procs", &value)
        .map_err(|errno| files::write_error(&dir.path, "cgroup.procs", &value, errno))
}
