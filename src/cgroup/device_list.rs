//! The device rules in the form of cgroup v1 and systemd: a default and its exceptions.
//!
//! cgroup v1 silently ignores an exception from an exception; here that is an error.

use super::device_rules::{Access, DeviceKind, Devices, Rule, Ruleset};
use crate::{Error, Result};

/// The rules of a container as a default and its exceptions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DeviceList {
    /// Whether the devices that are not listed are allowed.
    pub allow: bool,
    /// The exceptions; the type of the devices is always set.
    pub exceptions: Vec<(Devices, Access)>,
}

impl DeviceList {
    /// Converts the rules. A rule that makes an exception from an exception is an error.
    pub fn new(rules: &Ruleset) -> Result<DeviceList> {
        let mut list = DeviceList { allow: false, exceptions: Vec::new() };
        for rule in &rules.0 {
            if rule.is_total() {
                list = DeviceList { allow: rule.allow, exceptions: Vec::new() };
                continue;
            }
            // v1 reads "a" as all devices, whatever numbers follow.
            let kinds = match rule.devices.kind {
                Some(kind) => vec![kind],
                None => vec![DeviceKind::Char, DeviceKind::Block],
            };
            for kind in kinds {
                list.add(rule, Devices { kind: Some(kind), ..rule.devices })?;
            }
        }
        Ok(list)
    }

    fn add(&mut self, rule: &Rule, devices: Devices) -> Result<()> {
        if rule.allow == self.allow {
            return self.end(rule, devices);
        }
        match self.exceptions.iter_mut().find(|(known, _)| *known == devices) {
            Some((_, access)) => *access = access.union(rule.access),
            None => self.exceptions.push((devices, rule.access)),
        }
        Ok(())
    }

    /// Removes the exceptions that `rule` reverses. An exception that is wider than the rule would
    /// have to be split, which the kernel cannot express.
    fn end(&mut self, rule: &Rule, devices: Devices) -> Result<()> {
        let mut left = Vec::with_capacity(self.exceptions.len());
        for (known, access) in self.exceptions.drain(..) {
            let remaining = access.without(rule.access);
            if remaining == Some(access) || !known.overlaps(devices) {
                left.push((known, access));
            } else if known.within(devices) {
                left.extend(remaining.map(|access| (known, access)));
            } else {
                let earlier = format!("{known} {access}");
                let why = format!(
                    "cgroup v1 cannot make an exception from the earlier rule {earlier:?}; \
                     cgroup v2 can"
                );
                let rule = format!("{} {}", rule.devices, rule.access);
                return Err(Error::invalid("linux.resources.devices", rule, why));
            }
        }
        self.exceptions = left;
        Ok(())
    }

    /// Returns the writes to `devices.deny` and `devices.allow` that apply the list, whatever rules
    /// the cgroup has.
    pub fn writes(&self) -> impl Iterator<Item = (&'static str, String)> + '_ {
        let (reset, except) = match self.allow {
            true => ("devices.allow", "devices.deny"),
            false => ("devices.deny", "devices.allow"),
        };
        let exceptions = self.exceptions.iter();
        std::iter::once((reset, "a".to_owned()))
            .chain(exceptions.map(move |(devices, access)| (except, format!("{devices} {access}"))))
    }
}

#[cfg(test)]
#[path = "device_list_tests.rs"]
mod tests;
