//! `state`, `list`, `kill` and `delete` of the real program, and what it says when it fails.

mod home;

use std::fs::File;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use bulkhead::cli::Cli;
use clap::CommandFactory;
use home::{Home, START_FIFO, Sleep, start_time, state, stopped_with_hook};
use serde_json::Value;

fn bulkhead() -> Command {
    Command::new(env!("CARGO_BIN_EXE_bulkhead"))
}

fn run(home: &Home, args: &[&str]) -> Output {
    bulkhead().arg("--root").arg(home.root()).args(args).output().unwrap()
}

/// Standard output of a command that must succeed in silence.
fn ok(home: &Home, args: &[&str]) -> String {
    let output = run(home, args);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), stderr.as_str()), (Some(0), ""), "{args:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The one line of a command that must fail.
fn err(home: &Home, args: &[&str]) -> String {
    let output = run(home, args);
    assert_eq!(output.status.code(), Some(1), "{args:?}");
    assert_eq!(output.stdout, b"", "{args:?}");
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(text.matches('\n').count(), 1, "{text}");
    text.strip_prefix("bulkhead: ").unwrap().trim_end().to_owned()
}

#[test]
fn state_prints_the_document() {
    let home = Home::new();
    let sleep = Sleep::new();
    home.put_running(&state("c", sleep.pid()));
    let text = ok(&home, &["state", "c"]);
    assert!(text.starts_with("{\n  \"ociVersion\": \"1.3.0\",\n  \"id\": \"c\",\n"), "{text}");
    let json: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(json["status"], "running");
    assert_eq!(json["pid"], sleep.pid());
    assert_eq!(json["bundle"], "/bundle");
    assert_eq!(json["rootfs"], "/bundle/rootfs");
    assert_eq!(json["annotations"]["k"], "v");
    humantime::parse_rfc3339(json["created"].as_str().unwrap()).unwrap();
    drop(sleep);
    let json: Value = serde_json::from_str(&ok(&home, &["state", "c"])).unwrap();
    assert_eq!((&json["status"], &json["pid"]), (&"stopped".into(), &0.into()));
}

#[test]
fn unknown_containers() {
    let home = Home::new();
    for _ in 0..2 {
        for args in [&["state", "x"][..], &["kill", "x", "9"], &["delete", "x"]] {
            assert_eq!(err(&home, args), "container does not exist: \"x\"");
        }
        ok(&home, &["delete", "--force", "x"]);
        // The second time with a state directory.
        home.create_root();
    }
    for name in ["", ".", "..", "a/b", "a\nb", "\u{e9}", &"x".repeat(1025)] {
        for command in ["state", "kill", "delete"] {
            let error = err(&home, &[command, name]);
            assert!(error.starts_with("container id: "), "{error}");
        }
    }
    assert!(err(&home, &["delete", "--force", ".."]).starts_with("container id: "));
}

#[test]
fn only_our_directories_are_deleted() {
    let home = Home::new();
    let victim = home.dir.path().join("home");
    std::fs::create_dir(&victim).unwrap();
    std::fs::write(victim.join("state.json"), "precious").unwrap();
    let output = bulkhead().arg("--root").arg(home.dir.path()).args(["delete", "home"]).output();
    let text = String::from_utf8(output.unwrap().stderr).unwrap();
    assert!(text.contains("container does not exist"), "{text}");
    let forced =
        bulkhead().arg("--root").arg(home.dir.path()).args(["delete", "-f", "home"]).output();
    assert_eq!(forced.unwrap().status.code(), Some(0));
    assert_eq!(std::fs::read_to_string(victim.join("state.json")).unwrap(), "precious");
    for root in ["/", "//", ""] {
        let output = bulkhead().args(["--root", root, "delete", "-f", "home"]).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{root:?}");
    }
    let output = bulkhead().args(["--root", "/etc/passwd", "list"]).output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(text, "bulkhead: open the state directory \"/etc/passwd\": not a directory\n");
}

#[test]
fn kill_sends_what_was_asked_for() {
    for (words, number) in [
        (&["c"][..], 15),
        (&["c", "KILL"], 9),
        (&["c", "sigusr1"], 10),
        (&["--all", "c", "9"], 9),
        (&["c", "RTMIN+3"], 37),
        (&["c", "64"], 64),
    ] {
        let home = Home::new();
        let mut sleep = Sleep::new();
        home.put(&state("c", sleep.pid()));
        ok(&home, &[&["kill"], words].concat());
        assert_eq!(sleep.0.wait().unwrap().signal(), Some(number), "{words:?}");
        let error = err(&home, &["kill", "c", "9"]);
        assert_eq!(error, "kill container \"c\": container not running");
        // Engines clean up with it after the end.
        ok(&home, &["kill", "--all", "c", "9"]);
    }
    let home = Home::new();
    for signal in ["65", "SIGFOO", "-"] {
        assert_eq!(
            err(&home, &["kill", "c", signal]),
            format!("signal: {signal:?}: unknown signal")
        );
    }
}

#[test]
fn delete_wants_a_stopped_container_or_force() {
    let home = Home::new();
    let mut sleep = Sleep::new();
    let path = home.put(&state("c", sleep.pid()));
    for status in ["created", "running"] {
        let error = err(&home, &["delete", "c"]);
        assert!(error.contains(status) && error.contains("--force"), "{error}");
        assert!(sleep.alive() && path.join("state.json").exists());
        let _ = std::fs::remove_file(path.join(START_FIFO));
    }
    ok(&home, &["delete", "--force", "c"]);
    assert_eq!(sleep.0.wait().unwrap().signal(), Some(9));
    assert!(home.names().is_empty());
    ok(&home, &["delete", "--force", "c"]);
    // The id is free, and a stopped container needs no force.
    let mut sleep = Sleep::new();
    home.put(&state("c", sleep.pid()));
    sleep.make_zombie();
    ok(&home, &["delete", "c"]);
    assert!(home.names().is_empty());
}

#[test]
fn delete_cleans_what_a_dead_create_left() {
    let home = Home::new();
    for force in [false, true] {
        let args = if force { &["delete", "-f", "c"][..] } else { &["delete", "c"] };
        // After the intent; before it; in the middle of writing either file.
        drop(home.reserve("c"));
        ok(&home, args);
        let path = home.reserve("c").path().to_owned();
        std::fs::rename(path.join("intent.json"), path.join("intent.json.tmp")).unwrap();
        assert_eq!(ok(&home, &["list", "-q"]), "");
        ok(&home, args);
        drop(home.reserve("c"));
        std::fs::write(path.join("state.json.tmp"), "{\"ver").unwrap();
        ok(&home, args);
        assert!(home.names().is_empty());
    }
}

#[test]
fn delete_of_a_container_that_is_being_created() {
    let home = Home::new();
    let reserved = home.reserve("c");
    let error = err(&home, &["delete", "c"]);
    assert!(error.contains("it is creating"), "{error}");
    // With force it waits for create's end.
    let mut child =
        bulkhead().arg("--root").arg(home.root()).args(["delete", "-f", "c"]).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(200));
    assert!(child.try_wait().unwrap().is_none());
    reserved.abandon();
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn delete_of_a_broken_state() {
    let home = Home::new();
    let mut sleep = Sleep::new();
    let path = home.put(&state("c", sleep.pid()));
    std::fs::write(path.join("state.json"), "null").unwrap();
    let error = err(&home, &["delete", "c"]);
    assert!(
        error.contains("--force") && error.contains("state.json\": invalid type: null"),
        "{error}"
    );
    let output = run(&home, &["delete", "-f", "c"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(String::from_utf8(output.stderr).unwrap().starts_with("bulkhead: warning: "));
    assert!(home.names().is_empty() && sleep.alive());
    // What a newer version wrote is left to it.
    let path = home.put(&state("c", sleep.pid()));
    std::fs::write(path.join("state.json"), "{\"version\": 3}").unwrap();
    assert!(err(&home, &["delete", "-f", "c"]).contains("newer bulkhead"));
}

#[test]
fn list_formats() {
    let home = Home::new();
    home.create_root();
    assert_eq!(ok(&home, &["list", "-f", "json"]), "[]\n");
    assert_eq!(ok(&home, &["list", "-q"]), "");
    let sleep = Sleep::new();
    home.put(&state("b", sleep.pid()));
    home.put_running(&state("a", sleep.pid()));
    let _creating = home.reserve("c");
    assert_eq!(ok(&home, &["list", "-q"]), "a\nb\nc\n");
    let table = ok(&home, &["list"]);
    let rows: Vec<Vec<_>> = table.lines().map(|l| l.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]);
    let pid = sleep.pid().to_string();
    assert_eq!(&rows[1][..4], ["a", &pid, "running", "/bundle"]);
    assert_eq!(&rows[2][..4], ["b", &pid, "created", "/bundle"]);
    assert_eq!(&rows[3][..4], ["c", "0", "creating", "/bundle"]);
    let json: Value = serde_json::from_str(&ok(&home, &["list", "--format", "json"])).unwrap();
    assert_eq!(json[1]["status"], "created");
    assert_eq!(json.as_array().unwrap().len(), 3);
}

#[test]
fn list_needs_few_descriptors_for_many_containers() {
    let home = Home::new();
    for n in 0..60 {
        home.put(&state(&format!("c{n}"), 0x3fff_ffff));
    }
    for format in [&["--quiet"][..], &[], &["--format", "json"]] {
        let mut list = Command::new("prlimit");
        list.args(["--nofile=24", "--", env!("CARGO_BIN_EXE_bulkhead"), "--root"]);
        let output = list.arg(home.root()).arg("list").args(format).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{format:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        let found = match format.first() {
            Some(&"--quiet") => text.lines().count(),
            _ => text.matches("stopped").count(),
        };
        assert_eq!(found, 60, "{format:?}: {text}");
    }
}

#[test]
fn list_of_missing_roots() {
    let home = Home::new();
    assert!(err(&home, &["list"]).contains("no such file or directory"));
    if nix::unistd::geteuid().is_root() {
        return; // what follows would look into the machine's own directory
    }
    let output = bulkhead().arg("list").env("XDG_RUNTIME_DIR", home.dir.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn errors_go_to_the_log_and_to_stderr_once_each() {
    let home = Home::new();
    let log = home.dir.path().join("log");
    let path = log.to_str().unwrap();
    let json = ["--log", path, "--log-format", "json", "state", "x"];
    for _ in 0..2 {
        assert_eq!(err(&home, &json), "container does not exist: \"x\"");
    }
    let lines = std::fs::read_to_string(&log).unwrap();
    let lines: Vec<Value> = lines.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(lines.len(), 2, "appended, one a failure");
    for line in &lines {
        assert_eq!(line["level"], "error");
        assert_eq!(line["msg"], "container does not exist: \"x\"");
        humantime::parse_rfc3339(line["time"].as_str().unwrap()).unwrap();
    }

    std::fs::remove_file(&log).unwrap();
    err(&home, &["state", "x", "--log", path]);
    let text = std::fs::read_to_string(&log).unwrap();
    assert!(text.ends_with(" level=error msg=\"container does not exist: \\\"x\\\"\"\n"), "{text}");

    // Without a file the JSON line is what stderr gets, and all of it.
    let output = run(&home, &["--log-format", "json", "state", "x"]);
    let line: Value = serde_json::from_slice(&output.stderr).unwrap();
    assert_eq!(line["level"], "error");

    let error = err(&home, &["--log", "/nonexistent/log", "list"]);
    assert_eq!(error, "open the log file \"/nonexistent/log\": no such file or directory");
}

#[test]
fn usage() {
    let run = |args: &[&str]| bulkhead().args(args).output().unwrap();
    for args in [&["--log-format", "xml", "list"][..], &["state"], &["state", "a", "b"]] {
        let output = run(args);
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        assert!(!output.stderr.is_empty() && output.stdout.is_empty(), "{args:?}");
    }
    assert!(String::from_utf8_lossy(&run(&["frobnicate"]).stderr).contains("'frobnicate'"));
    for (args, status, error) in [
        (&["frobnicate"][..], 3, "bulkhead: no such command: 'frobnicate' (see 'bulkhead help')\n"),
        (
            &["help", "frobnicate"],
            3,
            "bulkhead: no such command: 'frobnicate' (see 'bulkhead help')\n",
        ),
        (
            &["run", "-nonsense", "c"],
            1,
            "bulkhead: run: unexpected argument '-n' found (see 'bulkhead help run')\n",
        ),
    ] {
        let output = run(args);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), &*errors), (Some(status), error), "{args:?}");
    }
    let none = run(&[]);
    assert_eq!((none.status.code(), none.stderr.as_slice()), (Some(0), &[][..]));
    assert!(String::from_utf8_lossy(&none.stdout).contains("Usage: bulkhead"));
    for args in [
        &["--help"][..],
        &["help"],
        &["create", "--help"],
        &["help", "kill"],
        &["run", "-help"],
        &["exec", "-h"],
        &["-v"],
        &["-version"],
        &["--version"],
    ] {
        let output = run(args);
        assert_eq!(
            (output.status.code(), output.stderr.as_slice()),
            (Some(0), &b""[..]),
            "{args:?}"
        );
        assert!(!output.stdout.is_empty());
    }
    let version = String::from_utf8(run(&["--version"]).stdout).unwrap();
    assert!(version.starts_with("bulkhead version ") && version.contains("\nspec: 1.3.0\n"));
}

/// Where a terminal is 80 columns wide, and where nobody knows how wide it is.
#[test]
fn help_fits_into_80_columns() {
    let root = Cli::command();
    let names = root.get_subcommands().map(|command| command.get_name());
    for name in names.chain(["--log-format=text"]) {
        for form in ["-h", "--help"] {
            let output = bulkhead().args([name, form]).output().unwrap();
            assert_eq!(output.status.code(), Some(0), "{name} {form}");
            let text = String::from_utf8(output.stdout).unwrap();
            let long: Vec<&str> = text.lines().filter(|line| line.chars().count() > 80).collect();
            assert_eq!(long, [""; 0], "{name} {form}");
            // In the short form each option is on a line with what it does.
            let bare = |line: &&str| line.starts_with("      --") && !line[8..].contains("  ");
            assert!(form != "-h" || !text.lines().any(|line| bare(&line)), "{text}");
        }
    }
}

#[test]
fn odd_standard_streams() {
    let home = Home::new();
    let sleep = Sleep::new();
    home.put_running(&state("c", sleep.pid()));
    let full = || File::options().write(true).open("/dev/full").unwrap();
    for args in [&["state", "c"][..], &["list"], &["list", "-q"], &["--version"], &["--help"]] {
        let mut command = bulkhead();
        command.arg("--root").arg(home.root()).args(args).stdout(full());
        let output = command.stderr(Stdio::piped()).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        // A log that cannot be written is no crash either.
        assert_eq!(command.stderr(full()).status().unwrap().code(), Some(1), "{args:?}");
    }
    // Closed ones: the directory's descriptor must not become standard output.
    let script = "exec \"$0\" --root \"$1\" delete -f c <&- >&- 2>&-";
    let status = Command::new("/bin/sh")
        .args(["-c", script, env!("CARGO_BIN_EXE_bulkhead")])
        .arg(home.root())
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(0));
    assert!(home.names().is_empty());
}

#[test]
fn a_killed_runtime_takes_its_hook_along() {
    let home = Home::new();
    let pid_file = home.dir.path().join("pid");
    let script = format!("echo $$ > {0}.tmp; mv {0}.tmp {0}; exec sleep 100", pid_file.display());
    home.put(&stopped_with_hook("c", &script));
    let mut delete =
        bulkhead().arg("--root").arg(home.root()).args(["delete", "c"]).spawn().unwrap();
    let deadline = Instant::now() + *crate::support::PATIENCE;
    let wait = |done: &dyn Fn() -> bool| {
        while !done() {
            assert!(Instant::now() < deadline);
            std::thread::sleep(Duration::from_millis(5));
        }
    };
    wait(&|| pid_file.exists());
    let hook: i32 = std::fs::read_to_string(&pid_file).unwrap().trim().parse().unwrap();
    assert!(Path::new(&format!("/proc/{hook}")).exists());
    delete.kill().unwrap();
    delete.wait().unwrap();
    wait(&|| start_time(hook).is_none());
}

#[test]
fn hooks_work_where_the_caller_ignores_sigchld() {
    let home = Home::new();
    home.put(&stopped_with_hook("c", "exit 5"));
    let output = Command::new("/usr/bin/env")
        .args(["--ignore-signal=CHLD", env!("CARGO_BIN_EXE_bulkhead"), "--root"])
        .arg(home.root())
        .args(["delete", "c"])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(
        text.contains("warning: error running poststop hook #0: \"/bin/sh\": exit status 5"),
        "{text}"
    );
}

#[test]
fn containers_whose_ids_match_are_deleted() {
    let home = Home::new();
    // No containers, and no directory.
    ok(&home, &["delete", "--regex", "."]);
    let sleep = Sleep::new();
    for id in ["rx-1", "rx-2", "rx-x", "other"] {
        home.put(&stopped_with_hook(id, "exit 0"));
    }
    home.put_running(&state("live", sleep.pid()));
    ok(&home, &["delete", "-r", "^rx-[0-9]+$"]);
    assert_eq!(home.names(), ["live", "other", "rx-x"]);
    ok(&home, &["delete", "--regex", "^nothing"]);
    for bad in ["(", "[", "a{2,1}", "*"] {
        let error = err(&home, &["delete", "--force", "--regex", bad]);
        assert!(error.starts_with(&format!("--regex: {bad:?}: invalid expression")), "{error}");
    }
    // Without the option it is an id.
    assert!(err(&home, &["delete", "--force", "."]).starts_with("container id: "));
    // One that cannot be deleted does not spare those after it.
    let error = err(&home, &["delete", "--regex", "l|r"]);
    assert!(error.starts_with("cannot delete container \"live\": "), "{error}");
    assert_eq!(home.names(), ["live"]);
    // With force also the remains of a create that has died.
    drop(home.reserve("dead"));
    ok(&home, &["delete", "--force", "--regex", "^.*d"]);
    assert_eq!(home.names(), ["live"]);
    drop(sleep);
    ok(&home, &["delete", "--regex", "."]);
    assert!(home.names().is_empty());
}
