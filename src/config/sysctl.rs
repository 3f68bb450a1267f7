//! `linux.sysctl`: an exact list of the sysctls that belong to a namespace of the container.
//!
//! Most of /proc/sys belongs to the host. A name that is not listed is refused, not tried
//! (CVE-2022-0811: a name or value that reached further than the check looked).

use std::collections::HashMap;

use super::linux::one_line;
use super::namespaces::{Kind, Namespaces};
use crate::{Error, Result};

/// Returns the path of a sysctl below /proc/sys, from its name in either notation of sysctl(8).
///
/// The first separator decides: in `net.ipv4.conf.eth0/1.x` a slash stands for a dot within a
/// component, in `net/ipv4/conf/eth0.1/x` a dot is a dot. Returns `None` if a component is empty,
/// `.` or `..`, or if there is only one.
fn path(name: &str) -> Option<String> {
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

/// Returns the kind of namespace that a sysctl belongs to, with its name in errors. The error is the
/// reason why the sysctl cannot be set.
fn owner(path: &str) -> Result<(Kind, &'static str), &'static str> {
    match path {
        "kernel/msgmax"
        | "kernel/msgmnb"
        | "kernel/msgmni"
        | "kernel/sem"
        | "kernel/shmall"
        | "kernel/shmmax"
        | "kernel/shmmni"
        | "kernel/shm_rmid_forced" => Ok((Kind::Ipc, "an ipc namespace")),
        "kernel/domainname" => Ok((Kind::Uts, "a uts namespace")),
        "kernel/hostname" => Err("set the field \"hostname\" instead"),
        _ if path.starts_with("fs/mqueue/") => Ok((Kind::Ipc, "an ipc namespace")),
        _ if path.starts_with("net/") => Ok((Kind::Network, "a network namespace")),
        _ if path.starts_with("user/") => Ok((Kind::User, "a user namespace")),
        _ => Err("does not belong to a namespace of the container"),
    }
}

/// Returns the kind of namespace that a sysctl belongs to, by its name in either notation; `None` for
/// a sysctl of the host.
pub fn namespace(name: &str) -> Option<Kind> {
    owner(&path(name)?).ok().map(|(kind, _)| kind)
}

/// Parses `linux.sysctl` (config-linux.md, "Sysctl"). Returns paths below /proc/sys with their
/// values, sorted by name. Whether a joined network namespace is the host's is checked when it is
/// joined.
pub fn parse(
    sysctl: &Option<HashMap<String, String>>,
    namespaces: &Namespaces,
    domainname: Option<&str>,
) -> Result<Vec<(String, String)>> {
    let mut entries: Vec<_> = sysctl.iter().flatten().collect();
    entries.sort_unstable();
    let mut parsed: Vec<(String, String)> = Vec::with_capacity(entries.len());
    for (name, value) in entries {
        let refuse = |why: &str| Error::invalid("linux.sysctl", name, why);
        let path = path(name).ok_or_else(|| refuse("not the name of a sysctl"))?;
        let (kind, what) = owner(&path).map_err(refuse)?;
        if !namespaces.has(kind) {
            return Err(refuse(&format!("would change the host; it needs {what}")));
        }
        let field = || format!("linux.sysctl.{name}");
        if path == "kernel/domainname"
            && let Some(domainname) = domainname.filter(|name| name != value)
        {
            let why = format!("conflicts with the field \"domainname\", which is {domainname:?}");
            return Err(Error::invalid(field(), value, why));
        }
        one_line(&field(), Some(value))?;
        if parsed.iter().any(|(other, _)| *other == path) {
            return Err(refuse("is given twice, in two notations"));
        }
        parsed.push((path, value.clone()));
    }
    Ok(parsed)
}

#[cfg(test)]
mod tests {
    use super::path;

    #[test]
    fn paths() {
        let expected = Some("net/ipv4/conf/eth0.1/rp_filter");
        assert_eq!(path("net.ipv4.conf.eth0/1.rp_filter").as_deref(), expected);
        assert_eq!(path("net/ipv4/conf/eth0.1/rp_filter").as_deref(), expected);
        assert_eq!(path("kernel.msgmax").as_deref(), Some("kernel/msgmax"));
        assert_eq!(path("kernel"), None);
    }
}
