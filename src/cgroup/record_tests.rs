use super::super::mounts::CgroupMount;
use super::*;

fn dir(name: &str, options: &[&str], path: &str) -> Dir {
    Dir {
        name: name.to_owned(),
        options: options.iter().map(|option| option.to_string()).collect(),
        root: Path::new("/sys/fs/cgroup").join(name),
        path: path.into(),
        made: true,
        above: 0,
    }
}

#[test]
fn roots_and_strange_paths_are_refused() {
    for path in [
        "/",
        "/sys/fs/cgroup",
        "/sys/fs/cgroup/",
        "/sys/fs/cgroup/../x",
        "/sys/fs/cgroup/a/../..",
        "/sys/fs/cgroupx/a",
        "a",
        "",
        "/home/user",
    ] {
        let record = Record::new(Mode::Unified, vec![dir("", &[], path)]);
        for result in [record.remove(), record.kill_all(), record.freeze(), record.thaw()] {
            assert_eq!(result.unwrap_err().kind(), Kind::State, "{path:?}");
        }
        assert!(record.pids().is_err());
        assert!(record.checked().is_err());
    }
    let mut root = dir("", &[], "/etc/x");
    root.root = "/".into();
    assert!(Record::new(Mode::Unified, vec![root]).remove().is_err());
}

#[test]
fn what_was_there_before_is_told_apart() {
    let mut there = dir("freezer", &["freezer"], "/sys/fs/cgroup/freezer/there");
    there.made = false;
    let new = dir("", &[], "/sys/fs/cgroup/unified/new");
    let record = Record::new(Mode::Hybrid, vec![there, new.clone()]);
    assert_eq!(record.made().dirs, [new]);
}

#[test]
fn nothing_is_left_to_do_for_a_cgroup_that_is_gone() {
    let record = Record::new(
        Mode::Hybrid,
        vec![
            dir("unified", &[], "/sys/fs/cgroup/unified/bulkhead-test-no-such"),
            dir("freezer", &["freezer"], "/sys/fs/cgroup/freezer/bulkhead-test-no-such"),
        ],
    );
    record.remove().unwrap();
    record.kill_all().unwrap();
    assert!(record.pids().unwrap().is_empty());
    assert!(!record.frozen().unwrap());
    Record::new(Mode::None, Vec::new()).remove().unwrap();
}

#[test]
fn mounts_mirror_the_host() {
    let v2 = Record::new(Mode::Unified, vec![dir("", &[], "/sys/fs/cgroup/a")]);
    let whole = CgroupMount::Unified { name: "".into(), dir: "/sys/fs/cgroup/a".into() };
    assert_eq!(v2.mounts(), [whole]);
    let hybrid = Record::new(
        Mode::Hybrid,
        vec![
            dir("unified", &[], "/u/a"),
            dir("cpu,cpuacct", &["cpu", "cpuacct"], "/c/a"),
            dir("systemd", &["name=systemd"], "/s/a"),
        ],
    );
    let link = |name: &str| CgroupMount::Link { name: name.into(), target: "cpu,cpuacct".into() };
    let v1 = |name: &str, options: &[&str], dir: &str| CgroupMount::V1 {
        name: name.into(),
        options: options.iter().map(|option| option.to_string()).collect(),
        dir: dir.into(),
    };
    assert_eq!(
        hybrid.mounts(),
        [
            v1("cpu,cpuacct", &["cpu", "cpuacct"], "/c/a"),
            v1("systemd", &["name=systemd"], "/s/a"),
            link("cpu"),
            link("cpuacct"),
        ]
    );
}

#[test]
fn the_stored_form_is_stable() {
    let record = Record::new(
        Mode::Hybrid,
        vec![
            dir("", &[], "/sys/fs/cgroup/a"),
            dir("systemd", &["name=systemd"], "/sys/fs/cgroup/systemd/a"),
        ],
    );
    let text = r#"{"mode":"hybrid","dirs":[{"root":"/sys/fs/cgroup/","path":"/sys/fs/cgroup/a","made":true},{"name":"systemd","options":["name=systemd"],"root":"/sys/fs/cgroup/systemd","path":"/sys/fs/cgroup/systemd/a","made":true}]}"#;
    assert_eq!(serde_json::to_string(&record).unwrap(), text);
    assert_eq!(serde_json::from_str::<Record>(text).unwrap(), record);
    // A field of a later version is ignored.
    let later = r#"{"mode":"none","later":1}"#;
    assert_eq!(serde_json::from_str::<Record>(later).unwrap(), Record::new(Mode::None, Vec::new()));
}
