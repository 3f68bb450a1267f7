//! `info`: what this host gives containers, and what the lack of a feature costs. Each fact is asked of
//! the kernel by a request that changes nothing.

use std::path::Path;

use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, statfs};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::mount::{FsOpenFlags, OpenTreeFlags, fsopen, open_tree};
use rustix::process::{PidfdFlags, getpid, pidfd_open};
use serde::Serialize;

use super::args::LogFormat;
use super::checkpoint;
use super::output::{print, print_pretty_json};
use crate::fs::read_text;
use crate::host::{self, Host};
use crate::sys::{clone, mount, seccomp};
use crate::{Result, text};

/// Prints the facts.
pub fn run(format: LogFormat) -> Result<()> {
    let info = Info::probe()?;
    match format {
        LogFormat::Json => print_pretty_json(&info),
        LogFormat::Text => print(info.text().as_bytes()),
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Info {
    version: &'static str,
    kernel: String,
    machine: String,
    uid: u32,
    in_user_namespace: bool,
    cgroups: &'static str,
    controllers: Vec<String>,
    drivers: Vec<&'static str>,
    lsms: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    criu: Option<String>,
    features: Vec<Feature>,
}

/// A feature, with what its lack costs.
#[derive(Debug, Serialize)]
struct Feature {
    name: &'static str,
    present: bool,
    #[serde(skip_serializing_if = "str::is_empty")]
    cost: &'static str,
}

impl Info {
    fn probe() -> Result<Info> {
        let host = Host::probe()?;
        let system = rustix::system::uname();
        let (cgroups, controllers) = cgroups();
        let has_systemd = Path::new("/run/systemd/system").is_dir();
        let criu = checkpoint::program("criu").ok();
        let has_criu = criu.is_some();
        let mut drivers = if cgroups == "none" { vec![] } else { vec!["cgroupfs"] };
        drivers.extend(has_systemd.then_some("systemd"));
        let mut features = kernel_features();
        features.extend(controllers_of(&controllers));
        features.extend([
            feature("systemd", has_systemd, "--systemd-cgroup is an error"),
            feature("AppArmor", host::has_apparmor()?, "AppArmor profiles are an error"),
            feature("SELinux", host::has_selinux()?, "SELinux labels are an error"),
            feature("CRIU", has_criu, "checkpoint and restore are errors (package criu)"),
            feature(
                "newuidmap",
                ["newuidmap", "newgidmap"]
                    .into_iter()
                    .all(|name| checkpoint::program(name).is_ok()),
                "without root, a container has one user id (package uidmap)",
            ),
        ]);
        let lsms = read_text("/sys/kernel/security/lsm").unwrap_or_default();
        Ok(Info {
            version: env!("CARGO_PKG_VERSION"),
            kernel: system.release().to_string_lossy().into_owned(),
            machine: system.machine().to_string_lossy().into_owned(),
            uid: host.uid,
            in_user_namespace: host.in_user_namespace,
            cgroups,
            controllers,
            drivers,
            lsms: lsms.trim().split(',').filter(|name| !name.is_empty()).map(Into::into).collect(),
            criu: criu.map(|path| text::one_line(path.to_string_lossy().into_owned())),
            features,
        })
    }

    fn text(&self) -> String {
        let or_none = |list: String| if list.is_empty() { "none".to_owned() } else { list };
        let names = |present: bool| {
            let features = self.features.iter().filter(move |feature| feature.present == present);
            features.map(|feature| feature.name).collect::<Vec<_>>().join(", ")
        };
        let namespace = if self.in_user_namespace { " of a user namespace" } else { "" };
        let rows = [
            ("version", self.version.to_owned()),
            ("kernel", format!("{} {}", self.kernel, self.machine)),
            ("user", format!("{}{namespace}", self.uid)),
            ("cgroups", self.cgroups.to_owned()),
            ("controllers", or_none(self.controllers.join(" "))),
            ("drivers", or_none(self.drivers.join(" "))),
            ("LSMs", or_none(self.lsms.join(" "))),
            ("CRIU", or_none(self.criu.clone().unwrap_or_default())),
            ("present", or_none(names(true))),
            ("missing", or_none(names(false))),
        ];
        let mut out: String =
            rows.iter().map(|(name, value)| format!("{name:<13}{value}\n")).collect();
        for Feature { name, cost, .. } in self.features.iter().filter(|feature| !feature.present) {
            out += &format!("  without {name}: {cost}\n");
        }
        out
    }
}

fn feature(name: &'static str, present: bool, cost: &'static str) -> Feature {
    Feature { name, present, cost: if present { "" } else { cost } }
}

fn kernel_features() -> Vec<Feature> {
    const NO_CONTAINER: &str = "no container can be created";
    let openat2 = rustix::fs::openat2(CWD, "/", OFlags::PATH, Mode::empty(), ResolveFlags::empty());
    let tree = open_tree(CWD, "/", OpenTreeFlags::OPEN_TREE_CLOEXEC);
    // Without privileges these are refused, but not with ENOSYS.
    let filesystem = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC);
    let attributes = mount::mount_setattr(CWD, c"/", 0, mount::Change::default(), None);
    let exists = |errno: Option<Errno>| errno != Some(Errno::NOSYS);
    let mounts = tree.is_ok() && exists(filesystem.err());
    let namespace = |name: &str| Path::new("/proc/self/ns").join(name).exists();
    let number = |path: &str| read_text(path).ok().and_then(|text| text.trim().parse::<u64>().ok());
    let users = namespace("user") && number("/proc/sys/user/max_user_namespaces") != Some(0);
    let open_to_all = number("/proc/sys/kernel/unprivileged_userns_clone") != Some(0)
        && number("/proc/sys/kernel/apparmor_restrict_unprivileged_userns").unwrap_or(0) == 0;
    vec![
        feature("clone3", clone::has_clone3(), NO_CONTAINER),
        feature("open_tree, fsopen", mounts, NO_CONTAINER),
        feature(
            "mount_setattr",
            attributes != Err(nix::errno::Errno::ENOSYS),
            "no container can be created, and no mount be idmapped",
        ),
        feature("pidfd", pidfd_open(getpid(), PidfdFlags::empty()).is_ok(), NO_CONTAINER),
        feature("openat2", openat2.is_ok(), "paths are resolved in more steps"),
        feature("seccomp", seccomp::flags_known(0), "seccomp profiles are an error"),
        feature("seccomp notify", seccomp::has_notify(), "SCMP_ACT_NOTIFY is an error"),
        feature("cgroup namespaces", namespace("cgroup"), "a new cgroup namespace is an error"),
        feature("time namespaces", namespace("time"), "a new time namespace is an error"),
        feature("user namespaces", users, "a new user namespace is an error"),
        feature(
            "user namespaces without root",
            users && open_to_all,
            "containers without root may be an error",
        ),
    ]
}

/// Returns the features that are controllers of cgroups, by their names in v2 and v1.
fn controllers_of(present: &[String]) -> Vec<Feature> {
    let has = |names: &[&str]| present.iter().any(|name| names.contains(&name.as_str()));
    vec![
        feature("controller cpu", has(&["cpu"]), "limits of CPU time are an error"),
        feature("controller cpuset", has(&["cpuset"]), "lists of CPUs and nodes are an error"),
        feature("controller io", has(&["io", "blkio"]), "limits of block I/O are an error"),
        feature("controller memory", has(&["memory"]), "limits of memory are an error"),
        feature("controller pids", has(&["pids"]), "a limit of processes is an error"),
    ]
}

/// Returns the form of the cgroup hierarchies, and their controllers.
fn cgroups() -> (&'static str, Vec<String>) {
    let is_v2 =
        |path: &str| statfs(path).is_ok_and(|fs| fs.filesystem_type() == CGROUP2_SUPER_MAGIC);
    if is_v2("/sys/fs/cgroup") {
        let controllers = read_text("/sys/fs/cgroup/cgroup.controllers").unwrap_or_default();
        return ("v2", controllers.split_whitespace().map(Into::into).collect());
    }
    // Name, hierarchy, number of cgroups, whether it is enabled. Hierarchy 0 is v2.
    let table = read_text("/proc/cgroups").unwrap_or_default();
    let used = |line: &str| {
        let mut fields = line.split_whitespace();
        let name = fields.next()?;
        let hierarchy = fields.next()?;
        (hierarchy != "0" && fields.nth(1)? == "1").then(|| name.to_owned())
    };
    let controllers: Vec<_> = table.lines().skip(1).filter_map(used).collect();
    match (is_v2("/sys/fs/cgroup/unified"), controllers.is_empty()) {
        (true, _) => ("hybrid", controllers),
        (false, false) => ("v1", controllers),
        (false, true) => ("none", controllers),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_has_a_cost() {
        let mut info = Info::probe().unwrap();
        assert!(info.features.iter().all(|feature| feature.present == feature.cost.is_empty()));
        info.features = vec![feature("a", true, "x"), feature("b", false, "b is slow")];
        let text = info.text();
        assert!(
            text.contains("\npresent      a\nmissing      b\n  without b: b is slow\n"),
            "{text}"
        );
        let json = serde_json::to_value(&info).unwrap();
        assert_eq!(json["features"][0], serde_json::json!({"name": "a", "present": true}));
        assert_eq!(json["features"][1]["cost"], "b is slow");
    }
}
