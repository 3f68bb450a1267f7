//! create, start, state, kill, delete, run and list: what the commands do, and when they refuse.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use crate::support::*;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

// Proves: state.status={created, running, stopped}, state.pid, create:process, start:program,
// delete:resources
#[test]
fn the_whole_life() {
    let c = Container::with_script("echo started > /ran; exec sleep 600");
    c.create().ok();
    assert_eq!(c.status(), "created");
    let process = c.process();
    assert!(process.alive());
    std::thread::sleep(Duration::from_millis(50));
    assert!(!c.rootfs().join("ran").exists(), "the program ran before start");

    c.start().ok();
    wait_until("the program runs", || c.rootfs().join("ran").exists());
    assert_eq!(c.status(), "running");
    assert_eq!(c.process().pid, process.pid, "start made another process");

    c.kill("KILL").ok();
    c.wait_status("stopped");
    assert!(!process.alive());
    c.delete().ok();
    c.state_call().refused(&["does not exist"]);
    c.assert_gone();
}

// Proves: ociVersion, state.{ociVersion, id, bundle, annotations}
#[test]
fn state_has_every_key() {
    let mut c = Container::new();
    c.set("/annotations", json!({"org.example.colour": "green"}));
    c.sh("exec sleep 600").set("/ociVersion", json!("1.0.1"));
    c.create().ok();
    let state = c.state();
    assert_eq!(state["id"], json!(c.id));
    assert_eq!(state["status"], "created");
    assert_eq!(state["annotations"], json!({"org.example.colour": "green"}));
    let bundle = fs::canonicalize(c.path()).unwrap();
    assert_eq!(state["bundle"], json!(bundle));
    assert_eq!(state["rootfs"], json!(bundle.join("rootfs")));
    let version = state["ociVersion"].as_str().unwrap();
    assert!(version.starts_with("1."), "{version}");
    let created = humantime::parse_rfc3339(state["created"].as_str().unwrap()).unwrap();
    let age = SystemTime::now().duration_since(created).unwrap();
    assert!(age < Duration::from_secs(60), "created {age:?} ago");

    c.kill("9").ok();
    c.wait_status("stopped");
    let pid = &c.state()["pid"];
    assert!(pid.is_null() || *pid == json!(0), "a stopped container has a pid: {pid}");
}

// Proves: create:unique
#[test]
fn a_second_container_of_the_same_id_is_refused() {
    let c = Container::with_script("exec sleep 600");
    c.create().ok();
    let pid = c.process().pid;
    c.create().refused(&["exist"]);
    c.run().refused(&["exist"]);
    assert_eq!(c.status(), "created");
    assert_eq!(c.process().pid, pid, "the first container was touched");
    c.start().ok();
    assert_eq!(c.status(), "running");
}

#[test]
fn of_many_creates_at_once_one_wins() {
    let c = Container::with_script("exec sleep 600");
    c.write();
    let calls: Vec<_> = (0..6).map(|_| c.rt.spawn(c.rt.command(&c.words("create", &[])))).collect();
    let codes: Vec<_> = calls.into_iter().map(|call| call.wait().code()).collect();
    assert_eq!(codes.iter().filter(|code| **code == Some(0)).count(), 1, "{codes:?}");
    assert_eq!(c.status(), "created");
    assert!(c.process().alive());
    c.start().ok();
}

// Proves: start:created
#[test]
fn start_is_refused_unless_created() {
    let c = Container::with_script("exec sleep 600");
    c.create().ok();
    c.start().ok();
    let pid = c.process().pid;
    c.start().refused(&[]);
    assert_eq!((c.status().as_str(), c.process().pid), ("running", pid));
    c.kill("KILL").ok();
    c.wait_status("stopped");
    c.start().refused(&[]);
    assert_eq!(c.status(), "stopped");
}

// Proves: process, start:without-process
#[test]
fn a_container_without_a_process_waits_to_be_deleted() {
    let mut c = Container::new();
    c.remove("/process");
    c.create().ok();
    let process = c.process();
    // The end of the runtime must not be the end of its init.
    std::thread::sleep(Duration::from_millis(200));
    assert!(process.alive());
    assert_eq!(c.status(), "created");
    c.start().refused(&["process"]);
    c.delete_force().ok();
}

#[test]
fn start_after_init_died_fails_and_does_not_hang() {
    let c = Container::with_script("exec sleep 600");
    c.create().ok();
    c.kill("KILL").ok();
    c.wait_status("stopped");
    c.start().refused(&[]);
    c.delete().ok();
}

// Proves: kill:alive
#[test]
fn kill_of_a_stopped_container_is_refused() {
    let c = Container::with_script("exec sleep 600");
    c.create().ok();
    c.kill("SIGKILL").ok();
    c.wait_status("stopped");
    c.kill("TERM").refused(&["container not running"]);
    assert_eq!(c.status(), "stopped");
    // What engines clean up with.
    for signal in ["0", "TERM", "KILL"] {
        c.rt.call(&["kill", "--all", &c.id, signal]).ok();
    }
}

/// The kernel keeps the default action of a signal from process 1.
#[test]
fn kill_ends_a_created_container() {
    for signal in ["TERM", "INT", "HUP", "QUIT"] {
        for shared in [false, true] {
            let mut c = Container::with_script("exec sleep 600");
            if shared {
                c.without_namespace("pid");
            }
            c.create().ok();
            c.kill(signal).ok();
            c.wait_status("stopped");
            c.start().refused(&[]);
            c.delete().ok();
        }
    }
}

/// And its program starts with the default actions.
#[test]
fn a_started_program_handles_no_signal() {
    let c = Container::with_script("exec sleep 600");
    c.create().ok();
    c.start().ok();
    let process = c.process();
    wait_until("execve", || process.runs("sleep"));
    assert_eq!(process.status("SigCgt"), "0000000000000000");
}

// Proves: kill:signal
#[test]
fn kill_takes_names_and_numbers() {
    let c = Container::with_script(
        "for s in TERM USR1 USR2 HUP; do trap \"echo got $s\" $s; done; echo ready\n\
         while :; do sleep 0.05; done",
    );
    let ran = c.run_detached();
    ran.wait_for("ready");
    for (signal, name) in [("", "TERM"), ("10", "USR1"), ("SIGUSR2", "USR2"), ("hup", "HUP")] {
        if signal.is_empty() {
            c.rt.call(&["kill", &c.id]).ok();
        } else {
            c.kill(signal).ok();
        }
        ran.wait_for(&format!("got {name}"));
    }
    assert_eq!(c.status(), "running");
}

#[test]
fn kill_reaches_every_process_when_the_pid_namespace_is_shared() {
    let mut c = Container::with_script("sleep 601 & sleep 602 & echo ready; exec sleep 600");
    c.without_namespace("pid");
    let ran = c.run_detached();
    ran.wait_for("ready");
    let init = c.process();
    let children: Vec<Proc> = init
        .read(&format!("task/{}/children", init.pid))
        .split_whitespace()
        .map(|pid| Proc::new(pid.parse().unwrap()))
        .collect();
    assert_eq!(children.len(), 2);
    c.kill("KILL").ok();
    wait_until("all are dead", || !init.alive() && children.iter().all(|child| !child.alive()));
}

/// Init is no special process there: its end is not that of the others.
#[test]
fn kill_reaches_what_is_left_of_a_container_in_a_shared_pid_namespace() {
    let mut c = Container::with_script("sleep 601 & echo ready; exec sleep 600");
    c.without_namespace("pid");
    let ran = c.run_detached();
    ran.wait_for("ready");
    let init = c.process();
    let children = init.read(&format!("task/{}/children", init.pid));
    let child = Proc::new(children.trim().parse().unwrap());
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(init.pid), nix::sys::signal::Signal::SIGKILL)
        .unwrap();
    c.wait_status("stopped");
    c.kill("TERM").refused(&["container not running"]);
    assert!(child.alive());
    c.kill("KILL").ok();
    wait_until("the child is dead", || !child.alive());
    c.kill("KILL").refused(&["container not running"]);
}

// Proves: delete:stopped
#[test]
fn delete_of_a_running_container_needs_force() {
    let c = Container::with_script("exec sleep 600");
    c.run_detached();
    let process = c.process();
    c.delete().refused(&[&c.id]);
    assert!(process.alive());
    assert_eq!(c.status(), "running");
    c.delete_force().ok();
    assert!(!process.alive());
    c.assert_gone();
}

// Proves: state:missing
#[test]
fn what_does_not_exist() {
    let c = Container::new();
    for words in [&["state"][..], &["start"], &["kill"], &["delete"]] {
        let mut words = words.to_vec();
        words.push("bulkhead-test-nobody");
        c.rt.call(&words).refused(&["does not exist"]);
    }
    let ran = c.rt.call(&["delete", "--force", "bulkhead-test-nobody"]).ok();
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("", ""));
    c.rt.call(&["delete", "-f", "bulkhead-test-nobody"]).ok();
}

// Proves: delete:id
#[test]
fn delete_frees_the_id() {
    let c = Container::with_script("exec sleep 600");
    for _ in 0..3 {
        c.create().ok();
        c.delete_force().ok();
        c.assert_gone();
    }
    c.create().ok();
    assert_eq!(c.status(), "created");
}

#[test]
fn delete_takes_cgroups_made_inside_along() {
    let c = Container::with_script("exec sleep 600");
    c.run_detached();
    let made: Vec<_> = cgroup_mounts()
        .into_iter()
        .map(|(point, _)| c.cgroup(&point))
        .filter(|dir| dir.is_dir())
        .map(|dir| dir.join("a/b"))
        .collect();
    assert!(!made.is_empty());
    for dir in &made {
        fs::create_dir_all(dir).unwrap();
    }
    c.kill("KILL").ok();
    c.wait_status("stopped");
    c.delete().ok();
    c.assert_gone();
}

#[test]
fn the_pid_file_holds_digits_only() {
    let c = Container::with_script("exec sleep 600");
    c.create().ok();
    let text = fs::read_to_string(c.pid_file()).unwrap();
    assert_eq!(text, c.process().pid.to_string());
}

#[test]
fn a_relative_pid_file_is_the_callers() {
    let mut c = Container::with_script("exec sleep 600");
    let elsewhere = c.path().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    c.rt.dir = elsewhere.clone();
    c.call("create", &["--pid-file", "here.pid"]).ok();
    let text = fs::read_to_string(elsewhere.join("here.pid")).unwrap();
    assert_eq!(text, c.process().pid.to_string());
}

#[test]
fn the_bundle_is_the_current_directory_unless_told() {
    let c = Container::with_script("echo from here");
    c.write();
    let ran = c.rt.call(&["run", &c.id]).ok();
    assert_eq!(ran.stdout, "from here\n");
}

#[test]
fn a_relative_bundle_is_made_absolute() {
    let mut c = Container::with_script("exec sleep 600");
    c.write();
    c.rt.dir = c.path().parent().unwrap().to_owned();
    let name = c.path().file_name().unwrap().to_owned();
    let name = name.to_str().unwrap();
    c.rt.call(&["create", "-b", name, &c.id]).ok();
    assert_eq!(c.state()["bundle"], json!(fs::canonicalize(c.path()).unwrap()));
}

#[test]
fn options_may_follow_the_id() {
    let c = Container::with_script("exec sleep 600");
    c.write();
    let bundle = format!("--bundle={}", c.path().display());
    c.rt.call(&["create", &c.id, &bundle]).ok();
    assert_eq!(c.status(), "created");
    c.rt.call(&["delete", &c.id, "--force"]).ok();
}

// Proves: create:config
#[test]
fn edits_after_create_have_no_effect() {
    let mut c = Container::with_script("echo the first; exec sleep 600");
    let ran = c.create().ok();
    c.sh("echo the second").set("/hostname", json!("other"));
    c.set("/annotations", json!({"a": "b"})).write();
    c.start().ok();
    ran.wait_for("the first");
    assert!(c.state()["annotations"].get("a").is_none());
    fs::remove_file(c.path().join("config.json")).unwrap();
    assert_eq!(c.status(), "running");
    c.kill("KILL").ok();
    c.wait_status("stopped");
    c.delete().ok();
}

#[test]
fn run_gives_the_exit_status() {
    for (script, code) in [("true", 0), ("exit 7", 7), ("exit 255", 255)] {
        let c = Container::with_script(script);
        assert_eq!(c.run().code(), Some(code), "{script}");
        c.assert_gone();
    }
}

#[test]
fn run_gives_128_and_the_signal() {
    // Process 1 ignores what it does not handle, so the signal comes from outside.
    for (signal, code) in [(Signal::SIGKILL, 137), (Signal::SIGSEGV, 139)] {
        let mut c = Container::with_script("echo ready; exec sleep 600");
        if signal != Signal::SIGKILL {
            c.without_namespace("pid");
        }
        c.write();
        let call = c.rt.spawn(c.rt.command(&c.words("run", &[])));
        wait_until("it runs", || call.stdout().contains("ready"));
        kill(Pid::from_raw(c.process().pid), signal).unwrap();
        assert_eq!(call.wait().code(), Some(code), "{signal}");
        c.assert_gone();
    }
}

#[test]
fn run_forwards_signals() {
    // 34 is glibc's SIGRTMIN; other C libraries count it among their own.
    for name in ["TERM", "HUP", "INT", "USR1", "QUIT", "CONT", "34"] {
        let script =
            format!("trap 'echo caught; exit 9' {name}; echo ready; while :; do sleep 0.02; done");
        let mut c = Container::with_script(&script);
        // To start the hook, signals are blocked once more.
        c.set("/hooks/createRuntime", json!([{"path": "/bin/true"}]));
        c.write();
        let call = c.rt.spawn(c.rt.command(&c.words("run", &[])));
        wait_until("it runs", || call.stdout().contains("ready"));
        let sent = Command::new("kill").args(["-s", name, &call.child.id().to_string()]).status();
        assert!(sent.unwrap().success());
        let ran = call.wait();
        assert_eq!(ran.code(), Some(9), "{name}: {ran:#?}");
        assert!(ran.stdout.contains("caught"), "{name}: {ran:#?}");
    }
}

#[test]
fn run_passes_stdin_and_stdout_whole() {
    let c = Container::with_script("cat");
    c.write();
    let input: Vec<u8> = (0..3_000_000u32).flat_map(|n| [b'a' + (n % 23) as u8]).collect();
    let file = c.path().join("input");
    fs::write(&file, &input).unwrap();
    let mut command = c.rt.command(&c.words("run", &[]));
    command.stdin(fs::File::open(file).unwrap());
    let ran = c.rt.spawn(command).wait().ok();
    assert!(ran.stdout.as_bytes() == input, "{} bytes came back", ran.stdout.len());
}

#[test]
fn run_reads_a_pipe_to_its_end() {
    let c = Container::with_script("wc -c");
    c.write();
    let mut producer = Command::new("head")
        .args(["-c", "5000000", "/dev/zero"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut command = c.rt.command(&c.words("run", &[]));
    command.stdin(producer.stdout.take().unwrap());
    let ran = c.rt.spawn(command).wait().ok();
    producer.wait().unwrap();
    assert_eq!(ran.stdout.trim(), "5000000");
}

#[test]
fn run_deletes_what_it_made_unless_told_to_keep() {
    let c = Container::with_script("exit 3");
    assert_eq!(c.run().code(), Some(3));
    c.assert_gone();
    assert_eq!(c.call("run", &["--keep"]).code(), Some(3));
    assert_eq!(c.status(), "stopped");
    c.delete().ok();
    c.assert_gone();
}

#[test]
fn run_detached_returns_at_once() {
    let c = Container::with_script("echo up; exec sleep 600");
    let ran = c.run_detached();
    ran.wait_for("up");
    assert_eq!(c.status(), "running");
    assert_eq!(fs::read_to_string(c.pid_file()).unwrap(), c.process().pid.to_string());
}

#[test]
fn short_runs_never_hang() {
    let mut c = Container::new();
    c.args(&["/bin/true"]);
    for _ in 0..25 {
        c.run().ok();
    }
    c.assert_gone();
}

#[test]
fn a_stopped_container_can_still_be_asked() {
    let c = Container::new();
    c.run_detached();
    c.wait_status("stopped");
    assert_eq!(c.state()["id"], json!(c.id));
    c.delete().ok();
    c.assert_gone();
}

#[test]
fn list_in_its_three_forms() {
    let mut one = Container::with_script("exec sleep 600");
    one.set("/annotations", json!({"k": "v"}));
    let two = Container::beside(&one);
    one.create().ok();
    two.run_detached();
    two.wait_status("stopped");

    let quiet = one.rt.call(&["list", "-q"]).ok().stdout;
    let mut ids: Vec<_> = quiet.lines().collect();
    ids.sort_unstable();
    let mut expected = [one.id.as_str(), two.id.as_str()];
    expected.sort_unstable();
    assert_eq!(ids, expected);

    let table = one.rt.call(&["list"]).ok().stdout;
    let mut lines = table.lines();
    let header: Vec<_> = lines.next().unwrap().split_whitespace().collect();
    assert_eq!(header, ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]);
    let row = |id: &str| -> Vec<&str> {
        let line = table.lines().find(|line| line.split_whitespace().next() == Some(id));
        line.unwrap_or_else(|| panic!("{id}: {table}")).split_whitespace().collect()
    };
    let pid = one.process().pid.to_string();
    let bundle = fs::canonicalize(one.path()).unwrap();
    assert_eq!(row(&one.id)[1..4], [pid.as_str(), "created", bundle.to_str().unwrap()]);
    assert_eq!(row(&one.id)[5], "root");
    assert_eq!(row(&two.id)[1..3], ["0", "stopped"]);
    assert_eq!(lines.count(), 2);

    let text = one.rt.call(&["list", "--format", "json"]).ok().stdout;
    let all: Vec<Value> = serde_json::from_str(&text).unwrap();
    let entry = all.iter().find(|entry| entry["id"] == json!(one.id)).unwrap();
    assert_eq!(entry["status"], "created");
    assert_eq!(entry["pid"], json!(one.process().pid));
    assert_eq!(entry["annotations"], json!({"k": "v"}));
    assert_eq!(entry["owner"], "root");
    assert_eq!(all.len(), 2);
}

#[test]
fn list_of_nothing() {
    let c = Container::new();
    fs::create_dir_all(&c.rt.root).unwrap();
    assert_eq!(c.rt.call(&["list", "-q"]).ok().stdout, "");
    let text = c.rt.call(&["list", "-f", "json"]).ok().stdout;
    let all: Option<Vec<Value>> = serde_json::from_str(&text).unwrap();
    assert_eq!(all.unwrap_or_default().len(), 0);
}

#[test]
fn list_passes_over_what_is_no_container() {
    let c = Container::with_script("exec sleep 600");
    c.create().ok();
    fs::create_dir(c.rt.root.join("empty-directory")).unwrap();
    fs::write(c.rt.root.join("a-file"), "").unwrap();
    let ran = c.rt.call(&["list", "-q"]).ok();
    assert_eq!(ran.stdout.trim(), c.id);
}

#[test]
fn closed_stdio_is_no_obstacle() {
    let mut c = Container::with_script("echo fine > /written; test -e /dev/null");
    c.rt.through = ["sh", "-c", "exec \"$@\" <&- >&- 2>&-", "sh"].iter().map(Into::into).collect();
    assert_eq!(c.run().code(), Some(0));
    assert_eq!(fs::read_to_string(c.rootfs().join("written")).unwrap(), "fine\n");
    c.rt.through.clear();
}

#[test]
fn errors_go_to_the_log_and_to_stderr() {
    let mut c = Container::new();
    c.args(&["/bin/no-such-program"]);
    let log = c.path().join("log.json");
    c.rt.global = vec!["--log".into(), log.clone().into(), "--log-format".into(), "json".into()];
    let ran = c.run();
    assert_eq!(ran.code(), Some(1));
    assert!(ran.stderr.contains("no-such-program"), "{ran:#?}");
    let text = fs::read_to_string(&log).unwrap();
    let lines: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    let errors: Vec<_> = lines.iter().filter(|line| line["level"] == "error").collect();
    assert_eq!(errors.len(), 1, "{text}");
    assert!(errors[0]["msg"].as_str().unwrap().contains("no-such-program"), "{text}");
    humantime::parse_rfc3339_weak(errors[0]["time"].as_str().unwrap()).unwrap();
    c.rt.global.clear();
}

#[test]
fn an_unwritable_pid_file_fails_create() {
    let c = Container::with_script("exec sleep 600");
    let file = c.path().join("no/such/dir/pid");
    c.call("create", &["--pid-file", file.to_str().unwrap()]).refused(&["no/such/dir"]);
    c.assert_gone();
}

#[test]
fn debug_tells_what_is_made() {
    let mut c = Container::with_script("echo out");
    let log = c.path().join("log");
    c.rt.global = ["--debug", "--log", log.to_str().unwrap()].map(Into::into).to_vec();
    c.create().ok();
    let init = c.process().pid();
    let text = fs::read_to_string(&log).unwrap();
    for words in [
        format!("level=debug msg=\"bulkhead {}: [", env!("CARGO_PKG_VERSION")),
        format!("/{}\"\n", c.cgroup(Path::new("")).display()),
        format!("level=debug msg=\"init is process {init} and is ready"),
    ] {
        assert!(text.contains(&words), "{words:?} in {text}");
    }
    c.rt.global.clear();
}
