use std::io::Write;

use serde_json::{Value, json};

use super::*;

const MINIMAL: &str =
    r#"{"ociVersion": "1.3.0", "process": {"user": {"uid": 0, "gid": 0}, "cwd": "/"}}"#;

fn error(raw: impl Into<Vec<u8>>) -> String {
    let error = parse(raw.into(), "config.json").unwrap_err();
    assert_eq!(error.kind(), Kind::Invalid);
    let text = error.to_string();
    assert!(!text.contains('\n'));
    text.strip_prefix("config.json: ").unwrap().to_owned()
}

/// Returns the minimal configuration with `value` at `pointer`; creates the objects on the way.
fn with(pointer: &str, value: Value) -> String {
    let mut config: Value = serde_json::from_str(MINIMAL).unwrap();
    let mut at = &mut config;
    for key in pointer.split('/').skip(1) {
        if at.is_null() {
            *at = json!({});
        }
        at = at.as_object_mut().unwrap().entry(key).or_insert(Value::Null);
    }
    *at = value;
    config.to_string()
}

fn temporary(content: &[u8]) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(content).unwrap();
    file
}

fn process_of(path: &Path) -> LoadedProcess {
    parse_process(&read_config(path).unwrap(), "p").unwrap()
}

#[test]
fn reads_a_file_and_keeps_its_bytes() {
    let loaded = load(temporary(MINIMAL.as_bytes()).path()).unwrap();
    assert_eq!(loaded.raw, MINIMAL.as_bytes());
    assert_eq!(loaded.spec.version(), "1.3.0");
    assert!(loaded.warnings.is_empty());
}

#[test]
fn only_regular_files_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let fifo = dir.path().join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let socket = dir.path().join("socket");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let device = Path::new("/dev/zero").to_owned();
    for (path, what) in [
        (dir.path().to_owned(), "a directory"),
        (fifo, "a FIFO"),
        (socket, "a socket or a device"),
        (device, "a device"),
    ] {
        let expected = format!("{}: is {what}, not a regular file", path.display());
        assert_eq!(load(&path).unwrap_err().to_string(), expected);
    }
    let missing = dir.path().join("missing");
    let error = load(&missing).unwrap_err();
    assert_eq!(error.errno(), Some(nix::errno::Errno::ENOENT));
    let cause = format!("open {}: no such file or directory; ", missing.display());
    assert!(error.to_string().starts_with(&cause), "{error}");
}

#[test]
fn large_files_are_refused_unread() {
    let file = tempfile::NamedTempFile::new().unwrap();
    file.as_file().set_len(1 << 40).unwrap();
    let expected = format!("{}: is larger than 16 MiB", file.path().display());
    assert_eq!(load(file.path()).unwrap_err().to_string(), expected);
    // A file of exactly the limit is read; the parser refuses its NUL bytes.
    file.as_file().set_len(MAX_BYTES).unwrap();
    let expected = format!("{}: line 1 column 1: expected value", file.path().display());
    assert_eq!(load(file.path()).unwrap_err().to_string(), expected);
}

#[test]
fn bad_text() {
    assert_eq!(error(""), "is empty; it must hold a JSON object");
    assert_eq!(error(" \n"), "is empty; it must hold a JSON object");
    for text in ["null", "[]", " [{}]", &"[".repeat(10_000)] {
        assert_eq!(error(text), "must hold a JSON object, not an array or null");
    }
    assert_eq!(
        error([b"\xef\xbb\xbf", MINIMAL.as_bytes()].concat()),
        "starts with a byte order mark; save it as UTF-8 without one"
    );
    assert_eq!(error(&b"{\"a\":\n \"\xff\"}"[..]), "line 2 column 3: not UTF-8");
    assert_eq!(error("{\0}"), "line 1 column 2: key must be a string");
    assert_eq!(error(&MINIMAL[..40]), "line 1 column 40: EOF while parsing a string");
    assert_eq!(error(format!("{MINIMAL}\nx")), "line 2 column 1: trailing characters");
    assert_eq!(error(format!("{MINIMAL}{MINIMAL}")), "line 1 column 79: trailing characters");
    assert_eq!(
        error(with("/process/oomScoreAdj", json!(7)).replace('7', "1e999")),
        "line 1 column 62: number out of range"
    );
    let deep = r#"{"linux":"#.repeat(10_000);
    assert!(error(deep.clone()).starts_with("line 1 column "), "{}", error(deep));
    assert_eq!(error("\"text\""), "expected an object");
    assert_eq!(error("{}"), "ociVersion: missing; the spec requires it");
}

#[test]
fn wrong_values_are_named() {
    let limit = |typ: Value| with("/process/rlimits", json!([{"type": typ, "soft": 1, "hard": 1}]));
    for (text, expected) in [
        (with("/process/user/uid", json!(-1)), "process.user.uid: -1: expected u32"),
        (
            with("/process/user/uid", json!(4_294_967_296_u64)),
            "process.user.uid: 4294967296: expected u32",
        ),
        (with("/process/args", json!("sh")), "process.args: \"sh\": expected a sequence"),
        (with("/process/args", json!(["a", 5])), "process.args[1]: 5: expected a string"),
        (with("/process/cwd", json!(null)), "process.cwd: null: expected path string"),
        (with("/process/user", json!(null)), "process.user: null: expected struct User"),
        (with("/mounts", json!([{}])), "mounts[0].destination: missing; the spec requires it"),
        (with("/process", json!({})), "process.cwd: missing; the spec requires it"),
        (with("/ociVersion", json!(1)), "ociVersion: 1: expected a string"),
        (
            with("/ociVersion", json!("2.0.0")),
            "ociVersion: \"2.0.0\": only version 1 of the spec is supported",
        ),
        (
            with("/hostname", json!("a\0b")),
            "hostname: \"a\\0b\": a NUL byte cannot be passed to \
                                            the kernel",
        ),
        (with("/linux", json!([])), "linux: []: expected an object"),
        (
            with("/linux/devices", json!([{"type": "c", "path": "/a", "minor": 1}])),
            "linux.devices[0].major: missing; the spec requires it",
        ),
        (
            with("/annotations", json!({"a": "x".repeat(100), "b": 1})),
            "annotations.b: 1: expected a string",
        ),
        (
            with("/process/args", json!("x".repeat(70_000))),
            &format!(
                "process.args: \"{}... (70002 characters): expected a sequence",
                "x".repeat(199)
            ),
        ),
    ] {
        assert_eq!(error(text), expected);
    }
    assert_eq!(error(limit(json!(15))), "process.rlimits[0].type: 15: expected a string");
    let unknown = error(limit(json!("RLIMIT_X")));
    let start = "process.rlimits[0].type: \"RLIMIT_X\": expected one of `RLIMIT_CPU`";
    assert!(unknown.starts_with(start), "{unknown}");
    let unknown = error(with("/linux/namespaces", json!([{"type": "ipc"}, {"type": "net"}])));
    assert!(unknown.starts_with("linux.namespaces[1].type: \"net\": expected one of"), "{unknown}");
    let unknown = error(with("/linux/seccomp", json!({"defaultAction": "SCMP_ACT_X"})));
    let start = "linux.seccomp.defaultAction: \"SCMP_ACT_X\": expected one of";
    assert!(unknown.starts_with(start), "{unknown}");
}

/// Returns the warnings of an accepted configuration, and its stored text.
fn kept(text: &str) -> (Vec<String>, String) {
    let loaded = parse(text.as_bytes().to_vec(), "c").unwrap();
    (loaded.warnings, String::from_utf8(loaded.raw).unwrap())
}

#[test]
fn keys_in_other_letters() {
    let (warnings, text) =
        kept(r#"{"OCIVersion": "1.0.0", "root": {"path": "a", "readOnly": true}}"#);
    assert_eq!(text, r#"{"ociVersion": "1.0.0", "root": {"path": "a", "readonly": true}}"#);
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    // Go's decoder takes the last of two values; which of them is intended is unknown.
    let twice =
        r#"{"ociVersion": "1.0.0", "root": {"path": "a", "readonly": true, "READONLY": false}}"#;
    assert_eq!(error(twice), "root.readonly: given twice");
}

#[test]
fn an_io_priority_has_a_class() {
    for io in [json!({"priority": 3}), json!({})] {
        let expected = "process.ioPriority.class: missing; the spec requires it";
        assert_eq!(error(with("/process/ioPriority", io)), expected);
    }
    for io in
        [json!({"class": "IOPRIO_CLASS_BE", "priority": 0}), json!({"class": "IOPRIO_CLASS_IDLE"})]
    {
        assert!(kept(&with("/process/ioPriority", io)).0.is_empty());
    }
}

#[test]
fn without_a_user_it_is_for_root() {
    let text = r#"{"ociVersion": "1.0.0", "process": {"cwd": "/", "args": ["a"]}}"#;
    let spec = parse(text.as_bytes().to_vec(), "c").unwrap().spec;
    let user = spec.process().as_ref().unwrap().user().clone();
    assert_eq!((user.uid(), user.gid()), (0, 0));
    // A repair is repeated when the stored text is read.
    assert_eq!(parse_stored(text).unwrap(), spec);
}

#[test]
fn keys_given_twice() {
    let twice = r#"{"ociVersion": "1.0.0", "hostname": "a", "hostname": "b"}"#;
    assert_eq!(error(twice), "hostname: given twice");
    let twice = r#"{"ociVersion": "1.0.0", "root": {"path": "a", "path": "b"}}"#;
    assert_eq!(error(twice), "root.path: given twice");
}

#[test]
fn unknown_properties_are_ignored() {
    let text = with("/x", json!({"y": [[1], {"user": []}]}));
    assert!(parse(text.into_bytes(), "c").unwrap().warnings.is_empty());
    // The parser's own maximum depth; deeper input is an error.
    let nested = |depth| {
        let (open, close) = ("[".repeat(depth), "]".repeat(depth));
        format!(r#"{{"x": {open}{close}, {}"#, &MINIMAL[1..])
    };
    assert!(parse(nested(100).into_bytes(), "c").is_ok());
    assert_eq!(error(nested(5000)), "line 1 column 133: recursion limit exceeded");
}

#[test]
fn unknown_capabilities_are_dropped_with_a_warning() {
    let sets = json!({"bounding": ["CAP_NEW", "CAP_KILL", "CAP_NEWER"], "effective": ["CAP_KILL"]});
    let loaded = parse(with("/process/capabilities", sets).into_bytes(), "c").unwrap();
    assert_eq!(
        loaded.warnings,
        [
            "process.capabilities.bounding[0]: \"CAP_NEW\": unknown capability, dropped",
            "process.capabilities.bounding[2]: \"CAP_NEWER\": unknown capability, dropped",
        ]
    );
    let process = loaded.spec.process().as_ref().unwrap();
    let bounding = process.capabilities().as_ref().unwrap().bounding().as_ref().unwrap();
    let kill = oci_spec::runtime::Capability::Kill;
    assert_eq!(bounding.iter().collect::<Vec<_>>(), [&kill]);

    let sets = json!({"bounding": ["CAP_NEW", 5]});
    let text = error(with("/process/capabilities", sets));
    assert!(text.starts_with("process.capabilities.bounding["), "{text}");
    assert!(text.ends_with(": 5: expected a string"), "{text}");
}

#[test]
fn what_the_crate_is_wrong_about() {
    let value = json!([{"pageSize": "2MB", "limit": u64::MAX}]);
    let text = with("/linux/resources/hugepageLimits", value);
    let spec = parse(text.into_bytes(), "c").unwrap().spec;
    let resources = spec.linux().as_ref().unwrap().resources().as_ref().unwrap();
    assert_eq!(resources.hugepage_limits().as_ref().unwrap()[0].limit(), i64::MAX);

    let value = json!({"initial": "0", "final": ""});
    let spec = parse(with("/process/execCPUAffinity", value).into_bytes(), "c").unwrap().spec;
    let affinity = spec.process().as_ref().unwrap().exec_cpu_affinity().as_ref().unwrap();
    assert_eq!(affinity.initial().as_deref(), Some("0"));
    assert_eq!(affinity.cpu_affinity_final(), &None);

    let flags = ["SCHED_FLAG_RESET_ON_FORK", "SCHED_FLAG_RECLAIM", "SCHED_FLAG_DL_OVERRUN"];
    let value = json!({"policy": "SCHED_FIFO", "flags": flags});
    let spec = parse(with("/process/scheduler", value).into_bytes(), "c").unwrap().spec;
    let scheduler = spec.process().as_ref().unwrap().scheduler().as_ref().unwrap();
    assert_eq!(scheduler.flags().as_ref().unwrap().len(), 3);

    let limit = |value: Value| {
        let text = with("/linux/resources/pids", value);
        let spec = parse(text.into_bytes(), "c").unwrap().spec;
        let resources = spec.linux().as_ref().unwrap().resources().as_ref().unwrap();
        resources.pids().map(|pids| pids.limit())
    };
    assert_eq!(limit(json!({})), None);
    assert_eq!(limit(json!({"limit": 0})), Some(0));
    assert_eq!(limit(json!({"limit": 5})), Some(5));
}

/// The crate's parser refuses such a list; here the constructor of the process checks it.
#[test]
fn lists_of_cpus_are_not_parsed_yet() {
    let process =
        json!({"cwd": "/", "args": ["a"], "execCPUAffinity": {"initial": "0", "final": ",1-l"}});
    let process = parse_process(process.to_string().as_bytes(), "p").unwrap().process;
    let affinity = process.exec_cpu_affinity().clone().unwrap();
    assert_eq!(affinity.cpu_affinity_final().as_deref(), Some(",1-l"));
}

#[test]
fn a_process_by_the_same_rules() {
    let parse = |value: Value| {
        parse_process(value.to_string().as_bytes(), "p").map_err(|error| error.to_string())
    };
    let mut process = json!({"user": {"uid": 1, "gid": 2}, "cwd": "/", "args": ["a"],
                             "capabilities": {"ambient": ["CAP_NEW"]}});
    let loaded = parse(process.clone()).unwrap();
    assert_eq!(loaded.process.user().gid(), 2);
    assert_eq!(
        loaded.warnings,
        ["process.capabilities.ambient[0]: \"CAP_NEW\": unknown capability, dropped"]
    );
    process["args"] = json!(["a\0"]);
    let nul = "p: process.args[0]: \"a\\0\": a NUL byte cannot be passed to the kernel";
    assert_eq!(parse(process.clone()).unwrap_err(), nul);
    process["args"] = json!([5]);
    assert_eq!(parse(process.clone()).unwrap_err(), "p: process.args[0]: 5: expected a string");
    process["args"] = json!(["a"]);
    process["rlimits"] = json!([{"type": "RLIMIT_CPU"}]);
    assert_eq!(
        parse(process.clone()).unwrap_err(),
        "p: process.rlimits[0].soft: missing; the spec requires it"
    );
    process["rlimits"] = json!([]);
    process["user"] = json!([0, 0]);
    assert_eq!(parse(process).unwrap_err(), "p: process.user: [0,0]: expected an object");
    let file = temporary(br#"{"user": {}, "cwd": "/"}"#);
    assert!(process_of(file.path()).warnings.is_empty());
    assert_eq!(
        parse(json!({"args": ["a"]})).unwrap_err(),
        "p: process.cwd: missing; the spec requires it"
    );
}

/// The input of `exec --process <(...)`, where users often omit the user.
#[test]
fn a_process_can_come_through_a_pipe() {
    use std::os::fd::AsRawFd;
    let (reader, mut writer) = std::io::pipe().unwrap();
    writer.write_all(br#"{"cwd": "/", "args": ["a"]}"#).unwrap();
    drop(writer);
    let path = format!("/proc/self/fd/{}", reader.as_raw_fd());
    assert!(load(Path::new(&path)).unwrap_err().to_string().contains("FIFO"));
    let process = process_of(Path::new(&path)).process;
    assert_eq!((process.user().uid(), process.user().gid()), (0, 0));
}

#[test]
fn nul_bytes() {
    let versioned = |text: &str| text.replacen('{', r#"{"ociVersion": "1.0.0", "#, 1);
    for (text, expected) in [
        (r#"{"process": {"cwd": "/", "args": ["a", "b\u0000c"]}}"#, r#"process.args[1]: "b\0c""#),
        (r#"{"hostname": "\u0000"}"#, r#"hostname: "\0""#),
        (
            r#"{"mounts": [{"destination": "/", "source": "/a\u0000"}]}"#,
            r#"mounts[0].source: "/a\0""#,
        ),
        (r#"{"linux": {"sysctl": {"net.a\u0000": "1"}}}"#, r#"linux.sysctl: "net.a\0""#),
    ] {
        let expected = format!("{expected}: a NUL byte cannot be passed to the kernel");
        assert_eq!(error(versioned(text)), expected);
    }
    let unused = r#"{"annotations": {"a": "\u0000"}, "vm": {"x": "\u0000"}, "hostname": "\\u0000",
        "linux": {"seccomp": {"defaultAction": "SCMP_ACT_ALLOW", "listenerMetadata": "\u0000"}}}"#;
    assert!(parse(versioned(unused).into(), "c").is_ok());
}
