//! Arguments of the commands that create, signal, delete and list containers.

use std::path::PathBuf;

use clap::{Args, ValueHint};

use super::{ListFormat, LogFormat};

/// Arguments of `create`, and most of those of `run`.
#[derive(Debug, Clone, Default, Args)]
#[command(after_long_help = "\
Examples:
  bulkhead create web                the bundle in the current directory
  bulkhead create --bundle /srv/web --pid-file web.pid web
  bulkhead start web                 run its program")]
pub struct CreateArgs {
    /// ID for the container: letters, digits and _ + - . only.
    #[arg(value_name = "ID")]
    pub id: String,

    /// Bundle directory [default: current directory].
    #[arg(short, long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub bundle: Option<PathBuf>,

    /// Use FILE instead of the bundle's config.json.
    #[arg(short = 'f', long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub config: Option<PathBuf>,

    /// Write the process ID to FILE.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub pid_file: Option<PathBuf>,

    /// Send the terminal's master to a Unix socket.
    ///
    /// create and run --detach need it if the container has a terminal (process.terminal), which
    /// another process must then read and write. The descriptor is sent as SCM_RIGHTS.
    #[arg(long, value_name = "PATH", value_hint = ValueHint::FilePath)]
    pub console_socket: Option<PathBuf>,

    /// Send a pidfd of the process to a Unix socket.
    #[arg(long, value_name = "PATH", value_hint = ValueHint::FilePath)]
    pub pidfd_socket: Option<PathBuf>,

    /// Pass N more descriptors [default: 0].
    ///
    /// These are the descriptors from 3 up. They keep their numbers in the process. With socket
    /// activation, they follow the $LISTEN_FDS descriptors, which are always passed.
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    pub preserve_fds: u32,

    /// Use chroot instead of pivot_root.
    ///
    /// For a root file system on a ramdisk, where pivot_root fails. chroot isolates less.
    #[arg(long)]
    pub no_pivot: bool,

    /// Keep the caller's session keyring.
    ///
    /// By default, the container gets a new session keyring.
    #[arg(long)]
    pub no_new_keyring: bool,
}

/// Places an option of `run` or `record` behind the first option of `create`, `--bundle`: the order of equals is that
/// of their letters.
pub(super) const AFTER_BUNDLE: usize = 0;

#[derive(Debug, Clone, Default, Args)]
#[command(after_long_help = "\
Examples:
  bulkhead run web                   the bundle in the current directory
  bulkhead run --bundle /srv/web web
  bulkhead run --detach --pid-file web.pid web

Exit status: that of the process, or 128 plus the number of the signal that
killed it; 0 with --detach; 1 for an error.")]
pub struct RunArgs {
    /// The arguments of `create`.
    #[command(flatten)]
    pub create: CreateArgs,

    /// Do not wait for the process to exit.
    #[arg(short, long, display_order = AFTER_BUNDLE)]
    pub detach: bool,

    /// Keep the container after its process exits.
    #[arg(long, display_order = AFTER_BUNDLE)]
    pub keep: bool,

    /// Do not adopt the container's orphaned processes.
    #[arg(long)]
    pub no_subreaper: bool,
}

#[derive(Debug, Clone, Args)]
#[command(after_long_help = "\
Examples:
  bulkhead kill web                  ask its process to exit (TERM)
  bulkhead kill web KILL
  bulkhead kill --all web HUP        all processes of the container")]
pub struct KillArgs {
    /// Container ID.
    #[arg(value_name = "ID")]
    pub id: String,

    /// Signal name or number: 9, KILL, RTMIN+3.
    #[arg(value_name = "SIGNAL", default_value = "TERM")]
    pub signal: String,

    /// Signal all processes of the container.
    #[arg(short, long)]
    pub all: bool,
}

#[derive(Debug, Clone, Args)]
#[command(after_long_help = "\
Examples:
  bulkhead delete web
  bulkhead delete --force --regex '^web-[0-9]+$'")]
pub struct DeleteArgs {
    /// Container ID, or an expression with --regex.
    #[arg(value_name = "ID")]
    pub id: String,

    /// Kill a running container; ignore an unknown ID.
    #[arg(short, long)]
    pub force: bool,

    /// Delete each container whose ID matches a regular expression.
    ///
    /// The expression has the syntax of Perl, without look-around and back references, and may match
    /// any part of the ID. It is no error if no ID matches. An option of crun.
    #[arg(short, long)]
    pub regex: bool,
}

#[derive(Debug, Clone, Args)]
#[command(after_long_help = "\
Examples:
  bulkhead list
  bulkhead list --quiet              IDs only, for scripts
  bulkhead list --format json | jq '.[] | {id, pid, status}'")]
pub struct ListArgs {
    /// Output format: table or json.
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    #[arg(hide_possible_values = true)]
    pub format: ListFormat,

    /// Print IDs only.
    #[arg(short, long)]
    pub quiet: bool,
}

#[derive(Debug, Clone, Args)]
#[command(after_long_help = "\
Examples:
  bulkhead info
  bulkhead info --format json | jq '.features[] | select(.cost)'

info.md in the documentation describes the keys of the JSON and the features.")]
pub struct InfoArgs {
    /// Output format: text or json.
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    #[arg(hide_possible_values = true)]
    pub format: LogFormat,
}

#[derive(Debug, Clone, Args)]
#[command(after_long_help = "\
Examples:
  bulkhead spec                      write ./config.json
  bulkhead spec --rootless --bundle /srv/web")]
pub struct SpecArgs {
    /// Bundle directory to write to [default: current directory].
    #[arg(short, long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub bundle: Option<PathBuf>,

    /// Write a file that works without root privileges.
    ///
    /// The container gets a user namespace in which the caller is root, and no limits.
    #[arg(long)]
    pub rootless: bool,
}
