use super::*;

fn checked(text: &str) -> String {
    match correct(text, CONFIG, "", false, &mut Vec::new()) {
        Ok(_) => "good".to_owned(),
        Err(error) => error.to_string(),
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
        let error = checked(text);
        assert!(error.starts_with(&format!("{field}: [")), "{error}");
        assert!(error.ends_with(": expected an object"), "{error}");
    }
    // Unknown properties are ignored, whatever they hold.
    assert_eq!(checked(r#"{"x": [[1]], "linux": {"y": {"user": []}}, "root": null}"#), "good");
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
        assert_eq!(checked(&text), format!("{field}: missing; the spec requires it"));
    }
    assert_eq!(checked(&device(r#"{"type": "p", "path": "/a"}"#)), "good");
}

#[test]
fn values_of_other_types() {
    for (text, error) in [
        (r#"{"mounts": [1]}"#, "mounts[0]: 1: expected an object"),
        (r#"{"mounts": {}}"#, "mounts: {}: expected an array"),
        (r#"{"process": 1.5}"#, "process: 1.5: expected an object"),
        (r#"{"hooks": "x"}"#, "hooks: \"x\": expected an object"),
        (r#"{"linux": {"devices": [{"type": 5}]}}"#, "linux.devices[0].type: 5: expected a string"),
        (r#"{"root": "#, "line 1 column 9: EOF while parsing a value"),
        ("", "line 1 column 0: EOF while parsing a value"),
    ] {
        assert_eq!(checked(text), error);
    }
}
