//! The arguments of the commands about the processes in a container.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;

use super::ListFormat;

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
