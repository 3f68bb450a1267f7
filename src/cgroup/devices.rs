//! Which devices a container may use: an ordered list of rules, and its form on cgroup v1.
//!
//! The list is the law: for each of read, write and mknod the last rule that names the device
//! decides, and where none does the answer is no. On v2 [`program`](super::program) says exactly
//! that. v1 cannot: it has one default and exceptions from it, and ignores in silence a request
//! to punch a hole into a wider exception. Here such a list is an error.
//!
//! Runtime spec, config-linux.md, "Allowed Device list".

use oci_spec::runtime::{LinuxDevice, LinuxDeviceCgroup, LinuxDeviceType};

use crate::{Error, Result};

const FIELD: &str = "linux.resources.devices";

/// Some of read, write and mknod, in the kernel's bits (`BPF_DEVCG_ACC_*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Access(u8);

impl Access {
    /// Making a node for it.
    pub const MKNOD: Access = Access(1);
    /// Reading from it.
    pub const READ: Access = Access(2);
    /// Writing to it.
    pub const WRITE: Access = Access(4);
    /// All three.
    pub const ALL: Access = Access(7);

    /// The kernel's bits.
    pub fn bits(self) -> u8 {
        self.0
    }

    fn parse(text: &str) -> Option<Access> {
        let mut bits = 0;
        for letter in text.bytes() {
            bits |= match letter {
                b'r' => Access::READ.0,
                b'w' => Access::WRITE.0,
                b'm' => Access::MKNOD.0,
                _ => return None,
            };
        }
        (bits != 0).then_some(Access(bits))
    }
}

/// What sort of device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceKind {
    /// Character devices.
    Char,
    /// Block devices.
    Block,
}

/// A set of devices; `None` is "any".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Devices {
    /// Character, block or both.
    pub kind: Option<DeviceKind>,
    /// Driver.
    pub major: Option<u32>,
    /// Device of the driver.
    pub minor: Option<u32>,
}

impl Devices {
    const ALL: Devices = Devices { kind: None, major: None, minor: None };

    fn within(self, other: Devices) -> bool {
        fn within<T: PartialEq>(own: Option<T>, other: Option<T>) -> bool {
            other.is_none() || own == other
        }
        within(self.kind, other.kind)
            && within(self.major, other.major)
            && within(self.minor, other.minor)
    }

    fn overlaps(self, other: Devices) -> bool {
        fn overlap<T: PartialEq>(own: Option<T>, other: Option<T>) -> bool {
            own.is_none() || other.is_none() || own == other
        }
        overlap(self.kind, other.kind)
            && overlap(self.major, other.major)
            && overlap(self.minor, other.minor)
    }
}

/// One entry of the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// Yes or no.
    pub allow: bool,
    /// To which devices.
    pub devices: Devices,
    /// For what.
    pub access: Access,
}

impl Rule {
    fn line(devices: Devices, access: Access) -> String {
        let kind = match devices.kind {
            None => 'a',
            Some(DeviceKind::Char) => 'c',
            Some(DeviceKind::Block) => 'b',
        };
        let number = |value: Option<u32>| value.map_or("*".to_owned(), |value| value.to_string());
        let mut line = format!("{kind} {}:{} ", number(devices.major), number(devices.minor));
        for (bit, letter) in [(Access::READ, 'r'), (Access::WRITE, 'w'), (Access::MKNOD, 'm')] {
            if access.0 & bit.0 != 0 {
                line.push(letter);
            }
        }
        line
    }

    /// Everything before it is void.
    fn is_total(&self) -> bool {
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

/// What every container may do. These come last, so that no list takes them away: init makes
/// /dev from inside the cgroup, and the spec promises these devices. A node alone gives nothing:
/// opening it is asked for again.
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

/// The rules of one container, in order, starting from "nothing is allowed".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ruleset {
    rules: Vec<Rule>,
}

impl Ruleset {
    /// `linux.devices`, then `linux.resources.devices` in its order, then the defaults.
    ///
    /// A device of `linux.devices` is allowed as far as the explicit list says nothing: its entry
    /// comes before that list (whose first rule usually denies everything), and not at all where
    /// the list has a rule for just that device.
    pub fn new(listed: &[LinuxDeviceCgroup], devices: &[LinuxDevice]) -> Result<Self> {
        let explicit = listed.iter().map(rule).collect::<Result<Vec<_>>>()?;
        let mut rules = Vec::with_capacity(devices.len() + explicit.len() + DEFAULTS.len());
        for device in devices {
            if let Some(devices) = node(device)?
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
        Ok(Ruleset { rules })
    }

    /// The rules, first to last; what none of them names is denied.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// The same as writes to `devices.deny` and `devices.allow` of a cgroup, whatever its rules
    /// are now.
    pub fn v1(&self) -> Result<Vec<(&'static str, String)>> {
        let mut default_allow = false;
        let mut exceptions: Vec<(Devices, u8)> = Vec::new();
        for rule in &self.rules {
            if rule.is_total() {
                default_allow = rule.allow;
                exceptions.clear();
                continue;
            }
            // v1 takes "a" to mean everything, whatever numbers follow it.
            let kinds = match rule.devices.kind {
                Some(kind) => vec![kind],
                None => vec![DeviceKind::Char, DeviceKind::Block],
            };
            for kind in kinds {
                let devices = Devices { kind: Some(kind), ..rule.devices };
                if rule.allow == default_allow {
                    take_away(&mut exceptions, devices, rule)?;
                } else if let Some((_, access)) =
                    exceptions.iter_mut().find(|(known, _)| *known == devices)
                {
                    *access |= rule.access.0;
                } else {
                    exceptions.push((devices, rule.access.0));
                }
            }
        }
        let (reset, except) = if default_allow {
            ("devices.allow", "devices.deny")
        } else {
            ("devices.deny", "devices.allow")
        };
        let mut writes = vec![(reset, "a".to_owned())];
        writes.extend(
            exceptions
                .into_iter()
                .map(|(devices, access)| (except, Rule::line(devices, Access(access)))),
        );
        Ok(writes)
    }
}

/// Ends exceptions that `rule` reverses. Those inside of it go; one that only overlaps it would
/// have to be split, and the kernel has no way to say so.
fn take_away(exceptions: &mut Vec<(Devices, u8)>, devices: Devices, rule: &Rule) -> Result<()> {
    for (known, access) in exceptions.iter_mut() {
        if *access & rule.access.0 == 0 || !known.overlaps(devices) {
            continue;
        }
        if !known.within(devices) {
            let why = format!(
                "cgroup v1 cannot make an exception from the earlier rule {:?}; cgroup v2 can",
                Rule::line(*known, Access(*access))
            );
            return Err(Error::invalid(FIELD, Rule::line(rule.devices, rule.access), why));
        }
        *access &= !rule.access.0;
    }
    exceptions.retain(|(_, access)| *access != 0);
    Ok(())
}

fn rule(entry: &LinuxDeviceCgroup) -> Result<Rule> {
    let kind = match entry.typ().unwrap_or_default() {
        LinuxDeviceType::A => None,
        LinuxDeviceType::B => Some(DeviceKind::Block),
        LinuxDeviceType::C => Some(DeviceKind::Char),
        other => return Err(Error::invalid(FIELD, other.as_str(), "type must be a, b or c")),
    };
    // Without any it is all of them, as with other runtimes; so is the default of `type`.
    let access = match entry.access().as_deref() {
        None => Access::ALL,
        Some(text) => Access::parse(text)
            .ok_or_else(|| Error::invalid(FIELD, text, "access must be some of r, w and m"))?,
    };
    let number = |value: Option<i64>| match value {
        None | Some(-1) => Ok(None),
        Some(value) => u32::try_from(value)
            .map(Some)
            .map_err(|_| Error::invalid(FIELD, value, "is not a device number")),
    };
    let devices = Devices { kind, major: number(entry.major())?, minor: number(entry.minor())? };
    Ok(Rule { allow: entry.allow(), devices, access })
}

fn node(device: &LinuxDevice) -> Result<Option<Devices>> {
    let kind = match device.typ() {
        LinuxDeviceType::B => DeviceKind::Block,
        LinuxDeviceType::C | LinuxDeviceType::U => DeviceKind::Char,
        // A FIFO is no device.
        LinuxDeviceType::P => return Ok(None),
        LinuxDeviceType::A => {
            return Err(Error::invalid("linux.devices", "a", "type must be b, c, u or p"));
        }
    };
    let number = |value: i64| {
        u32::try_from(value)
            .map(Some)
            .map_err(|_| Error::invalid("linux.devices", value, "is not a device number"))
    };
    let (major, minor) = (number(device.major())?, number(device.minor())?);
    Ok(Some(Devices { kind: Some(kind), major, minor }))
}

#[cfg(test)]
#[path = "devices_tests.rs"]
pub(super) mod tests;
