//! exec: a process in a container that is there already, by the kernel's word.

use std::fs;
use std::os::fd::AsRawFd;

use crate::support::*;

/// A container whose own process sleeps.
fn asleep() -> Container {
    let mut c = Container::new();
    c.args(&["sleep", "600"]);
    c
}

fn started(c: Container) -> Container {
    c.run_detached();
    c
}

/// A detached exec that sleeps: its process, as the host sees it.
#[track_caller]
fn sleeper(c: &Container, options: &[&str]) -> Proc {
    let file = c.path().join("exec-pid");
    let mut all = vec!["--detach", "--pid-file", file.to_str().unwrap()];
    all.extend(options);
    c.exec(&all, &["sleep", "601"]).ok();
    // No newline, no space: engines take it for a number as it is.
    Proc::new(fs::read_to_string(&file).unwrap().parse().unwrap())
}

#[test]
fn its_output_and_exit_status_are_passed_on() {
    let c = started(asleep());
    let ran = c.exec(&[], &["sh", "-c", "echo out; echo err >&2; exit 7"]);
    assert_eq!(ran.code(), Some(7));
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("out\n", "err\n"));
    assert_eq!(c.exec(&[], &["sh", "-c", "kill -9 $$"]).code(), Some(137));
    let mut command = c.rt.command(&["exec", &c.id, "cat"]);
    command.stdin(fs::File::open(c.file("in", "through stdin")).unwrap());
    assert_eq!(c.rt.spawn(command).wait().ok().stdout, "through stdin");
}

#[test]
fn it_is_in_every_namespace_of_the_container() {
    let mut c = asleep();
    c.map_users(100_000, 1000).namespace(json!({"type": "cgroup"}));
    c.namespace(json!({"type": "time"}));
    c.set("/linux/timeOffsets", json!({"boottime": {"secs": 1000}}));
    c.run_detached();
    let (init, process) = (c.process(), sleeper(&c, &[]));
    for kind in ["user", "pid", "mnt", "net", "ipc", "uts", "cgroup", "time"] {
        assert_eq!(process.ns(kind), init.ns(kind), "{kind}");
        assert_ne!(process.ns(kind), ns_link("self", kind), "{kind}");
    }
    assert_eq!(process.status("Uid"), "100000\t100000\t100000\t100000");
    assert_eq!(process.read("cgroup"), init.read("cgroup"));
    let own = fs::read_to_string("/proc/self/cgroup").unwrap();
    assert_ne!(process.read("cgroup"), own);
}

#[test]
fn it_is_in_the_cgroups_of_the_container_from_its_first_moment() {
    let c = started(asleep());
    let own: Vec<String> = c.process().read("cgroup").lines().map(str::to_owned).collect();
    let said = c.exec(&[], &["cat", "/proc/self/cgroup"]).ok().stdout;
    // With a cgroup namespace it sees itself at the root of each.
    assert_eq!(said.lines().count(), own.len());
    assert_eq!(sleeper(&c, &[]).read("cgroup").lines().collect::<Vec<_>>(), own);
}

#[test]
fn without_namespaces_of_its_own_it_is_where_init_is() {
    let mut c = asleep();
    for kind in ["pid", "network", "ipc", "uts", "mount", "cgroup"] {
        c.without_namespace(kind);
    }
    c.set("/mounts", json!([])).remove("/hostname");
    c.run_detached();
    let marker = c.rootfs().join("marker");
    fs::write(&marker, "in the rootfs").unwrap();
    assert_eq!(c.exec(&[], &["cat", "/marker"]).ok().stdout, "in the rootfs");
    assert_eq!(c.exec(&[], &["sh", "-c", "cd /..; pwd; ls -d marker"]).ok().stdout, "/\nmarker\n");
}

#[test]
fn a_created_container_takes_it_and_a_stopped_one_does_not() {
    let mut c = asleep();
    c.namespace(json!({"type": "time"}));
    c.create().ok();
    assert_eq!(c.exec_sh("echo early"), "early\n");
    assert_eq!(
        sleeper(&c, &[]).ns("time"),
        ns_link(&c.process().pid().to_string(), "time_for_children")
    );
    assert_eq!(c.status(), "created");
    c.start().ok();
    c.kill("KILL").ok();
    c.wait_status("stopped");
    c.exec(&[], &["true"]).not_started(&[&c.id, "stopped", "container not running"]);
    let unknown = c.rt.call(&["exec", "no-such-container", "true"]);
    unknown.not_started(&["no-such-container", "container does not exist"]);
}

#[test]
fn what_cannot_be_started_leaves_no_pid_file_and_no_process() {
    let mut c = asleep();
    c.set("/process/env", json!(["PATH=/bin"]));
    let c = started(c);
    fs::write(c.rootfs().join("plain"), "").unwrap();
    let file = c.path().join("exec-pid");
    for (command, cwd, words) in [
        ("no-such", "/", "exec: \"no-such\": executable file not found in $PATH"),
        ("/no/such", "/", "no such file or directory"),
        ("/plain", "/", "permission denied"),
        ("/bin", "/", "is a directory"),
        ("true", "/no-such-dir", "process.cwd"),
    ] {
        for detach in ["--detach", "--no-new-privs"] {
            let options = [detach, "--pid-file", file.to_str().unwrap(), "--cwd", cwd];
            c.exec(&options, &[command]).not_started(&[&c.id, words]);
            assert!(!file.exists(), "{command}");
        }
    }
    let file = c.path().join("no-such-dir/pid");
    c.exec(&["--pid-file", file.to_str().unwrap()], &["sleep", "602"])
        .not_started(&["--pid-file", "no such file or directory"]);
    let processes = c.exec(&[], &["ps"]).ok().stdout;
    assert_eq!(processes.matches("sleep").count(), 1, "{processes}");
}

#[test]
fn it_has_what_the_configuration_says_at_create() {
    let mut c = asleep();
    c.capabilities(&["CAP_KILL", "CAP_CHOWN"]);
    c.set("/process/user", json!({"uid": 7, "gid": 8, "additionalGids": [9], "umask": 0o27}));
    c.set("/process/env", json!(["PATH=/bin", "FROM=config"]));
    c.set("/process/cwd", json!("/tmp"));
    c.set("/process/noNewPrivileges", json!(true));
    c.set("/process/oomScoreAdj", json!(500));
    c.set("/process/rlimits", json!([{"type": "RLIMIT_NOFILE", "soft": 70, "hard": 80}]));
    c.set(
        "/linux/seccomp",
        json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 40}]}),
    );
    c.run_detached();
    // From now on the bundle may say what it likes.
    fs::write(c.path().join("config.json"), "{\"ociVersion\":\"1.0.0\"}").unwrap();
    let process = sleeper(&c, &[]);
    let init = c.process();
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(process.mask(set), init.mask(set), "{set}");
    }
    assert_eq!(process.mask("CapBnd"), 1 << 5 | 1);
    for field in ["Uid", "Gid", "Groups", "NoNewPrivs", "Seccomp", "Seccomp_filters", "Umask"] {
        assert_eq!(process.status(field), init.status(field), "{field}");
    }
    assert_eq!(process.status("Groups"), "9");
    assert_eq!(process.status("Umask"), "0027");
    assert_eq!(process.status("Seccomp"), "2");
    assert_eq!(process.limit("Max open files"), ("70".into(), "80".into()));
    assert_eq!(process.read("oom_score_adj"), "500\n");
    assert_eq!(c.exec_sh("pwd; echo $FROM"), "/tmp\nconfig\n");
    let ran = c.exec(&[], &["mkdir", "/tmp/x"]);
    assert!(ran.stderr.contains("Too many levels") || ran.stderr.contains("link"), "{ran:?}");
}

#[test]
fn a_process_file_says_the_rest() {
    let mut c = asleep();
    c.set("/process/rlimits", json!([{"type": "RLIMIT_NOFILE", "soft": 70, "hard": 80}]));
    c.set("/process/env", json!(["PATH=/bin", "FROM=config"]));
    c.capabilities(&["CAP_KILL"]);
    c.run_detached();
    let process = json!({
        "user": {"uid": 3, "gid": 4}, "cwd": "/tmp", "env": ["PATH=/bin", "FROM=file"],
        "args": ["sh", "-c", "id -u; id -g; pwd; echo $FROM; ulimit -n; grep CapBnd /proc/self/status"],
    });
    let file = c.file("process.json", &process.to_string());
    let ran = c.exec(&["--process", file.to_str().unwrap()], &[]).ok();
    assert_eq!(ran.stdout, "3\n4\n/tmp\nfile\n70\nCapBnd:\t0000000000000020\n");
    let own = json!({"user": {"uid": 0, "gid": 0}, "cwd": "/", "args": ["sh", "-c", "ulimit -n"],
        "env": ["PATH=/bin"], "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 60, "hard": 60}]});
    let file = c.file("own.json", &own.to_string());
    assert_eq!(c.exec(&["-p", file.to_str().unwrap()], &[]).ok().stdout, "60\n");
    let file = c.file("bad.json", "{\"cwd\": \"tmp\", \"args\": [\"x\"], \"user\": {}}");
    c.exec(&["-p", file.to_str().unwrap()], &[]).not_started(&["process.cwd", "\"tmp\""]);
    let file = c.file("broken.json", "{");
    c.exec(&["-p", file.to_str().unwrap()], &[]).not_started(&["broken.json"]);
    c.exec(&["-p", "/no/such/file"], &[]).not_started(&["/no/such/file"]);
    c.exec(&["-p", file.to_str().unwrap()], &["true"]).not_started(&["--process"]);
    c.exec(&[], &[]).not_started(&["no command"]);
}

#[test]
fn options_change_the_process() {
    let mut c = asleep();
    c.set("/process/user", json!({"uid": 0, "gid": 8, "additionalGids": [9]}));
    c.capabilities(&["CAP_KILL"]).set("/process/noNewPrivileges", json!(false));
    let c = started(c);
    let said = |options: &[&str], script: &str| c.exec(options, &["sh", "-c", script]).ok().stdout;
    assert_eq!(said(&["-u", "5"], "id -u; id -g"), "5\n8\n");
    assert_eq!(said(&["--user", "5:6", "-g", "10"], "id -u; id -g; id -G"), "5\n6\n6 9 10\n");
    assert_eq!(said(&["--cwd", "/tmp"], "pwd"), "/tmp\n");
    assert_eq!(said(&["-e", "A=1", "--env", "A=2", "-e", "B="], "echo $A-$B-"), "2--\n");
    let status = said(&["--cap", "CAP_CHOWN", "-c", "kill"], "cat /proc/self/status");
    for line in [
        "CapInh:\t0000000000000020",
        "CapPrm:\t0000000000000021",
        "CapEff:\t0000000000000021",
        "CapBnd:\t0000000000000021",
        "CapAmb:\t0000000000000020",
    ] {
        assert!(status.contains(line), "{line} in {status}");
    }
    assert!(said(&["--no-new-privs"], "cat /proc/self/status").contains("NoNewPrivs:\t1"));
    assert!(said(&[], "cat /proc/self/status").contains("NoNewPrivs:\t0"));
    c.exec(&["-u", "root"], &["true"]).not_started(&["--user", "\"root\""]);
    c.exec(&["-e", "A"], &["true"]).not_started(&["process.env", "\"A\""]);
    c.exec(&["--apparmor", "x"], &["true"]).not_started(&["process.apparmorProfile"]);
    c.exec(&["--process-label", "x"], &["true"]).not_started(&["process.selinuxLabel"]);
}

#[test]
fn home_is_that_of_the_user() {
    let c = started(asleep());
    fs::create_dir_all(c.rootfs().join("etc")).unwrap();
    fs::write(c.rootfs().join("etc/passwd"), "u:x:2000:2000::/home/u:/bin/sh\n").unwrap();
    let ran = c.exec(&["-u", "2000"], &["sh", "-c", "echo $HOME"]).ok();
    assert_eq!(ran.stdout, "/home/u\n");
}

// Proves: process.execCPUAffinity.{initial, final}
#[test]
fn processors_are_those_of_the_cgroup_or_those_asked_for() {
    let own = fs::read_to_string("/proc/self/status").unwrap();
    let own = own.lines().find_map(|l| l.strip_prefix("Cpus_allowed_list:\t")).unwrap().to_owned();
    if !own.contains(['-', ',']) {
        skip!("there is one CPU here");
    }
    let mut c = asleep();
    c.rt.through = ["taskset", "--cpu-list", "0"].iter().map(Into::into).collect();
    c.run_detached();
    let list = |c: &Container, options: &[&str]| {
        let script = "grep Cpus_allowed_list: /proc/self/status";
        c.exec(options, &["sh", "-c", script])
            .ok()
            .stdout
            .split_whitespace()
            .nth(1)
            .unwrap()
            .to_owned()
    };
    assert_eq!(list(&c, &[]), own);
    // Linux before 6.2 gives one that comes into a cpuset all that the set has.
    let cpuset = matches!(controller("cpuset"), Some((Version::V2, _)));
    let kept = if cpuset && !kernel_at_least(6, 2) { &own } else { "1" };
    for (affinity, expected) in [
        (json!({"initial": "1"}), kept),
        (json!({"initial": "0", "final": "1"}), "1"),
        (json!({"final": "0-1"}), "0-1"),
        // CPUs above those of `cpu_set_t`, which this machine has not.
        (json!({"initial": "0,1024,32767", "final": "1,5000"}), "1"),
    ] {
        let process = json!({"user": {"uid": 0, "gid": 0}, "cwd": "/", "env": ["PATH=/bin"],
            "args": ["grep", "Cpus_allowed_list:", "/proc/self/status"],
            "execCPUAffinity": affinity});
        let file = c.file("affine.json", &process.to_string());
        let said = c.exec(&["-p", file.to_str().unwrap()], &[]).ok().stdout;
        assert_eq!(said.split_whitespace().nth(1), Some(expected), "{affinity}");
    }
    for name in ["initial", "final"] {
        let process = json!({"user": {"uid": 0, "gid": 0}, "cwd": "/", "args": ["true"],
            "execCPUAffinity": {name: "32767"}});
        let file = c.file("affine.json", &process.to_string());
        let why = format!("process.execCPUAffinity.{name}: none of these CPUs is available");
        c.exec(&["-p", file.to_str().unwrap()], &[]).not_started(&[&why]);
    }
}

#[test]
fn only_the_descriptors_asked_for_are_handed_on() {
    let c = started(asleep());
    let file = c.file("kept", "kept");
    let open = fs::File::open(&file).unwrap();
    nix::fcntl::fcntl(&open, nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty())).unwrap();
    let list = |options: &[&str]| {
        let words = format!(
            "exec 3<{0} 4<{0} 5<{0}; exec {1} --root {2} exec {3} {4} sh -c 'echo /proc/self/fd/*'",
            file.display(),
            c.rt.binary.display(),
            c.rt.root.display(),
            options.join(" "),
            c.id
        );
        let ran = std::process::Command::new("sh").args(["-c", &words]).output().unwrap();
        String::from_utf8(ran.stdout).unwrap()
    };
    assert!(open.as_raw_fd() > 2);
    // The shell itself holds the directory that it lists, which has no name any more.
    let fds = |said: &str| {
        said.split_whitespace()
            .filter_map(|p| p.rsplit('/').next()?.parse().ok())
            .collect::<Vec<u32>>()
    };
    assert_eq!(fds(&list(&[])), [0, 1, 2, 3]);
    assert_eq!(fds(&list(&["--preserve-fds", "2"])), [0, 1, 2, 3, 4, 5]);
    c.exec(&["--preserve-fds", "9999"], &["true"]).not_started(&["--preserve-fds"]);
}

#[test]
fn it_has_the_session_keyring_of_the_container() {
    let c = started(asleep());
    // Root sees those of other containers, too.
    let own = format!("_ses.{}.", c.id);
    let ring = |text: &str| {
        let line = text.lines().find(|line| line.contains(&own)).map(str::to_owned);
        line.and_then(|line| line.split_whitespace().next().map(str::to_owned))
    };
    let first = ring(&c.exec(&[], &["cat", "/proc/keys"]).ok().stdout);
    let second = ring(&c.exec(&[], &["cat", "/proc/keys"]).ok().stdout);
    if first.is_none() {
        skip!("the kernel shows no keyrings");
    }
    assert_eq!(first, second);
}

#[test]
fn many_leave_nothing_behind() {
    let c = started(asleep());
    let init = c.process();
    let descriptors = || fs::read_dir(format!("/proc/{}/fd", init.pid())).unwrap().count();
    let before = descriptors();
    for number in 0..50 {
        let detach: &[&str] = if number % 2 == 0 { &["--detach"] } else { &[] };
        c.exec(detach, &["true"]).ok();
    }
    wait_for("the last process to go", || {
        (c.exec(&[], &["ps"]).ok().stdout.lines().count() == 3).then_some(())
    });
    assert_eq!(descriptors(), before);
}
