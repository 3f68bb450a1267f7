//! The arguments of the commands that make, signal, remove and list containers.

use std::path::PathBuf;

use clap::Args;

use super::ListFormat;

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
