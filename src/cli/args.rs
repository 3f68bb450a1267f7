//! The command line: options and their help, no logic.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{ArgGroup, Args, Parser, Subcommand, ValueEnum};

/// A low-level OCI container runtime: makes a contained process from a bundle.
#[derive(Debug, Parser)]
#[command(
    name = "bulkhead",
    disable_version_flag = true,
    disable_help_subcommand = false,
    after_help = "A bundle is a directory with a config.json and a root file system. \
                  To run one: bulkhead run --bundle DIR ID"
)]
pub struct Cli {
    /// Options for all commands.
    #[command(flatten)]
    pub global: Global,

    /// Print the version, and those of the specification and of libseccomp.
    #[arg(short = 'v', long)]
    pub version: bool,

    /// What to do.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// Options for all commands; all but `--rootless` also after the command's name.
#[derive(Debug, Clone, Args)]
pub struct Global {
    /// Directory of container state [default: /run/bulkhead, or $XDG_RUNTIME_DIR/bulkhead without
    /// root privileges].
    #[arg(long, global = true, value_name = "DIR", help_heading = "Global options")]
    pub root: Option<PathBuf>,

    /// File to append the log to [default: standard error].
    #[arg(long, global = true, value_name = "FILE", help_heading = "Global options")]
    pub log: Option<PathBuf>,

    /// Form of the log's lines: text or json.
    #[arg(
        long,
        global = true,
        value_name = "FORMAT",
        default_value = "text",
        hide_possible_values = true,
        help_heading = "Global options"
    )]
    pub log_format: LogFormat,

    /// Log everything; the same as --log-level debug.
    #[arg(long, global = true, help_heading = "Global options")]
    pub debug: bool,

    /// Least level to log: error, warning or debug.
    #[arg(
        long,
        global = true,
        value_name = "LEVEL",
        default_value = "warning",
        hide_possible_values = true,
        help_heading = "Global options"
    )]
    pub log_level: LogLevel,

    /// Let systemd make the cgroup; cgroupsPath is then slice:prefix:name.
    #[arg(long, global = true, help_heading = "Global options")]
    pub systemd_cgroup: bool,

    /// Ignore a cgroup that may not be used: true, false, or auto (if not root). Only before the
    /// command, because `spec` has an option of the same name.
    #[arg(
        long,
        value_name = "WHETHER",
        default_value = "auto",
        hide_possible_values = true,
        help_heading = "Global options"
    )]
    pub rootless: Rootless,
}

/// Values of `--log-format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Values of `--log-level`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogLevel {
    /// Failures only.
    Error,
    /// Failures and warnings.
    #[value(alias = "warn")]
    Warning,
    /// Everything.
    Debug,
}

/// Values of `--rootless`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Rootless {
    /// Ignore missing rights over cgroups.
    True,
    /// A cgroup that may not be used is an error.
    False,
    /// Decide by the user.
    Auto,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Create a container; its process waits for start.
    Create(CreateArgs),
    /// Start the process of a created container.
    Start(IdArgs),
    /// Create and start a container, and wait for its process.
    Run(RunArgs),
    /// Run another process in a container.
    Exec(Box<ExecArgs>),
    /// Print the state of a container as JSON.
    State(IdArgs),
    /// Send a signal to a container's process.
    Kill(KillArgs),
    /// Remove a stopped container and all that it holds.
    Delete(DeleteArgs),
    /// List the containers.
    List(ListArgs),
    /// Write an example config.json.
    Spec(SpecArgs),
    /// Print what this runtime supports as JSON.
    Features,
    /// List the processes of a container.
    Ps(PsArgs),
    /// Stop all processes of a container for a while.
    Pause(IdArgs),
    /// Let the processes of a paused container go on.
    Resume(IdArgs),
    /// Print what a container uses, and when it runs out of memory.
    Events(EventsArgs),
    /// Change the limits of a container.
    Update(Box<UpdateArgs>),
}

/// Arguments of commands that take a container and nothing else.
#[derive(Debug, Clone, Args)]
pub struct IdArgs {
    /// The container.
    #[arg(value_name = "ID")]
    pub id: String,
}

/// Arguments of `create`, and most of those of `run`.
#[derive(Debug, Clone, Args)]
pub struct CreateArgs {
    /// The new container's name: letters, digits and _ + - . only.
    #[arg(value_name = "ID")]
    pub id: String,

    /// Directory of the bundle [default: the current directory].
    #[arg(short, long, value_name = "DIR")]
    pub bundle: Option<PathBuf>,

    /// Configuration to use in place of the bundle's config.json.
    #[arg(short = 'f', long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Unix socket to which the terminal's master descriptor is sent.
    #[arg(long, value_name = "SOCKET")]
    pub console_socket: Option<PathBuf>,

    /// Unix socket to which a pidfd of the container's process is sent.
    #[arg(long, value_name = "SOCKET")]
    pub pidfd_socket: Option<PathBuf>,

    /// File to write the process id to.
    #[arg(long, value_name = "FILE")]
    pub pid_file: Option<PathBuf>,

    /// Use chroot in place of pivot_root, for a root file system on a ramdisk.
    #[arg(long)]
    pub no_pivot: bool,

    /// Keep the caller's session keyring.
    #[arg(long)]
    pub no_new_keyring: bool,

    /// Number of descriptors, from 3 on, to hand to the process.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub preserve_fds: u32,
}

/// Arguments of `run`.
#[derive(Debug, Clone, Args)]
pub struct RunArgs {
    /// Those of `create`.
    #[command(flatten)]
    pub create: CreateArgs,

    /// Do not wait for the process.
    #[arg(short, long)]
    pub detach: bool,

    /// Keep the container after its process has ended.
    #[arg(long)]
    pub keep: bool,

    /// Do not adopt the orphans of the container.
    #[arg(long)]
    pub no_subreaper: bool,
}

/// Arguments of `kill`.
#[derive(Debug, Clone, Args)]
pub struct KillArgs {
    /// The container.
    #[arg(value_name = "ID")]
    pub id: String,

    /// Number or name: 9, KILL, SIGKILL, RTMIN+3.
    #[arg(value_name = "SIGNAL", default_value = "TERM")]
    pub signal: String,

    /// Signal every process of the container's cgroup.
    #[arg(short, long)]
    pub all: bool,
}

/// Arguments of `delete`.
#[derive(Debug, Clone, Args)]
pub struct DeleteArgs {
    /// The container.
    #[arg(value_name = "ID")]
    pub id: String,

    /// Kill the container first if it still runs; no error if it does not exist.
    #[arg(short, long)]
    pub force: bool,
}

/// Arguments of `list`.
#[derive(Debug, Clone, Args)]
pub struct ListArgs {
    /// Form of the output: table or json.
    #[arg(
        short,
        long,
        value_name = "FORMAT",
        default_value = "table",
        hide_possible_values = true
    )]
    pub format: ListFormat,

    /// Print ids only.
    #[arg(short, long)]
    pub quiet: bool,
}

/// Values of `list --format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ListFormat {
    /// Aligned columns.
    Table,
    /// An array of state objects.
    Json,
}

/// Arguments of `spec`.
#[derive(Debug, Clone, Args)]
pub struct SpecArgs {
    /// Directory to write config.json into [default: the current directory].
    #[arg(short, long, value_name = "DIR")]
    pub bundle: Option<PathBuf>,

    /// For a container without root privileges.
    #[arg(long)]
    pub rootless: bool,
}

/// Arguments of `exec`.
#[derive(Debug, Clone, Args)]
pub struct ExecArgs {
    /// The container.
    #[arg(value_name = "ID")]
    pub id: String,

    /// The command to run in it, and its arguments.
    #[arg(value_name = "COMMAND", trailing_var_arg = true, allow_hyphen_values = true)]
    pub command: Vec<String>,

    /// File with the process to run, as in config.json, in place of a command.
    #[arg(short, long, value_name = "FILE")]
    pub process: Option<PathBuf>,

    /// Do not wait for the process.
    #[arg(short, long)]
    pub detach: bool,

    /// Give the process a terminal.
    #[arg(short, long)]
    pub tty: bool,

    /// Unix socket to which the terminal's master descriptor is sent.
    #[arg(long, value_name = "SOCKET")]
    pub console_socket: Option<PathBuf>,

    /// Unix socket to which a pidfd of the process is sent.
    #[arg(long, value_name = "SOCKET")]
    pub pidfd_socket: Option<PathBuf>,

    /// File to write the process id to, once the process runs.
    #[arg(long, value_name = "FILE")]
    pub pid_file: Option<PathBuf>,

    /// Working directory in the container.
    #[arg(long, value_name = "DIR")]
    pub cwd: Option<PathBuf>,

    /// Set a variable of the environment; can be repeated.
    #[arg(short, long, value_name = "NAME=VALUE")]
    pub env: Vec<String>,

    /// User to run as, and group: numbers [default: those of the container's process].
    #[arg(short, long, value_name = "UID[:GID]")]
    pub user: Option<String>,

    /// Add a supplementary group; can be repeated.
    #[arg(short = 'g', long, value_name = "GID")]
    pub additional_gids: Vec<u32>,

    /// Add a capability; can be repeated.
    #[arg(short, long, value_name = "NAME")]
    pub cap: Vec<String>,

    /// Keep the process from gaining privileges by execve.
    #[arg(long)]
    pub no_new_privs: bool,

    /// AppArmor profile of the process.
    #[arg(long, value_name = "PROFILE")]
    pub apparmor: Option<String>,

    /// SELinux label of the process.
    #[arg(long, value_name = "LABEL")]
    pub process_label: Option<String>,

    /// Number of descriptors, from 3 on, to hand to the process.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub preserve_fds: u32,

    /// Existing cgroup below the container's to run in; with v1 one for each controller.
    #[arg(long, value_name = "[CONTROLLER,…:]PATH")]
    pub cgroup: Vec<String>,

    /// Take a paused container for no error; the process waits until it is resumed.
    #[arg(long)]
    pub ignore_paused: bool,
}

/// Arguments of `ps`.
#[derive(Debug, Clone, Args)]
pub struct PsArgs {
    /// Form of the output: table or json (an array of process ids).
    #[arg(
        short,
        long,
        value_name = "FORMAT",
        default_value = "table",
        hide_possible_values = true
    )]
    pub format: ListFormat,

    /// The container, and options for ps(1) after it [default: -ef].
    // One list: what stands behind the id is not ours, whatever it looks like.
    #[arg(value_names = ["ID", "PS-OPTION"], required = true, num_args = 1..)]
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub words: Vec<OsString>,
}

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
