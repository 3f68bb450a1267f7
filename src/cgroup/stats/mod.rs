//! What a container uses: the figures of its cgroups, of either version.

pub mod figures;
mod parse;
mod v1;
mod v2;

pub use figures::Stats;

use super::record::Record;
use crate::Result;

impl Record {
    /// What the container uses now. On a host with both versions each controller's figures are
    /// read where it is; pressure is counted by v2 alone. An error names the file that could not
    /// be read or understood, or the directory if the cgroup is gone.
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
