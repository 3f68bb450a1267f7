//! `linux.netDevices`: network devices of the host that move into the container.

use std::collections::{BTreeSet, HashMap};

use oci_spec::runtime::LinuxNetDevice;

use super::namespaces::{Kind, Namespaces};
use crate::cgroup::limits::interface_name;
use crate::host::Host;
use crate::{Error, Result};

/// A network device that moves into the container's network namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetDevice {
    /// Its name in the runtime's network namespace.
    pub name: String,
    /// Its name in the container's network namespace.
    pub inside: InsideName,
}

/// The name of a network device in the container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InsideName {
    /// A name that no other device in the namespace may have.
    Fixed(String),
    /// A name with a `%d`, which the kernel replaces by the first free number.
    Template(String),
}

/// Parses the section (config-linux.md, "Network Devices"). Sorts the devices by name.
pub fn parse(
    devices: Option<&HashMap<String, LinuxNetDevice>>,
    namespaces: &Namespaces,
    host: &Host,
) -> Result<Vec<NetDevice>> {
    let Some(devices) = devices.filter(|devices| !devices.is_empty()) else {
        return Ok(Vec::new());
    };
    let refuse = |why| Err(Error::invalid_field("linux.netDevices", why));
    if !namespaces.has(Kind::Network) {
        return refuse("needs a network namespace");
    }
    if !host.may_move_network_devices() {
        return refuse(
            "operation not permitted: the runtime needs CAP_NET_ADMIN and CAP_SYS_ADMIN to move a \
             network device",
        );
    }
    let mut devices: Vec<_> = devices.iter().collect();
    devices.sort_unstable_by_key(|(name, _)| *name);
    let mut taken = BTreeSet::new();
    let parse = |(name, device): (&String, &LinuxNetDevice)| {
        interface_name("linux.netDevices", name)?;
        let field = format!("linux.netDevices.{name}.name");
        let inside = match device.name().as_deref().filter(|inside| !inside.is_empty()) {
            Some(inside) => inside_name(&field, inside)?,
            None => InsideName::Fixed(name.clone()),
        };
        if let InsideName::Fixed(inside) = &inside
            && !taken.insert(inside.clone())
        {
            return Err(Error::invalid(field, inside, "another device gets this name, too"));
        }
        Ok(NetDevice { name: name.clone(), inside })
    };
    devices.into_iter().map(parse).collect()
}

/// Parses `name`. The kernel takes a `%` for the beginning of a template, and refuses any but a
/// single `%d`.
fn inside_name(field: &str, name: &str) -> Result<InsideName> {
    interface_name(field, name)?;
    match name.split_once('%') {
        None => Ok(InsideName::Fixed(name.to_owned())),
        Some((_, rest)) if rest.starts_with('d') && !rest.contains('%') => {
            Ok(InsideName::Template(name.to_owned()))
        }
        Some(_) => {
            let why = "a \"%\" must begin the only \"%d\", in whose place the kernel puts a number";
            Err(Error::invalid(field, name, why))
        }
    }
}
