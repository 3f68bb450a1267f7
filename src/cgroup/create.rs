//! Creates the planned cgroup. A failure undoes exactly what was done.

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use crate::{Context, Error, Kind, Result, log};

use super::apply;
use super::controllers::{THREADED, enable, fill_cpuset};
use super::device_control::Devices;
use super::dir_plan::DirPlan;
use super::files::{self, OpenDir};
use super::handle::{Cgroup, enters_only};
use super::identity::{self, Identity};
use super::layout::{Dir, Mode};
use super::plan::CgroupPlan;
use super::record::Record;
use super::walk;

/// The mode of new directories: the container reads its limits there as any user.
const MODE: rustix::fs::Mode = rustix::fs::Mode::from_bits_retain(0o755);

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
        let (mut identity, mut mode) = (None, None);
        for plan in &self.dirs {
            let path = &plan.dir.path;
            let before = made.len();
            let new = match make(&plan.dir, made) {
                Ok(new) => new,
                Err(error) if self.may_lack(plan, &error) => continue,
                Err(error) => return Err(self.explain(error)),
            };
            if let Some(option) = self.new_for.filter(|_| !new && self.unit.is_none()) {
                let why = format!("{path:?} exists already");
                return Err(Error::new(Kind::State, why).context(option));
            }
            let above = made.len().saturating_sub(before + usize::from(new));
            dirs.push(Dir { made: new, above, ..plan.dir.clone() });
            log::debug(format_args!("cgroup {}", path.display()));
            let first = identity.is_none();
            if new && !first && is_bare(plan) {
                continue;
            }
            let open = OpenDir::open(path)?;
            if first {
                identity::reserve(&open)?;
                let stat = rustix::fs::fstat(&open.fd).context("look at the cgroup")?;
                mode = new.then_some(stat.st_mode);
                identity = Some(Identity::new(&stat, self.rootless));
            }
            if !new && self.unit.is_none() {
                must_be_unused(path)?;
            }
            self.prepare(plan, &open, new)?;
            match (plan.dir.is_unified(), first) {
                (true, _) => unified = Some(open.fd),
                (false, true) => reserved = Some(open.fd),
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
        let limited = dirs.iter().find(|dir| self.devices.applies_to(dir));
        let devices = limited.map(|dir| Devices {
            control: self.devices.clone(),
            dir: dir.path.clone(),
            // systemd attaches a program of its own, and both apply.
            new: dir.made || self.unit.is_some(),
            properties: self.unit_devices.clone(),
            may_lack: self.rootless || self.in_user_namespace,
            program: None,
        });
        let record = Record { identity, ..Record::new(self.mode, dirs) };
        Ok(Cgroup {
            enter_unified: self.enter_unified || enters_only(&record),
            devices,
            below: self.below.clone(),
            _reserved: reserved,
            ..Cgroup::new(record, unified)
        })
    }

    /// Prepares a directory for processes, with its limits.
    fn prepare(&self, plan: &DirPlan, open: &OpenDir<'_>, new: bool) -> Result<()> {
        if !new || !plan.dir.is_child_of_root() {
            must_be_thawed(&plan.dir, open)?;
        }
        if plan.dir.is_unified() {
            enable(plan)?;
            must_take_processes(plan, open)?;
        }
        if plan.dir.has_controller("cpuset") {
            fill_cpuset(plan, new)?;
        }
        for settings in &plan.settings {
            apply::apply(open, settings).map_err(|error| self.explain(error))?;
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
        let record = Record { unit: Some(unit.unit), ..Record::new(plan.mode, dirs) };
        let identity =
            record.primary().map(|dir| Identity::of_path(&dir.path, plan.rootless)).transpose()?;
        self.record = Record { identity, ..record };
        // systemd moves the process only into a scope, and on v1 only in hierarchies that it uses.
        self.enter_unified = unit.slice.is_none() || plan.mode != Mode::Unified;
        let made = plan.create_dirs(&mut Vec::new())?;
        self.unified = made.unified;
        self.devices = made.devices;
        self.record = Record { unit: self.record.unit.take(), ..made.record };
        self.record.dirs.iter_mut().for_each(|dir| dir.made = true);
        Ok(())
    }
}

/// Whether a new directory needs no preparation, as in most v1 hierarchies. A child of the root
/// cannot be frozen from above.
fn is_bare(plan: &DirPlan) -> bool {
    !plan.dir.is_unified()
        && !plan.dir.has_controller("cpuset")
        && (plan.dir.is_child_of_root() || !plan.dir.has_controller("freezer"))
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
    if mode & 0o777 == MODE.bits() {
        return Ok(());
    }
    made.iter().try_for_each(|path| rustix::fs::chmod(path, MODE).with_context(|| failed(path)))
}

/// Creates the directory and its missing parents. Returns whether the directory is new.
fn make(dir: &Dir, made: &mut Vec<PathBuf>) -> Result<bool> {
    // Start again if another process removes an empty parent meanwhile.
    for _ in 0..16 {
        match mkdir(&dir.path, made) {
            Err(error) if error.errno() == Some(Errno::ENOENT) => {}
            other => return other,
        }
        let below: Vec<&Path> =
            dir.path.ancestors().skip(1).take_while(|path| *path != dir.root).collect();
        for path in below.into_iter().rev() {
            match mkdir(path, made) {
                Err(error) if error.errno() != Some(Errno::ENOENT) => return Err(error),
                _ => {}
            }
        }
    }
    mkdir(&dir.path, made)
}

/// Creates a directory. Returns whether it is new.
fn mkdir(path: &Path, made: &mut Vec<PathBuf>) -> Result<bool> {
    match rustix::fs::mkdir(path, MODE) {
        Err(rustix::io::Errno::EXIST) => return Ok(false),
        result => result.with_context(|| format!("mkdir {}", path.display()))?,
    }
    made.push(path.to_owned());
    Ok(true)
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
fn must_be_thawed(dir: &Dir, open: &OpenDir<'_>) -> Result<()> {
    let (file, thawed) = if dir.is_unified() {
        ("cgroup.events", "frozen 0")
    } else if dir.has_controller("freezer") {
        ("freezer.state", "THAWED")
    } else {
        return Ok(());
    };
    if files::has_line(&open.read(file)?, thawed) {
        return Ok(());
    }
    // The text starts as that of runc.
    let why = "container's cgroup unexpectedly frozen: it or one above it is frozen; thaw it first";
    Err(Error::new(Kind::State, why).context(format!("cgroup {}", dir.path.display())))
}

/// Makes a v2 cgroup below a threaded one threaded too: it accepts no processes otherwise.
fn must_take_processes(plan: &DirPlan, open: &OpenDir<'_>) -> Result<()> {
    // A child of the root is always a domain.
    if plan.dir.is_child_of_root() || open.read("cgroup.type")?.trim() != "domain invalid" {
        return Ok(());
    }
    if !plan.needed.iter().all(|name| THREADED.contains(&name.as_str())) {
        let why = "is below a threaded cgroup, where only cpu, cpuset and pids can be limited";
        return Err(Error::new(Kind::State, why).context(format!("cgroup {}", open.path.display())));
    }
    open.write("cgroup.type", "threaded")
}
