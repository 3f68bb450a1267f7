//! linux.namespaces, and what needs one of them.

use oci_spec::runtime::{LinuxNamespaceType as Type, Spec};

use super::{Given, each, joined, linux, mappings, namespace, set};
use crate::{Error, Result};

/// `__NEW_UTS_LEN`: the kernel's longest host or domain name.
const MAX_NAME: usize = 64;

/// config-linux.md, "Namespaces": no type twice.
pub fn types_are_unique(spec: &Spec, _: &Given) -> Result<()> {
    let Some(linux) = linux(spec) else { return Ok(()) };
    for (index, namespace) in each(linux.namespaces()) {
        let typ = namespace.typ();
        if each(linux.namespaces()).take(index).any(|(_, earlier)| earlier.typ() == typ) {
            let field = format!("linux.namespaces[{index}].type");
            return Err(Error::invalid(
                field,
                name(typ),
                "a namespace of this type is listed twice",
            ));
        }
    }
    Ok(())
}

/// config-linux.md, "Namespaces": a path is absolute.
pub fn paths_are_absolute(spec: &Spec, _: &Given) -> Result<()> {
    let Some(linux) = linux(spec) else { return Ok(()) };
    for (index, namespace) in each(linux.namespaces()) {
        if let Some(path) = joined(namespace)
            && !path.is_absolute()
        {
            let field = format!("linux.namespaces[{index}].path");
            return Err(Error::invalid(field, path, "must be an absolute path"));
        }
    }
    Ok(())
}

/// user_namespaces(7): without privilege, nothing can be set up outside of a user namespace.
pub fn rootless_has_user_namespace(spec: &Spec, given: &Given) -> Result<()> {
    if given.rootless && namespace(spec, Type::User).is_none() {
        return Err(Error::invalid_field(
            "linux.namespaces",
            "without root privileges a user namespace is needed: add {\"type\": \"user\"}, \
             uidMappings and gidMappings, as 'bulkhead spec --rootless' does",
        ));
    }
    Ok(())
}

/// config-linux.md, "User namespace mappings".
pub fn user_namespace_and_mappings(spec: &Spec, _: &Given) -> Result<()> {
    let Some(linux) = linux(spec) else { return Ok(()) };
    let uids = linux.uid_mappings().as_deref().unwrap_or_default();
    let gids = linux.gid_mappings().as_deref().unwrap_or_default();
    let lists = [("linux.uidMappings", uids), ("linux.gidMappings", gids)];
    let Some(user) = namespace(spec, Type::User) else {
        return match lists.into_iter().find(|(_, mappings)| !mappings.is_empty()) {
            Some((field, _)) => Err(Error::invalid_field(
                field,
                "mappings need a user namespace: add {\"type\": \"user\"} to linux.namespaces",
            )),
            None => Ok(()),
        };
    };
    for (field, mappings) in lists {
        if mappings.is_empty() {
            // A joined namespace has its own mappings; a copy of them may be given.
            if joined(user).is_none() {
                return Err(Error::invalid_field(field, "a new user namespace needs mappings"));
            }
            if uids.is_empty() != gids.is_empty() {
                let why = "uidMappings and gidMappings must be given together";
                return Err(Error::invalid_field(field, why));
            }
            continue;
        }
        mappings::check(field, mappings)?;
        // Init becomes root of the namespace to set the container up.
        if mappings::to_host(mappings, 0).is_none() {
            return Err(Error::invalid_field(field, "id 0 of the container is not mapped"));
        }
    }
    Ok(())
}

/// config.md, "Hostname" and "Domainname": without a UTS namespace they would be the host's.
pub fn names_need_uts(spec: &Spec, _: &Given) -> Result<()> {
    for (field, value) in [("hostname", spec.hostname()), ("domainname", spec.domainname())] {
        let Some(value) = set(value) else { continue };
        if namespace(spec, Type::Uts).is_none() {
            let why = "needs a uts namespace, or the host's name would be changed";
            return Err(Error::invalid(field, value, why));
        }
        if value.len() > MAX_NAME {
            return Err(Error::invalid(field, value, "is longer than 64 bytes"));
        }
    }
    Ok(())
}

/// config-linux.md, "Masked Paths": without a mount namespace the host's paths would be masked.
pub fn restricted_paths_need_mount(spec: &Spec, _: &Given) -> Result<()> {
    let Some(linux) = linux(spec) else { return Ok(()) };
    for (field, paths) in [
        ("linux.maskedPaths", linux.masked_paths()),
        ("linux.readonlyPaths", linux.readonly_paths()),
    ] {
        let any = paths.as_ref().is_some_and(|paths| !paths.is_empty());
        if any && namespace(spec, Type::Mount).is_none() {
            return Err(Error::invalid_field(field, "needs a mount namespace"));
        }
    }
    Ok(())
}

/// config-linux.md, "Offset for Time Namespace"; time_namespaces(7).
pub fn time_offsets(spec: &Spec, _: &Given) -> Result<()> {
    let offsets = linux(spec).and_then(|linux| linux.time_offsets().as_ref());
    let Some(offsets) = offsets.filter(|offsets| !offsets.is_empty()) else { return Ok(()) };
    match namespace(spec, Type::Time) {
        None => {
            return Err(Error::invalid_field("linux.timeOffsets", "needs a time namespace"));
        }
        Some(time) if joined(time).is_some() => {
            let why = "the offsets of a namespace that is joined cannot be changed";
            return Err(Error::invalid_field("linux.timeOffsets", why));
        }
        Some(_) => {}
    }
    let mut clocks: Vec<_> = offsets.iter().collect();
    clocks.sort_unstable_by_key(|(clock, _)| *clock);
    for (clock, offset) in clocks {
        if !matches!(clock.as_str(), "boottime" | "monotonic") {
            let why = "unknown clock; \"boottime\" and \"monotonic\" have an offset";
            return Err(Error::invalid("linux.timeOffsets", clock, why));
        }
        if let Some(nanosecs) = offset.nanosecs()
            && nanosecs >= 1_000_000_000
        {
            let field = format!("linux.timeOffsets.{clock}.nanosecs");
            return Err(Error::invalid(field, nanosecs, "must be less than 1000000000"));
        }
    }
    Ok(())
}

/// The spec's name of a namespace type.
fn name(typ: Type) -> &'static str {
    match typ {
        Type::Mount => "mount",
        Type::Cgroup => "cgroup",
        Type::Uts => "uts",
        Type::Ipc => "ipc",
        Type::User => "user",
        Type::Pid => "pid",
        Type::Network => "network",
        Type::Time => "time",
    }
}
