//! `spec`: writes an example config.json.
//!
//! The content is that of `runc spec`, since scripts and tutorials rely on it: a shell in `rootfs`
//! with the usual mounts. There are no ambient capabilities, as in runc since 1.2: the kernel accepts
//! an ambient capability only if it is inheritable too, and none is.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, statfs};
use nix::unistd::{getegid, geteuid};

use crate::state::OCI_VERSION;
use crate::{Context, Error, Kind, Result};

/// The name of the configuration file in a bundle.
const CONFIG: &str = "config.json";

/// The lines of the file. `+` and `-` begin the lines that `--rootless` adds and removes, and `2`
/// those for cgroup v2.
///
/// A user who is not root can mount no sysfs, which requires privileges over the network namespace
/// of the host, has no group for terminals, since only a single id is mapped, and can be unable to
/// create a cgroup, which limits need.
const TEMPLATE: &str = include_str!("spec.template");

/// Writes config.json to `bundle` (or the working directory), for the uid and gid of the caller if
/// `rootless`. Never overwrites a file.
pub fn run(bundle: Option<&Path>, rootless: bool) -> Result<()> {
    let text = text(rootless.then(|| (geteuid().as_raw(), getegid().as_raw())), unified_cgroups());
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
    file.write_all(text.as_bytes()).with_context(failed)
}

/// Whether /sys/fs/cgroup is cgroup v2.
fn unified_cgroups() -> bool {
    statfs("/sys/fs/cgroup").is_ok_and(|fs| fs.filesystem_type() == CGROUP2_SUPER_MAGIC)
}

fn text(rootless: Option<(u32, u32)>, unified_cgroups: bool) -> String {
    let mut text = String::with_capacity(TEMPLATE.len());
    for line in TEMPLATE.split_inclusive('\n') {
        let wanted = match line.as_bytes().first() {
            Some(b'+') => rootless.is_some(),
            Some(b'-') => rootless.is_none(),
            Some(b'2') => unified_cgroups,
            _ => true,
        };
        if wanted {
            text += line.trim_start_matches(['+', '-', '2']);
        }
    }
    let (uid, gid) = rootless.unwrap_or_default();
    text.replace("OCI_VERSION", OCI_VERSION)
        .replace("UID", &uid.to_string())
        .replace("GID", &gid.to_string())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use serde_json::{Value, json};

    use super::*;

    fn value(rootless: Option<(u32, u32)>, unified: bool) -> Value {
        serde_json::from_str(&text(rootless, unified)).unwrap()
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
