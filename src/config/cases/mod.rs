//! Every rule of the configuration, violated and met, in one configuration that is otherwise valid.
//!
//! A case is an object of JSON pointers and the values to set there.

use oci_spec::runtime::Spec;
use serde_json::{Value, json};

use crate::Result;
use crate::cgroup::Resources;
use crate::config::process::TerminalRequest;
use crate::config::{CgroupRequest, Plan, PlanOptions};
use crate::host::Host;
use crate::sys::cred::Caps;

mod config;
mod linux;
mod mounts;
mod process;

fn base() -> Value {
    json!({
        "ociVersion": "1.3.0",
        "root": {"path": "rootfs", "readonly": true},
        "process": {
            "user": {"uid": 0, "gid": 0, "additionalGids": [5]},
            "args": ["sh"],
            "env": ["PATH=/bin", "EMPTY=", "A=b=c"],
            "cwd": "/",
            "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 1024, "hard": 1024}]
        },
        "hostname": "box",
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
             "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
            {"destination": "data", "source": "/srv", "options": ["rbind", "ro"]}
        ],
        "linux": {
            "namespaces": [
                {"type": "pid"}, {"type": "network"}, {"type": "ipc"}, {"type": "uts"},
                {"type": "mount"}, {"type": "cgroup", "path": ""}
            ],
            "maskedPaths": ["/proc/kcore"],
            "readonlyPaths": ["/proc/sys"],
            "resources": {"devices": [{"allow": false, "access": "rwm"}]}
        }
    })
}

/// Sets `value` at `pointer`, and creates the objects on the way; an index past the end appends.
fn put(config: &mut Value, pointer: &str, value: Value) {
    let mut at = config;
    for key in pointer.split('/').skip(1) {
        let key = key.replace("~1", "/");
        if at.is_null() {
            *at = json!({});
        }
        at = match at {
            Value::Array(list) => {
                let index: usize = key.parse().unwrap();
                if index == list.len() {
                    list.push(Value::Null);
                }
                &mut list[index]
            }
            other => other.as_object_mut().unwrap().entry(key).or_insert(Value::Null),
        };
    }
    *at = value;
}

fn with(changes: &Value) -> Spec {
    let mut config = base();
    for (pointer, value) in changes.as_object().unwrap() {
        put(&mut config, pointer, value.clone());
    }
    serde_json::from_value(config).unwrap_or_else(|error| panic!("{changes}: {error}"))
}

fn host(root: bool) -> Host {
    let all = if root { u64::MAX } else { 0 };
    Host {
        uid: if root { 0 } else { 1000 },
        gid: 0,
        caps: Caps { effective: all, permitted: all, inheritable: 0 },
        is_rootless: !root,
        in_user_namespace: false,
    }
}

/// Plans a container for a bundle with an empty root file system. Checks the limits only by
/// themselves: the cgroups of the host do not matter to these cases.
fn plan(mut spec: Spec, terminal: TerminalRequest, host: &Host) -> Result<Plan> {
    if let Some(linux) = spec.linux() {
        let devices = linux.devices().as_deref().unwrap_or_default();
        Resources::new(linux.resources().as_ref(), devices)?;
    }
    if let Some(linux) = spec.linux_mut() {
        linux.set_resources(None);
    }
    let bundle = tempfile::tempdir().unwrap();
    std::fs::create_dir(bundle.path().join("rootfs")).unwrap();
    let options = PlanOptions {
        bundle: bundle.path().to_owned(),
        terminal,
        cgroup: CgroupRequest { disabled: true, ..CgroupRequest::default() },
        ..PlanOptions::default()
    };
    Plan::new(&spec, &options, host, &mut Vec::new())
}

fn outcome(changes: &Value, terminal: TerminalRequest, host: &Host) -> String {
    match plan(with(changes), terminal, host) {
        Ok(_) => "passes".to_owned(),
        Err(error) => error.to_string(),
    }
}

#[track_caller]
fn refused(cases: &[(Value, &str)]) {
    for (changes, expected) in cases {
        let found = outcome(changes, TerminalRequest::default(), &host(true));
        assert_eq!(found, *expected, "{changes}");
    }
}

#[track_caller]
fn taken(cases: &[Value]) {
    for changes in cases {
        let found = outcome(changes, TerminalRequest::default(), &host(true));
        assert_eq!(found, "passes", "{changes}");
    }
}

fn long(length: usize) -> String {
    "x".repeat(length)
}

/// Returns the changes that give the container a user namespace of its own.
fn userns(more: Value) -> Value {
    let mut changes = json!({
        "/linux/namespaces/6": {"type": "user"},
        "/linux/uidMappings": [{"containerID": 0, "hostID": 1000, "size": 10}],
        "/linux/gidMappings": [{"containerID": 0, "hostID": 1000, "size": 10}],
    });
    changes.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    changes
}
