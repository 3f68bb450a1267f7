//! The definition of the command line: options and their help.

mod audit;
mod criu;
mod hot;
mod lifecycle;
mod process;
mod record;
mod resources;
mod words;

use std::path::PathBuf;

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum, ValueHint};

pub use audit::{AuditArgs, AuditFormat, FailOn};
pub use criu::{CgroupMode, CheckpointArgs, CriuArgs, NetworkLock, RestoreArgs};
pub use hot::parse as parse_hot;
pub use lifecycle::{CreateArgs, DeleteArgs, InfoArgs, KillArgs, ListArgs, RunArgs, SpecArgs};
pub use process::{ExecArgs, PsArgs};
pub use record::RecordArgs;
pub use resources::{EventsArgs, UpdateArgs};
pub use words::normal;

/// Heading of the options that all commands have.
const GLOBAL: &str = "Global options";

/// A low-level OCI container runtime: runs containers from bundles.
///
/// A bundle is a directory with a root file system and a config.json file, which describes the
/// program to run and its isolation. The ID of a container is chosen when it is created.
#[derive(Debug, Parser)]
#[command(
    name = "bulkhead",
    disable_version_flag = true,
    max_term_width = 80,
    after_help = "'bulkhead help COMMAND' prints more about a command.",
    after_long_help = EXAMPLES
)]
pub struct Cli {
    /// Options for all commands.
    #[command(flatten)]
    pub(super) global: Global,

    /// Print version information.
    #[arg(short = 'v', long)]
    pub(super) version: bool,

    /// The command.
    #[command(subcommand)]
    pub(super) command: Option<Command>,
}

/// What the command `help` does; the parser has it built in.
pub const HELP: &str = "Print the help of the program or of a command";

/// Returns the definition for the parser. In it, the help of a command names the global options on a line
/// in place of a list; the man pages, made from the plain definition, have them all.
pub fn definition() -> clap::Command {
    let mut root = Cli::command();
    // Hands the global options to the commands, where they are hidden then.
    root.build();
    let names: Vec<String> =
        root.get_subcommands().map(|command| command.get_name().to_owned()).collect();
    names.into_iter().fold(root, |root, name| {
        root.mut_subcommand(&name, |command| match name.as_str() {
            "help" => command.about(HELP),
            _ => brief(command),
        })
    })
}

/// Replaces the list of global options in the help of a command by a line.
fn brief(command: clap::Command) -> clap::Command {
    let is_global = |arg: &clap::Arg| arg.get_help_heading() == Some(GLOBAL);
    let global = command.get_arguments().filter(|arg| is_global(arg));
    let options: Vec<String> =
        global.filter_map(|arg| arg.get_long()).map(|long| format!("--{long}")).collect();
    let line = format!("Global options (see 'bulkhead help'): {}.", options.join(", "));
    let long = match command.get_after_long_help() {
        Some(text) => format!("{text}\n\n{line}"),
        None => line.clone(),
    };
    let hidden = |arg: clap::Arg| if is_global(&arg) { arg.hide(true) } else { arg };
    command.mut_args(hidden).after_help(line).after_long_help(long)
}

const EXAMPLES: &str = "\
Examples:
  bulkhead spec                   write an example config.json
  bulkhead run web                run the bundle in the current directory
  bulkhead exec -t web sh         start a shell in the container web
  bulkhead kill web TERM          ask its process to exit
  bulkhead delete web             delete it after that

Exit status: 0 for success, 1 for an error, 3 for an unknown command. An error
is one line on standard error.
Without --detach, run, exec, record and restore exit with the status of the
process, or with 128 plus the number of the signal that killed it. exec exits
with 255 if no process was started, audit with 2 for findings.

'bulkhead help COMMAND' prints more about a command.";

/// Options for all commands. All but `--rootless` are also accepted after the command.
#[derive(Debug, Clone, Default, Args)]
pub struct Global {
    /// State directory [default: /run/bulkhead].
    ///
    /// Without root privileges the default is $XDG_RUNTIME_DIR/bulkhead.
    #[arg(long, global = true, value_name = "DIR", value_hint = ValueHint::DirPath)]
    #[arg(help_heading = GLOBAL)]
    pub root: Option<PathBuf>,

    /// Append messages to FILE [default: stderr].
    ///
    /// Errors are written to standard error as well.
    #[arg(long, global = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    #[arg(help_heading = GLOBAL)]
    pub log: Option<PathBuf>,

    /// Message format: text or json.
    #[arg(long, global = true, value_name = "FORMAT", default_value = "text")]
    #[arg(hide_possible_values = true, help_heading = GLOBAL)]
    pub log_format: LogFormat,

    /// Log level: error, warning or debug.
    ///
    /// Messages of lower levels are not written.
    #[arg(long, global = true, value_name = "LEVEL", default_value = "warning")]
    #[arg(hide_possible_values = true, help_heading = GLOBAL)]
    pub log_level: LogLevel,

    /// Write all messages, like --log-level debug.
    #[arg(long, global = true, help_heading = GLOBAL)]
    pub debug: bool,

    /// Have systemd create the cgroup.
    ///
    /// linux.cgroupsPath is then slice:prefix:name. Only create and run use this option; other
    /// commands read the state of the container.
    #[arg(long, global = true, help_heading = GLOBAL)]
    pub systemd_cgroup: bool,

    /// Cgroup manager: cgroupfs, systemd or disabled.
    ///
    /// An option of crun that overrides --systemd-cgroup. With disabled, no cgroup is created:
    /// limits are an error, and device rules are not enforced.
    #[arg(long, global = true, value_name = "MANAGER", hide_short_help = true)]
    #[arg(hide_possible_values = true, help_heading = GLOBAL)]
    pub cgroup_manager: Option<CgroupManager>,

    /// Allow a missing cgroup [default: auto].
    ///
    /// WHEN is true, false or auto. With true, a container without limits runs without a cgroup if
    /// the caller may not create one; with false, that is an error. auto is true for every user but
    /// root. This option goes before the command, because the spec command has an option of the
    /// same name.
    #[arg(long, value_name = "WHEN", default_value = "auto")]
    #[arg(hide_possible_values = true, hide_default_value = true, help_heading = GLOBAL)]
    pub rootless: Rootless,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Lines for humans.
    #[default]
    Text,
    /// A JSON object per line.
    Json,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum LogLevel {
    /// Failures only.
    Error,
    /// Failures and warnings.
    #[value(alias = "warn")]
    #[default]
    Warning,
    /// Everything.
    Debug,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Rootless {
    /// A cgroup that may not be created is no error.
    True,
    /// A cgroup that may not be created is an error.
    False,
    /// The user decides: true for every user but root.
    #[default]
    Auto,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CgroupManager {
    /// The runtime itself, in the cgroup file system.
    Cgroupfs,
    /// systemd, as with `--systemd-cgroup`.
    Systemd,
    /// None: the container stays in the cgroup of its caller.
    Disabled,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ListFormat {
    /// Aligned columns.
    Table,
    /// An array of state objects.
    Json,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Create a container; its process waits for start.
    ///
    /// Afterwards the container is complete, except that its program does not run yet: the start
    /// command executes it.
    Create(CreateArgs),
    /// Start the program of a created container.
    Start(IdArgs),
    /// Create and start a container, and wait for it to exit.
    ///
    /// The container is deleted after the end of its process, unless --keep or --detach is given.
    Run(RunArgs),
    /// Run another process in a container.
    ///
    /// The process has the user, environment, limits and seccomp filter of the container's own
    /// process, unless an option or the --process file changes them.
    Exec(Box<ExecArgs>),
    /// Print the state of a container as JSON.
    State(IdArgs),
    /// List the containers.
    List(ListArgs),
    /// List the processes of a container.
    Ps(PsArgs),
    /// Send a signal to the process of a container.
    Kill(KillArgs),
    /// Delete a stopped container.
    Delete(DeleteArgs),
    /// Suspend all processes of a container.
    Pause(IdArgs),
    /// Resume the processes of a paused container.
    Resume(IdArgs),
    /// Change the limits of a container.
    ///
    /// Sets all given limits or, after an error, none of them. Other limits stay as they are.
    Update(Box<UpdateArgs>),
    /// Print resource statistics of a container as lines of JSON.
    ///
    /// Prints a line of type "stats" at every interval, and a line of type "oom" each time the
    /// container runs out of memory, until the container stops.
    Events(EventsArgs),
    /// Save a running container, to restore it later.
    ///
    /// The program criu(8) writes the images. The container is deleted afterwards, unless
    /// --leave-running or --pre-dump is given.
    Checkpoint(Box<CheckpointArgs>),
    /// Restore a container from the images of a checkpoint.
    ///
    /// The bundle must be that of the saved container, or a copy.
    Restore(Box<RestoreArgs>),
    /// List what a container gives away, the worst first.
    ///
    /// Audits a config.json or a running container. Each finding has a rule, a severity, a place, its
    /// meaning and the change that closes it.
    Audit(AuditArgs),
    /// Run a container and write a seccomp profile of what it did.
    ///
    /// Records the system calls of all processes of the container, and writes a profile that permits
    /// these alone.
    Record(Box<RecordArgs>),
    /// Write an example config.json.
    ///
    /// The file describes an interactive shell in the root file system "rootfs". An existing file is
    /// never overwritten.
    Spec(SpecArgs),
    /// Print the supported features as JSON.
    ///
    /// The format is the features structure of the OCI runtime specification.
    Features,
    /// Print what this host supports, and what is missing.
    ///
    /// Asks the kernel, and changes nothing. The cost of each missing feature is given.
    Info(InfoArgs),
}

#[derive(Debug, Clone, Args)]
pub struct IdArgs {
    /// Container ID.
    #[arg(value_name = "ID")]
    pub id: String,
}
