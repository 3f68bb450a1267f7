//! How the rules find: a function for each rule that is more than a comparison.

use caps::Capability;

use super::rule::{Hit, Severity};
use super::subject::{Device, Mount, Place, Seccomp, Subject, normal};
use super::{binds, calls, capabilities};
use Severity::{High, Low, Medium};

pub fn bind_socket(s: &Subject) -> Vec<Hit> {
    let sockets = s.mounts.iter().filter_map(|m| Some(Hit::new(&m.place, binds::socket(m)?)));
    sockets.collect()
}

pub fn config_invalid(s: &Subject) -> Vec<Hit> {
    s.invalid.iter().map(|why| Hit::new(&Place::Field(String::new()), why)).collect()
}

pub fn config_refused(s: &Subject) -> Vec<Hit> {
    s.refused.iter().map(|why| Hit::new(&Place::Field(String::new()), why)).collect()
}

pub fn device_all(s: &Subject) -> Vec<Hit> {
    let all = s.devices.iter().filter(|d| d.kind == 'a' && d.major.is_none());
    all.map(|device| Hit::new(&device.place, device.name())).collect()
}

pub fn device_char_all(s: &Subject) -> Vec<Hit> {
    devices(s, |d| d.kind == 'c' && (d.major.is_none() || d.major == Some(1) && d.minor.is_none()))
}

pub fn device_input(s: &Subject) -> Vec<Hit> {
    devices(s, |d| d.major.is_some() && (d.has_char(13, 64) || d.has_char(10, 223)))
}

pub fn device_kmsg(s: &Subject) -> Vec<Hit> {
    devices(s, |d| d.major.is_some() && d.minor.is_some() && d.has_char(1, 11))
}

pub fn device_loop(s: &Subject) -> Vec<Hit> {
    devices(s, |d| d.major.is_some() && d.has_char(10, 237))
}

pub fn device_memory(s: &Subject) -> Vec<Hit> {
    devices(s, is_memory)
}

pub fn key_misspelt(s: &Subject) -> Vec<Hit> {
    let ignored = s.misspelt.iter().filter(|key| !key.is_read);
    ignored.map(|key| Hit::new(&key.place, format!("did you mean {:?}?", key.meant))).collect()
}

pub fn key_case(s: &Subject) -> Vec<Hit> {
    let read = s.misspelt.iter().filter(|key| key.is_read);
    read.map(|key| Hit::new(&key.place, format!("did you mean {:?}?", key.meant))).collect()
}

pub fn lsm_none(s: &Subject) -> Vec<Hit> {
    flag(s.confined_by_lsm == Some(false), &s.lsm_place)
}

pub fn oom_spared(s: &Subject) -> Vec<Hit> {
    s.spared_by_oom_killer.iter().map(|place| Hit::new(place, "")).collect()
}

pub fn privileges_gain(s: &Subject) -> Vec<Hit> {
    // Root has nothing to gain but what the bounding set has, which it holds already.
    let severity = if s.uid == 0 { Low } else { Medium };
    let hits = flag(!s.no_new_privileges, &s.no_new_privileges_place);
    hits.into_iter().map(|hit| hit.with(severity)).collect()
}

pub fn propagation_shared(s: &Subject) -> Vec<Hit> {
    let shared = s.mounts.iter().filter(|mount| mount.shared);
    shared
        .map(|mount| {
            let hit = Hit::new(&mount.place, mount.at.as_str());
            if s.reaches(Capability::CAP_SYS_ADMIN) { hit.with(High) } else { hit }
        })
        .collect()
}

pub fn ptrace_host(s: &Subject) -> Vec<Hit> {
    let traces = s.reaches(Capability::CAP_SYS_PTRACE);
    s.shares("pid")
        .filter(|_| traces)
        .map(|place| Hit::new(place, "CAP_SYS_PTRACE"))
        .into_iter()
        .collect()
}

pub fn rlimit_infinite(s: &Subject) -> Vec<Hit> {
    s.infinite_rlimits.iter().map(|(name, place)| Hit::new(place, name.as_str())).collect()
}

pub fn rootfs_writable(s: &Subject) -> Vec<Hit> {
    let root = s.mounts.iter().find(|mount| mount.at == "/");
    root.filter(|root| !root.readonly).map(|root| Hit::new(&root.place, "")).into_iter().collect()
}

pub fn seccomp_default_allow(s: &Subject) -> Vec<Hit> {
    flag(matches!(s.seccomp, Seccomp::Filter { permits_unnamed: true, .. }), &s.seccomp_place)
}

pub fn seccomp_mount(s: &Subject) -> Vec<Hit> {
    let usable = s.reaches(Capability::CAP_SYS_ADMIN) || !permitted(s, calls::USERNS).is_empty();
    if usable { permitted(s, calls::MOUNT) } else { Vec::new() }
}

pub fn seccomp_none(s: &Subject) -> Vec<Hit> {
    flag(matches!(s.seccomp, Seccomp::Missing), &s.seccomp_place)
}

pub fn sys_writable(s: &Subject) -> Vec<Hit> {
    let writable = s.mounts.iter().filter(|m| m.kind == "sysfs" && !m.readonly && m.host.is_none());
    writable.map(|mount| Hit::new(&mount.place, mount.at.as_str())).collect()
}

pub fn sysctl_host(s: &Subject) -> Vec<Hit> {
    s.host_sysctls.iter().map(|(name, place)| Hit::new(place, name.as_str())).collect()
}

pub fn flag(is_broken: bool, place: &Place) -> Vec<Hit> {
    if is_broken { vec![Hit::new(place, "")] } else { Vec::new() }
}

pub fn namespace(s: &Subject, kind: &str) -> Vec<Hit> {
    s.shares(kind).map(|place| Hit::new(place, "")).into_iter().collect()
}

pub fn limits(s: &Subject, limit: &str) -> Vec<Hit> {
    let missing = s.unlimited.iter().filter(|(name, _)| *name == limit);
    missing.map(|(_, place)| Hit::new(place, "")).collect()
}

/// Returns hits for the devices that are meant; none if all devices are allowed, which says more.
pub fn devices(s: &Subject, is_meant: impl Fn(&Device) -> bool) -> Vec<Hit> {
    if s.devices.iter().any(|device| device.kind == 'a' && device.major.is_none()) {
        return Vec::new();
    }
    let found = s.devices.iter().filter(|device| is_meant(device));
    let hit = |device: &Device| {
        let hit = Hit::new(&device.place, device.name());
        // The runtime gives the node to the container's root, and open(2) needs no capability. Without
        // a node, mknod(2) is refused in a user namespace. The memory needs CAP_SYS_RAWIO besides.
        let is_node = device.place.pointer().is_some_and(|p| p.starts_with("/linux/devices/"));
        let anywhere = is_node && !is_memory(device);
        Hit { anywhere, ..hit }
    };
    found.map(hit).collect()
}

/// Whether a device is the memory of the host, or the kernel's.
fn is_memory(device: &Device) -> bool {
    let memory = [(1, 1), (1, 2), (1, 4)];
    device.major.is_some()
        && device.minor.is_some()
        && memory.iter().any(|(major, minor)| device.has_char(*major, *minor))
}

pub fn permitted(s: &Subject, group: usize) -> Vec<Hit> {
    let Seccomp::Filter { permitted, .. } = &s.seccomp else { return Vec::new() };
    match permitted.get(group) {
        Some(calls) if !calls.is_empty() => vec![Hit::new(&s.seccomp_place, calls.join(", "))],
        _ => Vec::new(),
    }
}

/// Whether a mount came along with a recursive bind mount around it, which is reported itself.
fn is_part(s: &Subject, mount: &Mount) -> bool {
    let Some(host) = &mount.host else { return false };
    s.mounts.iter().any(|around| {
        let below = mount.at.strip_prefix(around.at.as_str()).filter(|rest| rest.starts_with('/'));
        let path = below.zip(around.host.as_deref()).map(|(below, host)| format!("{host}{below}"));
        path.is_some_and(|path| normal(&path) == *host)
            && binds::severity(around).is_some_and(|worst| Some(worst) >= binds::severity(mount))
    })
}

pub fn files_caps(s: &Subject) -> Vec<Hit> {
    let held = capabilities::FILES.iter().filter(|cap| s.holds(**cap));
    let names: Vec<_> = held.map(ToString::to_string).collect();
    let [place, _] = &s.caps.places;
    if names.is_empty() { Vec::new() } else { vec![Hit::new(place, names.join(", "))] }
}

pub fn host_binds(s: &Subject) -> Vec<Hit> {
    let binds = s.mounts.iter().filter(|m| binds::socket(m).is_none() && !is_part(s, m));
    let hits = binds.filter_map(|mount| {
        let access = if mount.readonly { "read-only" } else { "writable" };
        let object = format!("{} ({access})", mount.host.as_deref()?);
        Some(Hit::new(&mount.place, object).with(binds::severity(mount)?))
    });
    hits.collect()
}

pub fn cgroup_writable(s: &Subject) -> Vec<Hit> {
    let is_cgroup = |kind: &str| matches!(kind, "cgroup" | "cgroup2");
    let writable = s.mounts.iter().filter(|mount| is_cgroup(&mount.kind) && !mount.readonly);
    let writable = writable.filter(|mount| !is_part(s, mount));
    let hits = writable.map(|mount| {
        let hit = Hit::new(&mount.place, mount.at.as_str());
        // The cgroups of the whole host are in reach.
        if s.shares("cgroup").is_some() { hit.with(High) } else { hit }
    });
    hits.collect()
}

/// Returns a hit for those of `paths` that can be written through a procfs.
pub fn proc_writable(s: &Subject, paths: &[&str]) -> Vec<Hit> {
    let is_writable = |path: &&&str| s.cover(path).is_some_and(|m| m.kind == "proc" && !m.readonly);
    open_paths(s, 1, paths.iter().filter(is_writable).copied().collect())
}

/// What root can write in a procfs and changes the host.
pub const SETTINGS: &[&str] =
    &["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// What can be read of a procfs or sysfs and says much about the host.
pub const SECRETS: &[&str] = &[
    "/proc/acpi",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/sys/firmware",
];

pub fn unmasked(s: &Subject) -> Vec<Hit> {
    let is_open = |path: &&&str| {
        let cover = s.cover(path).map(|mount| mount.kind.as_str());
        matches!(cover, Some("proc" | "sysfs"))
    };
    open_paths(s, 0, SECRETS.iter().filter(is_open).copied().collect())
}

pub fn open_paths(s: &Subject, list: usize, paths: Vec<&str>) -> Vec<Hit> {
    let place = s.paths_place.get(list);
    place
        .filter(|_| !paths.is_empty())
        .map(|place| Hit::new(place, paths.join(", ")))
        .into_iter()
        .collect()
}
