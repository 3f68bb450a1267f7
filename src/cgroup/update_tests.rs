use super::*;
use crate::cgroup::knobs::{Version, knobs};
use crate::cgroup::layout::Mode;
use crate::cgroup::limits::Amount;
use crate::cgroup::record::Dir;

fn resources(text: &str) -> LinuxResources {
    serde_json::from_str(text).unwrap()
}

fn chosen(old: &str, new: &str, given: &str) -> Vec<Limit> {
    choose(Some(&resources(old)), &resources(new), &resources(given)).unwrap()
}

/// `file value` of all writes that the chosen limits become.
fn written(version: Version, old: &str, new: &str, given: &str) -> Vec<String> {
    let line = |write: &Write| {
        let knob = write.knobs.last().unwrap();
        format!("{} {}", knob.file, knob.value)
    };
    let mut out = Vec::new();
    for limit in chosen(old, new, given) {
        out.extend(knobs(&limit, version, &mut Vec::new()).unwrap().iter().map(line));
    }
    out
}

#[test]
fn only_what_is_another_or_named_is_written() {
    let old = r#"{"pids":{"limit":1},"cpu":{"shares":5,"cpus":"0"},"memory":{"limit":4096}}"#;
    assert_eq!(chosen(old, old, "{}"), []);
    assert_eq!(chosen(old, old, r#"{"pids":{"limit":1}}"#), [Limit::Pids(Amount::Of(1))]);
    assert_eq!(chosen(old, old, r#"{"cpu":{"cpus":"0"}}"#), [Limit::Cpus("0".into())]);
    let new = r#"{"pids":{"limit":2},"cpu":{"shares":5,"cpus":"0"},"memory":{"limit":4096}}"#;
    assert_eq!(chosen(old, new, r#"{"pids":{"limit":2}}"#), [Limit::Pids(Amount::Of(2))]);
    let none = choose(None, &resources(new), &resources("{}")).unwrap();
    assert_eq!(none.len(), 4);
}

#[test]
fn a_quota_alone_keeps_the_period() {
    let old = r#"{"cpu":{"quota":50000,"period":20000}}"#;
    let new = r#"{"cpu":{"quota":60000,"period":20000}}"#;
    let given = r#"{"cpu":{"quota":60000}}"#;
    assert_eq!(written(Version::V2, old, new, given), ["cpu.max 60000 20000"]);
    assert_eq!(
        written(Version::V1, old, new, given),
        ["cpu.cfs_period_us 20000", "cpu.cfs_quota_us 60000"]
    );
    let lifted = r#"{"cpu":{"quota":-1,"period":20000}}"#;
    let given = r#"{"cpu":{"quota":-1}}"#;
    assert_eq!(written(Version::V2, old, lifted, given), ["cpu.max max 20000"]);
}

#[test]
fn memory_alone_keeps_memory_and_swap_together() {
    let old = r#"{"memory":{"limit":4096,"swap":16384}}"#;
    let new = r#"{"memory":{"limit":8192,"swap":16384}}"#;
    let given = r#"{"memory":{"limit":8192}}"#;
    assert_eq!(written(Version::V2, old, new, given), ["memory.swap.max 8192", "memory.max 8192"]);
    let lifted = r#"{"memory":{"limit":-1}}"#;
    assert_eq!(
        written(Version::V2, old, lifted, lifted),
        ["memory.swap.max max", "memory.max max"]
    );
    // The limit would be above that on both.
    let new = resources(r#"{"memory":{"limit":32768,"swap":16384}}"#);
    assert!(choose(Some(&resources(old)), &new, &resources("{}")).is_err());
}

#[test]
fn an_idle_container_has_no_share() {
    let old = r#"{"cpu":{"shares":512}}"#;
    let idle = r#"{"cpu":{"shares":512,"idle":1}}"#;
    let given = r#"{"cpu":{"idle":1}}"#;
    assert_eq!(written(Version::V2, old, idle, given), ["cpu.idle 1"]);
    let awake = r#"{"cpu":{"shares":512,"idle":0}}"#;
    let given = r#"{"cpu":{"idle":0}}"#;
    assert_eq!(written(Version::V2, idle, awake, given), ["cpu.weight 59", "cpu.idle 0"]);
}

#[test]
fn entries_of_lists_are_written_one_by_one() {
    let list = |rate| {
        format!(
            r#"{{"blockIO":{{"throttleReadBpsDevice":[{{"major":8,"minor":0,"rate":1}},{{"major":8,"minor":16,"rate":{rate}}}]}}}}"#
        )
    };
    let given = r#"{"blockIO":{"throttleReadBpsDevice":[{"major":8,"minor":16,"rate":3}]}}"#;
    assert_eq!(written(Version::V2, &list(2), &list(3), given), ["io.max 8:16 rbps=3"]);
    assert_eq!(written(Version::V2, &list(3), &list(3), given), ["io.max 8:16 rbps=3"]);
    let unified = r#"{"unified":{"memory.high":"1","memory.low":"2"}}"#;
    let given = r#"{"unified":{"memory.high":"1"}}"#;
    assert_eq!(written(Version::V2, unified, unified, given), ["memory.high 1"]);
}

#[test]
fn what_undoes_a_write() {
    for (file, value, text, wanted) in [
        ("pids.max", "5", "max\n", Some("max")),
        ("cpu.max", "5000 10000", "max 100000\n", Some("max 100000")),
        ("cpuset.cpus", "0", "\n", Some("\n")),
        ("cpuset.cpus", "0", "", Some("\n")),
        ("memory.oom_control", "1", "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n", Some("0")),
        ("io.weight", "200", "default 100\n8:0 50\n", Some("default 100")),
        ("io.weight", "8:0 200", "default 100\n8:0 50\n", Some("8:0 50")),
        ("io.weight", "8:16 200", "default 100\n8:0 50\n", Some("8:16 default")),
        ("io.max", "8:0 rbps=1", "8:0 rbps=9 wbps=max\n", Some("8:0 rbps=9 wbps=max")),
        ("io.max", "8:0 rbps=1", "", Some("8:0 rbps=max wbps=max riops=max wiops=max")),
        ("blkio.throttle.read_bps_device", "8:0 1", "", Some("8:0 0")),
        ("blkio.throttle.read_bps_device", "8:0 1", "8:0 7\n", Some("8:0 7")),
        ("rdma.max", "m hca_handle=1", "", Some("m hca_handle=max hca_object=max")),
        ("net_prio.ifpriomap", "lo 4", "lo 1\neth0 2\n", Some("lo 1")),
        ("io.latency", "8:0 target=1", "", None),
        ("memory.stat", "1", "a 1\nb 2\n", None),
    ] {
        assert_eq!(undo(file, value, text).as_deref(), wanted, "{file} {value} {text:?}");
    }
}

/// Plain files stand in for those of the kernel.
fn files_in(dir: &std::path::Path, files: &[(&str, &str)]) -> Target {
    for (file, text) in files {
        std::fs::write(dir.join(file), text).unwrap();
    }
    Target::of(&Dir {
        name: String::new(),
        options: Vec::new(),
        root: dir.parent().unwrap().into(),
        path: dir.into(),
        made: false,
        above: 0,
    })
}

#[test]
fn a_failure_puts_back_what_was_written() {
    let dir = tempfile::tempdir().unwrap();
    let files = [("pids.max", "max"), ("memory.current", "9000"), ("memory.max", "max")];
    let mut target = files_in(dir.path(), &files);
    let new = resources(r#"{"pids":{"limit":7},"memory":{"limit":4096,"checkBeforeUpdate":true}}"#);
    let [typed, _] = &mut target.writes;
    for limit in choose(None, &new, &resources("{}")).unwrap() {
        typed.extend(knobs(&limit, Version::V2, &mut Vec::new()).unwrap());
    }
    let read = |file: &str| std::fs::read_to_string(dir.path().join(file)).unwrap();
    let undo = Undo::look(std::slice::from_ref(&target)).unwrap();
    let error = apply(&target).unwrap_err().to_string();
    assert!(error.contains("linux.resources.memory.limit: 4096"), "{error}");
    assert!(error.contains("9000 bytes in use"), "{error}");
    assert!(read("pids.max").starts_with('7'));
    // A write to a plain file leaves what is behind it.
    std::fs::write(dir.path().join("pids.max"), "").unwrap();
    undo.roll_back();
    assert_eq!((read("pids.max").as_str(), read("memory.max").as_str()), ("max", "max"));
}

#[test]
fn a_container_without_a_cgroup_cannot_be_limited() {
    let new = resources(r#"{"unified":{"memory.high":"1"}}"#);
    assert!(Record::new(Mode::None, Vec::new()).update(None, &new, &new, &mut Vec::new()).is_err());
}
