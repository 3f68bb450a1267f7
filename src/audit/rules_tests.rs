//! Each rule: a configuration that breaks it, and one that does not.

use serde_json::{Value, json};

use super::*;

/// A configuration without a finding.
fn clean() -> Value {
    let calls = json!([{"names": ["read", "write", "execve", "exit_group"],
                        "action": "SCMP_ACT_ALLOW"}]);
    json!({
        "ociVersion": "1.2.0",
        "root": {"path": "rootfs", "readonly": true},
        "process": {
            "user": {"uid": 1000, "gid": 1000}, "cwd": "/", "args": ["true"],
            "noNewPrivileges": true, "apparmorProfile": "docker-default", "capabilities": {},
        },
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["ro"]},
            {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
             "options": ["nosuid", "ro"]},
            {"destination": "/data", "type": "bind", "source": "/srv/data", "options": ["rbind"]},
        ],
        "linux": {
            "uidMappings": [{"containerID": 0, "hostID": 100_000, "size": 65536}],
            "gidMappings": [{"containerID": 0, "hostID": 100_000, "size": 65536}],
            "namespaces": [{"type": "pid"}, {"type": "network"}, {"type": "ipc"}, {"type": "uts"},
                           {"type": "mount"}, {"type": "cgroup"}, {"type": "user"}],
            "resources": {
                "memory": {"limit": 100_000_000}, "pids": {"limit": 100}, "cpu": {"quota": 50_000},
                "devices": [{"allow": false, "access": "rwm"}],
            },
            "seccomp": {"defaultAction": "SCMP_ACT_ERRNO", "syscalls": calls},
            "maskedPaths": ["/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
                            "/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/sys/firmware"],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys",
                              "/proc/sysrq-trigger"],
        },
    })
}

fn set(config: &mut Value, pointer: &str, value: Value) {
    *config.pointer_mut(pointer).expect(pointer) = value;
}

fn add(config: &mut Value, pointer: &str, value: Value) {
    config.pointer_mut(pointer).expect(pointer).as_array_mut().expect(pointer).push(value);
}

fn without_namespace(config: &mut Value, kind: &str) {
    let list = config.pointer_mut("/linux/namespaces").unwrap().as_array_mut().unwrap();
    list.retain(|entry| entry["type"] != kind);
}

/// Root, without a user namespace.
fn root(config: &mut Value) {
    without_namespace(config, "user");
    set(config, "/process/user/uid", json!(0));
}

fn give(config: &mut Value, capability: &str) {
    let set = json!([capability]);
    set_capabilities(config, json!({"bounding": set, "permitted": set, "effective": set}));
}

fn set_capabilities(config: &mut Value, sets: Value) {
    set(config, "/process/capabilities", sets);
}

fn bind(config: &mut Value, source: &str, options: Value) {
    let mount = json!({"destination": "/x", "type": "bind", "source": source, "options": options});
    add(config, "/mounts", mount);
}

fn device(config: &mut Value, rule: Value) {
    without_namespace(config, "user");
    add(config, "/linux/resources/devices", rule);
}

fn allow(config: &mut Value, call: &str) {
    add(config, "/linux/seccomp/syscalls/0/names", json!(call));
}

type Case = (&'static str, Severity, fn(&mut Value));

const CASES: &[Case] = &[
    ("BH-BIND-HOST", Severity::Critical, |c| {
        root(c);
        bind(c, "/etc", json!(["rbind"]));
    }),
    ("BH-BIND-HOST", Severity::Medium, |c| {
        set(c, "/process/user/uid", json!(0));
        bind(c, "/", json!(["rbind", "ro"]));
    }),
    // `ro` leaves the mounts below writable.
    ("BH-BIND-HOST", Severity::High, |c| {
        root(c);
        bind(c, "/sys", json!(["rbind", "ro"]));
    }),
    ("BH-BIND-SOCKET", Severity::Critical, |c| {
        root(c);
        bind(c, "/var/run/docker.sock", json!(["bind", "ro"]));
    }),
    ("BH-CAP-FILES", Severity::Low, |c| {
        root(c);
        give(c, "CAP_CHOWN");
    }),
    ("BH-CGROUP-WRITABLE", Severity::High, |c| {
        root(c);
        without_namespace(c, "cgroup");
        set(c, "/mounts/2/options", json!(["rw"]));
    }),
    ("BH-CONFIG-INVALID", Severity::High, |c| set(c, "/process/noNewPrivileges", json!("yes"))),
    ("BH-DEVICE-ALL", Severity::Critical, |c| device(c, json!({"allow": true, "access": "rwm"}))),
    ("BH-DEVICE-BLOCK", Severity::High, |c| {
        device(c, json!({"allow": true, "type": "b", "major": 8, "minor": 0, "access": "r"}));
    }),
    // The runtime gives the node to the root of the user namespace.
    ("BH-DEVICE-BLOCK", Severity::High, |c| {
        set(c, "/linux/resources/devices", json!([]));
        let node = json!({"path": "/dev/x", "type": "b", "major": 8, "minor": 0});
        c["linux"]["devices"] = json!([node]);
    }),
    ("BH-DEVICE-CHAR-ALL", Severity::High, |c| {
        device(c, json!({"allow": true, "type": "c", "access": "rw"}));
    }),
    ("BH-DEVICE-INPUT", Severity::Medium, |c| {
        device(c, json!({"allow": true, "type": "c", "major": 13, "access": "r"}));
    }),
    ("BH-DEVICE-KMSG", Severity::Medium, |c| {
        device(c, json!({"allow": true, "type": "c", "major": 1, "minor": 11, "access": "r"}));
    }),
    ("BH-DEVICE-LOOP", Severity::Medium, |c| {
        device(c, json!({"allow": true, "type": "c", "major": 10, "minor": 237, "access": "rw"}));
    }),
    ("BH-DEVICE-MEMORY", Severity::Critical, |c| {
        device(c, json!({"allow": true, "type": "c", "major": 1, "minor": 1, "access": "r"}));
    }),
    ("BH-KEY-CASE", Severity::Medium, |c| c["Hostname"] = json!("x")),
    ("BH-KEY-MISSPELT", Severity::High, |c| c["process"]["noNewPriviliges"] = json!(true)),
    ("BH-LIMIT-CPU", Severity::Low, |c| set(c, "/linux/resources/cpu", json!({"shares": 2}))),
    ("BH-LIMIT-MEMORY", Severity::Low, |c| set(c, "/linux/resources/memory/limit", json!(-1))),
    ("BH-LIMIT-PIDS", Severity::Low, |c| set(c, "/linux/resources/pids/limit", json!(-1))),
    ("BH-LSM-NONE", Severity::Low, |c| set(c, "/process/apparmorProfile", json!("unconfined"))),
    ("BH-NS-CGROUP", Severity::Low, |c| without_namespace(c, "cgroup")),
    ("BH-NS-IPC", Severity::Medium, |c| without_namespace(c, "ipc")),
    ("BH-NS-MOUNT", Severity::High, |c| without_namespace(c, "mount")),
    ("BH-NS-NETWORK", Severity::Medium, |c| without_namespace(c, "network")),
    ("BH-NS-NETWORK", Severity::High, |c| {
        root(c);
        without_namespace(c, "network");
        add(c, "/linux/namespaces", json!({"type": "network", "path": "/proc/1/ns/net"}));
    }),
    ("BH-NS-PID", Severity::Medium, |c| without_namespace(c, "pid")),
    ("BH-NS-UTS", Severity::Low, |c| without_namespace(c, "uts")),
    ("BH-OOM-SPARED", Severity::Low, |c| c["process"]["oomScoreAdj"] = json!(-998)),
    ("BH-PRIVILEGES-GAIN", Severity::Medium, |c| {
        set(c, "/process/noNewPrivileges", json!(false));
    }),
    ("BH-PRIVILEGES-GAIN", Severity::Low, |c| {
        root(c);
        set(c, "/process/noNewPrivileges", json!(false));
    }),
    ("BH-PROC-SYS", Severity::Critical, |c| {
        root(c);
        set(c, "/linux/readonlyPaths/3", json!("/proc/other"));
    }),
    ("BH-PROC-SYSRQ", Severity::High, |c| {
        root(c);
        set(c, "/linux/readonlyPaths/4", json!("/proc/other"));
    }),
    ("BH-PROC-UNMASKED", Severity::Medium, |c| {
        root(c);
        set(c, "/linux/maskedPaths/1", json!("/proc/other"));
    }),
    ("BH-PROC-WRITABLE", Severity::Medium, |c| {
        root(c);
        set(c, "/linux/readonlyPaths/0", json!("/proc/other"));
    }),
    ("BH-PROPAGATION-SHARED", Severity::Medium, |c| {
        bind(c, "/srv/data", json!(["rbind", "rshared"]));
    }),
    ("BH-PROPAGATION-SHARED", Severity::Medium, |c| {
        c["linux"]["rootfsPropagation"] = json!("shared");
    }),
    ("BH-PTRACE-HOST", Severity::Critical, |c| {
        root(c);
        without_namespace(c, "pid");
        give(c, "CAP_SYS_PTRACE");
    }),
    ("BH-RLIMIT-INFINITE", Severity::Low, |c| {
        c["process"]["rlimits"] = json!([{"type": "RLIMIT_MEMLOCK", "soft": 1, "hard": u64::MAX}]);
    }),
    ("BH-ROOTFS-WRITABLE", Severity::Low, |c| set(c, "/root/readonly", json!(false))),
    ("BH-SECCOMP-BPF", Severity::Medium, |c| allow(c, "bpf")),
    ("BH-SECCOMP-DEFAULT-ALLOW", Severity::Medium, |c| {
        set(c, "/linux/seccomp/defaultAction", json!("SCMP_ACT_LOG"));
    }),
    ("BH-SECCOMP-IO-URING", Severity::Medium, |c| allow(c, "io_uring_setup")),
    ("BH-SECCOMP-KEYRING", Severity::Medium, |c| allow(c, "keyctl")),
    ("BH-SECCOMP-MOUNT", Severity::Low, |c| {
        allow(c, "mount");
        allow(c, "unshare");
    }),
    ("BH-SECCOMP-NONE", Severity::Medium, |c| set(c, "/linux/seccomp", Value::Null)),
    ("BH-SECCOMP-TRACE", Severity::Low, |c| allow(c, "ptrace")),
    ("BH-SECCOMP-USERFAULTFD", Severity::Low, |c| allow(c, "userfaultfd")),
    ("BH-SECCOMP-USERNS", Severity::Low, |c| allow(c, "clone")),
    ("BH-SYS-WRITABLE", Severity::High, |c| {
        root(c);
        set(c, "/mounts/1/options", json!(["ro", "rw"]));
    }),
    ("BH-SYSCTL-HOST", Severity::High, |c| {
        c["linux"]["sysctl"] = json!({"kernel.core_pattern": "x", "net.ipv4.ip_forward": "1"});
    }),
    ("BH-USER-NAMESPACE", Severity::Low, |c| without_namespace(c, "user")),
    ("BH-USER-NAMESPACE-ROOT", Severity::Medium, |c| {
        set(c, "/linux/gidMappings/0/hostID", json!(0));
    }),
    ("BH-USER-ROOT", Severity::Medium, root),
];

fn audit(config: &Value) -> Vec<(&'static str, Severity)> {
    let document = Document::parse(config.to_string().into_bytes(), "config.json").unwrap();
    let subject = document.subject("/bundle".as_ref(), false);
    findings(&subject, &[]).iter().map(|f| (f.rule.id, f.severity)).collect()
}

#[test]
fn each_rule_fires_and_a_hardened_configuration_is_clean() {
    assert_eq!(audit(&clean()), []);
    for (id, severity, change) in CASES {
        let mut config = clean();
        change(&mut config);
        let found = audit(&config);
        assert!(found.contains(&(id, *severity)), "{id} {severity:?}: {found:?}");
    }
}

#[test]
fn every_rule_has_a_case() {
    for rule in all_rules() {
        let is_capability = matches!(rule.find, rule::Find::Capability(_));
        let has_case = CASES.iter().any(|(id, ..)| *id == rule.id);
        // This host decides about it; tests/audit.rs has its case.
        let by_host = rule.id == "BH-CONFIG-REFUSED";
        assert!(is_capability != (has_case || by_host), "{}", rule.id);
    }
    let ids: Vec<&str> = all_rules().map(|rule| rule.id).collect();
    let mut sorted = ids.clone();
    sorted.sort_unstable();
    sorted.dedup();
    assert_eq!(ids.len(), sorted.len());
    assert!(is_rule("BH-NS-PID") && !is_rule("BH-NS"));
}

#[test]
fn each_capability_is_found_where_it_has_an_effect() {
    for rule in capabilities::RULES {
        let rule::Find::Capability(capability) = rule.find else { panic!("{}", rule.id) };
        let name = capability.to_string();
        let mut config = clean();
        root(&mut config);
        assert!(!audit(&config).iter().any(|(id, _)| *id == rule.id), "{name}");
        give(&mut config, &name);
        assert!(audit(&config).contains(&(rule.id, rule.severity)), "{name}");
        // In a user namespace of its own.
        set(&mut config, "/process/user/uid", json!(0));
        add(&mut config, "/linux/namespaces", json!({"type": "user"}));
        let found = audit(&config).into_iter().find(|(id, _)| *id == rule.id);
        assert_eq!(found.map(|(_, severity)| severity), rule.confined, "{name}");
    }
}

#[test]
fn what_comes_along_with_a_bind_mount_is_reported_once() {
    let mut config = clean();
    root(&mut config);
    for (at, source) in [("/host", "/"), ("/host/boot", "/boot"), ("/other", "/boot")] {
        let mount = json!({"destination": at, "type": "bind", "source": source,
            "options": ["rbind"]});
        add(&mut config, "/mounts", mount);
    }
    let binds = audit(&config).iter().filter(|(id, _)| *id == "BH-BIND-HOST").count();
    assert_eq!(binds, 2);
}

#[test]
fn a_call_that_is_permitted_under_a_condition_is_permitted() {
    let mut config = clean();
    let unless = json!([{"index": 0, "value": 5, "op": "SCMP_CMP_NE"}]);
    let rule = json!({"names": ["bpf"], "action": "SCMP_ACT_ALLOW", "args": unless});
    add(&mut config, "/linux/seccomp/syscalls", rule);
    assert!(audit(&config).iter().any(|(id, _)| *id == "BH-SECCOMP-BPF"));
}

#[test]
fn a_procfs_of_processes_has_no_settings() {
    let found = |options: Value| {
        let mut config = clean();
        root(&mut config);
        config["mounts"][0]["options"] = options;
        set(&mut config, "/linux/maskedPaths", json!(["/sys/firmware"]));
        set(&mut config, "/linux/readonlyPaths", json!([]));
        audit(&config).into_iter().filter(|(id, _)| id.starts_with("BH-PROC-")).count()
    };
    assert_eq!(found(json!(["subset=pid"])), 0);
    assert_eq!(found(json!([])), 4);
}

#[test]
fn without_a_process_no_program_has_rights() {
    let mut config = clean();
    root(&mut config);
    config.as_object_mut().unwrap().remove("process");
    let ids: Vec<_> = audit(&config).into_iter().map(|(id, _)| id).collect();
    assert!(!ids.contains(&"BH-PRIVILEGES-GAIN") && !ids.contains(&"BH-USER-ROOT"), "{ids:?}");
}

#[test]
fn another_user_has_what_it_can_gain() {
    let mut config = clean();
    without_namespace(&mut config, "user");
    give(&mut config, "CAP_SYS_ADMIN");
    // execve(2) takes it away, and nothing can bring it back.
    assert!(!audit(&config).iter().any(|(id, _)| *id == "BH-CAP-SYS-ADMIN"));
    set(&mut config, "/process/noNewPrivileges", json!(false));
    assert!(audit(&config).contains(&("BH-CAP-SYS-ADMIN", Severity::High)));
    let sets = json!({"bounding": ["CAP_SYS_ADMIN"], "permitted": ["CAP_SYS_ADMIN"],
        "inheritable": ["CAP_SYS_ADMIN"], "ambient": ["CAP_SYS_ADMIN"]});
    set_capabilities(&mut config, sets);
    assert!(audit(&config).contains(&("BH-CAP-SYS-ADMIN", Severity::Critical)));
}

#[test]
fn hostile_values_are_facts_or_nothing() {
    for (pointer, value) in [
        ("/process", json!([])),
        ("/mounts", json!({"destination": 5})),
        ("/mounts", json!([5, {"destination": 5}, {"destination": "x", "options": [5]}])),
        ("/linux", json!("x")),
        ("/linux/namespaces", json!([{"type": []}, 5])),
        ("/linux/seccomp", json!({"defaultAction": 5})),
        ("/linux/resources/devices", json!([5, {"allow": "x", "major": "y"}])),
        ("/process/capabilities", json!({"bounding": "CAP_SYS_ADMIN"})),
        ("/process/user/uid", json!(-1)),
    ] {
        let mut config = clean();
        set(&mut config, pointer, value);
        assert!(audit(&config).contains(&("BH-CONFIG-INVALID", Severity::High)), "{pointer}");
    }
}

#[test]
fn fix_closes_what_it_can_and_the_result_parses() {
    for (id, severity, change) in CASES {
        let mut config = clean();
        change(&mut config);
        if *severity < Severity::Medium || *id == "BH-CONFIG-INVALID" {
            continue;
        }
        let document = Document::parse(config.to_string().into_bytes(), "c").unwrap();
        let subject = document.subject("/bundle".as_ref(), false);
        let found = findings(&subject, &[]);
        let mut fixed = document.value.clone();
        let changes = fix(&mut fixed, &found);
        let left = audit(&fixed);
        let decided = matches!(*id, "BH-USER-ROOT" | "BH-USER-NAMESPACE-ROOT");
        assert_eq!(
            left.iter().any(|(left, severity)| left == id && *severity >= Severity::Medium),
            decided,
            "{id}: {left:?}"
        );
        assert!(left.iter().all(|(_, severity)| *severity < Severity::High), "{id}: {left:?}");
        assert_eq!(changes.iter().any(|change| change.rule == *id), !decided, "{id}: {changes:?}");
        let again = Document::parse(fixed.to_string().into_bytes(), "c").unwrap();
        assert_eq!(again.invalid(), None, "{id}: {fixed}");
    }
}
