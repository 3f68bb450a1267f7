//! `mounts`, with every option given its meaning.

use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use super::idmap::{Pair, Users};
use super::ids::IdMap;
use super::options::{self, MountAttr, MountOptions};
use crate::{Error, Result};

/// One entry, ready to be done.
#[derive(Debug)]
pub struct Mount {
    /// Its place in the list, for error texts.
    pub index: usize,
    /// Absolute path in the container.
    pub destination: PathBuf,
    /// What is mounted.
    pub kind: MountKind,
    /// How.
    pub options: MountOptions,
    /// The mapping of an idmapped mount: `Some(None)` is the container's own.
    pub idmap: Option<Option<Pair>>,
    /// Whether its own read-only flag is set when everything else is made: see [`mark_late`].
    pub read_only_late: bool,
}

/// What is mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MountKind {
    /// A part of the host's tree, absolute.
    Bind(PathBuf),
    /// A part of the container's own tree that an earlier mount is on the way to: a path in the
    /// container.
    Own(PathBuf),
    /// No mount, but a symbolic link with this target: a copy of the source, which is one.
    Link(PathBuf),
    /// A new instance of a file system: its type and source.
    New(String, String),
    /// The container's own part of the cgroup tree, in whatever form this host has it.
    Cgroup,
    /// New flags for what is mounted there already.
    Remount,
}

/// Reads the list. Bind sources that are not absolute are relative to the bundle.
pub fn plan(
    list: &[oci_spec::runtime::Mount],
    bundle: &Path,
    rootfs: &Path,
    users: Users<'_>,
) -> Result<Vec<Mount>> {
    let mut mounts: Vec<Mount> = Vec::with_capacity(list.len());
    for (index, mount) in list.iter().enumerate() {
        let mut mount = one(index, mount, bundle, users)?;
        // Some write where the directory is on the host, as old versions of runc had it.
        if let Ok(inside) = mount.destination.strip_prefix(rootfs)
            && rootfs != Path::new("/")
        {
            mount.destination = Path::new("/").join(inside);
        }
        if let MountKind::Bind(source) = &mount.kind
            && let Some(own) = within(source, rootfs, &mounts)
        {
            mount.kind = MountKind::Own(own);
        }
        mounts.push(mount);
    }
    Ok(mounts)
}

/// The path in the container of a source in the root file system that is, or is below, the place
/// of an earlier mount: by then it means what is mounted there. Sources of the host are opened
/// before anything is mounted, so that nothing can be put in their place.
fn within(source: &Path, rootfs: &Path, earlier: &[Mount]) -> Option<PathBuf> {
    let inside = Path::new("/").join(source.strip_prefix(rootfs).ok()?);
    let covered = earlier.iter().any(|mount| inside.starts_with(&mount.destination));
    covered.then_some(inside)
}

/// Finds the mounts that something is still to be made in, which have to be writable until then:
/// the places of later mounts, the nodes of /dev (`populate_dev`), what a tmpfs copies up. A tmpfs
/// always waits, because a link of the image may lead a later mount there.
///
/// Not one with a block device: `ro` also means that nothing is written to the device.
pub fn mark_late(mounts: &mut [Mount], populate_dev: bool) {
    for index in 0..mounts.len() {
        let (mount, later) = match mounts[index..].split_first() {
            Some(parts) => parts,
            None => return,
        };
        if !mount.options.of_one_mount().0.contains(MountAttr::RDONLY) {
            continue;
        }
        let above = || later.iter().any(|other| is_below(&other.destination, &mount.destination));
        let late = match &mount.kind {
            MountKind::New(fstype, _) => match fstype.as_str() {
                "tmpfs" => true,
                "ramfs" | "overlay" | "devtmpfs" => above(),
                _ => false,
            },
            _ => above(),
        };
        let dev = populate_dev && mount.destination == Path::new("/dev");
        mounts[index].read_only_late = late || dev;
    }
}

fn is_below(path: &Path, dir: &Path) -> bool {
    // Bytes first: there can be thousands of both.
    let (path_bytes, dir_bytes) = (path.as_os_str().as_bytes(), dir.as_os_str().as_bytes());
    path_bytes.starts_with(dir_bytes) && path != dir && path.starts_with(dir)
}

/// The place in the list of the mount that `path` is in, as far as destinations say it: the last
/// one on the way to it. `None`: it is in the root file system.
pub fn last_above(mounts: &[Mount], path: &Path) -> Option<usize> {
    mounts.iter().rposition(|mount| {
        let to = &mount.destination;
        mount.kind != MountKind::Remount && to != Path::new("/") && path.starts_with(to)
    })
}

fn one(
    index: usize,
    mount: &oci_spec::runtime::Mount,
    bundle: &Path,
    users: Users<'_>,
) -> Result<Mount> {
    let field = |name: &str| format!("mounts[{index}].{name}");
    let list = mount.options().as_deref().unwrap_or(&[]);
    let options = options::parse(list).map_err(|bad| {
        let value = list.get(bad.index).map_or("", String::as_str);
        Error::invalid(format!("mounts[{index}].options[{}]", bad.index), value, bad.why)
    })?;
    let fstype = mount.typ().as_deref().unwrap_or("");
    let kind = if options.remount {
        MountKind::Remount
    } else if options.bind {
        let source = mount.source().as_ref().filter(|s| !s.as_os_str().is_empty());
        let source = source.ok_or_else(|| Error::invalid_field(field("source"), "missing"))?;
        let source = bundle.join(source);
        // The link itself is what is asked for; where the source is none it is mounted.
        match options.copy_symlink.then(|| std::fs::read_link(&source)) {
            Some(Ok(target)) => MountKind::Link(target),
            _ => MountKind::Bind(source),
        }
    } else if fstype == "cgroup" || fstype == "cgroup2" {
        MountKind::Cgroup
    } else {
        let source = mount.source().as_ref().map_or("", |s| s.to_str().unwrap_or(""));
        MountKind::New(fstype.to_owned(), source.to_owned())
    };
    let maps = |list: &Option<Vec<oci_spec::runtime::LinuxIdMapping>>| -> Vec<IdMap> {
        list.iter().flatten().map(IdMap::from).collect()
    };
    let (uids, gids) = (maps(mount.uid_mappings()), maps(mount.gid_mappings()));
    let idmap = if !uids.is_empty() || !gids.is_empty() {
        Some(Some((uids, gids)))
    } else if let Some(ranges) = &options.ranges {
        let pair = ranges.resolve(users);
        Some(Some(pair.map_err(|why| Error::invalid_field(field("options"), why))?))
    } else {
        options.idmap.map(|_| None)
    };
    let destination = absolute(mount.destination());
    Ok(Mount { index, destination, kind, options, idmap, read_only_late: false })
}

/// A destination that is not absolute is relative to `/` (config.md, "Mounts"); a trailing slash
/// and `.` mean nothing.
fn absolute(path: &Path) -> PathBuf {
    Path::new("/").join(path).components().filter(|c| *c != Component::CurDir).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_in_what_is_mounted_are_the_containers_own() {
        let list: Vec<oci_spec::runtime::Mount> = serde_json::from_str(
            r#"[{"destination": "/mnt", "type": "tmpfs", "source": "tmpfs"},
                {"destination": "/b/rootfs/x", "source": "rootfs/mnt/a", "options": ["bind"]},
                {"destination": "/y", "source": "/b/rootfs/mntx", "options": ["bind"]},
                {"destination": "/z", "source": "/mnt", "options": ["bind"]}]"#,
        )
        .unwrap();
        let rootfs = Path::new("/b/rootfs");
        let mounts = plan(&list, Path::new("/b"), rootfs, Users::Host).unwrap();
        assert_eq!(mounts[1].kind, MountKind::Own("/mnt/a".into()));
        assert_eq!(mounts[1].destination, Path::new("/x"));
        assert_eq!(mounts[2].kind, MountKind::Bind("/b/rootfs/mntx".into()));
        assert_eq!(mounts[3].kind, MountKind::Bind("/mnt".into()));
    }

    #[test]
    fn read_only_waits_for_what_is_made_below() {
        let list: Vec<oci_spec::runtime::Mount> = serde_json::from_str(
            r#"[{"destination": "/dev", "type": "devtmpfs", "options": ["ro"]},
                {"destination": "/a", "source": "/x", "options": ["rbind", "rro"]},
                {"destination": "/ab", "source": "/x", "options": ["bind", "ro"]},
                {"destination": "/a/b", "type": "tmpfs", "options": ["ro"]},
                {"destination": "/sys", "type": "sysfs", "options": ["ro"]},
                {"destination": "/a/b/c", "type": "ramfs", "options": ["ro"]},
                {"destination": "/a/b/c/d", "source": "/x", "options": ["bind"]},
                {"destination": "/a/b/c/d", "source": "/x", "options": ["bind", "ro"]}]"#,
        )
        .unwrap();
        let rootfs = Path::new("/b/rootfs");
        let mut mounts = plan(&list, Path::new("/b"), rootfs, Users::Host).unwrap();
        mark_late(&mut mounts, true);
        let late: Vec<usize> =
            mounts.iter().filter(|m| m.read_only_late).map(|m| m.index).collect();
        assert_eq!(late, [0, 1, 3, 5]);
    }

    #[test]
    fn destinations() {
        assert_eq!(absolute(Path::new("tmp/x")), Path::new("/tmp/x"));
        assert_eq!(absolute(Path::new("/tmp//x/./y/")), Path::new("/tmp/x/y"));
        assert_eq!(absolute(Path::new("/tmp/../x")), Path::new("/tmp/../x"));
    }
}
