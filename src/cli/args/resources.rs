//! Arguments of the commands for the resources of a container.

use std::path::PathBuf;

use clap::{Args, ValueHint};

#[derive(Debug, Clone, Args)]
#[command(after_long_help = "\
Examples:
  bulkhead events --stats web | jq .data.memory.usage
  bulkhead events --interval 1s web")]
pub struct EventsArgs {
    /// Container ID.
    #[arg(value_name = "ID")]
    pub id: String,

    /// Time between lines: 100ms, 5s, 1m30s.
    #[arg(long, value_name = "TIME", default_value = "5s", allow_hyphen_values = true)]
    pub interval: String,

    /// Print one line of statistics and exit.
    #[arg(long)]
    pub stats: bool,
}

const CPU: &str = "CPU";
const MEMORY: &str = "Memory";
const OTHER: &str = "Other limits";

/// Arguments of `update`. The values are strings, because an empty value means unset.
#[derive(Debug, Clone, Args)]
#[command(allow_negative_numbers = true)]
#[command(after_long_help = "\
Examples:
  bulkhead update --memory 512M --memory-swap 1G web
  bulkhead update --cpu-period 100000 --cpu-quota 50000 web    half a CPU
  bulkhead update --pids-limit -1 web
  echo '{\"memory\": {\"limit\": 268435456}}' | bulkhead update -r - web

BYTES is a number with or without a unit: 268435456, 256M, 1.5GiB. All units
are powers of 1024. USEC is a number of microseconds.")]
pub struct UpdateArgs {
    /// Container ID.
    #[arg(value_name = "ID")]
    pub id: String,

    /// Read limits from FILE; - is standard input.
    ///
    /// The file has the format of the linux.resources object in config.json. Limits that it does not
    /// set stay as they are. Cannot be combined with the options below.
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub resources: Option<PathBuf>,

    /// Memory; -1 for no limit.
    #[arg(long, value_name = "BYTES", help_heading = MEMORY)]
    pub memory: Option<String>,

    /// Memory plus swap; -1 for no limit.
    #[arg(long, value_name = "BYTES", help_heading = MEMORY)]
    pub memory_swap: Option<String>,

    /// Memory protected when memory is short.
    #[arg(long, value_name = "BYTES", help_heading = MEMORY)]
    pub memory_reservation: Option<String>,

    /// Ignored: the kernel no longer has this limit.
    #[arg(long, value_name = "BYTES", hide = true)]
    pub kernel_memory: Option<String>,

    /// Memory of TCP buffers; cgroup v1 only.
    #[arg(long, value_name = "BYTES", hide = true)]
    pub kernel_memory_tcp: Option<String>,

    /// Relative share of CPU time, 2 to 262144.
    #[arg(long, value_name = "N", help_heading = CPU)]
    pub cpu_share: Option<String>,

    /// CPU time in each period; -1 for no limit.
    #[arg(long, value_name = "USEC", help_heading = CPU)]
    pub cpu_quota: Option<String>,

    /// Length of the period of --cpu-quota.
    #[arg(long, value_name = "USEC", help_heading = CPU)]
    pub cpu_period: Option<String>,

    /// CPU time that can be saved for later periods.
    #[arg(long, value_name = "USEC", help_heading = CPU)]
    pub cpu_burst: Option<String>,

    /// Real-time CPU time in each period.
    #[arg(long, value_name = "USEC", help_heading = CPU)]
    pub cpu_rt_runtime: Option<String>,

    /// Length of the period of --cpu-rt-runtime.
    #[arg(long, value_name = "USEC", help_heading = CPU)]
    pub cpu_rt_period: Option<String>,

    /// 1 to run only on idle CPUs.
    #[arg(long, value_name = "0|1", help_heading = CPU)]
    pub cpu_idle: Option<String>,

    /// CPUs to use, such as 0-3,7.
    #[arg(long, value_name = "LIST", help_heading = CPU)]
    pub cpuset_cpus: Option<String>,

    /// Memory nodes to use, such as 0-1.
    #[arg(long, value_name = "LIST", help_heading = CPU)]
    pub cpuset_mems: Option<String>,

    /// Number of processes and threads; -1 for no limit.
    #[arg(long, value_name = "N", help_heading = OTHER)]
    pub pids_limit: Option<String>,

    /// Relative share of I/O time, 10 to 1000.
    #[arg(long, value_name = "N", help_heading = OTHER)]
    pub blkio_weight: Option<String>,

    /// Parts of L3 caches, such as L3:0=7f0;1=1f.
    #[arg(long, value_name = "LIST", help_heading = OTHER)]
    pub l3_cache_schema: Option<String>,

    /// Memory bandwidth, such as MB:0=20;1=70.
    #[arg(long, value_name = "LIST", help_heading = OTHER)]
    pub mem_bw_schema: Option<String>,
}
