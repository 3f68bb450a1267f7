//! `spec`: writes an example config.json.
//!
//! The content is that of `runc spec`, since scripts and tutorials rely on it: a shell in `rootfs`
//! with the usual mounts.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, statfs};
use serde::Serialize;
use serde_json::ser::{PrettyFormatter, Serializer};

use crate::state::OCI_VERSION;
use crate::{Context, Error, Kind, Result};

/// The name of the configuration file in a bundle.
const CONFIG: &str = "config.json";

/// Writes config.json to `bundle` (or the working directory), for the uid and gid of the caller if
/// `rootless`. Never overwrites a file.
pub fn run(bundle: Option<&Path>, rootless: bool) -> Result<()> {
    let ids = rootless.then(|| (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw()));
    let text = text(&config(ids, unified_cgroups()))?;
    let path = bundle.map_or_else(|| CONFIG.into(), |bundle| bundle.join(CONFIG));
    let failed = || format!("create {path:?}");
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(0o666).open(&path).map_err(
            |e| match e.kind() {
                ErrorKind::AlreadyExists => {
                    Error::new(Kind::Invalid, format!("{path:?}: already exists; remove it first"))
                }
                _ => Error::from(e).context(failed()),
            },
        )?;
    file.write_all(&text).with_context(failed)
}

/// Whether /sys/fs/cgroup is cgroup v2.
fn unified_cgroups() -> bool {
    statfs("/sys/fs/cgroup").is_ok_and(|fs| fs.filesystem_type() == CGROUP2_SUPER_MAGIC)
}

fn text(config: &Config) -> Result<Vec<u8>> {
    let mut text = Vec::new();
    let mut serializer = Serializer::with_formatter(&mut text, PrettyFormatter::with_indent(b"\t"));
    config
        .serialize(&mut serializer)
        .map_err(|e| Error::new(Kind::System, format!("default configuration: {e}")))?;
    text.push(b'\n');
    Ok(text)
}

type Words = &'static [&'static str];

// The crate's types are not used for writing: they keep capabilities in a hash set, so two runs
// would write different files.

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Config {
    oci_version: &'static str,
    process: Process,
    root: Root,
    hostname: &'static str,
    mounts: Vec<Mount>,
    linux: Linux,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Process {
    terminal: bool,
    user: User,
    args: Words,
    env: Words,
    cwd: &'static str,
    capabilities: Capabilities,
    rlimits: [Rlimit; 1],
    no_new_privileges: bool,
}

#[derive(Serialize)]
struct User {
    uid: u32,
    gid: u32,
}

#[derive(Serialize)]
struct Capabilities {
    bounding: Words,
    effective: Words,
    permitted: Words,
}

#[derive(Serialize)]
struct Rlimit {
    r#type: &'static str,
    hard: u64,
    soft: u64,
}

#[derive(Serialize)]
struct Root {
    path: &'static str,
    readonly: bool,
}

#[derive(Serialize)]
struct Mount {
    destination: &'static str,
    r#type: &'static str,
    source: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    options: Vec<&'static str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Linux {
    #[serde(skip_serializing_if = "Option::is_none")]
    uid_mappings: Option<[Mapping; 1]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gid_mappings: Option<[Mapping; 1]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resources: Option<Resources>,
    namespaces: Vec<Namespace>,
    masked_paths: Words,
    readonly_paths: Words,
}

#[derive(Serialize)]
struct Mapping {
    #[serde(rename = "containerID")]
    container_id: u32,
    #[serde(rename = "hostID")]
    host_id: u32,
    size: u32,
}

#[derive(Serialize)]
struct Resources {
    devices: [DeviceRule; 1],
}

#[derive(Serialize)]
struct DeviceRule {
    allow: bool,
    access: &'static str,
}

#[derive(Serialize)]
struct Namespace {
    r#type: &'static str,
}

const CAPABILITIES: Words = &["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"];

const MASKED: Words = &[
    "/proc/acpi",
    "/proc/asound",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/sys/firmware",
    "/proc/scsi",
];

const READONLY: Words = &["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

fn config(rootless: Option<(u32, u32)>, unified_cgroups: bool) -> Config {
    Config {
        oci_version: OCI_VERSION,
        process: Process {
            terminal: true,
            user: User { uid: 0, gid: 0 },
            args: &["sh"],
            env: &[
                "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                "TERM=xterm",
            ],
            cwd: "/",
            // No ambient capabilities, as in runc since 1.2: the kernel accepts an ambient
            // capability only if it is inheritable too, and none is.
            capabilities: Capabilities {
                bounding: CAPABILITIES,
                effective: CAPABILITIES,
                permitted: CAPABILITIES,
            },
            rlimits: [Rlimit { r#type: "RLIMIT_NOFILE", hard: 1024, soft: 1024 }],
            no_new_privileges: true,
        },
        root: Root { path: "rootfs", readonly: true },
        hostname: "bulkhead",
        mounts: mounts(rootless.is_some()),
        linux: linux(rootless, unified_cgroups),
    }
}

fn mounts(rootless: bool) -> Vec<Mount> {
    let mount = |destination, r#type, source, options: Words| Mount {
        destination,
        r#type,
        source,
        options: options.to_vec(),
    };
    let mut devpts = vec!["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"];
    let sys = if rootless {
        // Mounting sysfs requires privileges over the network namespace, which is the host's.
        mount("/sys", "none", "/sys", &["rbind", "nosuid", "noexec", "nodev", "ro"])
    } else {
        mount("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", "ro"])
    };
    if !rootless {
        // The group tty is not mapped if only a single id is.
        devpts.push("gid=5");
    }
    vec![
        mount("/proc", "proc", "proc", &[]),
        mount("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        Mount { destination: "/dev/pts", r#type: "devpts", source: "devpts", options: devpts },
        mount(
            "/dev/shm",
            "tmpfs",
            "shm",
            &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"],
        ),
        mount("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
        sys,
        mount(
            "/sys/fs/cgroup",
            "cgroup",
            "cgroup",
            &["nosuid", "noexec", "nodev", "relatime", "ro"],
        ),
    ]
}

fn linux(rootless: Option<(u32, u32)>, unified_cgroups: bool) -> Linux {
    let own = |host_id| [Mapping { container_id: 0, host_id, size: 1 }];
    let namespaces = ["pid", "network", "ipc", "uts", "mount", "cgroup", "user"]
        .into_iter()
        .filter(|name| match *name {
            "network" => rootless.is_none(),
            "user" => rootless.is_some(),
            "cgroup" => unified_cgroups,
            _ => true,
        })
        .map(|r#type| Namespace { r#type })
        .collect();
    Linux {
        uid_mappings: rootless.map(|(uid, _)| own(uid)),
        gid_mappings: rootless.map(|(_, gid)| own(gid)),
        // Limits need a cgroup, which an ordinary user may be unable to create.
        resources: rootless
            .is_none()
            .then_some(Resources { devices: [DeviceRule { allow: false, access: "rwm" }] }),
        namespaces,
        masked_paths: MASKED,
        readonly_paths: READONLY,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use serde_json::{Value, json};

    use super::*;

    fn value(rootless: Option<(u32, u32)>, unified: bool) -> Value {
        serde_json::from_slice(&text(&config(rootless, unified)).unwrap()).unwrap()
    }

    #[test]
    fn namespaces_follow_the_host_and_the_user() {
        let names = |rootless, unified| -> Vec<String> {
            let spec = value(rootless, unified);
            let list = spec["linux"]["namespaces"].as_array().unwrap();
            list.iter().map(|n| n["type"].as_str().unwrap().to_owned()).collect()
        };
        assert_eq!(names(None, false), ["pid", "network", "ipc", "uts", "mount"]);
        assert_eq!(names(None, true), ["pid", "network", "ipc", "uts", "mount", "cgroup"]);
        assert_eq!(
            names(Some((1000, 100)), true),
            ["pid", "ipc", "uts", "mount", "cgroup", "user"]
        );
    }

    #[test]
    fn rootless_maps_the_caller_and_asks_for_nothing_else() {
        let spec = value(Some((1000, 100)), false);
        let linux = &spec["linux"];
        assert_eq!(linux["uidMappings"], json!([{"containerID": 0, "hostID": 1000, "size": 1}]));
        assert_eq!(linux["gidMappings"], json!([{"containerID": 0, "hostID": 100, "size": 1}]));
        assert!(linux.get("resources").is_none());
        let mounts = spec["mounts"].as_array().unwrap();
        assert!(!mounts.iter().any(|m| m["options"].to_string().contains("gid=")));
        let sys = mounts.iter().find(|m| m["destination"] == "/sys").unwrap();
        assert_eq!((&sys["type"], &sys["source"]), (&json!("none"), &json!("/sys")));
        assert_eq!(sys["options"][0], "rbind");
    }

    #[test]
    fn the_types_of_the_specification_lose_nothing() {
        for rootless in [None, Some((1000, 100))] {
            let mut written = value(rootless, true);
            let spec: oci_spec::runtime::Spec = serde_json::from_value(written.clone()).unwrap();
            let mut typed = serde_json::to_value(spec).unwrap();
            // Sets in the types, so compare them without order.
            for value in [&mut typed, &mut written] {
                let sets = value["process"]["capabilities"].as_object_mut().unwrap();
                for set in sets.values_mut() {
                    set.as_array_mut().unwrap().sort_by_key(Value::to_string);
                }
            }
            assert_eq!(typed, written);
        }
    }

    #[test]
    fn writes_once_and_never_over_a_file() {
        let dir = tempfile::tempdir().unwrap();
        run(Some(dir.path()), false).unwrap();
        let path = dir.path().join("config.json");
        let first = std::fs::read_to_string(&path).unwrap();
        assert!(first.starts_with("{\n\t\"ociVersion\": \""), "{first}");
        assert!(first.ends_with("}\n"));
        let mode = std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode & !0o666, 0, "{mode:o}");
        assert_eq!(mode & 0o600, 0o600, "{mode:o}");

        let error = run(Some(dir.path()), true).unwrap_err().to_string();
        assert!(error.contains("config.json") && error.contains("remove it"), "{error}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), first);

        let error = run(Some(&dir.path().join("none")), false).unwrap_err();
        assert_eq!(error.errno(), Some(nix::errno::Errno::ENOENT));
        assert!(error.to_string().starts_with("create "), "{error}");
    }
}
