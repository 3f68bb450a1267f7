use oci_spec::runtime::LinuxResources;

use super::super::limit::Limit;
use super::*;

fn v1(name: &str, own: &str) -> Dir {
    let options = if name == "systemd" { "name=systemd" } else { name };
    Dir::new(name, options, Path::new("/no/such/cgroup").join(name), own)
}

fn unified(mode: Mode, root: &str, own: &str, controllers: &[&str]) -> Layout {
    let controllers = controllers.iter().map(|name| name.to_string()).collect();
    Layout { mode, dirs: vec![Dir::new("", "", root.into(), own)], controllers }
}

fn hybrid() -> Layout {
    let v1 = ["cpu,cpuacct", "cpuset", "memory", "devices", "freezer", "pids", "systemd"]
        .map(|name| v1(name, if name == "memory" { "/api/1" } else { "/" }));
    let mut layout = unified(Mode::Hybrid, "/no/such/cgroup/unified", "/", &["hugetlb"]);
    layout.dirs.extend(v1);
    layout
}

fn v2(controllers: &[&str]) -> Layout {
    unified(Mode::Unified, "/no/such/cgroup", "/user.slice/a.scope", controllers)
}

fn none() -> Layout {
    Layout { mode: Mode::None, dirs: Vec::new(), controllers: Vec::new() }
}

fn plan(
    layout: &Layout,
    path: Option<&str>,
    resources: &str,
    options: CgroupOptions,
) -> Result<CgroupPlan> {
    let resources: LinuxResources = serde_json::from_str(resources).unwrap();
    let path = path.map(Path::new);
    let resources = Resources::new(Some(&resources), &[])?;
    CgroupPlan::new(layout, "c1", path, &resources, &options, &mut Vec::new())
}

fn refused(layout: &Layout, resources: &str, message: &str) {
    let error = plan(layout, None, resources, CgroupOptions::default()).unwrap_err().to_string();
    assert!(error.contains(message), "{error}");
}

const ROOTLESS: CgroupOptions = CgroupOptions {
    rootless: true,
    in_user_namespace: false,
    systemd: None,
    mounts_devices: false,
};

#[test]
fn every_hierarchy_has_a_directory() {
    let plan = plan(&hybrid(), None, "{}", CgroupOptions::default()).unwrap();
    let paths: Vec<String> = plan.paths().map(|path| path.display().to_string()).collect();
    assert_eq!(
        paths,
        [
            "/no/such/cgroup/unified/c1",
            "/no/such/cgroup/cpu,cpuacct/c1",
            "/no/such/cgroup/cpuset/c1",
            "/no/such/cgroup/memory/api/1/c1",
            "/no/such/cgroup/devices/c1",
            "/no/such/cgroup/freezer/c1",
            "/no/such/cgroup/pids/c1",
            "/no/such/cgroup/systemd/c1",
        ]
    );
    assert!(matches!(plan.devices, DeviceControl::V1(_)));
    let limited: Vec<bool> =
        plan.dirs.iter().map(|dir_plan| plan.devices.applies_to(&dir_plan.dir)).collect();
    assert_eq!(limited, [false, false, false, false, true, false, false, false]);
    assert!(plan.dirs.iter().all(|dir_plan| dir_plan.wanted.is_empty()));
    let record = plan.record();
    assert!(record.dirs.iter().all(|dir| dir.made));
    assert_eq!(record.mode, Mode::Hybrid);
}

#[test]
fn a_directory_that_exists_is_not_to_be_removed() {
    let parent = tempfile::tempdir().unwrap();
    let mut layout = hybrid();
    layout.dirs.truncate(1);
    layout.dirs.push(Dir::new("devices", "devices", parent.path().to_owned(), "/"));
    layout.dirs.push(v1("freezer", "/"));
    std::fs::create_dir(parent.path().join("c1")).unwrap();
    let record = plan(&layout, None, "{}", CgroupOptions::default()).unwrap().record();
    let made: Vec<bool> = record.dirs.iter().map(|dir| dir.made).collect();
    assert_eq!(made, [true, false, true]);
}

#[test]
fn directories_on_the_way_are_counted() {
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir(root.path().join("a")).unwrap();
    let mut layout = hybrid();
    layout.dirs.truncate(1);
    layout.dirs.push(Dir::new("devices", "devices", root.path().to_owned(), "/"));
    for (path, above) in [("/a/b/c/d", 2), ("/a/b", 0), ("/a", 0), ("/x/y", 1), ("/x", 0)] {
        let plan = plan(&layout, Some(path), "{}", CgroupOptions::default()).unwrap();
        assert_eq!(plan.record().dirs[1].above, above, "{path}");
        assert_eq!(plan.record().dirs[1].made, path != "/a");
    }
}

#[test]
fn limits_go_to_the_hierarchy_of_their_controller() {
    let resources = r#"{"cpu":{"shares":7,"cpus":"0"},
        "hugepageLimits":[{"pageSize":"2MB","limit":0}]}"#;
    let plan = plan(&hybrid(), None, resources, CgroupOptions::default()).unwrap();
    let files = |index: usize| -> Vec<&str> {
        let settings = plan.dirs[index].settings.iter().flatten();
        settings.map(|setting| setting.files[0].name.as_str()).collect()
    };
    assert_eq!(files(0), ["hugetlb.2MB.max", "hugetlb.2MB.rsvd.max"]);
    assert_eq!(plan.dirs[0].needed, ["hugetlb"]);
    assert_eq!(plan.dirs[0].wanted, ["hugetlb"]);
    assert_eq!(files(1), ["cpu.shares"]);
    assert_eq!(files(2), ["cpuset.cpus"]);
    assert_eq!(plan.dirs[2].inherit, ["cpuset.mems"]);
}

#[test]
fn unified_needs_v2_alone_and_its_controller() {
    let resources = r#"{"unified":{"hugetlb.2MB.max":"0"}}"#;
    refused(
        &hybrid(),
        resources,
        "linux.resources.unified: \"hugetlb.2MB.max\": invalid configuration: needs a host",
    );
    refused(&v2(&["cpu"]), resources, "the host has no cgroup controller \"hugetlb\"");
    let resources = r#"{"unified":{"cgroup.max.depth":"1","pids.max":"1"},"pids":{"limit":3}}"#;
    let plan = plan(&v2(&["cpu", "pids"]), None, resources, CgroupOptions::default()).unwrap();
    let [typed, last] = &plan.dirs[0].settings;
    assert_eq!((typed.len(), last.len()), (1, 2));
    assert_eq!(plan.dirs[0].needed, ["pids"]);
    assert_eq!(plan.dirs[0].wanted, ["cpu", "pids"]);
}

#[test]
fn a_missing_controller_is_named() {
    refused(
        &hybrid(),
        r#"{"blockIO":{"weight":100}}"#,
        "linux.resources.blockIO.weight: the host has no cgroup controller \"blkio\"",
    );
    refused(&hybrid(), r#"{"network":{"classID":1}}"#, "no cgroup controller \"net_cls\"");
    refused(
        &v2(&[]),
        r#"{"memory":{"limit":4096}}"#,
        "linux.resources.memory.limit: the host has no cgroup controller \"memory\"",
    );
    refused(&v2(&["memory"]), r#"{"network":{"classID":1}}"#, "cgroup v2 has no equivalent");
    let layout = Layout { mode: Mode::Legacy, dirs: vec![v1("memory", "/")], ..none() };
    refused(&layout, "{}", "the host has no cgroup controller \"devices\"");
}

#[test]
fn kernel_memory_is_told() {
    for layout in [hybrid(), v2(&["memory"])] {
        let mut warnings = Vec::new();
        let mut dirs = Vec::new();
        add(&layout, &mut dirs, &Limit::KernelMemory, &mut warnings).unwrap();
        assert_eq!(warnings.len(), 1);
        assert!(warnings[0].starts_with("linux.resources.memory.kernel: ignored"));
    }
}

#[test]
fn v2_is_beside_the_own_cgroup() {
    let plan = plan(&v2(&[]), None, "{}", CgroupOptions::default()).unwrap();
    assert_eq!(plan.dirs[0].dir.path, Path::new("/no/such/cgroup/user.slice/c1"));
    assert!(matches!(plan.devices, DeviceControl::Program(_)));
    assert!(plan.devices.applies_to(&plan.dirs[0].dir));
}

#[test]
fn a_full_cgroup_is_not_cloned_into() {
    let layout = v2(&["pids"]);
    let full =
        |resources| plan(&layout, None, resources, CgroupOptions::default()).unwrap().enter_unified;
    assert!(!full(r#"{"pids":{"limit":0}}"#));
    assert!(!full(r#"{"pids":{"limit":1}}"#));
    assert!(!full("{}"));
    assert!(full(r#"{"pids":{"limit":1},"unified":{"pids.max":"0"}}"#));
    assert!(!full(r#"{"pids":{"limit":0},"unified":{"pids.max":"max"}}"#));
}

#[test]
fn without_cgroups() {
    let error = plan(&none(), None, "{}", CgroupOptions::default()).unwrap_err().to_string();
    assert_eq!(error, "/sys/fs/cgroup: no cgroup file system is mounted there");
    let rootless = plan(&none(), None, "{}", ROOTLESS).unwrap();
    assert_eq!(rootless.record(), Record::new(Mode::None, Vec::new()));
    assert!(plan(&none(), Some("/a"), "{}", ROOTLESS).is_err());
    assert!(plan(&none(), None, r#"{"pids":{"limit":1}}"#, ROOTLESS).is_err());
    let cgroup = CgroupPlan::none(&ROOTLESS).create().unwrap();
    assert!(cgroup.clone_fd().is_none() && !cgroup.needs_enter());
    cgroup.enter(1).unwrap();
}
