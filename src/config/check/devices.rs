//! linux.resources.devices.

use oci_spec::runtime::{LinuxDeviceType as Type, Spec};

use super::{Given, each, linux};
use crate::{Error, Result};

/// The kernel's 12 bits for a major number.
const MAX_MAJOR: i64 = 4095;
/// The kernel's 20 bits for a minor number.
const MAX_MINOR: i64 = 1_048_575;
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
