//! Configurations that try to reach further than a container's own: cgroups, devices, values that
//! carry a second one. CVE-2021-43784, CVE-2022-0811, CVE-2023-25809, CVE-2024-3154. What is
//! merely wrong is in `badinput`; here every refusal is timed, and nothing may be left.

use std::fs;
use std::os::unix::fs::{FileTypeExt, symlink};
use std::path::Path;
use std::time::Instant;

use crate::hostile_support::{Canary, SECRET, one_line, plant};
use crate::support::{Container, QUICK, Value, for_each_row, json, said};

/// An edit of a good configuration, and what the error names.
type Row = (&'static str, fn() -> Value, &'static [&'static str]);

/// Every row is refused with one line that names its words, soon, and leaves nothing behind.
fn refused(rows: &[Row]) {
    for_each_row(rows, |(pointer, value, words)| {
        let mut container = Container::with_script("echo started");
        container.set(pointer, value());
        let asked = Instant::now();
        let ran = container.run();
        assert!(asked.elapsed() < *QUICK, "{pointer}: {ran:#?}");
        assert_eq!(ran.stdout, "", "{pointer} = {}", value());
        one_line(&ran, words);
        container.assert_gone();
    });
}

// Proves: linux.cgroupsPath:invalid
#[test]
fn cgroup_paths_stay_below_their_root() {
    refused(&[
        ("/linux/cgroupsPath", || json!("/"), &["linux.cgroupsPath", "\"/\""]),
        ("/linux/cgroupsPath", || json!("//."), &["linux.cgroupsPath"]),
        ("/linux/cgroupsPath", || json!(".."), &["linux.cgroupsPath", ".."]),
        ("/linux/cgroupsPath", || json!("../../x"), &["linux.cgroupsPath", "../../x"]),
        ("/linux/cgroupsPath", || json!("/a/../../etc"), &["linux.cgroupsPath", "/a/../../etc"]),
        ("/linux/cgroupsPath", || json!("/a\nb"), &["linux.cgroupsPath"]),
        ("/linux/cgroupsPath", || json!("/a\tb"), &["linux.cgroupsPath"]),
    ]);
}

#[test]
fn cgroup_values_carry_nothing_else() {
    refused(&[
        (
            "/linux/resources/unified",
            || json!({"memory.max\n": "1"}),
            &["linux.resources.unified", "memory.max"],
        ),
        ("/linux/resources/unified", || json!({"..": "1"}), &["linux.resources.unified", ".."]),
        ("/linux/resources/unified", || json!({"": "1"}), &["linux.resources.unified"]),
        (
            "/linux/resources/unified",
            || json!({"/etc/passwd": "1"}),
            &["linux.resources.unified", "/etc/passwd"],
        ),
        ("/linux/resources/cpu", || json!({"cpus": "0\n1"}), &["linux.resources.cpu.cpus"]),
        ("/linux/resources/cpu", || json!({"cpus": "0,+1"}), &["linux.resources.cpu.cpus", "+1"]),
        ("/linux/resources/cpu", || json!({"mems": "0-"}), &["linux.resources.cpu.mems", "0-"]),
        (
            "/linux/resources/hugepageLimits",
            || json!([{"pageSize": "2MB/../../x", "limit": 1}]),
            &["hugepageLimits", "2MB/../../x"],
        ),
        (
            "/linux/resources/rdma",
            || json!({"mlx\nx": {"hcaHandles": 1}}),
            &["linux.resources.rdma", "mlx"],
        ),
        (
            "/linux/resources/network",
            || json!({"priorities": [{"name": "lo 5\nlo", "priority": 1}]}),
            &["linux.resources.network", "lo 5"],
        ),
        ("/linux/resources/memory", || json!({"limit": -2}), &["memory.limit", "-2"]),
        ("/linux/resources/pids", || json!({"limit": -2}), &["pids.limit", "-2"]),
    ]);
}

#[test]
fn what_is_in_the_place_of_a_namespace_is_not_waited_for() {
    let container = Container::new();
    let fifo = container.path().join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let loops = container.path().join("loop");
    symlink("loop", &loops).unwrap();
    drop(std::os::unix::net::UnixListener::bind(container.path().join("socket")).unwrap());
    let here = container.path().to_str().unwrap();
    let mut paths: Vec<String> =
        ["fifo", "loop", "socket", ""].iter().map(|name| format!("{here}/{name}")).collect();
    paths.extend(["/dev/zero", "/dev/tty", "/proc/self/mem", "/proc/self/ns"].map(Into::into));
    for kind in ["network", "pid", "user", "mount", "ipc", "uts", "cgroup", "time"] {
        for path in &paths {
            let mut container = Container::new();
            container.namespace(json!({"type": kind, "path": path}));
            let asked = Instant::now();
            let ran = container.run();
            assert!(asked.elapsed() < *QUICK, "{kind} {path}: {ran:#?}");
            one_line(&ran, &["linux.namespaces", kind, path]);
            container.assert_gone();
        }
    }
    // A namespace, of another type.
    for (kind, file) in [("network", "uts"), ("mount", "pid"), ("user", "net"), ("pid", "user")] {
        let mut container = Container::new();
        let path = format!("/proc/self/ns/{file}");
        container.namespace(json!({"type": kind, "path": path}));
        one_line(&container.run(), &["linux.namespaces", kind, &path, "another type"]);
    }
}

// Evidence: devices-open (run)
#[test]
fn devices_start_from_deny_all() {
    for resources in [json!(null), json!({})] {
        let mut container = Container::with_script(
            "try() { if (: < $1) 2>/dev/null; then echo $2=open; else echo $2=denied; fi; }
             for node in 'b 8 0 disk' 'c 1 1 mem' 'c 1 11 kmsg' 'c 10 229 fuse' 'b 7 0 loop'; do
                 set -- $node; mknod /tmp/$4 $1 $2 $3 && try /tmp/$4 $4
             done
             try /dev/null null",
        );
        container.set("/linux/resources", resources);
        let output = container.output();
        for name in ["disk", "mem", "kmsg", "fuse", "loop"] {
            assert_eq!(said(&output, name), "denied", "{output}");
        }
        assert_eq!(said(&output, "null"), "open", "{output}");
    }
}

// Evidence: CVE-2023-25809 (run)
#[test]
fn the_cgroup_tree_of_the_host_is_read_only_in_a_user_namespace() {
    let mut container = Container::with_script(
        "find /sys/fs/cgroup -name cgroup.procs | while read file; do
             mkdir ${file%/*}/evil 2>/dev/null && echo made=$file
             (echo 1 > $file) 2>/dev/null && echo written=$file
         done
         awk '$3 ~ /cgroup/ { print \"mount=\" $4 }' /proc/mounts; echo done=yes",
    );
    container.map_users(100_000, 65_536).without_namespace("cgroup").mount(
        "/sys/fs/cgroup",
        "cgroup",
        "cgroup",
        &["rw"],
    );
    std::os::unix::fs::chown(container.rootfs(), Some(100_000), Some(100_000)).unwrap();
    let output = container.output();
    assert!(!output.contains("made=") && !output.contains("written="), "{output}");
    let mounts = output.lines().filter_map(|line| line.strip_prefix("mount="));
    let mounts: Vec<&str> = mounts.collect();
    assert!(!mounts.is_empty(), "{output}");
    assert!(mounts.iter().all(|options| options.split(',').any(|word| word == "ro")), "{output}");
    assert_eq!(said(&output, "done"), "yes");
}

#[test]
fn a_container_sees_no_cgroup_but_its_own() {
    for namespace in [true, false] {
        let mut container = Container::with_script("find /sys/fs/cgroup -type d; echo done=yes");
        container.mount("/sys/fs/cgroup", "cgroup", "cgroup", &["ro"]);
        if !namespace {
            container.without_namespace("cgroup");
        }
        let output = container.output();
        assert_eq!(said(&output, "done"), "yes");
        // The mount, and on v1 one directory a hierarchy: none of other containers or of the host.
        let beside_v1 = crate::support::cgroup_mounts().iter().any(|(_, names)| !names.is_empty());
        let deepest = output.lines().map(|line| line.matches('/').count()).max();
        assert_eq!(deepest, Some(if beside_v1 { 4 } else { 3 }), "{output}");
    }
}

// Evidence: CVE-2021-43784 (run)
#[test]
fn many_mappings_are_refused_not_cut() {
    for count in [341_u32, 70_000] {
        let list: Vec<Value> = (0..count)
            .map(|n| json!({"containerID": n, "hostID": 100_000 + n, "size": 1}))
            .collect();
        let mut container = Container::new();
        container.map_users(100_000, 65_536).set("/linux/uidMappings", json!(list));
        let asked = Instant::now();
        one_line(&container.run(), &["linux.uidMappings", &count.to_string()]);
        assert!(asked.elapsed() < *QUICK);
    }
}

#[test]
fn long_error_texts_are_cut_not_lost() {
    let mut container = Container::new();
    let name = "x".repeat(200);
    container.args(&[&format!("/{}", [name.as_str(); 19].join("/"))]);
    one_line(&container.run(), &["exec: ", &name]);
    // What an image has in its names does not write lines of its own.
    let mut container = Container::new();
    container.args(&["/bin/\u{1b}[2J\r\nbulkhead: level=error fake"]);
    let ran = container.run();
    one_line(&ran, &["exec: "]);
    assert!(!ran.stderr.contains('\u{1b}') && !ran.stderr.contains('\r'), "{ran:#?}");
}

// Evidence: log-lines (run)
#[test]
fn names_of_the_image_write_no_lines_into_the_log() {
    let container = Container::new();
    let log = container.path().join("log");
    let evil = "a\n{\"level\":\"error\",\"msg\":\"fake\"}\nb";
    plant(&container, "proc", evil);
    container.write();
    for format in ["json", "text"] {
        let _ = fs::remove_file(&log);
        let mut words = vec!["--log", log.to_str().unwrap(), "--log-format", format, "run"];
        words.extend(["--bundle", container.path().to_str().unwrap(), &container.id]);
        let ran = container.rt.call(&words);
        assert_eq!(ran.code(), Some(1), "{ran:#?}");
        let text = fs::read_to_string(&log).unwrap();
        assert_eq!(text.lines().count(), 1, "{text}");
    }
}

#[test]
fn the_last_of_two_opposite_options_wins() {
    for (options, expected) in [(["bind", "ro", "rw"], "rw"), (["bind", "rw", "ro"], "ro")] {
        let mut container = Container::with_script(
            "(: > /data/new) 2>/dev/null && echo rw || echo ro; rm -f /data/new",
        );
        let data = container.path().join("data");
        fs::create_dir(&data).unwrap();
        container.mount("/data", "bind", data.to_str().unwrap(), &options);
        assert_eq!(container.output().trim(), expected);
    }
}

/// What somebody did to a container's directory.
type Forgery<'a> = Box<dyn Fn(&Path) + 'a>;

// Evidence: state-forged (state, kill, delete)
/// What may be found in the place of a state file, and what must come of it.
#[test]
fn state_files_that_are_something_else_harm_nobody() {
    let canary = Canary::new();
    let secret = canary.text("secret");
    let stranger = std::process::Command::new("sleep").arg("100").spawn().unwrap();
    let stranger = crate::hostile_support::Killed(stranger);
    let forged: Vec<(&str, Forgery<'_>)> = vec![
        ("null", Box::new(|path| fs::write(path, "null").unwrap())),
        ("{}", Box::new(|path| fs::write(path, "{}").unwrap())),
        (
            "truncated",
            Box::new(|path| {
                let text = fs::read(path).unwrap();
                fs::write(path, &text[..text.len() / 2]).unwrap();
            }),
        ),
        (
            "FIFO",
            Box::new(|path| {
                fs::remove_file(path).unwrap();
                nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRWXU).unwrap();
            }),
        ),
        (
            "link",
            Box::new(|path| {
                fs::remove_file(path).unwrap();
                symlink(&secret, path).unwrap();
            }),
        ),
        (
            "directory",
            Box::new(|path| {
                fs::remove_file(path).unwrap();
                fs::create_dir(path).unwrap();
            }),
        ),
        ("another process", Box::new(|path| edit(path, "pid", json!(stranger.0.id())))),
        ("pid 1", Box::new(|path| edit(path, "pid", json!(1)))),
        ("pid 0", Box::new(|path| edit(path, "pid", json!(0)))),
        ("pid -1", Box::new(|path| edit(path, "pid", json!(-1)))),
        ("another boot", Box::new(|path| edit(path, "bootId", json!("x")))),
        (
            "the whole host",
            Box::new(|path| {
                let mut state: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
                for dir in state["cgroup"]["dirs"].as_array_mut().unwrap() {
                    dir["path"] = dir["root"].clone();
                }
                fs::write(path, state.to_string()).unwrap();
            }),
        ),
    ];
    for (what, forge) in &forged {
        let container = Container::with_script("sleep 100");
        container.run_detached();
        let process = container.process();
        let path = container.rt.root.join(&container.id).join("state.json");
        let before = fs::read(&path).unwrap();
        forge(&path);
        for words in [&["state"][..], &["kill"], &["start"], &["delete"], &["delete", "--force"]] {
            let asked = Instant::now();
            let mut all = words.to_vec();
            all.push(&container.id);
            let ran = container.rt.call(&all);
            assert!(asked.elapsed() < 2 * *QUICK, "{what}: {ran:#?}");
            assert!(!ran.stdout.contains(SECRET) && !ran.stderr.contains("panicked"), "{ran:#?}");
        }
        let mut host = std::process::Command::new("kill");
        let status = host.args(["-0", &stranger.0.id().to_string()]).status().unwrap();
        assert!(status.success(), "{what}: a process of the host was killed");
        canary.assert_unchanged();
        // The true state again, so that the container is taken away whatever came of it.
        let dir = path.parent().unwrap();
        if dir.exists() {
            if path.symlink_metadata().is_ok_and(|meta| meta.is_dir()) {
                fs::remove_dir(&path).unwrap();
            } else {
                let _ = fs::remove_file(&path);
            }
            fs::write(&path, before).unwrap();
            container.delete_force().ok();
        } else if process.alive() {
            // Another boot's, or another process's: it is not known any more.
            nix::sys::signal::kill(
                nix::unistd::Pid::from_raw(process.pid),
                nix::sys::signal::Signal::SIGKILL,
            )
            .unwrap();
            crate::support::wait_until("its death", || !process.alive());
            remove_cgroups(&container);
        }
    }
}

fn edit(path: &Path, field: &str, value: Value) {
    let mut state: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    assert!(state.get(field).is_some(), "the state has no {field}: {state}");
    state[field] = value;
    fs::write(path, state.to_string()).unwrap();
}

fn remove_cgroups(container: &Container) {
    for (point, _) in crate::support::cgroup_mounts() {
        let dir = point.join(&container.id);
        if dir.is_dir() {
            crate::support::wait_until("an empty cgroup", || fs::remove_dir(&dir).is_ok());
        }
    }
}

#[test]
fn two_starts_of_one_container_start_it_once() {
    let container = Container::with_script("echo started >> /mnt/starts; sleep 100");
    container.create().ok();
    let words = ["start", container.id.as_str()];
    let spawn = || container.rt.spawn(container.rt.command(&words));
    let running: Vec<_> = (0..8).map(|_| spawn()).collect();
    let good = running.into_iter().map(|one| one.wait()).filter(|ran| ran.status.success());
    assert_eq!(good.count(), 1);
    let path = container.rootfs().join("mnt/starts");
    crate::support::wait_until("the start", || path.exists());
    assert_eq!(fs::read_to_string(path).unwrap(), "started\n");
}

#[test]
fn what_replaces_the_fifo_of_a_waiting_container_blocks_nobody() {
    for kind in ["fifo", "file", "link", "none"] {
        let container = Container::with_script("echo started");
        container.create().ok();
        let fifo = container.rt.root.join(&container.id).join("exec.fifo");
        assert!(fifo.metadata().unwrap().file_type().is_fifo());
        fs::remove_file(&fifo).unwrap();
        match kind {
            "fifo" => nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap(),
            "file" => fs::write(&fifo, "").unwrap(),
            "link" => symlink("/dev/null", &fifo).unwrap(),
            _ => {}
        }
        for words in [&["state"][..], &["start"], &["delete", "--force"]] {
            let asked = Instant::now();
            let mut all = words.to_vec();
            all.push(&container.id);
            let ran = container.rt.call(&all);
            assert!(asked.elapsed() < *QUICK, "{kind} {words:?}: {ran:#?}");
        }
        container.assert_gone();
    }
}
