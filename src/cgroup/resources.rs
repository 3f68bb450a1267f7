//! The resources of a container, checked.

use oci_spec::runtime::{LinuxDevice, LinuxResources};

use super::device_rules::Ruleset;
use super::limits::Limits;
use crate::Result;

/// The requests of `linux.resources` and `linux.devices` to the cgroup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resources {
    pub(crate) limits: Limits,
    pub(crate) device_rules: Ruleset,
    /// Whether `linux.resources` lists device rules.
    pub(crate) lists_devices: bool,
}

impl Resources {
    /// Parses both sections; nothing else reads them.
    ///
    /// # Errors
    /// The first field that is invalid.
    pub fn new(resources: Option<&LinuxResources>, nodes: &[LinuxDevice]) -> Result<Resources> {
        let limits = resources.map(Limits::new).transpose()?.unwrap_or_default();
        let listed = resources.and_then(|resources| resources.devices().as_deref());
        let listed = listed.unwrap_or_default();
        let device_rules = Ruleset::new(listed, nodes)?;
        Ok(Resources { limits, device_rules, lists_devices: !listed.is_empty() })
    }
}
