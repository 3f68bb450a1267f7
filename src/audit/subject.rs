//! What an audit is about: the facts of a container that the rules ask for, whether they come from
//! a configuration ([`super::config`]) or from the kernel ([`super::live`]).

use std::fmt::{self, Display, Formatter};

use caps::Capability;

use crate::text;

/// Where a fact comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A member of the configuration, by its JSON pointer (RFC 6901).
    Field(String),
    /// A file of the kernel, with the name of the line in it.
    Kernel(String),
}

impl Place {
    /// Returns the JSON pointer of a member of the configuration.
    pub fn pointer(&self) -> Option<&str> {
        match self {
            Place::Field(pointer) => Some(pointer),
            Place::Kernel(_) => None,
        }
    }
}

/// A member as errors of the runtime name it: `linux.namespaces[0]`.
impl Display for Place {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let pointer = match self {
            Place::Kernel(file) => return f.write_str(&text::one_line(file.clone())),
            Place::Field(pointer) => pointer,
        };
        for (index, step) in pointer.split('/').skip(1).enumerate() {
            let step = step.replace("~1", "/").replace("~0", "~");
            match step.parse::<usize>() {
                Ok(number) => write!(f, "[{number}]")?,
                Err(_) if index == 0 => f.write_str(&text::one_line(step))?,
                Err(_) => write!(f, ".{}", text::one_line(step))?,
            }
        }
        Ok(())
    }
}

/// Whose users the container has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Users {
    /// Those of the host: its root is the host's.
    Host,
    /// A user namespace that maps the host's root: capabilities are valid in it only, but files of
    /// the host's root are the container's.
    MapsRoot,
    /// A user namespace that does not map the host's root.
    Own,
}

/// The capabilities of the container's program.
#[derive(Debug, Clone)]
pub struct Caps {
    /// Those that the program has after execve(2).
    pub held: u64,
    /// Those that it can gain by executing a set-user-ID program or one with file capabilities.
    pub gainable: u64,
    /// The places of the two.
    pub places: [Place; 2],
}

/// A mount of the container, or a path that is masked or made read-only.
#[derive(Debug, Clone)]
pub struct Mount {
    /// The mount point in the container.
    pub at: String,
    /// The type of the file system; [`HIDDEN`] for a masked path.
    pub kind: String,
    /// The path on the host that a bind mount shows.
    pub host: Option<String>,
    /// Whether nothing can be written through it.
    pub readonly: bool,
    /// Whether mounts that the container makes below it appear on the host.
    pub shared: bool,
    /// Its place.
    pub place: Place,
}

/// The type of a procfs with the option `subset=pid`.
pub const PROCESSES: &str = "proc of processes";

/// The type of what masks a path.
pub const HIDDEN: &str = "hidden";

/// Devices that the container may read or write.
#[derive(Debug, Clone)]
pub struct Device {
    /// `a`, `b` or `c`.
    pub kind: char,
    /// The major number; `None` means every number.
    pub major: Option<i64>,
    /// The minor number; `None` means every number.
    pub minor: Option<i64>,
    /// Its place.
    pub place: Place,
}

/// The seccomp filter.
#[derive(Debug, Clone)]
pub enum Seccomp {
    /// There is none.
    Missing,
    /// A filter, with the system calls of [`super::calls::GROUPS`] that it permits, a list for each
    /// group.
    Filter {
        /// Whether it permits calls that it does not name.
        permits_unnamed: bool,
        /// The permitted calls.
        permitted: Vec<Vec<&'static str>>,
    },
    /// The kernel does not tell what the filter permits, and no profile is recorded.
    Unknown,
}

/// A key of the configuration that is not what its writer meant.
#[derive(Debug, Clone)]
pub struct Misspelt {
    /// The place.
    pub place: Place,
    /// The key of the specification that was probably meant.
    pub meant: String,
    /// Whether the runtime reads it nevertheless, because only the case of letters differs.
    pub is_read: bool,
}

/// The facts of a container.
#[derive(Debug, Clone)]
pub struct Subject {
    /// Whose users the container has.
    pub users: Users,
    /// The place of `users`.
    pub users_place: Place,
    /// The user id of the program, as seen in the container.
    pub uid: u32,
    /// The place of `uid`.
    pub uid_place: Place,
    /// Whether no program can gain privileges by execve(2).
    pub no_new_privileges: bool,
    /// The place of `no_new_privileges`.
    pub no_new_privileges_place: Place,
    /// The capabilities.
    pub caps: Caps,
    /// The names of the kinds of namespaces that are the host's, with their places.
    pub shared_namespaces: Vec<(&'static str, Place)>,
    /// The root file system first, then the mounts, then masked and read-only paths.
    pub mounts: Vec<Mount>,
    /// The place of a path that is neither masked nor read-only.
    pub paths_place: [Place; 2],
    /// The devices, in the order of their rules.
    pub devices: Vec<Device>,
    /// The names of the limits that are not set, with their places.
    pub unlimited: Vec<(&'static str, Place)>,
    /// The seccomp filter.
    pub seccomp: Seccomp,
    /// The place of `seccomp`.
    pub seccomp_place: Place,
    /// Whether a security module confines the program by a profile or a label; `None` means
    /// unknown.
    pub confined_by_lsm: Option<bool>,
    /// The place of `confined_by_lsm`.
    pub lsm_place: Place,
    /// The resource limits that are set to infinity.
    pub infinite_rlimits: Vec<(String, Place)>,
    /// Sysctls of the host that the configuration sets.
    pub host_sysctls: Vec<(String, Place)>,
    /// Whether the OOM killer spares the container, with the place.
    pub spared_by_oom_killer: Option<Place>,
    /// Keys that are not what their writer meant.
    pub misspelt: Vec<Misspelt>,
    /// Why the configuration violates the specification.
    pub invalid: Option<String>,
    /// Why the runtime refuses to run the configuration on this host.
    pub refused: Option<String>,
    /// What could not be read, each with the reason.
    pub unread: Vec<String>,
}

impl Subject {
    /// Whether the program has the capability.
    pub fn holds(&self, capability: Capability) -> bool {
        self.caps.held & capability.bitmask() != 0
    }

    /// Whether the program has the capability or can gain it.
    pub fn reaches(&self, capability: Capability) -> bool {
        (self.caps.held | self.caps.gainable) & capability.bitmask() != 0
    }

    /// Returns the place of a namespace that is the host's.
    pub fn shares(&self, kind: &str) -> Option<&Place> {
        self.shared_namespaces.iter().find(|(name, _)| *name == kind).map(|(_, place)| place)
    }

    /// Returns the mount that a path of the container is on: the deepest, and the last of those on
    /// one mount point.
    pub fn cover(&self, path: &str) -> Option<&Mount> {
        self.mounts.iter().filter(|mount| contains(&mount.at, path)).max_by_key(|m| m.at.len())
    }
}

/// Whether `path` is `directory` or below it.
pub fn contains(directory: &str, path: &str) -> bool {
    let directory = directory.trim_end_matches('/');
    path.strip_prefix(directory).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Returns a path without `.`, `..`, empty components and the old names of directories: symbolic
/// links of the host are not followed, so `/var/run` is replaced here.
pub fn normal(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    let path = format!("/{}", parts.join("/"));
    match path.strip_prefix("/var/run") {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => format!("/run{rest}"),
        _ => path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_shown_as_errors_name_them() {
        for (pointer, shown) in [
            ("/linux/namespaces/0/path", "linux.namespaces[0].path"),
            ("/linux/sysctl/net.ipv4.x~1y", "linux.sysctl.net.ipv4.x/y"),
            ("/process", "process"),
            ("/a\u{1b}b", "a\\u{1b}b"),
        ] {
            assert_eq!(Place::Field(pointer.into()).to_string(), shown);
        }
        assert_eq!(Place::Kernel("/proc/1/status: CapEff".into()).pointer(), None);
    }

    #[test]
    fn paths_are_compared_by_component() {
        assert!(contains("/", "/etc") && contains("/etc", "/etc") && contains("/etc/", "/etc/x"));
        assert!(!contains("/etc", "/etcetera") && !contains("/etc/x", "/etc"));
        assert_eq!(normal("/var/run//docker.sock"), "/run/docker.sock");
        assert_eq!(normal("/a/../../b/./"), "/b");
        assert_eq!(normal("/var/running"), "/var/running");
    }
}
