//! Device nodes: the spec's default ones, and `linux.devices`.

use std::path::{Path, PathBuf};

use oci_spec::runtime::{LinuxDevice, LinuxDeviceType};
use rustix::fs::FileType;

use crate::{Error, Result};

/// A node to be made (or, in a user namespace, bound from the host).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// In the container.
    pub path: PathBuf,
    /// Character, block or FIFO.
    pub kind: FileType,
    /// 0 for a FIFO.
    pub major: u32,
    /// 0 for a FIFO.
    pub minor: u32,
    /// Permission bits; no umask applies.
    pub mode: u32,
    /// Owner, as seen in the container.
    pub uid: u32,
    /// Group, as seen in the container.
    pub gid: u32,
}

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

/// The default devices, those listed with the same path taking their place, then the others.
pub fn plan(list: &[LinuxDevice]) -> Result<Vec<Device>> {
    let listed = listed(list)?;
    let mut devices: Vec<Device> = DEFAULTS
        .iter()
        .filter(|(path, ..)| !listed.iter().any(|device| device.path == Path::new(path)))
        .map(|(path, major, minor)| Device {
            path: path.into(),
            kind: FileType::CharacterDevice,
            major: *major,
            minor: *minor,
            mode: 0o666,
            uid: 0,
            gid: 0,
        })
        .collect();
    devices.extend(listed);
    Ok(devices)
}

/// `linux.devices` alone.
pub fn listed(list: &[LinuxDevice]) -> Result<Vec<Device>> {
    list.iter().enumerate().map(|(i, device)| one(i, device)).collect()
}

fn one(i: usize, device: &LinuxDevice) -> Result<Device> {
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
        // Collapses `//`, `/./` and a trailing slash; the check has refused `..`.
        path: device.path().components().collect(),
        kind,
        major: if fifo { 0 } else { number("major", device.major())? },
        minor: if fifo { 0 } else { number("minor", device.minor())? },
        mode: device.file_mode().unwrap_or(0o666) & 0o7777,
        uid: device.uid().unwrap_or(0),
        gid: device.gid().unwrap_or(0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listed_device_takes_the_place_of_a_default_one() {
        let json = r#"[{"path":"/dev/null/","type":"c","major":1,"minor":3,"fileMode":384},
                       {"path":"/dev/pipe","type":"p"}]"#;
        let list: Vec<LinuxDevice> = serde_json::from_str(json).unwrap();
        let devices = plan(&list).unwrap();
        assert_eq!(devices.len(), 7);
        let null: Vec<_> = devices.iter().filter(|d| d.path == Path::new("/dev/null")).collect();
        assert_eq!(null.len(), 1);
        assert_eq!(null[0].mode, 0o600);
        assert_eq!(devices.last().unwrap().kind, FileType::Fifo);
    }
}
