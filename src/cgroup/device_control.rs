//! Putting device rules in force, at create and by `update`.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use crate::host;
use crate::sys::bpf;
use crate::systemd::{Property, Value};
use crate::{Context, Result};

use super::create::is_permission;
use super::devices::Ruleset;
use super::files;
use super::plan::DeviceControl;
use super::program::program;
use super::record::Record;
use super::units;

const FIELD: &str = "linux.resources.devices";

/// Device rules, and the cgroup that they are for.
#[derive(Debug)]
pub(super) struct Devices {
    control: DeviceControl,
    dir: PathBuf,
    /// Nobody else can have attached a program to it.
    new: bool,
    /// The device rules as properties of the unit, where the unit is made without them.
    properties: Vec<Property>,
    /// Missing rights are no error.
    rootless: bool,
    /// The program, once it is loaded.
    program: Option<OwnedFd>,
}

impl Devices {
    pub fn new(
        control: DeviceControl,
        properties: Vec<Property>,
        dir: &Path,
        new: bool,
        rootless: bool,
    ) -> Devices {
        Devices { control, dir: dir.to_owned(), new, properties, rootless, program: None }
    }

    /// Does what can be done beforehand.
    pub fn prepare(&mut self) -> Result<(), Errno> {
        if let (DeviceControl::Program(_, rules), None) = (&self.control, &self.program) {
            self.program = Some(load(rules)?);
        }
        Ok(())
    }

    /// Puts them in force.
    pub fn set(&mut self, record: &Record) -> Result<()> {
        if let Some(unit) = record.unit().filter(|_| !self.properties.is_empty()) {
            record.keeping_limits(&[], || unit.set(&self.properties))?;
        }
        match self.set_files() {
            // Who may not limit devices cannot make nodes of them either.
            Err(error)
                if is_permission(&error)
                    && (self.rootless || host::in_user_namespace().unwrap_or(false)) =>
            {
                Ok(())
            }
            result => result.context(FIELD),
        }
    }

    fn set_files(&mut self) -> Result<()> {
        let path = &self.dir;
        let dir = files::open_dir(path).with_context(|| format!("open {}", path.display()))?;
        if let DeviceControl::V1(_, writes) = &self.control {
            return write(&dir, path, writes);
        }
        let attached = self.prepare().and_then(|()| match &self.program {
            Some(program) => {
                let old = if self.new { Vec::new() } else { attached(dir.as_fd())? };
                replace(dir.as_fd(), program.as_fd(), &old)
            }
            None => Ok(()),
        });
        attached.with_context(|| format!("attach the device rules to {}", self.dir.display()))
    }
}

impl Record {
    /// Puts other device rules in force for a container that is there. Nothing of it runs while the
    /// rules of cgroup v1 are rewritten: for a moment they allow nothing.
    pub fn replace_devices(&self, rules: &Ruleset) -> Result<()> {
        self.set_devices(rules).context(FIELD)
    }

    fn set_devices(&self, rules: &Ruleset) -> Result<()> {
        let dirs = self.checked()?;
        if let Some(dir) = dirs.iter().find(|dir| dir.has_controller("devices")) {
            let writes = rules.v1()?;
            if self.unit().is_some() {
                units::must_keep(&writes)?;
            }
            let path = &dir.path;
            let fd = files::open_dir(path).with_context(|| format!("open {}", path.display()))?;
            return self.while_frozen(|| {
                self.tell_unit(rules)?;
                write(&fd, path, &writes)
            });
        }
        let dir = self.unified().ok_or_else(Record::no_cgroup)?;
        let name = || format!("attach the device rules to {}", dir.path.display());
        let fd = files::open_dir(&dir.path).with_context(name)?;
        let program = load(rules).with_context(name)?;
        let before = attached(fd.as_fd()).with_context(name)?;
        self.tell_unit(rules)?;
        // systemd has replaced its own; what is still there is ours.
        let mut ours = attached(fd.as_fd()).with_context(name)?;
        ours.retain(|id| before.contains(id));
        replace(fd.as_fd(), program.as_fd(), &ours).with_context(name)
    }

    fn tell_unit(&self, rules: &Ruleset) -> Result<()> {
        let Some(unit) = self.unit().filter(|unit| !unit.user) else { return Ok(()) };
        // A list is added to the one that is there, but for an empty one, which ends it.
        let none = Value::Array("(ss)".to_owned(), Vec::new());
        let mut properties = vec![
            Property::new("DevicePolicy", Value::str("auto")),
            Property::new("DeviceAllow", none),
        ];
        properties.extend(units::devices(rules));
        self.keeping_limits(&[], || unit.set(&properties))
    }
}

fn write(dir: &OwnedFd, path: &Path, writes: &[files::FileValue]) -> Result<()> {
    files::write_each(dir.as_fd(), writes)
        .map_err(|((file, value), errno)| files::write_error(path, file, value, errno))
}

fn attached(dir: BorrowedFd<'_>) -> Result<Vec<u32>, Errno> {
    bpf::attached_device_programs(dir)
}

/// Attaches `program` to the cgroup and takes those of the ids `old` off. Old ones go after the new
/// one is there, so that at no moment all devices are open.
fn replace(dir: BorrowedFd<'_>, program: BorrowedFd<'_>, old: &[u32]) -> Result<(), Errno> {
    bpf::attach_device_program(dir, program)?;
    for id in old {
        match bpf::program_by_id(*id).and_then(|old| bpf::detach_device_program(dir, old.as_fd())) {
            Ok(()) | Err(Errno::ENOENT) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

fn load(rules: &Ruleset) -> Result<OwnedFd, Errno> {
    let program = program(rules);
    match bpf::load_device_program(&program) {
        Err(Errno::EPERM) => load_with_more_memory(&program),
        other => other,
    }
}

/// Before Linux 5.11 programs counted as locked memory of the user, over all its processes, and
/// the usual limit of 64 KiB is soon reached.
fn load_with_more_memory(program: &[bpf::Insn]) -> Result<OwnedFd, Errno> {
    use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, setrlimit};
    let (soft, hard) = getrlimit(Resource::RLIMIT_MEMLOCK)?;
    // The answer to the caller is that of the program, not of this attempt.
    let _ = setrlimit(Resource::RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY);
    let result = bpf::load_device_program(program);
    // The container must not inherit it.
    let _ = setrlimit(Resource::RLIMIT_MEMLOCK, soft, hard);
    result
}
