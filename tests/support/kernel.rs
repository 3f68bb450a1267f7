//! What the kernel says about a process, its mounts and its cgroups.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use procfs::process::{MountInfo, MountOptFields, Process};

/// A process, as the host sees it.
#[derive(Clone, Copy)]
pub struct Proc {
    /// Its pid on the host.
    pub pid: i32,
}

/// Which kind of hierarchy a controller is bound to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// A hierarchy of its own.
    V1,
    /// The unified hierarchy.
    V2,
}

impl Proc {
    /// The process of that pid.
    pub fn new(pid: i32) -> Self {
        Proc { pid }
    }

    /// Its number.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    fn file(&self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{name}", self.pid))
    }

    /// One of its files in /proc.
    #[track_caller]
    pub fn read(&self, name: &str) -> String {
        let path = self.file(name);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path:?}: {error}"))
    }

    /// Whether it has executed a program of that name: not the shell whose script has the word too.
    #[track_caller]
    pub fn runs(&self, program: &str) -> bool {
        let words = self.read("cmdline");
        words.split('\0').next().is_some_and(|first| first.rsplit('/').next() == Some(program))
    }

    /// A field of its status, without the white space around it.
    #[track_caller]
    pub fn status(&self, field: &str) -> String {
        let text = self.read("status");
        let value = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        value.unwrap_or_else(|| panic!("no {field} in {text}")).trim().to_owned()
    }

    /// A set of the status that the kernel prints as a mask: capabilities or signals.
    #[track_caller]
    pub fn mask(&self, set: &str) -> u64 {
        u64::from_str_radix(&self.status(set), 16).unwrap()
    }

    /// Whether it lives; one that is dead and not yet reaped does not.
    pub fn alive(&self) -> bool {
        let text = fs::read_to_string(self.file("status")).unwrap_or_default();
        let state = text.lines().find_map(|line| line.strip_prefix("State:"));
        state.is_some_and(|state| !state.trim_start().starts_with(['Z', 'X']))
    }

    /// The identity of one of its namespaces, such as `mnt:[4026531840]`.
    #[track_caller]
    pub fn ns(&self, kind: &str) -> String {
        ns_link(&self.pid.to_string(), kind)
    }

    /// Soft and hard of one of its limits, by the name that /proc/pid/limits has for it.
    #[track_caller]
    pub fn limit(&self, name: &str) -> (String, String) {
        let text = self.read("limits");
        let line = text.lines().find_map(|line| line.strip_prefix(name)).expect(name);
        let mut words = line.split_whitespace().map(str::to_owned);
        (words.next().expect(name), words.next().expect(name))
    }

    /// Its mounts, in order.
    #[track_caller]
    pub fn mounts(&self) -> Vec<MountInfo> {
        Process::new(self.pid).unwrap().mountinfo().unwrap().0
    }

    /// The mount that is on top at a place.
    #[track_caller]
    pub fn mount(&self, place: &str) -> MountInfo {
        let mounts = self.mounts();
        let found = mounts.into_iter().rev().find(|mount| mount.mount_point == Path::new(place));
        found.unwrap_or_else(|| panic!("nothing is mounted on {place}: {}", self.read("mountinfo")))
    }

    /// The options of the mount at a place (those of the mount point, not of its file system).
    #[track_caller]
    pub fn mount_options(&self, place: &str) -> BTreeSet<String> {
        let mount = self.mount(place);
        mount.mount_options.into_keys().collect()
    }

    /// `shared`, `slave`, `shared,slave`, `unbindable` or `private`: the mount's propagation.
    #[track_caller]
    pub fn propagation(&self, place: &str) -> String {
        let mut words = Vec::new();
        for field in self.mount(place).opt_fields {
            match field {
                MountOptFields::Shared(_) => words.push("shared"),
                MountOptFields::Master(_) => words.push("slave"),
                MountOptFields::Unbindable => words.push("unbindable"),
                MountOptFields::PropagateFrom(_) => {}
            }
        }
        if words.is_empty() { "private".to_owned() } else { words.join(",") }
    }

    /// A directory or file inside its root, reached from the host.
    pub fn inside(&self, path: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{path}", self.pid))
    }
}

/// The identity of a namespace of a process, by the process's directory in /proc.
#[track_caller]
pub fn ns_link(process: &str, kind: &str) -> String {
    let path = format!("/proc/{process}/ns/{kind}");
    let link = fs::read_link(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    link.to_str().unwrap().to_owned()
}

/// Every cgroup hierarchy in view: its mount point, and the v1 controllers it has (none: v2).
pub fn cgroup_mounts() -> Vec<(PathBuf, Vec<String>)> {
    let mut found = Vec::new();
    for mount in Process::myself().unwrap().mountinfo().unwrap() {
        match mount.fs_type.as_str() {
            "cgroup" => {
                found.push((mount.mount_point, mount.super_options.into_keys().collect()));
            }
            "cgroup2" => found.push((mount.mount_point, Vec::new())),
            _ => {}
        }
    }
    found
}

/// Where a controller is in this view of the machine: the root of its hierarchy.
pub fn controller(name: &str) -> Option<(Version, PathBuf)> {
    for (point, names) in cgroup_mounts() {
        if names.iter().any(|one| one == name) {
            return Some((Version::V1, point));
        }
        let here = fs::read_to_string(point.join("cgroup.controllers")).unwrap_or_default();
        if names.is_empty() && here.split_whitespace().any(|one| one == name) {
            return Some((Version::V2, point));
        }
    }
    None
}

/// Whether systemd is to make the cgroups of the tests' containers: `BULKHEAD_TEST_DRIVER=systemd`.
pub fn by_systemd() -> bool {
    match std::env::var("BULKHEAD_TEST_DRIVER").as_deref() {
        Ok("systemd") => true,
        Ok("cgroupfs") | Err(_) => false,
        Ok(other) => panic!("BULKHEAD_TEST_DRIVER: {other:?} is neither cgroupfs nor systemd"),
    }
}

/// A `cgroupsPath` for the container of that name, for the driver that makes its cgroup.
pub(super) fn cgroups_path(name: &str) -> String {
    if by_systemd() { format!("bt.slice:bt:{name}") } else { format!("/{name}") }
}

/// Where the cgroup of that `cgroupsPath` is below the root of a hierarchy.
pub(super) fn cgroup_below_root(name: &str) -> String {
    if by_systemd() { format!("bt.slice/bt-{name}.scope") } else { name.to_owned() }
}

/// A control file of a process's cgroup, by its name under v1 or v2, whichever there is.
#[track_caller]
pub fn cgroup_file(process: Proc, name: &str, v1: &str, v2: &str) -> PathBuf {
    let (version, point) = controller(name).unwrap_or_else(|| panic!("no controller {name}"));
    let text = process.read("cgroup");
    let path = text.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (names, path) = (fields.next()?, fields.next()?);
        let mine = match version {
            Version::V1 => names.split(',').any(|one| one == name),
            Version::V2 => names.is_empty(),
        };
        mine.then(|| path.trim_start_matches('/').to_owned())
    });
    let dir = point.join(path.unwrap_or_else(|| panic!("no {name} in {text}")));
    dir.join(if version == Version::V1 { v1 } else { v2 })
}

/// Whether the kernel is at least of that version.
pub fn kernel_at_least(major: u16, minor: u8) -> bool {
    let version = procfs::KernelVersion::current().unwrap();
    (version.major, version.minor) >= (major.try_into().unwrap(), minor)
}

/// Whether one without privileges may make a user namespace here.
pub fn unprivileged_user_namespaces() -> bool {
    std::process::Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        // AppArmor may permit the namespace, and then no mapping.
        .args(["unshare", "--user", "--map-root-user", "true"])
        .status()
        .is_ok_and(|status| status.success())
}

/// Everything that is still on the machine of a container: processes, cgroups, mounts, state.
pub fn leftovers(id: &str, bundle: &Path, root: &Path) -> Vec<String> {
    let bundle = bundle.to_str().unwrap();
    let mut left = Vec::new();
    let mut dirs = Vec::new();
    for (point, _) in cgroup_mounts() {
        find_cgroups(&point, id, &mut dirs);
    }
    left.extend(dirs.into_iter().map(|dir| format!("cgroup {dir:?}")));
    if root.join(id).exists() {
        left.push(format!("state {:?}", root.join(id)));
    }
    let ours = fs::read_to_string("/proc/self/mountinfo").unwrap();
    left.extend(ours.lines().filter(|line| line.contains(bundle)).map(|m| format!("mount {m}")));
    // What was killed takes a moment to leave /proc; what lives on is still there after it.
    let end = Instant::now() + *super::PATIENCE / 15;
    loop {
        let processes = processes_of(id, bundle);
        if processes.is_empty() {
            return left;
        }
        if Instant::now() > end {
            left.extend(processes);
            return left;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Kills and removes by hand what a runtime left of a container in its cgroups.
pub fn scrub(id: &str) {
    let mut dirs = Vec::new();
    for (point, _) in cgroup_mounts() {
        find_cgroups(&point, id, &mut dirs);
    }
    let end = Instant::now() + *super::PATIENCE / 6;
    while !dirs.is_empty() && Instant::now() < end {
        for dir in &dirs {
            for pid in fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default().lines() {
                let pid = nix::unistd::Pid::from_raw(pid.parse().unwrap());
                // It may be dead already.
                let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
            }
        }
        // The innermost come last and go first.
        dirs.reverse();
        dirs.retain(|dir| fs::remove_dir(dir).is_err() && dir.exists());
        dirs.reverse();
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The cgroups below `dir` that are of the container, the outer ones first.
fn find_cgroups(dir: &Path, id: &str, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        // The name must end there: 1-2 is not 1-22.
        let path = entry.path();
        let text = path.to_string_lossy().into_owned();
        let after = text.split_once(id).map(|(_, after)| after);
        if after.is_some_and(|after| !after.starts_with(|c: char| c.is_ascii_digit())) {
            found.push(path.clone());
        }
        find_cgroups(&path, id, found);
    }
}

fn processes_of(id: &str, bundle: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse() else { continue };
        let process = Proc::new(pid);
        let text = |name| fs::read_to_string(process.file(name)).unwrap_or_default();
        let ends = [format!("/{id}"), format!("/{}", cgroup_below_root(id))];
        let here = text("cgroup").lines().any(|line| ends.iter().any(|end| line.ends_with(end)));
        let mounted = text("mountinfo").lines().any(|line| line.contains(bundle));
        if (here || mounted) && process.alive() {
            found.push(format!("process {pid} ({})", text("cmdline").replace('\0', " ")));
        }
    }
    found
}
