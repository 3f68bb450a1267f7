//! Device nodes: the default devices of the specification, and `linux.devices`.

use std::collections::HashMap;
use std::path::{Component, Path, PathBuf};

use oci_spec::runtime::LinuxDevice;
use rustix::fs::{FileType, Stat};

use super::namespaces::{Choice, Namespaces};
use crate::cgroup::device_rules::{DeviceKind, Devices};
use crate::host::Host;
use crate::{Error, Result};

/// A device of the container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// The index in `linux.devices`; `None` for a default device.
    pub index: Option<usize>,
    /// The path in the container.
    pub path: PathBuf,
    /// Where the node comes from.
    pub origin: Origin,
    /// Character, block or FIFO.
    pub kind: FileType,
    /// 0 for a FIFO.
    pub major: u32,
    /// 0 for a FIFO.
    pub minor: u32,
    /// The requested mode and owner.
    pub attributes: Attributes,
}

impl Device {
    /// Whether an inode is this device node.
    pub fn is_node(&self, stat: &Stat) -> bool {
        FileType::from_raw_mode(stat.st_mode) == self.kind
            && (self.kind == FileType::Fifo
                || stat.st_rdev == rustix::fs::makedev(self.major, self.minor))
    }
}

/// Where a node comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// Init creates it with mknod(2).
    Made,
    /// The runtime creates it on a tmpfs of the initial user namespace, and init binds it: mknod(2)
    /// is refused in the container's user namespace.
    Staged,
    /// Init binds the host's node: the runtime has no right to create a node either.
    Bound,
    /// The root file system has it already: without a mount namespace nothing can be bound.
    Present,
}

impl Origin {
    /// Whether the device is a bind mount.
    pub fn is_mount(self) -> bool {
        matches!(self, Origin::Staged | Origin::Bound)
    }
}

/// The requested mode and owner of a node.
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
    /// Returns mode, owner and group of a new node. The defaults are 0666 and the container's root.
    pub fn or_default(self) -> (u32, u32, u32) {
        (self.mode.unwrap_or(0o666), self.uid.unwrap_or(0), self.gid.unwrap_or(0))
    }

    /// Describes the first attribute of an inode that differs from the requested one.
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

    /// Describes the first difference that affects access to the host's node. The owner of that
    /// node cannot be changed; it does not matter if the mode gives all users the same permissions.
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

/// The permission bits of a mode, with set-id and sticky.
const PERMISSIONS: u32 = 0o7777;

/// config-linux.md, "Default Devices". /dev/console and /dev/ptmx are created elsewhere.
const DEFAULTS: [(&str, u32, u32); 6] = [
    ("/dev/null", 1, 3),
    ("/dev/zero", 1, 5),
    ("/dev/full", 1, 7),
    ("/dev/random", 1, 8),
    ("/dev/urandom", 1, 9),
    ("/dev/tty", 5, 0),
];

/// Links in /dev, with their targets (runtime-linux.md, "/dev symbolic links"). The last link is
/// created only if the host has a kcore.
pub const LINKS: [(&str, &str); 4] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
];

/// The origins of the nodes of a container.
#[derive(Debug, Clone, Copy)]
pub struct Origins {
    default: Origin,
    listed: Origin,
}

impl Origins {
    /// Returns the origins. In a user namespace the default devices are always bound: the host's
    /// nodes have the right mode, and a container without other devices then needs no tmpfs.
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

/// Parses `linux.devices` (config-linux.md, "Devices"). With `populate_dev` the default devices
/// come first; a listed device replaces the default device of its path.
pub fn parse(
    list: Option<&Vec<LinuxDevice>>,
    origins: Origins,
    populate_dev: bool,
) -> Result<Vec<Device>> {
    let list = list.map(Vec::as_slice).unwrap_or_default();
    let mut listed: Vec<Device> = Vec::with_capacity(list.len());
    // A privileged container may list every device of the host.
    let mut by_path: HashMap<PathBuf, usize> = HashMap::with_capacity(list.len());
    for (index, device) in list.iter().enumerate() {
        let parsed = parse_device(index, device, origins)?;
        match by_path.get(&parsed.path).and_then(|at| listed.get(*at)) {
            None => {
                by_path.insert(parsed.path.clone(), listed.len());
                listed.push(parsed);
            }
            // Engines list some devices twice; identical entries do no harm.
            Some(earlier) if *earlier == (Device { index: earlier.index, ..parsed }) => {}
            Some(_) => {
                let field = format!("linux.devices[{index}].path");
                let why = "is listed twice, for different devices";
                return Err(Error::invalid(field, device.path(), why));
            }
        }
    }
    if !populate_dev {
        return Ok(listed);
    }
    let mut devices: Vec<Device> = DEFAULTS
        .iter()
        .filter(|(path, ..)| !by_path.contains_key(Path::new(path)))
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
    devices.append(&mut listed);
    Ok(devices)
}

fn parse_device(index: usize, device: &LinuxDevice, origins: Origins) -> Result<Device> {
    let field = |name: &str| format!("linux.devices[{index}].{name}");
    let path = device.path();
    let bad_path = |why: &str| Err(Error::invalid(field("path"), path, why));
    if !path.is_absolute() {
        return bad_path("must be an absolute path");
    }
    if path.components().any(|component| component == Component::ParentDir) {
        return bad_path("must not contain \"..\"");
    }
    if path.file_name().is_none() {
        return bad_path("must name a file");
    }
    let (kind, major, minor) = match Devices::of_node(index, device)? {
        None => (FileType::Fifo, 0, 0),
        Some(node) => {
            let is_block = node.kind == Some(DeviceKind::Block);
            let kind = if is_block { FileType::BlockDevice } else { FileType::CharacterDevice };
            (kind, node.major.unwrap_or(0), node.minor.unwrap_or(0))
        }
    };
    // Some engines pass a mode with the file type bits of stat(2).
    let mode = device.file_mode();
    if let Some(mode) = mode
        && mode & !PERMISSIONS != 0
        && mode & !PERMISSIONS != kind.as_raw_mode()
    {
        let why = "has bits beyond the permissions (07777, 4095 in decimal)";
        return Err(Error::invalid(field("fileMode"), mode, why));
    }
    for (name, id) in [("uid", device.uid()), ("gid", device.gid())] {
        if id == Some(u32::MAX) {
            return Err(Error::invalid(field(name), u32::MAX, "is not an id (it means -1)"));
        }
    }
    Ok(Device {
        index: Some(index),
        // Without `//`, `/./` and a trailing slash.
        path: path.components().collect(),
        // mknod(2) can create a FIFO in a user namespace too.
        origin: if kind == FileType::Fifo { Origin::Made } else { origins.listed },
        kind,
        major,
        minor,
        attributes: Attributes {
            mode: mode.map(|mode| mode & PERMISSIONS),
            uid: device.uid(),
            gid: device.gid(),
        },
    })
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
        let devices = parse(Some(&list), MADE, true).unwrap();
        assert_eq!(devices.len(), 7);
        let null: Vec<_> = devices.iter().filter(|d| d.path == Path::new("/dev/null")).collect();
        assert_eq!(null.len(), 1);
        assert_eq!(null[0].attributes.mode, Some(0o600));
        assert_eq!(devices.last().unwrap().kind, FileType::Fifo);
    }
}
