//! The groups of a container in a directory that stands for the file system. In a group made by a
//! test, `schemata` and `tasks` are FIFOs, which keep what is written and its order.

use std::cell::RefCell;
use std::fs::{self, File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::sys::stat::Mode;
use tempfile::TempDir;

use super::*;

thread_local! {
    static FILES: RefCell<Vec<(PathBuf, File)>> = const { RefCell::new(Vec::new()) };
}

/// Makes the files of a new group, as the kernel does.
pub fn populate(dir: &Path) {
    for name in ["tasks", "schemata"] {
        let path = dir.join(name);
        nix::unistd::mkfifo(&path, Mode::S_IRWXU).unwrap();
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).custom_flags(libc::O_NONBLOCK).open(&path);
        FILES.with_borrow_mut(|files| files.push((path, file.unwrap())));
    }
    fs::create_dir(dir.join("mon_groups")).unwrap();
}

/// Removes the files of a group with it, as the kernel does.
pub fn depopulate(dir: &Path) {
    if dir.exists() {
        fs::remove_dir_all(dir).unwrap();
        fs::create_dir(dir).unwrap();
    }
}

/// Returns what has been written to a file of a group.
fn written(path: &Path) -> String {
    FILES.with_borrow(|files| {
        let (_, file) = files.iter().rfind(|(of, _)| of == path).unwrap();
        let mut bytes = [0; 1024];
        let length = (&*file).read(&mut bytes).unwrap_or(0);
        String::from_utf8(bytes[..length].to_vec()).unwrap()
    })
}

/// A host with two third-level caches, and a group `shared`.
fn host() -> TempDir {
    let root = tempfile::tempdir().unwrap();
    let put = |path: &str, text: &str| {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    for group in ["", "shared/"] {
        put(&format!("{group}tasks"), "");
        put(&format!("{group}schemata"), "    MB:0=30;1=100\n    L3:0=7ff;1=0f\n");
        put(&format!("{group}mon_groups/other/tasks"), "");
        for (cache, number) in [("00", 1), ("01", 2)] {
            let dir = format!("{group}mon_data/mon_L3_{cache}");
            put(&format!("{dir}/llc_occupancy"), &format!("{number}000\n"));
            put(&format!("{dir}/mbm_total_bytes"), &format!("{number}00\n"));
            put(&format!("{dir}/mbm_local_bytes"), "Unavailable\n");
        }
    }
    put("info/last_cmd_status", "ok\n");
    put("info/L3/cbm_mask", "7ff\n");
    put("info/L3/min_cbm_bits", "2\n");
    put("info/L3/num_closids", "16\n");
    put("info/MB/bandwidth_gran", "10\n");
    put("info/MB/delay_linear", "1\n");
    put("info/MB/min_bandwidth", "10\n");
    put("info/MB/num_closids", "8\n");
    put("info/L3_MON/mon_features", "llc_occupancy\nmbm_total_bytes\nmbm_local_bytes\n");
    root
}

fn named(name: &str) -> Class {
    Class::Named(name.to_owned())
}

fn plan(root: &TempDir, class: Class, schemata: &[&str], monitors: bool) -> crate::Result<Plan> {
    let schema = |(index, line): (usize, &&str)| Schema {
        field: format!("schemata[{index}]"),
        line: (*line).to_owned(),
    };
    let schemata = schemata.iter().enumerate().map(schema).collect();
    let request = Request { id: "c1".to_owned(), class, schemata, monitors };
    Plan::below(root.path().to_owned(), request)
}

#[test]
fn a_group_of_the_containers_own() {
    let root = host();
    let plan = plan(&root, Class::Own, &["L3:0=f", "MB:0=20", "L2:0=1"], true).unwrap();
    let dir = root.path().join("c1");
    assert!(!dir.exists());
    let record = plan.make().unwrap();
    assert_eq!(written(&dir.join("schemata")), "L3:0=f\nMB:0=20\nL2:0=1\n");
    assert_eq!(record, plan_record_made(&plan));
    record.add(77).unwrap();
    let monitor = dir.join("mon_groups/c1");
    assert_eq!(written(&dir.join("tasks")), "77\n");
    assert_eq!(written(&monitor.join("tasks")), "77\n");
    let text = serde_json::to_string(&record).unwrap();
    assert_eq!(serde_json::from_str::<Record>(&text).unwrap().checked().unwrap(), &record);
    record.remove().unwrap();
    assert!(!dir.exists());
    record.remove().unwrap();
}

/// The record that a plan foresees, which names a group as made only if it does not exist.
fn plan_record_made(plan: &Plan) -> Record {
    Record { made: true, own: true, ..plan.record() }
}

#[test]
fn an_existing_group_of_the_containers_name_stays() {
    let root = host();
    let dir = root.path().join("c1");
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("tasks"), "77\n").unwrap();
    fs::write(dir.join("schemata"), "MB:0=30\n").unwrap();
    let error = plan(&root, Class::Own, &["MB:0=20"], false).unwrap_err().to_string();
    assert!(error.contains("has processes already"), "{error}");
    fs::write(dir.join("tasks"), "").unwrap();
    // Another program uses it since the plan.
    let late = plan(&root, Class::Own, &["MB:0=20"], false).unwrap();
    fs::write(dir.join("tasks"), "77\n").unwrap();
    let error = late.make().unwrap_err().to_string();
    assert!(error.contains("has processes already"), "{error}");
    assert_eq!(fs::read_to_string(dir.join("schemata")).unwrap(), "MB:0=30\n");
    fs::write(dir.join("tasks"), "").unwrap();
    let record = plan(&root, Class::Own, &["MB:0=20"], false).unwrap().make().unwrap();
    assert_eq!(fs::read_to_string(dir.join("schemata")).unwrap(), "MB:0=20\n");
    record.remove().unwrap();
    record.abandon().unwrap();
    assert!(dir.exists());
}

#[test]
fn a_named_group_stays_and_its_monitoring_group_goes() {
    let root = host();
    for (class, dir) in [(named("shared"), "shared"), (Class::Default, "")] {
        let dir = root.path().join(dir);
        let record = plan(&root, class, &[], true).unwrap().make().unwrap();
        let monitor = dir.join("mon_groups/c1");
        record.add(77).unwrap();
        assert_eq!(fs::read_to_string(dir.join("tasks")).unwrap(), "77\n");
        assert_eq!(written(&monitor.join("tasks")), "77\n");
        record.remove().unwrap();
        record.abandon().unwrap();
        assert!(dir.exists() && !monitor.exists());
    }
}

#[test]
fn a_named_group_is_made_for_its_limits() {
    let root = host();
    let dir = root.path().join("new");
    let record = plan(&root, named("new"), &["MB:0=20"], false).unwrap().make().unwrap();
    assert_eq!(written(&dir.join("schemata")), "MB:0=20\n");
    record.remove().unwrap();
    assert!(dir.exists());
    // After a failed create it goes, unless another container is in it by now.
    for (tasks, stays) in [("77\n", true), ("", false)] {
        fs::remove_file(dir.join("tasks")).unwrap();
        fs::write(dir.join("tasks"), tasks).unwrap();
        record.abandon().unwrap();
        assert_eq!(dir.exists(), stays);
    }
}

#[test]
fn limits_of_an_existing_group_are_compared() {
    let root = host();
    for lines in [
        &["L3:0=7ff;1=f", "MB:0=30"][..],
        &["L3:1=0xf"],
        // The kernel rounds up to a multiple of bandwidth_gran.
        &["MB:0=21;1=91"],
    ] {
        plan(&root, named("shared"), lines, false).unwrap();
    }
    let found = |line: &str| format!("exists with other limits: {line}");
    for (line, why) in [
        ("L3:0=7fe", found("L3:0=7ff;1=0f")),
        ("L3:2=1", found("L3:0=7ff;1=0f")),
        ("MB:0=20", found("MB:0=30;1=100")),
        ("MB:0=31", found("MB:0=30;1=100")),
        ("L2:0=1", "exists without a limit of L2".to_owned()),
        ("L3", "not in the form NAME:ID=VALUE;ID=VALUE".to_owned()),
        ("L3:0=x", "not in the form NAME:ID=VALUE;ID=VALUE".to_owned()),
    ] {
        let error = plan(&root, named("shared"), &[line], false).unwrap_err().to_string();
        assert!(error.starts_with(&format!("schemata[0]: {line:?}: ")), "{error}");
        assert!(error.ends_with(&why), "{error}");
    }
}

#[test]
fn what_cannot_be_given_is_refused() {
    let root = host();
    let refused = |class: Class, monitors| {
        plan(&root, class, &[], monitors).map(drop).unwrap_err().to_string()
    };
    assert_eq!(
        refused(named("none"), false),
        "linux.intelRdt.closID: \"none\": no such group, and no schema to make it with"
    );
    fs::create_dir(root.path().join("plain")).unwrap();
    assert_eq!(
        refused(named("plain"), false),
        "linux.intelRdt.closID: \"plain\": no group of processes"
    );
    fs::create_dir(root.path().join("shared/mon_groups/c1")).unwrap();
    assert_eq!(
        refused(named("shared"), true),
        "linux.intelRdt.enableMonitoring: the monitoring group \"c1\" exists"
    );
}

#[test]
fn after_an_error_there_is_no_group() {
    let root = host();
    let own = plan(&root, Class::Own, &[], true).unwrap();
    let shared = plan(&root, named("shared"), &["MB:0=30"], true).unwrap();
    // Made by another runtime since the plan.
    fs::create_dir(root.path().join("shared/mon_groups/c1")).unwrap();
    assert!(shared.make().unwrap_err().to_string().contains("the monitoring group \"c1\" exists"));
    assert!(root.path().join("shared/mon_groups/c1").exists());
    fs::write(root.path().join("info/last_cmd_status"), "Out of CLOSIDs\n").unwrap();
    fs::write(root.path().join("c1"), "").unwrap();
    let error = own.make().unwrap_err().to_string();
    assert!(error.ends_with("not a directory; last_cmd_status: Out of CLOSIDs"), "{error}");
}

#[test]
fn changed_limits_can_be_restored() {
    let root = host();
    let record = plan(&root, named("shared"), &[], false).unwrap().make().unwrap();
    let schemata = |lines: &[&str]| -> Vec<Schema> {
        let schema = |line: &&str| Schema { field: "f".to_owned(), line: (*line).to_owned() };
        lines.iter().map(schema).collect()
    };
    let file = root.path().join("shared/schemata");
    let undo = record.change(&schemata(&["MB:0=50;1=50"])).unwrap();
    assert!(fs::read_to_string(&file).unwrap().starts_with("MB:0=50;1=50\n"));
    undo.roll_back();
    assert!(fs::read_to_string(&file).unwrap().starts_with("MB:0=30;1=100\n"));
    record.change(&[]).unwrap();
}

#[test]
fn figures() {
    let root = host();
    let record = plan(&root, named("shared"), &[], false).unwrap().make().unwrap();
    assert_eq!(
        serde_json::to_value(record.stats().unwrap()).unwrap(),
        serde_json::json!({
            "l3_cache_info": {"cbm_mask": "7ff", "min_cbm_bits": 2, "num_closids": 16},
            "l3_cache_schema_root": "L3:0=7ff;1=0f",
            "l3_cache_schema": "L3:0=7ff;1=0f",
            "mem_bw_info": {
                "bandwidth_gran": 10, "delay_linear": 1, "min_bandwidth": 10, "num_closids": 8
            },
            "mem_bw_schema_root": "MB:0=30;1=100",
            "mem_bw_schema": "MB:0=30;1=100",
            "schemata": ["MB:0=30;1=100", "L3:0=7ff;1=0f"],
            "mbm_stats": [
                {"mbm_total_bytes": 100, "mbm_local_bytes": 0},
                {"mbm_total_bytes": 200, "mbm_local_bytes": 0}
            ],
            "cmt_stats": [{"llc_occupancy": 1000}, {"llc_occupancy": 2000}]
        })
    );
    fs::remove_dir_all(root.path().join("info")).unwrap();
    assert_eq!(record.stats().unwrap().schemata.len(), 2);
}

#[test]
fn a_record_leads_to_no_other_directory() {
    for (root, dir, monitor) in [
        ("/r", "/etc", None),
        ("/r", "/r/../etc", None),
        ("/r", "/r/a", Some("/etc")),
        ("/r", "/r", None),
        ("/r", "/r/a", Some("/r")),
        ("/", "/etc", None),
    ] {
        let record = Record {
            root: root.into(),
            dir: dir.into(),
            made: true,
            own: true,
            monitor: monitor.map(Into::into),
        };
        assert!(record.checked().is_err(), "{record:?}");
    }
}
