//! Rolls back an update.

use std::path::PathBuf;

use nix::errno::Errno;

use crate::systemd::Property;
use crate::{Context, Error, Result, log};

use super::device_rules::Ruleset;
use super::dir_plan::DirPlan;
use super::files::{self, OpenDir};
use super::record::Record;
use super::setting::{Content, ControlFile, Setting};

/// The state before [`Record::update`], restored if a later step fails.
#[derive(Debug)]
#[must_use]
pub struct Undo {
    record: Record,
    files: Vec<Before>,
    /// The earlier properties of the unit, once they are changed.
    pub(super) properties: Vec<Property>,
    /// The earlier device rules, once they are changed.
    pub(super) device_rules: Option<Ruleset>,
}

/// A file before it was written.
#[derive(Debug)]
struct Before {
    dir: PathBuf,
    file: String,
    /// The earlier text.
    text: String,
    /// The text that restores the file; `None` if unknown.
    undo: Option<String>,
}

impl Undo {
    /// Reads the files that `plans` will change.
    pub(super) fn of_files(record: &Record, plans: &[DirPlan]) -> Result<Undo> {
        let mut files = Vec::new();
        for plan in plans {
            let dir = OpenDir::open(&plan.dir.path)?;
            for setting in plan.settings.iter().flatten() {
                files.extend(read(&dir, setting)?);
            }
        }
        Ok(Undo { record: record.clone(), files, properties: Vec::new(), device_rules: None })
    }

    /// Returns the names of the files.
    pub(super) fn changed(&self) -> Vec<&str> {
        self.files.iter().map(|before| before.file.as_str()).collect()
    }

    /// Returns the settings that the files had.
    pub(super) fn settings(&self) -> Vec<Setting> {
        let setting = |before: &Before| {
            let content = Content::parse(&before.file, before.text.trim());
            Setting::new("", &before.file, content)
        };
        self.files.iter().map(setting).collect()
    }

    /// Restores everything that the kernel can restore; the rest is a warning.
    pub fn roll_back(self) {
        let Undo { record, properties, .. } = &self;
        if let Some(rules) = &self.device_rules {
            let undone = record.replace_devices(rules);
            undone.context("undo the update").unwrap_or_else(log::warn);
        }
        if !properties.is_empty() {
            let set = record.keeping_limits(&self.changed(), || record.set_properties(properties));
            set.context("undo the update").unwrap_or_else(log::warn);
        }
        let mut left: Vec<Before> = self.files.into_iter().rev().collect();
        // Two passes, since files that the kernel checks against each other may need another order.
        for last in [false, true] {
            left.retain(|before| match before.restore() {
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

/// Reads the file that `setting` will change.
fn read(dir: &OpenDir<'_>, setting: &Setting) -> Result<Option<Before>> {
    for ControlFile { name, content } in &setting.files {
        match dir.read(name) {
            Ok(text) => {
                let undo = undo(name, &content.to_string(), &text);
                let (dir, file) = (dir.path.to_owned(), name.clone());
                return Ok(Some(Before { dir, file, text, undo }));
            }
            Err(error) => match error.errno() {
                Some(Errno::ENOENT) => {}
                // A file that can only be written has no content to restore.
                Some(Errno::EINVAL | Errno::EACCES | Errno::EPERM) => return Ok(None),
                _ => return Err(error),
            },
        }
    }
    Ok(None)
}

impl Before {
    fn restore(&self) -> Result<()> {
        if files::read_in(&self.dir, &self.file)? == self.text {
            return Ok(());
        }
        let Some(value) = &self.undo else {
            let file = self.dir.join(&self.file);
            let why = format!("{} had {:?}", file.display(), self.text);
            return Err(Error::new(crate::Kind::System, why));
        };
        match (files::write_in(&self.dir, &self.file, value), self.inherited()) {
            (Err(error), Some(inherited)) if error.errno() == Some(Errno::ENOSPC) => {
                files::write_in(&self.dir, &self.file, &inherited)
            }
            (written, _) => written,
        }
    }

    /// Returns the effective list of a v2 cpuset without a list of its own: that of the cgroup
    /// above. Once set, a list can be changed but not removed while there are processes.
    fn inherited(&self) -> Option<String> {
        if !self.file.starts_with("cpuset.") || !self.text.trim().is_empty() {
            return None;
        }
        let text = files::read_in(self.dir.parent()?, &format!("{}.effective", self.file)).ok()?;
        Some(text.trim().to_owned())
    }
}

/// Returns what to write to `file` so that it has `text` again, after a write of `value`.
fn undo(file: &str, value: &str, text: &str) -> Option<String> {
    if file == "memory.oom_control" {
        let flag = text.lines().find_map(|line| line.strip_prefix("oom_kill_disable "));
        return flag.map(str::to_owned);
    }
    // One line per device or interface, which begins with its name.
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
        // An empty write would do nothing.
        ("", None) => Some("\n".to_owned()),
        (line, None) => Some(line.to_owned()),
        // The line for the default, not for a device.
        (line, Some(_)) if line.starts_with("default ") => Some(line.to_owned()),
        _ => None,
    }
}

fn is_keyed(file: &str, value: &str) -> bool {
    let device = |word: &str| word.contains(':');
    value.split(' ').next().is_some_and(device)
        || ["rdma.max", "net_prio.ifpriomap", "misc.max", "dmem.max"].contains(&file)
}

/// Returns the value that removes the line of one device.
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
mod tests {
    use super::*;

    #[test]
    fn what_undoes_a_write() {
        for (file, value, text, wanted) in [
            ("pids.max", "5", "max\n", Some("max")),
            ("cpu.max", "5000 10000", "max 100000\n", Some("max 100000")),
            ("cpuset.cpus", "0", "\n", Some("\n")),
            ("cpuset.cpus", "0", "", Some("\n")),
            ("memory.oom_control", "1", "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n", Some("0")),
            ("io.weight", "200", "default 100\n8:0 50\n", Some("default 100")),
            ("io.weight", "8:0 200", "default 100\n8:0 50\n", Some("8:0 50")),
            ("io.weight", "8:16 200", "default 100\n8:0 50\n", Some("8:16 default")),
            ("io.max", "8:0 rbps=1", "8:0 rbps=9 wbps=max\n", Some("8:0 rbps=9 wbps=max")),
            ("io.max", "8:0 rbps=1", "", Some("8:0 rbps=max wbps=max riops=max wiops=max")),
            ("blkio.throttle.read_bps_device", "8:0 1", "", Some("8:0 0")),
            ("blkio.throttle.read_bps_device", "8:0 1", "8:0 7\n", Some("8:0 7")),
            ("rdma.max", "m hca_handle=1", "", Some("m hca_handle=max hca_object=max")),
            ("net_prio.ifpriomap", "lo 4", "lo 1\neth0 2\n", Some("lo 1")),
            ("io.latency", "8:0 target=1", "", None),
            ("memory.stat", "1", "a 1\nb 2\n", None),
        ] {
            assert_eq!(undo(file, value, text).as_deref(), wanted, "{file} {value} {text:?}");
        }
    }
}
