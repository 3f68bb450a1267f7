//! Cgroups at odd moments: device rules while a container is made and when they change, frozen
//! cgroups below its own, its last moment, and lists of CPUs that do not exist.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use crate::support::*;

fn asleep() -> Container {
    Container::with_script("exec sleep 600")
}

/// A block device with an ext4 file system: the one that BULKHEAD_TEST_DISK names, or a loop device
/// that is gone at the end.
struct Disk {
    image: Option<tempfile::NamedTempFile>,
    device: String,
}

impl Disk {
    fn new() -> Option<Disk> {
        if let Ok(device) = std::env::var("BULKHEAD_TEST_DISK") {
            return Some(Disk { image: None, device });
        }
        let image = tempfile::NamedTempFile::new().unwrap();
        image.as_file().set_len(4 << 20).unwrap();
        let path = image.path().to_str().unwrap();
        let made = Command::new("mke2fs").args(["-q", "-t", "ext4", "-F", path]).status();
        if !made.is_ok_and(|status| status.success()) {
            return None;
        }
        let output = Command::new("losetup").args(["--find", "--show", path]).output().ok()?;
        let device = String::from_utf8(output.stdout).unwrap().trim().to_owned();
        (output.status.success() && !device.is_empty())
            .then_some(Disk { image: Some(image), device })
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if self.image.is_none() {
            return;
        }
        Command::new("losetup").args(["--detach", &self.device]).status().unwrap();
    }
}

#[test]
fn device_rules_bind_the_container_and_not_its_making() {
    let Some(disk) = Disk::new() else { skip!("no loop device, or no mke2fs") };
    let mut c = Container::with_script(
        "touch /mnt/file && mknod /tmp/disk b $MAJOR $MINOR && ! cat /tmp/disk 2>&1",
    );
    c.mount("/mnt", "ext4", &disk.device, &["rw"]);
    let number = nix::sys::stat::stat(disk.device.as_str()).unwrap().st_rdev;
    for (name, value) in
        [("MAJOR", nix::sys::stat::major(number)), ("MINOR", nix::sys::stat::minor(number))]
    {
        c.push("/process/env", json!(format!("{name}={value}")));
    }
    let said = c.output();
    assert!(said.contains("Operation not permitted"), "{said}");
}

#[test]
fn no_hook_inside_runs_without_the_device_rules() {
    let mut c = asleep();
    // It is a program of the host, in the container's cgroup.
    let node = "rm -f \"$0.kmsg\"; mknod \"$0.kmsg\" c 1 11";
    let hook = c.script("hook", &format!("{node}; ! (exec 3<\"$0.kmsg\") 2>/dev/null"));
    c.set("/hooks", json!({"createContainer": [{"path": hook}]}));
    c.run_detached();
}

/// Whether root of the container may open /dev/loop-control (char 10:237), which is no default.
fn opens_control(c: &Container) -> bool {
    let script = "[ -e /tmp/ctl ] || mknod /tmp/ctl c 10 237; exec 3</tmp/ctl";
    c.exec(&[], &["sh", "-c", script]).status.success()
}

fn update(c: &Container, resources: &Value) -> Ran {
    let file = c.file("resources.json", &resources.to_string());
    c.rt.call(&["update", "--resources", file.to_str().unwrap(), &c.id])
}

#[test]
fn update_replaces_the_device_rules() {
    let c = asleep();
    c.run_detached();
    assert!(!opens_control(&c));
    let deny = json!({"allow": false, "access": "rwm"});
    let control = json!({"allow": true, "type": "c", "major": 10, "minor": 237, "access": "rwm"});
    for _ in 0..2 {
        update(&c, &json!({"devices": [deny, control]})).ok();
        assert!(opens_control(&c));
        assert_eq!(c.exec_sh("echo x >/dev/null; head -c 1 /dev/zero | wc -c").trim(), "1");
        // Other limits leave the rules alone.
        if controller("pids").is_some() {
            update(&c, &json!({"pids": {"limit": 100}})).ok();
        }
        assert!(opens_control(&c));
        update(&c, &json!({"devices": [deny]})).ok();
        assert!(!opens_control(&c));
    }
    let bad = json!({"devices": [{"allow": true, "access": "x"}]});
    update(&c, &bad).refused(&["devices", "\"x\""]);
    assert!(!opens_control(&c));
}

#[test]
fn a_rule_without_access_is_for_all() {
    let mut c = asleep();
    c.set(
        "/linux/resources/devices",
        json!([{"allow": false}, {"allow": true, "type": "c", "major": 10, "minor": 237}]),
    );
    c.run_detached();
    assert!(opens_control(&c));
    let other = "mknod /tmp/disk b 7 0; ! cat /tmp/disk 2>&1";
    assert!(c.exec_sh(other).contains("Operation not permitted"));
}

/// The directory that freezes the container, its file, and what is written there to freeze.
fn freezer(c: &Container) -> (PathBuf, &'static str, &'static str) {
    match controller("freezer") {
        Some((Version::V1, root)) => (c.cgroup(&root), "freezer.state", "FROZEN"),
        _ => (c.cgroup(&cgroup_mounts()[0].0), "cgroup.freeze", "1"),
    }
}

#[test]
fn a_container_frozen_below_its_cgroup_still_dies() {
    for verb in [&["delete", "--force"][..], &["kill"]] {
        let c = Container::with_script("sleep 601 & exec sleep 600");
        c.run_detached();
        let init = c.process();
        let (dir, file, frozen) = freezer(&c);
        let below = dir.join("below/it");
        fs::create_dir_all(&below).unwrap();
        fs::write(below.join("cgroup.procs"), init.pid.to_string()).unwrap();
        fs::write(below.join(file), frozen).unwrap();
        let start = Instant::now();
        let mut words = verb.to_vec();
        words.push(&c.id);
        if verb == ["kill"] {
            words.push("KILL");
        }
        c.rt.call(&words).ok();
        wait_until("it is dead", || !init.alive());
        assert!(start.elapsed() < *QUICK, "{words:?} took {:?}", start.elapsed());
    }
}

// Evidence: frozen-within (kill, delete)
#[test]
fn a_container_that_freezes_itself_again_still_dies() {
    if !matches!(controller("freezer"), Some((Version::V1, _))) {
        // Killing ends what is frozen on v2.
        return;
    }
    let mut c = asleep();
    c.mount("/sys/fs/cgroup", "cgroup", "cgroup", &["rw"]);
    c.sh("mkdir /sys/fs/cgroup/freezer/x; echo 1 >/sys/fs/cgroup/freezer/x/cgroup.procs
          while :; do echo FROZEN >/sys/fs/cgroup/freezer/x/freezer.state; done & wait");
    c.run_detached();
    let init = c.process();
    let (dir, ..) = freezer(&c);
    wait_until("frozen", || {
        fs::read_to_string(dir.join("x/freezer.state")).is_ok_and(|text| text.trim() == "FROZEN")
    });
    c.delete_force().ok();
    assert!(!init.alive());
}

#[test]
fn delete_waits_for_a_container_that_is_dying() {
    // So much memory takes the kernel a while to free.
    const BYTES: u64 = 100_000_000;
    for _ in 0..2 {
        let c = Container::with_script(&format!(
            "head -c {BYTES} /dev/zero | tail -c {BYTES} | sleep 600"
        ));
        c.run_detached();
        wait_until("the memory is in use", || {
            let pids = c.rt.call(&["ps", "--format", "json", &c.id]).ok().stdout;
            let pids: Vec<i32> = serde_json::from_str(&pids).unwrap();
            let used = |pid: &i32| {
                let text = fs::read_to_string(format!("/proc/{pid}/statm")).unwrap_or_default();
                let pages = text.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok());
                pages.unwrap_or_default() * 4096
            };
            pids.iter().any(|pid| used(pid) >= BYTES)
        });
        c.kill("KILL").ok();
        c.delete().ok();
        c.assert_gone();
    }
}

#[test]
fn cpus_that_do_not_exist_are_named() {
    need!("cpuset");
    let mut c = asleep();
    c.set("/linux/resources/cpu", json!({"cpus": "0,4000-4001"}));
    c.create().refused(&["linux.resources.cpu.cpus", "CPU 4000-4001 does not exist", "has 0"]);
    c.assert_gone();
    c.set("/linux/resources/cpu", json!({"mems": "0,900"}));
    c.create().refused(&["linux.resources.cpu.mems", "memory node 900 does not exist", "has 0"]);
    c.set("/linux/resources/cpu", json!({"cpus": "0"}));
    c.run_detached();
    let ran = c.rt.call(&["update", "--cpuset-cpus", "0-4000", &c.id]);
    let ran = ran.refused(&["linux.resources.cpu.cpus", "does not exist"]);
    assert!(ran.stderr.len() < 300, "{ran:?}");
}
