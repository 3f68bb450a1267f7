//! The annotations that the runtime itself reads (config.md, "Annotations"): those of crun, which
//! podman, buildah and distrobox set. Those of systemd are in [`crate::systemd::annotations`].

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use oci_spec::runtime::Spec;

use super::selinux::Context;
use crate::{Error, Result};

/// The prefix of annotations for an OCI runtime.
pub const PREFIX: &str = "run.oci.";

/// Keeps the supplementary groups of the runtime's caller, unless the value is `0`. Set by `podman
/// run --group-add keep-groups`.
pub const KEEP_GROUPS: &str = "run.oci.keep_original_groups";

/// The absolute path of the file that the standard output of hooks is appended to.
pub const HOOKS_STDOUT: &str = "run.oci.hooks.stdout";

/// The absolute path of the file that the standard error of hooks is appended to.
pub const HOOKS_STDERR: &str = "run.oci.hooks.stderr";

/// The value of `linux.seccomp.listenerPath` if the configuration has none.
pub const SECCOMP_RECEIVER: &str = "run.oci.seccomp.receiver";

/// The absolute path of the Unix socket that gets a pidfd of the container's process.
pub const PIDFD_RECEIVER: &str = "run.oci.pidfd_receiver";

/// The cgroup below the container's own that the container's processes are in and own.
pub const DELEGATE_CGROUP: &str = "run.oci.delegate-cgroup";

/// The cgroup below the container's unit that the container's processes are in.
pub const SYSTEMD_SUBGROUP: &str = "run.oci.systemd.subgroup";

/// The mount option that gives new file systems `linux.mountLabel`, in place of `context`. Set by
/// `podman run --security-opt label=nested`.
pub const MOUNT_CONTEXT_TYPE: &str = "run.oci.mount_context_type";

/// The annotations of crun that request an isolation which this runtime cannot give: a virtual machine
/// or a WebAssembly sandbox, a filter, decisions about system calls.
pub const REFUSED: &[&str] =
    &["run.oci.handler", "run.oci.seccomp.plugins", "run.oci.seccomp_bpf_data"];

/// The annotations with [`PREFIX`] that have an effect. Other annotations are ignored with a
/// warning, except [`REFUSED`].
pub const KNOWN: &[&str] = &[
    KEEP_GROUPS,
    HOOKS_STDOUT,
    HOOKS_STDERR,
    SECCOMP_RECEIVER,
    PIDFD_RECEIVER,
    DELEGATE_CGROUP,
    SYSTEMD_SUBGROUP,
    MOUNT_CONTEXT_TYPE,
];

/// The annotations whose value is a path.
const PATHS: &[&str] = &[HOOKS_STDOUT, HOOKS_STDERR, SECCOMP_RECEIVER, PIDFD_RECEIVER];

fn get<'a>(spec: &'a Spec, name: &str) -> Option<&'a str> {
    spec.annotations().as_ref()?.get(name).map(String::as_str)
}

/// Returns the value of an annotation that names a path.
fn path<'a>(spec: &'a Spec, name: &str) -> Option<&'a Path> {
    get(spec, name).map(Path::new)
}

/// Whether the process keeps the supplementary groups of the caller.
pub fn keeps_groups(spec: &Spec) -> bool {
    get(spec, KEEP_GROUPS).is_some_and(|value| value != "0")
}

fn is_known(name: &str) -> bool {
    KNOWN.contains(&name) || REFUSED.contains(&name)
}

/// Moves the seccomp receiver into its field, so that the rules of the field apply, and warns of
/// annotations that have no effect.
pub(super) fn apply(spec: &mut Spec, warnings: &mut Vec<String>) {
    if spec.annotations().is_none() {
        return;
    }
    let ours = spec.annotations().iter().flatten().map(|(name, _)| name);
    let mut unknown: Vec<&String> =
        ours.filter(|name| name.starts_with(PREFIX) && !is_known(name)).collect();
    unknown.sort_unstable();
    warnings.extend(
        unknown
            .into_iter()
            .map(|name| format!("annotations: {name:?}: ignored: bulkhead has no such annotation")),
    );
    let groups = spec.process().as_ref().and_then(|p| p.user().additional_gids().as_ref());
    if keeps_groups(spec) && groups.is_some_and(|groups| !groups.is_empty()) {
        warnings.push(format!(
            "process.user.additionalGids: ignored: the annotation {KEEP_GROUPS} keeps the groups \
             of the caller"
        ));
    }
    let receiver = path(spec, SECCOMP_RECEIVER).map(Path::to_owned);
    let seccomp = spec.linux_mut().as_mut().and_then(|linux| linux.seccomp_mut().as_mut());
    if let (Some(receiver), Some(seccomp)) = (receiver, seccomp) {
        match seccomp.listener_path() {
            Some(path) if !path.as_os_str().is_empty() => {
                if *path != receiver {
                    warnings.push(format!(
                        "annotations: {SECCOMP_RECEIVER:?}: ignored: linux.seccomp.listenerPath \
                         takes precedence"
                    ));
                }
            }
            _ => {
                seccomp.set_listener_path(Some(receiver));
            }
        }
    }
}

/// The annotations of a container, and those of them that affect the plan.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Annotations {
    /// All annotations, for the state.
    pub all: BTreeMap<String, String>,
    /// Whether the process keeps the supplementary groups of the caller ([`KEEP_GROUPS`]).
    pub keeps_groups: bool,
    /// The socket that gets a pidfd of init ([`PIDFD_RECEIVER`]).
    pub pidfd_receiver: Option<PathBuf>,
    /// The mount option for the label of a new file system ([`MOUNT_CONTEXT_TYPE`]).
    pub mount_context: Context,
}

impl Annotations {
    /// Parses `annotations` (config.md, "Annotations"). Keys must not be empty, and paths must be
    /// absolute.
    pub fn new(spec: &Spec) -> Result<Annotations> {
        let all: BTreeMap<String, String> =
            spec.annotations().iter().flatten().map(|(k, v)| (k.clone(), v.clone())).collect();
        if all.contains_key("") {
            return Err(Error::invalid("annotations", "", "a key must not be empty"));
        }
        if let Some((name, value)) = all.iter().find(|(name, _)| REFUSED.contains(&name.as_str())) {
            let field = format!("annotations.{name}");
            return Err(Error::invalid(field, value, "not supported by this version of bulkhead"));
        }
        for name in PATHS {
            if let Some(path) = path(spec, name)
                && !path.is_absolute()
            {
                let field = format!("annotations.{name}");
                return Err(Error::invalid(field, path, "must be an absolute path"));
            }
        }
        Ok(Annotations {
            all,
            keeps_groups: keeps_groups(spec),
            pidfd_receiver: path(spec, PIDFD_RECEIVER).map(Path::to_owned),
            mount_context: get(spec, MOUNT_CONTEXT_TYPE)
                .map_or(Ok(Context::default()), |name| {
                    Context::parse(&format!("annotations.{MOUNT_CONTEXT_TYPE}"), name)
                })?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(json: &str) -> (Spec, Vec<String>) {
        let mut spec: Spec = serde_json::from_str(json).unwrap();
        let mut warnings = Vec::new();
        apply(&mut spec, &mut warnings);
        (spec, warnings)
    }

    #[test]
    fn the_receiver_is_the_listener_where_there_is_none() {
        let with = |listener: &str| {
            applied(&format!(
                r#"{{"linux": {{"seccomp": {{"defaultAction": "SCMP_ACT_ALLOW" {listener}}}}},
                    "annotations": {{"run.oci.seccomp.receiver": "/a"}}}}"#
            ))
        };
        let path = |spec: &Spec| {
            let seccomp = spec.linux().as_ref().unwrap().seccomp().clone().unwrap();
            seccomp.listener_path().clone().unwrap()
        };
        for (listener, expected, warned) in [
            ("", "/a", 0),
            (r#", "listenerPath": """#, "/a", 0),
            (r#", "listenerPath": "/a""#, "/a", 0),
            (r#", "listenerPath": "/b""#, "/b", 1),
        ] {
            let (spec, warnings) = with(listener);
            assert_eq!(path(&spec), Path::new(expected));
            assert_eq!(warnings.len(), warned, "{warnings:?}");
        }
    }

    #[test]
    fn what_is_not_known_is_told() {
        let (_, warnings) = applied(
            r#"{"annotations": {"run.oci.unknown": "1", "run.oci.keep_original_groups": "1",
                "io.kubernetes.cri.container-type": "container"}}"#,
        );
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(warnings[0].starts_with("annotations: \"run.oci.unknown\": ignored"));
    }

    #[test]
    fn zero_keeps_no_groups() {
        for (value, keeps) in [("1", true), ("", true), ("false", true), ("0", false)] {
            let json = format!(r#"{{"annotations": {{"{KEEP_GROUPS}": "{value}"}}}}"#);
            assert_eq!(keeps_groups(&applied(&json).0), keeps, "{value:?}");
        }
        assert!(!keeps_groups(&applied("{}").0));
    }

    #[test]
    fn the_context_is_an_option_of_selinux() {
        let parsed = |value: &str| {
            let json = format!(r#"{{"annotations": {{"{MOUNT_CONTEXT_TYPE}": "{value}"}}}}"#);
            Annotations::new(&applied(&json).0).map(|annotations| annotations.mount_context)
        };
        for name in ["context", "fscontext", "defcontext", "rootcontext"] {
            assert_eq!(parsed(name).unwrap().name(), name);
        }
        for name in ["", "seclabel", "size"] {
            let error = parsed(name).unwrap_err().to_string();
            assert!(error.starts_with("annotations.run.oci.mount_context_type: "), "{error}");
        }
        assert_eq!(Annotations::default().mount_context.name(), "context");
    }

    #[test]
    fn what_cannot_be_given_is_refused() {
        for name in REFUSED {
            let (spec, warnings) = applied(&format!(r#"{{"annotations": {{"{name}": "a"}}}}"#));
            let error = Annotations::new(&spec).unwrap_err().to_string();
            assert_eq!(
                error,
                format!("annotations.{name}: \"a\": not supported by this version of bulkhead")
            );
            assert!(warnings.is_empty(), "{warnings:?}");
        }
    }

    #[test]
    fn paths_are_absolute() {
        for name in PATHS {
            let (spec, _) = applied(&format!(r#"{{"annotations": {{"{name}": "a"}}}}"#));
            let error = Annotations::new(&spec).unwrap_err().to_string();
            assert_eq!(error, format!("annotations.{name}: \"a\": must be an absolute path"));
        }
    }
}
