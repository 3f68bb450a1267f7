//! Cgroups against the kernel: on the hierarchies of this host, and once more in a mount
//! namespace that shows cgroup v2 alone. What is set is read back; nothing is left behind.

use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bulkhead::Kind;
use bulkhead::cgroup::{Cgroup, CgroupMount, Layout, Mode, Options, Plan, Record};
use oci_spec::runtime::LinuxResources;
use rustix::fs::{CWD, Mode as FileMode, OFlags, mkdirat, openat};

/// Set in the second run of this program.
const VIEW: &str = "BULKHEAD_TEST_CGROUP_VIEW";
const DENY_ALL: &str = r#"{"devices":[{"allow":false,"access":"rwm"}]}"#;

fn can_run() -> bool {
    let root = nix::unistd::geteuid().is_root();
    let can = root && Layout::probe().unwrap().mode() != Mode::None;
    if !can {
        eprintln!("skipped: needs root and a cgroup file system");
    }
    can
}

fn name(tag: &str) -> String {
    format!("bulkhead-test-{}-{tag}", std::process::id())
}

fn plan_at(path: &str, resources: &str) -> bulkhead::Result<Plan> {
    let layout = Layout::probe()?;
    let resources: LinuxResources = serde_json::from_str(resources).unwrap();
    let (path, options) = (Path::new(path), Options::default());
    Plan::new(&layout, "unused", Some(path), Some(&resources), &[], options, &mut Vec::new())
}

fn plan(tag: &str, resources: &str) -> Plan {
    plan_at(&format!("/{}", name(tag)), resources).unwrap()
}

/// A cgroup that is gone at the end of the test, whatever that is.
struct Made {
    cgroup: Cgroup,
    children: Vec<Child>,
}

impl Made {
    fn new(tag: &str, resources: &str) -> Made {
        Made::from(&plan(tag, resources))
    }

    fn from(plan: &Plan) -> Made {
        Made { cgroup: plan.create().unwrap(), children: Vec::new() }
    }

    fn record(&self) -> &Record {
        self.cgroup.record()
    }

    /// A shell that runs `script` once it is in the cgroup.
    fn shell(&mut self, script: &str) -> &mut Child {
        let mut child = Command::new("sh")
            .args(["-c", &format!("read go; {script}")])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        self.cgroup.enter_all(pid(&child)).unwrap();
        child.stdin.take().unwrap().write_all(b"\n").unwrap();
        self.children.push(child);
        self.children.last_mut().unwrap()
    }

    fn sleeper(&mut self) -> i32 {
        pid(self.shell("exec sleep 1000"))
    }

    /// Whether `script` succeeds in the cgroup.
    fn succeeds(&mut self, script: &str) -> bool {
        self.shell(script).wait().unwrap().success()
    }

    /// The file of `controller`; none if it has no v1 hierarchy here.
    fn v1(&self, controller: &str) -> Option<&Path> {
        let mut dirs = self.record().dirs().iter();
        dirs.find(|dir| dir.has_controller(controller)).map(|dir| dir.path.as_path())
    }

    fn unified(&self) -> Option<&Path> {
        self.record().unified().map(|dir| dir.path.as_path())
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        let record = self.cgroup.record();
        let killed = record.kill_all();
        // Whatever that did: a test that fails must not leave or wait for anything.
        let _ = record.thaw();
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
        let results = [killed, record.remove()];
        if !std::thread::panicking() {
            results.into_iter().for_each(|result| result.unwrap());
        }
    }
}

fn pid(child: &Child) -> i32 {
    i32::try_from(child.id()).unwrap()
}

fn read(dir: &Path, file: &str) -> String {
    let path = dir.join(file);
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    text.trim().to_owned()
}

#[track_caller]
fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn hugetlb_on_v2() -> bool {
    ["/sys/fs/cgroup/cgroup.controllers", "/sys/fs/cgroup/unified/cgroup.controllers"]
        .iter()
        .filter_map(|file| fs::read_to_string(file).ok())
        .any(|text| text.split_ascii_whitespace().any(|name| name == "hugetlb"))
}

/// The other half of this file: all of it again where cgroup v2 is all there is.
#[test]
fn in_a_private_v2_view() {
    if !can_run() || std::env::var_os(VIEW).is_some() {
        return;
    }
    let view = "while umount -l /sys/fs/cgroup 2>/dev/null; do :; done
        mount -t cgroup2 none /sys/fs/cgroup && exec \"$@\"";
    let output = Command::new("unshare")
        .args(["-m", "sh", "-c", view, "sh"])
        .arg(std::env::current_exe().unwrap())
        .args(["--test-threads", "4"])
        .env(VIEW, "v2")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("test the_view_is_v2 ... ok"), "{text}");
}

#[test]
fn the_view_is_v2() {
    if can_run() && std::env::var_os(VIEW).is_some() {
        assert_eq!(Layout::probe().unwrap().mode(), Mode::Unified);
    }
}

#[test]
fn limits_are_what_the_kernel_says() {
    if !can_run() {
        return;
    }
    let mode = Layout::probe().unwrap().mode();
    if mode != Mode::Unified {
        let made = Made::new(
            "limits",
            r#"{"cpu":{"shares":512,"quota":20000,"period":50000,"burst":1000,
                    "cpus":"0","mems":"0"},
                "memory":{"limit":16777216,"swap":33554432,"reservation":8388608,"swappiness":10},
                "pids":{"limit":7}}"#,
        );
        for (controller, file, value) in [
            ("cpu", "cpu.shares", "512"),
            ("cpu", "cpu.cfs_quota_us", "20000"),
            ("cpu", "cpu.cfs_period_us", "50000"),
            ("cpu", "cpu.cfs_burst_us", "1000"),
            ("cpuset", "cpuset.cpus", "0"),
            ("cpuset", "cpuset.mems", "0"),
            ("memory", "memory.limit_in_bytes", "16777216"),
            ("memory", "memory.memsw.limit_in_bytes", "33554432"),
            ("memory", "memory.soft_limit_in_bytes", "8388608"),
            ("memory", "memory.swappiness", "10"),
            ("pids", "pids.max", "7"),
        ] {
            assert_eq!(read(made.v1(controller).unwrap(), file), value, "{file}");
        }
    }
    if hugetlb_on_v2() {
        let limit = r#"{"hugepageLimits":[{"pageSize":"2MB","limit":4194304}]}"#;
        let made = Made::new("huge", limit);
        assert_eq!(read(made.unified().unwrap(), "hugetlb.2MB.max"), "4194304");
        assert_eq!(read(made.unified().unwrap(), "hugetlb.2MB.rsvd.max"), "4194304");
    }
    if mode == Mode::Unified {
        let resources = if hugetlb_on_v2() {
            r#"{"hugepageLimits":[{"pageSize":"2MB","limit":4194304}],
                "unified":{"cgroup.max.depth":"3","hugetlb.2MB.max":"2097152"}}"#
        } else {
            r#"{"unified":{"cgroup.max.depth":"3"}}"#
        };
        let made = Made::new("unified", resources);
        let dir = made.unified().unwrap();
        assert_eq!(read(dir, "cgroup.max.depth"), "3");
        if hugetlb_on_v2() {
            assert_eq!(read(dir, "hugetlb.2MB.max"), "2097152", "unified comes last");
        }
    }
}

#[test]
fn controllers_are_enabled_on_the_way() {
    if !can_run() || !hugetlb_on_v2() {
        return;
    }
    let limit = r#"{"hugepageLimits":[{"pageSize":"2MB","limit":2097152}]}"#;
    let plan = plan_at(&format!("/{}/a/b", name("way")), limit).unwrap();
    let cgroup = plan.create().unwrap();
    let leaf = cgroup.record().unified().unwrap().path.clone();
    assert_eq!(read(&leaf, "hugetlb.2MB.max"), "2097152");
    // And all others that there are: containers in containers need them.
    let available = fs::read_to_string(leaf.ancestors().nth(3).unwrap().join("cgroup.controllers"));
    for dir in leaf.ancestors().skip(1).take(3) {
        assert_eq!(read(dir, "cgroup.subtree_control"), available.as_deref().unwrap().trim());
    }
    assert_eq!(read(&leaf, "cgroup.subtree_control"), "");
    cgroup.record().abandon().unwrap();

    // Not where processes are in the way: told, and nothing left.
    let mut made = Made::new("inside", "{}");
    made.sleeper();
    let below = plan_at(&format!("/{}/below", name("inside")), limit).unwrap();
    let error = below.create().unwrap_err().to_string();
    assert!(error.contains("has processes of its own"), "{error}");
    assert!(error.contains("write \"+hugetlb\" to /sys/fs/cgroup/"), "{error}");
    assert!(below.paths().all(|path| !path.exists()));
}

/// The kernel checks memory against memory and swap, and quota against period and burst, at every
/// single write: which one must come first depends on what is there.
#[test]
fn limits_are_raised_and_lowered() {
    if !can_run() || Layout::probe().unwrap().mode() == Mode::Unified {
        return;
    }
    let limits = |memory: u64, quota: u64, shares: u64, idle: u8| {
        format!(
            r#"{{"memory":{{"limit":{memory},"swap":{memory}}},
                "cpu":{{"quota":{quota},"period":{quota},"burst":{quota},
                    "shares":{shares},"idle":{idle}}}}}"#
        )
    };
    let made = Made::new("raise", &limits(16 << 20, 20_000, 300, 0));
    for (memory, quota, shares) in [(64 << 20, 90_000, 400), (8 << 20, 5_000, 500)] {
        plan("raise", &limits(memory, quota, shares, 0)).create().unwrap();
        let (of_memory, of_cpu) = (made.v1("memory").unwrap(), made.v1("cpu").unwrap());
        assert_eq!(read(of_memory, "memory.limit_in_bytes"), memory.to_string());
        assert_eq!(read(of_memory, "memory.memsw.limit_in_bytes"), memory.to_string());
        assert_eq!(read(of_cpu, "cpu.cfs_quota_us"), quota.to_string());
        assert_eq!(read(of_cpu, "cpu.cfs_period_us"), quota.to_string());
        assert_eq!(read(of_cpu, "cpu.cfs_burst_us"), quota.to_string());
        assert_eq!(read(of_cpu, "cpu.shares"), shares.to_string());
        // An idle cgroup takes shares only when it is not idle any more.
        fs::write(of_cpu.join("cpu.idle"), "1").unwrap();
    }
}

#[test]
fn pids_limit_zero_stops_forks() {
    if !can_run() {
        return;
    }
    let layout = Layout::probe().unwrap();
    let Ok(plan) = plan_at(&format!("/{}", name("nofork")), r#"{"pids":{"limit":0}}"#) else {
        eprintln!("skipped: {:?} without a pids controller", layout.mode());
        return;
    };
    let mut made = Made::from(&plan);
    assert!(!made.succeeds("/bin/true; :"), "a fork");
    assert!(made.succeeds("exec true"));
}

#[test]
fn failure_leaves_nothing() {
    if !can_run() {
        return;
    }
    let top = name("fail");
    let (resources, messages) = match Layout::probe().unwrap().mode() {
        Mode::Unified if !hugetlb_on_v2() => return,
        Mode::Unified => (
            r#"{"hugepageLimits":[{"pageSize":"3MB","limit":1}]}"#,
            [
                "(the kernel has no huge pages of this size): write \"1\" to /sys/fs/cgroup/",
                "/hugetlb.3MB.max: no such file or directory",
            ],
        ),
        _ => (
            r#"{"cpu":{"cpus":"4095"}}"#,
            ["linux.resources.cpu.cpus: write \"4095\" to /sys/fs/cgroup/cpuset/", "cpuset.cpus: "],
        ),
    };
    let plan = plan_at(&format!("/{top}/a/b"), resources).unwrap();
    let error = plan.create().unwrap_err().to_string();
    for message in messages {
        assert!(error.contains(message), "{error}");
    }
    for path in plan.paths() {
        assert!(!path.ancestors().nth(2).unwrap().exists(), "{}", path.display());
    }
}

#[test]
fn all_processes_are_found_and_signalled() {
    if !can_run() {
        return;
    }
    let mut made = Made::new("member", "{}");
    let pid = made.sleeper();
    assert_eq!(made.record().pids().unwrap(), [pid]);
    let membership = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let count = membership.lines().filter(|line| line.ends_with(&name("member"))).count();
    assert_eq!(count, made.record().dirs().len(), "{membership}");
    // A signal that does nothing to it, one beyond those with names, then one that does.
    made.record().signal_all(nix::libc::SIGCONT).unwrap();
    assert_eq!(made.record().pids().unwrap(), [pid]);
    made.record().signal_all(40).unwrap();
    eventually("no processes", || made.record().pids().unwrap().is_empty());
    let status = made.children[0].wait().unwrap();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(40));
}

#[test]
fn clone_descriptor_is_the_v2_directory() {
    if !can_run() {
        return;
    }
    let made = Made::new("clone", "{}");
    match (made.cgroup.clone_fd(), made.unified()) {
        (Some(fd), Some(path)) => {
            let stat = rustix::fs::fstat(fd).unwrap();
            assert_eq!(stat.st_ino, fs::metadata(path).unwrap().ino());
            assert_eq!(rustix::fs::fstatfs(fd).unwrap().f_type as u64, 0x6367_7270);
        }
        (None, None) => {}
        (fd, path) => panic!("{fd:?} {path:?}"),
    }
    let v1 = made.record().dirs().iter().any(|dir| !dir.is_unified());
    assert_eq!(made.cgroup.needs_enter(), v1);
}

#[test]
fn devices() {
    if !can_run() || !Path::new("/dev/kmsg").exists() {
        return;
    }
    let mut made = Made::new("dev", DENY_ALL);
    assert!(made.succeeds("exec 3</dev/zero 4>/dev/null 5<>/dev/full"));
    for open in ["3</dev/kmsg", "3>/dev/kmsg", "3<>/dev/kmsg"] {
        // It is the cgroup that refuses it.
        assert!(
            Command::new("sh").args(["-c", &format!("exec {open}")]).status().unwrap().success()
        );
        assert!(!made.succeeds(&format!("exec {open}")), "{open}");
    }
    let dir = tempfile::tempdir().unwrap();
    let node = dir.path().join("node");
    let node = node.display();
    assert!(made.succeeds(&format!("mknod {node} c 1 11")), "nodes may be made");
    assert!(!made.succeeds(&format!("exec 3<{node}")), "but not opened");
    drop(made);

    let mut made = Made::new(
        "devr",
        r#"{"devices":[{"allow":false,"access":"rwm"},
            {"allow":true,"type":"c","major":1,"minor":11,"access":"r"}]}"#,
    );
    assert!(made.succeeds("exec 3</dev/kmsg"));
    assert!(!made.succeeds("exec 3>/dev/kmsg"));
    assert!(!made.succeeds("exec 3<>/dev/kmsg"));
    drop(made);

    let mut made = Made::new("deva", r#"{"devices":[{"allow":true,"access":"rwm"}]}"#);
    assert!(made.succeeds("exec 3<>/dev/kmsg"));
}

#[test]
fn a_hole_in_a_wildcard() {
    if !can_run() || !Path::new("/dev/kmsg").exists() {
        return;
    }
    let resources = r#"{"devices":[{"allow":false,"access":"rwm"},
        {"allow":true,"type":"c","major":1,"access":"rw"},
        {"allow":false,"type":"c","major":1,"minor":11,"access":"w"}]}"#;
    match plan_at(&format!("/{}", name("hole")), resources) {
        Ok(plan) => {
            let mut made = Made::from(&plan);
            assert!(made.succeeds("exec 3</dev/kmsg"));
            assert!(!made.succeeds("exec 3>/dev/kmsg"));
        }
        // v1 cannot, and says so instead of allowing it.
        Err(error) => {
            assert_ne!(Layout::probe().unwrap().mode(), Mode::Unified);
            assert!(error.to_string().contains("cgroup v1 cannot make an exception"), "{error}");
        }
    }
}

#[test]
fn freeze_and_thaw() {
    if !can_run() {
        return;
    }
    let mut made = Made::new("freeze", "{}");
    let counter = tempfile::NamedTempFile::new().unwrap();
    let path = counter.path().to_owned();
    made.shell(&format!("while :; do echo >>{}; sleep 0.01; done", path.display()));
    let size = || fs::metadata(&path).unwrap().len();
    eventually("it runs", || size() > 0);
    assert!(!made.record().frozen().unwrap());
    for _ in 0..3 {
        made.record().freeze().unwrap();
        assert!(made.record().frozen().unwrap());
        match made.v1("freezer") {
            Some(dir) => assert_eq!(read(dir, "freezer.state"), "FROZEN"),
            None => assert!(read(made.unified().unwrap(), "cgroup.events").contains("frozen 1")),
        }
        let before = size();
        std::thread::sleep(Duration::from_millis(60));
        assert_eq!(size(), before, "it stands still");
        made.record().thaw().unwrap();
        assert!(!made.record().frozen().unwrap());
        eventually("it goes on", || size() > before);
    }
    // A frozen container can be killed, and removed at once.
    made.record().freeze().unwrap();
    made.record().kill_all().unwrap();
    made.record().remove().unwrap();
    assert!(made.record().dirs().iter().all(|dir| !dir.path.exists()));
    made.record().remove().unwrap();
}

#[test]
fn an_empty_cgroup_can_be_frozen() {
    if !can_run() {
        return;
    }
    let made = Made::new("empty", "{}");
    made.record().freeze().unwrap();
    assert!(made.record().frozen().unwrap());
    made.record().thaw().unwrap();
}

/// A record without the v2 directory, as on a host without it.
fn without_unified(record: &Record) -> Record {
    let mut json = serde_json::to_value(record).unwrap();
    let dirs = json["dirs"].as_array_mut().unwrap();
    dirs.retain(|dir| dir.get("options").is_some());
    serde_json::from_value(json).unwrap()
}

#[test]
fn who_multiplies_is_killed() {
    if !can_run() {
        return;
    }
    for (tag, legacy) in [("forks", false), ("forks1", true)] {
        if legacy && Layout::probe().unwrap().mode() == Mode::Unified {
            continue;
        }
        let mut made = Made::new(tag, "{}");
        made.shell("f() { sleep 0.05; f & f & wait; }; for i in 1 2 3; do f & done; wait");
        eventually("it multiplies", || made.record().pids().unwrap().len() > 20);
        let record = if legacy { without_unified(made.record()) } else { made.record().clone() };
        record.kill_all().unwrap();
        eventually("all are dead", || made.record().pids().unwrap().is_empty());
        std::thread::sleep(Duration::from_millis(150));
        assert!(made.record().pids().unwrap().is_empty(), "{tag}: none came back");
        assert!(!record.frozen().unwrap());
    }
}

#[test]
fn a_process_that_left_the_v2_cgroup_is_killed_too() {
    if !can_run() {
        return;
    }
    let mut made = Made::new("left", "{}");
    let pid = made.sleeper();
    if made.v1("freezer").is_none() {
        return;
    }
    let root = made.record().unified().map(|dir| dir.root.clone());
    let Some(root) = root else { return };
    fs::write(root.join("cgroup.procs"), pid.to_string()).unwrap();
    assert_eq!(made.record().pids().unwrap(), [pid]);
    made.record().kill_all().unwrap();
    eventually("it is dead", || made.children[0].try_wait().unwrap().is_some());
}

#[test]
fn sub_cgroups_however_deep() {
    if !can_run() {
        return;
    }
    let mut made = Made::new("deep", "{}");
    let pid = made.sleeper();
    let dirs: Vec<PathBuf> = made.record().dirs().iter().map(|dir| dir.path.clone()).collect();
    // Longer than a path may be.
    let long = "x".repeat(250);
    for dir in &dirs {
        fs::create_dir_all(dir.join("beside/below")).unwrap();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let mut fd = openat(CWD, dir, flags, FileMode::empty()).unwrap();
        for _ in 0..20 {
            mkdirat(&fd, long.as_str(), FileMode::RWXU).unwrap();
            fd = openat(&fd, long.as_str(), flags, FileMode::empty()).unwrap();
        }
        // A cpuset without CPUs takes nobody.
        if !dir.join("cpuset.cpus").exists() {
            let procs = openat(&fd, "cgroup.procs", OFlags::WRONLY, FileMode::empty()).unwrap();
            rustix::io::write(procs, pid.to_string().as_bytes()).unwrap();
        }
    }
    assert_eq!(made.record().pids().unwrap(), [pid]);
    made.record().kill_all().unwrap();
    made.record().remove().unwrap();
    assert!(dirs.iter().all(|dir| !dir.exists()));
}

#[test]
fn a_busy_cgroup_is_not_removed() {
    if !can_run() {
        return;
    }
    let mut made = Made::new("busy", "{}");
    made.sleeper();
    // One hierarchy is enough to wait for, and the wait is long.
    let mut json = serde_json::to_value(made.record()).unwrap();
    json["dirs"].as_array_mut().unwrap().truncate(1);
    let one: Record = serde_json::from_value(json).unwrap();
    let error = one.remove().unwrap_err();
    assert_eq!(error.errno(), Some(nix::errno::Errno::EBUSY), "{error}");
    assert_eq!(made.record().pids().unwrap().len(), 1);
}

#[test]
fn what_was_there_before() {
    if !can_run() {
        return;
    }
    let plan = plan("before", DENY_ALL);
    let first = Made::from(&plan);
    let second = plan.create().unwrap();
    assert!(first.record().dirs().iter().all(|dir| dir.made));
    assert!(second.record().dirs().iter().all(|dir| !dir.made), "empty: may be used");
    assert!(plan.record().dirs().iter().all(|dir| !dir.made));
    second.record().remove().unwrap();
    assert!(plan.paths().all(Path::exists), "but is not removed");

    first.record().freeze().unwrap();
    let error = plan.create().unwrap_err();
    assert_eq!(error.kind(), Kind::State);
    assert!(error.to_string().ends_with("is frozen; thaw it first"), "{error}");
    let below = plan_at(&format!("/{}/below", name("before")), "{}").unwrap();
    let error = below.create().unwrap_err();
    assert!(error.to_string().ends_with("is frozen; thaw it first"), "{error}");
    assert!(below.paths().all(|path| !path.exists()));
    first.record().thaw().unwrap();

    let mut first = first;
    first.sleeper();
    let error = plan.create().unwrap_err();
    assert_eq!(error.kind(), Kind::State);
    assert!(error.to_string().contains("has processes"), "{error}");
    assert_eq!(first.record().pids().unwrap().len(), 1);
}

#[test]
fn device_rules_of_an_earlier_owner_are_replaced() {
    if !can_run() || !Path::new("/dev/kmsg").exists() {
        return;
    }
    let _first = Made::new("again", DENY_ALL);
    for _ in 0..3 {
        let mut made = Made::new("again", r#"{"devices":[{"allow":true,"access":"rwm"}]}"#);
        assert!(made.succeeds("exec 3<>/dev/kmsg"));
        eventually("empty", || made.record().pids().unwrap().is_empty());
        let mut made = Made::new("again", DENY_ALL);
        assert!(!made.succeeds("exec 3<>/dev/kmsg"));
        eventually("empty", || made.record().pids().unwrap().is_empty());
    }
}

#[test]
fn the_early_record_cleans_up_after_a_crash() {
    if !can_run() {
        return;
    }
    let plan = plan("crash", "{}");
    let stored = serde_json::to_string(&plan.record()).unwrap();
    let cgroup = plan.create().unwrap();
    let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
    cgroup.enter_all(pid(&child)).unwrap();
    drop(cgroup);
    let record: Record = serde_json::from_str(&stored).unwrap();
    for _ in 0..2 {
        record.kill_all().unwrap();
        record.remove().unwrap();
        assert!(plan.paths().all(|path| !path.exists()));
    }
    child.wait().unwrap();
    // And before anything was made.
    record.kill_all().unwrap();
    record.remove().unwrap();
}

#[test]
fn abandoned_with_its_parents() {
    if !can_run() {
        return;
    }
    let top = name("parents");
    let plan = plan_at(&format!("/{top}/a"), "{}").unwrap();
    plan.create().unwrap().record().abandon().unwrap();
    for path in plan.paths() {
        assert!(!path.parent().unwrap().exists(), "{}", path.display());
    }
    // Delete leaves the parents, which are the engine's.
    plan.create().unwrap().record().remove().unwrap();
    for path in plan.paths() {
        assert!(!path.exists());
        fs::remove_dir(path.parent().unwrap()).unwrap();
    }
}

#[test]
fn another_process_joins() {
    if !can_run() {
        return;
    }
    let mut made = Made::new("join", "{}");
    let first = made.sleeper();
    let again = made.record().open().unwrap();
    assert_eq!(again.clone_fd().is_some(), made.unified().is_some());
    let child = Command::new("sleep").arg("1000").spawn().unwrap();
    let second = pid(&child);
    made.children.push(child);
    again.enter_all(second).unwrap();
    let mut pids = [first, second];
    pids.sort_unstable();
    assert_eq!(made.record().pids().unwrap(), pids);
}

#[test]
fn mounts_are_the_directories() {
    if !can_run() {
        return;
    }
    let made = Made::new("mounts", "{}");
    let mounts = made.record().mounts();
    assert!(!mounts.is_empty());
    for mount in mounts {
        match mount {
            CgroupMount::Unified { name, dir } => {
                assert!(dir.join("cgroup.events").exists());
                let whole = Layout::probe().unwrap().mode() == Mode::Unified;
                assert_eq!(name, if whole { "" } else { "unified" });
            }
            CgroupMount::V1 { name, options, dir } => {
                assert!(dir.starts_with(Path::new("/sys/fs/cgroup").join(&name)));
                assert!(dir.join("cgroup.procs").exists());
                let lines = fs::read_to_string("/proc/self/cgroup").unwrap();
                assert!(lines.contains(&format!(":{}:", options.join(","))));
            }
            CgroupMount::Link { name, target } => {
                assert!(target.split(',').any(|part| part == name));
            }
        }
    }
}

#[test]
fn delegation() {
    if !can_run() {
        return;
    }
    let made = Made::new("owner", "{}");
    made.cgroup.delegate(12345).unwrap();
    let owner = |path: &Path| fs::metadata(path).unwrap().uid();
    let whole = Layout::probe().unwrap().mode() == Mode::Unified;
    let expected = if whole { 12345 } else { 0 };
    for dir in made.record().dirs() {
        assert_eq!(owner(&dir.path), expected);
        assert_eq!(owner(&dir.path.join("cgroup.procs")), expected);
        let max = dir.path.join("cgroup.max.depth");
        assert!(!max.exists() || owner(&max) == 0, "limits stay out of reach");
    }
}

const UNPRIVILEGED: &str = "BULKHEAD_TEST_CGROUP_USER";

/// The next test once more, as somebody who may not make cgroups.
#[test]
fn without_privileges() {
    if !can_run() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let copy = dir.path().join("test");
    fs::copy(std::env::current_exe().unwrap(), &copy).unwrap();
    let output = Command::new(copy)
        .args(["--exact", "as_somebody"])
        .env(UNPRIVILEGED, "1")
        .current_dir("/")
        .uid(65534)
        .gid(65534)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("test as_somebody ... ok"), "{text}");
}

#[test]
fn as_somebody() {
    if std::env::var_os(UNPRIVILEGED).is_none() {
        return;
    }
    assert!(!nix::unistd::geteuid().is_root());
    let layout = Layout::probe().unwrap();
    let make = |path: Option<&str>, resources: &str, rootless: bool| {
        let resources: LinuxResources = serde_json::from_str(resources).unwrap();
        let options = Options { rootless, systemd: false };
        let path = path.map(Path::new);
        let id = name("somebody");
        Plan::new(&layout, &id, path, Some(&resources), &[], options, &mut Vec::new())?.create()
    };
    let none = make(None, DENY_ALL, true).unwrap();
    assert!(none.clone_fd().is_none() && !none.needs_enter());
    assert!(none.record().dirs().is_empty());
    none.enter(1).unwrap();

    let error = make(None, "{}", false).unwrap_err().to_string();
    assert!(error.contains("mkdir /sys/fs/cgroup/"), "{error}");
    let named = make(Some("/x"), "{}", true).unwrap_err().to_string();
    assert!(named.starts_with("rootless: delegate a cgroup to this user"), "{named}");
    let limit = if layout.mode() == Mode::Unified && hugetlb_on_v2() {
        r#"{"hugepageLimits":[{"pageSize":"2MB","limit":0}]}"#
    } else {
        r#"{"pids":{"limit":1}}"#
    };
    let limited = make(None, limit, true).unwrap_err().to_string();
    assert!(limited.starts_with("rootless: delegate a cgroup to this user"), "{limited}");
    assert!(limited.ends_with("permission denied"), "{limited}");
}
