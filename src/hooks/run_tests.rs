//! Runs hooks by the library.

use std::io::Read;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::config::hooks::parse_hook;
use crate::hooks::{Hook, run_all, run_all_logging};
use crate::{Error, Result};

fn hook(json: serde_json::Value) -> Hook {
    parse_hook("hooks.test", &serde_json::from_value(json).unwrap()).unwrap()
}

fn shell(script: &str) -> Hook {
    hook(serde_json::json!({"path": "/bin/sh", "args": ["sh", "-c", script]}))
}

/// Runs a script as a hook. Returns the content of the file `$1`.
fn output(script: &str, state: &[u8]) -> String {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("out");
    let args = ["sh", "-c", script, "sh", file.to_str().unwrap()];
    run_all("test", &[hook(serde_json::json!({"path": "/bin/sh", "args": args}))], state).unwrap();
    std::fs::read_to_string(file).unwrap()
}

fn failure(hook: Hook) -> String {
    run_all("createRuntime", &[hook], b"{}").unwrap_err().to_string()
}

fn wait_gone(pid: &str) {
    let deadline = Instant::now() + Duration::from_secs(5);
    while crate::state::process_start_time(pid.trim().parse().unwrap()).unwrap().is_some() {
        assert!(Instant::now() < deadline, "process {pid} lives");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn run_in_order_and_stop_at_the_first_failure() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("out").display().to_string();
    let add = |word: &str| shell(&format!("echo {word} >> {file}"));
    run_all("poststart", &[add("1"), add("2"), add("3")], b"{}").unwrap();
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "1\n2\n3\n");

    let error = run_all("poststart", &[add("4"), shell("exit 3"), add("5")], b"{}").unwrap_err();
    assert_eq!(error.to_string(), "error running poststart hook #1: \"/bin/sh\": exit status 3");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "1\n2\n3\n4\n");

    run_all_logging("poststop", &[shell("exit 1"), add("6")], b"{}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "1\n2\n3\n4\n6\n");
}

#[test]
fn each_hook_reads_the_whole_state() {
    let dir = tempfile::tempdir().unwrap();
    let state = br#"{"ociVersion":"1.3.0","id":"a"}"#;
    let hooks: Vec<_> =
        (0..3).map(|i| shell(&format!("cat > {}/{i}", dir.path().display()))).collect();
    run_all("prestart", &hooks, state).unwrap();
    for i in 0..3 {
        assert_eq!(std::fs::read(dir.path().join(i.to_string())).unwrap(), state);
    }
}

#[test]
fn a_hook_cannot_change_the_state_of_the_next() {
    let error = failure(shell("echo evil >&0"));
    assert!(error.contains("exit status"), "{error}");
}

#[test]
fn a_state_larger_than_a_pipe_blocks_nobody() {
    let state = vec![b' '; 3 << 20];
    let begin = Instant::now();
    run_all("test", &[shell("exit 0"), shell("head -c 1"), shell("exec <&-; :")], &state).unwrap();
    assert!(begin.elapsed() < Duration::from_secs(5));
    assert_eq!(output("wc -c > $1", &state).trim(), (3 << 20).to_string());
}

#[test]
fn environment_is_what_is_given_and_nothing_else() {
    // A leak would show the test's own environment.
    assert!(std::env::vars_os().count() > 1);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("out");
    let read = |env: Option<&[&str]>| -> Vec<String> {
        let script = format!("tr '\\0' '\\n' < /proc/$$/environ > {}; :", file.display());
        let mut json = serde_json::json!({"path": "/bin/sh", "args": ["sh", "-c", script]});
        if let Some(env) = env {
            json["env"] = serde_json::json!(env);
        }
        run_all("test", &[hook(json)], b"{}").unwrap();
        std::fs::read_to_string(&file).unwrap().lines().map(str::to_owned).collect()
    };
    let default = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    assert_eq!(read(None), [default]);
    assert_eq!(read(Some(&[])), [default]);
    assert_eq!(
        read(Some(&["PATH=/bin:/usr/bin", "A=b c", "D="])),
        ["PATH=/bin:/usr/bin", "A=b c", "D="]
    );
}

#[test]
fn arguments_are_passed_as_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("out");
    let script = format!("printf '%s|' \"$0\" \"$@\" > {}", file.display());
    let args = ["not-sh", "-c", &script, "zero", "", "a b", "\u{e9}\n"];
    run_all("test", &[hook(serde_json::json!({"path": "/bin/sh", "args": args}))], b"").unwrap();
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "zero||a b|\u{e9}\n|");
}

#[test]
fn timeout_kills_the_hook_and_its_group() {
    let dir = tempfile::tempdir().unwrap();
    let pids = dir.path().join("pids");
    let script = format!("sleep 60 & echo $! > {0}; echo $$ >> {0}; sleep 60", pids.display());
    let json = serde_json::json!({"path": "/bin/sh", "args": ["sh", "-c", script], "timeout": 1});
    let begin = Instant::now();
    let error = failure(hook(json));
    let took = begin.elapsed();
    assert!(took >= Duration::from_secs(1) && took < Duration::from_secs(5), "{took:?}");
    let words = ["createRuntime hook #0", "hook ran past specified timeout of 1.0s"];
    assert!(words.iter().all(|word| error.contains(word)), "{error}");
    for pid in std::fs::read_to_string(pids).unwrap().lines() {
        wait_gone(pid);
    }
}

#[test]
fn a_hook_within_its_timeout_succeeds() {
    let args = ["sh", "-c", "sleep 0.1"];
    let json = serde_json::json!({"path": "/bin/sh", "args": args, "timeout": i64::MAX});
    run_all("test", &[hook(json)], b"").unwrap();
}

#[test]
fn failures_tell_why() {
    let missing = hook(serde_json::json!({"path": "/nonexistent/hook"}));
    assert_eq!(
        failure(missing),
        "error running createRuntime hook #0: \"/nonexistent/hook\": execute: no such file or \
         directory"
    );
    let directory = hook(serde_json::json!({"path": "/"}));
    assert!(failure(directory).ends_with("execute: permission denied"));
    let error = failure(shell("echo first; echo reason >&2; exit 42"));
    assert!(error.ends_with("exit status 42: reason"), "{error}");
    let error = failure(shell("kill -9 $$"));
    assert!(error.ends_with("killed by SIGKILL"), "{error}");
    let error = failure(shell("yes x | head -c 300000; echo last; exit 1"));
    assert!(error.ends_with("exit status 1: last"), "{error}");
}

#[test]
fn a_daemon_that_keeps_the_output_open_is_not_waited_for() {
    let begin = Instant::now();
    let pid = output("sleep 30 & echo $! > $1", b"{}");
    assert!(begin.elapsed() < Duration::from_secs(5));
    let pid: i32 = pid.trim().parse().unwrap();
    // It also outlives the hook, so it was not counted as a part of the hook.
    assert!(crate::state::process_start_time(pid).unwrap().is_some());
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::SIGKILL).unwrap();
}

#[test]
fn only_three_descriptors_reach_a_hook() {
    let leak = std::fs::File::open("/").unwrap();
    clear_cloexec(&leak);
    // 3 is the directory that ls reads.
    assert_eq!(output("exec ls /proc/self/fd > $1", b"{}"), "0\n1\n2\n3\n");
    let links =
        output("x=$(readlink /proc/$$/fd/0 /proc/$$/fd/1 /proc/$$/fd/2); echo \"$x\" > $1", b"{}");
    let links: Vec<_> = links.lines().collect();
    assert!(links[0].starts_with("/memfd:state"), "{links:?}");
    assert!(links[1].starts_with("pipe:") && links[1] == links[2], "{links:?}");
    drop(leak);
}

fn clear_cloexec(file: &std::fs::File) {
    nix::fcntl::fcntl(file, nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty())).unwrap();
    assert!(file.as_raw_fd() > 2);
}

#[test]
fn signals_are_as_programs_expect_them() {
    // The test harness ignores SIGPIPE, as every Rust program does.
    let own = std::fs::read_to_string("/proc/self/status").unwrap();
    assert_eq!(mask(&own, "SigIgn") & (1 << 12), 1 << 12);
    // Not by a shell, which would set its own signals.
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("out");
    let args = ["cp", "/proc/self/status", file.to_str().unwrap()];
    let json = serde_json::json!({"path": "/bin/cp", "args": args});
    run_all("test", &[hook(json)], b"{}").unwrap();
    let status = std::fs::read_to_string(file).unwrap();
    assert_eq!(mask(&status, "SigBlk"), 0);
    assert_eq!(mask(&status, "SigIgn") & (1 << 12), 0);
}

fn mask(status: &str, name: &str) -> u64 {
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    u64::from_str_radix(line.split_whitespace().nth(1).unwrap(), 16).unwrap()
}

#[test]
fn it_has_a_session_of_its_own() {
    let stat = output("cat /proc/$$/stat > $1; echo $$ >> $1", b"{}");
    let after: Vec<_> = stat.rsplit(") ").next().unwrap().split_whitespace().collect();
    let pid = after.last().unwrap();
    assert_eq!((after[2], after[3]), (*pid, *pid), "{stat}");
}

#[test]
fn other_children_are_not_reaped() {
    let mut other = std::process::Command::new("/bin/sh").args(["-c", "exit 7"]).spawn().unwrap();
    run_all("test", &[shell("sleep 0.1")], b"{}").unwrap();
    assert_eq!(other.wait().unwrap().code(), Some(7));
}

#[test]
fn nothing_is_left_open() -> Result<()> {
    let count = || std::fs::read_dir("/proc/self/fd").map(Iterator::count).map_err(Error::from);
    // Other tests of this process open and close descriptors meanwhile: the minimum of many counts
    // is stable.
    let least = || (0..50).filter_map(|_| count().ok()).min();
    let before = least();
    for _ in 0..200 {
        let _ = run_all("test", &[hook(serde_json::json!({"path": "/nonexistent"}))], b"{}");
    }
    assert!(least() < before.map(|n| n + 100), "{before:?}");
    Ok(())
}

#[test]
fn bytes_that_are_no_text_do_no_harm() {
    let error = failure(shell("printf 'a\\377\\033[31mb\\n' >&2; exit 1"));
    assert!(!error.contains('\u{1b}'), "{error:?}");
    let mut file = std::fs::File::open(Path::new("/dev/null")).unwrap();
    assert_eq!(file.read(&mut [0]).unwrap(), 0);
}
