use super::super::layout::{Dir, Mode};
use super::super::limit::Amount;
use super::super::setting::{Setting, Version};
use super::super::settings::settings;
use super::*;
use crate::list::List;

fn resources(text: &str) -> LinuxResources {
    serde_json::from_str(text).unwrap()
}

fn chosen(old: &str, new: &str, given: &str) -> Vec<Limit> {
    Update::new(&resources(old), &resources(new), &resources(given), &[]).unwrap().limits
}

/// Returns `file value` of all writes for the chosen limits.
fn written(version: Version, old: &str, new: &str, given: &str) -> Vec<String> {
    let line = |setting: &Setting| {
        let file = setting.files.last().unwrap();
        format!("{} {}", file.name, file.content)
    };
    let mut out = Vec::new();
    for limit in chosen(old, new, given) {
        out.extend(settings(&limit, version).unwrap().iter().map(line));
    }
    out
}

#[test]
fn only_what_is_another_or_named_is_written() {
    let old = r#"{"pids":{"limit":1},"cpu":{"shares":5,"cpus":"0"},"memory":{"limit":4096}}"#;
    assert_eq!(chosen(old, old, "{}"), []);
    assert_eq!(chosen(old, old, r#"{"pids":{"limit":1}}"#), [Limit::Pids(Amount::Of(1))]);
    assert_eq!(
        chosen(old, old, r#"{"cpu":{"cpus":"0"}}"#),
        [Limit::Cpus(List::parse("0").unwrap())]
    );
    let new = r#"{"pids":{"limit":2},"cpu":{"shares":5,"cpus":"0"},"memory":{"limit":4096}}"#;
    assert_eq!(chosen(old, new, r#"{"pids":{"limit":2}}"#), [Limit::Pids(Amount::Of(2))]);
    assert_eq!(chosen("{}", new, "{}").len(), 4);
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
    // The limit would be above the other one on both versions.
    let new = resources(r#"{"memory":{"limit":32768,"swap":16384}}"#);
    assert!(Update::new(&resources(old), &new, &resources("{}"), &[]).is_err());
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

/// Plain files in the place of the kernel's.
fn files_in(dir: &std::path::Path, files: &[(&str, &str)]) -> DirPlan {
    for (file, text) in files {
        std::fs::write(dir.join(file), text).unwrap();
    }
    let root = dir.parent().unwrap().into();
    DirPlan::new(Dir { path: dir.into(), ..Dir::new("", "", root, "/") })
}

#[test]
fn a_failure_puts_back_what_was_written() {
    let dir = tempfile::tempdir().unwrap();
    let files = [("pids.max", "max"), ("memory.current", "9000"), ("memory.max", "max")];
    let mut plan = files_in(dir.path(), &files);
    let new = r#"{"pids":{"limit":7},"memory":{"limit":4096,"checkBeforeUpdate":true}}"#;
    let [typed, _] = &mut plan.settings;
    for limit in chosen("{}", new, "{}") {
        typed.extend(settings(&limit, Version::V2).unwrap());
    }
    let read = |file: &str| std::fs::read_to_string(dir.path().join(file)).unwrap();
    let record = Record::new(Mode::None, Vec::new());
    let undo = Undo::of_files(&record, std::slice::from_ref(&plan)).unwrap();
    let error = apply(&plan).unwrap_err().to_string();
    assert!(error.contains("linux.resources.memory.limit: 4096"), "{error}");
    assert!(error.contains("9000 bytes in use"), "{error}");
    assert!(read("pids.max").starts_with('7'));
    // A write to a plain file keeps the bytes behind it.
    std::fs::write(dir.path().join("pids.max"), "").unwrap();
    undo.roll_back();
    assert_eq!((read("pids.max").as_str(), read("memory.max").as_str()), ("max", "max"));
}

#[test]
fn a_container_without_a_cgroup_cannot_be_limited() {
    let new = resources(r#"{"unified":{"memory.high":"1"}}"#);
    let update = Update::new(&resources("{}"), &new, &new, &[]).unwrap();
    assert!(Record::new(Mode::None, Vec::new()).update(&update, &mut Vec::new()).is_err());
}
