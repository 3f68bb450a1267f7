//! Checkpoint and restore: the requests to CRIU, by a program that records them in its place, and
//! containers that CRIU itself saves and restores.

use std::fs;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::annotations::Receiver;
use crate::support::{
    Container, Ran, Value, by_systemd, cgroup_mounts, controller, json, ns_link, skip, wait_for,
    wait_until,
};

/// What a program in the place of CRIU is told by its environment.
type Environment<'a> = &'a [(&'a str, &'a str)];

const DUMP: i64 = 1;
const RESTORE: i64 = 2;

/// A container that does nothing, with a program in the place of CRIU.
fn faked() -> Option<Container> {
    if !Path::new("/usr/bin/python3").exists() {
        return None;
    }
    let mut c = Container::new();
    c.args(&["/bin/sleep", "600"]);
    // The script makes the file executable; its text is that of the program.
    let program = c.script("bin/criu", "");
    fs::write(program, include_str!("criu/criu.py")).unwrap();
    Some(c)
}

fn call(c: &Container, words: &[&str], environment: Environment<'_>) -> Ran {
    let mut command = c.rt.command(words);
    let path = std::env::var("PATH").unwrap();
    command.env("PATH", format!("{}:{path}", c.path().join("bin").display()));
    // CRIU gets no variable of the caller but PATH.
    let mut settings = vec![("FAKE_RECORD", c.path().join("record").display().to_string())];
    settings.extend(environment.iter().map(|(name, value)| (*name, (*value).to_owned())));
    let settings: Value = settings.into_iter().collect();
    let beside = c.path().join("bin/settings");
    if beside.parent().is_some_and(Path::is_dir) {
        fs::write(beside, settings.to_string()).unwrap();
    }
    command.envs(environment.iter().copied());
    c.rt.spawn(command).wait()
}

fn restore(c: &Container, options: &[&str], environment: Environment<'_>) -> Ran {
    c.write();
    let pid_file = c.pid_file();
    let detached = ["--detach", "--pid-file", pid_file.to_str().unwrap()];
    let words = c.words("restore", &[&detached, options].concat());
    call(c, &words, environment)
}

/// Returns the recorded requests of a type.
fn requests(c: &Container, kind: i64) -> Vec<Value> {
    let text = fs::read_to_string(c.path().join("record")).unwrap_or_default();
    let all = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    all.filter(|request| request["type"] == kind).collect()
}

/// Saves a container, with which the program in the place of CRIU ends it.
fn images(c: &Container) -> PathBuf {
    c.run_detached();
    let images = c.path().join("images");
    call(c, &["checkpoint", "--image-path", images.to_str().unwrap(), &c.id], &[]).ok();
    c.assert_gone();
    images
}

#[test]
fn options_are_fields_of_the_request() {
    let Some(mut c) = faked() else { skip!("no python3, which takes the place of criu") };
    fs::create_dir_all(c.path().join("images/earlier")).unwrap();
    symlink("mnt", c.rootfs().join("link")).unwrap();
    c.mount("/link", "", "/etc", &["bind"]);
    c.set("/linux/maskedPaths", json!(["/etc/passwd", "/var", "/nowhere"]));
    let own = c.path().join("own.conf");
    fs::write(&own, "").unwrap();
    c.set("/annotations/org.criu.config", json!(own));
    c.run_detached();
    let words = "checkpoint --image-path images --work-path work --parent-path earlier \
        --leave-running --tcp-established --tcp-skip-in-flight --ext-unix-sk --shell-job --file-locks \
        --link-remap --auto-dedup --manage-cgroups-mode ignore --empty-ns network \
        --page-server [::1]:7 --network-lock nftables";
    let mut words: Vec<&str> = words.split_ascii_whitespace().collect();
    words.push(&c.id);
    call(&c, &words, &[]).ok();
    assert_eq!(c.status(), "running");
    let request = requests(&c, DUMP).pop().unwrap();
    let opts = &request["opts"];
    for field in ["3", "4", "5", "7", "8", "12", "15", "16", "18", "24", "46", "50"] {
        assert_eq!(opts[field], json!([1]), "{field}: {opts}");
    }
    let pid = c.state()["pid"].clone();
    for (field, value) in [
        ("2", pid),
        ("10", json!("dump.log")),
        ("11", json!({"1": ["::1"], "2": [7]})),
        ("13", json!(c.rootfs())),
        ("14", json!("earlier")),
        ("34", json!(0)),
        ("38", json!(0x4000_0000)),
        ("51", json!(own)),
        ("64", json!(2)),
    ] {
        assert_eq!(opts[field], json!([value]), "{field}: {opts}");
    }
    let mount = |key: &str, value: &str| json!({"1": [key], "2": [value]});
    assert_eq!(opts["23"], json!([mount("/mnt", "/mnt"), mount("/etc/passwd", "/dev/null")]));
    let freezer = opts["44"][0].as_str().unwrap();
    assert!(freezer.contains(&c.id), "{freezer}");
    let saved = fs::read_to_string(c.path().join("images/descriptors.json")).unwrap();
    let saved: Vec<String> = serde_json::from_str(&saved).unwrap();
    assert_eq!(saved[0], "/dev/null");
    assert!(saved[1].ends_with(".out") && saved[2].ends_with(".err"), "{saved:?}");
    assert!(c.path().join("work/dump.log").exists());
}

#[test]
fn joined_namespaces_stay_outside() {
    let Some(mut c) = faked() else { skip!("no python3, which takes the place of criu") };
    let mut other = Container::beside(&c);
    other.args(&["/bin/sleep", "600"]);
    other.run_detached();
    let joined = |kind: &str| format!("/proc/{}/ns/{kind}", other.process().pid());
    c.namespace(json!({"type": "network", "path": joined("net")}));
    c.namespace(json!({"type": "ipc", "path": joined("ipc")}));
    let images = images(&c);
    let link = ns_link(&other.process().pid().to_string(), "net");
    let inode = link.trim_start_matches("net:");
    let dumped = requests(&c, DUMP).pop().unwrap();
    assert_eq!(dumped["opts"]["37"], json!([format!("net{inode}:extRootNetNS")]));
    restore(&c, &["--image-path", images.to_str().unwrap()], &[]).ok();
    let restored = requests(&c, RESTORE).pop().unwrap();
    let opts = &restored["opts"];
    assert_eq!(opts["27"][0]["1"], json!(["extRootNetNS"]), "{opts}");
    assert_eq!(opts["39"], json!([{"1": ["ipc"], "2": [joined("ipc")]}]));
}

#[test]
fn a_failed_dump_is_explained_and_the_container_runs_on() {
    let Some(c) = faked() else { skip!("no python3, which takes the place of criu") };
    c.run_detached();
    let images = c.path().join("images");
    let words = ["checkpoint", "--image-path", images.to_str().unwrap(), &c.id];
    call(&c, &words, &[("FAKE_FAIL", "1")]).refused(&[
        "criu: dump failed: Error (criu/fake.c:1): it was asked to fail",
        "images/dump.log",
    ]);
    assert_eq!(c.status(), "running");
}

// Evidence: external-mount (checkpoint)
#[test]
fn what_cannot_be_saved_is_refused() {
    let Some(mut c) = faked() else { skip!("no python3, which takes the place of criu") };
    c.create().ok();
    call(&c, &["checkpoint", &c.id], &[]).refused(&["only a running container"]);
    c.start().ok();
    for (options, words) in [
        (&["--parent-path", "/p"][..], &["--parent-path", "relative"][..]),
        (&["--parent-path", "../none"], &["--parent-path", "no such file"]),
        (&["--page-server", "host"], &["--page-server", "ADDRESS:PORT"]),
        (&["--status-fd", "77"], &["--status-fd", "not an open descriptor"]),
        (&["--lazy-pages"], &["--lazy-pages", "do not support"]),
    ] {
        let words_of = [&["checkpoint"], options, &[c.id.as_str()]].concat();
        call(&c, &words_of, &[]).refused(words);
    }
    call(&c, &["checkpoint", &c.id], &[("FAKE_VERSION", "3.15")]).refused(&["criu", "3.16"]);
    let lock = ["checkpoint", "--network-lock", "skip", &c.id];
    call(&c, &lock, &[("FAKE_VERSION", "3.18")]).refused(&["--network-lock", "3.19"]);
    call(&c, &["checkpoint", &c.id], &[("PATH", "/nowhere")]).refused(&["\"criu\"", "$PATH"]);
    assert!(requests(&c, DUMP).is_empty());
    assert_eq!(c.status(), "running");
    c.kill("KILL").ok();
    c.wait_status("stopped");
    call(&c, &["checkpoint", &c.id], &[]).refused(&["container not running"]);
    c.delete().ok();
    c.mount("/tmp/a]:b", "", "/etc", &["bind"]);
    c.run_detached();
    call(&c, &["checkpoint", &c.id], &[]).refused(&["mounts[6].destination", "]:"]);
}

#[test]
fn the_restored_process_is_the_containers() {
    let Some(mut c) = faked() else { skip!("no python3, which takes the place of criu") };
    let log = c.path().join("hooks");
    for kind in ["prestart", "createRuntime", "createContainer", "startContainer", "poststart"] {
        let hook = c.script(kind, &format!("cat >/dev/null; echo {kind} >>{}", log.display()));
        c.push(&format!("/hooks/{kind}"), json!({"path": hook}));
    }
    c.set("/hooks/createContainer", json!([])).set("/hooks/startContainer", json!([]));
    c.mount("/new/etc", "", "/etc", &["bind"]);
    c.mount("/new/etc/hostname", "", "/etc/passwd", &["bind"]);
    let link = c.path().join("link");
    symlink("/etc/passwd", &link).unwrap();
    c.mount("/linked", "", link.to_str().unwrap(), &["bind"]);
    let images = images(&c);
    fs::remove_dir_all(c.rootfs().join("new")).unwrap();
    fs::remove_file(&log).unwrap();
    let images = images.to_str().unwrap();
    let options = ["--image-path", images, "--work-path", "work", "--lsm-profile", "apparmor:x"];
    let receiver = Receiver::new(&c, "receiver");
    c.set("/annotations", json!({"run.oci.pidfd_receiver": receiver.path()}));
    restore(&c, &options, &[]).ok();
    assert_eq!(c.status(), "running");
    let (_, files) = receiver.received();
    assert!(files[0].1.contains(&format!("Pid:\t{}\n", c.process().pid)), "{files:?}");
    let pid = fs::read_to_string(c.pid_file()).unwrap();
    assert_eq!(pid, c.state()["pid"].to_string());
    assert_eq!(fs::read_to_string(&log).unwrap(), "prestart\ncreateRuntime\n");
    assert!(c.rootfs().join("new/etc").is_dir());
    let request = requests(&c, RESTORE).pop().unwrap();
    let opts = &request["opts"];
    for field in ["6", "26", "50"] {
        assert_eq!(opts[field], json!([1]), "{field}: {opts}");
    }
    assert_eq!(opts["53"], json!(["apparmor:x"]));
    let mount = |key: &str, value: &str| json!({"1": [key], "2": [value]});
    // CRIU does not follow a link to the source.
    let expected = [
        mount("/new/etc", "/etc"),
        mount("/new/etc/hostname", "/etc/passwd"),
        mount("/linked", "/etc/passwd"),
    ];
    assert_eq!(opts["23"], json!(expected));
    // The root is mounted for CRIU only, and CRIU is in the cgroup of the container.
    let root = opts["13"][0].as_str().unwrap();
    assert!(request["mounts"].as_array().unwrap().contains(&json!(root)), "{request}");
    assert!(!fs::read_to_string("/proc/self/mountinfo").unwrap().contains(root));
    let own = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    assert_eq!(request["cgroup"], json!(own));
    assert!(own.contains(&c.id), "{own}");
    c.kill("KILL").ok();
    c.wait_status("stopped");
    c.delete().ok();
    c.assert_gone();
}

#[test]
fn a_failed_restore_leaves_nothing() {
    let Some(mut c) = faked() else { skip!("no python3, which takes the place of criu") };
    let images = images(&c);
    let images = ["--image-path", images.to_str().unwrap()];
    restore(&c, &images, &[("FAKE_FAIL", "2")])
        .refused(&["criu: restore failed: Error (criu/fake"]);
    c.assert_gone();
    restore(&c, &["--image-path", "nowhere"], &[]).refused(&["--image-path", "nowhere"]);
    restore(&c, &images, &[("FAKE_VERSION", "3.1")]).refused(&["3.16"]);
    restore(&c, &images, &[("NOTIFY_SOCKET", "/run/notify")])
        .refused(&["restore with NOTIFY_SOCKET"]);
    restore(&c, &images, &[("FAKE_NAMESPACES", "none")])
        .refused(&["linux.namespaces", "does not have it"]);
    c.assert_gone();
    c.set("/annotations", json!({"org.criu.config": "/no/such/file"}));
    restore(&c, &images, &[]).refused(&["org.criu.config", "/no/such/file"]);
    c.set("/annotations", json!({"org.criu.config": ""}));
    let rules = json!([{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}]);
    let filter = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules,
        "listenerPath": "/run/agent"});
    for (field, value) in [("netDevices", json!({"eth0": {}})), ("seccomp", filter)] {
        let pointer = format!("/linux/{field}");
        c.set(&pointer, value);
        restore(&c, &images, &[]).refused(&[&format!("restore with linux.{field}")]);
        c.remove(&pointer);
    }
    c.assert_gone();
    let poststop = c.path().join("poststop-ran");
    let fails = c.script("fails", "echo no; exit 3");
    let notes = c.script("notes", &format!("cat >{}", poststop.display()));
    c.push("/hooks/createRuntime", json!({"path": fails}));
    c.push("/hooks/poststop", json!({"path": notes}));
    restore(&c, &images, &[]).refused(&["createRuntime", "exit status 3: no"]);
    assert!(fs::read_to_string(poststop).unwrap().contains("\"stopped\""));
    c.assert_gone();
}

#[test]
fn the_root_user_of_a_container_can_open_the_images() {
    let Some(mut c) = faked() else { skip!("no python3, which takes the place of criu") };
    c.map_users(100_000, 65_536);
    c.run_detached();
    let access = |name: &str| {
        let images = c.path().join(name);
        let words = ["checkpoint", "--leave-running", "--image-path", images.to_str().unwrap()];
        call(&c, &[&words[..], &[&c.id]].concat(), &[]).ok();
        let found = fs::metadata(images).unwrap();
        (found.gid(), found.mode() & 0o7777)
    };
    assert_eq!(access("new"), (100_000, 0o710));
    fs::DirBuilder::new().mode(0o700).create(c.path().join("old")).unwrap();
    assert_eq!(access("old"), (0, 0o700));
}

#[test]
fn modes_of_cgroups_at_a_restore() {
    let Some(mut c) = faked() else { skip!("no python3, which takes the place of criu") };
    let images = images(&c);
    let images = ["--image-path", images.to_str().unwrap()];
    for (mode, sent) in [("ignore", 0), ("soft", 3), ("full", 4), ("strict", 4)] {
        restore(&c, &[&images[..], &["--manage-cgroups-mode", mode]].concat(), &[]).ok();
        let request = requests(&c, RESTORE).pop().unwrap();
        assert_eq!(request["opts"]["34"], json!([sent]), "{mode}");
        let pid = c.process().pid.to_string();
        assert_ne!(ns_link(&pid, "cgroup"), ns_link("self", "cgroup"), "{mode}");
        c.kill("KILL").ok();
        c.wait_status("stopped");
        c.delete().ok();
    }
    if by_systemd() {
        // Systemd makes the cgroup.
        return;
    }
    let (dir, limit) = match controller("pids") {
        Some((_, point)) => (c.cgroup(&point), true),
        None => (c.cgroup(&cgroup_mounts()[0].0), false),
    };
    fs::create_dir(&dir).unwrap();
    if limit {
        fs::write(dir.join("pids.max"), "77").unwrap();
        c.set("/linux/resources/pids", json!({"limit": 55}));
        c.write();
    }
    let strict = [&images[..], &["--manage-cgroups-mode", "strict"]].concat();
    restore(&c, &strict, &[]).refused(&["--manage-cgroups-mode strict", "exists already"]);
    if limit {
        assert_eq!(fs::read_to_string(dir.join("pids.max")).unwrap(), "77\n");
    }
    fs::remove_dir(&dir).unwrap();
    c.assert_gone();
}

#[test]
fn help_is_how_engines_find_out() {
    let c = Container::new();
    for command in ["checkpoint", "restore"] {
        let ran = c.rt.call(&[command, "--help"]).ok();
        assert!(ran.stdout.contains("--image-path") && ran.stderr.is_empty(), "{ran:#?}");
    }
}

/// A container that counts, in memory and in a file of its root file system.
fn counter() -> Container {
    let mut c = Container::new();
    c.sh("exec >/dev/null 2>&1; i=0; while :; do i=$((i+1)); echo $i >>/count; sleep 0.1; done");
    c
}

fn count(c: &Container) -> u64 {
    let read = || {
        let text = fs::read_to_string(c.rootfs().join("count")).ok()?;
        text.lines().last()?.parse().ok()
    };
    wait_for("a count", read)
}

/// Returns why CRIU cannot work on this machine.
fn lacks_criu() -> Option<String> {
    let checked = match Command::new("criu").arg("check").output() {
        Ok(output) => output,
        Err(_) => return Some("no criu".to_owned()),
    };
    let text = String::from_utf8_lossy(&checked.stderr).into_owned();
    let last = text.lines().last().unwrap_or_default().to_owned();
    (!checked.status.success()).then(|| format!("criu check: {last}"))
}

#[test]
fn a_restored_container_goes_on() {
    if let Some(why) = lacks_criu() {
        skip!("{why}");
    }
    let mut c = counter();
    c.mount("/mnt", "", "/etc", &["bind", "ro"]);
    c.mount("/sys/fs/cgroup", "cgroup", "cgroup", &["nosuid", "noexec", "nodev", "ro"]);
    c.set("/linux/maskedPaths", json!(["/proc/kcore", "/proc/acpi", "/sys/firmware"]));
    c.set("/linux/readonlyPaths", json!(["/proc/sys"]));
    c.set("/process/rlimits", json!([{"type": "RLIMIT_NOFILE", "soft": 77, "hard": 99}]));
    c.run_detached();
    let images = c.path().join("images");
    let images = ["--image-path", images.to_str().unwrap()];
    for _ in 0..2 {
        let before = count(&c);
        let inside = c
            .exec_sh("hostname; cat /mnt/hostname; cat /proc/kcore; cat /proc/1/mountinfo | wc -l");
        call(&c, &[&["checkpoint"], &images[..], &[c.id.as_str()]].concat(), &[]).ok();
        c.assert_gone();
        let stopped = count(&c);
        restore(&c, &images, &[]).ok();
        assert_eq!(c.status(), "running");
        wait_until("the count goes on", || count(&c) > stopped && stopped >= before);
        let again = c
            .exec_sh("hostname; cat /mnt/hostname; cat /proc/kcore; cat /proc/1/mountinfo | wc -l");
        assert_eq!(inside, again);
        assert!(c.process().read("limits").contains("99"));
        assert!(c.process().read("cgroup").contains(&c.id));
    }
    // The processes of an exec have the clocks of the container.
    let own = c.exec_sh("readlink /proc/self/ns/time");
    assert_eq!(own.trim(), ns_link(&c.process().pid().to_string(), "time"));
    c.kill("KILL").ok();
    c.wait_status("stopped");
    c.delete().ok();
}

#[test]
fn a_saved_container_can_run_on_and_be_paused() {
    if let Some(why) = lacks_criu() {
        skip!("{why}");
    }
    let c = counter();
    c.run_detached();
    let first = c.path().join("first");
    let words = ["checkpoint", "--pre-dump", "--image-path", first.to_str().unwrap(), &c.id];
    let ran = call(&c, &words, &[]);
    // CRIU tracks memory by the soft-dirty bit of a page, which arm64 lacks.
    let tracked = cfg!(target_arch = "x86_64") || ran.status.success();
    let parent = if tracked { &["--parent-path", "../first"][..] } else { &[] };
    if tracked {
        ran.ok();
    } else {
        ran.refused(&["--pre-dump: memory tracking"]);
    }
    let images = c.path().join("images");
    let images = ["--image-path", images.to_str().unwrap()];
    let more = [parent, &["--leave-running", c.id.as_str()]].concat();
    call(&c, &[&["checkpoint"], &images[..], &more[..]].concat(), &[]).ok();
    assert_eq!(c.path().join("images/parent").exists(), tracked);
    let before = count(&c);
    wait_until("the count goes on", || count(&c) > before);
    c.rt.call(&["pause", &c.id]).ok();
    call(&c, &[&["checkpoint"], &images[..], &more[..]].concat(), &[]).ok();
    assert_eq!(c.status(), "paused");
    c.rt.call(&["resume", &c.id]).ok();
    c.kill("KILL").ok();
    c.wait_status("stopped");
    c.delete().ok();
    restore(&c, &images, &[]).ok();
    let before = count(&c);
    wait_until("the count goes on", || count(&c) > before);
}
