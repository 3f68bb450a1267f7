use super::*;

fn found(text: &str) -> String {
    match audit(text, "") {
        Ok(lacks_pids_limit) => format!("pids {lacks_pids_limit}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn the_scan_knows_the_arrays_of_the_spec() {
    for ordinary in [
        r#"{"mounts": [{"options": ["ro", "x"]}], "linux":{"namespaces" : [ ]}}"#,
        r#"{"process": {"args": ["a"], "env": []}}"#,
    ] {
        assert!(!text_may_hide(ordinary), "{ordinary}");
    }
    for odd in [
        r#"{"linux": []}"#,
        r#"{"linux" : [1]}"#,
        r#"{"mounts": [ [] ]}"#,
        r#"{"mounts": [{}, []]}"#,
        r#"{"rdma": {"mlx": [1]}}"#,
        r#"{"hostname": "a\u0000"}"#,
        r#"{"a": ": ["}"#,
    ] {
        assert!(text_may_hide(odd), "{odd}");
    }
}

#[test]
fn an_array_is_not_an_object() {
    for (text, field) in [
        (r#"{"linux": []}"#, "linux"),
        (r#"{"root": ["rootfs"]}"#, "root"),
        (r#"{"process": {"user": [0, 0]}}"#, "process.user"),
        (r#"{"mounts": [{}, ["/a"]]}"#, "mounts[1]"),
        (r#"{"hooks": {"poststop": [["/bin/true"]]}}"#, "hooks.poststop[0]"),
        (r#"{"linux": {"resources": {"rdma": {"mlx": [1]}}}}"#, "linux.resources.rdma.mlx"),
        (
            r#"{"linux": {"seccomp": {"syscalls": [{"args": [[0, 1]]}]}}}"#,
            "linux.seccomp.syscalls[0].args[0]",
        ),
        (r#"{"linux": {"resources": {"pids": [5]}}}"#, "linux.resources.pids"),
    ] {
        assert_eq!(found(text), format!("{field}: an object is expected, not an array"));
    }
    // Unknown properties are ignored, whatever they hold.
    assert_eq!(found(r#"{"x": [[1]], "linux": {"y": {"user": []}}, "root": null}"#), "pids false");
}

#[test]
fn required_members() {
    let device = |device: &str| format!(r#"{{"linux": {{"devices": [{device}]}}}}"#);
    for (text, field) in [
        (device(r#"{"type": "c", "path": "/a", "minor": 1}"#), "linux.devices[0].major"),
        (device(r#"{"type": "b", "path": "/a", "major": 1}"#), "linux.devices[0].minor"),
        (
            r#"{"process": {"rlimits": [{"type": "RLIMIT_CPU", "hard": 1}]}}"#.to_owned(),
            "process.rlimits[0].soft",
        ),
        (r#"{"linux": {"uidMappings": [{"size": 1}]}}"#.to_owned(), "linux.uidMappings[0].hostID"),
        (
            r#"{"linux": {"resources": {"blockIO":
                {"throttleReadBpsDevice": [{"major": 8, "minor": 0}]}}}}"#
                .to_owned(),
            "linux.resources.blockIO.throttleReadBpsDevice[0].rate",
        ),
    ] {
        assert_eq!(found(&text), format!("{field}: missing; the spec requires it"));
    }
    assert_eq!(found(&device(r#"{"type": "p", "path": "/a"}"#)), "pids false");
}

#[test]
fn zeros_are_looked_at() {
    for text in [
        r#"{"process": {"user": {}, "cwd": "/", "rlimits": [{"type": "RLIMIT_CPU", "hard": 1}]}}"#,
        r#"{"linux": {"gidMappings": [{"containerID": 1, "size": 1}]}}"#,
        r#"{"mounts": [{"destination": "/a", "uidMappings": [{"containerID": 1, "size": 1}]}]}"#,
        r#"{"linux": {"devices": [{"path": "/a", "type": "c", "major": 1}]}}"#,
        r#"{"linux": {"resources": {"pids": {}}}}"#,
        r#"{"linux": {"resources": {"hugepageLimits": [{"pageSize": "2MB"}]}}}"#,
        r#"{"linux": {"resources": {"hugepageLimits": [{"limit": 1}]}}}"#,
        r#"{"linux": {"resources": {"network": {"priorities": [{"name": "a"}]}}}}"#,
        r#"{"linux": {"resources": {"blockIO": {"weightDevice": [{"major": 8}]}}}}"#,
        r#"{"linux": {"resources": {"blockIO": {"throttleWriteIOPSDevice":
            [{"major": 8, "minor": 1}]}}}}"#,
    ] {
        let spec: Spec = serde_json::from_str(text).unwrap();
        assert!(spec_may_hide(&spec), "{text}");
    }
    let plain = r#"{"process": {"user": {}, "cwd": "/",
        "rlimits": [{"type": "RLIMIT_CPU", "soft": 1, "hard": 1}]},
        "linux": {"uidMappings": [{"hostID": 1, "size": 1}], "resources": {"pids": {"limit": 1}},
        "devices": [{"path": "/a", "type": "p"},
                    {"path": "/a", "type": "c", "major": 1, "minor": 3}]}}"#;
    assert!(!spec_may_hide(&serde_json::from_str(plain).unwrap()));
}

#[test]
fn pids_without_a_limit() {
    assert_eq!(found(r#"{"linux": {"resources": {"pids": {}}}}"#), "pids true");
    assert_eq!(found(r#"{"linux": {"resources": {"pids": {"limit": 0}}}}"#), "pids false");
}

#[test]
fn nul_bytes() {
    for (text, expected) in [
        (r#"{"process": {"args": ["a", "b\u0000c"]}}"#, r#"process.args[1]: "b\0c""#),
        (r#"{"hostname": "\u0000"}"#, r#"hostname: "\0""#),
        (r#"{"mounts": [{"source": "/a\u0000"}]}"#, r#"mounts[0].source: "/a\0""#),
        (r#"{"linux": {"sysctl": {"net.a\u0000": "1"}}}"#, r#"linux.sysctl: "net.a\0""#),
    ] {
        assert_eq!(found(text), format!("{expected}: a NUL byte cannot be passed to the kernel"));
    }
    let unused = r#"{"annotations": {"a": "\u0000"}, "vm": {"x": "\u0000"}, "hostname": "\\u0000",
        "linux": {"seccomp": {"listenerMetadata": "\u0000"}}}"#;
    assert_eq!(found(unused), "pids false");
}
