//! Device nodes: the spec's default ones, and `linux.devices`.

use std::path::{Path, PathBuf};

use oci_spec::runtime::{LinuxDevice, LinuxDeviceType};
use rustix::fs::{FileType, Stat};

use super::mounts::{self, Mount, MountKind};
use super::options::PropagationKind;
use super::{Choice, Namespaces};
use crate::host::Host;
use crate::{Error, Result};

/// A device of the container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Its place in `linux.devices`; `None` for a default device.
    pub index: Option<usize>,
    /// In the container.
    pub path: PathBuf,
    /// Where the node comes from.
    pub origin: Origin,
    /// Character, block or FIFO.
    pub kind: FileType,
    /// 0 for a FIFO.
    pub major: u32,
    /// 0 for a FIFO.
    pub minor: u32,
    /// What is requested of its inode.
    pub attributes: Attributes,
}

impl Device {
    /// Whether an inode is the node itself.
    pub fn is_node(&self, stat: &Stat) -> bool {
        FileType::from_raw_mode(stat.st_mode) == self.kind
            && (self.kind == FileType::Fifo
                || stat.st_rdev == rustix::fs::makedev(self.major, self.minor))
    }
}

/// Where a node comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// Init makes it with mknod(2).
    Made,
    /// The container is in a user namespace, where mknod(2) is refused: the runtime makes it on a
    /// tmpfs of the initial user namespace, and init binds it.
    Staged,
    /// The runtime has no right to make it either: the host's own node is bound.
    Bound,
    /// There is no mount namespace to bind it in: the root file system has it already.
    Present,
}

/// Mode and owner of a node, as far as they are requested.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Attributes {
    /// Permission bits; no umask applies.
    pub mode: Option<u32>,
    /// Owner, as seen in the container.
    pub uid: Option<u32>,
    /// Group, as seen in the container.
    pub gid: Option<u32>,
}

impl Attributes {
    /// Mode, owner and group of a node that is made: 0666 and the container's root where nothing
    /// is requested.
    pub fn or_default(self) -> (u32, u32, u32) {
        (self.mode.unwrap_or(0o666), self.uid.unwrap_or(0), self.gid.unwrap_or(0))
    }

    /// What an inode has in place of what is requested, in words. `None`: nothing differs.
    pub fn difference(self, stat: &Stat) -> Option<String> {
        let mode = stat.st_mode & PERMISSIONS;
        if let Some(wanted) = self.mode.filter(|wanted| *wanted != mode) {
            return Some(format!("its mode is 0{mode:o}, not 0{wanted:o}"));
        }
        let ids = [("owner", self.uid, stat.st_uid), ("group", self.gid, stat.st_gid)];
        ids.into_iter().find_map(|(name, wanted, id)| {
            let wanted = wanted.filter(|wanted| *wanted != id)?;
            Some(format!("its {name} is {id}, not {wanted}"))
        })
    }

    /// Like [`Attributes::difference`], for the host's own node, whose owner cannot be changed: the
    /// owner makes no difference where the mode gives everybody the same permissions.
    pub fn difference_of_access(self, stat: &Stat) -> Option<String> {
        let rights = [6, 3, 0].map(|shift| stat.st_mode >> shift & 0o7);
        match rights {
            [owner, group, others] if owner == group && group == others => {
                Attributes { mode: self.mode, ..Attributes::default() }.difference(stat)
            }
            _ => self.difference(stat),
        }
    }
}

/// The bits of a mode beside the type of the file.
const PERMISSIONS: u32 = 0o7777;

/// config-linux.md, "Default Devices". /dev/console and /dev/ptmx are made elsewhere.
const DEFAULTS: [(&str, u32, u32); 6] = [
    ("/dev/null", 1, 3),
    ("/dev/zero", 1, 5),
    ("/dev/full", 1, 7),
    ("/dev/random", 1, 8),
    ("/dev/urandom", 1, 9),
    ("/dev/tty", 5, 0),
];

/// Links in /dev, runtime-linux.md "/dev symbolic links": name, target. The last one only where
/// the host has a kcore.
pub const LINKS: [(&str, &str); 4] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
];

/// Who makes the nodes of a container.
#[derive(Debug, Clone, Copy)]
pub struct Origins {
    default: Origin,
    listed: Origin,
}

impl Origins {
    /// In a user namespace the default devices are always bound: the host's own nodes have the
    /// mode that they need, and a container without other devices needs no tmpfs.
    pub fn new(namespaces: &Namespaces, host: &Host) -> Origins {
        let all = |origin| Origins { default: origin, listed: origin };
        if !namespaces.has_user() && !host.in_user_namespace {
            all(Origin::Made)
        } else if namespaces.mount == Choice::Inherit {
            all(Origin::Present)
        } else if namespaces.mount == Choice::New && host.may_make_devices() {
            Origins { default: Origin::Bound, listed: Origin::Staged }
        } else {
            all(Origin::Bound)
        }
    }
}

/// The default devices, those listed with the same path taking their place, then the others.
pub fn plan(list: &[LinuxDevice], origins: Origins) -> Result<Vec<Device>> {
    let listed = listed(list, origins)?;
    let mut devices: Vec<Device> = DEFAULTS
        .iter()
        .filter(|(path, ..)| !listed.iter().any(|device| device.path == Path::new(path)))
        .map(|(path, major, minor)| Device {
            index: None,
            path: path.into(),
            origin: origins.default,
            kind: FileType::CharacterDevice,
            major: *major,
            minor: *minor,
            attributes: Attributes::default(),
        })
        .collect();
    devices.extend(listed);
    Ok(devices)
}

/// `linux.devices` alone. The check has refused a path that is listed for different devices; the
/// same entry again is left out.
pub fn listed(list: &[LinuxDevice], origins: Origins) -> Result<Vec<Device>> {
    let mut seen = std::collections::HashSet::new();
    let devices = list.iter().enumerate().map(|(i, device)| one(i, device, origins));
    devices
        .filter(|device| device.as_ref().map_or(true, |device| seen.insert(device.path.clone())))
        .collect()
}

fn one(i: usize, device: &LinuxDevice, origins: Origins) -> Result<Device> {
    let kind = match device.typ() {
        LinuxDeviceType::C | LinuxDeviceType::U => FileType::CharacterDevice,
        LinuxDeviceType::B => FileType::BlockDevice,
        LinuxDeviceType::P => FileType::Fifo,
        LinuxDeviceType::A => {
            let field = format!("linux.devices[{i}].type");
            return Err(Error::invalid(field, "a", "a device to make is of type c, b, u or p"));
        }
    };
    let number = |name: &str, value: i64| {
        u32::try_from(value).map_err(|_| {
            Error::invalid(format!("linux.devices[{i}].{name}"), value, "not a device number")
        })
    };
    let fifo = kind == FileType::Fifo;
    Ok(Device {
        index: Some(i),
        // Collapses `//`, `/./` and a trailing slash; the check has refused `..`.
        path: device.path().components().collect(),
        // A FIFO can be made in a user namespace, too.
        origin: if fifo { Origin::Made } else { origins.listed },
        kind,
        major: if fifo { 0 } else { number("major", device.major())? },
        minor: if fifo { 0 } else { number("minor", device.minor())? },
        attributes: Attributes {
            mode: device.file_mode().map(|mode| mode & PERMISSIONS),
            uid: device.uid(),
            gid: device.gid(),
        },
    })
}

/// Whether the configuration brings a /dev of its own, in which nothing is made: the last mount
/// there is a bind mount, or the root file system is the host's own.
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
    /// It is not bound.
    Never,
    /// It is bound on the file, which is made where it is missing.
    Made,
    /// It is bound on the file where there is one: the directory is the host's.
    Existing,
}

/// Chooses the way. A mount on a directory that is shared with the host would appear on the host,
/// over the host's console.
pub fn dev_console(mounts: &[Mount], mounts_root: bool, populate_dev: bool) -> DevConsole {
    let console = Path::new("/dev/console");
    let last = mounts::last_above(mounts, console);
    match last.map(|index| &mounts[index]) {
        _ if !mounts_root => DevConsole::Never,
        Some(mount) if is_shared_with_host(mount) => DevConsole::Never,
        _ if populate_dev => DevConsole::Made,
        _ => DevConsole::Existing,
    }
}

/// Whether a bind mount stays a peer of its source: `shared` is among its options, and nothing that
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

    const MADE: Origins = Origins { default: Origin::Made, listed: Origin::Made };

    #[test]
    fn an_owner_makes_a_difference_where_rights_differ() {
        let stat = |mode: u32| {
            let mut stat = rustix::fs::stat(".").unwrap();
            stat.st_mode = libc::S_IFCHR | mode;
            stat
        };
        let wanted = Attributes { mode: None, uid: Some(u32::MAX - 1), gid: None };
        assert!(wanted.difference(&stat(0o666)).is_some());
        assert_eq!(wanted.difference_of_access(&stat(0o666)), None);
        assert_eq!(wanted.difference_of_access(&stat(0o777)), None);
        for mode in [0o660, 0o644, 0o646, 0o466] {
            let why = wanted.difference_of_access(&stat(mode)).unwrap();
            assert!(why.starts_with("its owner is"), "{why}");
        }
        let wanted = Attributes { mode: Some(0o600), ..wanted };
        let why = wanted.difference_of_access(&stat(0o666)).unwrap();
        assert_eq!(why, "its mode is 0666, not 0600");
    }

    #[test]
    fn a_listed_device_takes_the_place_of_a_default_one() {
        let json = r#"[{"path":"/dev/null/","type":"c","major":1,"minor":3,"fileMode":384},
                       {"path":"/dev/pipe","type":"p"}]"#;
        let list: Vec<LinuxDevice> = serde_json::from_str(json).unwrap();
        let devices = plan(&list, MADE).unwrap();
        assert_eq!(devices.len(), 7);
        let null: Vec<_> = devices.iter().filter(|d| d.path == Path::new("/dev/null")).collect();
        assert_eq!(null.len(), 1);
        assert_eq!(null[0].attributes.mode, Some(0o600));
        assert_eq!(devices.last().unwrap().kind, FileType::Fifo);
    }
}
