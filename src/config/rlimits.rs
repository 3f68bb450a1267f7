//! `process.rlimits`: the resource limits of a process.

use oci_spec::runtime::{PosixRlimit, PosixRlimitType};
use rustix::process::Resource;

use crate::{Error, Result};

/// A resource limit (getrlimit(2)).
#[derive(Debug, Clone, Copy)]
pub struct Rlimit {
    /// The resource.
    pub resource: Resource,
    /// The name of the resource, for errors.
    pub name: PosixRlimitType,
    /// The soft limit, rlim_cur.
    pub soft: u64,
    /// The hard limit, rlim_max.
    pub hard: u64,
}

impl Rlimit {
    /// Parses the limits. No type is listed twice (config.md, "POSIX process"); soft is at most hard
    /// (getrlimit(2)).
    pub fn parse(list: &[PosixRlimit]) -> Result<Vec<Rlimit>> {
        let mut limits: Vec<Rlimit> = Vec::with_capacity(list.len());
        for (index, limit) in list.iter().enumerate() {
            let (name, soft, hard) = (limit.typ(), limit.soft(), limit.hard());
            let field = |member: &str| format!("process.rlimits[{index}].{member}");
            if limits.iter().any(|earlier| earlier.name == name) {
                return Err(Error::invalid(field("type"), name.to_string(), "is listed twice"));
            }
            if soft > hard {
                let why = format!("is above the hard limit of {hard}");
                return Err(Error::invalid(field("soft"), soft, why));
            }
            limits.push(Rlimit { resource: resource(name), name, soft, hard });
        }
        Ok(limits)
    }

    /// Whether this is RLIMIT_NPROC, which counts the processes of a user. A process that still has
    /// to clone the container's own must not be under it.
    pub fn is_process_count(&self) -> bool {
        self.resource == Resource::Nproc
    }
}

fn resource(kind: PosixRlimitType) -> Resource {
    match kind {
        PosixRlimitType::RlimitCpu => Resource::Cpu,
        PosixRlimitType::RlimitFsize => Resource::Fsize,
        PosixRlimitType::RlimitData => Resource::Data,
        PosixRlimitType::RlimitStack => Resource::Stack,
        PosixRlimitType::RlimitCore => Resource::Core,
        PosixRlimitType::RlimitRss => Resource::Rss,
        PosixRlimitType::RlimitNproc => Resource::Nproc,
        PosixRlimitType::RlimitNofile => Resource::Nofile,
        PosixRlimitType::RlimitMemlock => Resource::Memlock,
        PosixRlimitType::RlimitAs => Resource::As,
        PosixRlimitType::RlimitLocks => Resource::Locks,
        PosixRlimitType::RlimitSigpending => Resource::Sigpending,
        PosixRlimitType::RlimitMsgqueue => Resource::Msgqueue,
        PosixRlimitType::RlimitNice => Resource::Nice,
        PosixRlimitType::RlimitRtprio => Resource::Rtprio,
        PosixRlimitType::RlimitRttime => Resource::Rttime,
    }
}
