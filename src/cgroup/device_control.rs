//! Applies the device rules of a new container, and replaces those of an existing container.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use crate::sys::bpf;
use crate::systemd::{Property, Value};
use crate::{Context, Result};

use super::device_list::DeviceList;
use super::device_program::program;
use super::device_rules::Ruleset;
use super::files::{self, OpenDir};
use super::layout::Dir;
use super::record::Record;
use super::units;

const FIELD: &str = "linux.resources.devices";

/// How the device rules are enforced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum DeviceControl {
    /// Not at all.
    None,
    /// By the v1 controller.
    V1(DeviceList),
    /// By a program on the v2 directory.
    Program(Ruleset),
}

impl DeviceControl {
    pub fn applies_to(&self, dir: &Dir) -> bool {
        match self {
            DeviceControl::None => false,
            DeviceControl::V1(_) => dir.has_controller("devices"),
            DeviceControl::Program(_) => dir.is_unified(),
        }
    }
}

/// The device rules of a cgroup that is being created.
#[derive(Debug)]
pub(super) struct Devices {
    pub control: DeviceControl,
    pub dir: PathBuf,
    /// Whether the directory is new, so that no other program is attached to it.
    pub new: bool,
    /// The rules as properties of the unit, if the unit is created without them.
    pub properties: Vec<Property>,
    /// Whether a lack of permission is no error: a process that may not limit devices cannot create
    /// device nodes either.
    pub may_lack: bool,
    /// The program, once it is loaded.
    pub program: Option<OwnedFd>,
}

impl Devices {
    /// Loads the program, ahead of the moment when the rules apply.
    pub fn prepare(&mut self) -> Result<(), Errno> {
        if let (DeviceControl::Program(rules), None) = (&self.control, &self.program) {
            self.program = Some(bpf::load_device_program(&program(rules))?);
        }
        Ok(())
    }

    pub fn set(&mut self, record: &Record) -> Result<()> {
        if let Some(unit) = record.unit.as_ref().filter(|_| !self.properties.is_empty()) {
            record.keeping_limits(&[], || unit.set(&self.properties))?;
        }
        match self.set_in_cgroup() {
            Err(error) if self.may_lack && files::is_permission(&error) => Ok(()),
            result => result.context(FIELD),
        }
    }

    fn set_in_cgroup(&mut self) -> Result<()> {
        if let DeviceControl::V1(list) = &self.control {
            return OpenDir::open(&self.dir)?.write_each(list.writes());
        }
        self.prepare().with_context(|| describe_attach(&self.dir))?;
        let Some(program) = &self.program else { return Ok(()) };
        let OpenDir { fd, .. } = OpenDir::open(&self.dir)?;
        let attach = || {
            let old = match self.new {
                true => Vec::new(),
                false => bpf::attached_device_programs(fd.as_fd())?,
            };
            replace(fd.as_fd(), program.as_fd(), &old)
        };
        attach().with_context(|| describe_attach(&self.dir))
    }
}

impl Record {
    /// Replaces the device rules of an existing container. Its processes are frozen while the rules
    /// of cgroup v1 are rewritten, because these allow nothing for a moment.
    pub(super) fn replace_devices(&self, rules: &Ruleset) -> Result<()> {
        self.set_devices(rules).context(FIELD)
    }

    fn set_devices(&self, rules: &Ruleset) -> Result<()> {
        let dirs = self.checked()?;
        if let Some(dir) = dirs.iter().find(|dir| dir.has_controller("devices")) {
            let list = DeviceList::new(rules)?;
            if self.unit.is_some() {
                units::must_keep(&list)?;
            }
            let open = OpenDir::open(&dir.path)?;
            return self.while_frozen(|| {
                self.set_unit_devices(rules)?;
                open.write_each(list.writes())
            });
        }
        let dir = self.unified().ok_or_else(Record::no_cgroup)?;
        let name = || describe_attach(&dir.path);
        let OpenDir { fd, .. } = OpenDir::open(&dir.path)?;
        let program = bpf::load_device_program(&program(rules)).with_context(name)?;
        let before = bpf::attached_device_programs(fd.as_fd()).with_context(name)?;
        self.set_unit_devices(rules)?;
        // systemd has replaced its own program; the remaining programs are the runtime's.
        let mut ours = bpf::attached_device_programs(fd.as_fd()).with_context(name)?;
        ours.retain(|id| before.contains(id));
        replace(fd.as_fd(), program.as_fd(), &ours).with_context(name)
    }

    fn set_unit_devices(&self, rules: &Ruleset) -> Result<()> {
        let Some(unit) = self.unit.as_ref().filter(|unit| !unit.user) else { return Ok(()) };
        // systemd appends to the existing list, unless the new one is empty.
        let none = Value::Array("(ss)".to_owned(), Vec::new());
        let mut properties = vec![
            Property::new("DevicePolicy", Value::str("auto")),
            Property::new("DeviceAllow", none),
        ];
        properties.extend(units::devices(rules));
        self.keeping_limits(&[], || unit.set(&properties))
    }
}

fn describe_attach(path: &Path) -> String {
    format!("attach the device rules to {}", path.display())
}

/// Attaches `program` to the cgroup, then detaches the programs with the ids `old`: at no moment
/// are all devices accessible.
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
