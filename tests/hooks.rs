//! Hooks: when each of the six kinds runs, where, with what, and what its failure does.

use std::fs;
use std::time::{Duration, Instant};

use crate::support::*;

const CREATE_TIME: [&str; 3] = ["prestart", "createRuntime", "createContainer"];

/// Adds a hook that is a shell script of the host. `$LOG` is the file `log` in the bundle.
fn hook(c: &mut Container, kind: &str, name: &str, script: &str) {
    let log = c.path().join("log");
    let path = c.script(&format!("hook-{name}"), &format!("LOG={}\n{script}", log.display()));
    c.push(
        &format!("/hooks/{kind}"),
        json!({"path": path, "args": [name], "env": ["PATH=/usr/bin:/bin"]}),
    );
}

/// Adds a startContainer hook: it is looked up and runs inside.
fn inner_hook(c: &mut Container, script: &str) {
    c.push(
        "/hooks/startContainer",
        json!({"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/bin"]}),
    );
}

fn log(c: &Container) -> Vec<String> {
    let text = fs::read_to_string(c.path().join("log")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

// Proves: hooks.{prestart, createRuntime, createContainer, startContainer, poststart, poststop},
// features.hooks
#[test]
fn each_kind_has_its_moment_and_its_place() {
    let mut c = Container::with_script("echo program >> /inner; exec sleep 600");
    for kind in ["prestart", "createRuntime", "createContainer", "poststart", "poststop"] {
        let script = format!(
            "echo {kind} $(readlink /proc/self/ns/mnt) $(readlink /proc/self/ns/pid) $(readlink /proc/self/ns/net) >> $LOG"
        );
        hook(&mut c, kind, kind, &script);
    }
    inner_hook(
        &mut c,
        "echo startContainer $(readlink /proc/self/ns/mnt) $(readlink /proc/self/ns/pid) $(readlink /proc/self/ns/net) >> /inner",
    );
    let names = |lines: &[String]| -> Vec<String> {
        lines.iter().map(|line| line.split(' ').next().unwrap().to_owned()).collect()
    };
    c.create().ok();
    assert_eq!(names(&log(&c)), CREATE_TIME);
    assert!(!c.rootfs().join("inner").exists(), "startContainer ran at create");
    let process = c.process();
    let host = ["mnt", "pid", "net"].map(|kind| ns_link("self", kind)).join(" ");
    let own = ["mnt", "pid", "net"].map(|kind| process.ns(kind)).join(" ");
    c.start().ok();
    assert_eq!(names(&log(&c))[3..], ["poststart"], "poststart is over when start returns");
    let inner = wait_for("the program", || {
        fs::read_to_string(c.rootfs().join("inner")).ok().filter(|text| text.contains("program"))
    });
    assert_eq!(inner, format!("startContainer {own}\nprogram\n"));
    c.kill("KILL").ok();
    c.wait_status("stopped");
    assert_eq!(log(&c).len(), 4);
    c.delete().ok();
    let lines = log(&c);
    assert_eq!(names(&lines)[4..], ["poststop"]);
    for line in &lines {
        let (kind, found) = line.split_once(' ').unwrap();
        let expected = if kind == "createContainer" { &own } else { &host };
        assert_eq!(found, expected, "{kind} ran in the wrong namespaces");
    }
}

// Proves: annotations, hooks:state, state.status=creating
#[test]
fn the_state_is_on_stdin() {
    let mut c = Container::with_script("exec sleep 600");
    c.set("/annotations", json!({"org.example": "x"}));
    for kind in ["prestart", "createRuntime", "createContainer", "poststart", "poststop"] {
        let file = c.path().join(format!("state-{kind}"));
        hook(&mut c, kind, kind, &format!("cat > {}", file.display()));
    }
    inner_hook(&mut c, "cat > /state-startContainer");
    c.create().ok();
    let pid = c.process().pid;
    c.start().ok();
    c.kill("KILL").ok();
    c.wait_status("stopped");
    c.delete().ok();
    for (kind, status) in [
        ("prestart", "creating"),
        ("createRuntime", "creating"),
        ("createContainer", "creating"),
        ("startContainer", "created"),
        ("poststart", "running"),
        ("poststop", "stopped"),
    ] {
        let dir = if kind == "startContainer" { c.rootfs() } else { c.path().to_owned() };
        let text = fs::read_to_string(dir.join(format!("state-{kind}"))).unwrap();
        let state: Value =
            serde_json::from_str(&text).unwrap_or_else(|e| panic!("{kind}: {e}: {text}"));
        assert_eq!(state["status"], status, "{kind}");
        assert_eq!(state["id"], json!(c.id), "{kind}");
        assert_eq!(state["bundle"], json!(fs::canonicalize(c.path()).unwrap()), "{kind}");
        assert_eq!(state["annotations"], json!({"org.example": "x"}), "{kind}");
        assert!(state["ociVersion"].is_string(), "{kind}");
        if ["prestart", "createRuntime", "poststart"].contains(&kind) {
            assert_eq!(state["pid"], json!(pid), "{kind}");
        }
    }
}

// Proves: hooks:order
#[test]
fn hooks_of_a_kind_run_in_the_order_listed() {
    let mut c = Container::new();
    for kind in ["prestart", "createRuntime", "createContainer", "poststart", "poststop"] {
        for number in 1..=3 {
            hook(&mut c, kind, &format!("{kind}{number}"), &format!("echo {kind}{number} >> $LOG"));
        }
    }
    c.run().ok();
    let expected: Vec<String> =
        ["prestart", "createRuntime", "createContainer", "poststart", "poststop"]
            .iter()
            .flat_map(|kind| (1..=3).map(move |number| format!("{kind}{number}")))
            .collect();
    assert_eq!(log(&c), expected);
}

#[test]
fn a_hook_gets_its_own_arguments_and_environment() {
    let mut c = Container::new();
    c.push("/process/env", json!("LD_PRELOAD=/evil.so"));
    let out = c.path().join("seen");
    let words = format!("tr '\\0' '|' < /proc/$$/cmdline > {0}; env >> {0}", out.display());
    c.push(
        "/hooks/createRuntime",
        json!({"path": "/bin/sh", "args": ["zero", "-c", words, "one", "two words"], "env": ["A=1", "PATH=/usr/bin:/bin"]}),
    );
    c.rt.through = ["env", "LEAK=caller"].iter().map(Into::into).collect();
    c.run().ok();
    c.rt.through.clear();
    let seen = fs::read_to_string(out).unwrap();
    assert!(seen.starts_with("zero|-c|"), "{seen}");
    assert!(seen.contains("|one|two words|"), "{seen}");
    assert!(seen.contains("A=1"), "{seen}");
    for leaked in ["LD_PRELOAD", "LEAK"] {
        assert!(!seen.contains(leaked), "{leaked}: {seen}");
    }
}

#[test]
fn a_hook_without_an_environment_gets_nothing_of_the_containers() {
    let mut c = Container::new();
    c.push("/process/env", json!("LD_PRELOAD=/evil.so"));
    let out = c.path().join("seen");
    c.push(
        "/hooks/createRuntime",
        json!({"path": "/bin/sh", "args": ["sh", "-c", format!("/usr/bin/env > {}", out.display())]}),
    );
    c.run().ok();
    assert!(!fs::read_to_string(out).unwrap().contains("LD_PRELOAD"));
}

/// Scripts look for these words.
#[test]
fn a_failing_hook_is_told_in_the_words_of_runc() {
    for kind in ["prestart", "createRuntime", "createContainer", "startContainer", "poststart"] {
        let mut c = Container::with_script("exec sleep 600");
        for path in ["/bin/true", "/bin/false"] {
            c.push(&format!("/hooks/{kind}"), json!({"path": path}));
        }
        c.run().refused(&[&format!("error running {kind} hook #1: \"/bin/false\": exit status 1")]);
    }
    let mut c = Container::new();
    let slow = json!({"path": "/bin/sleep", "args": ["sleep", "600"], "timeout": 1});
    c.push("/hooks/createRuntime", slow);
    c.run()
        .refused(&["error running createRuntime hook #0:", "ran past specified timeout of 1.0s"]);
}

/// How many processes of the machine have that word among their arguments.
fn with_argument(word: &str) -> usize {
    let processes = fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().path());
    let lines = processes.filter_map(|path| fs::read(path.join("cmdline")).ok());
    lines.filter(|line| line.split(|byte| *byte == 0).any(|arg| arg == word.as_bytes())).count()
}

// Evidence: hook-survivor (run)
/// In sessions of their own they are not in the hook's process group.
#[test]
fn what_a_hook_over_its_time_has_started_ends_with_it() {
    for kind in ["prestart", "createRuntime", "createContainer", "poststart"] {
        let mut c = Container::with_script("exec sleep 600");
        let held = c.file("held", "").display().to_string();
        // A child, one of its own, and an orphan before the time is over.
        let inner = c.script("inner", &format!("exec tail -f {held}"));
        let outer = c.script("outer", &format!("setsid {} &\ntail -f {held}", inner.display()));
        let script = format!("setsid {0} & (setsid {0} &); tail -f {held}", outer.display());
        hook(&mut c, kind, "slow", &script);
        // A second, and more on a machine that starts five processes more slowly.
        let time = (PATIENCE.as_secs() / 30).max(1);
        c.set(&format!("/hooks/{kind}/0/timeout"), json!(time));
        c.write();
        let running = c.rt.spawn(c.rt.command(&c.words("run", &[])));
        wait_until("all five are there", || with_argument(&held) == 5);
        running.wait().refused(&["timeout"]);
        assert_eq!(with_argument(&held), 0, "{kind}");
        c.assert_gone();
    }
}

/// One that is within its time may leave a daemon.
#[test]
fn what_a_hook_within_its_time_has_started_is_left_alone() {
    let mut c = Container::with_script("exec sleep 600");
    let held = c.file("held", "").display().to_string();
    hook(
        &mut c,
        "createRuntime",
        "daemon",
        &format!("setsid tail -f {held} >/dev/null 2>&1 & echo $! > $LOG"),
    );
    c.set("/hooks/createRuntime/0/timeout", json!(20));
    c.run_detached();
    wait_until("the daemon is there", || with_argument(&held) == 1);
    let daemon = nix::unistd::Pid::from_raw(log(&c)[0].parse().unwrap());
    nix::sys::signal::kill(daemon, nix::sys::signal::Signal::SIGKILL).unwrap();
}

/// It is a program of the image, like the container's own, and not one of the host.
#[test]
fn a_start_container_hook_without_an_environment_gets_the_processes() {
    let mut c = Container::with_script("exec sleep 600");
    c.set("/process/env", json!(["PATH=/bin", "ONE=two"]));
    let script = "echo $ONE $HOME > /inherited";
    c.push("/hooks/startContainer", json!({"path": "/bin/sh", "args": ["sh", "-c", script]}));
    inner_hook(&mut c, "echo ${ONE-none} > /given");
    c.run_detached();
    let read = |name: &str| fs::read_to_string(c.rootfs().join(name)).unwrap();
    assert_eq!(read("inherited"), "two /root\n");
    assert_eq!(read("given"), "none\n");
}

/// With no_new_privs as without it.
#[test]
fn start_container_hooks_run_under_the_filter() {
    for no_new_privileges in [true, false] {
        let mut c = Container::with_script("mkdir /by-program; exec sleep 600");
        c.set("/process/noNewPrivileges", json!(no_new_privileges));
        let rules = json!([{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}]);
        c.set("/linux/seccomp", json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules}));
        inner_hook(&mut c, "mkdir /by-hook; true");
        c.run_detached();
        assert!(!c.rootfs().join("by-hook").exists(), "no_new_privs {no_new_privileges}");
    }
}

/// Where runc starts them too.
#[test]
fn create_container_hooks_start_in_the_root_file_system() {
    let mut c = Container::with_script("exec sleep 600");
    let data = c.path().join("data");
    fs::create_dir_all(data.join("below")).unwrap();
    c.mount("/mnt", "bind", data.to_str().unwrap(), &["bind"]);
    let script = "echo $PWD $(ls -d mnt/below) >> $LOG; touch ./made";
    hook(&mut c, "createContainer", "createContainer", script);
    c.run_detached();
    assert_eq!(log(&c), [format!("{} mnt/below", c.rootfs().display())]);
    assert!(c.rootfs().join("made").exists());
}

// Proves: create:hook
#[test]
fn a_failing_hook_fails_create_and_stops_the_rest() {
    for kind in CREATE_TIME {
        let mut c = Container::with_script("echo ran > /ran");
        hook(&mut c, kind, "first", "echo first >> $LOG");
        hook(&mut c, kind, "second", "echo second >> $LOG; exit 3");
        hook(&mut c, kind, "third", "echo third >> $LOG");
        hook(&mut c, "poststart", "poststart", "echo poststart >> $LOG");
        hook(&mut c, "poststop", "poststop", "echo poststop >> $LOG");
        c.create().refused(&["hook"]);
        assert_eq!(log(&c), ["first", "second", "poststop"], "{kind}");
        c.assert_gone();
        c.state_call().refused(&["does not exist"]);
        c.run().refused(&["hook"]);
        assert!(!c.rootfs().join("ran").exists());
        c.assert_gone();
    }
}

// Proves: start:hook
#[test]
fn a_failing_start_hook_fails_start_and_destroys() {
    let mut c = Container::with_script("echo ran > /ran");
    inner_hook(&mut c, "exit 3");
    hook(&mut c, "poststop", "poststop", "echo poststop >> $LOG");
    c.create().ok();
    c.start().refused(&["hook"]);
    assert!(!c.rootfs().join("ran").exists(), "the program ran after its hook failed");
    let state = c.state_call();
    if state.status.success() {
        assert_eq!(c.status(), "stopped");
        c.delete_force().ok();
    }
    assert_eq!(log(&c), ["poststop"]);
    c.assert_gone();
}

// Proves: start:poststart
#[test]
fn a_failing_poststart_hook_fails_start_and_destroys() {
    let mut c = Container::with_script("exec sleep 600");
    hook(&mut c, "poststart", "poststart", "echo poststart >> $LOG; exit 3");
    hook(&mut c, "poststop", "poststop", "echo poststop >> $LOG");
    c.create().ok();
    let process = c.process();
    c.start().refused(&["hook"]);
    wait_until("the process is gone", || !process.alive());
    if c.state_call().status.success() {
        c.delete_force().ok();
    }
    assert_eq!(log(&c), ["poststart", "poststop"]);
    c.assert_gone();
}

// Proves: delete:hook
#[test]
fn a_failing_poststop_hook_is_a_warning() {
    let mut c = Container::with_script("exec sleep 600");
    hook(&mut c, "poststop", "first", "echo first >> $LOG; exit 3");
    hook(&mut c, "poststop", "second", "echo second >> $LOG");
    c.run_detached();
    c.kill("KILL").ok();
    c.wait_status("stopped");
    c.delete().ok();
    assert_eq!(log(&c), ["first", "second"]);
    c.assert_gone();
}

#[test]
fn a_hook_over_its_time_is_killed_and_fails() {
    let mut c = Container::new();
    let pid = c.path().join("hook.pid");
    hook(&mut c, "createRuntime", "slow", &format!("echo $$ > {}; exec sleep 600", pid.display()));
    c.set("/hooks/createRuntime/0/timeout", json!(1));
    let started = Instant::now();
    c.create().refused(&["hook"]);
    let took = started.elapsed();
    assert!(took >= Duration::from_millis(900) && took < 2 * *QUICK, "{took:?}");
    let pid = fs::read_to_string(pid).unwrap().trim().parse().unwrap();
    wait_until("the hook is killed", || !Proc::new(pid).alive());
    c.assert_gone();
}

#[test]
fn a_hook_within_its_time_is_left_alone() {
    let mut c = Container::new();
    hook(&mut c, "createRuntime", "quick", "sleep 0.2; echo over >> $LOG");
    c.set("/hooks/createRuntime/0/timeout", json!(20));
    c.run().ok();
    assert_eq!(log(&c), ["over"]);
}

#[test]
fn a_hook_that_is_missing_fails_create() {
    for kind in CREATE_TIME {
        let mut c = Container::new();
        c.push(&format!("/hooks/{kind}"), json!({"path": "/no/such/hook"}));
        c.create().refused(&["/no/such/hook"]);
        c.assert_gone();
    }
}

#[test]
fn a_hook_that_does_not_read_its_stdin_is_fine() {
    let mut c = Container::new();
    // More than a pipe holds.
    c.set("/annotations", json!({"big": "x".repeat(200_000)}));
    hook(&mut c, "createRuntime", "deaf", "exec <&-; echo fine >> $LOG");
    c.run().ok();
    assert_eq!(log(&c), ["fine"]);
}

#[test]
fn a_create_runtime_hook_can_reach_the_network_namespace() {
    // What network plugins do.
    let mut c = Container::with_script("ip -o link; exec sleep 600");
    hook(
        &mut c,
        "createRuntime",
        "net",
        "pid=$(sed -n 's/.*\"pid\": *\\([0-9]*\\).*/\\1/p'); nsenter -t $pid -n ip link add inside0 type dummy || echo failed >> $LOG",
    );
    let ran = c.run_detached();
    if log(&c) == ["failed"] {
        // No dummy device in this kernel: the loopback device will do.
        c.delete_force().ok();
        hook(
            &mut c,
            "createRuntime",
            "net2",
            "pid=$(sed -n 's/.*\"pid\": *\\([0-9]*\\).*/\\1/p'); nsenter -t $pid -n ip link set lo mtu 4321",
        );
        c.run_detached().wait_for("mtu 4321");
    } else {
        ran.wait_for("inside0");
    }
}

/// Hooks of every kind get their arguments and environment, whichever process of the runtime starts
/// them.
// Proves: hooks.{prestart, createRuntime, createContainer, startContainer, poststart,
// poststop}[].{path, args, env}
#[test]
fn each_kind_gets_its_arguments_and_its_environment() {
    const KINDS: [&str; 6] =
        ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];
    let mut c = Container::with_script("exec sleep 600");
    let place = |c: &Container, kind: &str| match kind {
        "startContainer" => c.rootfs().join("seen"),
        _ => c.path().join(format!("seen-{kind}")),
    };
    for kind in KINDS {
        let inside = kind == "startContainer";
        let seen = if inside { "/seen".into() } else { place(&c, kind) };
        let script = format!("{{ echo $0 $1; env; }} >{}", seen.display());
        let hook = json!({"path": "/bin/sh", "args": ["sh", "-c", script, "one", "two"],
            "env": [format!("OF={kind}"), "PATH=/usr/bin:/bin"]});
        c.push(&format!("/hooks/{kind}"), hook);
    }
    c.run_detached();
    c.delete_force().ok();
    for kind in KINDS {
        let seen = fs::read_to_string(place(&c, kind)).unwrap();
        let mut lines: Vec<&str> = seen.lines().collect();
        // What the shell itself adds.
        lines.retain(|line| {
            !["PWD=", "SHLVL=", "_=", "OLDPWD="].iter().any(|s| line.starts_with(s))
        });
        lines.sort_unstable();
        assert_eq!(lines, [&format!("OF={kind}"), "PATH=/usr/bin:/bin", "one two"], "{kind}");
    }
}

// Proves: hooks.{prestart, createRuntime, createContainer, startContainer, poststart,
// poststop}[].timeout
#[test]
fn each_kind_has_its_time_limit() {
    for kind in ["prestart", "createRuntime", "createContainer", "startContainer", "poststart"] {
        let mut c = Container::with_script("exec sleep 600");
        let hook = json!({"path": "/bin/sleep", "args": ["sleep", "600"], "timeout": 1});
        c.push(&format!("/hooks/{kind}"), hook);
        c.run().refused(&[kind, "timeout"]);
        c.assert_gone();
    }
    let mut c = Container::with_script("exec sleep 600");
    c.push(
        "/hooks/poststop",
        json!({"path": "/bin/sleep", "args": ["sleep", "600"], "timeout": 1}),
    );
    c.run_detached();
    let ran = c.delete_force().ok();
    assert!(ran.stderr.contains("poststop") && ran.stderr.contains("timeout"), "{ran:#?}");
}
