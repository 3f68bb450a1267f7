//! Stand-in of the cgroup room, to compile against; dropped at the merge.

use serde::{Deserialize, Serialize};

use crate::Result;

/// Where a container's processes are accounted.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Record {}

impl Record {
    /// No cgroup at all.
    pub fn empty() -> Record {
        Record {}
    }
    /// The member processes.
    pub fn pids(&self) -> Result<Vec<i32>> {
        Ok(Vec::new())
    }
    /// A signal to each member.
    pub fn signal_all(&self, _signal: i32) -> Result<()> {
        Ok(())
    }
    /// SIGKILL to each member.
    pub fn kill_all(&self) -> Result<()> {
        Ok(())
    }
    /// Whether the members are frozen.
    pub fn frozen(&self) -> Result<bool> {
        Ok(false)
    }
    /// Lets the members run again.
    pub fn thaw(&self) -> Result<()> {
        Ok(())
    }
    /// Removes the cgroup.
    pub fn remove(&self) -> Result<()> {
        Ok(())
    }
}
