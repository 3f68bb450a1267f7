//! Bad input: exit status 1, one line that names the field or the value, and nothing left behind.

use std::fs;
use std::os::unix::net::UnixListener;
use std::path::Path;

use crate::support::*;

/// One edit of a good configuration, and what the error has to name.
type Row = (&'static str, fn() -> Value, &'static [&'static str]);

/// Every row: create is refused, names the words, and leaves nothing.
fn refuse(rows: &[Row]) {
    for_each_row(rows, |(pointer, value, words)| {
        let mut c = Container::with_script("exec sleep 600");
        c.set(pointer, value());
        let ran = c.create();
        assert!(!ran.status.success(), "{pointer} = {} was accepted", value());
        ran.refused(words);
        c.assert_gone();
        c.state_call().refused(&["does not exist"]);
    });
}

fn long(length: usize) -> String {
    "x".repeat(length)
}

// Proves: config.json:invalid
#[test]
fn json() {
    type Case = (&'static str, fn(&str) -> Vec<u8>);
    let cases: &[Case] = &[
        ("empty", |_| Vec::new()),
        ("null", |_| b"null".to_vec()),
        ("array", |_| b"[]".to_vec()),
        ("truncated", |good| good.as_bytes()[..good.len() / 2].to_vec()),
        ("trailing garbage", |good| format!("{good} x").into_bytes()),
        ("NUL", |good| format!("{good}\0").into_bytes()),
        ("byte order mark", |good| format!("\u{feff}{good}").into_bytes()),
        ("bad UTF-8", |good| {
            good.replace("inside", "ins\u{1}de")
                .into_bytes()
                .iter()
                .map(|b| if *b == 1 { 0xff } else { *b })
                .collect()
        }),
        ("very deep", |_| format!("{}{}", "[".repeat(10_000), "]".repeat(10_000)).into_bytes()),
        ("deep within", |good| {
            good.replacen(
                '{',
                &format!("{{\"x\":{}1{},", "[".repeat(10_000), "]".repeat(10_000)),
                1,
            )
            .into_bytes()
        }),
        ("number out of range", |good| {
            good.replacen("\"uid\": 0", "\"uid\": 1e999", 1).into_bytes()
        }),
        ("number of 2^32", |good| {
            good.replacen("\"uid\": 0", "\"uid\": 4294967296", 1).into_bytes()
        }),
        ("negative uid", |good| good.replacen("\"uid\": 0", "\"uid\": -1", 1).into_bytes()),
        ("fraction", |good| good.replacen("\"uid\": 0", "\"uid\": 0.5", 1).into_bytes()),
        ("text for a number", |good| good.replacen("\"uid\": 0", "\"uid\": \"0\"", 1).into_bytes()),
    ];
    for_each_row(cases, |(name, make)| {
        let c = Container::with_script("exec sleep 600");
        let good = serde_json::to_string_pretty(&c.config).unwrap();
        let bytes = make(&good);
        assert_ne!(bytes, good.as_bytes(), "{name} changes nothing");
        fs::write(c.path().join("config.json"), bytes).unwrap();
        let bundle = c.path().to_str().unwrap();
        c.rt.call(&["create", "--bundle", bundle, &c.id]).refused(&["config.json"]);
        c.assert_gone();
    });
}

#[test]
fn something_else_in_place_of_the_configuration() {
    type Case = (&'static str, fn(&Path));
    let cases: &[Case] = &[
        ("missing", |_| {}),
        ("a directory", |path| fs::create_dir(path).unwrap()),
        ("a FIFO", |path| nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRWXU).unwrap()),
        ("a socket", |path| drop(UnixListener::bind(path).unwrap())),
        ("a device", |path| std::os::unix::fs::symlink("/dev/zero", path).unwrap()),
        ("a gigabyte", |path| fs::File::create(path).unwrap().set_len(1 << 30).unwrap()),
    ];
    for_each_row(cases, |(name, make)| {
        let c = Container::new();
        make(&c.path().join("config.json"));
        let bundle = c.path().to_str().unwrap();
        let ran = c.rt.call(&["create", "--bundle", bundle, &c.id]);
        assert!(ran.stderr.contains("config.json"), "{name}: {ran:#?}");
        ran.refused(&[]);
        c.assert_gone();
    });
}

#[test]
fn a_bundle_that_is_not_there() {
    let c = Container::new();
    c.rt.call(&["create", "--bundle", "/no/such/bundle", &c.id]).refused(&["/no/such/bundle"]);
    c.assert_gone();
}

// Proves: config.json:unknown
#[test]
fn unknown_fields_are_passed_over() {
    let mut c = Container::with_script("echo fine");
    c.set("/unknown", json!({"x": [1, 2, {"y": null}]}));
    c.set("/process/unknownToo", json!("x")).set("/linux/unknownThree", json!(3));
    c.set("/windows", json!({"layerFolders": []}));
    assert_eq!(c.output(), "fine\n");
}

// Proves: ociVersion
#[test]
fn version() {
    refuse(&[
        ("/ociVersion", || json!(""), &["ociVersion"]),
        ("/ociVersion", || json!("one"), &["ociVersion", "one"]),
        ("/ociVersion", || json!("1"), &["ociVersion"]),
        ("/ociVersion", || json!("2.0.0"), &["ociVersion", "2.0.0"]),
        ("/ociVersion", || json!("0.1.0"), &["ociVersion", "0.1.0"]),
        ("/ociVersion", || json!(1), &["ociVersion"]),
        ("/ociVersion", || Value::Null, &["ociVersion"]),
    ]);
    let mut c = Container::new();
    c.remove("/ociVersion");
    c.create().refused(&["ociVersion"]);
}

// Proves: root.path:exists
#[test]
fn root() {
    refuse(&[
        ("/root", || Value::Null, &["root"]),
        ("/root/path", || json!(""), &["root.path"]),
        ("/root/path", || json!("no-such-root"), &["no-such-root"]),
        ("/root/path", || json!("config.json"), &["config.json"]),
        ("/root/path", || json!("rootfs\u{0}x"), &["root.path"]),
    ]);
    let mut c = Container::new();
    c.remove("/root");
    c.create().refused(&["root"]);
    c.assert_gone();
}

// Proves: process.cwd:absolute, process.args:empty, process.rlimits:{unknown, unique}
#[test]
fn process() {
    refuse(&[
        ("/process/args", || json!([]), &["process.args"]),
        ("/process/args", || json!([""]), &["process.args"]),
        ("/process/args", || json!(["/bin/sh\u{0}x"]), &["process.args"]),
        ("/process/args", || json!(["/bin/sh", "a\u{0}b"]), &["process.args"]),
        ("/process/env", || json!(["A=\u{0}"]), &["process.env"]),
        ("/process/env", || json!(["NO_EQUALS_SIGN"]), &["process.env", "NO_EQUALS_SIGN"]),
        ("/process/env", || json!(["=x"]), &["process.env"]),
        ("/process/cwd", || json!(""), &["process.cwd"]),
        ("/process/cwd", || json!("tmp"), &["process.cwd", "tmp"]),
        ("/process/cwd", || json!("./tmp"), &["process.cwd", "./tmp"]),
        ("/process/cwd", || json!("/a\u{0}b"), &["process.cwd"]),
        ("/process/oomScoreAdj", || json!(1001), &["oomScoreAdj", "1001"]),
        ("/process/oomScoreAdj", || json!(-1001), &["oomScoreAdj", "-1001"]),
        (
            "/process/rlimits",
            || json!([{"type": "RLIMIT_NOFILE", "soft": 10, "hard": 5}]),
            &["rlimits[0].soft", "10"],
        ),
        (
            "/process/rlimits",
            || {
                json!([{"type": "RLIMIT_NOFILE", "soft": 5, "hard": 5},
                       {"type": "RLIMIT_NOFILE", "soft": 6, "hard": 6}])
            },
            &["rlimits", "RLIMIT_NOFILE"],
        ),
        (
            "/process/rlimits",
            || json!([{"type": "RLIMIT_PATIENCE", "soft": 5, "hard": 5}]),
            &["RLIMIT_PATIENCE"],
        ),
        ("/process/user/uid", || json!(4_294_967_295u32), &["4294967295"]),
    ]);
}

#[test]
fn a_user_that_is_not_mapped() {
    let mut c = Container::new();
    c.map_users(100_000, 1000).set("/process/user", json!({"uid": 1000, "gid": 0}));
    c.create().refused(&["1000"]);
    c.assert_gone();
    c.set("/process/user", json!({"uid": 0, "gid": 5000}));
    c.create().refused(&["5000"]);
    c.assert_gone();
    c.set("/process/user", json!({"uid": 0, "gid": 0, "additionalGids": [7777]}));
    c.create().refused(&["7777"]);
    c.assert_gone();
}

#[test]
fn without_a_process_there_is_nothing_to_start() {
    let mut c = Container::new();
    c.remove("/process");
    let ran = c.create();
    if ran.status.success() {
        c.start().refused(&[]);
    } else {
        ran.refused(&["process"]);
        c.assert_gone();
    }
}

#[test]
fn a_console_socket_that_is_none() {
    let mut c = Container::new();
    c.set("/process/terminal", json!(true));
    let file = c.file("plain", "");
    let long = c.path().join(long(120));
    for path in [file.as_path(), Path::new("/no/such/socket"), &long] {
        c.call("create", &["--console-socket", path.to_str().unwrap()]).refused(&["console"]);
        c.assert_gone();
    }
}

#[test]
fn lsm_labels() {
    let profile = || json!("no-such-profile");
    refuse(&[
        ("/process/apparmorProfile", profile, &["process.apparmorProfile", "no-such-profile"]),
        ("/process/selinuxLabel", || json!("system_u:system_r:x_t:s0\nx"), &["selinuxLabel"]),
        ("/linux/mountLabel", || json!("a\nb"), &["mountLabel"]),
    ]);
}

// Proves: linux.namespaces[].path:{absolute, type}, linux.namespaces:unique
#[test]
fn namespaces() {
    refuse(&[
        ("/linux/namespaces/5", || json!({"type": "pid"}), &["namespaces", "pid"]),
        ("/linux/namespaces/0/type", || json!("space"), &["space"]),
        ("/linux/namespaces/0/type", || json!(""), &["namespaces"]),
        ("/linux/namespaces/1/path", || json!("relative/net"), &["relative/net"]),
        ("/linux/namespaces/1/path", || json!("/no/such/ns"), &["/no/such/ns"]),
        ("/linux/namespaces/1/path", || json!("/etc/passwd"), &["/etc/passwd"]),
        ("/linux/namespaces/1/path", || json!("/proc/self/ns/uts"), &["/proc/self/ns/uts"]),
        ("/linux/timeOffsets", || json!({"boottime": {"secs": 1}}), &["timeOffsets"]),
        (
            "/linux/uidMappings",
            || json!([{"containerID": 0, "hostID": 0, "size": 1}]),
            &["uidMappings"],
        ),
    ]);
    for (kind, pointer, value, word) in [
        ("uts", "/hostname", json!("name"), "hostname"),
        ("uts", "/domainname", json!("name"), "domainname"),
        ("ipc", "/linux/sysctl", json!({"kernel.msgmax": "1"}), "kernel.msgmax"),
        ("network", "/linux/sysctl", json!({"net.ipv4.ip_forward": "1"}), "net.ipv4.ip_forward"),
    ] {
        let mut c = Container::new();
        c.without_namespace(kind).remove("/hostname");
        c.set(pointer, value);
        c.create().refused(&[word]);
        c.assert_gone();
    }
    for field in ["maskedPaths", "readonlyPaths"] {
        let mut c = Container::new();
        c.without_namespace("mount").set(&format!("/linux/{field}"), json!(["/proc/version"]));
        c.create().refused(&[]);
        c.assert_gone();
    }
}

#[test]
fn id_mappings() {
    type Case = (&'static str, fn() -> Value);
    let cases: &[Case] = &[
        ("none", || json!([])),
        ("size 0", || json!([{"containerID": 0, "hostID": 100_000, "size": 0}])),
        (
            "overflow inside",
            || json!([{"containerID": 4_294_967_290u32, "hostID": 100_000, "size": 100}]),
        ),
        (
            "overflow outside",
            || json!([{"containerID": 0, "hostID": 4_294_967_290u32, "size": 100}]),
        ),
        (
            "overlap inside",
            || json!([{"containerID": 0, "hostID": 100_000, "size": 10}, {"containerID": 5, "hostID": 200_000, "size": 10}]),
        ),
        (
            "overlap outside",
            || json!([{"containerID": 0, "hostID": 100_000, "size": 10}, {"containerID": 100, "hostID": 100_005, "size": 10}]),
        ),
        ("341 of them", || {
            (0..341).map(|n| json!({"containerID": n, "hostID": 100_000 + n, "size": 1})).collect()
        }),
        ("70,000 of them", || {
            (0..70_000)
                .map(|n| json!({"containerID": n, "hostID": 100_000 + n, "size": 1}))
                .collect()
        }),
    ];
    for_each_row(cases, |(name, value)| {
        for field in ["uidMappings", "gidMappings"] {
            let mut c = Container::new();
            c.map_users(100_000, 65536).set(&format!("/linux/{field}"), value());
            let ran = c.create();
            assert!(!ran.status.success(), "{name} was accepted as {field}");
            ran.refused(&[&field[..3]]);
            c.assert_gone();
        }
    });
}

// Proves: mounts[].uidMappings:pair
#[test]
fn mounts() {
    // Appended, so that the other mounts are as they should be.
    let rows: &[Row] = &[
        (
            "destination",
            || json!({"destination": "", "type": "tmpfs", "source": "x"}),
            &["destination"],
        ),
        (
            "root",
            || json!({"destination": "/etc/..", "type": "tmpfs", "source": "x"}),
            &["destination"],
        ),
        ("NUL", || json!({"destination": "/a\u{0}b", "type": "tmpfs"}), &["mounts"]),
        (
            "no source",
            || json!({"destination": "/mnt", "type": "bind", "source": "/no/such/source", "options": ["bind"]}),
            &["/no/such/source"],
        ),
        (
            "empty source",
            || json!({"destination": "/mnt", "type": "bind", "source": "", "options": ["bind"]}),
            &["mounts[6]"],
        ),
        (
            "file over directory",
            || json!({"destination": "/etc", "type": "bind", "source": "/etc/passwd", "options": ["bind"]}),
            &["/etc"],
        ),
        (
            "directory over file",
            || json!({"destination": "/etc/passwd", "type": "bind", "source": "/etc", "options": ["bind"]}),
            &["/etc/passwd"],
        ),
        (
            "a path of 4,097 bytes",
            || json!({"destination": format!("/{}", "long/".repeat(820)), "type": "tmpfs"}),
            &[],
        ),
        (
            "a name of 256 bytes",
            || json!({"destination": format!("/{}", long(256)), "type": "tmpfs"}),
            &[],
        ),
        (
            "unknown type",
            || json!({"destination": "/mnt", "type": "nosuchfs", "source": "x"}),
            &["nosuchfs"],
        ),
        (
            "link loop",
            || json!({"destination": "/loop/a/x", "type": "tmpfs", "source": "x"}),
            &["/loop/a/x"],
        ),
        (
            "an option that a bind cannot have",
            || json!({"destination": "/mnt", "type": "bind", "source": "/etc", "options": ["bind", "nosiud"]}),
            &["nosiud"],
        ),
        (
            "an option that the file system refuses",
            || json!({"destination": "/mnt", "type": "tmpfs", "source": "x", "options": ["size=lots"]}),
            &["/mnt"],
        ),
        (
            "newline in data",
            || json!({"destination": "/mnt", "type": "tmpfs", "source": "x", "options": ["size=1m\nx"]}),
            &["mounts[6]", "size=1m"],
        ),
        (
            "idmap on a tmpfs without mappings",
            || json!({"destination": "/mnt", "type": "tmpfs", "source": "x", "options": ["idmap"]}),
            &["idmap"],
        ),
        (
            "only one kind of mapping",
            || {
                json!({"destination": "/mnt", "type": "bind", "source": "/etc", "options": ["bind", "idmap"],
                       "uidMappings": [{"containerID": 0, "hostID": 1, "size": 1}]})
            },
            &["gidMappings"],
        ),
    ];
    for_each_row(rows, |(what, mount, words)| {
        let mut c = Container::with_script("exec sleep 600");
        fs::create_dir(c.rootfs().join("loop")).unwrap();
        std::os::unix::fs::symlink("b", c.rootfs().join("loop/a")).unwrap();
        std::os::unix::fs::symlink("a", c.rootfs().join("loop/b")).unwrap();
        c.push("/mounts", mount());
        let ran = c.create();
        assert!(!ran.status.success(), "{what} was accepted");
        ran.refused(words);
        c.assert_gone();
    });
}

// Evidence: CVE-2022-0811 (create)
// Proves: linux.sysctl:host
#[test]
fn sysctls() {
    refuse(&[
        ("/linux/sysctl", || json!({"kernel.panic": "1"}), &["kernel.panic"]),
        ("/linux/sysctl", || json!({"vm.swappiness": "1"}), &["vm.swappiness"]),
        ("/linux/sysctl", || json!({"net/../kernel/panic": "1"}), &["net/../kernel/panic"]),
        ("/linux/sysctl", || json!({"net.../kernel.panic": "1"}), &["kernel.panic"]),
        ("/linux/sysctl", || json!({"kernel.hostname": "x"}), &["kernel.hostname"]),
        ("/linux/sysctl", || json!({"": "1"}), &["sysctl"]),
        ("/linux/sysctl", || json!({"net": "1"}), &["net"]),
        ("/linux/sysctl", || json!({"kernel.shm\u{0}x": "1"}), &["sysctl"]),
        ("/linux/sysctl", || json!({"kernel.msgmax": "1\n2"}), &["kernel.msgmax"]),
        ("/linux/sysctl", || json!({"net.ipv4.no_such_thing": "1"}), &["no_such_thing"]),
    ]);
}

#[test]
fn cgroups_and_limits() {
    refuse(&[
        // A path that stays harmless with a runtime that takes it.
        (
            "/linux/cgroupsPath",
            || json!("/bulkhead-test/../bulkhead-test-beside"),
            &["cgroupsPath"],
        ),
        ("/linux/cgroupsPath", || json!("/a\u{0}b"), &["cgroupsPath"]),
        ("/linux/resources/unified", || json!({"../cgroup.procs": "1"}), &["../cgroup.procs"]),
        ("/linux/resources/unified", || json!({"a/b": "1"}), &["a/b"]),
        ("/linux/resources/cpu", || json!({"cpus": "0-"}), &["0-"]),
        ("/linux/resources/cpu", || json!({"cpus": "x"}), &["x"]),
        ("/linux/resources/cpu", || json!({"mems": "99999"}), &["mems"]),
        ("/linux/resources/hugepageLimits", || json!([{"pageSize": "3MB", "limit": 1}]), &["3MB"]),
        (
            "/linux/resources/hugepageLimits",
            || json!([{"pageSize": "../x", "limit": 1}]),
            &["../x"],
        ),
        (
            "/linux/resources/devices",
            || json!([{"allow": true, "type": "x", "access": "rwm"}]),
            &["devices"],
        ),
        (
            "/linux/resources/devices",
            || json!([{"allow": true, "type": "c", "access": "rwz"}]),
            &["rwz"],
        ),
    ]);
}

#[test]
fn devices() {
    refuse(&[
        (
            "/linux/devices",
            || json!([{"path": "relative", "type": "c", "major": 1, "minor": 3}]),
            &["relative"],
        ),
        (
            "/linux/devices",
            || json!([{"path": "", "type": "c", "major": 1, "minor": 3}]),
            &["devices"],
        ),
        (
            "/linux/devices",
            || json!([{"path": "/dev/x", "type": "z", "major": 1, "minor": 3}]),
            &["z"],
        ),
        (
            "/linux/devices",
            || json!([{"path": "/dev/x", "type": "c", "major": -1, "minor": 3}]),
            &["devices[0].major", "-1"],
        ),
        ("/linux/devices", || json!([{"path": "/dev/x", "type": "c"}]), &["devices[0].major"]),
        (
            "/linux/devices",
            || json!([{"path": "/bin/busybox", "type": "c", "major": 1, "minor": 3}]),
            &["/bin/busybox"],
        ),
    ]);
}

// Proves: linux.seccomp.listenerMetadata:path, linux.seccomp.syscalls[].errnoRet:action
#[test]
fn seccomp() {
    fn rule(rule: Value) -> Value {
        json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]})
    }
    refuse(&[
        ("/linux/seccomp", || json!({}), &["seccomp"]),
        ("/linux/seccomp", || json!({"defaultAction": "SCMP_ACT_SING"}), &["SCMP_ACT_SING"]),
        (
            "/linux/seccomp",
            || json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_ABACUS"]}),
            &["SCMP_ARCH_ABACUS"],
        ),
        (
            "/linux/seccomp",
            || json!({"defaultAction": "SCMP_ACT_ALLOW", "flags": ["SECCOMP_FILTER_FLAG_NONE"]}),
            &["SECCOMP_FILTER_FLAG_NONE"],
        ),
        ("/linux/seccomp", || rule(json!({"names": [], "action": "SCMP_ACT_ERRNO"})), &["names"]),
        (
            "/linux/seccomp",
            || rule(json!({"names": ["mkdir"], "action": "SCMP_ACT_DANCE"})),
            &["SCMP_ACT_DANCE"],
        ),
        (
            "/linux/seccomp",
            || {
                rule(json!({"names": ["mkdir"], "action": "SCMP_ACT_ERRNO",
                            "args": [{"index": 0, "value": 1, "op": "SCMP_CMP_MAYBE"}]}))
            },
            &["SCMP_CMP_MAYBE"],
        ),
        (
            "/linux/seccomp",
            || {
                rule(json!({"names": ["mkdir"], "action": "SCMP_ACT_ERRNO",
                            "args": [{"index": 6, "value": 1, "op": "SCMP_CMP_EQ"}]}))
            },
            &["6"],
        ),
        (
            "/linux/seccomp",
            || rule(json!({"names": ["mkdir"], "action": "SCMP_ACT_ERRNO", "errnoRet": 65536})),
            &["65536"],
        ),
        (
            "/linux/seccomp",
            || rule(json!({"names": ["mkdir"], "action": "SCMP_ACT_ALLOW", "errnoRet": 5})),
            &["errnoRet"],
        ),
        (
            "/linux/seccomp",
            || json!({"defaultAction": "SCMP_ACT_ALLOW", "defaultErrnoRet": 5}),
            &["rrnoRet"],
        ),
        ("/linux/seccomp", || json!({"defaultAction": "SCMP_ACT_NOTIFY"}), &["SCMP_ACT_NOTIFY"]),
        (
            "/linux/seccomp",
            || {
                json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/no/such/listener",
                       "syscalls": [{"names": ["write"], "action": "SCMP_ACT_NOTIFY"}]})
            },
            &["write"],
        ),
        (
            "/linux/seccomp",
            || rule(json!({"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"})),
            &["listenerPath"],
        ),
        (
            "/linux/seccomp",
            || {
                json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/no/such/listener",
                       "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}]})
            },
            &["/no/such/listener"],
        ),
        (
            "/linux/seccomp",
            || json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerMetadata": "x"}),
            &["listenerMetadata"],
        ),
    ]);
}

// Proves: linux.{maskedPaths, readonlyPaths}:absolute
#[test]
fn the_rest_of_linux() {
    refuse(&[
        ("/linux/rootfsPropagation", || json!("sideways"), &["sideways"]),
        ("/linux/maskedPaths", || json!(["relative/path"]), &["relative/path"]),
        ("/linux/readonlyPaths", || json!(["relative/path"]), &["relative/path"]),
        ("/linux/maskedPaths", || json!(["/a\u{0}b"]), &["maskedPaths"]),
    ]);
}

// Proves: annotations:key
#[test]
fn annotations() {
    refuse(&[
        ("/annotations", || json!({"": "value"}), &["annotations", "empty"]),
        ("/annotations", || json!({"org.example": 1}), &["annotations"]),
        ("/annotations", || json!(["org.example"]), &["annotations"]),
    ]);
}

// Proves: hooks[].path:absolute, hooks[].timeout:positive
#[test]
fn hooks() {
    refuse(&[
        ("/hooks/prestart", || json!([{"path": "bin/true"}]), &["bin/true"]),
        ("/hooks/createRuntime", || json!([{"path": ""}]), &["hooks"]),
        ("/hooks/createRuntime", || json!([{"path": "/no/such/hook"}]), &["/no/such/hook"]),
        ("/hooks/createContainer", || json!([{"path": "/bin/true", "timeout": 0}]), &["timeout"]),
        ("/hooks/createContainer", || json!([{"path": "/bin/true", "timeout": -1}]), &["timeout"]),
        ("/hooks/poststop", || json!([{"path": "bin/true"}]), &["bin/true"]),
        ("/hooks/startContainer", || json!([{"path": "bin/true"}]), &["bin/true"]),
    ]);
}

#[test]
fn commands_for_unknown_containers_fail_and_say_so() {
    let c = Container::new();
    c.write();
    for command in ["exec", "ps", "pause", "resume", "update", "events", "checkpoint", "restore"] {
        let ran = c.rt.call(&[command, &c.id]);
        assert_ne!(ran.status.code(), Some(0), "{ran:#?}");
        assert!(!ran.stderr.is_empty(), "{command} fails in silence");
    }
}

// Proves: create:id
#[test]
fn container_ids() {
    let c = Container::new();
    c.write();
    let bundle = c.path().to_str().unwrap();
    let longest = long(1025);
    for id in [
        "", ".", "..", "a/b", "../a", "/", "a\nb", "a b", "ä", "a\tb", "a;b", "a*", "$(x)",
        &longest,
    ] {
        let ran = c.rt.call(&["create", "--bundle", bundle, "--", id]);
        assert!(!ran.status.success(), "{id:?} was accepted");
        assert_eq!(ran.stderr.lines().count(), 1, "{id:?}: {ran:#?}");
        for command in ["state", "start", "kill", "delete"] {
            let ran = c.rt.call(&[command, "--", id]);
            assert!(!ran.status.success(), "{command} {id:?} was accepted");
        }
        let entries = fs::read_dir(&c.rt.root).map(Iterator::count).unwrap_or(0);
        assert_eq!(entries, 0, "{id:?} left something in the state directory");
    }
    assert!(c.path().exists());
}

#[test]
fn odd_but_good_container_ids() {
    for end in ["_x", "+y", ".z", "-1", "Z9"] {
        let mut c = Container::with_script("echo fine");
        c.id = format!("{}{end}", c.id);
        assert_eq!(c.output(), "fine\n", "{end}");
    }
}

// Proves: create:arguments
#[test]
fn command_lines() {
    let c = Container::with_script("exec sleep 600");
    c.write();
    let bundle = c.path().to_str().unwrap();
    let cases: &[&[&str]] = &[
        &["create", "--bundle", bundle],
        &["create", "--bundle", bundle, &c.id, "extra"],
        &["create", "--no-such-option", &c.id],
        &["start"],
        &["start", &c.id, "extra"],
        &["state"],
        &["delete"],
        &["no-such-command"],
        &["create", "--bundle", bundle, "--preserve-fds", "x", &c.id],
        &["create", "--bundle", bundle, "--preserve-fds", "-1", &c.id],
        &["create", "--bundle", bundle, "--preserve-fds", "1000000", &c.id],
        &["create", "--bundle", bundle, "--console-socket", "", &c.id],
        &["list", "--format", "yaml"],
        &["--log-format", "xml", "list"],
    ];
    for words in cases {
        let ran = c.rt.call(words);
        assert!(!ran.status.success(), "{words:?} was accepted");
        assert!(!ran.stderr.is_empty(), "{words:?} fails in silence");
        c.assert_gone();
    }
}

#[test]
fn signals() {
    let c = Container::with_script("trap '' TERM; exec sleep 600");
    c.create().ok();
    for signal in ["65", "SIGFOO", "0x9", "-1", "9 ", "99999999999"] {
        let ran = c.rt.call(&["kill", "--", &c.id, signal]);
        assert!(!ran.status.success(), "signal {signal:?} was accepted");
        assert!(c.process().alive());
    }
    assert_eq!(c.status(), "created");
}

#[test]
fn state_directories() {
    let mut c = Container::new();
    let file = c.file("a-file", "");
    let root = c.rt.root.clone();
    c.rt.root = file.clone();
    c.create().refused(&["a-file"]);
    assert!(file.is_file());
    c.rt.root = root;
    c.assert_gone();
}
