//! Who may use the container's cgroup: its owner on cgroup v2, and whoever reads its limits.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::support::*;

const FIRST: u32 = 200_000;

/// A container that may write to its cgroups.
fn with_cgroup_mount(option: &str) -> Container {
    let mut c = Container::with_script("exec sleep 600");
    c.mount("/sys/fs/cgroup", "cgroup", "cgroup", &["nosuid", "nodev", "noexec", option]);
    c
}

/// The container's directory, where cgroup v2 is all there is.
fn whole_v2(c: &Container) -> Option<PathBuf> {
    match cgroup_mounts().as_slice() {
        [(point, names)] if names.is_empty() => Some(c.cgroup(point)),
        _ => None,
    }
}

/// What config-linux.md names, and what the kernel says may be handed over.
fn handed_over() -> Vec<String> {
    let list = fs::read_to_string("/sys/kernel/cgroup/delegate").unwrap();
    list.lines().filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

#[track_caller]
fn assert_owner(dir: &PathBuf, uid: u32) {
    assert_eq!(fs::metadata(dir).unwrap().uid(), uid, "{dir:?}");
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let expected = if handed_over().contains(&name) { uid } else { 0 };
        assert_eq!(entry.metadata().unwrap().uid(), expected, "{dir:?} {name}");
    }
}

#[test]
fn root_of_a_user_namespace_owns_a_writable_cgroup() {
    let mut c = with_cgroup_mount("rw");
    c.map_users(FIRST, 65536);
    c.run_detached();
    let Some(dir) = whole_v2(&c) else {
        // cgroup v1 cannot be handed over safely.
        for (point, _) in cgroup_mounts() {
            assert_eq!(fs::metadata(c.cgroup(&point)).unwrap().uid(), 0);
        }
        return;
    };
    assert_owner(&dir, FIRST);
    let said = c.exec_sh(
        "cd /sys/fs/cgroup && mkdir below && echo $$ >below/cgroup.procs && cat /proc/self/cgroup",
    );
    assert!(said.contains("0::/below"), "{said}");
    let limit = c.exec(&[], &["sh", "-c", "echo 1 >/sys/fs/cgroup/cgroup.max.depth"]);
    assert_ne!(limit.code(), Some(0), "limits stay out of reach");
}

// Proves: linux.cgroupsPath:owner
#[test]
fn the_user_of_the_process_owns_it() {
    let mut c = with_cgroup_mount("rw");
    c.map_users(FIRST, 65536).set("/process/user", json!({"uid": 7, "gid": 7}));
    c.run_detached();
    let Some(dir) = whole_v2(&c) else { return };
    assert_owner(&dir, FIRST + 7);
    c.delete_force().ok();

    let mut c = with_cgroup_mount("rw");
    c.set("/process/user", json!({"uid": 7, "gid": 7}));
    c.run_detached();
    assert_owner(&whole_v2(&c).unwrap(), 7);
}

#[test]
fn a_joined_user_namespace_counts_too() {
    let mut first = Container::with_script("exec sleep 600");
    first.map_users(FIRST, 65536);
    first.run_detached();
    let path = format!("/proc/{}/ns/user", first.process().pid);
    let mut c = with_cgroup_mount("rw");
    c.namespace(json!({"type": "user", "path": path}));
    c.run_detached();
    let Some(dir) = whole_v2(&c) else { return };
    assert_owner(&dir, FIRST);
}

// Proves: linux.cgroupsPath:owner
#[test]
fn it_stays_with_root_otherwise() {
    let changes: [fn(&mut Container); 3] = [
        |c| *c = with_cgroup_mount("ro"),
        |c| {
            c.without_namespace("cgroup");
        },
        |c| *c = Container::with_script("exec sleep 600"),
    ];
    for_each_row(&changes, |change| {
        let mut c = with_cgroup_mount("rw");
        change(&mut c);
        c.map_users(FIRST, 65536);
        c.run_detached();
        for (point, _) in cgroup_mounts() {
            let dir = c.cgroup(&point);
            if dir.exists() {
                assert_owner(&dir, 0);
            }
        }
    });
}

#[test]
fn the_callers_umask_does_not_close_the_cgroup() {
    let mut c = Container::with_script("exec sleep 600");
    let path = c.config["linux"]["cgroupsPath"].as_str().unwrap().to_owned();
    if !by_systemd() {
        // One above it is made on the way.
        c.set("/linux/cgroupsPath", json!(format!("{path}/in{path}")));
    }
    c.mount("/sys/fs/cgroup", "cgroup", "cgroup", &["ro"]);
    c.rt.through = ["sh", "-c", "umask 077; exec \"$@\"", "sh"].iter().map(Into::into).collect();
    c.run_detached();
    let mut found = 0;
    for (point, _) in cgroup_mounts() {
        let mut dir = c.cgroup(&point);
        if !by_systemd() {
            assert_eq!(fs::metadata(&dir).unwrap().permissions().mode() & 0o777, 0o755, "{dir:?}");
            dir = dir.join("in").join(&path[1..]);
        }
        if dir.exists() {
            assert_eq!(fs::metadata(&dir).unwrap().permissions().mode() & 0o777, 0o755, "{dir:?}");
            found += 1;
        }
    }
    assert!(found > 0);
    // As the JVM does, as an ordinary user.
    let file = match controller("pids") {
        Some((Version::V1, _)) => "/sys/fs/cgroup/pids/pids.max",
        _ => "/sys/fs/cgroup/cgroup.max.depth",
    };
    c.exec(&["--user", "1000"], &["cat", file]).ok();
    c.delete_force().ok();
    for (point, _) in cgroup_mounts() {
        // Delete leaves the parents, which are the engine's.
        if !by_systemd() {
            fs::remove_dir(c.cgroup(&point).join("in")).unwrap();
            fs::remove_dir(c.cgroup(&point)).unwrap();
        }
    }
}

#[test]
fn a_cgroup_below_the_limits_is_the_containers() {
    let mut c = with_cgroup_mount("rw");
    c.map_users(FIRST, 65536).set("/annotations", json!({"run.oci.delegate-cgroup": "given"}));
    if whole_v2(&c).is_none() {
        c.create().refused(&["run.oci.delegate-cgroup", "\"given\"", "cgroup v2"]);
        return;
    }
    c.run_detached();
    let dir = whole_v2(&c).unwrap();
    let place = dir.strip_prefix(&cgroup_mounts()[0].0).unwrap().to_str().unwrap().to_owned();
    assert_eq!(v2_path(&c), format!("/{place}/given"));
    assert_owner(&dir.join("given"), FIRST);
    assert_owner_of_directory(&dir, 0);
    let lines = |file: &str| fs::read_to_string(file).unwrap();
    let above = lines(dir.join("cgroup.controllers").to_str().unwrap());
    assert_eq!(lines(dir.join("given/cgroup.controllers").to_str().unwrap()), above);
    // It is the root of what the container sees; whoever joins comes there too.
    assert!(c.exec_sh("cat /proc/self/cgroup").ends_with("0::/\n"));
    c.exec_sh("mkdir /sys/fs/cgroup/below && echo $$ >/sys/fs/cgroup/below/cgroup.procs");
    assert_eq!(c.status(), "running");
    c.rt.call(&["pause", &c.id]).ok();
    c.rt.call(&["resume", &c.id]).ok();
    c.delete_force().ok();
    c.assert_gone();

    for bad in ["../x", "/x"] {
        c.set("/annotations", json!({"run.oci.delegate-cgroup": bad}));
        c.create().refused(&["run.oci.delegate-cgroup", bad]);
    }
    // Nothing is asked for by an empty one; the other is for systemd.
    c.set(
        "/annotations",
        json!({"run.oci.delegate-cgroup": "", "run.oci.systemd.subgroup": "sub"}),
    );
    c.run_detached();
    let sub = if by_systemd() { "/sub" } else { "" };
    assert_eq!(v2_path(&c), format!("/{place}{sub}"));
}

/// The hierarchies of v1 are listed too, where the machine has them beside the view of v2.
#[track_caller]
fn v2_path(c: &Container) -> String {
    let text = c.process().read("cgroup");
    text.lines().find_map(|line| line.strip_prefix("0::")).expect("a v2 cgroup").to_owned()
}

#[track_caller]
fn assert_owner_of_directory(dir: &Path, uid: u32) {
    assert_eq!(fs::metadata(dir).unwrap().uid(), uid, "{dir:?}");
}
