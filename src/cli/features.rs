//! `features`: reports the supported features to engines (features.md, features-linux.md).
//!
//! A property that is left out means unknown; `false` and `[]` mean unsupported.

use serde_json::{Value, json};

use super::output::print_pretty_json;
use crate::config::options;
use crate::seccomp::names;
use crate::state::OCI_VERSION;
use crate::{Result, systemd};

/// The oldest version of the specification whose configurations are accepted.
pub const OCI_VERSION_MIN: &str = "1.0.0";

/// Prints the document to standard output. Needs no privileges.
pub fn run() -> Result<()> {
    print_pretty_json(&document())
}

/// Returns the features structure.
pub fn document() -> Value {
    json!({
        "ociVersionMin": OCI_VERSION_MIN,
        "ociVersionMax": OCI_VERSION,
        "hooks": [
            "prestart",
            "createRuntime",
            "createContainer",
            "startContainer",
            "poststart",
            "poststop",
        ],
        "mountOptions": options::names(),
        "linux": linux(),
        "annotations": annotations(),
        // Properties of the systemd unit, and annotations that name files and sockets of the host. The
        // configuration of CRIU can name a program to run.
        // A name that ends with a dot is a prefix.
        "potentiallyUnsafeConfigAnnotations":
            [crate::checkpoint::CONFIG_ANNOTATION, systemd::annotations::PREFIX, crate::config::annotations::PREFIX],
    })
}

fn linux() -> Value {
    json!({
        "namespaces": ["cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts"],
        "capabilities": capabilities(),
        "cgroup": {
            "v1": true,
            "v2": true,
            "systemd": true,
            "systemdUser": true,
            "rdma": true,
        },
        "seccomp": {
            "enabled": true,
            "actions": names::ACTIONS,
            "operators": names::OPERATORS,
            "archs": names::archs(),
            "knownFlags": names::FLAGS,
            "supportedFlags": names::supported_flags(),
        },
        "apparmor": { "enabled": true },
        "selinux": { "enabled": true },
        "memoryPolicy": {
            "modes": [
                "MPOL_BIND",
                "MPOL_DEFAULT",
                "MPOL_INTERLEAVE",
                "MPOL_LOCAL",
                "MPOL_PREFERRED",
                "MPOL_PREFERRED_MANY",
                "MPOL_WEIGHTED_INTERLEAVE",
            ],
            "flags": ["MPOL_F_NUMA_BALANCING", "MPOL_F_RELATIVE_NODES", "MPOL_F_STATIC_NODES"],
        },
        "intelRdt": { "enabled": true, "schemata": true, "monitoring": true },
        "mountExtensions": { "idmap": { "enabled": true } },
        "netDevices": { "enabled": true },
    })
}

/// Returns all known capabilities, whether or not this kernel has them.
fn capabilities() -> Vec<String> {
    let mut names: Vec<String> = caps::all().iter().map(ToString::to_string).collect();
    names.sort_unstable();
    names
}

fn annotations() -> Value {
    let mut annotations = json!({
        "io.github.seccomp.libseccomp.version": names::library_version(),
        "org.bulkhead.version": env!("CARGO_PKG_VERSION"),
        "org.opencontainers.runc.checkpoint.enabled": "true",
    });
    if let Some(commit) = option_env!("BULKHEAD_COMMIT") {
        annotations["org.bulkhead.commit"] = commit.into();
    }
    annotations
}

#[cfg(test)]
mod tests {
    use oci_spec::runtime::{Capability, Features, LinuxNamespaceType};

    use super::*;

    #[test]
    fn the_document_is_one_of_the_specification() {
        let document = document();
        let features: Features = serde_json::from_value(document.clone()).unwrap();
        assert_eq!(features.oci_version_max(), OCI_VERSION);
        let namespaces: Vec<LinuxNamespaceType> =
            serde_json::from_value(document["linux"]["namespaces"].clone()).unwrap();
        assert_eq!(namespaces.len(), 8);
    }

    #[test]
    fn nothing_is_null() {
        fn walk(path: &str, value: &Value) {
            assert!(!value.is_null(), "{path}");
            match value {
                Value::Object(map) => map.iter().for_each(|(k, v)| walk(&format!("{path}.{k}"), v)),
                Value::Array(list) => list.iter().for_each(|v| walk(path, v)),
                _ => {}
            }
        }
        walk("", &document());
    }

    #[test]
    fn lists_are_sorted_and_taken_by_the_parser() {
        assert!(options::names().is_sorted());
        let capabilities = capabilities();
        assert!(capabilities.is_sorted());
        assert!(capabilities.len() >= 41, "{capabilities:?}");
        for name in capabilities {
            serde_json::from_value::<Capability>(json!(name)).unwrap();
        }
    }

    #[test]
    fn memory_policies_are_taken_by_the_parser() {
        let policy = &linux()["memoryPolicy"];
        let modes = policy["modes"].as_array().unwrap();
        assert_eq!(modes.len(), 7);
        for mode in modes {
            let wanted = json!({"mode": mode, "flags": policy["flags"]});
            serde_json::from_value::<oci_spec::runtime::LinuxMemoryPolicy>(wanted).unwrap();
        }
    }

    #[test]
    fn supported_flags_are_known_and_probed() {
        let seccomp = &linux()["seccomp"];
        let list =
            |key: &str| -> Vec<String> { serde_json::from_value(seccomp[key].clone()).unwrap() };
        let (known, supported) = (list("knownFlags"), list("supportedFlags"));
        assert!(supported.iter().all(|flag| known.contains(flag)));
        // In every kernel since 4.14.
        assert!(supported.contains(&"SECCOMP_FILTER_FLAG_LOG".to_owned()));
        assert!(supported.contains(&"SECCOMP_FILTER_FLAG_TSYNC".to_owned()));
    }
}
