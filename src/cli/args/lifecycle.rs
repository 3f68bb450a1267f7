//! The arguments of the commands that make, signal, remove and list containers.

use std::path::PathBuf;

use clap::{Args, ValueHint};

use super::ListFormat;

/// Arguments of `create`, and most of those of `run`.
#[derive(Debug, Clone, Args)]
pub struct CreateArgs {
    /// Name for the container: letters, digits and _ + - . only.
    #[arg(value_name = "ID")]
    pub id: String,

    /// Bundle [default: the current directory].
    #[arg(short, long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub bundle: Option<PathBuf>,

    /// Use this instead of the bundle's config.json.
    #[arg(short = 'f', long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub config: Option<PathBuf>,

    /// Write the id of the process to this file.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub pid_file: Option<PathBuf>,

    /// Send the terminal's master to this unix socket.
    ///
    /// Needed by create, and by run --detach, if the container has a terminal (process.terminal):
    /// somebody else has to read and write it then. The descriptor is sent as SCM_RIGHTS.
    #[arg(long, value_name = "PATH", value_hint = ValueHint::FilePath)]
    pub console_socket: Option<PathBuf>,

    /// Send a pidfd of the process to this unix socket.
    #[arg(long, value_name = "PATH", value_hint = ValueHint::FilePath)]
    pub pidfd_socket: Option<PathBuf>,

    /// Hand over N more descriptors [default: 0].
    ///
    /// They are those from 3 on, and have the same numbers in the process. With socket activation they come after the $LISTEN_FDS descriptors, which are handed over
    /// anyway.
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    pub preserve_fds: u32,

    /// Use chroot instead of pivot_root.
    ///
    /// For a root file system on a ramdisk, which pivot_root refuses. It is the weaker of the two.
    #[arg(long)]
    pub no_pivot: bool,

    /// Keep the caller's session keyring.
    ///
    /// Otherwise the container gets a new one.
    #[arg(long)]
    pub no_new_keyring: bool,
}

/// Arguments of `run`.
#[derive(Debug, Clone, Args)]
#[command(after_long_help = "\
Examples:
  bulkhead run web                   the bundle in the current directory
  bulkhead run --bundle /srv/web web
  bulkhead run --detach --pid-file web.pid web")]
pub struct RunArgs {
    /// Those of `create`.
    #[command(flatten)]
    pub create: CreateArgs,

    /// Do not wait for the end of the process.
    #[arg(short, long)]
    pub detach: bool,

    /// Keep the container after its process has ended.
    #[arg(long)]
    pub keep: bool,

    /// Do not adopt the container's orphans.
    #[arg(long)]
    pub no_subreaper: bool,
}

/// Arguments of `kill`.
#[derive(Debug, Clone, Args)]
pub struct KillArgs {
    /// Container.
    #[arg(value_name = "ID")]
    pub id: String,

    /// Signal: 9, KILL, SIGKILL, RTMIN+3.
    #[arg(value_name = "SIGNAL", default_value = "TERM")]
    pub signal: String,

    /// Signal every process of the container.
    #[arg(short, long)]
    pub all: bool,
}

/// Arguments of `delete`.
#[derive(Debug, Clone, Args)]
pub struct DeleteArgs {
    /// Container.
    #[arg(value_name = "ID")]
    pub id: String,

    /// Kill a container that runs; take an unknown one for deleted.
    #[arg(short, long)]
    pub force: bool,
}

/// Arguments of `list`.
#[derive(Debug, Clone, Args)]
pub struct ListArgs {
    /// Form of the output: table or json.
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    #[arg(hide_possible_values = true)]
    pub format: ListFormat,

    /// Print ids only.
    #[arg(short, long)]
    pub quiet: bool,
}

/// Arguments of `spec`.
#[derive(Debug, Clone, Args)]
pub struct SpecArgs {
    /// Bundle to write it into [default: the current directory].
    #[arg(short, long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub bundle: Option<PathBuf>,

    /// Write one that works without root privileges.
    ///
    /// It has a user namespace in which the caller is root, and no limits.
    #[arg(long)]
    pub rootless: bool,
}
