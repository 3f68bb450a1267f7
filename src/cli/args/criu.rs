//! Arguments of `checkpoint` and `restore`.

use std::path::PathBuf;

use clap::{Args, ValueEnum, ValueHint};

/// Heading of the options for CRIU.
const CRIU: &str = "CRIU options";

/// The options that `checkpoint` and `restore` share.
#[derive(Debug, Clone, Args)]
pub struct CriuArgs {
    /// Directory of the images [default: checkpoint].
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub image_path: Option<PathBuf>,

    /// Directory of CRIU's log and statistics [default: that of the images].
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub work_path: Option<PathBuf>,

    /// Keep established TCP connections.
    #[arg(long, help_heading = CRIU)]
    pub tcp_established: bool,

    /// Accept Unix sockets to the outside.
    #[arg(long, help_heading = CRIU)]
    pub ext_unix_sk: bool,

    /// Accept an outside session or terminal.
    #[arg(long, help_heading = CRIU)]
    pub shell_job: bool,

    /// Keep file locks.
    #[arg(long, help_heading = CRIU)]
    pub file_locks: bool,

    /// Transfer memory on demand.
    #[arg(long, help_heading = CRIU)]
    pub lazy_pages: bool,

    /// Treatment of cgroups.
    ///
    /// MODE is soft, full, strict, props, none or ignore.
    /// With ignore, all processes are restored in the container's own cgroup. See --manage-cgroups in
    /// criu(8).
    #[arg(long, value_name = "MODE", hide_possible_values = true, help_heading = CRIU)]
    pub manage_cgroups_mode: Option<CgroupMode>,

    /// Leave the content of a namespace out.
    ///
    /// Only network is possible. The network namespace is always treated so: its devices belong to the engine.
    #[arg(long, value_name = "NAMESPACE", hide_possible_values = true, help_heading = CRIU)]
    pub empty_ns: Vec<EmptyNamespace>,

    /// Drop needless pages of earlier images.
    ///
    /// Removes memory pages from earlier images once they are not needed.
    #[arg(long, help_heading = CRIU)]
    pub auto_dedup: bool,

    /// Lock: iptables, nftables or skip.
    ///
    /// How packets are kept out meanwhile.
    #[arg(long, value_name = "METHOD", hide_possible_values = true, help_heading = CRIU)]
    pub network_lock: Option<NetworkLock>,
}

/// Values of `--manage-cgroups-mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CgroupMode {
    Soft,
    Full,
    Strict,
    Props,
    None,
    Ignore,
}

/// Values of `--empty-ns`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum EmptyNamespace {
    Network,
}

/// Values of `--network-lock`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum NetworkLock {
    Iptables,
    Nftables,
    Skip,
}

/// Arguments of `checkpoint`. podman gives some options twice.
#[derive(Debug, Clone, Args)]
#[command(
    args_override_self = true,
    after_long_help = "\
Examples:
  bulkhead checkpoint --image-path /srv/images web
  bulkhead checkpoint --pre-dump --image-path /srv/first web
  bulkhead checkpoint --image-path /srv/last --parent-path ../first web"
)]
pub struct CheckpointArgs {
    /// Container ID.
    #[arg(value_name = "ID")]
    pub id: String,

    /// The options of CRIU.
    #[command(flatten)]
    pub criu: CriuArgs,

    /// Directory of an earlier --pre-dump, relative to the images.
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub parent_path: Option<PathBuf>,

    /// Keep the container running.
    #[arg(long)]
    pub leave_running: bool,

    /// Save only memory, and keep the container running.
    #[arg(long)]
    pub pre_dump: bool,

    /// Leave out connections not accepted yet.
    #[arg(long, help_heading = CRIU)]
    pub tcp_skip_in_flight: bool,

    /// Link unlinked files again to save them.
    #[arg(long, help_heading = CRIU)]
    pub link_remap: bool,

    /// Send memory to a page server.
    #[arg(long, value_name = "ADDRESS:PORT", help_heading = CRIU)]
    pub page_server: Option<String>,

    /// Report to FD that pages can be served.
    ///
    /// Writes a zero byte to the descriptor once --lazy-pages can be served.
    #[arg(long, value_name = "FD", allow_negative_numbers = true, help_heading = CRIU)]
    pub status_fd: Option<i32>,
}

/// Arguments of `restore`.
#[derive(Debug, Clone, Args)]
#[command(
    args_override_self = true,
    after_long_help = "\
Examples:
  bulkhead restore --bundle /srv/web --image-path /srv/images web
  bulkhead restore --detach --pid-file web.pid web

Exit status: that of the process, or 128 plus the number of the signal that
killed it; 0 with --detach; 1 for an error."
)]
pub struct RestoreArgs {
    /// ID for the container: letters, digits and _ + - . only.
    #[arg(value_name = "ID")]
    pub id: String,

    /// The options of CRIU.
    #[command(flatten)]
    pub criu: CriuArgs,

    /// Bundle directory [default: current directory].
    #[arg(short, long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub bundle: Option<PathBuf>,

    /// Use FILE instead of the bundle's config.json.
    #[arg(short = 'f', long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub config: Option<PathBuf>,

    /// Do not wait for the process to exit.
    #[arg(short, long)]
    pub detach: bool,

    /// Write the process ID to FILE.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub pid_file: Option<PathBuf>,

    /// Send the terminal's master to a Unix socket.
    ///
    /// restore --detach needs it if the container has a terminal (process.terminal).
    #[arg(long, value_name = "PATH", value_hint = ValueHint::FilePath)]
    pub console_socket: Option<PathBuf>,

    /// Do not adopt the container's orphaned processes.
    #[arg(long)]
    pub no_subreaper: bool,

    /// Has no effect: CRIU enters the root file system.
    ///
    /// Engines pass the options of create.
    #[arg(long)]
    pub no_pivot: bool,

    /// Keep the caller's session keyring.
    ///
    /// By default, the container gets a new session keyring.
    #[arg(long)]
    pub no_new_keyring: bool,

    /// Close established TCP connections.
    #[arg(long, help_heading = CRIU)]
    pub tcp_close: bool,

    /// Security label for the processes.
    ///
    /// TYPE is apparmor or selinux.
    #[arg(long, value_name = "TYPE:LABEL", help_heading = CRIU)]
    pub lsm_profile: Option<String>,

    /// SELinux context for labelled mounts.
    #[arg(long, value_name = "CONTEXT", help_heading = CRIU)]
    pub lsm_mount_context: Option<String>,
}
