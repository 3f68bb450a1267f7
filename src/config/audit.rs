//! Finds what the typed configuration cannot show: a missing member that reads as 0, an array in
//! the place of an object, a NUL byte.
//!
//! The typed values and one scan of the text show whether a configuration can have any of these.
//! Only then is the text parsed again and audited.

use oci_spec::runtime::{LinuxDeviceType, Process, Spec};
use serde_json::Value;

use super::keys::{self, Key, Need, Of};
use super::reparse;
use crate::{Error, Result};

/// The keys of the spec whose value is an array.
const ARRAY_KEYS: &[&str] = &[
    "additionalGids",
    "ambient",
    "architectures",
    "args",
    "bounding",
    "createContainer",
    "createRuntime",
    "devices",
    "effective",
    "env",
    "flags",
    "gidMappings",
    "hugepageLimits",
    "inheritable",
    "maskedPaths",
    "mounts",
    "names",
    "namespaces",
    "options",
    "permitted",
    "poststart",
    "poststop",
    "prestart",
    "priorities",
    "readonlyPaths",
    "rlimits",
    "schemata",
    "startContainer",
    "syscalls",
    "throttleReadBpsDevice",
    "throttleReadIOPSDevice",
    "throttleWriteBpsDevice",
    "throttleWriteIOPSDevice",
    "uidMappings",
    "weightDevice",
];

/// The parts of a configuration whose strings reach the kernel.
const USED: &[&str] = &["process", "root", "hostname", "domainname", "mounts", "hooks", "linux"];

/// Whether the text may hold a NUL byte, or an array in the place of an object.
pub fn text_may_hide(text: &str) -> bool {
    text.contains("\\u0000") || {
        let bytes = text.as_bytes();
        let brackets = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'[');
        brackets.into_iter().any(|(at, _)| {
            let before = bytes.get(..at).unwrap_or_default().trim_ascii_end();
            let Some((b':', before)) = before.split_last() else { return true };
            !array_key(before.trim_ascii_end())
        })
    }
}

/// Whether `before` ends with one of [`ARRAY_KEYS`] in quotes.
fn array_key(before: &[u8]) -> bool {
    let Some((b'"', before)) = before.split_last() else { return false };
    let start = before.iter().rposition(|byte| *byte == b'"').map_or(0, |at| at + 1);
    let key = before.get(start..).unwrap_or_default();
    ARRAY_KEYS.iter().any(|known| known.as_bytes() == key)
}

/// Whether the process has a member that reads as 0 and may be missing from the text.
pub fn process_may_hide(process: &Process) -> bool {
    // The crate has defaults of its own for both members.
    if process.io_priority().is_some() {
        return true;
    }
    process.rlimits().iter().flatten().any(|limit| limit.soft() == 0 || limit.hard() == 0)
}

/// Whether the configuration has a member that reads as 0 and may be missing from the text.
pub fn spec_may_hide(spec: &Spec) -> bool {
    if spec.process().as_ref().is_some_and(process_may_hide) {
        return true;
    }
    let of_mounts =
        spec.mounts().iter().flatten().flat_map(|m| [m.uid_mappings(), m.gid_mappings()]);
    let linux = spec.linux().as_ref();
    let of_linux = linux.into_iter().flat_map(|l| [l.uid_mappings(), l.gid_mappings()]);
    if of_mounts.chain(of_linux).flatten().flatten().any(|mapping| mapping.host_id() == 0) {
        return true;
    }
    let Some(linux) = linux else { return false };
    let mut devices = linux.devices().iter().flatten();
    if devices.any(|d| d.typ() != LinuxDeviceType::P && (d.major() == 0 || d.minor() == 0)) {
        return true;
    }
    let Some(resources) = linux.resources() else { return false };
    let block = resources.block_io().as_ref();
    resources.pids().is_some_and(|pids| pids.limit() == 0)
        || resources
            .hugepage_limits()
            .iter()
            .flatten()
            .any(|h| h.limit() == 0 || h.page_size().is_empty())
        || resources.network().as_ref().is_some_and(|n| n.priorities().is_some())
        || block.is_some_and(|block| {
            let throttles = [
                block.throttle_read_bps_device(),
                block.throttle_write_bps_device(),
                block.throttle_read_iops_device(),
                block.throttle_write_iops_device(),
            ];
            let mut weights = block.weight_device().iter().flatten();
            weights.any(|w| w.major() == 0 || w.minor() == 0)
                || throttles
                    .into_iter()
                    .flatten()
                    .flatten()
                    .any(|t| t.major() == 0 || t.minor() == 0 || t.rate() == 0)
        })
}

/// Audits the whole text. `root` is the path of the outermost object. Returns whether
/// `linux.resources.pids` has no `limit`, which the crate reads as 0.
pub fn audit(text: &str, root: &str) -> Result<bool> {
    let mut value: Value = serde_json::from_str(text).map_err(|error| reparse::syntax(&error))?;
    if !root.is_empty() {
        value = Value::Object([(root.to_owned(), value)].into_iter().collect());
    }
    members(&value, keys::CONFIG, "")?;
    for part in USED {
        if let Some(found) = value.get(part) {
            no_nul(part, found)?;
        }
    }
    let pids = value.pointer("/linux/resources/pids");
    let pids_limit = pids.is_some_and(|p| p.is_object() && p.get("limit").is_none());
    Ok(pids_limit)
}

/// Checks that `value` and the values below it are objects with all required keys. The crate
/// accepts an array and takes its elements for the members in order.
fn members(value: &Value, keys: &[Key], field: &str) -> Result<()> {
    let members = match value {
        Value::Null => return Ok(()),
        Value::Object(members) => members,
        _ => return Err(Error::invalid_field(field, "an object is expected, not an array")),
    };
    let missing = keys.iter().find(|key| {
        let needed = match key.need {
            Need::No => false,
            Need::Yes => true,
            Need::UnlessFifo => members.get("type") != Some(&Value::from("p")),
        };
        needed && !members.contains_key(key.name)
    });
    let name = |key: &Key| match field {
        "" => key.name.to_owned(),
        _ => format!("{field}.{}", key.name),
    };
    if let Some(key) = missing {
        return Err(Error::invalid_field(name(key), "missing; the spec requires it"));
    }
    for key in keys {
        let Some(value) = members.get(key.name) else { continue };
        match key.of {
            Of::Value | Of::Values | Of::Foreign => {}
            Of::Object(keys) => self::members(value, keys, &name(key))?,
            Of::Objects(keys) => {
                for (index, element) in value.as_array().into_iter().flatten().enumerate() {
                    self::members(element, keys, &format!("{}[{index}]", name(key)))?;
                }
            }
            Of::Map(keys) => {
                for (free, element) in value.as_object().into_iter().flatten() {
                    self::members(element, keys, &format!("{}.{free}", name(key)))?;
                }
            }
        }
    }
    Ok(())
}

/// Refuses a NUL byte. It ends a C string: the kernel would see another value than the checked
/// value.
fn no_nul(field: &str, value: &Value) -> Result<()> {
    const WHY: &str = "a NUL byte cannot be passed to the kernel";
    match value {
        Value::String(text) if text.contains('\0') => Err(Error::invalid(field, text, WHY)),
        Value::Array(elements) => elements
            .iter()
            .enumerate()
            .try_for_each(|(index, element)| no_nul(&format!("{field}[{index}]"), element)),
        Value::Object(members) => members.iter().try_for_each(|(key, member)| {
            if key.contains('\0') {
                return Err(Error::invalid(field, key, WHY));
            }
            // Opaque data for the seccomp agent; it travels as JSON.
            if key == "listenerMetadata" {
                return Ok(());
            }
            no_nul(&format!("{field}.{key}"), member)
        }),
        _ => Ok(()),
    }
}

#[cfg(test)]
#[path = "audit_tests.rs"]
mod tests;
