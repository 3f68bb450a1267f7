//! The keys of a configuration: one table of their places, values, and whether they are required.
//!
//! The parser ignores an unknown key (config.md, "Extensibility"), so a misspelt key would silently
//! remove a control. [`super::spelling`] finds such keys. A key that differs only in case is
//! accepted with a warning, since Go's decoder, and so runc, accepts it and such files exist. A key
//! that resembles a known key in another way, or belongs to another object, is ignored with a
//! warning that names the known key.

/// Whether a key is required although the parser would read a missing key as 0 or empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// The key is optional, or the parser itself reports that it is missing.
    No,
    /// The key is required.
    Yes,
    /// The key is required unless the object's `type` is `p`, a FIFO.
    UnlessFifo,
}

/// The kind of a key's value.
#[derive(Debug, Clone, Copy)]
pub enum Of {
    /// A value without keys of the specification: a string, a number, or a map with free keys.
    Value,
    /// An array of such values.
    Values,
    /// A value for other platforms, which is not checked.
    Foreign,
    /// An object.
    Object(&'static [Key]),
    /// An array of objects.
    Objects(&'static [Key]),
    /// A map with free keys, whose values are objects.
    Map(&'static [Key]),
}

/// A key of an object.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// The name of the key.
    pub name: &'static str,
    /// The kind of its value.
    pub of: Of,
    /// Whether the key is required.
    pub need: Need,
}

const fn key(name: &'static str, of: Of) -> Key {
    Key { name, of, need: Need::No }
}

const fn value(name: &'static str) -> Key {
    key(name, Of::Value)
}

const fn needed(name: &'static str) -> Key {
    Key { name, of: Of::Value, need: Need::Yes }
}

const fn values(name: &'static str) -> Key {
    key(name, Of::Values)
}

/// The keys of config.json.
pub const CONFIG: &[Key] = &[
    value("ociVersion"),
    key("root", Of::Object(ROOT)),
    key("mounts", Of::Objects(MOUNT)),
    key("process", Of::Object(PROCESS)),
    value("hostname"),
    value("domainname"),
    key("hooks", Of::Object(HOOKS)),
    value("annotations"),
    key("linux", Of::Object(LINUX)),
    key("solaris", Of::Foreign),
    key("windows", Of::Foreign),
    key("vm", Of::Foreign),
    key("zos", Of::Foreign),
    key("freebsd", Of::Foreign),
];

const ROOT: &[Key] = &[value("path"), value("readonly")];

const MOUNT: &[Key] = &[
    value("destination"),
    value("type"),
    value("source"),
    values("options"),
    key("uidMappings", Of::Objects(MAPPING)),
    key("gidMappings", Of::Objects(MAPPING)),
];

const MAPPING: &[Key] = &[needed("hostID"), value("containerID"), value("size")];

/// The keys of process.json, and of `process` in config.json.
pub const PROCESS: &[Key] = &[
    value("terminal"),
    key("consoleSize", Of::Object(&[value("height"), value("width")])),
    key("user", Of::Object(USER)),
    values("args"),
    key("commandLine", Of::Foreign),
    values("env"),
    value("cwd"),
    key("capabilities", Of::Object(CAPABILITIES)),
    key("rlimits", Of::Objects(&[value("type"), needed("soft"), needed("hard")])),
    value("noNewPrivileges"),
    value("apparmorProfile"),
    value("oomScoreAdj"),
    value("selinuxLabel"),
    key("ioPriority", Of::Object(&[needed("class"), needed("priority")])),
    key("scheduler", Of::Object(SCHEDULER)),
    key("execCPUAffinity", Of::Object(&[value("initial"), value("final")])),
];

const USER: &[Key] = &[
    value("uid"),
    value("gid"),
    value("umask"),
    values("additionalGids"),
    key("username", Of::Foreign),
];

const CAPABILITIES: &[Key] = &[
    values("bounding"),
    values("effective"),
    values("inheritable"),
    values("permitted"),
    values("ambient"),
];

const SCHEDULER: &[Key] = &[
    value("policy"),
    value("nice"),
    value("priority"),
    values("flags"),
    value("runtime"),
    value("deadline"),
    value("period"),
];

const HOOKS: &[Key] = &[
    key("prestart", Of::Objects(HOOK)),
    key("createRuntime", Of::Objects(HOOK)),
    key("createContainer", Of::Objects(HOOK)),
    key("startContainer", Of::Objects(HOOK)),
    key("poststart", Of::Objects(HOOK)),
    key("poststop", Of::Objects(HOOK)),
];

const HOOK: &[Key] = &[value("path"), values("args"), values("env"), value("timeout")];

const LINUX: &[Key] = &[
    key("uidMappings", Of::Objects(MAPPING)),
    key("gidMappings", Of::Objects(MAPPING)),
    value("sysctl"),
    key("resources", Of::Object(RESOURCES)),
    value("cgroupsPath"),
    key("namespaces", Of::Objects(&[value("type"), value("path")])),
    key("devices", Of::Objects(DEVICE)),
    key("netDevices", Of::Map(&[value("name")])),
    key("seccomp", Of::Object(SECCOMP)),
    value("rootfsPropagation"),
    values("maskedPaths"),
    values("readonlyPaths"),
    value("mountLabel"),
    key("intelRdt", Of::Object(INTEL_RDT)),
    key("memoryPolicy", Of::Object(&[value("mode"), value("nodes"), values("flags")])),
    key("personality", Of::Object(&[value("domain"), values("flags")])),
    key("timeOffsets", Of::Map(&[value("secs"), value("nanosecs")])),
];

const DEVICE: &[Key] = &[
    value("path"),
    value("type"),
    Key { name: "major", of: Of::Value, need: Need::UnlessFifo },
    Key { name: "minor", of: Of::Value, need: Need::UnlessFifo },
    value("fileMode"),
    value("uid"),
    value("gid"),
];

const SECCOMP: &[Key] = &[
    value("defaultAction"),
    value("defaultErrnoRet"),
    values("architectures"),
    values("flags"),
    value("listenerPath"),
    value("listenerMetadata"),
    key("syscalls", Of::Objects(SYSCALL)),
];

const SYSCALL: &[Key] = &[
    values("names"),
    value("action"),
    value("errnoRet"),
    key("args", Of::Objects(&[value("index"), value("value"), value("valueTwo"), value("op")])),
];

/// The last two keys are deprecated: [`super::load`] has the reason why they are not read.
const INTEL_RDT: &[Key] = &[
    value("closID"),
    value("l3CacheSchema"),
    value("memBwSchema"),
    values("schemata"),
    value("enableMonitoring"),
    key("enableCMT", Of::Foreign),
    key("enableMBM", Of::Foreign),
];

/// The keys of `linux.resources`, which `update --resources` reads too.
pub const RESOURCES: &[Key] = &[
    key("devices", Of::Objects(DEVICE_RULE)),
    key("memory", Of::Object(MEMORY)),
    key("cpu", Of::Object(CPU)),
    key("pids", Of::Object(&[value("limit")])),
    key("blockIO", Of::Object(BLOCK_IO)),
    key("hugepageLimits", Of::Objects(&[needed("pageSize"), needed("limit")])),
    key("network", Of::Object(NETWORK)),
    key("rdma", Of::Map(&[value("hcaHandles"), value("hcaObjects")])),
    value("unified"),
];

const DEVICE_RULE: &[Key] =
    &[value("allow"), value("type"), value("major"), value("minor"), value("access")];

const MEMORY: &[Key] = &[
    value("limit"),
    value("reservation"),
    value("swap"),
    value("kernel"),
    value("kernelTCP"),
    value("swappiness"),
    value("disableOOMKiller"),
    value("useHierarchy"),
    value("checkBeforeUpdate"),
];

const CPU: &[Key] = &[
    value("shares"),
    value("quota"),
    value("burst"),
    value("period"),
    value("realtimeRuntime"),
    value("realtimePeriod"),
    value("cpus"),
    value("mems"),
    value("idle"),
];

const BLOCK_IO: &[Key] = &[
    value("weight"),
    value("leafWeight"),
    key("weightDevice", Of::Objects(WEIGHT_DEVICE)),
    key("throttleReadBpsDevice", Of::Objects(THROTTLE_DEVICE)),
    key("throttleWriteBpsDevice", Of::Objects(THROTTLE_DEVICE)),
    key("throttleReadIOPSDevice", Of::Objects(THROTTLE_DEVICE)),
    key("throttleWriteIOPSDevice", Of::Objects(THROTTLE_DEVICE)),
];

const WEIGHT_DEVICE: &[Key] =
    &[needed("major"), needed("minor"), value("weight"), value("leafWeight")];

const THROTTLE_DEVICE: &[Key] = &[needed("major"), needed("minor"), needed("rate")];

const NETWORK: &[Key] =
    &[value("classID"), key("priorities", Of::Objects(&[needed("name"), needed("priority")]))];

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
            Of::Value | Of::Values | Of::Foreign => {}
        }
    }
}

#[cfg(test)]
#[path = "keys_tests.rs"]
mod tests;
