//! The namespaces of a container, entered in the order that [`crate::config::Route`] chose.

use std::ffi::CStr;
use std::os::fd::AsFd;
use std::path::Path;

use nix::errno::Errno;
use nix::sched::{CloneFlags, setns, unshare};
use nix::unistd::{Gid, Uid, setresgid, setresuid};

use super::inherited::Init;
use super::lifetime::die_with_runtime;
use crate::config::{Choice, Kind, Plan, Process, kind_name};
use crate::fs::Proc;
use crate::protocol::{ToInit, ToParent};
use crate::sys::{clone, cred, ns};
use crate::{Context, Error, Result};

/// All rights for the possessor; view and read for the user id of the owner; and search, without
/// which a process could not find keys in its own session after a change of its id (linux/key.h).
const KEY_PERMISSIONS: u32 = 0x3f00_0000 | 0x0003_0000 | 0x0008_0000;

/// Enters the user namespace and becomes root there; before that, enters the namespaces that need
/// the rights of the runtime.
pub(crate) fn user_namespace(init: &Init<'_>) -> Result<()> {
    let plan = init.plan;
    if plan.route.is_privileged && plan.route.may_trace {
        not_dumpable()?;
    }
    if init.inherited.pid_is_first {
        join(init, Kind::Pid)?;
    }
    if plan.route.join_before_user {
        join_others(init)?;
    }
    if plan.route.late_user {
        match &plan.namespaces.user {
            Choice::Join(_) => {
                not_dumpable()?;
                let identity = plan.process.as_ref().map(|process| &process.identity);
                if identity.is_none_or(|identity| identity.groups.is_some()) {
                    leave_groups()?;
                }
                join(init, Kind::User)?;
            }
            _ => unshare(CloneFlags::CLONE_NEWUSER).context("make the user namespace")?,
        }
    }
    if plan.ids.is_some() {
        init.parent.tell_parent(&ToParent::NeedMap)?;
        init.parent.wait_for(ToInit::Mapped)?;
    }
    if plan.namespaces.has_user() {
        become_root()?;
    }
    Ok(())
}

/// Joins the pid namespace for children to come, with the rights in the user namespace that the
/// process is in.
pub(crate) fn pid_namespace(init: &Init<'_>) -> Result<()> {
    if init.inherited.pid_is_first { Ok(()) } else { join(init, Kind::Pid) }
}

/// Makes init not dumpable if it may be. This must follow the writes of the runtime to the files in
/// /proc of init: they belong to root once init is not dumpable. It is not done if a runtime
/// without CAP_SYS_PTRACE has to take a seccomp listener out of init, which would be refused; such
/// an init is under its filter by then.
pub(crate) fn hide(plan: &Plan) -> Result<()> {
    if is_hidden(plan) { not_dumpable() } else { Ok(()) }
}

/// Whether init is not dumpable until it executes its program: see [`hide`].
pub(crate) fn is_hidden(plan: &Plan) -> bool {
    let has_listener = plan.process.as_ref().is_some_and(Process::has_listener);
    !has_listener || plan.route.may_trace
}

/// Makes the process not dumpable: processes of the container, or of a joined namespace, must not
/// reach into it by ptrace(2) or /proc (CVE-2016-9962). execve(2) makes it dumpable again.
pub(crate) fn not_dumpable() -> Result<()> {
    prctl::set_dumpable(false).map_err(Errno::from_raw).context("hide the process from others")
}

/// Drops the groups of the runtime while that is permitted: the namespace to join may deny
/// setgroups(2), and then the container would keep groups of the host (CVE-2022-2989). EPERM: the
/// runtime has no privileges, and its groups are those of its user.
pub(crate) fn leave_groups() -> Result<()> {
    match nix::unistd::setgroups(&[]) {
        Ok(()) | Err(Errno::EPERM) => Ok(()),
        Err(errno) => Err(Error::from(errno).context("leave the runtime's groups")),
    }
}

/// Becomes root in the user namespace: files that are made from now on belong to the container's
/// root. In a namespace without a mapping for 0, init keeps the overflow id, and its capabilities.
pub(crate) fn become_root() -> Result<()> {
    let (uid, gid) = (Uid::from_raw(0), Gid::from_raw(0));
    for answer in [setresgid(gid, gid, gid), setresuid(uid, uid, uid)] {
        match answer {
            Ok(()) | Err(Errno::EINVAL) => {}
            Err(errno) => {
                return Err(Error::from(errno).context("become root in the user namespace"));
            }
        }
    }
    Ok(())
}

pub(crate) fn go_between(init: &Init<'_>, child: impl FnOnce() -> i32) -> Result<i32> {
    let flags = libc::CLONE_PARENT | libc::CLONE_NEWPID;
    let init_process =
        clone::clone3(flags as u64, None, child).context("clone init into its namespaces")?;
    init.parent.tell_parent(&ToParent::Pid(init_process.pid))?;
    Ok(0)
}

pub(crate) fn other_namespaces(init: &Init<'_>) -> Result<()> {
    let route = &init.plan.route;
    if route.trampoline {
        // The child of a go-between does not inherit the go-between's death signal.
        die_with_runtime()?;
    }
    if !route.join_before_user {
        join_others(init)?;
    }
    if route.unshare_flags != 0 {
        unshare(CloneFlags::from_bits_retain(route.unshare_flags))
            .context("make the namespaces")?;
    }
    Ok(())
}

/// Joins all namespaces except user and pid, the mount namespace last.
fn join_others(init: &Init<'_>) -> Result<()> {
    for (kind, _) in &init.inherited.joins {
        if !matches!(kind, Kind::User | Kind::Pid) {
            join(init, *kind)?;
        }
    }
    Ok(())
}

fn join(init: &Init<'_>, kind: Kind) -> Result<()> {
    for (_, file) in init.inherited.joins.iter().filter(|(k, _)| *k == kind) {
        setns(file.as_fd(), CloneFlags::from_bits_retain(kind as i32)).with_context(|| {
            let path = init.plan.namespaces.get(kind).path().map_or(Path::new(""), |path| path);
            format!("join the {} namespace {path:?}", kind_name(kind))
        })?;
    }
    Ok(())
}

/// Joins a session keyring of the container's own, so that the keys of the caller stay out of
/// reach. `new`: the keyring is made here. A keyring that is made has the SELinux label of the
/// process, which may use no keys of the runtime's label.
pub(crate) fn keyring(
    proc: &Proc,
    name: &CStr,
    process: Option<&Process>,
    new: bool,
) -> Result<()> {
    let Some(label) = process.and_then(|process| process.selinux.as_ref()) else {
        return join_keyring(name, new);
    };
    set_label(proc, "keycreate", label)?;
    join_keyring(name, new)?;
    // An empty line means the label of the process itself again.
    proc.write("self/attr/keycreate", b"\n")
}

/// Writes the SELinux label to a file of /proc/self/attr.
pub(crate) fn set_label(proc: &Proc, attribute: &str, label: &str) -> Result<()> {
    proc.write(Path::new("self/attr").join(attribute), label.as_bytes()).map_err(|error| {
        let hint = match error.errno() {
            Some(Errno::EINVAL) => " (the policy has no such label)",
            _ => "",
        };
        error.context(format!("process.selinuxLabel: {label:?}{hint}"))
    })
}

fn join_keyring(name: &CStr, new: bool) -> Result<()> {
    match cred::join_session_keyring(name) {
        Ok(_) if !new => Ok(()),
        Ok(serial) => cred::set_key_permissions(serial, KEY_PERMISSIONS)
            .context("set the permissions of the session keyring"),
        // The kernel has no keyrings; or a seccomp filter around the runtime refuses the call, and
        // then the container cannot use the keyring of the caller either.
        Err(Errno::ENOSYS | Errno::EPERM) => Ok(()),
        Err(errno) => Err(Error::from(errno).context(format!("join session keyring {name:?}"))),
    }
}

pub(crate) fn network(plan: &Plan) -> Result<()> {
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
    if plan.namespaces.network != Choice::New {
        return Ok(());
    }
    let up = || -> nix::Result<()> {
        let flags = SockFlag::SOCK_CLOEXEC;
        let socket = socket(AddressFamily::Inet, SockType::Datagram, flags, None)?;
        ns::loopback_up(socket.as_fd())
    };
    up().context("bring the loopback device up")
}

/// Has the runtime move network devices into the network namespace.
pub(crate) fn network_devices(init: &Init<'_>) -> Result<()> {
    if init.plan.net_devices.is_empty() {
        return Ok(());
    }
    init.parent.tell_parent(&ToParent::NeedNetDevices)?;
    init.parent.wait_for(ToInit::NetDevicesMoved)
}

/// Enters a new time namespace. Its offsets must be written before any process is in it
/// (time_namespaces(7)). In a user namespace the file of the offsets belongs to the root of the
/// host once init has changed its id, so the runtime writes it.
pub(crate) fn clocks(init: &Init<'_>) -> Result<()> {
    if init.plan.namespaces.time != Choice::New {
        return Ok(());
    }
    let proc = &init.inherited.proc;
    match &init.plan.time_offsets {
        Some(_) if init.plan.namespaces.has_user() => {
            init.parent.tell_parent(&ToParent::NeedOffsets)?;
            init.parent.wait_for(ToInit::OffsetsWritten)?;
        }
        Some(text) => {
            proc.write("self/timens_offsets", text.as_bytes()).context("linux.timeOffsets")?;
        }
        None => {}
    }
    // unshare(2) makes the namespace for children only. Newer kernels enter it at execve(2); on
    // Linux 6.1 the program would have the clocks of the host.
    let enter = || -> Result<()> {
        let namespace = proc.own_namespace("time_for_children")?;
        Ok(setns(namespace, CloneFlags::from_bits_retain(Kind::Time as i32))?)
    };
    enter().context("enter the time namespace")
}

/// Makes the cgroup namespace. Init is in its cgroup by now, which becomes the root of the
/// namespace.
pub(crate) fn cgroup_namespace(plan: &Plan) -> Result<()> {
    if plan.namespaces.cgroup == Choice::New {
        unshare(CloneFlags::CLONE_NEWCGROUP).context("make the cgroup namespace")?;
    }
    Ok(())
}
