//! Block I/O: each limit is read back, and felt on a loop device, under cgroup v1 and v2.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::*;

/// Leaves the test where block I/O cannot be limited.
macro_rules! need_io {
    () => {
        match controller("io").or_else(|| controller("blkio")) {
            Some((version, root)) => (version, root),
            None => skip!("neither io nor blkio controller here"),
        }
    };
}

/// A loop device over a file of 16 MiB; gone, and as it was, with this.
struct Loop {
    name: String,
    scheduler: Option<String>,
}

impl Loop {
    fn new(file: &Path) -> Option<Loop> {
        fs::File::create(file).unwrap().set_len(16 << 20).unwrap();
        let output = Command::new("losetup").args(["--find", "--show"]).arg(file).output().ok()?;
        let name = String::from_utf8(output.stdout).unwrap().trim().to_owned();
        output.status.success().then_some(Loop { name, scheduler: None })
    }

    fn number(&self) -> (u64, u64) {
        let device = fs::metadata(&self.name).unwrap().rdev();
        (nix::sys::stat::major(device), nix::sys::stat::minor(device))
    }

    fn scheduler_file(&self) -> String {
        format!("/sys/block/{}/queue/scheduler", self.name.trim_start_matches("/dev/"))
    }

    /// Gives it another I/O scheduler, if the kernel has it.
    fn schedule(&mut self, scheduler: &str) -> bool {
        let now = fs::read_to_string(self.scheduler_file()).unwrap();
        let now = now.split_once('[').unwrap().1.split_once(']').unwrap().0.to_owned();
        let done = fs::write(self.scheduler_file(), scheduler).is_ok();
        self.scheduler = done.then_some(now);
        done
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        if let Some(before) = &self.scheduler {
            fs::write(self.scheduler_file(), before).unwrap();
        }
        let status = Command::new("losetup").args(["--detach", &self.name]).status();
        assert!(status.unwrap().success(), "detach {}", self.name);
    }
}

/// A container that has the disk as `/dev/disk`, and what the test says of it as its limits.
fn with_disk(disk: &Loop, block_io: Value) -> Container {
    let (major, minor) = disk.number();
    let mut c = Container::with_script("exec sleep 600");
    c.push(
        "/linux/resources/devices",
        json!({"allow": true, "type": "b", "major": major, "minor": minor, "access": "rwm"}),
    );
    c.push(
        "/linux/devices",
        json!({"path": "/dev/disk", "type": "b", "major": major, "minor": minor}),
    );
    c.set("/linux/resources/blockIO", block_io);
    c
}

fn rate(disk: &Loop, rate: u64) -> Value {
    let (major, minor) = disk.number();
    json!([{"major": major, "minor": minor, "rate": rate}])
}

fn update(c: &Container, block_io: Value) {
    let file = c.file("resources.json", &json!({"blockIO": block_io}).to_string());
    c.rt.call(&["update", "--resources", file.to_str().unwrap(), &c.id]).ok();
}

/// What the kernel has for the disk: reads and writes a second, in bytes and in operations.
fn throttles(c: &Container, version: Version, disk: &Loop) -> [String; 4] {
    let (major, minor) = disk.number();
    let line = |file: &str| {
        let (controller, _) = file.split_once('.').unwrap();
        let path = cgroup_file(c.process(), controller, file, file);
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
        let start = format!("{major}:{minor} ");
        text.lines().find_map(|line| line.strip_prefix(&start).map(str::to_owned))
    };
    match version {
        Version::V1 => ["read_bps", "write_bps", "read_iops", "write_iops"].map(|name| {
            line(&format!("blkio.throttle.{name}_device")).unwrap_or_else(|| "max".to_owned())
        }),
        Version::V2 => {
            let text = line("io.max").unwrap_or_default();
            let value = |key: &str| {
                let found = text.split(' ').find_map(|word| word.strip_prefix(key));
                found.unwrap_or("max").to_owned()
            };
            ["rbps=", "wbps=", "riops=", "wiops="].map(value)
        }
    }
}

// Proves: linux.resources.blockIO.{throttleReadBpsDevice, throttleWriteBpsDevice,
// throttleReadIOPSDevice, throttleWriteIOPSDevice}[].{major, minor, rate}
#[test]
fn reads_and_writes_are_slowed_down() {
    let (version, _) = need_io!();
    let dir = tempfile::tempdir().unwrap();
    let Some(disk) = Loop::new(&dir.path().join("disk")) else { skip!("no loop devices here") };
    let c = with_disk(
        &disk,
        json!({
            "throttleReadBpsDevice": rate(&disk, 1 << 20),
            "throttleWriteBpsDevice": rate(&disk, 2 << 20),
            "throttleReadIOPSDevice": rate(&disk, 30),
            "throttleWriteIOPSDevice": rate(&disk, 20),
        }),
    );
    c.run_detached();
    let now = || throttles(&c, version, &disk);
    assert_eq!(now(), ["1048576", "2097152", "30", "20"]);
    let dd = |words: &str| {
        let start = Instant::now();
        c.exec_sh(&format!("dd {words} 2>/dev/null"));
        start.elapsed()
    };
    // Each would take a moment without its limit, and takes two seconds with it; what a new cgroup
    // may spend at once is a tenth of a second's worth.
    let slow = Duration::from_millis(1500);
    for (what, words) in [
        ("read_bps", "if=/dev/disk of=/dev/null bs=256k count=8 iflag=direct"),
        ("read_iops", "if=/dev/disk of=/dev/null bs=4k count=60 iflag=direct"),
        ("write_bps", "if=/dev/zero of=/dev/disk bs=512k count=8 oflag=direct"),
        ("write_iops", "if=/dev/zero of=/dev/disk bs=4k count=40 oflag=direct"),
    ] {
        let took = dd(words);
        assert!(took >= slow, "{what}: {took:?}");
    }
    // An update names one, and the others stay; 0 takes one away.
    update(&c, json!({"throttleReadBpsDevice": rate(&disk, 8 << 20)}));
    assert_eq!(now(), ["8388608", "2097152", "30", "20"]);
    update(
        &c,
        json!({
            "throttleReadBpsDevice": rate(&disk, 0), "throttleReadIOPSDevice": rate(&disk, 0),
            "throttleWriteIOPSDevice": rate(&disk, 0),
        }),
    );
    assert_eq!(now(), ["max", "2097152", "max", "max"]);
    let took = dd("if=/dev/disk of=/dev/null bs=256k count=8 iflag=direct");
    assert!(took < slow, "{took:?}");
    let took = dd("if=/dev/zero of=/dev/disk bs=512k count=8 oflag=direct");
    assert!(took >= slow, "{took:?}");
}

/// The weight in a line of a file: that of a device, or what is behind `default`.
fn weight(c: &Container, file: &str, line: &str) -> Option<String> {
    let (controller, _) = file.split_once('.').unwrap();
    let text = fs::read_to_string(cgroup_file(c.process(), controller, file, file)).unwrap();
    let start = format!("{line} ");
    text.lines().find_map(|line| line.strip_prefix(&start).map(str::to_owned))
}

/// Without BFQ it is the kernel's cost model that weighs; it has to be switched on for a disk.
// Proves: linux.resources.blockIO.weight, linux.resources.blockIO.weightDevice[].{major, minor,
// weight}
#[test]
fn weights_are_for_all_disks_and_for_one() {
    let (version, root) = need_io!();
    let dir = tempfile::tempdir().unwrap();
    let Some(mut disk) = Loop::new(&dir.path().join("disk")) else { skip!("no loop devices here") };
    let (major, minor) = disk.number();
    let number = format!("{major}:{minor}");
    let weights = |all: u32, one: u32| {
        let device = json!([{"major": major, "minor": minor, "weight": one}]);
        json!({"weight": all, "weightDevice": device})
    };
    let cost_model = root.join("io.cost.qos");
    let bfq_is_loaded = fs::read_dir("/sys/module/bfq").is_ok();
    if version == Version::V2 && !bfq_is_loaded && cost_model.exists() {
        fs::write(&cost_model, format!("{number} enable=1")).unwrap();
        let c = with_disk(&disk, weights(500, 10));
        c.run_detached();
        let both = || ["default", &number].map(|line| weight(&c, "io.weight", line).unwrap());
        assert_eq!(both(), ["4950", "1"]);
        update(&c, weights(10, 1000));
        assert_eq!(both(), ["1", "10000"]);
        c.delete_force().ok();
        fs::write(&cost_model, format!("{number} enable=0")).unwrap();
    }
    if !disk.schedule("bfq") {
        skip!("the kernel has no BFQ");
    }
    let file = match version {
        Version::V1 => "blkio.bfq.weight_device",
        Version::V2 => "io.bfq.weight",
    };
    let c = with_disk(&disk, weights(500, 300));
    c.run_detached();
    let both = || ["default", &number].map(|line| weight(&c, file, line).unwrap());
    assert_eq!(both(), ["500", "300"]);
    update(&c, weights(900, 20));
    assert_eq!(both(), ["900", "20"]);
    c.delete_force().ok();
}

#[test]
fn a_disk_that_is_not_there_is_named() {
    need_io!();
    let mut c = Container::new();
    for field in ["throttleWriteBpsDevice", "throttleReadIOPSDevice"] {
        c.set("/linux/resources/blockIO", json!({field: [{"major": 4095, "minor": 9, "rate": 5}]}));
        c.create().refused(&["linux.resources.blockIO", field, "4095:9"]);
        c.assert_gone();
    }
}
