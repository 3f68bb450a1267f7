//! The resource usage of a container: the figures of its cgroups, of either version.

pub mod figures;
pub(super) mod parse;
mod v1;
mod v2;

pub use figures::Stats;

use super::record::Record;
use crate::Result;

impl Record {
    /// Returns the current usage. On a host with both versions, the figures of a controller are
    /// read from the hierarchy that has it; only v2 counts pressure. An error names the file that
    /// cannot be read or parsed, or the directory if the cgroup is gone.
    pub fn stats(&self) -> Result<Stats> {
        let mut stats = Stats::default();
        let dirs = self.checked()?;
        for dir in dirs.iter().filter(|dir| !dir.is_unified()) {
            v1::add(dir, &mut stats)?;
        }
        let has_v1 = |controller: &str| dirs.iter().any(|dir| dir.has_controller(controller));
        for dir in dirs.iter().filter(|dir| dir.is_unified()) {
            v2::add(dir, has_v1, &mut stats)?;
        }
        Ok(stats)
    }
}
