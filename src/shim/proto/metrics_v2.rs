//! `io.containerd.cgroups.v2.Metrics`: the figures of a host with cgroup v2 alone.

use std::collections::BTreeMap;

use bulkhead::Stats;
use bulkhead::stats as figures;
use prost::Message;

use super::any::named;
use super::metrics_v1::Pids;

#[derive(Clone, PartialEq, Message)]
pub struct Metrics {
    #[prost(message, optional, tag = "1")]
    pub pids: Option<Pids>,
    #[prost(message, optional, tag = "2")]
    pub cpu: Option<Cpu>,
    #[prost(message, optional, tag = "4")]
    pub memory: Option<Memory>,
    #[prost(message, optional, tag = "6")]
    pub io: Option<Io>,
    #[prost(message, repeated, tag = "7")]
    pub hugetlb: Vec<Hugetlb>,
}

named!("io.containerd.cgroups.v2": Metrics);

/// In microseconds.
#[derive(Clone, PartialEq, Message)]
pub struct Cpu {
    #[prost(uint64, tag = "1")]
    pub usage_usec: u64,
    #[prost(uint64, tag = "2")]
    pub user_usec: u64,
    #[prost(uint64, tag = "3")]
    pub system_usec: u64,
    #[prost(uint64, tag = "4")]
    pub nr_periods: u64,
    #[prost(uint64, tag = "5")]
    pub nr_throttled: u64,
    #[prost(uint64, tag = "6")]
    pub throttled_usec: u64,
}

#[derive(Clone, PartialEq, Message)]
pub struct Memory {
    #[prost(uint64, tag = "1")]
    pub anon: u64,
    #[prost(uint64, tag = "2")]
    pub file: u64,
    #[prost(uint64, tag = "3")]
    pub kernel_stack: u64,
    #[prost(uint64, tag = "4")]
    pub slab: u64,
    #[prost(uint64, tag = "5")]
    pub sock: u64,
    #[prost(uint64, tag = "6")]
    pub shmem: u64,
    #[prost(uint64, tag = "7")]
    pub file_mapped: u64,
    #[prost(uint64, tag = "8")]
    pub file_dirty: u64,
    #[prost(uint64, tag = "9")]
    pub file_writeback: u64,
    #[prost(uint64, tag = "10")]
    pub anon_thp: u64,
    #[prost(uint64, tag = "11")]
    pub inactive_anon: u64,
    #[prost(uint64, tag = "12")]
    pub active_anon: u64,
    #[prost(uint64, tag = "13")]
    pub inactive_file: u64,
    #[prost(uint64, tag = "14")]
    pub active_file: u64,
    #[prost(uint64, tag = "15")]
    pub unevictable: u64,
    #[prost(uint64, tag = "16")]
    pub slab_reclaimable: u64,
    #[prost(uint64, tag = "17")]
    pub slab_unreclaimable: u64,
    #[prost(uint64, tag = "18")]
    pub pgfault: u64,
    #[prost(uint64, tag = "19")]
    pub pgmajfault: u64,
    #[prost(uint64, tag = "20")]
    pub workingset_refault: u64,
    #[prost(uint64, tag = "21")]
    pub workingset_activate: u64,
    #[prost(uint64, tag = "22")]
    pub workingset_nodereclaim: u64,
    #[prost(uint64, tag = "23")]
    pub pgrefill: u64,
    #[prost(uint64, tag = "24")]
    pub pgscan: u64,
    #[prost(uint64, tag = "25")]
    pub pgsteal: u64,
    #[prost(uint64, tag = "26")]
    pub pgactivate: u64,
    #[prost(uint64, tag = "27")]
    pub pgdeactivate: u64,
    #[prost(uint64, tag = "28")]
    pub pglazyfree: u64,
    #[prost(uint64, tag = "29")]
    pub pglazyfreed: u64,
    #[prost(uint64, tag = "30")]
    pub thp_fault_alloc: u64,
    #[prost(uint64, tag = "31")]
    pub thp_collapse_alloc: u64,
    #[prost(uint64, tag = "32")]
    pub usage: u64,
    #[prost(uint64, tag = "33")]
    pub usage_limit: u64,
    #[prost(uint64, tag = "34")]
    pub swap_usage: u64,
    #[prost(uint64, tag = "35")]
    pub swap_limit: u64,
    #[prost(uint64, tag = "36")]
    pub max_usage: u64,
}

#[derive(Clone, PartialEq, Message)]
pub struct Io {
    #[prost(message, repeated, tag = "1")]
    pub usage: Vec<IoEntry>,
}

#[derive(Clone, PartialEq, Message)]
pub struct IoEntry {
    #[prost(uint64, tag = "1")]
    pub major: u64,
    #[prost(uint64, tag = "2")]
    pub minor: u64,
    #[prost(uint64, tag = "3")]
    pub rbytes: u64,
    #[prost(uint64, tag = "4")]
    pub wbytes: u64,
    #[prost(uint64, tag = "5")]
    pub rios: u64,
    #[prost(uint64, tag = "6")]
    pub wios: u64,
}

#[derive(Clone, PartialEq, Message)]
pub struct Hugetlb {
    #[prost(uint64, tag = "1")]
    pub current: u64,
    #[prost(uint64, tag = "2")]
    pub max: u64,
    #[prost(string, tag = "3")]
    pub pagesize: String,
}

impl From<&Stats> for Metrics {
    fn from(stats: &Stats) -> Metrics {
        let (usage, throttling) = (&stats.cpu.usage, &stats.cpu.throttling);
        let microseconds = |nanoseconds: u64| nanoseconds / 1000;
        let hugetlb = |(size, figures): (&String, &figures::Hugetlb)| Hugetlb {
            current: figures.usage,
            max: figures.max,
            pagesize: size.clone(),
        };
        Metrics {
            pids: Some(Pids { current: stats.pids.current, limit: stats.pids.limit }),
            cpu: Some(Cpu {
                usage_usec: microseconds(usage.total),
                user_usec: microseconds(usage.user),
                system_usec: microseconds(usage.kernel),
                nr_periods: throttling.periods,
                nr_throttled: throttling.throttled_periods,
                throttled_usec: microseconds(throttling.throttled_time),
            }),
            memory: Some(Memory::from(&stats.memory)),
            io: Some(Io { usage: by_device(&stats.blkio) }),
            hugetlb: stats.hugetlb.iter().map(hugetlb).collect(),
        }
    }
}

impl From<&figures::Memory> for Memory {
    fn from(memory: &figures::Memory) -> Memory {
        // The names in memory.stat.
        let raw = |name: &str| memory.raw.get(name).copied().unwrap_or_default();
        // The library counts memory and swap together, as cgroup v1 does.
        let (both, usage) = (&memory.swap, &memory.usage);
        let swap_limit = match both.limit {
            u64::MAX => u64::MAX,
            limit => limit.saturating_sub(usage.limit),
        };
        Memory {
            anon: raw("anon"),
            file: raw("file"),
            kernel_stack: raw("kernel_stack"),
            slab: raw("slab"),
            sock: raw("sock"),
            shmem: raw("shmem"),
            file_mapped: raw("file_mapped"),
            file_dirty: raw("file_dirty"),
            file_writeback: raw("file_writeback"),
            anon_thp: raw("anon_thp"),
            inactive_anon: raw("inactive_anon"),
            active_anon: raw("active_anon"),
            inactive_file: raw("inactive_file"),
            active_file: raw("active_file"),
            unevictable: raw("unevictable"),
            slab_reclaimable: raw("slab_reclaimable"),
            slab_unreclaimable: raw("slab_unreclaimable"),
            pgfault: raw("pgfault"),
            pgmajfault: raw("pgmajfault"),
            workingset_refault: raw("workingset_refault_anon") + raw("workingset_refault_file"),
            workingset_activate: raw("workingset_activate_anon") + raw("workingset_activate_file"),
            workingset_nodereclaim: raw("workingset_nodereclaim"),
            pgrefill: raw("pgrefill"),
            pgscan: raw("pgscan"),
            pgsteal: raw("pgsteal"),
            pgactivate: raw("pgactivate"),
            pgdeactivate: raw("pgdeactivate"),
            pglazyfree: raw("pglazyfree"),
            pglazyfreed: raw("pglazyfreed"),
            thp_fault_alloc: raw("thp_fault_alloc"),
            thp_collapse_alloc: raw("thp_collapse_alloc"),
            usage: usage.usage,
            usage_limit: usage.limit,
            swap_usage: both.usage.saturating_sub(usage.usage),
            swap_limit,
            max_usage: usage.max,
        }
    }
}

fn by_device(blkio: &figures::Blkio) -> Vec<IoEntry> {
    let mut devices: BTreeMap<(u64, u64), IoEntry> = BTreeMap::new();
    let both = [(&blkio.io_service_bytes_recursive, true), (&blkio.io_serviced_recursive, false)];
    for (list, bytes) in both {
        for figure in list {
            let (major, minor) = (figure.major, figure.minor);
            let entry = devices.entry((major, minor)).or_default();
            (entry.major, entry.minor) = (major, minor);
            match (bytes, figure.op.as_str()) {
                (true, "Read") => entry.rbytes = figure.value,
                (true, "Write") => entry.wbytes = figure.value,
                (false, "Read") => entry.rios = figure.value,
                (false, "Write") => entry.wios = figure.value,
                _ => {}
            }
        }
    }
    devices.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_get_the_units_of_the_message() {
        let mut stats = Stats::default();
        stats.cpu.usage.total = 5_000;
        stats.memory.usage.usage = 100;
        stats.memory.usage.limit = 1000;
        stats.memory.swap.usage = 130;
        stats.memory.swap.limit = u64::MAX;
        stats.memory.raw.insert("anon".into(), 7);
        let mut read = figures::BlkioEntry::default();
        (read.major, read.minor, read.op, read.value) = (8, 1, "Read".into(), 9);
        stats.blkio.io_service_bytes_recursive.push(read);
        let metrics = Metrics::from(&stats);
        assert_eq!(metrics.cpu.unwrap().usage_usec, 5);
        let memory = metrics.memory.unwrap();
        assert_eq!((memory.anon, memory.usage, memory.usage_limit), (7, 100, 1000));
        assert_eq!((memory.swap_usage, memory.swap_limit), (30, u64::MAX));
        let entry = IoEntry { major: 8, minor: 1, rbytes: 9, ..IoEntry::default() };
        assert_eq!(metrics.io.unwrap().usage, [entry]);
    }
}
