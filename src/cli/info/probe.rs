//! The facts of `info`: requests to the kernel that change nothing.

use std::path::{Path, PathBuf};

use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, statfs};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::mount::{FsOpenFlags, OpenTreeFlags, fsopen, open_tree};
use rustix::process::{PidfdFlags, getpid, pidfd_open};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use crate::fs::read_text;
use crate::sys::{clone, fds, lsm, mount, seccomp};

/// A feature, with what its lack costs.
#[derive(Debug)]
pub struct Feature {
    pub name: &'static str,
    pub present: bool,
    pub cost: &'static str,
}

impl Serialize for Feature {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("name", self.name)?;
        map.serialize_entry("present", &self.present)?;
        if !self.present {
            map.serialize_entry("cost", self.cost)?;
        }
        map.end()
    }
}

/// Makes a feature.
pub fn feature(name: &'static str, present: bool, cost: &'static str) -> Feature {
    Feature { name, present, cost }
}

/// Returns the features of the kernel.
pub fn kernel_features() -> Vec<Feature> {
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
    // A descriptor that cannot be open.
    let close_range = fds::close_on_exec_range(u32::MAX, u32::MAX).is_ok();
    let filesystems = read_text("/proc/filesystems").unwrap_or_default();
    vec![
        feature("clone3", clone::has_clone3(), NO_CONTAINER),
        feature("open_tree and fsopen", mounts, NO_CONTAINER),
        feature(
            "mount_setattr",
            attributes != Err(nix::errno::Errno::ENOSYS),
            "no container can be created, and no mount be idmapped",
        ),
        feature("pidfd", pidfd_open(getpid(), PidfdFlags::empty()).is_ok(), NO_CONTAINER),
        feature("close_range", close_range, NO_CONTAINER),
        feature("openat2", openat2.is_ok(), "paths are resolved in more steps"),
        feature("seccomp", seccomp::flags_known(0), "seccomp profiles are an error"),
        feature("seccomp notify", seccomp::has_notify(), "SCMP_ACT_NOTIFY is an error"),
        feature("mount namespaces", namespace("mnt"), "a new mount namespace is an error"),
        feature("pid namespaces", namespace("pid"), "a new pid namespace is an error"),
        feature("network namespaces", namespace("net"), "a new network namespace is an error"),
        feature("ipc namespaces", namespace("ipc"), "a new ipc namespace is an error"),
        feature("uts namespaces", namespace("uts"), "a new uts namespace is an error"),
        feature("cgroup namespaces", namespace("cgroup"), "a new cgroup namespace is an error"),
        feature("time namespaces", namespace("time"), "a new time namespace is an error"),
        feature("user namespaces", users, "a new user namespace is an error"),
        feature(
            "user namespaces without root",
            users && open_to_all,
            "containers without root may be an error",
        ),
        feature("resctrl", filesystems.contains("\tresctrl\n"), "linux.intelRdt is an error"),
    ]
}

/// The cgroups of the host.
pub struct Cgroups {
    /// v2, hybrid, v1 or none.
    pub form: &'static str,
    /// The controllers that a container can have.
    pub controllers: Vec<String>,
    /// Where the hierarchy of v2 is mounted.
    unified: Option<&'static str>,
}

impl Cgroups {
    /// Reads the form of the hierarchies, and their controllers.
    pub fn probe() -> Cgroups {
        let is_v2 =
            |path: &str| statfs(path).is_ok_and(|fs| fs.filesystem_type() == CGROUP2_SUPER_MAGIC);
        let of_v2 = |root: &str| -> Vec<String> {
            let controllers = read_text(&format!("{root}/cgroup.controllers")).unwrap_or_default();
            controllers.split_whitespace().map(Into::into).collect()
        };
        if is_v2("/sys/fs/cgroup") {
            let unified = "/sys/fs/cgroup";
            return Cgroups { form: "v2", controllers: of_v2(unified), unified: Some(unified) };
        }
        // Name, hierarchy, number of cgroups, whether it is enabled. Hierarchy 0 is v2.
        let table = read_text("/proc/cgroups").unwrap_or_default();
        let used = |line: &str| {
            let mut fields = line.split_whitespace();
            let name = fields.next()?;
            let hierarchy = fields.next()?;
            (hierarchy != "0" && fields.nth(1)? == "1").then(|| name.to_owned())
        };
        let mut controllers: Vec<_> = table.lines().skip(1).filter_map(used).collect();
        let unified = Some("/sys/fs/cgroup/unified").filter(|path| is_v2(path));
        // Those that v1 does not use.
        controllers.extend(unified.map(of_v2).unwrap_or_default());
        let form = match (unified, controllers.is_empty()) {
            (Some(_), _) => "hybrid",
            (None, false) => "v1",
            (None, true) => "none",
        };
        Cgroups { form, controllers, unified }
    }

    /// Returns the features that are controllers, by their names in v2 and v1, and files of cgroups.
    pub fn features(&self) -> Vec<Feature> {
        let has =
            |names: &[&str]| self.controllers.iter().any(|name| names.contains(&name.as_str()));
        let swap = self.has_file("memory.swap.max")
            || Path::new("/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes").exists();
        vec![
            feature("controller cpu", has(&["cpu"]), "limits of CPU time are an error"),
            feature("controller cpuset", has(&["cpuset"]), "lists of CPUs and nodes are an error"),
            feature("controller io", has(&["io", "blkio"]), "limits of block I/O are an error"),
            feature("controller memory", has(&["memory"]), "limits of memory are an error"),
            feature("controller pids", has(&["pids"]), "a limit of processes is an error"),
            feature("controller hugetlb", has(&["hugetlb"]), "limits of huge pages are an error"),
            feature("controller rdma", has(&["rdma"]), "limits of RDMA are an error"),
            feature("limit of swap", has(&["memory"]) && swap, "limits of swap are an error"),
            feature(
                "cgroup.kill",
                self.has_file("cgroup.kill"),
                "processes of a cgroup are killed one by one",
            ),
        ]
    }

    /// Returns whether a cgroup of v2 has a file. The root has not all files, so the cgroups below it and
    /// that of this process are searched.
    fn has_file(&self, name: &str) -> bool {
        let Some(root) = self.unified.map(PathBuf::from) else { return false };
        let own = read_text("/proc/self/cgroup").unwrap_or_default();
        let own = own.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default();
        let below = std::fs::read_dir(&root).into_iter().flatten().flatten();
        let below = below.map(|entry| entry.path()).filter(|path| path.is_dir());
        below.chain([root.join(own)]).any(|cgroup| cgroup.join(name).exists())
    }
}

/// Returns the active Linux security modules in their order; `None` if the kernel does not tell.
pub fn lsms() -> Option<Vec<String>> {
    // LSM_ID_* of linux/lsm.h, from 100.
    const NAMES: [&str; 14] = [
        "capability",
        "selinux",
        "smack",
        "tomoyo",
        "apparmor",
        "yama",
        "loadpin",
        "safesetid",
        "lockdown",
        "bpf",
        "landlock",
        "ima",
        "evm",
        "ipe",
    ];
    // The file of securityfs, which few containers mount, knows new modules by name.
    if let Ok(text) = read_text("/sys/kernel/security/lsm") {
        let names = text.trim().split(',').filter(|name| !name.is_empty());
        return Some(names.map(Into::into).collect());
    }
    let name = |id: u64| {
        let index = id.checked_sub(100).and_then(|index| usize::try_from(index).ok());
        let name = index.and_then(|index| NAMES.get(index));
        name.map_or_else(|| format!("module {id}"), |name| (*name).to_owned())
    };
    lsm::modules().ok().map(|ids| ids.into_iter().map(name).collect())
}
