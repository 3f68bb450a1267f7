//! The arguments of the commands about the processes in a container.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, ValueHint};

use super::ListFormat;

/// Arguments of `exec`.
#[derive(Debug, Clone, Args)]
#[command(
    override_usage = "bulkhead exec [OPTIONS] <ID> <COMMAND>...\n       \
                      bulkhead exec [OPTIONS] --process <FILE> <ID>",
    after_long_help = "\
Examples:
  bulkhead exec web ps -ef
  bulkhead exec --tty --env TERM=xterm web sh
  bulkhead exec --user 1000:1000 --cwd /srv web ls
  bulkhead exec --detach --pid-file job.pid --process process.json web

Options go before COMMAND: all that follows it is its own."
)]
pub struct ExecArgs {
    /// Container.
    #[arg(value_name = "ID")]
    pub id: String,

    /// Program to run in it, and its arguments.
    #[arg(value_name = "COMMAND", trailing_var_arg = true, allow_hyphen_values = true)]
    pub command: Vec<String>,

    /// Take the process from this file.
    ///
    /// The file has the form of the object process in config.json.
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub process: Option<PathBuf>,

    /// Do not wait for the end of the process.
    #[arg(short, long)]
    pub detach: bool,

    /// Give the process a terminal.
    #[arg(short, long)]
    pub tty: bool,

    /// Working directory in the container.
    #[arg(long, value_name = "DIR", value_hint = ValueHint::Other, help_heading = PROCESS)]
    pub cwd: Option<PathBuf>,

    /// Set an environment variable; can be repeated.
    #[arg(short, long, value_name = "NAME=VALUE", help_heading = PROCESS)]
    pub env: Vec<String>,

    /// User to run as, and group, by number.
    #[arg(short, long, value_name = "UID[:GID]", help_heading = PROCESS)]
    pub user: Option<String>,

    /// Add a supplementary group; can be repeated.
    #[arg(short = 'g', long, value_name = "GID", help_heading = PROCESS)]
    pub additional_gids: Vec<u32>,

    /// Add a capability; can be repeated.
    ///
    /// By name, such as CAP_NET_RAW.
    #[arg(short, long, value_name = "NAME", help_heading = PROCESS)]
    pub cap: Vec<String>,

    /// Gain no privileges by execve.
    ///
    /// Set-user-ID programs and file capabilities have no effect then.
    #[arg(long, help_heading = PROCESS)]
    pub no_new_privs: bool,

    /// AppArmor profile.
    #[arg(long, value_name = "PROFILE", help_heading = PROCESS)]
    pub apparmor: Option<String>,

    /// SELinux label.
    #[arg(long, value_name = "LABEL", help_heading = PROCESS)]
    pub process_label: Option<String>,

    /// Cgroup to run in, below the container's.
    ///
    /// It has to exist. With cgroup v1 it can be repeated, and CTRL names the controllers that each is for, with
    /// commas between them.
    #[arg(long, value_name = "[CTRL:]PATH", help_heading = PROCESS)]
    pub cgroup: Vec<String>,

    /// Join a paused container too.
    ///
    /// The process then waits until the container is resumed.
    #[arg(long, help_heading = PROCESS)]
    pub ignore_paused: bool,

    /// Write the id of the process to this file.
    ///
    /// The file is written when the process runs, and only then.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = OUTSIDE)]
    pub pid_file: Option<PathBuf>,

    /// Send the terminal's master to this unix socket.
    #[arg(long, value_name = "PATH", value_hint = ValueHint::FilePath, help_heading = OUTSIDE)]
    pub console_socket: Option<PathBuf>,

    /// Send a pidfd of the process to this unix socket.
    #[arg(long, value_name = "PATH", value_hint = ValueHint::FilePath, help_heading = OUTSIDE)]
    pub pidfd_socket: Option<PathBuf>,

    /// Hand over N more descriptors [default: 0].
    ///
    /// They are those from 3 on, and have the same numbers in the process.
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true, help_heading = OUTSIDE)]
    pub preserve_fds: u32,
}

/// Heading of the options that say how the process of `exec` is.
const PROCESS: &str = "Process options";

/// Heading of the options that connect the process of `exec` with the host.
const OUTSIDE: &str = "Files and descriptors";

/// Arguments of `ps`.
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
    /// Form: table, or json for ids alone.
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    #[arg(hide_possible_values = true)]
    pub format: ListFormat,

    /// Container, then options for the host's ps [default: -ef].
    // One list: what stands behind the id is not ours, whatever it looks like.
    #[arg(value_names = ["ID", "PS-OPTION"], required = true, num_args = 1..)]
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub words: Vec<OsString>,
}
