//! `io.containerd.cgroups.v1.Metrics`: the figures of a host with cgroup v1.

use bulkhead::Stats;
use bulkhead::stats as figures;
use prost::Message;

use super::any::named;

#[derive(Clone, PartialEq, Message)]
pub struct Metrics {
    #[prost(message, repeated, tag = "1")]
    pub hugetlb: Vec<Hugetlb>,
    #[prost(message, optional, tag = "2")]
    pub pids: Option<Pids>,
    #[prost(message, optional, tag = "3")]
    pub cpu: Option<Cpu>,
    #[prost(message, optional, tag = "4")]
    pub memory: Option<Memory>,
    #[prost(message, optional, tag = "5")]
    pub blkio: Option<Blkio>,
}

named!("io.containerd.cgroups.v1": Metrics);

#[derive(Clone, PartialEq, Message)]
pub struct Hugetlb {
    #[prost(uint64, tag = "1")]
    pub usage: u64,
    #[prost(uint64, tag = "2")]
    pub max: u64,
    #[prost(uint64, tag = "3")]
    pub failcnt: u64,
    #[prost(string, tag = "4")]
    pub pagesize: String,
}

/// The messages of cgroup v1 and v2 share this one.
#[derive(Clone, PartialEq, Message)]
pub struct Pids {
    #[prost(uint64, tag = "1")]
    pub current: u64,
    #[prost(uint64, tag = "2")]
    pub limit: u64,
}

#[derive(Clone, PartialEq, Message)]
pub struct Cpu {
    #[prost(message, optional, tag = "1")]
    pub usage: Option<Usage>,
    #[prost(message, optional, tag = "2")]
    pub throttling: Option<Throttle>,
}

/// In nanoseconds.
#[derive(Clone, PartialEq, Message)]
pub struct Usage {
    #[prost(uint64, tag = "1")]
    pub total: u64,
    #[prost(uint64, tag = "2")]
    pub kernel: u64,
    #[prost(uint64, tag = "3")]
    pub user: u64,
    #[prost(uint64, repeated, tag = "4")]
    pub per_cpu: Vec<u64>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Throttle {
    #[prost(uint64, tag = "1")]
    pub periods: u64,
    #[prost(uint64, tag = "2")]
    pub throttled_periods: u64,
    #[prost(uint64, tag = "3")]
    pub throttled_time: u64,
}

#[derive(Clone, PartialEq, Message)]
pub struct Entry {
    #[prost(uint64, tag = "1")]
    pub limit: u64,
    #[prost(uint64, tag = "2")]
    pub usage: u64,
    #[prost(uint64, tag = "3")]
    pub max: u64,
    #[prost(uint64, tag = "4")]
    pub failcnt: u64,
}

#[derive(Clone, PartialEq, Message)]
pub struct Memory {
    #[prost(uint64, tag = "1")]
    pub cache: u64,
    #[prost(uint64, tag = "2")]
    pub rss: u64,
    #[prost(uint64, tag = "3")]
    pub rss_huge: u64,
    #[prost(uint64, tag = "4")]
    pub mapped_file: u64,
    #[prost(uint64, tag = "5")]
    pub dirty: u64,
    #[prost(uint64, tag = "6")]
    pub writeback: u64,
    #[prost(uint64, tag = "7")]
    pub pg_pg_in: u64,
    #[prost(uint64, tag = "8")]
    pub pg_pg_out: u64,
    #[prost(uint64, tag = "9")]
    pub pg_fault: u64,
    #[prost(uint64, tag = "10")]
    pub pg_maj_fault: u64,
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
    pub hierarchical_memory_limit: u64,
    #[prost(uint64, tag = "17")]
    pub hierarchical_swap_limit: u64,
    #[prost(uint64, tag = "18")]
    pub total_cache: u64,
    #[prost(uint64, tag = "19")]
    pub total_rss: u64,
    #[prost(uint64, tag = "20")]
    pub total_rss_huge: u64,
    #[prost(uint64, tag = "21")]
    pub total_mapped_file: u64,
    #[prost(uint64, tag = "22")]
    pub total_dirty: u64,
    #[prost(uint64, tag = "23")]
    pub total_writeback: u64,
    #[prost(uint64, tag = "24")]
    pub total_pg_pg_in: u64,
    #[prost(uint64, tag = "25")]
    pub total_pg_pg_out: u64,
    #[prost(uint64, tag = "26")]
    pub total_pg_fault: u64,
    #[prost(uint64, tag = "27")]
    pub total_pg_maj_fault: u64,
    #[prost(uint64, tag = "28")]
    pub total_inactive_anon: u64,
    #[prost(uint64, tag = "29")]
    pub total_active_anon: u64,
    #[prost(uint64, tag = "30")]
    pub total_inactive_file: u64,
    #[prost(uint64, tag = "31")]
    pub total_active_file: u64,
    #[prost(uint64, tag = "32")]
    pub total_unevictable: u64,
    #[prost(message, optional, tag = "33")]
    pub usage: Option<Entry>,
    #[prost(message, optional, tag = "34")]
    pub swap: Option<Entry>,
    #[prost(message, optional, tag = "35")]
    pub kernel: Option<Entry>,
    #[prost(message, optional, tag = "36")]
    pub kernel_tcp: Option<Entry>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Blkio {
    #[prost(message, repeated, tag = "1")]
    pub io_service_bytes_recursive: Vec<BlkioEntry>,
    #[prost(message, repeated, tag = "2")]
    pub io_serviced_recursive: Vec<BlkioEntry>,
    #[prost(message, repeated, tag = "3")]
    pub io_queued_recursive: Vec<BlkioEntry>,
    #[prost(message, repeated, tag = "4")]
    pub io_service_time_recursive: Vec<BlkioEntry>,
    #[prost(message, repeated, tag = "5")]
    pub io_wait_time_recursive: Vec<BlkioEntry>,
    #[prost(message, repeated, tag = "6")]
    pub io_merged_recursive: Vec<BlkioEntry>,
    #[prost(message, repeated, tag = "7")]
    pub io_time_recursive: Vec<BlkioEntry>,
    #[prost(message, repeated, tag = "8")]
    pub sectors_recursive: Vec<BlkioEntry>,
}

#[derive(Clone, PartialEq, Message)]
pub struct BlkioEntry {
    #[prost(string, tag = "1")]
    pub op: String,
    #[prost(string, tag = "2")]
    pub device: String,
    #[prost(uint64, tag = "3")]
    pub major: u64,
    #[prost(uint64, tag = "4")]
    pub minor: u64,
    #[prost(uint64, tag = "5")]
    pub value: u64,
}

impl From<&Stats> for Metrics {
    fn from(stats: &Stats) -> Metrics {
        let hugetlb = |(size, figures): (&String, &figures::Hugetlb)| Hugetlb {
            usage: figures.usage,
            max: figures.max,
            failcnt: figures.failcnt,
            pagesize: size.clone(),
        };
        let (usage, throttling) = (&stats.cpu.usage, &stats.cpu.throttling);
        Metrics {
            hugetlb: stats.hugetlb.iter().map(hugetlb).collect(),
            pids: Some(Pids { current: stats.pids.current, limit: stats.pids.limit }),
            cpu: Some(Cpu {
                usage: Some(Usage {
                    total: usage.total,
                    kernel: usage.kernel,
                    user: usage.user,
                    per_cpu: usage.percpu.clone(),
                }),
                throttling: Some(Throttle {
                    periods: throttling.periods,
                    throttled_periods: throttling.throttled_periods,
                    throttled_time: throttling.throttled_time,
                }),
            }),
            memory: Some(Memory::from(&stats.memory)),
            blkio: Some(Blkio::from(&stats.blkio)),
        }
    }
}

impl From<&figures::MemoryEntry> for Entry {
    fn from(entry: &figures::MemoryEntry) -> Entry {
        let figures::MemoryEntry { limit, usage, max, failcnt, .. } = *entry;
        Entry { limit, usage, max, failcnt }
    }
}

impl From<&figures::Memory> for Memory {
    fn from(memory: &figures::Memory) -> Memory {
        // The names in memory.stat.
        let raw = |name: &str| memory.raw.get(name).copied().unwrap_or_default();
        Memory {
            cache: raw("cache"),
            rss: raw("rss"),
            rss_huge: raw("rss_huge"),
            mapped_file: raw("mapped_file"),
            dirty: raw("dirty"),
            writeback: raw("writeback"),
            pg_pg_in: raw("pgpgin"),
            pg_pg_out: raw("pgpgout"),
            pg_fault: raw("pgfault"),
            pg_maj_fault: raw("pgmajfault"),
            inactive_anon: raw("inactive_anon"),
            active_anon: raw("active_anon"),
            inactive_file: raw("inactive_file"),
            active_file: raw("active_file"),
            unevictable: raw("unevictable"),
            hierarchical_memory_limit: raw("hierarchical_memory_limit"),
            hierarchical_swap_limit: raw("hierarchical_memsw_limit"),
            total_cache: raw("total_cache"),
            total_rss: raw("total_rss"),
            total_rss_huge: raw("total_rss_huge"),
            total_mapped_file: raw("total_mapped_file"),
            total_dirty: raw("total_dirty"),
            total_writeback: raw("total_writeback"),
            total_pg_pg_in: raw("total_pgpgin"),
            total_pg_pg_out: raw("total_pgpgout"),
            total_pg_fault: raw("total_pgfault"),
            total_pg_maj_fault: raw("total_pgmajfault"),
            total_inactive_anon: raw("total_inactive_anon"),
            total_active_anon: raw("total_active_anon"),
            total_inactive_file: raw("total_inactive_file"),
            total_active_file: raw("total_active_file"),
            total_unevictable: raw("total_unevictable"),
            usage: Some((&memory.usage).into()),
            swap: Some((&memory.swap).into()),
            kernel: Some((&memory.kernel).into()),
            kernel_tcp: Some((&memory.kernel_tcp).into()),
        }
    }
}

impl From<&figures::Blkio> for Blkio {
    fn from(blkio: &figures::Blkio) -> Blkio {
        let entry = |entry: &figures::BlkioEntry| BlkioEntry {
            op: entry.op.clone(),
            device: String::new(),
            major: entry.major,
            minor: entry.minor,
            value: entry.value,
        };
        let list = |list: &[figures::BlkioEntry]| list.iter().map(entry).collect();
        Blkio {
            io_service_bytes_recursive: list(&blkio.io_service_bytes_recursive),
            io_serviced_recursive: list(&blkio.io_serviced_recursive),
            io_queued_recursive: list(&blkio.io_queued_recursive),
            io_service_time_recursive: list(&blkio.io_service_time_recursive),
            io_wait_time_recursive: list(&blkio.io_wait_time_recursive),
            io_merged_recursive: list(&blkio.io_merged_recursive),
            io_time_recursive: list(&blkio.io_time_recursive),
            sectors_recursive: list(&blkio.sectors_recursive),
        }
    }
}
