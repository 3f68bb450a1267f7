//! The settings that apply a limit on each version of cgroups.

mod common;
mod v1;
mod v2;
mod weight;

use super::limit::Limit;
use super::setting::{Setting, Version};
use crate::Result;

/// Returns the controller that a limit needs. v1 and v2 differ in the name of the block controller,
/// and v2 has no controllers for network packets.
pub(super) fn controller(limit: &Limit, version: Version) -> Option<&str> {
    Some(match limit {
        Limit::CpuShares(_)
        | Limit::CpuBandwidth { .. }
        | Limit::CpuRealtime { .. }
        | Limit::CpuIdle(_) => "cpu",
        Limit::Cpus(_) | Limit::Mems(_) => "cpuset",
        Limit::Memory { .. }
        | Limit::MemoryReservation(_)
        | Limit::KernelMemory
        | Limit::TcpMemory(_)
        | Limit::Swappiness(_)
        | Limit::OomKillerOff
        | Limit::MemoryHierarchy => "memory",
        Limit::Pids(_) => "pids",
        Limit::IoWeight(_)
        | Limit::IoLeafWeight(_)
        | Limit::IoDeviceWeight { .. }
        | Limit::IoThrottle { .. } => match version {
            Version::V1 => "blkio",
            Version::V2 => "io",
        },
        Limit::HugePages { .. } => "hugetlb",
        Limit::NetClass(_) if version == Version::V1 => "net_cls",
        Limit::NetPriority { .. } if version == Version::V1 => "net_prio",
        Limit::NetClass(_) | Limit::NetPriority { .. } => return None,
        Limit::Rdma { .. } => "rdma",
        Limit::Unified { file, .. } => match version {
            Version::V1 => return None,
            Version::V2 => v2::controller_of(file),
        },
    })
}

/// Returns the settings for `limit`.
///
/// # Errors
/// If this version of cgroups has no such limit.
pub(super) fn settings(
    limit: &Limit,
    version: Version,
    warnings: &mut Vec<String>,
) -> Result<Vec<Setting>> {
    if matches!(limit, Limit::KernelMemory) {
        // Engines still set it, but the kernel ignores it since Linux 5.16: the only limit that is
        // ignored with a warning.
        warnings.push(format!("{}: ignored: the kernel has no such limit any more", limit.field()));
        return Ok(Vec::new());
    }
    match version {
        Version::V1 => v1::settings(limit),
        Version::V2 => v2::settings(limit),
    }
}

#[cfg(test)]
mod tests;
