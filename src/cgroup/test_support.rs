//! Creates cgroups for tests through the types of the module, without a container; removes them at
//! the end of a test, with the processes in them.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::cgroup::{Cgroup, CgroupOptions, CgroupPlan as Plan, Layout, Record, Resources};
use oci_spec::runtime::LinuxResources;

/// Returns the rules of a container without rules of its own.
pub const DENY_ALL: &str = r#"{"devices":[{"allow":false,"access":"rwm"}]}"#;

pub fn name(tag: &str) -> String {
    format!("bulkhead-test-{}-{tag}", std::process::id())
}

pub fn plan_at(path: &str, resources: &str) -> crate::Result<Plan> {
    let layout = Layout::probe()?;
    let resources: LinuxResources = serde_json::from_str(resources).unwrap();
    let resources = Resources::new(Some(&resources), &[])?;
    let (path, options) = (Path::new(path), CgroupOptions::default());
    Plan::new(&layout, "unused", Some(path), &resources, &options, &mut Vec::new())
}

pub fn plan(tag: &str, resources: &str) -> Plan {
    plan_at(&format!("/{}", name(tag)), resources).unwrap()
}

/// Creates the cgroup. Repeats while another test starts a process, which has a copy of every
/// descriptor until its execve(2), including that of an earlier lock.
pub fn create(plan: &Plan) -> Cgroup {
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        match plan.create() {
            Err(error) if error.to_string().contains("is being created") => {
                assert!(Instant::now() < end, "{error}");
                std::thread::sleep(Duration::from_millis(1));
            }
            other => return other.unwrap(),
        }
    }
}

/// A cgroup that is removed at the end of the test, even of a failed test.
pub struct Made {
    pub cgroup: Cgroup,
    pub children: Vec<Child>,
}

impl Made {
    pub fn new(tag: &str, resources: &str) -> Made {
        Made::from(&plan(tag, resources))
    }

    pub fn from(plan: &Plan) -> Made {
        let mut cgroup = create(plan);
        cgroup.set_devices().unwrap();
        // Open it again, as a later command does: the creator locks others out until it exits.
        let record = cgroup.record().clone();
        drop(cgroup);
        Made { cgroup: Cgroup::open(&record).unwrap(), children: Vec::new() }
    }

    pub fn record(&self) -> &Record {
        self.cgroup.record()
    }

    /// Starts a shell that runs `script` once it is in the cgroup.
    pub fn shell(&mut self, script: &str) -> &mut Child {
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

    pub fn sleeper(&mut self) -> i32 {
        pid(self.shell("exec sleep 1000"))
    }

    /// Whether `script` succeeds in the cgroup.
    pub fn succeeds(&mut self, script: &str) -> bool {
        self.shell(script).wait().unwrap().success()
    }

    /// Returns the file of `controller`; `None` if the controller has no v1 hierarchy here.
    pub fn v1(&self, controller: &str) -> Option<&Path> {
        let mut dirs = self.record().dirs.iter();
        dirs.find(|dir| dir.has_controller(controller)).map(|dir| dir.path.as_path())
    }

    pub fn unified(&self) -> Option<&Path> {
        self.record().unified().map(|dir| dir.path.as_path())
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        let record = self.cgroup.record();
        let killed = record.kill_all();
        // In any case: a failed test must not leave processes behind, or wait for one.
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

pub fn pid(child: &Child) -> i32 {
    i32::try_from(child.id()).unwrap()
}

pub fn read(dir: &Path, file: &str) -> String {
    let path = dir.join(file);
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    text.trim().to_owned()
}

#[track_caller]
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

pub fn hugetlb_on_v2() -> bool {
    ["/sys/fs/cgroup/cgroup.controllers", "/sys/fs/cgroup/unified/cgroup.controllers"]
        .iter()
        .filter_map(|file| fs::read_to_string(file).ok())
        .any(|text| text.split_ascii_whitespace().any(|name| name == "hugetlb"))
}
