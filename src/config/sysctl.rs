//! `linux.sysctl`: an exact list of the sysctls that belong to a namespace of the container.
//!
//! Most of /proc/sys belongs to the host. A name that is not listed is refused, not tried
//! (CVE-2022-0811: a name or value that reached further than the check looked).

use std::collections::HashMap;

use super::linux::one_line;
use super::namespaces::{Kind, Namespaces};
use crate::{Error, Result};

/// The owner of a sysctl.
enum Scope {
    Namespace(Kind, &'static str),
    /// Set by this field of the configuration.
    Field(&'static str),
    Host,
}

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

fn scope(path: &str) -> Scope {
    match path {
        "kernel/msgmax"
        | "kernel/msgmnb"
        | "kernel/msgmni"
        | "kernel/sem"
        | "kernel/shmall"
        | "kernel/shmmax"
        | "kernel/shmmni"
        | "kernel/shm_rmid_forced" => Scope::Namespace(Kind::Ipc, "an ipc namespace"),
        "kernel/domainname" => Scope::Namespace(Kind::Uts, "a uts namespace"),
        "kernel/hostname" => Scope::Field("hostname"),
        _ if path.starts_with("fs/mqueue/") => Scope::Namespace(Kind::Ipc, "an ipc namespace"),
        _ if path.starts_with("net/") => Scope::Namespace(Kind::Network, "a network namespace"),
        _ if path.starts_with("user/") => Scope::Namespace(Kind::User, "a user namespace"),
        _ => Scope::Host,
    }
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
        let refuse = |why: String| Err(Error::invalid("linux.sysctl", name, why));
        let Some(path) = path(name) else {
            return refuse("not the name of a sysctl".to_owned());
        };
        match scope(&path) {
            Scope::Namespace(kind, what) if !namespaces.has(kind) => {
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
        let field = || format!("linux.sysctl.{name}");
        if path == "kernel/domainname"
            && let Some(domainname) = domainname.filter(|name| name != value)
        {
            let why = format!("conflicts with the field \"domainname\", which is {domainname:?}");
            return Err(Error::invalid(field(), value, why));
        }
        one_line(&field(), Some(value))?;
        if parsed.iter().any(|(other, _)| *other == path) {
            return refuse("is given twice, in two notations".to_owned());
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
