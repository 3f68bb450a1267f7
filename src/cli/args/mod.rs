//! The command line: options and their help, no logic.

mod lifecycle;
mod process;
mod resources;
mod words;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};

pub use lifecycle::{CreateArgs, DeleteArgs, KillArgs, ListArgs, RunArgs, SpecArgs};
pub use process::{ExecArgs, PsArgs};
pub use resources::{EventsArgs, UpdateArgs};
pub use words::normal;

/// Heading of the options that all commands have.
const GLOBAL: &str = "Global options";

/// A low-level OCI container runtime: makes a contained process from a bundle.
///
/// A bundle is a directory with a root file system and a config.json, which says what to run and how
/// to contain it. ID is the name that a container gets when it is created.
#[derive(Debug, Parser)]
#[command(
    name = "bulkhead",
    disable_version_flag = true,
    max_term_width = 80,
    after_help = "'bulkhead help COMMAND' tells more about a command.",
    after_long_help = EXAMPLES
)]
pub struct Cli {
    /// Options for all commands.
    #[command(flatten)]
    pub global: Global,

    /// Print the version, and those of what it builds on.
    #[arg(short = 'v', long)]
    pub version: bool,

    /// What to do.
    #[command(subcommand)]
    pub command: Option<Command>,
}

const EXAMPLES: &str = "\
Examples:
  bulkhead spec                   write an example config.json
  bulkhead run web                run the bundle in the current directory
  bulkhead exec -t web sh         a shell beside the process of web
  bulkhead kill web TERM          ask it to end
  bulkhead delete web             remove it once it has

Exit status: 0, 1 after an error, or 3 for a command that does not exist. The
error is one line on standard error.
run and exec exit with the status of the process, or 128 and the number of the
signal that ended it; exec with 255 if it could not start one.

'bulkhead help COMMAND' tells more about a command.";

/// Options for all commands; all but `--rootless` also after the command's name.
#[derive(Debug, Clone, Args)]
pub struct Global {
    /// State directory [default: /run/bulkhead].
    ///
    /// Without root privileges the default is $XDG_RUNTIME_DIR/bulkhead.
    #[arg(long, global = true, value_name = "DIR", value_hint = ValueHint::DirPath)]
    #[arg(help_heading = GLOBAL)]
    pub root: Option<PathBuf>,

    /// Append messages to it [default: standard error].
    ///
    /// An error is told on standard error as well.
    #[arg(long, global = true, value_name = "FILE", help_heading = GLOBAL)]
    pub log: Option<PathBuf>,

    /// Form of messages: text or json.
    #[arg(long, global = true, value_name = "FORMAT", default_value = "text")]
    #[arg(hide_possible_values = true, help_heading = GLOBAL)]
    pub log_format: LogFormat,

    /// Level: error, warning or debug.
    ///
    /// Messages that matter less are left out.
    #[arg(long, global = true, value_name = "LEVEL", default_value = "warning")]
    #[arg(hide_possible_values = true, help_heading = GLOBAL)]
    pub log_level: LogLevel,

    /// Write all messages, as --log-level debug.
    #[arg(long, global = true, help_heading = GLOBAL)]
    pub debug: bool,

    /// Let systemd make the cgroup.
    ///
    /// linux.cgroupsPath is then slice:prefix:name. Only create and run need it: other commands
    /// know who made the cgroup.
    #[arg(long, global = true, help_heading = GLOBAL)]
    pub systemd_cgroup: bool,

    /// Who makes the cgroup: cgroupfs, systemd or disabled.
    ///
    /// As of crun, and in place of --systemd-cgroup. disabled makes no cgroup: limits are refused
    /// then, and device rules are not enforced.
    #[arg(long, global = true, value_name = "MANAGER", hide_short_help = true)]
    #[arg(hide_possible_values = true, help_heading = GLOBAL)]
    pub cgroup_manager: Option<CgroupManager>,

    /// Do without a cgroup if need be [default: auto].
    ///
    /// true does without cgroups that may not be used, false takes that for an error, and auto is
    /// true for every user but root. Goes before the command, because the command spec has
    /// an option of the same name.
    #[arg(long, value_name = "WHEN", default_value = "auto")]
    #[arg(hide_possible_values = true, hide_default_value = true, help_heading = GLOBAL)]
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

/// Values of `--cgroup-manager`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CgroupManager {
    /// The runtime itself, in the cgroup file system.
    Cgroupfs,
    /// systemd, as with `--systemd-cgroup`.
    Systemd,
    /// Nobody: the container stays in the cgroup of its caller.
    Disabled,
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
    /// Make a container from a bundle; its process waits for start.
    ///
    /// Everything of the container is there afterwards but the program that it is to run: that one is
    /// executed by the command start.
    Create(CreateArgs),
    /// Let the process of a created container run.
    Start(IdArgs),
    /// Create and start a container, and wait for its end.
    ///
    /// Exits with the status of the container's process, or with 128 and the number of the signal
    /// that ended it. The container is deleted then, unless --keep or --detach is given.
    Run(RunArgs),
    /// Run another process in a container.
    ///
    /// The process has the user, environment, limits and seccomp filter of the container's own
    /// process, unless an option or the file of --process says otherwise. Exits with its status, with
    /// 128 and the number of the signal that ended it, or with 255 if it could not be started.
    Exec(Box<ExecArgs>),
    /// Print the state of a container, as JSON.
    State(IdArgs),
    /// List the containers.
    List(ListArgs),
    /// List the processes of a container.
    Ps(PsArgs),
    /// Send a signal to the process of a container.
    Kill(KillArgs),
    /// Suspend all processes of a container.
    Pause(IdArgs),
    /// Let the processes of a paused container go on.
    Resume(IdArgs),
    /// Change the limits of a container.
    ///
    /// Sets all the limits that are given or, after an error, none of them. Limits that are not given
    /// stay as they are.
    Update(Box<UpdateArgs>),
    /// Print what a container uses, as lines of JSON.
    ///
    /// Prints a line of the type "stats" at every interval, and one of the type "oom" each time
    /// the container runs out of memory, until the container ends.
    Events(EventsArgs),
    /// Remove a stopped container and all that it holds.
    Delete(DeleteArgs),
    /// Write an example config.json.
    ///
    /// It starts an interactive shell in the root file system "rootfs". A file that is there is never
    /// written over.
    Spec(SpecArgs),
    /// Print what this runtime supports, as JSON.
    ///
    /// The form is that of the OCI runtime specification's features document.
    Features,
}

/// Arguments of commands that take a container and nothing else.
#[derive(Debug, Clone, Args)]
pub struct IdArgs {
    /// Container.
    #[arg(value_name = "ID")]
    pub id: String,
}
