//! The command line: options and their help, no logic.

mod lifecycle;
mod process;
mod resources;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub use lifecycle::{CreateArgs, DeleteArgs, KillArgs, ListArgs, RunArgs, SpecArgs};
pub use process::{ExecArgs, PsArgs};
pub use resources::{EventsArgs, UpdateArgs};

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

/// Values of `list --format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ListFormat {
    /// Aligned columns.
    Table,
    /// An array of state objects.
    Json,
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
