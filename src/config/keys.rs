//! The keys of a configuration: one table of their places and values.

/// The kind of a key's value.
#[derive(Debug, Clone, Copy)]
pub enum Of {
    /// A value without keys of the specification: a string, a number, an array of these, or a map
    /// with free keys.
    Value,
    /// Such a value that is required, although the parser would read a missing member as 0 or empty.
    Required,
    /// The type of a device node; `p`, a FIFO, needs none of the required members of its object.
    NodeType,
    /// A value for other platforms, or of an unknown key, which is not checked.
    Foreign,
    /// An object.
    Object(&'static [Key]),
    /// An array of objects.
    Objects(&'static [Key]),
    /// A map with free keys, whose values are objects.
    Map(&'static [Key]),
}
use Of::{Foreign, Map, NodeType, Object, Objects, Required};

/// A key of an object.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// The name of the key.
    pub name: &'static str,
    /// The kind of its value.
    pub of: Of,
}

/// Lists keys, each with the kind of its value if that is not [`Of::Value`].
macro_rules! keys {
    ($($name:ident $(: $of:expr)?),+ $(,)?) => {
        &[$(Key { name: stringify!($name), of: keys!(@of $($of)?) }),+]
    };
    (@of) => { Of::Value };
    (@of $of:expr) => { $of };
}

/// The keys of config.json.
pub const CONFIG: &[Key] = keys! {
    ociVersion, hostname, domainname, annotations,
    root: Object(keys! { path, readonly }),
    mounts: Objects(MOUNT),
    process: Object(PROCESS),
    hooks: Object(HOOKS),
    linux: Object(LINUX),
    solaris: Foreign, windows: Foreign, vm: Foreign, zos: Foreign, freebsd: Foreign,
};

const MOUNT: &[Key] = keys! {
    destination, type, source, options,
    uidMappings: Objects(MAPPING),
    gidMappings: Objects(MAPPING),
};

const MAPPING: &[Key] = keys! { hostID: Required, containerID, size };

/// The keys of process.json, and of `process` in config.json.
pub const PROCESS: &[Key] = keys! {
    terminal, args, env, cwd, noNewPrivileges, apparmorProfile, oomScoreAdj, selinuxLabel,
    consoleSize: Object(keys! { height, width }),
    user: Object(keys! { uid, gid, umask, additionalGids, username: Foreign }),
    commandLine: Foreign,
    capabilities: Object(keys! { bounding, effective, inheritable, permitted, ambient }),
    rlimits: Objects(keys! { type, soft: Required, hard: Required }),
    ioPriority: Object(keys! { class: Required, priority }),
    scheduler: Object(keys! { policy, nice, priority, flags, runtime, deadline, period }),
    execCPUAffinity: Object(keys! { initial, final }),
};

const HOOKS: &[Key] = keys! {
    prestart: Objects(HOOK),
    createRuntime: Objects(HOOK),
    createContainer: Objects(HOOK),
    startContainer: Objects(HOOK),
    poststart: Objects(HOOK),
    poststop: Objects(HOOK),
};

const HOOK: &[Key] = keys! { path, args, env, timeout };

const LINUX: &[Key] = keys! {
    sysctl, cgroupsPath, rootfsPropagation, maskedPaths, readonlyPaths, mountLabel,
    uidMappings: Objects(MAPPING),
    gidMappings: Objects(MAPPING),
    resources: Object(RESOURCES),
    namespaces: Objects(keys! { type, path }),
    devices: Objects(DEVICE),
    netDevices: Map(keys! { name }),
    seccomp: Object(SECCOMP),
    intelRdt: Object(INTEL_RDT),
    memoryPolicy: Object(keys! { mode, nodes, flags }),
    personality: Object(keys! { domain, flags }),
    timeOffsets: Map(keys! { secs, nanosecs }),
};

const DEVICE: &[Key] = keys! {
    path, type: NodeType, major: Required, minor: Required, fileMode, uid, gid,
};

const SECCOMP: &[Key] = keys! {
    defaultAction, defaultErrnoRet, architectures, flags, listenerPath, listenerMetadata,
    syscalls: Objects(SYSCALL),
};

const SYSCALL: &[Key] = keys! {
    names, action, errnoRet,
    args: Objects(keys! { index, value, valueTwo, op }),
};

/// The last two keys are deprecated: [`super::load`] has the reason why they are not read.
const INTEL_RDT: &[Key] = keys! {
    closID, l3CacheSchema, memBwSchema, schemata, enableMonitoring,
    enableCMT: Foreign,
    enableMBM: Foreign,
};

/// The keys of `linux.resources`, which `update --resources` reads too.
pub const RESOURCES: &[Key] = keys! {
    devices: Objects(keys! { allow, type, major, minor, access }),
    memory: Object(MEMORY),
    cpu: Object(CPU),
    pids: Object(keys! { limit }),
    blockIO: Object(BLOCK_IO),
    hugepageLimits: Objects(keys! { pageSize: Required, limit: Required }),
    network: Object(NETWORK),
    rdma: Map(keys! { hcaHandles, hcaObjects }),
    unified,
};

const MEMORY: &[Key] = keys! {
    limit, reservation, swap, kernel, kernelTCP, swappiness, disableOOMKiller, useHierarchy,
    checkBeforeUpdate,
};

const CPU: &[Key] = keys! {
    shares, quota, burst, period, realtimeRuntime, realtimePeriod, cpus, mems, idle,
};

const BLOCK_IO: &[Key] = keys! {
    weight, leafWeight,
    weightDevice: Objects(keys! { major: Required, minor: Required, weight, leafWeight }),
    throttleReadBpsDevice: Objects(THROTTLE_DEVICE),
    throttleWriteBpsDevice: Objects(THROTTLE_DEVICE),
    throttleReadIOPSDevice: Objects(THROTTLE_DEVICE),
    throttleWriteIOPSDevice: Objects(THROTTLE_DEVICE),
};

const THROTTLE_DEVICE: &[Key] = keys! { major: Required, minor: Required, rate: Required };

const NETWORK: &[Key] = keys! {
    classID,
    priorities: Objects(keys! { name: Required, priority: Required }),
};

/// Returns each key below `keys` as a path such as `linux.devices[].path` or
/// `linux.rdma{}.hcaHandles`, with the kind of its value.
#[cfg(test)]
pub fn paths(keys: &'static [Key]) -> Vec<(String, Of)> {
    let mut all = Vec::new();
    collect("", keys, &mut all);
    all
}

#[cfg(test)]
fn collect(before: &str, keys: &'static [Key], all: &mut Vec<(String, Of)>) {
    for key in keys {
        let path = format!("{before}{}", key.name);
        all.push((path.clone(), key.of));
        match key.of {
            Of::Object(keys) => collect(&format!("{path}."), keys, all),
            Of::Objects(keys) => collect(&format!("{path}[]."), keys, all),
            Of::Map(keys) => collect(&format!("{path}{{}}."), keys, all),
            _ => {}
        }
    }
}

#[cfg(test)]
#[path = "keys_tests.rs"]
mod tests;
