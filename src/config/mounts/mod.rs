//! `mounts`: the entries with their options, and their dependence on one another.

mod entry;
mod flags;
mod idmap;
pub mod options;
mod table;

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use oci_spec::runtime::Mount as Spec;

pub use self::entry::{Mount, MountKind, Surroundings};
use self::flags::MountAttr;
pub use self::idmap::Users;
use self::options::PropagationKind;
use crate::{Result, sd_notify};

/// Parses the list.
pub fn parse<'a>(
    list: impl Iterator<Item = &'a Spec>,
    around: &Surroundings<'_>,
) -> Result<Vec<Mount>> {
    let rootfs = around.rootfs;
    let mut mounts: Vec<Mount> = Vec::new();
    for (index, mount) in list.enumerate() {
        let mut mount = Mount::new(index, mount, around)?;
        // Some configurations give the path on the host, as old versions of runc did.
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

/// Returns the path in the container of a source in the root file system, if an earlier mount
/// covers it: the source then means a file of that mount. Sources on the host are opened before
/// anything is mounted, so that they cannot be replaced.
fn within(source: &Path, rootfs: &Path, earlier: &[Mount]) -> Option<PathBuf> {
    let inside = Path::new("/").join(source.strip_prefix(rootfs).ok()?);
    let covered = earlier.iter().any(|mount| inside.starts_with(&mount.destination));
    covered.then_some(inside)
}

/// Marks the mounts that must stay writable until files are created in them: destinations of later
/// mounts, nodes of /dev (`populate_dev`), what a tmpfs copies up. A tmpfs is always marked,
/// because a symbolic link of the image may lead a later mount there.
///
/// A mount of a block device is never marked: `ro` also means that nothing is written to the
/// device.
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
    // Compare bytes first: there can be thousands of mounts and paths.
    let (path_bytes, dir_bytes) = (path.as_os_str().as_bytes(), dir.as_os_str().as_bytes());
    path_bytes.starts_with(dir_bytes) && path != dir && path.starts_with(dir)
}

/// Returns the index of the last mount whose destination is above `path`; `None` if the path is in
/// the root file system.
pub fn last_above(mounts: &[Mount], path: &Path) -> Option<usize> {
    mounts.iter().rposition(|mount| {
        let to = &mount.destination;
        mount.kind != MountKind::Remount && to != Path::new("/") && path.starts_with(to)
    })
}

/// Returns an entry that mounts `dir`, the directory of the readiness socket.
pub fn notify_socket(dir: &Path) -> Spec {
    let mut mount = Spec::default();
    let options = ["bind", "nosuid", "noexec", "nodev", "ro"].map(str::to_owned);
    mount
        .set_destination(PathBuf::from(sd_notify::INSIDE))
        .set_typ(None)
        .set_source(Some(dir.to_owned()))
        .set_options(Some(options.into()));
    mount
}

/// Whether a mount may be of a file system on a block device: its source is a path.
pub fn needs_device(mounts: &[Mount]) -> bool {
    let on_device =
        |mount: &Mount| matches!(&mount.kind, MountKind::New(_, source) if source.starts_with('/'));
    mounts.iter().any(on_device)
}

/// Whether the configuration has a /dev of its own, in which nothing is created: the last mount
/// there is a bind mount, or the root file system is the host's.
pub fn binds_dev(mounts: &[Mount], rootfs: &Path) -> bool {
    let dev = Path::new("/dev");
    let last = mounts.iter().rfind(|m| m.destination == dev && m.kind != MountKind::Remount);
    match last.map(|mount| &mount.kind) {
        Some(MountKind::Bind(_) | MountKind::Own(_)) => true,
        Some(_) => false,
        None => rootfs == Path::new("/"),
    }
}

/// How the terminal becomes /dev/console (config-linux.md, "Default Devices").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DevConsole {
    /// The terminal is not bound.
    Never,
    /// The terminal is bound on the file, which is created if it is missing.
    Made,
    /// The terminal is bound on the file only if it exists: the directory is the host's.
    Existing,
}

/// Decides how the terminal becomes /dev/console. A mount in a directory that is shared with the
/// host would cover the host's console.
pub fn dev_console(mounts: &[Mount], mounts_root: bool, populate_dev: bool) -> DevConsole {
    let last = last_above(mounts, Path::new("/dev/console")).and_then(|index| mounts.get(index));
    match last {
        _ if !mounts_root => DevConsole::Never,
        Some(mount) if is_shared_with_host(mount) => DevConsole::Never,
        _ if populate_dev => DevConsole::Made,
        _ => DevConsole::Existing,
    }
}

/// Whether a bind mount stays a peer of its source: its options include `shared`, and none that
/// takes it out of the peer group.
pub fn is_shared_with_host(mount: &Mount) -> bool {
    let list = &mount.options.propagation;
    !list.is_empty()
        && list.iter().all(|change| change.kind == PropagationKind::Shared)
        && matches!(mount.kind, MountKind::Bind(_))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(json: &str) -> Vec<Mount> {
        let around = Surroundings {
            bundle: Path::new("/b"),
            rootfs: Path::new("/b/rootfs"),
            label: None,
            joins_mount: false,
            users: Users::Host,
        };
        let list: Vec<Spec> = serde_json::from_str(json).unwrap();
        parse(list.iter(), &around).unwrap()
    }

    #[test]
    fn sources_in_what_is_mounted_are_the_containers_own() {
        let mounts = parsed(
            r#"[{"destination": "/mnt", "type": "tmpfs", "source": "tmpfs"},
                {"destination": "/b/rootfs/x", "source": "rootfs/mnt/a", "options": ["bind"]},
                {"destination": "/y", "source": "/b/rootfs/mntx", "options": ["bind"]},
                {"destination": "/z", "source": "/mnt", "options": ["bind"]}]"#,
        );
        assert_eq!(mounts[1].kind, MountKind::Own("/mnt/a".into()));
        assert_eq!(mounts[1].destination, Path::new("/x"));
        assert_eq!(mounts[2].kind, MountKind::Bind("/b/rootfs/mntx".into()));
        assert_eq!(mounts[3].kind, MountKind::Bind("/mnt".into()));
    }

    #[test]
    fn read_only_waits_for_what_is_made_below() {
        let mut mounts = parsed(
            r#"[{"destination": "/dev", "type": "devtmpfs", "options": ["ro"]},
                {"destination": "/a", "source": "/x", "options": ["rbind", "rro"]},
                {"destination": "/ab", "source": "/x", "options": ["bind", "ro"]},
                {"destination": "/a/b", "type": "tmpfs", "options": ["ro"]},
                {"destination": "/sys", "type": "sysfs", "options": ["ro"]},
                {"destination": "/a/b/c", "type": "ramfs", "options": ["ro"]},
                {"destination": "/a/b/c/d", "source": "/x", "options": ["bind"]},
                {"destination": "/a/b/c/d", "source": "/x", "options": ["bind", "ro"]}]"#,
        );
        mark_late(&mut mounts, true);
        let late: Vec<usize> =
            mounts.iter().filter(|m| m.read_only_late).map(|m| m.index).collect();
        assert_eq!(late, [0, 1, 3, 5]);
    }
}
