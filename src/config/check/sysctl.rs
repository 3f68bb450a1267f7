//! linux.sysctl: an exact list of what belongs to a namespace of the container.
//!
//! Most of /proc/sys is the host's. A name that is not on the list is refused, not tried
//! (CVE-2022-0811: a value or name that reaches further than the check looked).

use oci_spec::runtime::{LinuxNamespaceType as Type, Spec};

use super::{Given, linux, namespace, set};
use crate::{Error, Result};

/// Where a sysctl belongs.
enum Scope {
    Namespace(Type, &'static str),
    /// There is a field of the spec for it.
    Field(&'static str),
    Host,
}

/// The path of a sysctl below /proc/sys, from its name in either notation of sysctl(8).
///
/// The first separator decides: in `net.ipv4.conf.eth0/1.x` a slash stands for a dot inside of a
/// component, in `net/ipv4/conf/eth0.1/x` a dot is a dot. `None` if a component is empty, `.` or
/// `..`, or there is only one.
pub fn path(name: &str) -> Option<String> {
    let dotted = name.chars().find(|c| matches!(c, '.' | '/')) == Some('.');
    let exchange = |c| match c {
        '.' => '/',
        '/' => '.',
        c => c,
    };
    let path: String = if dotted { name.chars().map(exchange).collect() } else { name.to_owned() };
    let mut components = path.split('/');
    let good = components.clone().count() >= 2
        && components.all(|component| !matches!(component, "" | "." | ".."));
    good.then_some(path)
}

fn scope(path: &str) -> Scope {
    match path {
        "kernel/msgmax"
        | "kernel/msgmnb"
        | "kernel/msgmni"
        | "kernel/sem"
        | "kernel/shmall"
        | "kernel/shmmax"
        | "kernel/shmmni"
        | "kernel/shm_rmid_forced" => Scope::Namespace(Type::Ipc, "an ipc namespace"),
        "kernel/domainname" => Scope::Namespace(Type::Uts, "a uts namespace"),
        "kernel/hostname" => Scope::Field("hostname"),
        _ if path.starts_with("fs/mqueue/") => Scope::Namespace(Type::Ipc, "an ipc namespace"),
        _ if path.starts_with("net/") => Scope::Namespace(Type::Network, "a network namespace"),
        _ if path.starts_with("user/") => Scope::Namespace(Type::User, "a user namespace"),
        _ => Scope::Host,
    }
}

/// config-linux.md, "Sysctl". Whether a joined network namespace is the host's own is found out
/// when it is joined.
pub fn names_and_values(spec: &Spec, _: &Given) -> Result<()> {
    let Some(sysctl) = linux(spec).and_then(|linux| linux.sysctl().as_ref()) else {
        return Ok(());
    };
    let mut entries: Vec<_> = sysctl.iter().collect();
    entries.sort_unstable();
    let mut seen: Vec<String> = Vec::with_capacity(entries.len());
    for (name, value) in entries {
        let refuse = |why: String| Err(Error::invalid("linux.sysctl", name, why));
        let Some(path) = path(name) else {
            return refuse("not the name of a sysctl".to_owned());
        };
        match scope(&path) {
            Scope::Namespace(typ, what) if namespace(spec, typ).is_none() => {
                return refuse(format!("would change the host; it needs {what}"));
            }
            Scope::Namespace(..) => {}
            Scope::Field(field) => {
                return refuse(format!("set the field \"{field}\" instead"));
            }
            Scope::Host => {
                return refuse("does not belong to a namespace of the container".to_owned());
            }
        }
        if path == "kernel/domainname"
            && let Some(domainname) = set(spec.domainname()).filter(|name| name != value)
        {
            let field = format!("linux.sysctl.{name}");
            let why = format!("conflicts with the field \"domainname\", which is {domainname:?}");
            return Err(Error::invalid(field, value, why));
        }
        if value.contains(['\n', '\0']) {
            let field = format!("linux.sysctl.{name}");
            return Err(Error::invalid(field, value, "must be one line without a NUL byte"));
        }
        if seen.contains(&path) {
            return refuse("is given twice, in two notations".to_owned());
        }
        seen.push(path);
    }
    Ok(())
}
