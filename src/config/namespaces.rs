//! `linux.namespaces`: the namespaces of the container.

use std::path::PathBuf;

use oci_spec::runtime::LinuxNamespace;

use crate::{Error, Result};

/// A kind of namespace (namespaces(7)). Its number is the CLONE_NEW* flag (clone(2)).
pub use oci_spec::runtime::LinuxNamespaceType as Kind;

/// All kinds, in the order in which they are joined. The mount namespace comes last: paths of the
/// host cannot be resolved in it.
pub const KINDS: [Kind; 8] = [
    Kind::User,
    Kind::Pid,
    Kind::Network,
    Kind::Ipc,
    Kind::Uts,
    Kind::Cgroup,
    Kind::Time,
    Kind::Mount,
];

/// Returns the name of a kind in config.json. Its `Display` is the name in /proc, such as `mnt`.
pub fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::User => "user",
        Kind::Pid => "pid",
        Kind::Mount => "mount",
        Kind::Network => "network",
        Kind::Ipc => "ipc",
        Kind::Uts => "uts",
        Kind::Cgroup => "cgroup",
        Kind::Time => "time",
    }
}

/// The namespace of one kind that the container gets.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Choice {
    /// The runtime's own namespace.
    #[default]
    Inherit,
    /// A new namespace.
    New,
    /// An existing namespace, named by a file.
    Join(PathBuf),
}

impl Choice {
    /// Returns the path of a namespace to join.
    pub fn path(&self) -> Option<&PathBuf> {
        match self {
            Choice::Join(path) => Some(path),
            _ => None,
        }
    }
}

/// The namespace choices of `linux.namespaces`, for every kind.
#[derive(Debug, Clone, Default)]
#[allow(missing_docs)]
pub struct Namespaces {
    pub user: Choice,
    pub pid: Choice,
    pub mount: Choice,
    pub network: Choice,
    pub ipc: Choice,
    pub uts: Choice,
    pub cgroup: Choice,
    pub time: Choice,
}

impl Namespaces {
    /// Parses the list (config-linux.md, "Namespaces"). Refuses a type that is listed twice, and
    /// relative paths. An empty path counts as absent.
    pub fn new(list: Option<&Vec<LinuxNamespace>>) -> Result<Namespaces> {
        let mut namespaces = Namespaces::default();
        for (index, entry) in list.into_iter().flatten().enumerate() {
            let field = |name: &str| format!("linux.namespaces[{index}].{name}");
            let slot = match entry.typ() {
                Kind::User => &mut namespaces.user,
                Kind::Pid => &mut namespaces.pid,
                Kind::Mount => &mut namespaces.mount,
                Kind::Network => &mut namespaces.network,
                Kind::Ipc => &mut namespaces.ipc,
                Kind::Uts => &mut namespaces.uts,
                Kind::Cgroup => &mut namespaces.cgroup,
                Kind::Time => &mut namespaces.time,
            };
            if *slot != Choice::Inherit {
                let why = "a namespace of this type is listed twice";
                return Err(Error::invalid(field("type"), kind_name(entry.typ()), why));
            }
            *slot = match entry.path() {
                Some(path) if path.as_os_str().is_empty() => Choice::New,
                Some(path) if path.is_absolute() => Choice::Join(path.clone()),
                Some(path) => {
                    return Err(Error::invalid(field("path"), path, "must be an absolute path"));
                }
                None => Choice::New,
            };
        }
        Ok(namespaces)
    }

    /// Returns the choice for `kind`.
    pub fn get(&self, kind: Kind) -> &Choice {
        match kind {
            Kind::User => &self.user,
            Kind::Pid => &self.pid,
            Kind::Mount => &self.mount,
            Kind::Network => &self.network,
            Kind::Ipc => &self.ipc,
            Kind::Uts => &self.uts,
            Kind::Cgroup => &self.cgroup,
            Kind::Time => &self.time,
        }
    }

    /// Whether the container has a namespace of this kind other than the runtime's, new or joined.
    pub fn has(&self, kind: Kind) -> bool {
        *self.get(kind) != Choice::Inherit
    }

    /// Whether the container has a user namespace other than the runtime's.
    pub fn has_user(&self) -> bool {
        self.has(Kind::User)
    }

    /// Whether a namespace of this kind is joined by path.
    pub fn is_joined(&self, kind: Kind) -> bool {
        self.get(kind).path().is_some()
    }
}
