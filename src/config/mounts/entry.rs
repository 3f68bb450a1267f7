//! Parses one entry of `mounts` (config.md, "Mounts").

use std::path::{Component, Path, PathBuf};

use oci_spec::runtime::Mount as Spec;

use super::flags::SuperFlags;
use super::idmap::{Pair, Users};
use super::options::{self, MountOptions};
use crate::config::ids::IdMap;
use crate::config::selinux;
use crate::{Error, Result};

/// The maximum length of a path: `PATH_MAX` without the final NUL.
const MAX_PATH: usize = 4095;

/// A checked mount entry.
#[derive(Debug)]
pub struct Mount {
    /// The index in the list, for errors.
    pub index: usize,
    /// The absolute path in the container.
    pub destination: PathBuf,
    /// The kind of the mount, with its source.
    pub kind: MountKind,
    /// The parsed options.
    pub options: MountOptions,
    /// The mappings of an idmapped mount; `Some(None)` means those of the container.
    pub idmap: Option<Option<Pair>>,
    /// The SELinux label of the root directory of a new file system.
    pub root_label: Option<String>,
    /// Whether the mount becomes read-only only after everything else is created
    /// ([`super::mark_late`]).
    pub read_only_late: bool,
}

/// The kind of a mount, with its source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MountKind {
    /// A part of the host's tree, by its absolute path.
    Bind(PathBuf),
    /// A part of the container's tree that an earlier mount covers, by its path in the container.
    Own(PathBuf),
    /// A symbolic link with this target, in the place of a mount: a copy of the source, which is a
    /// link.
    Link(PathBuf),
    /// A new instance of a file system, by its type and source.
    New(String, String),
    /// The container's part of the cgroup hierarchy, in the form that this host has.
    Cgroup,
    /// New flags for an existing mount.
    Remount,
}

/// The parts of a configuration, outside of the list, that the entries depend on.
#[derive(Debug, Clone, Copy)]
pub struct Surroundings<'a> {
    /// The bundle, where relative bind sources start.
    pub bundle: &'a Path,
    /// The absolute path of the root file system, free of symbolic links.
    pub rootfs: &'a Path,
    /// `linux.mountLabel`, and the mount option that sets it.
    pub label: Option<(&'a str, selinux::Context)>,
    /// Whether the mount namespace is joined by path.
    pub joins_mount: bool,
    /// The user namespace.
    pub users: Users<'a>,
}

impl Mount {
    /// Parses the entry at `index`.
    pub(super) fn new(index: usize, spec: &Spec, around: &Surroundings<'_>) -> Result<Mount> {
        let entry = Entry { index, spec };
        entry.check_destination()?;
        let list = spec.options().as_deref().unwrap_or_default();
        let mut options = options::parse(list).map_err(|bad| {
            let value = list.get(bad.index).map_or("", String::as_str);
            Error::invalid(format!("mounts[{index}].options[{}]", bad.index), value, bad.why)
        })?;
        entry.check_options(&options, around)?;
        let kind = entry.kind(&options, around.bundle)?;
        let idmap = entry.idmap(&options, around.users)?;
        let destination = absolute(spec.destination());
        let root_label = match (around.label, &kind) {
            (Some((label, context)), MountKind::New(fstype, _)) => {
                selinux::of_mount(label, context, fstype, &mut options.data)
            }
            _ => None,
        };
        Ok(Mount { index, destination, kind, options, idmap, root_label, read_only_late: false })
    }

    /// Whether the runtime idmaps the mount when init has made it: its source does not exist before.
    pub fn is_idmapped_when_made(&self) -> bool {
        self.idmap.is_some() && matches!(self.kind, MountKind::Own(_) | MountKind::New(..))
    }

    /// Names the mapping of the mount in errors.
    pub fn idmap_label(&self) -> String {
        format!("mounts[{}]: idmapped mount on {:?}", self.index, self.destination)
    }
}

/// File systems that ignore unknown options, with the options that they know.
const CARELESS: &[(&str, &[&str])] = &[
    (
        "bpf",
        &[
            "uid",
            "gid",
            "mode",
            "delegate_cmds",
            "delegate_maps",
            "delegate_progs",
            "delegate_attachs",
        ],
    ),
    ("debugfs", &["uid", "gid", "mode"]),
    ("pstore", &["kmsg_bytes"]),
    ("ramfs", &["mode"]),
    ("tracefs", &["uid", "gid", "mode"]),
];

struct Entry<'a> {
    index: usize,
    spec: &'a Spec,
}

impl Entry<'_> {
    fn field(&self, name: &str) -> String {
        format!("mounts[{}].{name}", self.index)
    }

    /// Returns the type; an empty type counts as absent.
    fn fstype(&self) -> &str {
        self.spec.typ().as_deref().unwrap_or_default()
    }

    fn is_cgroup(&self) -> bool {
        matches!(self.fstype(), "cgroup" | "cgroup2")
    }

    /// Returns an error about the first option whose name satisfies `is`.
    fn option(&self, is: impl Fn(&str) -> bool, why: &str) -> Error {
        let mut options = self.spec.options().iter().flatten().enumerate();
        let name = |option: &str| is(option.split_once('=').map_or(option, |(name, _)| name));
        let found = options.find(|(_, option)| name(option));
        let (at, value) = found.map_or((0, ""), |(at, option)| (at, option.as_str()));
        Error::invalid(self.field(&format!("options[{at}]")), value, why)
    }

    /// Checks that the destination is below the root file system. The root itself is written as
    /// `/`. A relative path starts at `/` (deprecated in the specification).
    fn check_destination(&self) -> Result<()> {
        let field = || self.field("destination");
        let destination = self.spec.destination();
        let length = destination.as_os_str().len();
        if length == 0 {
            return Err(Error::invalid(field(), "", "must not be empty"));
        }
        if length > MAX_PATH {
            let value = format_args!("a path of {length} bytes");
            return Err(Error::invalid(field(), value, format!("is longer than {MAX_PATH} bytes")));
        }
        if destination != Path::new("/") && is_root(destination) {
            let why = "is the root file system itself; write \"/\" to mount over it";
            return Err(Error::invalid(field(), destination, why));
        }
        Ok(())
    }

    /// Checks that every option has an effect (config.md, "Linux mount options"). An option that is
    /// not in the table belongs to the file system. A bind mount shares the file system of its
    /// source, and the kernel ignores such an option there: it may be a misspelt `nosuid`, or a
    /// label that would not be set.
    fn check_options(&self, options: &MountOptions, around: &Surroundings<'_>) -> Result<()> {
        let refuse = |name: &str, why: &str| Err(self.option(|option| option == name, why));
        let fstype = self.fstype();
        let is_new = !options.bind && !options.remount && !self.is_cgroup();
        let is_cgroup = !options.bind && !options.remount && self.is_cgroup();
        let mut keys = options.data.iter().map(|(key, _)| key.as_str());
        let foreign = if options.bind {
            keys.next().map(|key| (key, "unknown option for a bind mount"))
        } else if is_cgroup {
            keys.next().map(|key| (key, "unknown option for a cgroup mount"))
        } else if is_new {
            let known = CARELESS.iter().find(|(name, _)| *name == fstype);
            let key = known.and_then(|(_, known)| keys.find(|key| !known.contains(key)));
            key.map(|key| {
                (key, "unknown option for this type of file system, which would ignore it")
            })
        } else {
            None
        };
        if let Some((key, why)) = foreign {
            return refuse(key, why);
        }
        if (options.bind || is_cgroup) && options.super_flags.beyond_read_only() {
            let why = "belongs to the file system, which this mount shares with others of the host";
            return Err(self.option(options::of_file_system, why));
        }
        let mut names = self.spec.options().iter().flatten();
        if options.remount && names.any(|name| options::is_recursive_of_file_system(name)) {
            let why = "is not possible on a remount: the mounts below can be of other file systems";
            return Err(self.option(options::is_recursive_of_file_system, why));
        }
        if options.remount && !options.bind && options.super_flags.has(SuperFlags::IVERSION) {
            let why = "is not possible on a remount";
            return Err(self.option(|name| name.ends_with("iversion"), why));
        }
        if options.copy_symlink && (!options.bind || options.remount) {
            return refuse("copy-symlink", "is only possible on a bind mount");
        }
        if options.tmpcopyup && !(is_new && fstype == "tmpfs") {
            return refuse("tmpcopyup", "is only possible on a tmpfs");
        }
        if options.copy_symlink && around.joins_mount {
            let why = "is not possible in a mount namespace that is joined by path";
            return refuse("copy-symlink", why);
        }
        Ok(())
    }

    /// Returns what the mount is made from.
    fn kind(&self, options: &MountOptions, bundle: &Path) -> Result<MountKind> {
        if options.remount {
            return Ok(MountKind::Remount);
        }
        let source = self.spec.source().as_deref().filter(|source| !source.as_os_str().is_empty());
        if options.bind {
            let Some(source) = source else {
                let why = "missing; a bind mount needs a source";
                return Err(Error::invalid_field(self.field("source"), why));
            };
            let source = bundle.join(source);
            // The option requests the link itself; a source that is not a link is mounted.
            let target = options.copy_symlink.then(|| std::fs::read_link(&source));
            return Ok(match target {
                Some(Ok(target)) => MountKind::Link(target),
                _ => MountKind::Bind(source),
            });
        }
        match self.fstype() {
            // The options decide; the kernel has no file system of this type.
            "bind" => {
                let why = "a bind mount needs the option bind or rbind";
                Err(Error::invalid(self.field("type"), "bind", why))
            }
            "" => {
                let why = "missing; only a bind mount (option bind or rbind) needs no type";
                Err(Error::invalid_field(self.field("type"), why))
            }
            _ if self.is_cgroup() => Ok(MountKind::Cgroup),
            fstype => {
                let source = source.and_then(Path::to_str).unwrap_or_default();
                Ok(MountKind::New(fstype.to_owned(), source.to_owned()))
            }
        }
    }

    /// Parses the id mappings of the mount (config.md, "POSIX-platform Mounts") and the options
    /// idmap and ridmap.
    fn idmap(&self, options: &MountOptions, users: Users<'_>) -> Result<Option<Option<Pair>>> {
        let lists = [
            ("uidMappings", self.spec.uid_mappings().as_ref()),
            ("gidMappings", self.spec.gid_mappings().as_ref()),
        ];
        let is_empty = |list: Option<&Vec<_>>| list.is_none_or(Vec::is_empty);
        let given = lists.iter().any(|(_, list)| !is_empty(*list));
        if !given && options.idmap.is_none() {
            return Ok(None);
        }
        let refuse = |why: &str| self.option(|name| matches!(name, "idmap" | "ridmap"), why);
        if options.remount || (self.is_cgroup() && !options.bind) {
            let why = "only a bind mount or a new file system can be idmapped";
            return Err(match options.idmap {
                Some(_) => refuse(why),
                None => Error::invalid_field(self.field("uidMappings"), why),
            });
        }
        if let Some(ranges) = &options.ranges {
            if given {
                let why = "the mount has uidMappings and gidMappings too; give one of the two";
                return Err(refuse(why));
            }
            let (uids, gids) = ranges.resolve(users).map_err(refuse)?;
            IdMap::check(&self.field("options: idmap: uids"), &uids)?;
            IdMap::check(&self.field("options: idmap: gids"), &gids)?;
            return Ok(Some(Some((uids, gids))));
        }
        if !given {
            if matches!(users, Users::Host) {
                let why = "needs uidMappings and gidMappings of the mount, or a user namespace";
                return Err(refuse(why));
            }
            // A new file system belongs to the container's user namespace, and has its ids already;
            // the kernel refuses to map it to itself.
            return Ok(options.bind.then_some(None));
        }
        let [uids, gids] = lists.map(|(name, list)| {
            let field = self.field(name);
            if is_empty(list) {
                let why = "uidMappings and gidMappings must be given together";
                return Err(Error::invalid_field(field, why));
            }
            IdMap::list(&field, list)
        });
        Ok(Some(Some((uids?, gids?))))
    }
}

/// Whether a path leads back to `/` by its own components.
fn is_root(path: &Path) -> bool {
    let mut depth = 0_usize;
    for component in path.components() {
        match component {
            Component::Normal(_) => depth += 1,
            Component::ParentDir => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    depth == 0
}

/// Returns the absolute destination. A relative one starts at `/` (config.md, "Mounts"); `.` and a
/// trailing slash are dropped.
fn absolute(path: &Path) -> PathBuf {
    Path::new("/").join(path).components().filter(|c| *c != Component::CurDir).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn destinations() {
        assert_eq!(absolute(Path::new("tmp/x")), Path::new("/tmp/x"));
        assert_eq!(absolute(Path::new("/tmp//x/./y/")), Path::new("/tmp/x/y"));
        assert_eq!(absolute(Path::new("/tmp/../x")), Path::new("/tmp/../x"));
    }
}
