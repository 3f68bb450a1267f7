//! Errors that tell what to do instead, the exit statuses of usage errors, the log of a call that is
//! wrong, and options that only other runtimes' callers use.

use std::fs;
use std::process::{Command, Stdio};

use crate::support::*;

/// A runtime with a state directory and no container.
fn idle() -> Container {
    let c = Container::new();
    fs::create_dir(&c.rt.root).unwrap();
    c
}

#[test]
fn a_usage_error_is_one_line() {
    let c = idle();
    for (words, status, parts) in [
        (&["run", "-it", "c"][..], 1, &["run:", "'-i'", "process.terminal"][..]),
        (&["run", "--rm", "c"], 1, &["'--rm'", "--keep"]),
        (&["run", "c", "sh"], 1, &["'sh'", "process.args"]),
        (&["exec", "-it", "c", "sh"], 1, &["exec:", "'-i'", "standard input", "--tty"]),
        (&["exec", "--workdir=/", "c", "sh"], 1, &["'--workdir'", "--cwd"]),
        (&["inspect", "c"], 3, &["'inspect'", "bulkhead state"]),
        (&["rm", "-f", "c"], 3, &["'rm'", "bulkhead delete"]),
        (&["stop", "c"], 3, &["'stop'", "bulkhead kill"]),
        (&["logs", "c"], 3, &["'logs'", "standard output of 'bulkhead run'"]),
        (&["ps"], 1, &["ps: <ID> is missing; 'bulkhead list'"]),
        (&["state"], 1, &["state: <ID> is missing; usage: bulkhead state <ID>"]),
        (&["record", "c"], 1, &["record: --output <DIR> is missing; usage: bulkhead record"]),
        (&["list", "--frmat", "json"], 1, &["list: ", "'--frmat'", "similar: '--format'"]),
        (&["--rot", "/x", "list"], 1, &["'--rot'", "similar: '--root'"]),
        (&["--systemd", "list"], 1, &["'--systemd'", "similar: '--systemd-cgroup'"]),
        (&["pause", "c", "d"], 1, &["pause: ", "'d'", "(see 'bulkhead help pause')"]),
        (&["list", "--format", "yaml"], 1, &["'yaml'", "table, json"]),
        (&["nonsense"], 3, &["'nonsense' (see 'bulkhead help')"]),
        (&["help", "creat"], 3, &["'creat'", "similar: 'create'"]),
        (&["creat", "c"], 3, &["'creat'", "similar: 'create'"]),
    ] {
        let ran = c.rt.call(words);
        assert_eq!((ran.code(), ran.stdout.as_str()), (Some(status), ""), "{ran:#?}");
        let lines: Vec<&str> = ran.stderr.lines().collect();
        assert_eq!(lines.len(), 1, "{ran:#?}");
        assert!(lines[0].starts_with("bulkhead: "), "{ran:#?}");
        for part in parts {
            assert!(lines[0].contains(part), "{part:?}: {ran:#?}");
        }
        assert!(!ran.stderr.contains("as a value"), "{ran:#?}");
    }
}

#[test]
fn a_usage_error_is_in_the_log() {
    let mut c = idle();
    let log = c.path().join("log");
    c.rt.global = ["--log", log.to_str().unwrap(), "--log-format", "json"].map(Into::into).into();
    let ran = c.rt.call(&["run", "-it", "c"]);
    c.rt.global.clear();
    assert_eq!(ran.code(), Some(1));
    let text = fs::read_to_string(log).unwrap();
    let entry: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(entry["level"], "error");
    assert!(ran.stderr.contains(entry["msg"].as_str().unwrap()), "{ran:#?}");
}

#[test]
fn a_call_without_words_prints_the_help() {
    let binary = crate::support::Runtime::new(Container::new().path()).binary;
    let output = Command::new(binary).output().unwrap();
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &[][..]));
    assert!(String::from_utf8_lossy(&output.stdout).contains("Usage: bulkhead"));
}

/// Calls that print.
const PRINT: &[&str] = &[
    "list",
    "list -q",
    "list -f json",
    "state ID",
    "ps ID",
    "ps -f json ID",
    "features",
    "events --stats ID",
    "info",
    "--version",
    "--help",
    "help run",
    "run --help",
    "",
];

#[test]
fn a_reader_that_has_read_enough_is_no_error() {
    use std::os::unix::process::ExitStatusExt;
    let mut c = Container::new();
    c.args(&["/bin/sleep", "600"]);
    c.run_detached();
    for call in PRINT {
        let call = call.replace("ID", &c.id);
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = Command::new(&c.rt.binary);
        command.arg("--root").arg(&c.rt.root).args(call.split_whitespace());
        let output = command.stdin(Stdio::null()).stdout(writer).output().unwrap();
        assert_eq!(output.status.signal(), Some(libc::SIGPIPE), "{call}: {output:?}");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{call}");
    }
}

#[test]
fn output_that_is_lost_is_an_error() {
    let mut c = Container::new();
    c.args(&["/bin/sleep", "600"]);
    c.run_detached();
    for to in [">&-", ">/dev/full"] {
        for call in PRINT {
            let call = call.replace("ID", &c.id);
            let script = format!("\"$0\" --root \"$1\" {call} {to}");
            let output = Command::new("sh")
                .args(["-c", &script])
                .arg(&c.rt.binary)
                .arg(&c.rt.root)
                .stdin(Stdio::null())
                .output()
                .unwrap();
            let errors = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(1), "{call} {to}: {errors}");
            assert!(errors.contains("write to standard output: "), "{call} {to}: {errors}");
            assert_eq!(errors.lines().count(), 1, "{call} {to}: {errors}");
        }
    }
}

#[test]
fn a_missing_configuration_is_told_with_its_cure() {
    let mut c = Container::new();
    c.write();
    fs::remove_file(c.path().join("config.json")).unwrap();
    let ran = c.rt.call(&c.words("create", &[])).refused(&[
        "config.json: no such file or directory",
        "--bundle",
        "'bulkhead spec'",
    ]);
    assert_eq!(ran.stdout, "");
    c.args(&["/bin/sleep", "600"]);
    c.run_detached();
    c.run().refused(&["container with given ID already exists; delete it first"]);
}

#[test]
fn a_missing_interpreter_is_named() {
    use std::os::unix::fs::PermissionsExt;
    let mut c = Container::with_script("sleep 600");
    let program = |c: &Container, name: &str, text: &[u8]| {
        let path = c.rootfs().join("bin").join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    };
    program(&c, "script", b"#!/usr/bin/python9 -u\n");
    program(&c, "foreign", b"none of the kernel's formats");
    // The binary under test may be static; cat of the host is not.
    let cat = fs::read("/bin/cat").unwrap();
    program(&c, "linked", &cat);
    c.run_detached();
    let missing = "no such file or directory";
    c.exec(&[], &["script"]).not_started(&["exec script: ", "\"/usr/bin/python9\"", missing]);
    c.exec(&[], &["/bin/linked"]).not_started(&["exec /bin/linked: ", "/ld-linux", missing]);
    c.exec(&[], &["foreign"]).not_started(&["exec format error", "another machine"]);
    c.delete_force().ok();

    // The filter is loaded by the time that execve fails.
    let seccomp = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["reboot"], "action": "SCMP_ACT_ERRNO"}]});
    c.args(&["script"]).set("/linux/seccomp", seccomp);
    c.run().refused(&["exec script: ", "\"/usr/bin/python9\"", missing]);
    c.create().ok();
    c.start().refused(&["exec script: ", "\"/usr/bin/python9\"", missing]);
}

/// The name of the interpreter is not worth a call that the filter kills for.
#[test]
fn a_missing_interpreter_is_an_error_where_the_filter_kills_who_opens() {
    use std::os::unix::fs::PermissionsExt;
    let mut c = Container::new();
    let path = c.rootfs().join("bin/script");
    fs::write(&path, "#!/usr/bin/python9\n").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    let seccomp = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["open", "openat", "openat2"], "action": "SCMP_ACT_KILL_PROCESS"}]});
    c.set("/linux/seccomp", seccomp).args(&["sleep", "600"]);
    c.run_detached();
    let words = ["exec script: ", "no such file or directory"];
    c.exec(&[], &["script"]).not_started(&words);
    c.delete_force().ok();
    c.args(&["script"]);
    c.create().ok();
    c.start().refused(&words);
}

#[test]
fn a_container_without_a_cgroup_stays_in_that_of_its_caller() {
    let own = fs::read_to_string("/proc/self/cgroup").unwrap();
    let mut c = Container::new();
    c.args(&["/bin/sleep", "600"]).without_namespace("cgroup");
    c.rt.global = ["--systemd-cgroup", "--cgroup-manager", "disabled"].map(Into::into).into();
    let ran = c.call("run", &["--detach"]).ok();
    assert!(ran.stderr.contains("linux.resources.devices: not enforced"), "{ran:#?}");
    assert_eq!(c.process().read("cgroup"), own);
    c.rt.global.clear();
    let process = c.process();
    c.delete_force().ok();
    assert!(!process.alive());
    c.assert_gone();

    c.set("/linux/resources", json!({"pids": {"limit": 10}}));
    c.rt.global = ["--cgroup-manager=disabled"].map(Into::into).into();
    c.run().refused(&["linux.resources.pids.limit", "--cgroup-manager disabled"]);
    c.assert_gone();
    c.remove("/linux/resources");
    c.rt.global = ["--cgroup-manager", "cgroupfs"].map(Into::into).into();
    c.call("run", &["--detach"]).ok();
    assert_ne!(c.process().read("cgroup"), own);
    c.rt.global = ["--cgroup-manager", "podman"].map(Into::into).into();
    let ran = c.rt.call(&["list"]);
    c.rt.global.clear();
    assert!(ran.code() == Some(1) && ran.stderr.contains("podman"), "{ran:#?}");
}

#[test]
fn debug_messages_have_the_form_that_scripts_search_for() {
    let mut c = Container::new();
    let log = c.path().join("log");
    let form = |line: &str| line.starts_with("time=\"20") && line.contains(" level=debug msg=");
    c.rt.global = ["--debug".into()].into();
    let ran = c.run().ok();
    let lines: Vec<&str> = ran.stderr.lines().collect();
    assert!(lines.len() > 1 && lines.iter().all(|line| form(line)), "{ran:#?}");

    c.rt.global = ["--debug", "--log", log.to_str().unwrap()].map(Into::into).into();
    assert_eq!(c.run().ok().stderr, "");
    let text = fs::read_to_string(&log).unwrap();
    assert!(text.lines().count() > 1 && text.lines().all(form), "{text}");
    fs::remove_file(&log).unwrap();

    c.rt.global.extend(["--log-format", "json"].map(Into::into));
    c.run().ok();
    c.rt.global.clear();
    for line in fs::read_to_string(&log).unwrap().lines() {
        let entry: Value = serde_json::from_str(line).unwrap();
        assert_eq!(entry["level"], "debug", "{line}");
    }
}
