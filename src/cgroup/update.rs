//! Changing the limits of a container that is there: the rules of create, and a way back.

use std::os::fd::AsFd;
use std::path::PathBuf;

use nix::errno::Errno;
use oci_spec::runtime::LinuxResources;

use crate::systemd::Property;
use crate::{Context, Error, Result, log};

use super::controllers::enable;
use super::devices::Ruleset;
use super::files;
use super::knobs::Write;
use super::layout::Layout;
use super::limits::{Limit, limits};
use super::plan::{Target, add};
use super::record::Record;
use super::units;

/// What the files had before [`Record::update`], to be put back if what must go with it fails.
#[derive(Debug, Default)]
#[must_use]
pub struct Undo {
    files: Vec<Before>,
    /// The settings of the unit that made the files what they were, and whose unit it is.
    unit: Option<(Record, Vec<Property>)>,
    /// The device rules, and whose.
    devices: Option<(Record, Ruleset)>,
}

/// One file before it was written.
#[derive(Debug)]
struct Before {
    dir: PathBuf,
    file: String,
    /// What was there.
    text: String,
    /// What brings that back; none if nothing is known to.
    undo: Option<String>,
}

impl Record {
    /// Sets what `given` changes. `old` is what was asked for before and `new` what is now, `given`
    /// included; a limit is written if it is another one than before, or if `given` names it. The
    /// device rules stay. On an error everything is as it was. `warnings` collects lines for the
    /// log.
    pub fn update(
        &self,
        old: Option<&LinuxResources>,
        new: &LinuxResources,
        given: &LinuxResources,
        warnings: &mut Vec<String>,
    ) -> Result<Undo> {
        let chosen = choose(old, new, given)?;
        self.must_exist()?;
        let mut targets: Vec<Target> = self.checked()?.iter().map(Target::of).collect();
        let layout = Layout::probe()?;
        for limit in &chosen {
            add(&layout, &mut targets, limit, warnings)?;
        }
        targets.retain(Target::has_limits);
        for target in targets.iter().filter(|target| target.dir.is_unified()) {
            enable(target)?;
        }
        let mut undo = Undo::look(&targets)?;
        let set = self.set_unit(&targets, &mut undo);
        match set.and_then(|()| targets.iter().try_for_each(apply)) {
            Ok(()) => Ok(undo),
            Err(error) => {
                undo.roll_back();
                Err(error)
            }
        }
    }

    /// Tells systemd, or it would put its own values back on the next occasion. Before the files
    /// are written, because it rounds some values.
    fn set_unit(&self, targets: &[Target], undo: &mut Undo) -> Result<()> {
        if self.unit().is_none() {
            return Ok(());
        }
        for target in targets {
            let path = &target.dir.path;
            let fd = files::open_dir(path).with_context(|| format!("open {}", path.display()))?;
            // Once systemd has written the limit it is too late to refuse it.
            files::check_floors(fd.as_fd(), path, target.writes.iter().flatten())?;
        }
        let version = units::version(self.mode());
        let writes = targets.iter().flat_map(|target| target.writes.iter().flatten());
        let new = units::properties(version, writes);
        let before: Vec<Write> = undo.files.iter().map(Before::as_write).collect();
        let mut old = units::properties(version, &before);
        old.retain(|property| new.iter().any(|new| new.name == property.name));
        // All of them or none.
        let changed: Vec<&str> = undo.files.iter().map(|before| before.file.as_str()).collect();
        self.keeping_limits(&changed, || self.set_properties(&new))?;
        undo.unit = Some((self.clone(), old));
        Ok(())
    }

    /// Sets properties of the unit, if there is one. With any of them systemd writes the device
    /// rules of cgroup v1 anew, first of all that nothing is allowed: meanwhile nothing of the
    /// container runs, which would see devices refused that it may open.
    fn set_properties(&self, properties: &[Property]) -> Result<()> {
        let Some(unit) = self.unit() else { return Ok(()) };
        match self.dirs().iter().any(|dir| dir.has_controller("devices")) {
            true => self.while_frozen(|| unit.set(properties)),
            false => unit.set(properties),
        }
    }

    /// Does something while nothing of the container runs, if there is a freezer.
    pub(super) fn while_frozen(&self, work: impl FnOnce() -> Result<()>) -> Result<()> {
        if self.freezer()?.is_none() || self.frozen()? {
            return work();
        }
        self.freeze()?;
        let done = work();
        self.thaw().and(done)
    }
}

/// The limits of `new` that are to be written, in their order.
fn choose(
    old: Option<&LinuxResources>,
    new: &LinuxResources,
    given: &LinuxResources,
) -> Result<Vec<Limit>> {
    let before = old.map(limits).transpose()?.unwrap_or_default();
    // Those whose members depend on each other mean nothing alone, and are looked at one by one.
    let mut alone = given.clone();
    alone.set_memory(None).set_cpu(None);
    let named = limits(&alone)?;
    let idle = new.cpu().as_ref().and_then(|cpu| cpu.idle()) == Some(1);
    let mut chosen = limits(new)?;
    chosen.retain(|limit| {
        if matches!(limit, Limit::CpuShares(_)) && idle && !names(given, limit) {
            // What is idle has no share.
            return false;
        }
        !before.contains(limit) || named.contains(limit) || names(given, limit)
    });
    Ok(chosen)
}

/// Whether `given` has a member that `limit` comes from, among those of memory and CPU.
fn names(given: &LinuxResources, limit: &Limit) -> bool {
    let memory = given.memory().as_ref();
    if let Some(memory) = memory {
        let found = match limit {
            Limit::Memory { .. } => memory.limit().is_some() || memory.swap().is_some(),
            Limit::MemoryReservation(_) => memory.reservation().is_some(),
            Limit::TcpMemory(_) => memory.kernel_tcp().is_some(),
            Limit::Swappiness(_) => memory.swappiness().is_some(),
            Limit::OomKillerOff => memory.disable_oom_killer().is_some(),
            Limit::MemoryHierarchy => memory.use_hierarchy().is_some(),
            _ => false,
        };
        if found {
            return true;
        }
    }
    let Some(cpu) = given.cpu() else { return false };
    match limit {
        // The kernel forgets the share of what it makes idle.
        Limit::CpuShares(_) => cpu.shares().is_some() || cpu.idle() == Some(0),
        Limit::CpuIdle(_) => cpu.idle().is_some(),
        Limit::CpuBandwidth { .. } => {
            cpu.quota().is_some() || cpu.period().is_some() || cpu.burst().is_some()
        }
        Limit::CpuRealtime { .. } => {
            cpu.realtime_runtime().is_some() || cpu.realtime_period().is_some()
        }
        Limit::Cpus(_) => cpu.cpus().is_some(),
        Limit::Mems(_) => cpu.mems().is_some(),
        _ => false,
    }
}

fn apply(target: &Target) -> Result<()> {
    let path = &target.dir.path;
    let fd = files::open_dir(path).with_context(|| format!("open {}", path.display()))?;
    target.writes.iter().try_for_each(|writes| files::apply(fd.as_fd(), path, writes))
}

impl Undo {
    /// Puts the device rules `new` in force in place of `old`, as a part of the update. On an error
    /// everything is as it was.
    pub fn and_devices(mut self, record: &Record, old: Ruleset, new: &Ruleset) -> Result<Undo> {
        if old == *new {
            return Ok(self);
        }
        self.devices = Some((record.clone(), old));
        match record.replace_devices(new) {
            Ok(()) => Ok(self),
            Err(error) => {
                self.roll_back();
                Err(error)
            }
        }
    }

    fn look(targets: &[Target]) -> Result<Undo> {
        let mut before = Vec::new();
        for target in targets {
            let path = &target.dir.path;
            let fd = files::open_dir(path).with_context(|| format!("open {}", path.display()))?;
            for write in target.writes.iter().flatten() {
                before.extend(look_at(fd.as_fd(), path, write)?);
            }
        }
        Ok(Undo { files: before, ..Undo::default() })
    }

    /// Puts everything back, as far as the kernel lets it; what it does not is a warning.
    pub fn roll_back(self) {
        if let Some((record, rules)) = &self.devices {
            let undone = record.replace_devices(rules);
            undone.context("undo the update").unwrap_or_else(log::warn);
        }
        if let Some((record, properties)) = &self.unit {
            let changed: Vec<&str> = self.files.iter().map(|before| before.file.as_str()).collect();
            let set = record.keeping_limits(&changed, || record.set_properties(properties));
            set.context("undo the update").unwrap_or_else(log::warn);
        }
        let mut left: Vec<Before> = self.files.into_iter().rev().collect();
        // Twice, since files that the kernel checks against each other may need another order.
        for last in [false, true] {
            left.retain(|before| match before.put_back() {
                Ok(()) => false,
                Err(_) if !last => true,
                Err(error) => {
                    log::warn(error.context("undo the update"));
                    false
                }
            });
        }
    }
}

/// The file that `write` will change, as it is.
fn look_at(
    fd: std::os::fd::BorrowedFd<'_>,
    path: &std::path::Path,
    write: &Write,
) -> Result<Option<Before>> {
    for knob in &write.knobs {
        match files::read(fd, &knob.file) {
            Ok(text) => {
                let undo = undo(&knob.file, &knob.value, &text);
                let (dir, file) = (path.to_owned(), knob.file.clone());
                return Ok(Some(Before { dir, file, text, undo }));
            }
            Err(Errno::ENOENT) => {}
            // One that can only be written has nothing to go back to.
            Err(Errno::EINVAL | Errno::EACCES | Errno::EPERM) => return Ok(None),
            Err(errno) => return Err(files::read_error(path, &knob.file, errno)),
        }
    }
    Ok(None)
}

impl Before {
    /// What would have made the file what it was.
    fn as_write(&self) -> Write {
        Write::text(&self.file, self.text.trim())
    }

    fn put_back(&self) -> Result<()> {
        let now = files::read_in(&self.dir, &self.file)
            .map_err(|errno| files::read_error(&self.dir, &self.file, errno))?;
        if now == self.text {
            return Ok(());
        }
        let Some(value) = &self.undo else {
            let file = self.dir.join(&self.file);
            let why = format!("{} had {:?}", file.display(), self.text);
            return Err(Error::new(crate::Kind::System, why));
        };
        let mut value = value.clone();
        let mut written = files::write_in(&self.dir, &self.file, &value);
        if let (Err(Errno::ENOSPC), Some(inherited)) = (&written, self.inherited()) {
            value = inherited;
            written = files::write_in(&self.dir, &self.file, &value);
        }
        written.map_err(|errno| files::write_error(&self.dir, &self.file, &value, errno))
    }

    /// What a v2 cpuset that had no list of its own had in effect: that of the cgroup above. A list,
    /// once set, can be changed but not taken away while there are processes.
    fn inherited(&self) -> Option<String> {
        if !self.file.starts_with("cpuset.") || !self.text.trim().is_empty() {
            return None;
        }
        let text = files::read_in(self.dir.parent()?, &format!("{}.effective", self.file)).ok()?;
        Some(text.trim().to_owned())
    }
}

/// What to write to `file`, which had `text` and was given `value`, to have `text` again.
fn undo(file: &str, value: &str, text: &str) -> Option<String> {
    if file == "memory.oom_control" {
        let flag = text.lines().find_map(|line| line.strip_prefix("oom_kill_disable "));
        return flag.map(str::to_owned);
    }
    // A line for each device or interface, which begins with its name.
    if let Some((key, _)) = value.split_once(' ').filter(|_| is_keyed(file, value)) {
        let line = text.lines().find(|line| line.split(' ').next() == Some(key));
        return match (line, reset(file)) {
            (Some(line), _) => Some(line.to_owned()),
            (None, Some(reset)) => Some(format!("{key} {reset}")),
            (None, None) => None,
        };
    }
    let mut lines = text.lines();
    match (lines.next().unwrap_or_default(), lines.next()) {
        // An empty write would be no write at all.
        ("", None) => Some("\n".to_owned()),
        (line, None) => Some(line.to_owned()),
        // What is not for one device.
        (line, Some(_)) if line.starts_with("default ") => Some(line.to_owned()),
        _ => None,
    }
}

fn is_keyed(file: &str, value: &str) -> bool {
    let device = |word: &str| word.contains(':');
    value.split(' ').next().is_some_and(device)
        || ["rdma.max", "net_prio.ifpriomap", "misc.max", "dmem.max"].contains(&file)
}

/// What takes away the line of one device.
fn reset(file: &str) -> Option<&'static str> {
    Some(match file {
        "io.max" => "rbps=max wbps=max riops=max wiops=max",
        "io.weight" | "io.bfq.weight" => "default",
        "rdma.max" => "hca_handle=max hca_object=max",
        "net_prio.ifpriomap" => "0",
        file if file.starts_with("blkio.") => "0",
        _ => return None,
    })
}

#[cfg(test)]
#[path = "update_tests.rs"]
mod tests;
