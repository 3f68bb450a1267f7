//! The facts of a running container, by the word of the kernel.
//!
//! What the kernel does not tell (the device rules, the calls that a filter permits, sysctls) is
//! taken from the configuration as of create. What cannot be read is listed.

use std::path::Path;

use serde_json::Value;

use super::config::{Document, after_execve};
use super::subject::{Caps, HIDDEN, Mount, Place, Seccomp, Subject, Users};
use super::{checks, mount_info};
use crate::cgroup;
use crate::fs::{read_bytes, read_long_text, read_text};
use crate::state::{Entry, Status};
use crate::{Error, Kind, Result, host};

/// Returns the facts of the container's first process.
///
/// # Errors
/// If the container is not running.
pub fn subject(container: &Entry) -> Result<Subject> {
    let name = || format!("audit container {:?}", container.id().as_str());
    let not_running = |status: Status| {
        let why =
            format!("container not running: its status is {status}; audit its bundle instead");
        Error::new(Kind::State, why).context(name())
    };
    let status = container.status()?;
    let Some(state) = container.state() else { return Err(not_running(status)) };
    if !matches!(status, Status::Running | Status::Paused) {
        return Err(not_running(status));
    }
    let document = recorded(container)?;
    let mut live = Live {
        pid: state.pid,
        nested: host::in_user_namespace()?,
        subject: document.subject(&state.bundle, host::in_user_namespace()?),
    };
    // The order: later facts depend on whose users the container has.
    live.namespaces();
    live.status();
    live.mounts();
    live.limits(&state.cgroup);
    live.rlimits();
    live.security_module();
    live.oom_score();
    // Whatever was read is that of the container, unless its process has ended meanwhile.
    match container.pidfd()? {
        Some(_) => Ok(live.subject),
        None => Err(not_running(Status::Stopped)),
    }
}

/// Returns the configuration as of create, with the limits of later updates.
fn recorded(container: &Entry) -> Result<Document> {
    let mut document = Document::parse(container.config_text()?.into(), "recorded configuration")?;
    let updated = container.state().and_then(|state| state.resources.as_ref());
    let text = updated.and_then(|resources| serde_json::to_string(resources).ok());
    if let Some(resources) = text.and_then(|text| serde_json::from_str::<Value>(&text).ok())
        && let Some(linux) = document.value.get_mut("linux")
    {
        linux["resources"] = resources;
    }
    Ok(document)
}

struct Live {
    pid: i32,
    nested: bool,
    subject: Subject,
}

impl Live {
    fn path(&self, file: &str) -> String {
        format!("/proc/{}/{file}", self.pid)
    }

    fn place(&self, file: &str, line: &str) -> Place {
        let separator = if line.is_empty() { "" } else { ": " };
        Place::Kernel(format!("{}{separator}{line}", self.path(file)))
    }

    /// Takes the value of a reading, or lists what could not be read.
    fn note<T>(&mut self, read: Result<T>) -> Option<T> {
        read.map_err(|error| self.subject.unread.push(error.to_string())).ok()
    }

    fn namespaces(&mut self) {
        const NAMES: [(&str, &str); 7] = [
            ("pid", "pid"),
            ("network", "net"),
            ("ipc", "ipc"),
            ("uts", "uts"),
            ("cgroup", "cgroup"),
            ("mount", "mnt"),
            ("user", "user"),
        ];
        let mut shared = Vec::new();
        for (kind, file) in NAMES {
            let Some(own) = self.note(namespace(&self.path(&format!("ns/{file}")))) else {
                // Whatever the configuration says holds.
                shared.extend(
                    self.subject.shared_namespaces.iter().find(|(k, _)| *k == kind).cloned(),
                );
                continue;
            };
            // The host's namespaces are those of its first process; a user without the right to
            // look at it has usually the same.
            let host = [format!("/proc/1/ns/{file}"), format!("/proc/self/ns/{file}")];
            let is_shared = host.iter().any(|path| namespace(path).is_ok_and(|id| id == own));
            if kind == "user" {
                self.users(is_shared);
            } else if is_shared {
                shared.push((kind, self.place(&format!("ns/{file}"), "")));
            }
        }
        self.subject.shared_namespaces = shared;
    }

    fn users(&mut self, is_shared: bool) {
        self.subject.users_place = self.place("uid_map", "");
        self.subject.users = Users::Own;
        if is_shared {
            self.subject.users = if self.nested { Users::Own } else { Users::Host };
            self.subject.users_place = self.place("ns/user", "");
            return;
        }
        for file in ["uid_map", "gid_map"] {
            let Some(map) = self.note(read_text(&self.path(file))) else { continue };
            // The ids outside are those that this process sees.
            if !self.nested && rows(&map).any(|[_, outside, size]| outside == 0 && size > 0) {
                self.subject.users = Users::MapsRoot;
                self.subject.users_place = self.place(file, "");
                break;
            }
        }
    }

    fn status(&mut self) {
        let Some(status) = self.note(read_long_text(&self.path("status"))) else { return };
        let line = |name: &str| {
            let mut lines = status.lines().filter_map(|line| line.strip_prefix(name));
            lines.find_map(|rest| rest.strip_prefix(':')).map(str::trim)
        };
        let set = |name: &str| u64::from_str_radix(line(name)?, 16).ok();
        let uid = line("Uid").and_then(|ids| ids.split_whitespace().nth(1)?.parse::<u32>().ok());
        if let Some(uid) = uid {
            self.subject.uid = self.inside(uid);
            self.subject.uid_place = self.place("status", "Uid");
        }
        let no_new_privileges = line("NoNewPrivs") == Some("1");
        self.subject.no_new_privileges = no_new_privileges;
        self.subject.no_new_privileges_place = self.place("status", "NoNewPrivs");
        let sets = ["CapBnd", "CapPrm", "CapInh", "CapAmb"].map(set);
        if let [Some(bounding), Some(permitted), Some(inheritable), Some(ambient)] = sets {
            let sets = [bounding, permitted, inheritable, ambient];
            let (held, gainable) = after_execve(self.subject.uid, no_new_privileges, sets);
            // The process has executed its program: what it has now is what it holds.
            let gainable = (held | gainable) & !permitted;
            let places = ["CapPrm", "CapBnd"].map(|name| self.place("status", name));
            self.subject.caps = Caps { held: permitted, gainable, places };
        }
        self.subject.seccomp_place = self.place("status", "Seccomp");
        match (line("Seccomp"), &self.subject.seccomp) {
            (Some("0"), _) => self.subject.seccomp = Seccomp::Missing,
            (Some(_), Seccomp::Missing) => {
                self.subject.seccomp = Seccomp::Unknown;
                let why = "the kernel does not tell what it permits, and no profile is recorded";
                self.subject.unread.push(format!("the seccomp filter: {why}"));
            }
            (Some(_), _) => {}
            (None, _) => self.subject.unread.push("Seccomp: the kernel has none".to_owned()),
        }
    }

    /// Returns the id inside of the container's user namespace.
    fn inside(&mut self, outside: u32) -> u32 {
        let Some(map) = self.note(read_text(&self.path("uid_map"))) else { return outside };
        let outside = u64::from(outside);
        let mut found = rows(&map).filter_map(|[inside, first, size]| {
            let offset = outside.checked_sub(first).filter(|offset| *offset < size)?;
            u32::try_from(inside.checked_add(offset)?).ok()
        });
        found.next().unwrap_or(u32::MAX)
    }

    fn mounts(&mut self) {
        let own = read_long_text(&self.path("mountinfo"));
        let host = read_long_text("/proc/self/mountinfo");
        let (Some(own), Some(host)) = (self.note(own), self.note(host)) else { return };
        let place = self.path("mountinfo");
        self.subject.mounts = mount_info::mounts(&own, &host, &place);
        let place = Place::Kernel(place);
        // What this kernel does not have needs no mask. Every procfs has the same files but for
        // those of processes.
        for path in checks::SETTINGS.iter().chain(checks::SECRETS) {
            if !Path::new(path).exists() {
                self.subject.mounts.push(Mount {
                    at: (*path).to_owned(),
                    kind: HIDDEN.to_owned(),
                    host: None,
                    readonly: true,
                    shared: false,
                    place: place.clone(),
                });
            }
        }
        self.subject.paths_place = [place.clone(), place];
    }

    fn limits(&mut self, record: &cgroup::Record) {
        let mut unlimited = Vec::new();
        for (name, v1, v2) in [
            ("memory", "memory.limit_in_bytes", "memory.max"),
            ("pids", "pids.max", "pids.max"),
            ("cpu", "cpu.cfs_quota_us", "cpu.max"),
        ] {
            let in_v1 = record.dirs.iter().find(|dir| dir.has_controller(name));
            let (dir, file) = match in_v1 {
                Some(dir) => (Some(dir), v1),
                None => (record.dirs.iter().find(|dir| dir.is_unified()), v2),
            };
            let Some(dir) = dir else {
                unlimited.push((name, self.place("cgroup", "")));
                continue;
            };
            let path = dir.path.join(file).to_string_lossy().into_owned();
            let cpus = name == "cpu" && has_cpus(record);
            match read_text(&path) {
                Ok(text) if is_limit(&text) || cpus => {}
                Ok(_) => unlimited.push((name, Place::Kernel(path))),
                // A controller that is not enabled for the cgroup has no file there.
                Err(error) if error.errno() == Some(nix::errno::Errno::ENOENT) => {
                    if !cpus {
                        unlimited.push((name, Place::Kernel(path)));
                    }
                }
                Err(error) => self.subject.unread.push(error.to_string()),
            }
        }
        self.subject.unlimited = unlimited;
    }

    fn rlimits(&mut self) {
        let Some(limits) = self.note(read_long_text(&self.path("limits"))) else { return };
        let names = [
            ("Max locked memory", "RLIMIT_MEMLOCK"),
            ("Max open files", "RLIMIT_NOFILE"),
            ("Max processes", "RLIMIT_NPROC"),
        ];
        let infinite = names.iter().filter(|(line, _)| {
            let found = limits.lines().find_map(|text| text.strip_prefix(line));
            found.and_then(|rest| rest.split_whitespace().nth(1)) == Some("unlimited")
        });
        let place = self.place("limits", "");
        let found = infinite.map(|(_, name)| ((*name).to_owned(), place.clone()));
        self.subject.infinite_rlimits = found.collect();
    }

    fn security_module(&mut self) {
        self.subject.lsm_place = self.place("attr/current", "");
        self.subject.confined_by_lsm = match read_bytes(&self.path("attr/current")) {
            Ok(label) => {
                let label =
                    String::from_utf8_lossy(&label).trim_end_matches(['\0', '\n']).to_owned();
                let is_free = label.is_empty()
                    || label.starts_with("unconfined")
                    || label.contains(":unconfined_t")
                    || label.contains(":spc_t");
                Some(!is_free)
            }
            // No module has a label to tell.
            Err(error) if error.errno() == Some(nix::errno::Errno::EINVAL) => Some(false),
            Err(error) => {
                self.subject.unread.push(error.to_string());
                None
            }
        };
    }

    fn oom_score(&mut self) {
        let Some(text) = self.note(read_text(&self.path("oom_score_adj"))) else { return };
        let is_spared = text.trim().parse::<i32>().is_ok_and(|score| score <= -900);
        self.subject.spared_by_oom_killer = is_spared.then(|| self.place("oom_score_adj", ""));
    }
}

/// Returns the identity of a namespace, such as `pid:[4026531836]`.
fn namespace(path: &str) -> Result<std::path::PathBuf> {
    let link = std::fs::read_link(Path::new(path));
    link.map_err(|error| Error::from(error).context(format!("read {path}")))
}

/// Returns the rows of an id map: the first id inside, the first id outside, and their number.
fn rows(map: &str) -> impl Iterator<Item = [u64; 3]> {
    map.lines().filter_map(|line| {
        let mut numbers = line.split_whitespace().map(str::parse);
        let mut next = || numbers.next()?.ok();
        Some([next()?, next()?, next()?])
    })
}

/// Whether a control file has a limit. v1 shows none as the largest number of pages or as -1.
fn is_limit(text: &str) -> bool {
    const NONE_IN_V1: i64 = i64::MAX - 0xf_ffff;
    let first = text.split_whitespace().next().unwrap_or_default();
    first.parse::<i64>().is_ok_and(|limit| (0..NONE_IN_V1).contains(&limit))
}

/// Whether the container is limited to some processors.
fn has_cpus(record: &cgroup::Record) -> bool {
    let unified = record.dirs.iter().filter(|dir| dir.is_unified());
    let mut lists =
        unified.filter_map(|dir| read_text(&dir.path.join("cpuset.cpus").to_string_lossy()).ok());
    lists.any(|list| !list.trim().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_of_both_versions() {
        for (text, expected) in [
            ("max\n", false),
            ("max 100000\n", false),
            ("50000 100000\n", true),
            ("9223372036854771712\n", false),
            ("-1\n", false),
            ("104857600\n", true),
            ("", false),
        ] {
            assert_eq!(is_limit(text), expected, "{text:?}");
        }
    }

    #[test]
    fn id_maps_are_rows_of_three() {
        let map = "         0     100000      65536\n     65536          0          1\nx\n";
        assert_eq!(rows(map).collect::<Vec<_>>(), [[0, 100_000, 65_536], [65_536, 0, 1]]);
    }
}
