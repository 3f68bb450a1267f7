//! The arguments of the commands about what a container uses and may use.

use std::path::PathBuf;

use clap::{ArgGroup, Args};

/// Arguments of `events`.
#[derive(Debug, Clone, Args)]
pub struct EventsArgs {
    /// The container.
    #[arg(value_name = "ID")]
    pub id: String,

    /// Time between two reports, such as 100ms, 5s or 1m30s.
    #[arg(long, value_name = "TIME", default_value = "5s", allow_hyphen_values = true)]
    pub interval: String,

    /// Print one report and end.
    #[arg(long)]
    pub stats: bool,
}

/// Arguments of `update`.
#[derive(Debug, Clone, Args)]
#[command(group = ArgGroup::new("limits").multiple(true).conflicts_with("resources"))]
pub struct UpdateArgs {
    /// The container.
    #[arg(value_name = "ID")]
    pub id: String,

    /// File with a linux.resources object; - is standard input. What it leaves out stays.
    #[arg(short, long, value_name = "FILE")]
    pub resources: Option<PathBuf>,

    /// Share of block I/O, 10 to 1000.
    #[arg(long, value_name = "N", group = "limits", allow_negative_numbers = true)]
    pub blkio_weight: Option<String>,

    /// Length of a period of the CPU quota.
    #[arg(long, value_name = "MICROSECONDS", group = "limits", allow_negative_numbers = true)]
    pub cpu_period: Option<String>,

    /// CPU time in each period; -1 is no limit.
    #[arg(long, value_name = "MICROSECONDS", group = "limits", allow_negative_numbers = true)]
    pub cpu_quota: Option<String>,

    /// CPU time that may be saved up for later periods.
    #[arg(long, value_name = "MICROSECONDS", group = "limits", allow_negative_numbers = true)]
    pub cpu_burst: Option<String>,

    /// Length of a period for real-time processes.
    #[arg(long, value_name = "MICROSECONDS", group = "limits", allow_negative_numbers = true)]
    pub cpu_rt_period: Option<String>,

    /// CPU time of real-time processes in each period.
    #[arg(long, value_name = "MICROSECONDS", group = "limits", allow_negative_numbers = true)]
    pub cpu_rt_runtime: Option<String>,

    /// Share of CPU time, 2 to 262144.
    #[arg(long, value_name = "N", group = "limits", allow_negative_numbers = true)]
    pub cpu_share: Option<String>,

    /// Run only when nobody else wants the CPU.
    #[arg(long, value_name = "0|1", group = "limits", allow_negative_numbers = true)]
    pub cpu_idle: Option<String>,

    /// CPUs to run on, such as 0-3,7.
    #[arg(long, value_name = "LIST", group = "limits", allow_negative_numbers = true)]
    pub cpuset_cpus: Option<String>,

    /// Memory nodes to use.
    #[arg(long, value_name = "LIST", group = "limits", allow_negative_numbers = true)]
    pub cpuset_mems: Option<String>,

    /// Ignored: the kernel has no such limit any more.
    #[arg(
        long,
        value_name = "BYTES",
        group = "limits",
        allow_negative_numbers = true,
        hide = true
    )]
    pub kernel_memory: Option<String>,

    /// Memory of TCP buffers; cgroup v1 only.
    #[arg(
        long,
        value_name = "BYTES",
        group = "limits",
        allow_negative_numbers = true,
        hide = true
    )]
    pub kernel_memory_tcp: Option<String>,

    /// Memory, such as 512M; -1 is no limit.
    #[arg(long, value_name = "BYTES", group = "limits", allow_negative_numbers = true)]
    pub memory: Option<String>,

    /// Memory that is left alone while there is any elsewhere.
    #[arg(long, value_name = "BYTES", group = "limits", allow_negative_numbers = true)]
    pub memory_reservation: Option<String>,

    /// Memory and swap together; -1 is no limit.
    #[arg(long, value_name = "BYTES", group = "limits", allow_negative_numbers = true)]
    pub memory_swap: Option<String>,

    /// Number of processes and threads; -1 is no limit.
    #[arg(long, value_name = "N", group = "limits", allow_negative_numbers = true)]
    pub pids_limit: Option<String>,

    /// Not supported by this version.
    #[arg(long, value_name = "TEXT", group = "limits", allow_negative_numbers = true)]
    pub l3_cache_schema: Option<String>,

    /// Not supported by this version.
    #[arg(long, value_name = "TEXT", group = "limits", allow_negative_numbers = true)]
    pub mem_bw_schema: Option<String>,
}
