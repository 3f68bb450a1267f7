//! The limits and the use of a container's groups, with the names of runc's `events`
//! (types/events.go there).

use std::path::Path;

use serde::Serialize;

use super::files::{SCHEMATA, read, read_if_any};
use super::record::Record;
use crate::{Context, Error, Kind, Result};

/// Caches and memory bandwidth. What the host does not have is absent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct IntelRdt {
    /// The third-level caches of the host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub l3_cache_info: Option<L3CacheInfo>,
    /// The part of the caches of processes in no group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub l3_cache_schema_root: Option<String>,
    /// The container's part of the caches.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub l3_cache_schema: Option<String>,
    /// The memory bandwidth of the host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mem_bw_info: Option<MemBwInfo>,
    /// The memory bandwidth of processes in no group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mem_bw_schema_root: Option<String>,
    /// The container's memory bandwidth.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mem_bw_schema: Option<String>,
    /// All limits of the control group.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub schemata: Vec<String>,
    /// The transfers to and from memory, for each third-level cache.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mbm_stats: Option<Vec<MemoryTransfers>>,
    /// The occupied part of each third-level cache.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cmt_stats: Option<Vec<CacheOccupancy>>,
}

/// The third-level caches of the host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct L3CacheInfo {
    /// The mask of a whole cache.
    pub cbm_mask: String,
    /// The smallest number of bits in a mask.
    pub min_cbm_bits: u64,
    /// The number of control groups that the host can have.
    pub num_closids: u64,
}

/// The memory bandwidth of the host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct MemBwInfo {
    /// The step between two limits.
    pub bandwidth_gran: u64,
    /// Whether the delay is proportional to the limit.
    pub delay_linear: u64,
    /// The smallest limit.
    pub min_bandwidth: u64,
    /// The number of control groups that the host can have.
    pub num_closids: u64,
}

/// The transfers between a cache and memory.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct MemoryTransfers {
    /// All bytes.
    pub mbm_total_bytes: u64,
    /// The bytes of the memory that is attached to the same processor.
    pub mbm_local_bytes: u64,
}

/// The occupied part of a cache.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct CacheOccupancy {
    /// In bytes.
    pub llc_occupancy: u64,
}

impl Record {
    /// Returns the limits and the use of the container's groups; of the control group, if the
    /// container has no monitoring group.
    pub fn stats(&self) -> Result<IntelRdt> {
        let info = self.root.join("info");
        let (host, own) = (lines(&self.root)?, lines(&self.dir)?);
        let mut stats = IntelRdt::default();
        let l3 = info.join("L3");
        if l3.exists() {
            stats.l3_cache_info = Some(L3CacheInfo {
                cbm_mask: read(&l3, "cbm_mask")?.trim().to_owned(),
                min_cbm_bits: number(&l3, "min_cbm_bits")?,
                num_closids: number(&l3, "num_closids")?,
            });
            stats.l3_cache_schema_root = line(&host, "L3");
            stats.l3_cache_schema = line(&own, "L3");
        }
        let mb = info.join("MB");
        if mb.exists() {
            stats.mem_bw_info = Some(MemBwInfo {
                bandwidth_gran: number(&mb, "bandwidth_gran")?,
                delay_linear: number(&mb, "delay_linear")?,
                min_bandwidth: number(&mb, "min_bandwidth")?,
                num_closids: number(&mb, "num_closids")?,
            });
            stats.mem_bw_schema_root = line(&host, "MB");
            stats.mem_bw_schema = line(&own, "MB");
        }
        stats.schemata = own;
        let features = read_if_any(&info.join("L3_MON"), "mon_features")?.unwrap_or_default();
        self.add_use(&features, &mut stats)?;
        Ok(stats)
    }

    fn add_use(&self, features: &str, stats: &mut IntelRdt) -> Result<()> {
        let has = |name: &str| features.lines().any(|line| line == name);
        let (total, local) = (has("mbm_total_bytes"), has("mbm_local_bytes"));
        let occupancy = has("llc_occupancy");
        if !total && !local && !occupancy {
            return Ok(());
        }
        let data = self.monitor.as_ref().unwrap_or(&self.dir).join("mon_data");
        let (mut transfers, mut occupied) = (Vec::new(), Vec::new());
        for cache in caches(&data).with_context(|| format!("list {}", data.display()))? {
            let dir = data.join(cache);
            let count = |has: bool, name: &str| if has { counter(&dir, name) } else { Ok(0) };
            transfers.push(MemoryTransfers {
                mbm_total_bytes: count(total, "mbm_total_bytes")?,
                mbm_local_bytes: count(local, "mbm_local_bytes")?,
            });
            occupied.push(CacheOccupancy { llc_occupancy: count(occupancy, "llc_occupancy")? });
        }
        stats.mbm_stats = (total || local).then_some(transfers);
        stats.cmt_stats = occupancy.then_some(occupied);
        Ok(())
    }
}

/// Returns the directories of the third-level caches, in their order.
fn caches(data: &Path) -> std::io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(data)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.starts_with("mon_L3_") {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// Returns the lines of a `schemata` file; none if there is no such file, as where the host can
/// only monitor.
fn lines(dir: &Path) -> Result<Vec<String>> {
    let text = read_if_any(dir, SCHEMATA)?.unwrap_or_default();
    Ok(text.lines().map(|line| line.trim().to_owned()).collect())
}

/// Returns the line of a resource. `L3CODE` and `L3DATA`, the halves of a divided cache, count for
/// `L3`.
fn line(lines: &[String], name: &str) -> Option<String> {
    lines.iter().rfind(|line| line.starts_with(name)).cloned()
}

fn number(dir: &Path, name: &str) -> Result<u64> {
    let text = read(dir, name)?;
    text.trim().parse().map_err(|_| {
        let why = format!("not a number: {:?}", text.trim());
        Error::new(Kind::System, why).context(format!("read {}", dir.join(name).display()))
    })
}

/// Reads a counter; 0 where the kernel has none to spare (`Unavailable`, `Unassigned`).
fn counter(dir: &Path, name: &str) -> Result<u64> {
    Ok(read(dir, name)?.trim().parse().unwrap_or(0))
}
