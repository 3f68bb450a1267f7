//! Paths of the host that a container should not see.

use super::rule::Severity;
use super::subject::{Mount, contains, normal};
use Severity::{Critical, High, Low, Medium};

/// Which sources of a bind mount an entry is about.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Which {
    /// The path itself.
    Exact,
    /// The path and everything below it.
    Tree,
}
use Which::{Exact, Tree};

/// A path, with the severity of a mount that can be written and that of a read-only mount.
type Entry = (&'static str, Which, Severity, Option<Severity>);

/// The paths.
const PATHS: &[Entry] = &[
    ("/", Exact, Critical, Some(High)),
    ("/bin", Exact, Critical, None),
    ("/boot", Tree, Critical, Some(Low)),
    ("/dev", Exact, High, Some(High)),
    ("/dev/kmem", Exact, High, Some(High)),
    ("/dev/mem", Exact, High, Some(High)),
    ("/dev/port", Exact, High, Some(High)),
    ("/etc", Exact, Critical, Some(High)),
    ("/etc/cron.d", Tree, Critical, None),
    ("/etc/cron.daily", Tree, Critical, None),
    ("/etc/crontab", Exact, Critical, None),
    ("/etc/group", Exact, Critical, None),
    ("/etc/gshadow", Exact, Critical, Some(High)),
    ("/etc/kubernetes", Tree, Critical, Some(High)),
    ("/etc/ld.so.preload", Exact, Critical, None),
    ("/etc/pam.d", Tree, Critical, None),
    ("/etc/passwd", Exact, Critical, None),
    ("/etc/profile.d", Tree, Critical, None),
    ("/etc/shadow", Exact, Critical, Some(High)),
    ("/etc/ssh", Exact, Critical, Some(High)),
    ("/etc/sudoers", Exact, Critical, Some(Low)),
    ("/etc/sudoers.d", Tree, Critical, Some(Low)),
    ("/etc/systemd", Tree, Critical, None),
    ("/home", Exact, High, Some(High)),
    ("/lib", Exact, Critical, None),
    ("/lib/modules", Tree, Critical, None),
    ("/lib/systemd", Tree, Critical, None),
    ("/lib64", Exact, Critical, None),
    ("/proc", Exact, Critical, Some(High)),
    ("/proc/1", Tree, Critical, Some(High)),
    ("/proc/sys", Tree, Critical, None),
    ("/proc/sysrq-trigger", Exact, High, None),
    ("/root", Exact, Critical, Some(High)),
    ("/root/.aws", Tree, High, Some(High)),
    ("/root/.docker", Tree, High, Some(High)),
    ("/root/.kube", Tree, High, Some(High)),
    ("/root/.ssh", Tree, Critical, Some(High)),
    ("/sbin", Exact, Critical, None),
    ("/sys", Exact, High, None),
    ("/sys/fs", Exact, High, None),
    ("/sys/fs/bpf", Tree, High, None),
    ("/sys/kernel", Tree, High, None),
    ("/tmp", Exact, Low, None),
    ("/usr", Exact, Critical, None),
    ("/usr/bin", Exact, Critical, None),
    ("/usr/lib", Exact, Critical, None),
    ("/usr/lib/modules", Tree, Critical, None),
    ("/usr/lib/systemd", Tree, Critical, None),
    ("/usr/local/bin", Exact, Critical, None),
    ("/usr/local/sbin", Exact, Critical, None),
    ("/usr/sbin", Exact, Critical, None),
    ("/var", Exact, Critical, Some(High)),
    ("/var/lib", Exact, Critical, Some(High)),
    ("/var/lib/containerd", Exact, Critical, Some(High)),
    ("/var/lib/containers", Exact, Critical, Some(High)),
    ("/var/lib/docker", Exact, Critical, Some(High)),
    ("/var/lib/docker/containers", Exact, High, Some(Medium)),
    ("/var/lib/docker/overlay2", Exact, Critical, Some(High)),
    ("/var/lib/docker/volumes", Exact, Critical, Some(High)),
    ("/var/lib/etcd", Tree, Critical, Some(High)),
    ("/var/lib/kubelet", Exact, Critical, Some(High)),
    ("/var/lib/kubelet/pki", Tree, Critical, Some(High)),
    ("/var/lib/kubelet/pods", Exact, Critical, Some(High)),
    ("/var/log", Exact, Medium, Some(Low)),
    ("/var/spool/cron", Tree, Critical, None),
];

/// The severity of a bind mount, by its source on the host; `None` for a harmless mount.
pub fn severity(mount: &Mount) -> Option<Severity> {
    let host = mount.host.as_deref()?;
    let hits = PATHS.iter().filter(|(path, which, ..)| match which {
        Exact => host == *path,
        Tree => contains(path, host),
    });
    let severities = hits.filter_map(|(_, _, writable, readonly)| match mount.readonly {
        true => *readonly,
        false => Some(*writable),
    });
    severities.max()
}

/// Whether a mount of this path of the host is no finding of medium severity once it is read-only.
pub fn is_harmless_when_read(host: &str) -> bool {
    let hits = PATHS.iter().filter(|(path, which, ..)| match which {
        Exact => host == *path,
        Tree => contains(path, host),
    });
    let mut severities = hits.map(|(.., readonly)| *readonly);
    severities.all(|severity| severity.is_none_or(|severity| severity < Medium))
}

/// Sockets whose server does what its client says, as root.
const SOCKETS: &[&str] = &[
    "/run/buildkit/buildkitd.sock",
    "/run/containerd/containerd.sock",
    "/run/cri-dockerd.sock",
    "/run/crio/crio.sock",
    "/run/dbus/system_bus_socket",
    "/run/docker.sock",
    "/run/docker/containerd/containerd.sock",
    "/run/dockershim.sock",
    "/run/incus/unix.socket",
    "/run/k3s/containerd/containerd.sock",
    "/run/libvirt/libvirt-sock",
    "/run/podman/podman.sock",
    "/run/systemd/private",
    "/var/lib/incus/unix.socket",
    "/var/lib/lxd/unix.socket",
    "/var/snap/lxd/common/lxd/unix.socket",
];

/// The names of such sockets, wherever they are.
const SOCKET_NAMES: &[&str] =
    &["buildkitd.sock", "containerd.sock", "crio.sock", "docker.sock", "podman.sock"];

/// Returns the socket of an engine that a bind mount shows: itself, or in one of the directories
/// above it. A read-only mount does not keep a client from connecting.
pub fn socket(mount: &Mount) -> Option<&str> {
    let host = mount.host.as_deref()?;
    let name = host.rsplit('/').next().unwrap_or_default();
    if SOCKET_NAMES.contains(&name) {
        return Some(host);
    }
    // The directories above /run are file systems of their own, and have entries in the other
    // table.
    let above = |socket: &&&str| contains(host, socket) && contains("/run", host);
    SOCKETS.iter().find(|socket| **socket == host).or_else(|| SOCKETS.iter().find(above)).copied()
}

/// Whether a path of the host usually has mounts below it.
pub fn has_mounts_below(host: &str) -> bool {
    const PATHS: [&str; 8] =
        ["/", "/dev", "/sys", "/sys/fs", "/sys/fs/cgroup", "/sys/kernel", "/var", "/var/lib"];
    PATHS.contains(&host)
}

/// Returns the type of the file system that is mounted on a path of every host.
pub fn file_system(path: &str) -> Option<&'static str> {
    let kinds = [("/sys/fs/cgroup", "cgroup"), ("/proc", "proc"), ("/sys", "sysfs")];
    kinds.into_iter().find(|(root, _)| contains(root, path)).map(|(_, kind)| kind)
}

/// Whether a path names a namespace of the host: that of its first process, or the runtime's own.
pub fn is_namespace_of_host(path: &str) -> bool {
    let path = normal(path);
    ["/proc/1/ns/", "/proc/self/ns/", "/proc/thread-self/ns/"].iter().any(|p| path.starts_with(p))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::subject::Place;

    fn bind(host: &str, readonly: bool) -> Mount {
        Mount {
            at: "/x".into(),
            kind: "bind".into(),
            host: Some(host.into()),
            readonly,
            shared: false,
            place: Place::Field("/mounts/0".into()),
        }
    }

    #[test]
    fn what_engines_bind_by_default_is_harmless() {
        for path in [
            "/var/lib/docker/containers/abc/hosts",
            "/var/lib/docker/volumes/data/_data",
            "/var/lib/kubelet/pods/1-2/etc-hosts",
            "/var/lib/kubelet/pods/1-2/volumes/kubernetes.io~projected/token",
            "/run/containers/storage/overlay-containers/abc/userdata/hostname",
            "/etc/localtime",
            "/etc/resolv.conf",
            "/etc/ssl/certs",
            "/dev/null",
            "/dev/net/tun",
            "/dev/shm",
            "/home/user/project",
            "/root/project",
            "/run/systemd/journal/socket",
            "/srv/data",
        ] {
            let mount = bind(path, false);
            assert!(severity(&mount).is_none() && socket(&mount).is_none(), "{path}");
        }
    }

    #[test]
    fn the_table_is_sorted_and_its_paths_are_normal() {
        assert!(PATHS.is_sorted_by_key(|(path, ..)| path.split('/').collect::<Vec<_>>()));
        for (path, ..) in PATHS {
            assert_eq!(crate::audit::subject::normal(path), *path);
        }
        assert!(SOCKETS.is_sorted() && SOCKET_NAMES.is_sorted());
    }

    #[test]
    fn writing_is_worse_than_reading() {
        assert_eq!(severity(&bind("/", false)), Some(Critical));
        assert_eq!(severity(&bind("/", true)), Some(High));
        assert_eq!(severity(&bind("/usr", true)), None);
        assert_eq!(severity(&bind("/lib/modules/6.1.0", false)), Some(Critical));
        assert_eq!(severity(&bind("/root/.ssh/id_rsa", true)), Some(High));
    }

    #[test]
    fn a_socket_is_found_by_its_name_and_in_a_directory() {
        for (path, found) in [
            ("/run/docker.sock", Some("/run/docker.sock")),
            ("/run/user/1000/podman/podman.sock", Some("/run/user/1000/podman/podman.sock")),
            ("/run", Some("/run/buildkit/buildkitd.sock")),
            ("/run/crio", Some("/run/crio/crio.sock")),
            ("/run/dbus", Some("/run/dbus/system_bus_socket")),
            ("/run/lock", None),
            ("/var/lib/lxd/unix.socket", Some("/var/lib/lxd/unix.socket")),
        ] {
            assert_eq!(socket(&bind(path, true)), found, "{path}");
        }
    }
}
