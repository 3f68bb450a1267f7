//! The settings of CRIU that the caller chooses.

use std::ffi::OsString;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::rpc;
use crate::{Error, Kind, Result};

/// How CRIU saves and restores cgroups (criu(8), `--manage-cgroups`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum CgroupMode {
    /// CRIU leaves cgroups alone: all processes are restored in the container's own cgroup.
    Ignore,
    /// Cgroups must exist; their properties are not restored.
    None,
    /// Cgroups must exist; their properties are restored.
    Props,
    /// Missing cgroups are made; properties are restored for those only. CRIU's default.
    Soft,
    /// Missing cgroups are made; all properties are restored.
    Full,
    /// No cgroup may exist.
    Strict,
}

impl CgroupMode {
    fn message(mode: Option<CgroupMode>) -> rpc::CgroupMode {
        match mode {
            Option::None => rpc::CgroupMode::Default,
            Some(CgroupMode::Ignore) => rpc::CgroupMode::Ignore,
            Some(CgroupMode::None) => rpc::CgroupMode::None,
            Some(CgroupMode::Props) => rpc::CgroupMode::Props,
            Some(CgroupMode::Soft) => rpc::CgroupMode::Soft,
            Some(CgroupMode::Full) => rpc::CgroupMode::Full,
            Some(CgroupMode::Strict) => rpc::CgroupMode::Strict,
        }
    }
}

/// How CRIU keeps packets from the sockets of a container during a checkpoint (criu(8),
/// `--network-lock`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum NetworkLock {
    /// By rules of iptables(8). CRIU's default.
    Iptables,
    /// By rules of nft(8).
    Nftables,
    /// Not at all.
    Skip,
}

impl NetworkLock {
    fn message(self) -> rpc::NetworkLock {
        match self {
            NetworkLock::Iptables => rpc::NetworkLock::Iptables,
            NetworkLock::Nftables => rpc::NetworkLock::Nftables,
            NetworkLock::Skip => rpc::NetworkLock::Skip,
        }
    }

    /// Returns the first version of CRIU that has this method.
    pub(super) fn since(self) -> u32 {
        match self {
            NetworkLock::Iptables => 0,
            NetworkLock::Nftables => 31_700,
            NetworkLock::Skip => 31_900,
        }
    }
}

/// The address of a page server, which takes the memory pages of a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageServer {
    /// An IP address or a host name.
    pub address: String,
    /// The port.
    pub port: u16,
}

/// The settings that a checkpoint and a restore share.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Settings {
    /// The CRIU program.
    pub program: PathBuf,
    /// The environment of CRIU, which finds its helper programs by `PATH`.
    pub environment: Vec<(OsString, OsString)>,
    /// The directory of the images.
    pub images: PathBuf,
    /// The directory of logs and statistics; `None` means that of the images.
    pub work: Option<PathBuf>,
    /// Whether TCP connections are kept.
    pub tcp_established: bool,
    /// Whether TCP connections that are not yet accepted are left out.
    pub tcp_skip_in_flight: bool,
    /// Whether TCP connections are closed at restore.
    pub tcp_close: bool,
    /// Whether Unix sockets may be connected to processes outside.
    pub ext_unix_sk: bool,
    /// Whether the session or the terminal may belong to a process outside.
    pub shell_job: bool,
    /// Whether file locks are kept.
    pub file_locks: bool,
    /// Whether unlinked files are linked again to save them.
    pub link_remap: bool,
    /// Whether memory is restored on demand (userfaultfd(2)).
    pub lazy_pages: bool,
    /// Whether pages that a later image replaces are removed from the earlier image.
    pub auto_dedup: bool,
    /// How cgroups are treated.
    pub cgroup_mode: Option<CgroupMode>,
    /// How the network is locked.
    pub network_lock: Option<NetworkLock>,
    /// The destination of memory pages in the place of the image directory.
    pub page_server: Option<PageServer>,
    /// The security label of the restored processes, as `TYPE:LABEL`.
    pub lsm_profile: Option<String>,
    /// The SELinux context of restored mounts that have one.
    pub lsm_mount_context: Option<String>,
}

/// The messages that CRIU logs: up to debugging.
const LOG_LEVEL: i32 = 4;

impl Settings {
    /// Returns the options of a request that follow from the settings alone.
    pub(super) fn opts(&self) -> rpc::Opts {
        let page_server = self.page_server.as_ref().map(|server| rpc::PageServer {
            address: Some(server.address.clone()),
            port: Some(server.port.into()),
        });
        rpc::Opts {
            images_dir_fd: -1,
            log_level: Some(LOG_LEVEL),
            notify_scripts: Some(true),
            ext_unix_sk: Some(self.ext_unix_sk),
            tcp_established: Some(self.tcp_established),
            tcp_skip_in_flight: Some(self.tcp_skip_in_flight),
            tcp_close: self.tcp_close.then_some(true),
            shell_job: Some(self.shell_job),
            file_locks: Some(self.file_locks),
            link_remap: Some(self.link_remap),
            lazy_pages: Some(self.lazy_pages),
            auto_dedup: Some(self.auto_dedup),
            orphan_pts_master: Some(true),
            // Both fields: versions of CRIU without the second know only the first.
            manage_cgroups: Some(true),
            manage_cgroups_mode: Some(CgroupMode::message(self.cgroup_mode).into()),
            network_lock: self.network_lock.map(|lock| lock.message().into()),
            // Network devices and their addresses belong to the engine.
            empty_ns: Some(libc::CLONE_NEWNET.cast_unsigned()),
            page_server,
            lsm_profile: self.lsm_profile.clone(),
            lsm_mount_context: self.lsm_mount_context.clone(),
            ..rpc::Opts::default()
        }
    }

    /// Returns the mode of a restore. The cgroup of the container exists when CRIU starts, and is new
    /// if the mode is `strict`: so everything in it is restored from nothing.
    pub(super) fn restored_cgroup_mode(&self) -> rpc::CgroupMode {
        match self.cgroup_mode {
            Some(CgroupMode::Strict) => rpc::CgroupMode::Full,
            mode => CgroupMode::message(mode),
        }
    }

    /// Whether CRIU leaves cgroups alone.
    pub(super) fn ignores_cgroups(&self) -> bool {
        self.cgroup_mode == Some(CgroupMode::Ignore)
    }

    /// Fails if a setting needs a later version of CRIU.
    pub(super) fn check(&self, version: u32) -> Result<()> {
        match self.network_lock {
            Some(lock) if lock.since() > version => {
                let needed = format!("{}.{}", lock.since() / 10_000, lock.since() / 100 % 100);
                let why = format!("--network-lock: needs version {needed} or later");
                Err(Error::new(Kind::System, why).context("criu"))
            }
            _ => Ok(()),
        }
    }
}
