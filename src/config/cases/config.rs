//! The rules of the whole configuration, of namespaces and of the smaller members of linux.

use serde_json::{Value, json};

use super::{host, long, outcome, plan, refused, taken, userns};
use crate::config::TerminalRequest;

#[test]
fn the_base_and_bare_configurations() {
    taken(&[json!({}), json!({"/process": null}), json!({"/mounts": null, "/hostname": null})]);
    let bare = serde_json::from_value(json!({"root": {"path": "/"}})).unwrap();
    assert!(plan(bare, TerminalRequest::default(), &host(true)).is_ok());
}

#[test]
fn root_and_annotations() {
    refused(&[
        (json!({"/root": null}), "root: missing; the spec requires it"),
        (json!({"/root/path": ""}), "root.path: \"\": must name a directory"),
        (json!({"/annotations": {"": "x"}}), "annotations: \"\": a key must not be empty"),
    ]);
    taken(&[json!({"/root/path": "."}), json!({"/annotations": {"a": ""}})]);
}

#[test]
fn namespaces() {
    refused(&[
        (
            json!({"/linux/namespaces/6": {"type": "network"}}),
            "linux.namespaces[6].type: \"network\": a namespace of this type is listed twice",
        ),
        (
            json!({"/linux/namespaces/1/path": "run/netns/a"}),
            "linux.namespaces[1].path: \"run/netns/a\": must be an absolute path",
        ),
        (
            json!({"/linux/namespaces/3": {"type": "time"}}),
            "hostname: \"box\": needs a uts namespace, or the host's name would be changed",
        ),
        (
            json!({"/linux/namespaces/3": {"type": "time"}, "/hostname": "",
                   "/domainname": "d"}),
            "domainname: \"d\": needs a uts namespace, or the host's name would be changed",
        ),
        (
            json!({"/hostname": long(65)}),
            &format!("hostname: \"{}\": is longer than 64 bytes", long(65)),
        ),
        (
            json!({"/domainname": long(65)}),
            &format!("domainname: \"{}\": is longer than 64 bytes", long(65)),
        ),
        (
            json!({"/linux/namespaces/4": {"type": "time"}}),
            "linux.maskedPaths: needs a mount namespace",
        ),
        (
            json!({"/linux/namespaces/4": {"type": "time"}, "/linux/maskedPaths": []}),
            "linux.readonlyPaths: needs a mount namespace",
        ),
    ]);
    taken(&[
        json!({"/linux/namespaces/1/path": "/run/netns/a"}),
        json!({"/linux/namespaces/3/path": "/proc/1/ns/uts"}),
        json!({"/hostname": long(64), "/domainname": long(64)}),
        json!({"/linux/namespaces/4": {"type": "time"}, "/linux/maskedPaths": [],
               "/linux/readonlyPaths": []}),
    ]);
    let of_user = |changes: &Value| outcome(changes, TerminalRequest::default(), &host(false));
    assert_eq!(
        of_user(&json!({})),
        "linux.namespaces: without root privileges a user namespace is needed: add \
         {\"type\": \"user\"}, uidMappings and gidMappings, as 'bulkhead spec --rootless' does"
    );
    assert_eq!(of_user(&userns(json!({}))), "passes");
}

#[test]
fn time_offsets() {
    let time =
        |more: Value| json!({"/linux/namespaces/6": {"type": "time"}, "/linux/timeOffsets": more});
    refused(&[
        (
            json!({"/linux/timeOffsets": {"boottime": {"secs": 1}}}),
            "linux.timeOffsets: needs a time namespace",
        ),
        (
            json!({"/linux/namespaces/6": {"type": "time", "path": "/proc/1/ns/time"},
                   "/linux/timeOffsets": {"boottime": {"secs": 1}}}),
            "linux.timeOffsets: the offsets of a namespace that is joined cannot be changed",
        ),
        (
            time(json!({"realtime": {"secs": 1}})),
            "linux.timeOffsets: \"realtime\": unknown clock; \"boottime\" and \"monotonic\" have \
             an offset",
        ),
        (
            time(json!({"monotonic": {"nanosecs": 1_000_000_000}})),
            "linux.timeOffsets.monotonic.nanosecs: 1000000000: must be less than 1000000000",
        ),
    ]);
    taken(&[
        json!({"/linux/timeOffsets": {}}),
        time(json!({"monotonic": {"secs": -5, "nanosecs": 999_999_999}, "boottime": {}})),
    ]);
}

#[test]
fn user_namespace() {
    let map = |entries: &[(u32, u32, u32)]| -> Value {
        let entry = |(container, host, size): &(u32, u32, u32)| json!({"containerID": container, "hostID": host, "size": size});
        entries.iter().map(entry).collect()
    };
    let uids = |entries: &[(u32, u32, u32)]| userns(json!({"/linux/uidMappings": map(entries)}));
    let gids = |entries: &[(u32, u32, u32)]| userns(json!({"/linux/gidMappings": map(entries)}));
    let many = |count: u32| map(&(0..count).map(|id| (id, id, 1)).collect::<Vec<_>>());
    refused(&[
        (
            json!({"/linux/namespaces/6": {"type": "user"}}),
            "linux.uidMappings: a new user namespace needs mappings",
        ),
        (
            userns(json!({"/linux/gidMappings": null})),
            "linux.gidMappings: a new user namespace needs mappings",
        ),
        (
            userns(json!({"/linux/gidMappings": null,
                          "/linux/namespaces/6": {"type": "user", "path": "/u"}})),
            "linux.gidMappings: uidMappings and gidMappings must be given together",
        ),
        (
            json!({"/linux/uidMappings": map(&[(0, 0, 1)])}),
            "linux.uidMappings: mappings need a user namespace: add {\"type\": \"user\"} to \
             linux.namespaces",
        ),
        (
            json!({"/linux/gidMappings": map(&[(0, 0, 1)])}),
            "linux.gidMappings: mappings need a user namespace: add {\"type\": \"user\"} to \
             linux.namespaces",
        ),
        (
            userns(json!({"/linux/uidMappings": many(341)})),
            "linux.uidMappings: 341 entries: the kernel takes at most 340 entries",
        ),
        (gids(&[(0, 1000, 1), (1, 2000, 0)]), "linux.gidMappings[1].size: 0: must be above 0"),
        (
            uids(&[(1, 0, u32::MAX)]),
            "linux.uidMappings[0].containerID: 1: with size 4294967295 the range goes beyond \
             4294967294",
        ),
        (
            uids(&[(0, 1, u32::MAX)]),
            "linux.uidMappings[0].hostID: 1: with size 4294967295 the range goes beyond \
             4294967294",
        ),
        (
            uids(&[(0, 0, 10), (9, 100, 1)]),
            "linux.uidMappings[1].containerID: 9: the range of 1 ids overlaps that of entry 0",
        ),
        (
            uids(&[(0, 50, 10), (10, 45, 6)]),
            "linux.uidMappings[1].hostID: 45: the range of 6 ids overlaps that of entry 0",
        ),
        (uids(&[(1, 0, 10)]), "linux.uidMappings: id 0 of the container is not mapped"),
        (gids(&[(1, 0, 10)]), "linux.gidMappings: id 0 of the container is not mapped"),
    ]);
    taken(&[
        uids(&[(0, 0, u32::MAX)]),
        uids(&[(0, 50, 10), (10, 40, 10), (20, 60, 1)]),
        userns(json!({"/linux/uidMappings": many(340)})),
        json!({"/linux/namespaces/6": {"type": "user", "path": "/proc/1/ns/user"}}),
    ]);
}

#[test]
fn linux_section() {
    refused(&[
        (
            json!({"/linux/maskedPaths/1": "proc/acpi"}),
            "linux.maskedPaths[1]: \"proc/acpi\": must be an absolute path",
        ),
        (
            json!({"/linux/readonlyPaths/0": ""}),
            "linux.readonlyPaths[0]: \"\": must be an absolute path",
        ),
        (
            json!({"/linux/rootfsPropagation": "Shared"}),
            "linux.rootfsPropagation: \"Shared\": must be shared, slave, private or unbindable, \
             or one of these with an r before it",
        ),
        (
            json!({"/linux/personality": {"domain": "LINUX", "flags": ["X"]}}),
            "linux.personality.flags[0]: \"X\": the spec defines no flag",
        ),
        (
            json!({"/linux/cgroupsPath": "/a/../b"}),
            "linux.cgroupsPath: \"/a/../b\": must not contain \"..\"",
        ),
        (
            json!({"/linux/cgroupsPath": "a\nb"}),
            "linux.cgroupsPath: \"a\\nb\": must not contain a line feed",
        ),
        (
            json!({"/linux/intelRdt": {"closID": ".."}}),
            "linux.intelRdt.closID: \"..\": must be \"/\" or the name of one directory",
        ),
        (
            json!({"/linux/intelRdt": {"closID": "a/b"}}),
            "linux.intelRdt.closID: \"a/b\": must be \"/\" or the name of one directory",
        ),
        (
            json!({"/linux/intelRdt": {"memBwSchema": "L3:0=1"}}),
            "linux.intelRdt.memBwSchema: \"L3:0=1\": must start with \"MB:\"",
        ),
        (
            json!({"/linux/intelRdt": {"memBwSchema": "MB:0\n"}}),
            "linux.intelRdt.memBwSchema: \"MB:0\\n\": must be one line without a NUL byte",
        ),
        (
            json!({"/linux/intelRdt": {"l3CacheSchema": "L3:\n"}}),
            "linux.intelRdt.l3CacheSchema: \"L3:\\n\": must be one line without a NUL byte",
        ),
        (
            json!({"/linux/intelRdt": {"schemata": ["MB:0=1", "\n"]}}),
            "linux.intelRdt.schemata[1]: \"\\n\": must be one line without a NUL byte",
        ),
        (
            json!({"/linux/intelRdt": {"closID": "mon_groups"}}),
            "linux.intelRdt.closID: \"mon_groups\": the resctrl file system has a directory of this \
             name that is no group",
        ),
    ]);
    for propagation in [
        "",
        "shared",
        "rshared",
        "slave",
        "rslave",
        "private",
        "rprivate",
        "unbindable",
        "runbindable",
    ] {
        taken(&[json!({"/linux/rootfsPropagation": propagation})]);
    }
    taken(&[
        json!({"/linux/cgroupsPath": "/a/..b"}),
        json!({"/linux/cgroupsPath": "system.slice:bulkhead:id"}),
    ]);
}

#[test]
fn net_devices() {
    let why = "not the name of a network device (1 to 15 bytes without space, / and :)";
    for name in ["", ".", "..", "a/b", "a b", "a:b", "a\tb", "abcdefghijklmnop"] {
        refused(&[(
            json!({"/linux/netDevices": {name: {}}}),
            &format!("linux.netDevices: {name:?}: {why}"),
        )]);
    }
    refused(&[
        (
            json!({"/linux/netDevices": {"eth0": {"name": "a/b"}}}),
            &format!("linux.netDevices.eth0.name: \"a/b\": {why}"),
        ),
        (
            json!({"/linux/netDevices": {"eth0": {}}, "/linux/namespaces/1": {"type": "time"}}),
            "linux.netDevices: needs a network namespace",
        ),
        (
            json!({"/linux/netDevices": {"a": {"name": "b"}, "b": {}}}),
            "linux.netDevices.b.name: \"b\": another device gets this name, too",
        ),
    ]);
    for name in ["a%", "a%s", "%d%d", "%%d", "%d%"] {
        let why = "a \"%\" must begin the only \"%d\", in whose place the kernel puts a number";
        refused(&[(
            json!({"/linux/netDevices": {"eth0": {"name": name}}}),
            &format!("linux.netDevices.eth0.name: {name:?}: {why}"),
        )]);
    }
    taken(&[
        json!({"/linux/netDevices": {}}),
        json!({"/linux/netDevices": {"a": {"name": "b"}, "b": {"name": "a"}}}),
        json!({"/linux/netDevices": {"a": {"name": "x%d"}, "b": {"name": "x%d"}}}),
    ]);
    assert_eq!(
        outcome(
            &userns(json!({"/linux/netDevices": {"eth0": {}}})),
            TerminalRequest::default(),
            &host(false)
        ),
        "linux.netDevices: operation not permitted: the runtime needs CAP_NET_ADMIN and \
         CAP_SYS_ADMIN to move a network device",
    );
}

#[test]
fn memory_policy() {
    let policy = |mode: &str, nodes: &str, flags: &[&str]| json!({"/linux/memoryPolicy": {"mode": mode, "nodes": nodes, "flags": flags}});
    refused(&[
        (
            policy("MPOL_DEFAULT", "0-7", &[]),
            "linux.memoryPolicy.nodes: \"0-7\": invalid memory policy: MPOL_DEFAULT mode \
             requires 0 nodes but got 8",
        ),
        (
            policy("MPOL_BIND", "", &[]),
            "linux.memoryPolicy.nodes: invalid memory policy: MPOL_BIND needs a node",
        ),
        (
            policy("MPOL_BIND", "0-9876543210", &[]),
            "linux.memoryPolicy.nodes: \"0-9876543210\": invalid memory policy nodes: not a list of \
             numbers and ranges such as \"0-3,7\"",
        ),
        (
            policy("MPOL_BIND", "0,32768", &[]),
            "linux.memoryPolicy.nodes: \"0,32768\": invalid memory policy nodes: the last number is 32767",
        ),
        (
            policy("MPOL_BIND", "0", &["MPOL_F_STATIC_NODES", "MPOL_F_RELATIVE_NODES"]),
            "linux.memoryPolicy.flags: invalid memory policy flags: MPOL_F_STATIC_NODES and \
             MPOL_F_RELATIVE_NODES exclude each other",
        ),
    ]);
    taken(&[
        policy("MPOL_DEFAULT", "", &[]),
        policy("MPOL_PREFERRED", "", &[]),
        policy("MPOL_INTERLEAVE", "0-3,7,1024-32767", &["MPOL_F_STATIC_NODES"]),
    ]);
}
