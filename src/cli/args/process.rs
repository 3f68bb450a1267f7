//! Arguments of the commands for the processes of a container.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, ValueHint};

use super::ListFormat;

#[derive(Debug, Clone, Default, Args)]
#[command(
    override_usage = "bulkhead exec [OPTIONS] <ID> <COMMAND>...\n       \
                      bulkhead exec [OPTIONS] --process <FILE> <ID>",
    after_long_help = "\
Examples:
  bulkhead exec web ps -ef
  bulkhead exec --tty --env TERM=xterm web sh
  bulkhead exec --user 1000:1000 --cwd /srv web ls
  bulkhead exec --detach --pid-file job.pid --process process.json web

Options go before COMMAND; everything after it is passed to COMMAND.

Exit status: that of the process, or 128 plus the number of the signal that
killed it; 0 with --detach; 255 if no process was started; 1 for a wrong command
line."
)]
pub struct ExecArgs {
    /// Container ID.
    #[arg(value_name = "ID")]
    pub id: String,

    /// Program to run, and its arguments.
    #[arg(value_name = "COMMAND", trailing_var_arg = true, allow_hyphen_values = true)]
    pub command: Vec<String>,

    /// Give the process a terminal.
    #[arg(short, long)]
    pub tty: bool,

    /// Do not wait for the process to exit.
    #[arg(short, long)]
    pub detach: bool,

    /// Read the process from FILE.
    ///
    /// The file has the format of the process object in config.json.
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub process: Option<PathBuf>,

    /// Set an environment variable; can be repeated.
    #[arg(short, long, value_name = "NAME=VALUE", help_heading = PROCESS)]
    pub env: Vec<String>,

    /// Numeric user and group IDs.
    #[arg(short, long, value_name = "UID[:GID]", help_heading = PROCESS)]
    pub user: Option<String>,

    /// Working directory in the container.
    #[arg(long, value_name = "DIR", value_hint = ValueHint::Other, help_heading = PROCESS)]
    pub cwd: Option<PathBuf>,

    /// Add a supplementary group; can be repeated.
    #[arg(short = 'g', long, value_name = "GID", help_heading = PROCESS)]
    pub additional_gids: Vec<u32>,

    /// Add a capability; can be repeated.
    ///
    /// NAME is, for example, CAP_NET_RAW.
    #[arg(short, long, value_name = "NAME", help_heading = PROCESS)]
    pub cap: Vec<String>,

    /// Gain no privileges with execve.
    ///
    /// Set-user-ID programs and file capabilities then have no effect.
    #[arg(long, help_heading = PROCESS)]
    pub no_new_privs: bool,

    /// AppArmor profile.
    #[arg(long, value_name = "PROFILE", help_heading = PROCESS)]
    pub apparmor: Option<String>,

    /// SELinux label.
    #[arg(long, value_name = "LABEL", help_heading = PROCESS)]
    pub process_label: Option<String>,

    /// Cgroup below the container's to run in.
    ///
    /// The cgroup must exist. With cgroup v1, the option can be repeated, and CTRL is a list of
    /// controllers with commas in between.
    #[arg(long, value_name = "[CTRL:]PATH", help_heading = PROCESS)]
    pub cgroup: Vec<String>,

    /// Run in a paused container, too.
    ///
    /// The command then waits until the container is resumed.
    #[arg(long, help_heading = PROCESS)]
    pub ignore_paused: bool,

    /// Write the process ID to FILE.
    ///
    /// The file is written only once the process runs.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = OUTSIDE)]
    pub pid_file: Option<PathBuf>,

    /// Send the terminal's master to a Unix socket.
    #[arg(long, value_name = "PATH", value_hint = ValueHint::FilePath, help_heading = OUTSIDE)]
    pub console_socket: Option<PathBuf>,

    /// Send a pidfd of the process to a Unix socket.
    #[arg(long, value_name = "PATH", value_hint = ValueHint::FilePath, help_heading = OUTSIDE)]
    pub pidfd_socket: Option<PathBuf>,

    /// Pass N more descriptors [default: 0].
    ///
    /// These are the descriptors from 3 up. They keep their numbers in the process.
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true, help_heading = OUTSIDE)]
    pub preserve_fds: u32,
}

/// Heading of the options that describe the process of `exec`.
const PROCESS: &str = "Process options";

/// Heading of the options that connect the process of `exec` with the host.
const OUTSIDE: &str = "Files and descriptors";

#[derive(Debug, Clone, Args)]
#[command(
    override_usage = "bulkhead ps [OPTIONS] <ID> [PS-OPTION]...",
    after_long_help = "\
Examples:
  bulkhead ps web
  bulkhead ps web -o pid,stat,time,args
  bulkhead ps --format json web"
)]
pub struct PsArgs {
    /// Output format: table, or json for IDs alone.
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    #[arg(hide_possible_values = true)]
    pub format: ListFormat,

    /// Container ID, then options of ps [default: -ef].
    // A single list: everything after the ID belongs to ps, even if it looks like an option.
    #[arg(value_names = ["ID", "PS-OPTION"], required = true, num_args = 1..)]
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub words: Vec<OsString>,
}
