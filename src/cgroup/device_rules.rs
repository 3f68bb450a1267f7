//! The devices that a container may use: an ordered list of rules.
//!
//! For each of read, write and mknod the last rule that covers the device decides; without such a
//! rule the access is denied. [`device_program`](super::device_program) is the form of the list for
//! cgroup v2, [`device_list`](super::device_list) the one for cgroup v1 and systemd.
//!
//! Runtime spec, config-linux.md, "Allowed Device list".

use std::fmt::{self, Display, Formatter, Write};

use oci_spec::runtime::{LinuxDevice, LinuxDeviceCgroup, LinuxDeviceType};

use super::limit::DeviceNumber;
use crate::{Error, Result};

/// A set of read, write and mknod, in the kernel's bits (`BPF_DEVCG_ACC_*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Access(pub(super) u8);

impl Access {
    pub const MKNOD: Access = Access(1);
    pub const READ: Access = Access(2);
    pub const WRITE: Access = Access(4);
    pub const ALL: Access = Access(7);

    /// Returns the accesses in either set.
    pub fn union(self, other: Access) -> Access {
        Access(self.0 | other.0)
    }

    /// Returns the accesses that are not in `other`; `None` if there are none.
    pub fn without(self, other: Access) -> Option<Access> {
        Some(Access(self.0 & !other.0)).filter(|left| left.0 != 0)
    }

    fn parse(text: &str) -> Option<Access> {
        let mut all = Access(0);
        for letter in text.chars() {
            let (access, _) = LETTERS.iter().find(|(_, known)| *known == letter)?;
            all = all.union(*access);
        }
        (all.0 != 0).then_some(all)
    }
}

const LETTERS: [(Access, char); 3] =
    [(Access::READ, 'r'), (Access::WRITE, 'w'), (Access::MKNOD, 'm')];

impl Display for Access {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let letters = LETTERS.iter().filter(|(access, _)| self.0 & access.0 != 0);
        letters.map(|(_, letter)| letter).try_for_each(|letter| f.write_char(*letter))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DeviceKind {
    Char,
    Block,
}

/// A set of devices; `None` stands for any value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Devices {
    pub kind: Option<DeviceKind>,
    pub major: Option<u32>,
    pub minor: Option<u32>,
}

impl Devices {
    const ALL: Devices = Devices { kind: None, major: None, minor: None };

    /// Checks the type and the numbers of an entry of `linux.devices`; `None` for a FIFO.
    pub fn of_node(index: usize, node: &LinuxDevice) -> Result<Option<Devices>> {
        let kind = match node.typ() {
            LinuxDeviceType::B => DeviceKind::Block,
            LinuxDeviceType::C | LinuxDeviceType::U => DeviceKind::Char,
            LinuxDeviceType::P => return Ok(None),
            LinuxDeviceType::A => {
                let field = format!("linux.devices[{index}].type");
                return Err(Error::invalid(field, "a", "must be c, b, u or p"));
            }
        };
        let field = format!("linux.devices[{index}]");
        let DeviceNumber { major, minor } = DeviceNumber::new(&field, node.major(), node.minor())?;
        Ok(Some(Devices { kind: Some(kind), major: Some(major), minor: Some(minor) }))
    }

    fn parts(self) -> [Option<u32>; 3] {
        [self.kind.map(|kind| kind as u32), self.major, self.minor]
    }

    /// Whether all of these devices are among `other`.
    pub fn within(self, other: Devices) -> bool {
        let mut parts = self.parts().into_iter().zip(other.parts());
        parts.all(|(own, other)| other.is_none() || own == other)
    }

    /// Whether some of these devices are among `other`.
    pub fn overlaps(self, other: Devices) -> bool {
        let mut parts = self.parts().into_iter().zip(other.parts());
        parts.all(|(own, other)| own.is_none() || other.is_none() || own == other)
    }
}

/// The notation of cgroup v1, as in `c 1:*`.
impl Display for Devices {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            None => "a ",
            Some(DeviceKind::Char) => "c ",
            Some(DeviceKind::Block) => "b ",
        })?;
        let number = |value: Option<u32>| value.map_or("*".to_owned(), |value| value.to_string());
        write!(f, "{}:{}", number(self.major), number(self.minor))
    }
}

/// One rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rule {
    pub allow: bool,
    pub devices: Devices,
    pub access: Access,
}

impl Rule {
    /// Checks an entry of `linux.resources.devices`.
    fn new(index: usize, entry: &LinuxDeviceCgroup) -> Result<Rule> {
        let entry_field = || format!("linux.resources.devices[{index}]");
        let field = |name: &str| format!("{}.{name}", entry_field());
        let kind = match entry.typ().unwrap_or_default() {
            LinuxDeviceType::A => None,
            LinuxDeviceType::B => Some(DeviceKind::Block),
            LinuxDeviceType::C => Some(DeviceKind::Char),
            other => {
                return Err(Error::invalid(field("type"), other.as_str(), "must be a, c or b"));
            }
        };
        // Engines write -1 for "any number".
        let given = |value: Option<i64>| value.filter(|value| *value != -1);
        let major = given(entry.major()).map(|major| DeviceNumber::major(&entry_field(), major));
        let minor = given(entry.minor()).map(|minor| DeviceNumber::minor(&entry_field(), minor));
        let devices = Devices { kind, major: major.transpose()?, minor: minor.transpose()? };
        // Without an access a rule covers all three, as with other runtimes.
        let access = match entry.access().as_deref() {
            None => Access::ALL,
            Some(text) => Access::parse(text).ok_or_else(|| {
                Error::invalid(field("access"), text, "must be made of r, w and m")
            })?,
        };
        Ok(Rule { allow: entry.allow(), devices, access })
    }

    /// Whether the rules before this one have no effect.
    pub fn is_total(&self) -> bool {
        self.devices == Devices::ALL && self.access == Access::ALL
    }
}

const fn char_device(major: u32, minor: Option<u32>) -> Rule {
    let devices = Devices { kind: Some(DeviceKind::Char), major: Some(major), minor };
    Rule { allow: true, devices, access: Access::ALL }
}

const fn mknod(kind: DeviceKind) -> Rule {
    let devices = Devices { kind: Some(kind), major: None, minor: None };
    Rule { allow: true, devices, access: Access::MKNOD }
}

/// The accesses that every container has. They come last, so that no rule takes them away: init
/// populates /dev inside the cgroup, and the specification promises these devices. A node alone
/// gives no access: opening it is subject to the rules again.
const DEFAULTS: [Rule; 10] = [
    mknod(DeviceKind::Char),
    mknod(DeviceKind::Block),
    char_device(1, Some(3)), // null
    char_device(1, Some(5)), // zero
    char_device(1, Some(7)), // full
    char_device(1, Some(8)), // random
    char_device(1, Some(9)), // urandom
    char_device(5, Some(0)), // tty
    char_device(5, Some(2)), // ptmx
    char_device(136, None),  // pseudo-terminals
];

/// The checked rules of a container, in order. Accesses that no rule covers are denied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ruleset(pub(super) Vec<Rule>);

impl Ruleset {
    /// Reads `linux.devices`, then `linux.resources.devices` in its order, then adds the defaults.
    ///
    /// A device of `linux.devices` is allowed as far as the explicit list does not cover it: its
    /// rule comes before that list (whose first rule usually denies everything), and is left out if
    /// the list has a rule for exactly that device.
    pub fn new(listed: &[LinuxDeviceCgroup], nodes: &[LinuxDevice]) -> Result<Self> {
        let explicit = listed.iter().enumerate().map(|(index, entry)| Rule::new(index, entry));
        let explicit = explicit.collect::<Result<Vec<_>>>()?;
        let mut rules = Vec::with_capacity(nodes.len() + explicit.len() + DEFAULTS.len());
        for (index, node) in nodes.iter().enumerate() {
            if let Some(devices) = Devices::of_node(index, node)?
                && !explicit.iter().any(|rule| rule.devices == devices)
            {
                rules.push(Rule { allow: true, devices, access: Access::ALL });
            }
        }
        rules.extend(explicit);
        rules.extend(DEFAULTS);
        if let Some(last) = rules.iter().rposition(Rule::is_total) {
            let void = if rules.get(last).is_some_and(|rule| rule.allow) { last } else { last + 1 };
            rules.drain(..void);
        }
        Ok(Ruleset(rules))
    }
}

#[cfg(test)]
#[path = "device_rules_tests.rs"]
pub(super) mod tests;
