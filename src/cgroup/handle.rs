//! The handle on a container's cgroup: moves processes, applies device rules, delegates.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use crate::{Context, Error, Kind, Result};

use super::device_control::Devices;
use super::files::{self, OpenDir};
use super::layout::{Dir, Mode};
use super::plan::CgroupPlan;
use super::record::Record;

/// A container's cgroup that is open for processes.
#[derive(Debug)]
pub struct Cgroup {
    pub(super) record: Record,
    /// The v2 directory.
    pub(super) unified: Option<OwnedFd>,
    /// Whether processes are moved into the v2 cgroup, because the kernel would refuse to clone
    /// there.
    pub(super) enter_unified: bool,
    /// The plan for a unit that systemd creates as soon as there is a process for it.
    pub(super) awaited: Option<CgroupPlan>,
    /// Whether systemd moves processes there, because this user may not.
    pub(super) by_systemd: bool,
    /// Device rules that are not applied yet.
    pub(super) devices: Option<Devices>,
    /// The path below the v2 directory in which the process starts.
    pub(super) below: Option<PathBuf>,
    /// The directory at `below`, once it exists.
    pub(super) below_fd: Option<OwnedFd>,
    /// The primary directory, locked against other creates, unless it is the v2 one.
    pub(super) _reserved: Option<OwnedFd>,
}

impl Cgroup {
    /// Wraps a record and its open v2 directory.
    pub(super) fn new(record: Record, unified: Option<OwnedFd>) -> Cgroup {
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

    /// Opens the recorded cgroup to add a process.
    pub fn open(record: &Record) -> Result<Cgroup> {
        record.checked()?;
        let unified = record.unified().map(|dir| OpenDir::open(&dir.path)).transpose()?;
        Ok(Cgroup::new(record.clone(), unified.map(|dir| dir.fd)))
    }

    /// Prepares [`Cgroup::set_devices`] while init is at work.
    pub fn prepare_devices(&mut self) {
        if let Some(devices) = &mut self.devices {
            // The failure repeats in `set_devices`, which reports it.
            let _ = devices.prepare();
        }
    }

    /// Applies the device rules. They do not apply to the creation of the container, since init
    /// mounts file systems from devices that the container must not use. So call this after the
    /// mounts are made, and before any program of the container runs. A second call does nothing.
    pub fn set_devices(&mut self) -> Result<()> {
        self.devices.take().map_or(Ok(()), |mut devices| devices.set(&self.record))
    }

    /// Returns the v2 directory for clone3 with `CLONE_INTO_CGROUP`. `None` if there is none, or if
    /// a limit forbids it: [`Cgroup::enter`] then moves the process there.
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
            || self.record.dirs.iter().any(|dir| !dir.is_unified())
    }

    /// Moves process `pid` into all directories that clone3(2) did not put it in.
    pub fn enter(&self, pid: i32) -> Result<()> {
        if let Some(unit) = self.record.unit.as_ref().filter(|_| self.by_systemd) {
            return unit.attach(&self.record.below_unit(), pid);
        }
        self.record
            .dirs
            .iter()
            .filter(|dir| self.enter_unified || !dir.is_unified())
            .try_for_each(|dir| enter(dir, pid))
    }

    /// Moves process `pid` into the cgroup below in which it starts, if one is planned.
    pub fn enter_below(&mut self, pid: i32) -> Result<()> {
        if let (Some(below), Some(dir)) = (&self.below, self.record.unified()) {
            self.below_fd = Some(enter_below(dir, below, pid)?);
        }
        Ok(())
    }

    /// Lets systemd move processes into the cgroup, if the kernel has refused this user (`EACCES`)
    /// because the common ancestor of the login session and of the container belongs to another
    /// user. `None` if systemd has not created the cgroup.
    pub fn by_systemd(mut self) -> Option<Cgroup> {
        self.by_systemd = self.record.unit.is_some() && self.record.mode == Mode::Unified;
        self.by_systemd.then_some(self)
    }

    /// Moves process `pid` into all directories, wherever it was cloned.
    #[cfg(test)]
    pub fn enter_all(&self, pid: i32) -> Result<()> {
        self.record.dirs.iter().try_for_each(|dir| enter(dir, pid))
    }

    /// Returns the record to store.
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// Whether [`Cgroup::delegate`] does anything.
    pub fn can_be_delegated(&self) -> bool {
        self.record.mode == Mode::Unified && self.record.unified().is_some()
    }

    /// Gives the v2 cgroup to user `uid` of the host, who may then divide it but not lift its
    /// limits (config-linux.md, "Cgroup ownership"). Does nothing on hosts with v1, where
    /// delegation is not safe.
    pub fn delegate(&self, uid: u32) -> Result<()> {
        let unified = self.unified_fd().zip(self.record.unified());
        let Some((mut dir, record)) = unified.filter(|_| self.can_be_delegated()) else {
            return Ok(());
        };
        let mut path = record.path.clone();
        if let Some(below) = &self.below {
            let Some(fd) = &self.below_fd else {
                let why = "the container's process is not in its cgroup yet";
                return Err(Error::new(Kind::System, why));
            };
            dir = fd.as_fd();
            path.push(below);
        }
        let rootless = self.record.identity.as_ref().is_some_and(|identity| identity.rootless);
        let list = std::fs::read_to_string("/sys/kernel/cgroup/delegate").unwrap_or_else(|_| {
            "cgroup.procs\ncgroup.subtree_control\ncgroup.threads\n".to_owned()
        });
        let names = std::iter::once(".").chain(list.lines());
        for name in names.filter(|name| !name.is_empty() && !name.contains('/')) {
            let flags = nix::fcntl::AtFlags::AT_SYMLINK_NOFOLLOW;
            match nix::unistd::fchownat(dir, name, Some(uid.into()), None, flags) {
                Ok(()) | Err(Errno::ENOENT) => {}
                // Without the right to chown, the runtime's user stays the owner, and the container
                // cannot divide the cgroup.
                Err(Errno::EPERM | Errno::EACCES) if rootless => return Ok(()),
                failed => {
                    failed.with_context(|| format!("chown {}", path.join(name).display()))?;
                }
            }
        }
        Ok(())
    }
}

/// Whether processes must be moved into the v2 directory because it existed before: since Linux
/// 6.13 a process that is cloned into a cgroup dies at once if `cgroup.kill` has ever been written
/// to.
pub(super) fn enters_only(record: &Record) -> bool {
    record.unified().is_some_and(|dir| !dir.made)
}

fn enter(dir: &Dir, pid: i32) -> Result<()> {
    files::write_in(&dir.path, "cgroup.procs", &pid.to_string())
}

/// Creates the cgroup `below` in `dir`, moves process `pid` there, and enables all controllers in
/// it, which is possible once the cgroups above have no processes. Returns its directory.
fn enter_below(dir: &Dir, below: &Path, pid: i32) -> Result<OwnedFd> {
    let path = dir.path.join(below);
    std::fs::create_dir_all(&path).with_context(|| format!("mkdir {}", path.display()))?;
    let open = OpenDir::open(&path)?;
    open.write("cgroup.procs", &pid.to_string())?;
    let mut above = dir.path.clone();
    for part in below.components() {
        let names = files::read_in(&above, "cgroup.controllers")?;
        for name in names.split_ascii_whitespace() {
            // A controller that cannot be enabled must not keep the others from being enabled.
            let _ = files::write_in(&above, "cgroup.subtree_control", &format!("+{name}"));
        }
        above.push(part);
    }
    Ok(open.fd)
}
