//! linux.devices and linux.resources.devices.

use std::path::{Component, PathBuf};

use oci_spec::runtime::{LinuxDevice, LinuxDeviceType as Type, Spec};

use super::{Given, each, linux};
use crate::{Error, Result};

/// The kernel's 12 bits for a major number.
const MAX_MAJOR: i64 = 4095;
/// The kernel's 20 bits for a minor number.
const MAX_MINOR: i64 = 1_048_575;
/// The permission bits of a mode, with set-id and sticky.
const PERMISSIONS: u32 = 0o7777;

/// config-linux.md, "Devices".
pub fn nodes(spec: &Spec, _: &Given) -> Result<()> {
    let Some(linux) = linux(spec) else { return Ok(()) };
    for (index, device) in each(linux.devices()) {
        let field = |name: &str| format!("linux.devices[{index}].{name}");
        let path = device.path();
        if !path.is_absolute() {
            return Err(Error::invalid(field("path"), path, "must be an absolute path"));
        }
        if path.components().any(|component| component == Component::ParentDir) {
            return Err(Error::invalid(field("path"), path, "must not contain \"..\""));
        }
        if path.file_name().is_none() {
            return Err(Error::invalid(field("path"), path, "must name a file"));
        }
        // The type bits of stat(2): some engines hand a mode on as they found it.
        let type_bits = match device.typ() {
            Type::A => {
                return Err(Error::invalid(field("type"), "a", "must be c, b, u or p"));
            }
            Type::B => 0o060_000,
            Type::C | Type::U => 0o020_000,
            Type::P => 0o010_000,
        };
        if device.typ() != Type::P {
            number(&field("major"), device.major(), MAX_MAJOR)?;
            number(&field("minor"), device.minor(), MAX_MINOR)?;
        }
        if let Some(mode) = device.file_mode()
            && !matches!(mode & !PERMISSIONS, 0)
            && mode & !PERMISSIONS != type_bits
        {
            let why = "has bits beyond the permissions (07777, 4095 in decimal)";
            return Err(Error::invalid(field("fileMode"), mode, why));
        }
        for (name, id) in [("uid", device.uid()), ("gid", device.gid())] {
            if id == Some(u32::MAX) {
                return Err(Error::invalid(field(name), u32::MAX, "is not an id (it means -1)"));
            }
        }
    }
    Ok(())
}

/// One path is one node. The same entry twice says nothing new, and engines do write it.
pub fn unique(spec: &Spec, _: &Given) -> Result<()> {
    let Some(linux) = linux(spec) else { return Ok(()) };
    let devices = linux.devices().as_deref().unwrap_or_default();
    // Sorted by path, for a privileged container may list every device of the host.
    let mut sorted: Vec<(PathBuf, usize, &LinuxDevice)> = devices
        .iter()
        .enumerate()
        .map(|(index, device)| (device.path().components().collect(), index, device))
        .collect();
    sorted.sort_unstable_by(|a, b| (&a.0, a.1).cmp(&(&b.0, b.1)));
    for pair in sorted.windows(2) {
        let [(path, _, first), (same, index, second)] = pair else { continue };
        if path == same && !same_node(first, second) {
            let field = format!("linux.devices[{index}].path");
            let why = "is listed twice, for different devices";
            return Err(Error::invalid(field, second.path(), why));
        }
    }
    Ok(())
}

fn same_node(a: &LinuxDevice, b: &LinuxDevice) -> bool {
    let all = |d: &LinuxDevice| (d.typ(), d.major(), d.minor(), d.file_mode(), d.uid(), d.gid());
    all(a) == all(b)
}

/// config-linux.md, "Allowed Device list". A number of -1 is what engines write for "all".
pub fn rules(spec: &Spec, _: &Given) -> Result<()> {
    let resources = linux(spec).and_then(|linux| linux.resources().as_ref());
    let Some(resources) = resources else { return Ok(()) };
    for (index, rule) in each(resources.devices()) {
        let field = |name: &str| format!("linux.resources.devices[{index}].{name}");
        if let Some(typ @ (Type::U | Type::P)) = rule.typ() {
            return Err(Error::invalid(field("type"), typ.as_str(), "must be a, c or b"));
        }
        for (name, value, max) in
            [("major", rule.major(), MAX_MAJOR), ("minor", rule.minor(), MAX_MINOR)]
        {
            match value {
                None | Some(-1) => {}
                Some(value) => number(&field(name), value, max)?,
            }
        }
        if let Some(access) = rule.access()
            && !access.bytes().all(|b| matches!(b, b'r' | b'w' | b'm'))
        {
            let why = "must be made of r, w and m";
            return Err(Error::invalid(field("access"), access, why));
        }
    }
    Ok(())
}

/// A device number for one of the cgroup rules that names a device.
pub fn numbers(field: &str, major: i64, minor: i64) -> Result<()> {
    number(&format!("{field}.major"), major, MAX_MAJOR)?;
    number(&format!("{field}.minor"), minor, MAX_MINOR)
}

fn number(field: &str, value: i64, max: i64) -> Result<()> {
    if (0..=max).contains(&value) {
        Ok(())
    } else {
        Err(Error::invalid(field, value, format!("must be from 0 to {max}")))
    }
}
