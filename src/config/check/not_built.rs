//! What the spec knows and this version cannot do yet: refused by name, never skipped.
//!
//! A line goes when the thing is built.

use oci_spec::runtime::{Process, Spec};

use super::{linux, set};
use crate::{Error, Result};

type Asked<T> = (&'static str, fn(&T) -> bool);

const PROCESS: &[Asked<Process>] =
    &[("process.selinuxLabel", |p| set(p.selinux_label()).is_some())];

const CONFIG: &[Asked<Spec>] = &[
    ("linux.mountLabel", |s| linux(s).is_some_and(|l| set(l.mount_label()).is_some())),
    ("linux.intelRdt", |s| linux(s).is_some_and(|l| l.intel_rdt().is_some())),
    ("linux.netDevices", |s| {
        linux(s).and_then(|l| l.net_devices().as_ref()).is_some_and(|devices| !devices.is_empty())
    }),
];

/// The first thing a process asks for that cannot be given.
pub fn process(process: &Process) -> Result<()> {
    refuse(PROCESS, process)
}

/// The first thing the rest of a configuration asks for that cannot be given.
pub fn config(spec: &Spec) -> Result<()> {
    refuse(CONFIG, spec)
}

fn refuse<T>(table: &[Asked<T>], value: &T) -> Result<()> {
    match table.iter().find(|(_, asked)| asked(value)) {
        Some((field, _)) => Err(Error::unsupported(field)),
        None => Ok(()),
    }
}
