//! A drop-in for runc: its bundles run here and ours run there; and the calls that engines make.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::support::*;

pub fn runc() -> PathBuf {
    ["/usr/sbin/runc", "/usr/bin/runc"]
        .iter()
        .map(PathBuf::from)
        .find(|path| path.exists())
        .expect("runc is missing (Debian: runc)")
}

/// Runs a command line under a terminal, typing `input` at it; gives the exit code and the screen.
fn at_a_terminal(dir: &Path, line: &str, input: &str) -> (Option<i32>, String) {
    let screen = dir.join("screen");
    let mut child = Command::new("script")
        .args(["--quiet", "--flush", "--return", "--command", line])
        .arg(&screen)
        .current_dir(dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // Type as a person does: wait for the prompt.
    wait_until("a prompt", || {
        fs::read(&screen).is_ok_and(|seen| String::from_utf8_lossy(&seen).contains("# "))
    });
    stdin.write_all(input.as_bytes()).unwrap();
    let status = wait_for("the end of the terminal session", || child.try_wait().unwrap());
    drop(stdin);
    (status.code(), String::from_utf8_lossy(&fs::read(&screen).unwrap()).into_owned())
}

/// `run` of a bundle with `"terminal": true` in the foreground, as a person starts it.
fn interactive(c: &Container, binary: &Path) -> (Option<i32>, String) {
    let line = format!(
        "stty cols 97 rows 31; exec {} --root {} run {}",
        binary.display(),
        c.rt.root.display(),
        c.id
    );
    at_a_terminal(c.path(), &line, "tty; stty size; echo sum $((20+3)); exit 7\n")
}

#[test]
fn a_bundle_of_runc_runs_here_unchanged() {
    let c = Container::new();
    let made = Command::new(runc()).arg("spec").current_dir(c.path()).status().unwrap();
    assert!(made.success());
    let (code, screen) = interactive(&c, &c.rt.binary);
    assert_eq!(code, Some(7), "{screen}");
    for text in ["/dev/pts/0", "31 97", "sum 23"] {
        assert!(screen.contains(text), "no {text:?} on the screen: {screen}");
    }
    c.assert_gone();
}

#[test]
fn a_bundle_made_here_runs_under_runc() {
    let c = Container::new();
    c.rt.call(&["spec"]).ok();
    let (code, screen) = interactive(&c, &runc());
    assert_eq!(code, Some(7), "{screen}");
    assert!(screen.contains("sum 23"), "{screen}");
    c.assert_gone();
    let (code, screen) = interactive(&c, &c.rt.binary);
    assert_eq!(code, Some(7), "{screen}");
    assert!(screen.contains("sum 23"), "{screen}");
}

#[test]
fn spec_writes_a_configuration_and_never_over_one() {
    let c = Container::new();
    let file = c.path().join("config.json");
    c.rt.call(&["spec"]).ok();
    let text = fs::read_to_string(&file).unwrap();
    let config: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(config["process"]["args"], json!(["sh"]));
    assert_eq!(config["process"]["terminal"], json!(true));
    assert_eq!(config["root"]["path"], "rootfs");
    assert_eq!(config["process"]["noNewPrivileges"], json!(true));
    fs::write(&file, "mine").unwrap();
    let ran = c.rt.call(&["spec"]);
    assert!(!ran.status.success(), "{ran:#?}");
    assert!(ran.stderr.contains("config.json"), "{ran:#?}");
    assert_eq!(fs::read_to_string(&file).unwrap(), "mine");

    let other = c.path().join("other");
    fs::create_dir(&other).unwrap();
    c.rt.call(&["spec", "--bundle", other.to_str().unwrap()]).ok();
    assert_eq!(fs::read_to_string(other.join("config.json")).unwrap(), text);
}

#[test]
fn spec_for_a_user_without_privileges() {
    let c = Container::new();
    c.rt.call(&["spec", "--rootless"]).ok();
    let text = fs::read_to_string(c.path().join("config.json")).unwrap();
    let config: Value = serde_json::from_str(&text).unwrap();
    let kinds: Vec<_> = config["linux"]["namespaces"].as_array().unwrap().iter().collect();
    assert!(kinds.iter().any(|kind| kind["type"] == "user"), "{text}");
    assert!(!kinds.iter().any(|kind| kind["type"] == "network"), "{text}");
    assert_eq!(config["linux"]["uidMappings"][0]["containerID"], 0);
    assert_eq!(config["linux"]["uidMappings"][0]["size"], 1);
    assert!(config["linux"]["resources"].is_null(), "{text}");
}

#[test]
fn the_version_is_as_engines_read_it() {
    let c = Container::new();
    let ran = c.rt.call(&["--version"]).ok();
    assert_eq!(ran.stderr, "");
    let first = ran.stdout.lines().next().unwrap();
    let words: Vec<_> = first.split(' ').collect();
    assert_eq!(words[1], "version", "{first}");
    assert!(words[2].split('.').count() >= 3, "{first}");
    assert!(ran.stdout.lines().any(|line| line.starts_with("spec: 1.")), "{}", ran.stdout);
    assert_eq!(c.rt.call(&["-v"]).ok().stdout, ran.stdout);
    c.rt.call(&["--help"]).ok();
}

#[test]
fn features_are_as_engines_read_them() {
    let c = Container::new();
    let ran = c.rt.call(&["features"]).ok();
    assert_eq!(ran.stderr, "");
    let features: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert!(features["ociVersionMin"].as_str().unwrap().starts_with("1."));
    assert!(features["ociVersionMax"].as_str().unwrap().starts_with("1."));
    let has = |pointer: &str, word: &str| {
        let list = features.pointer(pointer).and_then(Value::as_array);
        list.unwrap_or_else(|| panic!("no {pointer}")).iter().any(|item| item == word)
    };
    for option in ["ro", "rro", "rbind", "nosuid", "tmpcopyup", "idmap"] {
        assert!(has("/mountOptions", option), "{option}");
    }
    for kind in ["user", "pid", "network", "mount", "ipc", "uts", "cgroup"] {
        assert!(has("/linux/namespaces", kind), "{kind}");
    }
    for hook in
        ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"]
    {
        assert!(has("/hooks", hook), "{hook}");
    }
    assert!(has("/linux/seccomp/actions", "SCMP_ACT_ERRNO"));
    assert_eq!(features["linux"]["seccomp"]["enabled"], json!(true));
    assert_eq!(features["linux"]["mountExtensions"]["idmap"]["enabled"], json!(true));
}

/// The calls of containerd's runc shim for one container, word for word.
#[test]
fn as_containerd_drives_it() {
    let mut c = Container::with_script("trap 'exit 3' TERM; echo up; while :; do sleep 0.05; done");
    c.write();
    let bundle = c.path().to_str().unwrap().to_owned();
    let log = format!("{bundle}/log.json");
    c.rt.global = ["--log", log.as_str(), "--log-format", "json"].iter().map(Into::into).collect();
    let pid_file = format!("{bundle}/init.pid");
    let ran = c.rt.call(&["create", "--bundle", &bundle, "--pid-file", &pid_file, &c.id]).ok();
    assert_eq!(ran.stdout, "");
    let pid: i32 = fs::read_to_string(&pid_file).unwrap().parse().unwrap();
    c.rt.call(&["start", &c.id]).ok();
    ran.wait_for("up");
    c.rt.call(&["kill", &c.id, "15"]).ok();
    wait_until("its end", || !Proc::new(pid).alive());
    // Without a private pid namespace it makes sure of the rest, after the end of init.
    let all = c.rt.call(&["kill", "--all", &c.id, "9"]);
    assert!(all.status.success() || all.stderr.contains("container not running"), "{all:#?}");
    let again = c.rt.call(&["kill", &c.id, "9"]);
    assert!(
        !again.status.success() && again.stderr.contains("container not running"),
        "{again:#?}"
    );
    c.rt.call(&["delete", &c.id]).ok();
    let gone = c.rt.call(&["delete", &c.id]);
    assert!(!gone.status.success() && gone.stderr.contains("does not exist"), "{gone:#?}");
    c.rt.call(&["delete", "--force", &c.id]).ok();
    c.rt.global.clear();
    c.assert_gone();
}

/// The calls of conmon and podman for one container.
#[test]
fn as_podman_drives_it() {
    let c = Container::with_script("echo up; exec sleep 600");
    c.write();
    let bundle = c.path().to_str().unwrap();
    let pid_file = c.pid_file();
    let ran =
        c.rt.call(&["create", "--bundle", bundle, "--pid-file", pid_file.to_str().unwrap(), &c.id])
            .ok();
    c.rt.call(&["start", &c.id]).ok();
    ran.wait_for("up");
    let state = c.rt.call(&["state", &c.id]).ok();
    assert!(state.stdout.contains("\"status\": \"running\""), "{}", state.stdout);
    c.rt.call(&["kill", &c.id, "KILL"]).ok();
    c.wait_status("stopped");
    c.rt.call(&["delete", "--force", &c.id]).ok();
    c.assert_gone();
}

/// The calls of BuildKit: a run in the foreground, then a delete of what may be gone already.
#[test]
fn as_buildkit_drives_it() {
    let mut c = Container::with_script("echo built; exit 4");
    c.write();
    let bundle = c.path().to_str().unwrap().to_owned();
    let log = format!("{bundle}/runc-log.json");
    c.rt.global = vec!["--log".into(), log.into(), "--log-format".into(), "json".into()];
    let ran = c.rt.call(&["run", "--bundle", &bundle, "--keep", &c.id]);
    assert_eq!((ran.code(), ran.stdout.as_str()), (Some(4), "built\n"), "{ran:#?}");
    c.rt.call(&["delete", &c.id]).ok();
    c.rt.global.clear();
    c.assert_gone();
}
