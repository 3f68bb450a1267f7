//! The parts of a container that belong to the host. CRIU saves only a name for each of them, and a
//! restore maps the name to a file of the host. The names are those of runc, so that each runtime can
//! restore the images of the other.

use std::fmt::Display;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags};

use super::rpc::{InheritFd, JoinNamespace, Pair};
use crate::cgroup::{CgroupMount, Record};
use crate::config::{Choice, Device, KINDS, Kind, Mount, MountKind, Namespaces, kind_name};
use crate::fs::Root;
use crate::{Context, Error, Kind as ErrorKind, Result};

/// The name of /dev/null, which hides files (`linux.maskedPaths`).
const NULL: &str = "/dev/null";

/// The parts of a configuration that can belong to the host.
#[derive(Debug)]
pub(super) struct Parts<'a> {
    pub namespaces: &'a Namespaces,
    pub mounts: &'a [Mount],
    pub devices: &'a [Device],
    pub cgroup: &'a Record,
}

/// An external mount: where it is in the container, and where its source is on the host.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct External {
    /// The field of the configuration, for errors.
    pub field: String,
    /// The index in `mounts`; `None` for a device.
    pub index: Option<usize>,
    pub destination: PathBuf,
    pub source: PathBuf,
}

impl External {
    /// Returns the place in the container, without links; `places` are those of `mounts`.
    pub fn place(&self, mounts: &[Mount], places: &[PathBuf]) -> PathBuf {
        let at = self.index.and_then(|at| Some((mounts.get(at)?, places.get(at)?)));
        let moved = at.and_then(|(mount, place)| {
            Some((place, self.destination.strip_prefix(&mount.destination).ok()?))
        });
        match moved {
            Some((place, inside)) if inside.as_os_str().is_empty() => place.clone(),
            Some((place, inside)) => place.join(inside),
            None => self.destination.clone(),
        }
    }
}

impl Parts<'_> {
    /// Returns the mounts of files of the host.
    pub fn mounts(&self) -> Vec<External> {
        let mut all = Vec::new();
        for (position, mount) in self.mounts.iter().enumerate() {
            let external = |destination: PathBuf, source: &Path| External {
                field: format!("mounts[{}].destination", mount.index),
                index: Some(position),
                destination,
                source: source.to_owned(),
            };
            match &mount.kind {
                MountKind::Bind(source) => {
                    all.push(external(mount.destination.clone(), source));
                }
                // In a cgroup namespace of the container's own it is a file system of its own.
                MountKind::Cgroup if self.namespaces.cgroup == Choice::Inherit => {
                    for part in self.cgroup.mounts() {
                        let (CgroupMount::Unified { name, dir }
                        | CgroupMount::V1 { name, dir, .. }) = &part
                        else {
                            continue;
                        };
                        let inside = match name.as_str() {
                            "" => mount.destination.clone(),
                            name => mount.destination.join(name),
                        };
                        all.push(external(inside, dir));
                    }
                }
                _ => {}
            }
        }
        let bound = |device: &&Device| device.origin.is_mount();
        for device in self.devices.iter().filter(bound) {
            all.push(External {
                field: "linux.devices: path".to_owned(),
                index: None,
                destination: device.path.clone(),
                source: device.path.clone(),
            });
        }
        all
    }
}

/// Returns the name of a mount at `place` in the container.
///
/// # Errors
/// CRIU reads `mnt[PLACE]:NAME`, so a place with `]:` would be another place.
pub(super) fn name(field: &str, place: &Path) -> Result<String> {
    let refuse = |why: &str| Err(Error::invalid(field, place, why));
    match place.to_str() {
        None => refuse("cannot be checkpointed: not UTF-8"),
        Some(text) if text.contains("]:") => {
            refuse("cannot be checkpointed: criu would read another path, because of \"]:\"")
        }
        Some(text) => Ok(text.to_owned()),
    }
}

/// Returns the external mounts of a running container for a dump. `root` is its root directory.
pub(super) fn to_dump(parts: &Parts<'_>, masked: &[PathBuf], root: &Root) -> Result<Vec<Pair>> {
    let mut pairs = Vec::new();
    for external in parts.mounts() {
        let place = place_in(root, &external.destination).unwrap_or(external.destination);
        let key = name(&external.field, &place)?;
        pairs.push(Pair { value: key.clone(), key });
    }
    for path in masked {
        // A missing path is not masked, and a masked directory has a file system of its own.
        let Ok(there) = root.find(path) else { continue };
        let is_dir = crate::mount::tree::is_dir(there.as_fd());
        if is_dir.context("look at a masked path")? {
            continue;
        }
        let place = target(there.as_fd()).unwrap_or_else(|_| path.clone());
        pairs.push(Pair { key: name("linux.maskedPaths", &place)?, value: NULL.to_owned() });
    }
    Ok(pairs)
}

/// Returns what the name of a masked file stands for.
pub(super) fn null() -> Pair {
    Pair { key: NULL.to_owned(), value: NULL.to_owned() }
}

/// Returns a path in the container without links, as the kernel lists it as a mount point.
fn place_in(root: &Root, path: &Path) -> Option<PathBuf> {
    target(root.find(path).ok()?.as_fd()).ok()
}

/// Returns the path of an open file.
pub(super) fn target(file: BorrowedFd<'_>) -> Result<PathBuf> {
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    std::fs::read_link(&path).with_context(|| format!("read {path}"))
}

/// Returns the inode number of the namespace `name` (the kind's own name in oci-spec, in /proc and in
/// CRIU) of process `pid`, or "self"; 0 if the kernel has no such namespaces.
pub(super) fn namespace_id(pid: impl Display, name: &str) -> Result<u64> {
    let path = format!("/proc/{pid}/ns/{name}");
    match std::fs::metadata(&path) {
        Ok(metadata) => Ok(metadata.ino()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(error).with_context(|| format!("look at {path}")),
    }
}

/// The kinds of namespaces that can stay outside of the images, with their names there.
const OUTSIDE: [(Kind, &str); 2] = [(Kind::Network, "extRootNetNS"), (Kind::Pid, "extRootPidNS")];

/// Returns the joined namespaces of process `pid` that CRIU does not save.
pub(super) fn namespaces_to_dump(namespaces: &Namespaces, pid: i32) -> Result<Vec<String>> {
    let joined = OUTSIDE.iter().filter(|(kind, _)| namespaces.is_joined(*kind));
    let named = joined.map(|(kind, key)| {
        let name = kind.to_string();
        let inode = namespace_id(pid, &name)?;
        Ok(format!("{name}[{inode}]:{key}"))
    });
    named.collect()
}

/// The namespaces that restored processes join.
#[derive(Debug, Default)]
pub(super) struct Joined {
    /// Open namespaces, which CRIU inherits.
    pub files: Vec<OwnedFd>,
    /// Their names in the images.
    pub inherited: Vec<InheritFd>,
    /// Namespaces in the place of saved ones.
    pub replaced: Vec<JoinNamespace>,
}

/// Opens the namespaces that the configuration joins.
pub(super) fn namespaces_to_restore(namespaces: &Namespaces) -> Result<Joined> {
    let mut joined = Joined::default();
    for kind in KINDS {
        let Some(path) = namespaces.get(kind).path() else { continue };
        let field = || format!("linux.namespaces: {}: path", kind_name(kind));
        if let Some((_, key)) = OUTSIDE.iter().find(|(outside, _)| *outside == kind) {
            let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
            let file = rustix::fs::openat(CWD, path, flags, Mode::empty())
                .with_context(|| format!("{}: open {path:?}", field()))?;
            joined.inherited.push(InheritFd { key: (*key).to_owned(), fd: file.as_raw_fd() });
            joined.files.push(file);
        } else if kind == Kind::Cgroup {
            let why = "criu cannot restore a container into an existing cgroup namespace";
            return Err(Error::invalid(field(), path, why));
        } else {
            let Some(file) = path.to_str().map(str::to_owned) else {
                return Err(Error::new(ErrorKind::Invalid, "not UTF-8").context(field()));
            };
            joined.replaced.push(JoinNamespace { name: kind.to_string(), file });
        }
    }
    Ok(joined)
}
