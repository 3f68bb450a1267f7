//! linux.devices.

use std::path::{Component, PathBuf};

use oci_spec::runtime::{LinuxDevice, Spec};

use super::{Given, each, linux};
use crate::cgroup::device_rules::{DeviceKind, Devices};
use crate::{Error, Result};

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
        let type_bits = match Devices::of_node(index, device)?.and_then(|devices| devices.kind) {
            Some(DeviceKind::Block) => 0o060_000,
            Some(DeviceKind::Char) => 0o020_000,
            None => 0o010_000,
        };
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
