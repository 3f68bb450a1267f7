//! The capabilities of this host and of this process: read once, and passed to the plan.

use caps::Capability;

use crate::sys::cred;
use crate::{Context, Result};

/// The facts that a plan depends on.
#[derive(Debug, Clone)]
pub struct Host {
    /// Effective user id of the runtime.
    pub uid: u32,
    /// Effective group id of the runtime.
    pub gid: u32,
    /// Capability sets of the runtime.
    pub caps: cred::Caps,
    /// Whether the runtime is not the root user of the host: it is another user, or root of a user
    /// namespace (where rootless podman runs its runtime).
    pub is_rootless: bool,
    /// Whether the runtime is in a user namespace, even as root with every capability.
    pub in_user_namespace: bool,
}

impl Host {
    /// Reads the facts from the kernel.
    pub fn probe() -> Result<Host> {
        let uid = nix::unistd::geteuid();
        let in_user_namespace = in_user_namespace()?;
        Ok(Host {
            uid: uid.as_raw(),
            gid: nix::unistd::getegid().as_raw(),
            caps: cred::capget().context("read the runtime's capabilities")?,
            is_rootless: !uid.is_root() || in_user_namespace,
            in_user_namespace,
        })
    }

    fn has(&self, capability: Capability) -> bool {
        self.caps.effective & capability.bitmask() != 0
    }

    /// Returns whether the runtime may mount, and join and create namespaces, without a new user
    /// namespace.
    pub fn is_privileged(&self) -> bool {
        self.has(Capability::CAP_SYS_ADMIN)
    }

    /// Returns whether the runtime may trace a process regardless of its dumpable flag, ptrace(2).
    pub fn may_trace(&self) -> bool {
        self.has(Capability::CAP_SYS_PTRACE)
    }

    /// Returns whether the runtime may create any device node, mknod(2): only in the initial user
    /// namespace.
    pub fn may_make_devices(&self) -> bool {
        !self.in_user_namespace
            && self.has(Capability::CAP_SYS_ADMIN)
            && self.has(Capability::CAP_MKNOD)
            && self.has(Capability::CAP_CHOWN)
    }

    /// Returns whether the runtime may set the limits of a process of another user, prlimit(2).
    pub fn may_limit_others(&self) -> bool {
        self.has(Capability::CAP_SYS_RESOURCE)
    }

    /// Returns whether the runtime may set any scheduler and I/O priority for a process of another
    /// user: sched_setattr(2) and ioprio_set(2) require the capability in the initial user
    /// namespace.
    pub fn may_schedule_others(&self) -> bool {
        !self.in_user_namespace && self.has(Capability::CAP_SYS_NICE)
    }

    /// Returns whether the runtime may move network devices to another network namespace, and may
    /// enter that namespace.
    pub fn may_move_network_devices(&self) -> bool {
        self.has(Capability::CAP_NET_ADMIN) && self.has(Capability::CAP_SYS_ADMIN)
    }

    /// Returns whether the runtime may write any id map of a user namespace itself.
    pub fn can_map_any_id(&self) -> bool {
        self.has(Capability::CAP_SETUID)
    }
}

/// Returns whether AppArmor is enabled; it can be built into the kernel but disabled.
pub fn has_apparmor() -> Result<bool> {
    match std::fs::read("/sys/module/apparmor/parameters/enabled") {
        Ok(text) => Ok(text.first() == Some(&b'Y')),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error).context("ask whether AppArmor is enabled"),
    }
}

/// Returns whether SELinux is enabled: its file system is mounted then, as libselinux expects.
pub fn has_selinux() -> Result<bool> {
    // Its type differs between architectures.
    const SELINUX_MAGIC: u64 = 0xf97c_ff8c;
    match rustix::fs::statfs("/sys/fs/selinux") {
        Ok(found) => Ok(found.f_type as u64 == SELINUX_MAGIC),
        Err(rustix::io::Errno::NOENT) => Ok(false),
        Err(errno) => Err(errno).context("ask whether SELinux is enabled"),
    }
}

/// Returns whether this process is in a user namespace other than the initial one, which maps every
/// id to itself (user_namespaces(7)).
pub fn in_user_namespace() -> Result<bool> {
    let map = crate::fs::read_text("/proc/self/uid_map")?;
    Ok(map.split_ascii_whitespace().ne(["0", "0", "4294967295"]))
}
