//! Creates the planned cgroup. A failure undoes exactly what was done.

use std::fs::{DirBuilder, Permissions};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use crate::{Context, Error, Kind, Result, log};

use super::apply;
use super::controllers::{THREADED, enable, fill_cpuset};
use super::device_control::{DeviceControl, Devices};
use super::dir::Dir;
use super::dir_plan::DirPlan;
use super::files;
use super::handle::{Cgroup, enters_only};
use super::identity::{self, Identity};
use super::layout::Mode;
use super::plan::CgroupPlan;
use super::record::Record;
use super::walk;

/// The mode of new directories: the container reads its limits there as any user.
const MODE: u32 = 0o755;

impl CgroupPlan {
    /// Creates the directories and sets the limits; on an error all are removed again.
    /// [`Cgroup::set_devices`] applies the device rules. A unit of systemd needs a process, so
    /// [`Cgroup::make_unit`] creates it.
    pub fn create(&self) -> Result<Cgroup> {
        if self.unit.is_some() {
            let record = Record::new(self.mode, Vec::new());
            let awaited = Some(self.clone());
            let below = self.below.clone();
            return Ok(Cgroup { awaited, below, ..Cgroup::new(record, None) });
        }
        let mut made = Vec::new();
        self.create_dirs(&mut made).inspect_err(|_| {
            for dir in made.iter().rev() {
                // A directory that others use by now, or have removed, is left alone.
                let _ = std::fs::remove_dir(dir);
            }
        })
    }

    fn create_dirs(&self, made: &mut Vec<PathBuf>) -> Result<Cgroup> {
        let mut dirs: Vec<Dir> = Vec::with_capacity(self.dirs.len());
        let (mut unified, mut reserved) = (None, None);
        let (mut identity, mut devices, mut mode) = (None, None, None);
        for (index, plan) in self.dirs.iter().enumerate() {
            let path = &plan.dir.path;
            let before = made.len();
            let new = match make(&plan.dir, made) {
                Ok(new) => new,
                Err(error) if self.may_lack(plan, &error) => continue,
                Err(error) => return Err(self.explain(error)),
            };
            let above = made.len().saturating_sub(before + usize::from(new));
            dirs.push(Dir { made: new, above, ..plan.dir.clone() });
            log::debug(format_args!("cgroup {}", path.display()));
            devices = devices.or_else(|| self.devices_of(index, path, new));
            let first = identity.is_none();
            if new && !first && is_bare(plan) {
                continue;
            }
            let fd = files::open_dir(path).with_context(|| format!("open {}", path.display()))?;
            if first {
                identity::reserve(fd.as_fd(), path)?;
                let stat = rustix::fs::fstat(&fd).context("look at the cgroup")?;
                mode = new.then_some(stat.st_mode);
                identity = Some(Identity::new(&stat, self.rootless));
            }
            if !new && self.unit.is_none() {
                must_be_unused(path)?;
            }
            self.prepare(plan, fd.as_fd(), new)?;
            match (plan.dir.is_unified(), first) {
                (true, _) => unified = Some(fd),
                (false, true) => reserved = Some(fd),
                (false, false) => {}
            }
        }
        set_mode(made, mode)?;
        // Set the mark last, when nothing can fail any more.
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
            ..Cgroup::new(record, unified)
        })
    }

    /// Prepares a directory for processes, with its limits.
    fn prepare(&self, plan: &DirPlan, fd: BorrowedFd<'_>, new: bool) -> Result<()> {
        let path = &plan.dir.path;
        if !new || path.parent() != Some(&plan.dir.root) {
            must_be_thawed(&plan.dir, fd)?;
        }
        if plan.dir.is_unified() {
            enable(plan)?;
            must_take_processes(plan, fd)?;
        }
        if plan.dir.has_controller("cpuset") {
            fill_cpuset(plan, new)?;
        }
        for settings in &plan.settings {
            apply::apply(fd, path, settings).map_err(|error| self.explain(error))?;
        }
        Ok(())
    }

    /// Whether the container can run without a directory that may not be created.
    fn may_lack(&self, plan: &DirPlan, error: &Error) -> bool {
        self.rootless && !self.explicit && !plan.has_settings() && files::is_permission(error)
    }

    fn explain(&self, error: Error) -> Error {
        if self.rootless && files::is_permission(&error) {
            return error.context(
                "rootless: delegate a cgroup to this user, or ask for no limits and no cgroupsPath",
            );
        }
        error
    }

    /// Returns the device rules if they apply to the directory of this index.
    fn devices_of(&self, index: usize, path: &Path, new: bool) -> Option<Devices> {
        match &self.devices {
            DeviceControl::V1(at, _) | DeviceControl::Program(at, _) if *at == index => {
                Some(Devices {
                    control: self.devices.clone(),
                    dir: path.to_owned(),
                    // systemd attaches a program of its own, and both apply.
                    new: new || self.unit.is_some(),
                    properties: self.unit_devices.clone(),
                    may_lack: self.rootless || self.in_user_namespace,
                    program: None,
                })
            }
            _ => None,
        }
    }
}

impl Cgroup {
    /// Creates the planned unit of systemd, if any, with process `pid` in it, then sets the limits
    /// that systemd does not set. [`Cgroup::enter`] comes next.
    pub fn make_unit(&mut self, pid: i32) -> Result<()> {
        let Some(mut plan) = self.awaited.take() else { return Ok(()) };
        let Some(unit) = plan.unit.clone() else { return Ok(()) };
        // systemd would take over an existing cgroup.
        plan.dirs.iter().try_for_each(|plan| must_be_unused(&plan.dir.path))?;
        let path = unit.start(pid)?;
        let path = path.strip_prefix("/").unwrap_or(&path);
        for plan in &mut plan.dirs {
            plan.dir.path = plan.dir.root.join(path);
            // If systemd fails to remove what it has created, this runtime does.
            plan.dir.made = true;
        }
        // The unit exists from here on, and must be stopped on any failure.
        let dirs = plan.dirs.iter().map(|plan| plan.dir.clone()).collect();
        let record = Record::of_unit(plan.mode, dirs, unit.unit.clone());
        let identity =
            record.primary().map(|dir| Identity::of_path(&dir.path, plan.rootless)).transpose()?;
        self.record = record.identified(identity);
        // systemd moves the process only into a scope, and on v1 only in hierarchies that it uses.
        self.enter_unified = unit.slice.is_none() || plan.mode != Mode::Unified;
        let made = plan.create_dirs(&mut Vec::new())?;
        self.unified = made.unified;
        self.devices = made.devices;
        let dirs = made.record.dirs().iter().map(|dir| Dir { made: true, ..dir.clone() });
        self.record = Record::of_unit(plan.mode, dirs.collect(), unit.unit.clone())
            .identified(made.record.identity.clone());
        Ok(())
    }
}

/// Whether a new directory needs no preparation, as in most v1 hierarchies. A child of the root
/// cannot be frozen from above.
fn is_bare(plan: &DirPlan) -> bool {
    let child_of_root = plan.dir.path.parent() == Some(&plan.dir.root);
    !plan.dir.is_unified()
        && !plan.dir.has_controller("cpuset")
        && (child_of_root || !plan.dir.has_controller("freezer"))
        && !plan.has_settings()
}

/// Sets the mode of the new directories if the umask has reduced it. The umask itself belongs to
/// the whole process and is not changed. `mode` is the mode of a new directory, if known.
fn set_mode(made: &[PathBuf], mode: Option<u32>) -> Result<()> {
    let Some(first) = made.first() else { return Ok(()) };
    let failed = |path: &Path| format!("chmod {}", path.display());
    let mode = match mode {
        Some(mode) => mode,
        None => rustix::fs::lstat(first).with_context(|| failed(first))?.st_mode,
    };
    if mode & 0o777 == MODE {
        return Ok(());
    }
    made.iter().try_for_each(|path| {
        std::fs::set_permissions(path, Permissions::from_mode(MODE)).with_context(|| failed(path))
    })
}

/// Creates the directory and its missing parents. Returns whether the directory is new.
fn make(dir: &Dir, made: &mut Vec<PathBuf>) -> Result<bool> {
    // Start again if another process removes an empty parent meanwhile.
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
    match DirBuilder::new().mode(MODE).create(path) {
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

/// Refuses an existing cgroup with processes: it may be another container's.
fn must_be_unused(path: &Path) -> Result<()> {
    let pids = walk::all_processes(path)?;
    if pids.is_empty() {
        return Ok(());
    }
    // Scripts look for this text of runc.
    let why = format!(
        "container's cgroup is not empty: {} process(es) found; use another cgroupsPath",
        pids.len()
    );
    Err(Error::new(Kind::State, why).context(format!("cgroup {}", path.display())))
}

/// Refuses a cgroup that is frozen, or below a frozen one: it would stop init, and this process
/// with it.
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
    if files::has_line(&text, thawed) {
        return Ok(());
    }
    // The text starts as that of runc.
    let why = "container's cgroup unexpectedly frozen: it or one above it is frozen; thaw it first";
    Err(Error::new(Kind::State, why).context(format!("cgroup {}", path.display())))
}

/// Makes a v2 cgroup below a threaded one threaded too: it accepts no processes otherwise.
fn must_take_processes(plan: &DirPlan, fd: BorrowedFd<'_>) -> Result<()> {
    let path = &plan.dir.path;
    // A child of the root is always a domain.
    if path.parent() == Some(&plan.dir.root) {
        return Ok(());
    }
    let file = "cgroup.type";
    let kind = files::read(fd, file).map_err(|errno| files::read_error(path, file, errno))?;
    if kind.trim() != "domain invalid" {
        return Ok(());
    }
    if !plan.needed.iter().all(|name| THREADED.contains(&name.as_str())) {
        let why = "is below a threaded cgroup, where only cpu, cpuset and pids can be limited";
        return Err(Error::new(Kind::State, why).context(format!("cgroup {}", path.display())));
    }
    let threaded = "threaded";
    files::write(fd, file, threaded)
        .map_err(|errno| files::write_error(path, file, threaded, errno))
}
