//! The types of resource limits, independent of the cgroup version and of who sets them.

use crate::list::List;
use crate::{Error, Result};

/// An upper bound, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Amount {
    Max,
    Of(u64),
}

/// The unit of a rate limit, per second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Throttle {
    ReadBytes,
    WriteBytes,
    ReadOperations,
    WriteOperations,
}

impl Throttle {
    pub fn field(self) -> &'static str {
        match self {
            Throttle::ReadBytes => "linux.resources.blockIO.throttleReadBpsDevice",
            Throttle::WriteBytes => "linux.resources.blockIO.throttleWriteBpsDevice",
            Throttle::ReadOperations => "linux.resources.blockIO.throttleReadIOPSDevice",
            Throttle::WriteOperations => "linux.resources.blockIO.throttleWriteIOPSDevice",
        }
    }
}

/// The number of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DeviceNumber {
    pub major: u32,
    pub minor: u32,
}

impl DeviceNumber {
    /// The largest major number: the kernel has 12 bits for it.
    pub(super) const MAX_MAJOR: u32 = 4095;
    /// The largest minor number: the kernel has 20 bits for it.
    pub(super) const MAX_MINOR: u32 = 1_048_575;

    /// Checks both numbers of an entry; `field` names the entry.
    pub fn new(field: &str, major: i64, minor: i64) -> Result<DeviceNumber> {
        Ok(DeviceNumber { major: Self::major(field, major)?, minor: Self::minor(field, minor)? })
    }

    pub fn major(field: &str, major: i64) -> Result<u32> {
        bounded(field, "major", major, Self::MAX_MAJOR)
    }

    pub fn minor(field: &str, minor: i64) -> Result<u32> {
        bounded(field, "minor", minor, Self::MAX_MINOR)
    }
}

fn bounded(field: &str, name: &str, value: i64, max: u32) -> Result<u32> {
    u32::try_from(value).ok().filter(|number| *number <= max).ok_or_else(|| {
        Error::invalid(format!("{field}.{name}"), value, format!("must be from 0 to {max}"))
    })
}

/// One limit of `linux.resources`. A field that is unset has no limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Limit {
    /// Share of CPU time in v1's scale, from 2 to 262144; 1024 is the default.
    CpuShares(u64),
    /// CPU time in microseconds: what may be used in each period, and what may be accumulated.
    CpuBandwidth { quota: Option<Amount>, period: Option<u64>, burst: Option<u64> },
    /// CPU time of real-time processes in microseconds; v1 only.
    CpuRealtime {
        /// The time that may be used in each period; a negative number is no limit.
        runtime: Option<i64>,
        period: Option<u64>,
    },
    /// Whether the processes run only when no others need the CPU (`SCHED_IDLE`).
    CpuIdle(bool),
    /// CPUs to run on.
    Cpus(List),
    /// Memory nodes to take memory from.
    Mems(List),
    /// Memory in bytes, and the sum of memory and swap.
    Memory {
        limit: Option<Amount>,
        /// Memory plus swap; never below `limit`.
        total: Option<Amount>,
        /// Whether a limit below the current usage is an error.
        check: bool,
    },
    /// Memory that is not reclaimed as long as other cgroups have some to reclaim.
    MemoryReservation(Amount),
    /// A limit on kernel memory; the kernel no longer enforces it.
    KernelMemory,
    /// Memory of TCP buffers in bytes; v1 only.
    TcpMemory(u64),
    /// The kernel's inclination to swap, from 0 to 100; v1 only.
    Swappiness(u64),
    /// Processes wait, instead of being killed, when memory runs out; v1 only.
    OomKillerOff,
    /// Memory of sub-cgroups counts as well; always the case on v2, and on v1 since Linux 5.11.
    MemoryHierarchy,
    /// The number of processes and threads.
    Pids(Amount),
    /// Share of block I/O in v1's scale, from 10 to 1000.
    IoWeight(u16),
    /// Share of block I/O in competition with sub-cgroups, from 10 to 1000; v1 only.
    IoLeafWeight(u16),
    /// The two weights for one device.
    IoDeviceWeight { device: DeviceNumber, weight: Option<u16>, leaf_weight: Option<u16> },
    /// A rate limit for one device.
    IoThrottle { device: DeviceNumber, kind: Throttle, rate: Amount },
    /// Memory in huge pages of one size.
    HugePages {
        /// The size as in the kernel's file names, such as `2MB`.
        size: String,
        bytes: u64,
    },
    /// The class of network packets; v1 only.
    NetClass(u32),
    /// Priority of traffic through one interface; v1 only.
    NetPriority { interface: String, priority: u32 },
    /// Resources of one RDMA device.
    Rdma { device: String, handles: Option<u32>, objects: Option<u32> },
    /// A control file of cgroup v2 and its content.
    Unified {
        file: String,
        /// One or more lines, each written separately.
        value: String,
    },
}

impl Limit {
    /// Returns the field of config.json that sets the limit.
    pub fn field(&self) -> &'static str {
        match self {
            Limit::CpuShares(_) => "linux.resources.cpu.shares",
            Limit::CpuBandwidth { quota: Some(_), .. } => "linux.resources.cpu.quota",
            Limit::CpuBandwidth { period: Some(_), .. } => "linux.resources.cpu.period",
            Limit::CpuBandwidth { .. } => "linux.resources.cpu.burst",
            Limit::CpuRealtime { runtime: Some(_), .. } => "linux.resources.cpu.realtimeRuntime",
            Limit::CpuRealtime { .. } => "linux.resources.cpu.realtimePeriod",
            Limit::CpuIdle(_) => "linux.resources.cpu.idle",
            Limit::Cpus(_) => "linux.resources.cpu.cpus",
            Limit::Mems(_) => "linux.resources.cpu.mems",
            Limit::Memory { limit: Some(_), .. } => "linux.resources.memory.limit",
            Limit::Memory { .. } => "linux.resources.memory.swap",
            Limit::MemoryReservation(_) => "linux.resources.memory.reservation",
            Limit::KernelMemory => "linux.resources.memory.kernel",
            Limit::TcpMemory(_) => "linux.resources.memory.kernelTCP",
            Limit::Swappiness(_) => "linux.resources.memory.swappiness",
            Limit::OomKillerOff => "linux.resources.memory.disableOOMKiller",
            Limit::MemoryHierarchy => "linux.resources.memory.useHierarchy",
            Limit::Pids(_) => "linux.resources.pids.limit",
            Limit::IoWeight(_) => "linux.resources.blockIO.weight",
            Limit::IoLeafWeight(_) => "linux.resources.blockIO.leafWeight",
            Limit::IoDeviceWeight { .. } => "linux.resources.blockIO.weightDevice",
            Limit::IoThrottle { kind, .. } => kind.field(),
            Limit::HugePages { .. } => "linux.resources.hugepageLimits",
            Limit::NetClass(_) => "linux.resources.network.classID",
            Limit::NetPriority { .. } => "linux.resources.network.priorities",
            Limit::Rdma { .. } => "linux.resources.rdma",
            Limit::Unified { .. } => "linux.resources.unified",
        }
    }

    /// Whether both limits set the same parameter, even to different values.
    pub fn sets_same_as(&self, other: &Limit) -> bool {
        use Limit::{HugePages, IoDeviceWeight, IoThrottle, NetPriority, Rdma, Unified};
        match (self, other) {
            (IoDeviceWeight { device: a, .. }, IoDeviceWeight { device: b, .. }) => a == b,
            (IoThrottle { device: a, kind, .. }, IoThrottle { device: b, kind: other, .. }) => {
                (a, kind) == (b, other)
            }
            (HugePages { size: a, .. }, HugePages { size: b, .. }) => a == b,
            (NetPriority { interface: a, .. }, NetPriority { interface: b, .. }) => a == b,
            (Rdma { device: a, .. }, Rdma { device: b, .. }) => a == b,
            (Unified { file: a, .. }, Unified { file: b, .. }) => a == b,
            _ => std::mem::discriminant(self) == std::mem::discriminant(other),
        }
    }
}
