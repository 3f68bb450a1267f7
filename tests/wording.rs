//! What engines read of a failure: the words that they search for, the log, the exit status.
//!
//! Each row provokes one failure under both forms of the log, and says what the engines that go by
//! the text must make of it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::support::*;

/// One failure. `{id}` and `{bundle}` stand for the container's.
struct Row {
    name: &'static str,
    set_up: fn(&mut Container),
    line: &'static [&'static str],
    /// Exit status of the runtime: 1, and 255 for a process that joins a container.
    status: i32,
    /// Parts of the message.
    says: &'static [&'static str],
    means: Means,
}

/// What engines take a message for.
#[derive(Debug, PartialEq, Eq)]
enum Means {
    /// Docker and podman exit with this status when the start of a program fails.
    Exit(i32),
    /// containerd and CRI-O: the container has ended, so that a signal has nothing left to do.
    Ended,
    /// containerd: there is no such container, so that it is deleted.
    NoContainer,
    /// No engine goes by the text.
    Nothing,
}

/// As moby does it, whatever the case.
fn docker_exit(message: &str) -> i32 {
    let message = message.to_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| message.contains(word));
    if has(&["permission denied", "is a directory"]) {
        126
    } else if has(&["not a directory", "executable file not found", "no such file or directory"]) {
        127
    } else {
        128
    }
}

/// As podman does it.
fn podman_exit(message: &str) -> i32 {
    let message = message.to_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| message.contains(word));
    if has(&["permission denied", "operation not permitted"]) {
        126
    } else if has(&["executable file not found in", "no such file or directory", "open executable"])
    {
        127
    } else {
        128
    }
}

fn means(row: &Row, message: &str) {
    let name = row.name;
    match row.means {
        Means::Exit(status) => {
            assert_eq!(docker_exit(message), status, "{name}: Docker on {message:?}");
            // podman knows fewer words; what it does not know is 126 by default.
            let podman = podman_exit(message);
            assert!(podman == status || podman == 128, "{name}: podman on {message:?}: {podman}");
        }
        Means::Ended => {
            // Case-sensitive, as CRI-O has it.
            let ended = ["container not running", "no such process"];
            assert!(ended.iter().any(|word| message.contains(word)), "{name}: {message:?}");
            assert!(!message.contains("does not exist"), "{name}: {message:?}");
        }
        Means::NoContainer => {
            assert!(message.contains("container does not exist"), "{name}: {message:?}");
            for word in ["container not running", "no such process"] {
                assert!(!message.contains(word), "{name}: {message:?}");
            }
        }
        Means::Nothing => {}
    }
}

const RUN: &[&str] = &["run", "--bundle", "{bundle}", "{id}"];
const CREATE: &[&str] = &["create", "--bundle", "{bundle}", "{id}"];
const START: &[&str] = &["start", "{id}"];

fn program(c: &mut Container, program: &str) {
    c.args(&[program]);
}

fn executable(c: &Container, name: &str, text: &str, mode: u32) {
    let path = c.rootfs().join("bin").join(name);
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
}

fn created(c: &mut Container) {
    c.args(&["/bin/sleep", "600"]);
    c.create().ok();
}

fn running(c: &mut Container) {
    created(c);
    c.start().ok();
}

fn stopped(c: &mut Container) {
    running(c);
    c.kill("KILL").ok();
    c.wait_status("stopped");
}

/// A program that is there at create and not at start.
fn vanished(c: &mut Container) {
    executable(c, "program", "#!/bin/sh\n", 0o755);
    c.args(&["/bin/program"]);
    c.create().ok();
    fs::remove_file(c.rootfs().join("bin/program")).unwrap();
}

fn nothing(_: &mut Container) {}

#[rustfmt::skip]
const ROWS: &[Row] = &[
    // The program.
    Row { name: "no such program in PATH", set_up: |c| program(c, "no-such"), line: RUN, status: 1,
          says: &["exec: \"no-such\": executable file not found in $PATH"], means: Means::Exit(127) },
    Row { name: "the same at create", set_up: |c| program(c, "no-such"), line: CREATE, status: 1,
          says: &["exec: \"no-such\": executable file not found in $PATH"], means: Means::Exit(127) },
    Row { name: "no such path", set_up: |c| program(c, "/bin/no-such"), line: RUN, status: 1,
          says: &["exec: \"/bin/no-such\": ", "no such file or directory"], means: Means::Exit(127) },
    Row { name: "no such path at create", set_up: |c| program(c, "/bin/no-such"), line: CREATE, status: 1,
          says: &["exec: \"/bin/no-such\": ", "no such file or directory"], means: Means::Exit(127) },
    Row { name: "a path below a file", set_up: |c| program(c, "/etc/passwd/x"), line: RUN, status: 1,
          says: &["exec: \"/etc/passwd/x\": ", "not a directory"], means: Means::Exit(127) },
    Row { name: "a directory", set_up: |c| program(c, "/etc"), line: RUN, status: 1,
          says: &["exec: \"/etc\": is a directory"], means: Means::Exit(126) },
    Row { name: "a file that is no program", set_up: |c| program(c, "/etc/passwd"), line: RUN, status: 1,
          says: &["exec: \"/etc/passwd\": permission denied"], means: Means::Exit(126) },
    Row { name: "the same in PATH", set_up: |c| { executable(c, "tool", "x", 0o644); program(c, "tool") },
          line: CREATE, status: 1, says: &["exec: \"tool\": permission denied"], means: Means::Exit(126) },
    Row { name: "a program that is gone at start", set_up: vanished, line: START, status: 1,
          says: &["exec /bin/program: no such file or directory"], means: Means::Exit(127) },
    Row { name: "a script without an interpreter", line: RUN, status: 1,
          set_up: |c| { executable(c, "tool", "#!/no/such\n", 0o755); program(c, "tool") },
          says: &["exec tool: no such file or directory"], means: Means::Exit(127) },
    Row { name: "no format that the kernel knows", line: RUN, status: 1,
          set_up: |c| { executable(c, "tool", "\u{1}\u{2}", 0o755); program(c, "tool") },
          says: &["exec tool: exec format error"], means: Means::Nothing },
    Row { name: "a directory that is a file", set_up: |c| { c.set("/process/cwd", json!("/etc/passwd")); },
          line: RUN, status: 1, says: &["process.cwd", "/etc/passwd", "not a directory"],
          means: Means::Exit(127) },

    // The container.
    Row { name: "start of nothing", set_up: nothing, line: START, status: 1, says: &["{id}"],
          means: Means::NoContainer },
    Row { name: "state of nothing", set_up: nothing, line: &["state", "{id}"], status: 1, says: &["{id}"],
          means: Means::NoContainer },
    Row { name: "kill of nothing", set_up: nothing, line: &["kill", "{id}", "9"], status: 1, says: &["{id}"],
          means: Means::NoContainer },
    Row { name: "kill --all of nothing", set_up: nothing, line: &["kill", "--all", "{id}", "9"], status: 1,
          says: &["{id}"], means: Means::NoContainer },
    Row { name: "delete of nothing", set_up: nothing, line: &["delete", "{id}"], status: 1, says: &["{id}"],
          means: Means::NoContainer },
    Row { name: "kill of a stopped one", set_up: stopped, line: &["kill", "{id}", "KILL"], status: 1,
          says: &["{id}"], means: Means::Ended },
    Row { name: "kill 15 of a stopped one", set_up: stopped, line: &["kill", "{id}", "15"], status: 1,
          says: &["{id}"], means: Means::Ended },
    Row { name: "start of a running one", set_up: running, line: START, status: 1,
          says: &["{id}", "running"], means: Means::Nothing },
    Row { name: "start of a stopped one", set_up: stopped, line: START, status: 1,
          says: &["{id}", "stopped"], means: Means::Nothing },
    Row { name: "delete of a running one", set_up: running, line: &["delete", "{id}"], status: 1,
          says: &["{id}", "running"], means: Means::Nothing },
    Row { name: "create of one that is there", set_up: created, line: CREATE, status: 1,
          says: &["{id}", "container with given ID already exists"], means: Means::Nothing },
    Row { name: "run of one that is there", set_up: running, line: RUN, status: 1,
          says: &["{id}", "container with given ID already exists"], means: Means::Nothing },
    Row { name: "a signal that there is not", set_up: running, line: &["kill", "{id}", "NOSUCH"], status: 1,
          says: &["NOSUCH"], means: Means::Nothing },

    // The configuration.
    Row { name: "no bundle", set_up: nothing, line: &["create", "--bundle", "/no/such", "{id}"], status: 1,
          says: &["/no/such", "no such file or directory"], means: Means::Nothing },
    Row { name: "no configuration", set_up: nothing, line: &["create", "--bundle", "/tmp", "{id}"], status: 1,
          says: &["config.json", "no such file or directory"], means: Means::Nothing },
    Row { name: "no root file system", set_up: |c| { c.set("/root/path", json!("none")); }, line: CREATE,
          status: 1, says: &["root.path", "no such file or directory"], means: Means::Nothing },
];

/// The error entries of a log.
fn errors(text: &str, format: &str) -> Vec<(String, String)> {
    let entry = |line: &str| -> (String, String, String) {
        if format == "json" {
            let entry: Value = serde_json::from_str(line).expect(line);
            let get = |key: &str| entry[key].as_str().expect(line).to_owned();
            return (get("time"), get("level"), get("msg"));
        }
        let rest = line.strip_prefix("time=\"").expect(line);
        let (time, rest) = rest.split_once("\" level=").expect(line);
        let (level, rest) = rest.split_once(" msg=").expect(line);
        let message = serde_json::from_str::<String>(rest).unwrap_or_else(|_| rest.to_owned());
        (time.to_owned(), level.to_owned(), message)
    };
    let entries = text.lines().map(entry);
    entries.filter(|(_, level, _)| level == "error").map(|(time, _, msg)| (time, msg)).collect()
}

fn check(row: &Row, format: &str) {
    let name = row.name;
    let mut c = Container::new();
    (row.set_up)(&mut c);
    c.write();
    let bundle = c.path().to_str().unwrap().to_owned();
    let fill = |word: &&str| word.replace("{bundle}", &bundle).replace("{id}", &c.id);
    let words: Vec<String> = row.line.iter().map(fill).collect();
    let log = c.path().join("log");
    c.rt.global = ["--log", log.to_str().unwrap(), "--log-format", format].map(Into::into).into();
    let ran = c.rt.call(&words);
    c.rt.global.clear();

    assert_eq!(ran.code(), Some(row.status), "{name}: {ran:#?}");
    // Standard output is the container's; standard error has the message, once, for people.
    assert_eq!(ran.stdout, "", "{name}: {ran:#?}");
    assert_eq!(ran.stderr.lines().count(), 1, "{name}: {ran:#?}");
    let log = fs::read_to_string(&log).unwrap();
    let errors = errors(&log, format);
    let [(time, message)] = errors.as_slice() else { panic!("{name}: {log:?}") };
    humantime::parse_rfc3339(time).expect(name);
    assert!(ran.stderr.contains(message.as_str()), "{name}: {message:?} in {ran:#?}");
    let named = message.matches(&format!("container {:?}", c.id)).count();
    assert!(named <= 1, "{name}: the container is named twice: {message:?}");
    for part in row.says.iter().map(fill) {
        assert!(message.contains(&part), "{name}: {part:?} in {message:?}");
    }
    means(row, message);
}

#[test]
fn failures_are_told_in_words_that_engines_know() {
    for_each_row(ROWS, |row| {
        for format in ["json", "text"] {
            check(row, format);
        }
    });
}

/// A configuration, and the words of runc for it that scripts search for.
type Known = (&'static str, fn(&mut Container), &'static str);

#[rustfmt::skip]
const KNOWN: &[Known] = &[
    ("a hook that fails", |c| { c.set("/hooks", json!({"createRuntime": [{"path": "/bin/true"}, {"path": "/bin/false"}]})); },
     "error running createRuntime hook #1: "),
    ("a link in the place of /proc", |c| {
         fs::remove_dir(c.rootfs().join("proc")).unwrap();
         std::os::unix::fs::symlink("/etc", c.rootfs().join("proc")).unwrap();
     },
     "must be mounted on ordinary directory"),
    ("a notified write", |c| { c.set("/linux/seccomp", json!({"defaultAction": "SCMP_ACT_ALLOW",
         "listenerPath": "/nowhere", "syscalls": [{"names": ["write"], "action": "SCMP_ACT_NOTIFY"}]})); },
     "SCMP_ACT_NOTIFY cannot be used for the write syscall"),
    ("no seccomp agent", |c| { c.set("/linux/seccomp", json!({"defaultAction": "SCMP_ACT_ALLOW",
         "listenerPath": "/nowhere", "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}]})); },
     "failed to connect with seccomp agent"),
    ("no mode of memory policy", |c| { c.set("/linux/memoryPolicy", json!({"nodes": "0"})); },
     "invalid memory policy mode"),
    ("an unknown mode of memory policy", |c| { c.set("/linux/memoryPolicy", json!({"mode": "MPOL_NO", "nodes": "0"})); },
     "invalid memory policy"),
    ("an unknown flag of memory policy", |c| { c.set("/linux/memoryPolicy",
         json!({"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_NO"]})); },
     "invalid memory policy flag"),
    ("nodes of the default memory policy", |c| { c.set("/linux/memoryPolicy", json!({"mode": "MPOL_DEFAULT", "nodes": "0-7"})); },
     "mode requires 0 nodes but got 8"),
    ("nodes that no machine has", |c| { c.set("/linux/memoryPolicy", json!({"mode": "MPOL_BIND", "nodes": "0-9876543210"})); },
     "invalid memory policy node"),
];

#[test]
fn refusals_have_the_words_that_scripts_know() {
    for_each_row(KNOWN, |(name, change, words)| {
        let mut c = Container::new();
        change(&mut c);
        let ran = c.run();
        assert_eq!(ran.code(), Some(1), "{name}: {ran:#?}");
        assert!(ran.stderr.contains(words), "{name}: {ran:#?}");
    });
}

#[test]
fn the_capability_that_cannot_be_ambient_is_named() {
    let mut c = Container::with_script("grep CapAmb /proc/self/status");
    c.capabilities(&["CAP_CHOWN", "CAP_KILL"]);
    c.set("/process/capabilities/inheritable", json!(["CAP_KILL"]));
    c.set("/process/capabilities/ambient", json!(["CAP_CHOWN", "CAP_KILL"]));
    let ran = c.run().ok();
    assert_eq!(ran.stdout, "CapAmb:\t0000000000000020\n", "{ran:#?}");
    assert!(ran.stderr.contains("can't raise ambient capability CAP_CHOWN: "), "{ran:#?}");
}

#[test]
fn a_deadline_scheduler_and_a_cpuset_exclude_each_other() {
    need!("cpuset");
    if std::thread::available_parallelism().unwrap().get() == 1 {
        skip!("one processor");
    }
    let mut c = Container::new();
    c.set("/linux/resources/cpu", json!({"cpus": "0"}));
    c.set(
        "/process/scheduler",
        json!({"policy": "SCHED_DEADLINE", "runtime": 42000, "deadline": 1_000_000, "period": 1_000_000}),
    );
    c.run().refused(&["process scheduler can't be used together with AllowedCPUs"]);
}

#[test]
fn a_paused_container_takes_no_process() {
    let mut c = Container::new();
    running(&mut c);
    c.rt.call(&["pause", &c.id]).ok();
    let ran = c.exec(&[], &["/bin/true"]);
    c.rt.call(&["resume", &c.id]).ok();
    assert!(ran.stderr.contains("cannot exec in a paused container"), "{ran:#?}");
}

#[test]
fn the_log_names_the_flags_of_the_filter() {
    let mut c = Container::with_script("true");
    c.set(
        "/linux/seccomp",
        json!({"defaultAction": "SCMP_ACT_ALLOW", "flags": ["SECCOMP_FILTER_FLAG_LOG"]}),
    );
    c.rt.global = vec!["--debug".into()];
    let ran = c.run().ok();
    c.rt.global.clear();
    assert!(ran.stderr.contains("\"seccomp filter flags: 2\""), "{ran:#?}");
}

#[test]
fn what_is_forced_away_may_be_missing() {
    let c = Container::new();
    fs::create_dir(&c.rt.root).unwrap();
    for option in ["--force", "-f"] {
        let ran = c.rt.call(&["delete", option, &c.id]).ok();
        assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("", ""));
    }
}

#[test]
fn without_a_log_file_the_error_is_one_line_on_stderr() {
    let mut c = Container::new();
    program(&mut c, "no-such");
    c.run().refused(&["exec: \"no-such\": executable file not found in $PATH"]);
    c.create().refused(&["exec: \"no-such\": executable file not found in $PATH"]);
    assert!(!c.pid_file().exists(), "a pid file says that it was created");
}

#[test]
fn warnings_do_not_mix_with_what_the_container_says() {
    let mut c = Container::with_script("echo out; echo err >&2");
    // A capability that nobody has.
    c.push("/process/capabilities/bounding", json!("CAP_NO_SUCH"));
    let log = c.path().join("log");
    c.rt.global = ["--log", log.to_str().unwrap(), "--log-format", "json"].map(Into::into).into();
    let ran = c.run().ok();
    c.rt.global.clear();
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("out\n", "err\n"));
    let log = fs::read_to_string(Path::new(&log)).unwrap();
    assert!(log.contains("CAP_NO_SUCH") && log.contains("\"level\":\"warning\""), "{log:?}");
}
