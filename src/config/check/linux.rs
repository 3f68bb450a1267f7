//! The smaller members of linux.

use std::path::Component;

use oci_spec::runtime::{LinuxNamespaceType, MemoryPolicyFlagType, MemoryPolicyModeType, Spec};

use super::{Given, each, linux, namespace, number_list, set};
use crate::cgroup::limits::interface_name;
use crate::{Error, Result};

/// config-linux.md, "Masked Paths" and "Readonly Paths": absolute.
pub fn restricted_paths(spec: &Spec, _: &Given) -> Result<()> {
    let Some(linux) = linux(spec) else { return Ok(()) };
    for (name, paths) in
        [("maskedPaths", linux.masked_paths()), ("readonlyPaths", linux.readonly_paths())]
    {
        for (index, path) in each(paths) {
            if !path.starts_with('/') {
                let field = format!("linux.{name}[{index}]");
                return Err(Error::invalid(field, path, "must be an absolute path"));
            }
        }
    }
    Ok(())
}

/// config-linux.md, "Rootfs Mount Propagation", with the recursive forms every engine uses.
pub fn rootfs_propagation(spec: &Spec, _: &Given) -> Result<()> {
    const KNOWN: [&str; 8] = [
        "shared",
        "rshared",
        "slave",
        "rslave",
        "private",
        "rprivate",
        "unbindable",
        "runbindable",
    ];
    match linux(spec).and_then(|linux| set(linux.rootfs_propagation())) {
        Some(value) if !KNOWN.contains(&value) => {
            let why = "must be shared, slave, private or unbindable, or one of these with an r \
                       before it";
            Err(Error::invalid("linux.rootfsPropagation", value, why))
        }
        _ => Ok(()),
    }
}

/// config-linux.md, "Mount Label": one line.
pub fn mount_label(spec: &Spec, _: &Given) -> Result<()> {
    let label = linux(spec).and_then(|linux| set(linux.mount_label()));
    one_line("linux.mountLabel", label)
}

/// A label with a line feed would be cut, or write a second line.
pub fn one_line(field: &str, label: Option<&str>) -> Result<()> {
    match label {
        Some(label) if label.contains(['\n', '\0']) => {
            Err(Error::invalid(field, label, "must be one line without a NUL byte"))
        }
        _ => Ok(()),
    }
}

/// config-linux.md, "Personality": no flag is defined, so none is valid.
pub fn personality(spec: &Spec, _: &Given) -> Result<()> {
    let personality = linux(spec).and_then(|linux| linux.personality().as_ref());
    match personality.and_then(|personality| personality.flags().as_ref()?.first()) {
        Some(flag) => {
            Err(Error::invalid("linux.personality.flags[0]", flag, "the spec defines no flag"))
        }
        None => Ok(()),
    }
}

/// config-linux.md, "Memory policy", and set_mempolicy(2).
pub fn memory_policy(spec: &Spec, _: &Given) -> Result<()> {
    use MemoryPolicyFlagType::{MpolFRelativeNodes, MpolFStaticNodes};
    use MemoryPolicyModeType::{MpolDefault, MpolLocal, MpolPreferred};
    let Some(policy) = linux(spec).and_then(|linux| linux.memory_policy().as_ref()) else {
        return Ok(());
    };
    let field = "linux.memoryPolicy.nodes";
    let nodes = policy.nodes().as_deref().unwrap_or_default();
    // "invalid memory policy" and what follows it are runc's words, for which scripts look.
    if number_list(field, nodes).is_err() {
        let why = "invalid memory policy nodes: not a list of numbers and ranges such as \"0-3,7\"";
        return Err(Error::invalid(field, nodes, why));
    }
    let mode = policy.mode();
    match (mode, nodes.is_empty()) {
        (MpolDefault | MpolLocal, false) => {
            let why = format!("invalid memory policy: {mode} takes no nodes");
            return Err(Error::invalid(field, nodes, why));
        }
        (MpolDefault | MpolLocal | MpolPreferred, _) | (_, false) => {}
        (_, true) => {
            return Err(Error::invalid_field(
                field,
                format!("invalid memory policy: {mode} needs a node"),
            ));
        }
    }
    let has = |flag| each(policy.flags()).any(|(_, listed)| *listed == flag);
    if has(MpolFStaticNodes) && has(MpolFRelativeNodes) {
        let why = "invalid memory policy flags: MPOL_F_STATIC_NODES and MPOL_F_RELATIVE_NODES exclude each other";
        return Err(Error::invalid_field("linux.memoryPolicy.flags", why));
    }
    Ok(())
}

/// config-linux.md, "Network Devices"; names as the kernel takes them (dev_valid_name).
pub fn net_devices(spec: &Spec, _: &Given) -> Result<()> {
    let devices = linux(spec).and_then(|linux| linux.net_devices().as_ref());
    let Some(devices) = devices.filter(|devices| !devices.is_empty()) else { return Ok(()) };
    if namespace(spec, LinuxNamespaceType::Network).is_none() {
        return Err(Error::invalid_field("linux.netDevices", "needs a network namespace"));
    }
    let mut devices: Vec<_> = devices.iter().collect();
    devices.sort_unstable_by_key(|(name, _)| *name);
    for (name, device) in devices {
        interface_name("linux.netDevices", name)?;
        if let Some(inside) = set(device.name()) {
            interface_name(&format!("linux.netDevices.{name}.name"), inside)?;
        }
    }
    Ok(())
}

/// config-linux.md, "IntelRdt": one line a schema, and an id that is a single file name.
pub fn intel_rdt(spec: &Spec, _: &Given) -> Result<()> {
    let Some(rdt) = linux(spec).and_then(|linux| linux.intel_rdt().as_ref()) else {
        return Ok(());
    };
    if let Some(id) = set(rdt.clos_id())
        && id != "/"
        && (id.contains('/') || matches!(id, "." | ".."))
    {
        let why = "must be \"/\" or the name of one directory";
        return Err(Error::invalid("linux.intelRdt.closID", id, why));
    }
    if let Some(schema) = set(rdt.mem_bw_schema())
        && !schema.starts_with("MB:")
    {
        let why = "must start with \"MB:\"";
        return Err(Error::invalid("linux.intelRdt.memBwSchema", schema, why));
    }
    one_line("linux.intelRdt.memBwSchema", rdt.mem_bw_schema().as_deref())?;
    one_line("linux.intelRdt.l3CacheSchema", rdt.l3_cache_schema().as_deref())?;
    for (index, line) in each(rdt.schemata()) {
        one_line(&format!("linux.intelRdt.schemata[{index}]"), Some(line))?;
    }
    Ok(())
}

/// config-linux.md, "Cgroups Path": stays below where the cgroup file system is mounted.
pub fn cgroups_path(spec: &Spec, _: &Given) -> Result<()> {
    let Some(path) = linux(spec).and_then(|linux| linux.cgroups_path().as_ref()) else {
        return Ok(());
    };
    if path.components().any(|component| component == Component::ParentDir) {
        return Err(Error::invalid("linux.cgroupsPath", path, "must not contain \"..\""));
    }
    if path.to_string_lossy().contains('\n') {
        return Err(Error::invalid("linux.cgroupsPath", path, "must not contain a line feed"));
    }
    Ok(())
}
