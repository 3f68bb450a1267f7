//! Containers of a user without privileges: nobody calls the runtime.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::support::rootless::{NOBODY, of_nobody, through};
use crate::support::*;

/// Leaves the test where nobody may make a user namespace.
macro_rules! need_user_namespaces {
    () => {
        if !unprivileged_user_namespaces() {
            skip!("unprivileged user namespaces are switched off");
        }
    };
}

#[test]
fn root_inside_is_nobody_outside() {
    need_user_namespaces!();
    let c = of_nobody("id -u; id -g; echo done; exec sleep 600");
    let ran = c.run_detached();
    assert_eq!(ran.wait_for("done"), "0\n0\ndone\n");
    let process = c.process();
    assert_eq!(process.status("Uid").split_whitespace().next(), Some("65534"));
    assert_eq!(process.status("Gid").split_whitespace().next(), Some("65534"));
    let words = |name: &str| -> Vec<String> {
        process.read(name).split_whitespace().map(str::to_owned).collect()
    };
    assert_eq!(words("uid_map"), ["0", "65534", "1"]);
    assert_eq!(words("gid_map"), ["0", "65534", "1"]);
    assert_eq!(words("setgroups"), ["deny"]);
    for kind in ["user", "mnt", "pid", "net", "ipc", "uts"] {
        assert_ne!(process.ns(kind), ns_link("self", kind), "{kind}");
    }
}

#[test]
fn the_life_of_a_rootless_container() {
    need_user_namespaces!();
    let c = of_nobody("echo up; exec sleep 600");
    let ran = c.create().ok();
    assert_eq!(c.status(), "created");
    c.start().ok();
    ran.wait_for("up");
    assert_eq!(c.status(), "running");
    let all: Vec<Value> =
        serde_json::from_str(&c.rt.call(&["list", "--format", "json"]).ok().stdout).unwrap();
    assert_eq!(all[0]["owner"], "nobody");
    c.delete().refused(&[&c.id]);
    c.kill("KILL").ok();
    c.wait_status("stopped");
    c.delete().ok();
    c.assert_gone();
}

#[test]
fn exit_status_and_output() {
    need_user_namespaces!();
    let c = of_nobody("echo out; echo err >&2; exit 7");
    let ran = c.run();
    assert_eq!((ran.code(), ran.stdout.as_str()), (Some(7), "out\n"), "{ran:#?}");
    assert_eq!(ran.stderr, "err\n");
}

#[test]
fn it_has_no_power_over_the_host() {
    need_user_namespaces!();
    let mut c = of_nobody(
        "cat /secret; echo cat=$?; echo x > /secret; echo write=$?; chown 1 /etc/passwd; echo chown=$?; mknod /tmp/d c 1 3; echo mknod=$?",
    );
    let secret = c.file("secret-of-root", "hidden\n");
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(c.rootfs().join("secret"), "").unwrap();
    c.mount("/secret", "bind", secret.to_str().unwrap(), &["bind"]);
    let ran = c.run().ok();
    assert!(!ran.stdout.contains("hidden"));
    for key in ["cat", "write", "chown", "mknod"] {
        assert_ne!(said(&ran.stdout, key), "0", "{key}: {ran:#?}");
    }
}

#[test]
fn devices_are_the_hosts_own() {
    need_user_namespaces!();
    let c = of_nobody(
        "echo x > /dev/null && head -c 3 /dev/zero | wc -c; stat -c %t:%T /dev/null /dev/urandom; ls -l /dev/fd | grep -c /proc/self/fd",
    );
    assert_eq!(c.output(), "3\n1:3\n1:9\n1\n");
}

/// podman without root runs its runtime as root of a user namespace, and asks for no other.
#[test]
fn root_of_a_user_namespace_runs_a_container_in_it() {
    need_user_namespaces!();
    let mut c = of_nobody(
        "echo x > /dev/null && head -c 3 /dev/zero | wc -c; stat -c %t:%T /dev/null /dev/tty; id -u; readlink /proc/self/ns/user",
    );
    c.without_namespace("user");
    c.remove("/linux/uidMappings").remove("/linux/gidMappings");
    // One id, so that setgroups(2) is denied: there is no newuidmap for who has no range.
    as_nobody(&mut c, "unshare --user --map-root-user --mount");
    let output = c.output();
    let lines: Vec<_> = output.lines().collect();
    assert_eq!(lines[..4], ["3", "1:3", "5:0", "0"], "{output}");
    assert_ne!(lines[4], ns_link("self", "user"));
}

/// Calls the runtime as nobody, through these words.
fn as_nobody(c: &mut Container, words: &str) {
    let setpriv =
        format!("setpriv --reuid={NOBODY} --regid={NOBODY} --clear-groups --inh-caps=-all");
    c.rt.through = setpriv.split(' ').chain(words.split(' ')).map(Into::into).collect();
}

/// Root of a user namespace has the right to join the pid namespace of a container, but not to come
/// back to its own, which is the machine's: neither for `exec` nor for a container that joins.
#[test]
fn root_of_a_user_namespace_joins_pid_namespaces() {
    need_user_namespaces!();
    let in_its_namespace = || {
        let mut c = of_nobody("exec sleep 600");
        c.without_namespace("user");
        c.remove("/linux/uidMappings").remove("/linux/gidMappings");
        c
    };
    let mut c = in_its_namespace();
    as_nobody(&mut c, "unshare --user --map-root-user --mount");
    c.run_detached();
    let init = c.process();
    let inside = format!("nsenter --user --preserve-credentials --target {}", init.pid);
    as_nobody(&mut c, &inside);
    assert_eq!(c.exec_sh("id -u; tr '\\0' ' ' </proc/1/cmdline"), "0\nsleep 600 ");
    let file = c.path().join("exec-pid");
    c.exec(&["--detach", "--pid-file", file.to_str().unwrap()], &["sleep", "601"]).ok();
    let process = Proc::new(fs::read_to_string(&file).unwrap().parse().unwrap());
    for kind in ["user", "pid", "mnt", "net", "ipc", "uts"] {
        assert_eq!(process.ns(kind), init.ns(kind), "{kind}");
    }
    assert_eq!(c.exec(&[], &["sh", "-c", "exit 7"]).code(), Some(7));

    let mut other = in_its_namespace();
    let path = format!("/proc/{}/ns/pid", init.pid);
    other.without_namespace("pid").namespace(json!({"type": "pid", "path": path}));
    as_nobody(&mut other, &format!("{inside} unshare --mount"));
    other.run_detached();
    assert_eq!(other.process().ns("pid"), init.ns("pid"));
    assert_ne!(other.process().ns("mnt"), init.ns("mnt"));
}

#[test]
fn read_only_root_and_masks() {
    need_user_namespaces!();
    let mut c = of_nobody(
        "touch /new; echo touch=$?; echo mask=$(cat /proc/version | wc -c); echo 1 > /proc/sys/kernel/hostname; echo sysctl=$?",
    );
    c.set("/root/readonly", json!(true));
    c.set("/linux/maskedPaths", json!(["/proc/version"]));
    c.set("/linux/readonlyPaths", json!(["/proc/sys"]));
    let output = c.output();
    assert_ne!(said(&output, "touch"), "0");
    assert_ne!(said(&output, "sysctl"), "0");
    assert_eq!(said(&output, "mask"), "0");
}

#[test]
fn capabilities_and_seccomp_hold() {
    need_user_namespaces!();
    let mut c = of_nobody("mkdir /tmp/d; echo mkdir=$?; exec sleep 600");
    c.capabilities(&["CAP_KILL"]);
    c.set(
        "/linux/seccomp",
        json!({"defaultAction": "SCMP_ACT_ALLOW",
               "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}]}),
    );
    let ran = c.run_detached();
    assert_eq!(said(&ran.wait_for("mkdir="), "mkdir"), "1");
    let process = c.process();
    for set in ["CapBnd", "CapEff", "CapPrm"] {
        assert_eq!(process.mask(set), 1 << 5, "{set}");
    }
    assert_eq!(process.status("Seccomp"), "2");
}

#[test]
fn a_limit_that_cannot_be_set_is_an_error() {
    need_user_namespaces!();
    if controller("memory").is_none() && controller("pids").is_none() {
        skip!("no controller to limit with");
    }
    let (pointer, word) = if controller("pids").is_some() {
        ("/linux/resources/pids", "cgroup")
    } else {
        ("/linux/resources/memory", "cgroup")
    };
    let mut c = of_nobody("true");
    c.set(pointer, json!({"limit": 100 << 20}));
    c.create().refused(&[word]);
    c.assert_gone();
}

/// A cgroup of his own, as an administrator gives it away (cgroups(7), "Delegation").
#[test]
fn a_delegated_cgroup_has_limits() {
    need_user_namespaces!();
    let Some((Version::V2, root)) = controller("memory") else {
        skip!("no memory controller on cgroup v2");
    };
    let mut c = of_nobody("mkdir /sys/fs/cgroup/below && echo made; exec sleep 600");
    let top = root.join(format!("{}-user", c.id));
    let session = top.join("session");
    fs::write(root.join("cgroup.subtree_control"), "+memory +pids").unwrap();
    fs::create_dir_all(&session).unwrap();
    let list = fs::read_to_string("/sys/kernel/cgroup/delegate").unwrap();
    for dir in [&top, &session] {
        let files = list.lines().map(|file| dir.join(file)).filter(|file| file.exists());
        for path in files.chain([dir.clone()]) {
            nix::unistd::chown(&path, Some(NOBODY.into()), None).unwrap();
        }
    }
    through(&mut c, &format!("echo $$ >{}", session.join("cgroup.procs").display()));
    let path = format!("/{0}-user/{0}", c.id);
    c.set("/linux/cgroupsPath", json!(path));
    c.set("/linux/resources", json!({"memory": {"limit": 32 << 20}, "pids": {"limit": 20}}));
    c.mount("/sys/fs/cgroup", "cgroup", "cgroup", &["nosuid", "nodev", "noexec"]);
    let ran = c.run_detached();
    let read = |file: &str| {
        let path = cgroup_file(c.process(), "memory", "", file);
        fs::read_to_string(path).unwrap().trim().to_owned()
    };
    assert!(c.process().read("cgroup").lines().any(|line| line == format!("0::{path}")));
    assert_eq!((read("memory.max"), read("pids.max")), ((32 << 20).to_string(), "20".to_owned()));
    // Root inside may divide it further, and not lift its limits.
    ran.wait_for("made");
    let moved = c.exec_sh("echo 0 >/sys/fs/cgroup/below/cgroup.procs && cat /proc/self/cgroup");
    assert_eq!(moved, "0::/below\n");
    c.exec(&[], &["sh", "-c", "echo max >/sys/fs/cgroup/pids.max"]);
    assert_eq!(read("pids.max"), "20");
    c.exec(&[], &["tail", "/dev/zero"]);
    assert!(read("memory.events").lines().any(|line| line == "oom_kill 1"));
    c.rt.call(&["update", "--pids-limit", "30", &c.id]).ok();
    assert_eq!(read("pids.max"), "30");
    c.rt.call(&["pause", &c.id]).ok();
    c.rt.call(&["resume", &c.id]).ok();
    c.delete_force().ok();
    for dir in [&session, &top] {
        wait_until("an empty cgroup", || fs::remove_dir(dir).is_ok());
    }
    through(&mut c, "");
    c.assert_gone();
}

#[test]
fn without_a_user_namespace_nobody_can_do_nothing() {
    let mut c = of_nobody("true");
    c.without_namespace("user");
    c.remove("/linux/uidMappings").remove("/linux/gidMappings");
    c.create().refused(&[]);
    c.assert_gone();
}

/// Ranges of /etc/subuid through newuidmap. The files are replaced in a private mount namespace: the
/// host's are never touched.
fn ranges(c: &mut Container) -> bool {
    if !["/etc/subuid", "/etc/subgid"].iter().all(|path| Path::new(path).is_file()) {
        return false;
    }
    let file = c.file("subids", "nobody:300000:65536\n");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let file = file.display();
    through(c, &format!("mount --bind {file} /etc/subuid; mount --bind {file} /etc/subgid"));
    let map = json!([
        {"containerID": 0, "hostID": NOBODY, "size": 1},
        {"containerID": 1, "hostID": 300_000, "size": 65535}
    ]);
    c.set("/linux/uidMappings", map.clone()).set("/linux/gidMappings", map);
    true
}

#[test]
fn many_ids_by_newuidmap() {
    need_user_namespaces!();
    let mut c =
        of_nobody("id; touch /tmp/f; chown 1000:1000 /tmp/f; echo chown=$?; exec sleep 600");
    c.capabilities(&["CAP_CHOWN"]);
    if !ranges(&mut c) {
        skip!("there is no /etc/subuid (package uidmap)");
    }
    let ran = c.run_detached();
    through(&mut c, "");
    let output = ran.wait_for("chown=");
    assert!(output.contains("uid=0(root) gid=0(root)"), "{output}");
    assert_eq!(said(&output, "chown"), "0");
    use std::os::unix::fs::MetadataExt;
    let meta = fs::metadata(c.rootfs().join("tmp/f")).unwrap();
    assert_eq!((meta.uid(), meta.gid()), (300_999, 300_999));
    let map = c.process().read("uid_map");
    let words: Vec<_> = map.split_whitespace().collect();
    assert_eq!(words, ["0", "65534", "1", "1", "300000", "65535"]);
}

#[test]
fn ids_that_are_not_allotted_are_refused() {
    need_user_namespaces!();
    let mut c = of_nobody("true");
    if !ranges(&mut c) {
        skip!("there is no /etc/subuid (package uidmap)");
    }
    let map = json!([
        {"containerID": 0, "hostID": NOBODY, "size": 1},
        {"containerID": 1, "hostID": 500_000, "size": 10}
    ]);
    c.set("/linux/uidMappings", map);
    c.create().refused(&["uid"]);
    through(&mut c, "");
    c.assert_gone();
}

#[test]
fn without_a_cgroup_the_commands_that_need_one_say_so() {
    need_user_namespaces!();
    let c = of_nobody("exec sleep 600");
    c.run_detached();
    let id = c.id.as_str();
    let why = &["the container has no cgroup"][..];
    for words in [
        &["ps", id][..],
        &["ps", "--format", "json", id],
        &["events", "--stats", id],
        &["events", id],
        &["update", "--pids-limit", "30", id],
        &["pause", id],
    ] {
        c.rt.call(words).refused(why);
    }
    c.rt.call(&["resume", id]).refused(&["not paused"]);
    assert_eq!(c.status(), "running");
}
