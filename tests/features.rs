//! `features`: what it promises is true.

use std::collections::BTreeSet;

use crate::support::*;

fn features() -> Value {
    serde_json::from_str(&Container::new().rt.call(&["features"]).ok().stdout).unwrap()
}

#[track_caller]
fn list(features: &Value, pointer: &str) -> Vec<String> {
    let list = features.pointer(pointer).and_then(Value::as_array);
    let list = list.unwrap_or_else(|| panic!("no list {pointer}"));
    list.iter().map(|item| item.as_str().expect(pointer).to_owned()).collect()
}

/// Every property of features.md and features-linux.md, with the version of the specification that
/// has brought it and whether its value is a list (`[]`), a text (`""`) or true or false.
const PROPERTIES: &[(&str, &str, &str)] = &[
    ("/ociVersionMin", "1.1.0", "\"\""),
    ("/ociVersionMax", "1.1.0", "\"\""),
    ("/hooks", "1.1.0", "[]"),
    ("/mountOptions", "1.1.0", "[]"),
    ("/potentiallyUnsafeConfigAnnotations", "1.1.0", "[]"),
    ("/linux/namespaces", "1.1.0", "[]"),
    ("/linux/capabilities", "1.1.0", "[]"),
    ("/linux/cgroup/v1", "1.1.0", "bool"),
    ("/linux/cgroup/v2", "1.1.0", "bool"),
    ("/linux/cgroup/systemd", "1.1.0", "bool"),
    ("/linux/cgroup/systemdUser", "1.1.0", "bool"),
    ("/linux/cgroup/rdma", "1.1.0", "bool"),
    ("/linux/seccomp/enabled", "1.1.0", "bool"),
    ("/linux/seccomp/actions", "1.1.0", "[]"),
    ("/linux/seccomp/operators", "1.1.0", "[]"),
    ("/linux/seccomp/archs", "1.1.0", "[]"),
    ("/linux/seccomp/knownFlags", "1.1.0", "[]"),
    ("/linux/seccomp/supportedFlags", "1.1.0", "[]"),
    ("/linux/apparmor/enabled", "1.1.0", "bool"),
    ("/linux/selinux/enabled", "1.1.0", "bool"),
    ("/linux/intelRdt/enabled", "1.1.0", "bool"),
    ("/linux/intelRdt/schemata", "1.3.0", "bool"),
    ("/linux/intelRdt/monitoring", "1.3.0", "bool"),
    ("/linux/mountExtensions/idmap/enabled", "1.2.0", "bool"),
    ("/linux/memoryPolicy/modes", "1.3.0", "[]"),
    ("/linux/memoryPolicy/flags", "1.3.0", "[]"),
    ("/linux/netDevices/enabled", "1.3.0", "bool"),
];

fn leaves(at: &str, value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) if at != "/annotations" => {
            map.iter().for_each(|(key, value)| leaves(&format!("{at}/{key}"), value, found));
        }
        _ => drop(found.insert(at.to_owned())),
    }
}

fn version(text: &str) -> Vec<u32> {
    text.split('.').map(|number| number.parse().expect("a version without a suffix")).collect()
}

#[test]
fn every_property_is_there_and_no_other() {
    let features = features();
    let mut found = BTreeSet::new();
    leaves("", &features, &mut found);
    let mut expected: BTreeSet<String> = PROPERTIES.iter().map(|row| row.0.to_owned()).collect();
    expected.insert("/annotations".to_owned());
    assert_eq!(found, expected);
    for (property, _, kind) in PROPERTIES.iter().filter(|row| expected.contains(row.0)) {
        let value = features.pointer(property).unwrap();
        let right = match *kind {
            "[]" => !list(&features, property).is_empty(),
            "bool" => value.is_boolean(),
            _ => value.is_string(),
        };
        assert!(right, "{property} = {value}");
    }
}

// Proves: features:version
#[test]
fn no_property_is_newer_than_the_version() {
    let features = features();
    let newest = version(features["ociVersionMax"].as_str().unwrap());
    assert!(newest >= version(features["ociVersionMin"].as_str().unwrap()));
    for (property, since, _) in PROPERTIES {
        assert!(features.pointer(property).is_none() || newest >= version(since), "{property}");
    }
}

// Proves: features.{ociVersionMin,ociVersionMax}
#[test]
fn both_versions_are_accepted() {
    let features = features();
    for property in ["ociVersionMin", "ociVersionMax"] {
        let mut c = Container::with_script("echo ran");
        c.set("/ociVersion", features[property].clone());
        assert_eq!(c.output(), "ran\n", "{property}");
    }
}

// Proves: features.annotations
#[test]
fn annotations_name_the_versions() {
    let features = features();
    let annotations = &features["annotations"];
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(annotations["org.bulkhead.version"], version);
    let printed = Container::new().rt.call(&["--version"]).ok().stdout;
    let library = annotations["io.github.seccomp.libseccomp.version"].as_str().unwrap();
    assert!(printed.contains(&format!("libseccomp: {library}\n")), "{printed}");
}

/// An engine that passes on annotations of its users filters these. A name that ends with a dot
/// stands for all with that prefix.
// Proves: features.potentiallyUnsafeConfigAnnotations
#[test]
fn annotations_with_an_effect_are_listed() {
    let listed = list(&features(), "/potentiallyUnsafeConfigAnnotations");
    let covered = |name: &str| {
        listed
            .iter()
            .any(|entry| name == entry || entry.ends_with('.') && name.starts_with(entry.as_str()))
    };
    let mut names = 0;
    for (file, text) in crate::architecture::imports::sources() {
        for name in text.split('"').filter(|word| {
            ["run.oci.", "org.systemd.property.", "org.criu."]
                .iter()
                .any(|start| word.starts_with(start))
        }) {
            assert!(covered(name), "{name} in {file:?}");
            names += 1;
        }
    }
    assert!(names > 10, "{names}");
    // What none of them covers changes nothing.
    assert!(!covered("org.example") && listed.len() == 3, "{listed:?}");
}

// Proves: features.linux.namespaces
#[test]
fn every_namespace_can_be_new() {
    let kinds = list(&features(), "/linux/namespaces");
    assert_eq!(kinds, ["cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts"]);
    let mut c = Container::with_script("exec sleep 600");
    c.map_users(100_000, 65536);
    let time = std::path::Path::new("/proc/self/ns/time").exists();
    for kind in kinds.iter().filter(|kind| time || *kind != "time") {
        c.namespace(json!({"type": kind}));
    }
    c.run_detached();
    let process = c.process();
    wait_until("execve", || process.runs("sleep"));
    for kind in kinds.iter().filter(|kind| time || *kind != "time") {
        let name = match kind.as_str() {
            "mount" => "mnt",
            "network" => "net",
            other => other,
        };
        assert_ne!(process.ns(name), ns_link("self", name), "{kind}");
    }
}

// Proves: features.linux.capabilities
#[test]
fn every_capability_is_recognised() {
    let names = list(&features(), "/linux/capabilities");
    let mut c = Container::new();
    c.capabilities(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let ran = c.run().ok();
    // Those that cannot be granted here are a warning of another kind.
    assert!(!ran.stderr.contains("unknown capability"), "{ran:#?}");
}

// Proves: features.linux.seccomp.{enabled,actions,operators,archs,knownFlags,supportedFlags}
#[test]
fn every_word_of_a_filter_is_recognised() {
    let features = features();
    assert_eq!(features["linux"]["seccomp"]["enabled"], json!(true));
    let words = |name: &str| list(&features, &format!("/linux/seccomp/{name}"));
    let filter = |rule: Value, extra: (&str, Value)| {
        let mut seccomp = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]});
        seccomp[extra.0] = extra.1;
        let mut c = Container::with_script("grep Seccomp: /proc/self/status");
        c.set("/linux/seccomp", seccomp);
        c
    };
    let plain = || json!({"names": ["swapoff"], "action": "SCMP_ACT_ERRNO"});
    let in_force = "Seccomp:\t2\n";
    for action in words("actions") {
        // That of an agent needs one: tests/annotations.rs.
        if action != "SCMP_ACT_NOTIFY" {
            let rule = json!({"names": ["swapoff"], "action": action});
            // Errors make a filter necessary where the action is the default one.
            let mut c = filter(rule, ("flags", json!([])));
            c.push(
                "/linux/seccomp/syscalls",
                json!({"names": ["reboot"], "action": "SCMP_ACT_ERRNO"}),
            );
            assert_eq!(c.output(), in_force, "{action}");
        }
    }
    for operator in words("operators") {
        let rule = json!({"names": ["swapoff"], "action": "SCMP_ACT_ERRNO",
            "args": [{"index": 0, "value": 1, "valueTwo": 1, "op": operator}]});
        assert_eq!(filter(rule, ("flags", json!([]))).output(), in_force, "{operator}");
    }
    for arch in words("archs") {
        let own = format!("SCMP_ARCH_{}", std::env::consts::ARCH.to_uppercase());
        let ran = filter(plain(), ("architectures", json!([own, arch]))).run();
        assert_eq!(ran.ok().stdout, in_force, "{arch}");
    }
    let supported = words("supportedFlags");
    for flag in words("knownFlags") {
        let ran = filter(plain(), ("flags", json!([flag]))).run();
        if flag == "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV" {
            // It has a test with an agent: tests/seccomp.rs.
            ran.refused(&[&flag, "needs a rule with the action SCMP_ACT_NOTIFY"]);
        } else if supported.contains(&flag) {
            assert_eq!(ran.ok().stdout, in_force, "{flag}");
        } else {
            ran.refused(&[&flag]);
        }
    }
}

// Proves: features.linux.memoryPolicy.{modes,flags}
#[test]
fn every_memory_policy_is_recognised() {
    let features = features();
    let policy = |policy: Value| {
        let mut c = Container::new();
        c.set("/linux/memoryPolicy", policy.clone());
        let ran = c.run();
        // What the kernel refuses has reached it.
        if ran.code() != Some(0) {
            assert!(ran.stderr.contains("linux.memoryPolicy: set MPOL_"), "{policy}: {ran:#?}");
        }
    };
    for mode in list(&features, "/linux/memoryPolicy/modes") {
        let without_nodes = ["MPOL_DEFAULT", "MPOL_LOCAL"].contains(&mode.as_str());
        policy(if without_nodes {
            json!({"mode": mode})
        } else {
            json!({"mode": mode, "nodes": "0"})
        });
    }
    for flag in list(&features, "/linux/memoryPolicy/flags") {
        policy(json!({"mode": "MPOL_BIND", "nodes": "0", "flags": [flag]}));
    }
}
