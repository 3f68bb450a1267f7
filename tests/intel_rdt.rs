//! `linux.intelRdt`. Few machines have resctrl: in these tests a directory stands for it, which the
//! runtime finds in a forged table of mounts.

use std::fs;
use std::path::PathBuf;

use crate::support::*;

/// Has the runtime find a resctrl file system with the group `shared`; returns its directory.
fn on_host(c: &mut Container) -> PathBuf {
    let root = c.path().join("resctrl");
    for (path, text) in [
        ("tasks", ""),
        ("schemata", "    L3:0=7ff\n    MB:0=100\n"),
        ("shared/tasks", ""),
        ("shared/schemata", "    L3:0=0ff\n    MB:0=050\n"),
        ("info/L3/cbm_mask", "7ff\n"),
        ("info/L3/min_cbm_bits", "2\n"),
        ("info/L3/num_closids", "16\n"),
        ("info/L3_MON/mon_features", "llc_occupancy\n"),
        ("shared/mon_data/mon_L3_00/llc_occupancy", "4711\n"),
    ] {
        c.file(&format!("resctrl/{path}"), text);
    }
    let script = format!(
        "cat /proc/self/mountinfo >{table}
         echo '9999 1 0:99 / {root} rw - resctrl resctrl rw' >>{table}
         mount --bind {table} /proc/$$/mountinfo
         exec \"$@\"",
        table = c.path().join("mountinfo").display(),
        root = root.display(),
    );
    let words = ["unshare", "--mount", "--propagation", "private", "sh", "-ec", &script, "sh"];
    c.rt.through = words.map(Into::into).to_vec();
    root
}

// Proves: linux.intelRdt.closID
#[test]
fn a_container_is_in_its_groups() {
    let mut c = Container::with_script("exec sleep 600");
    let root = on_host(&mut c);
    let (tasks, schemata) = (root.join("shared/tasks"), root.join("shared/schemata"));
    c.set("/linux/intelRdt", json!({"closID": "shared"}));
    c.run_detached();
    assert_eq!(fs::read_to_string(&tasks).unwrap(), format!("{}\n", c.process().pid));
    let events = c.rt.call(&["events", "--stats", &c.id]).ok();
    let events: Value = serde_json::from_str(&events.stdout).unwrap();
    assert_eq!(
        events["data"]["intel_rdt"],
        json!({
            "l3_cache_info": {"cbm_mask": "7ff", "min_cbm_bits": 2, "num_closids": 16},
            "l3_cache_schema_root": "L3:0=7ff",
            "l3_cache_schema": "L3:0=0ff",
            "schemata": ["L3:0=0ff", "MB:0=050"],
            "cmt_stats": [{"llc_occupancy": 4711}]
        })
    );
    fs::write(&tasks, "").unwrap();
    c.exec_sh("true");
    let exec = fs::read_to_string(&tasks).unwrap();
    assert!(exec.trim().parse::<u32>().unwrap() > 1 && exec.ends_with('\n'), "{exec:?}");
    c.rt.call(&["update", "--l3-cache-schema", "L3:0=00f", &c.id]).ok();
    assert!(fs::read_to_string(&schemata).unwrap().starts_with("L3:0=00f\n"));
    let ran = c.rt.call(&["update", "--mem-bw-schema", "MB:0=20\nL3:0=1", &c.id]);
    ran.refused(&["--mem-bw-schema", "one line"]);
    c.delete_force().ok();
    assert!(schemata.exists());
    c.rt.through.clear();
}

// Proves: linux.intelRdt.{memBwSchema,enableMonitoring}, linux.intelRdt:error
// Proves: features.linux.intelRdt.monitoring
#[test]
fn a_failed_create_leaves_no_group() {
    let mut c = Container::new();
    let root = on_host(&mut c);
    // The directory that stands for resctrl makes no files in a new group.
    c.set("/linux/intelRdt", json!({"memBwSchema": "MB:0=20"}));
    c.run().refused(&["linux.intelRdt.memBwSchema: write \"MB:0=20\" to ", "no such file"]);
    c.set("/linux/intelRdt", json!({}));
    c.run().refused(&["linux.intelRdt: write ", "/tasks", "no such file"]);
    c.set("/linux/intelRdt", json!({"closID": "new", "memBwSchema": "MB:0=20"}));
    c.run().refused(&["linux.intelRdt.memBwSchema: write "]);
    let monitors = root.join("shared/mon_groups");
    fs::create_dir(&monitors).unwrap();
    c.set("/linux/intelRdt", json!({"closID": "shared", "enableMonitoring": true}));
    c.run().refused(&["linux.intelRdt: write ", &format!("mon_groups/{}/tasks", c.id)]);
    assert_eq!(fs::read_dir(&monitors).unwrap().count(), 0);
    let mut names: Vec<_> = fs::read_dir(&root).unwrap().map(|e| e.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["info", "schemata", "shared", "tasks"]);
    c.rt.through.clear();
}

/// Nothing but the intent tells of a group that a create made before it died.
#[test]
fn a_create_that_died_leaves_no_group() {
    let mut c = Container::with_script("exec sleep 600");
    let root = on_host(&mut c);
    c.set("/linux/intelRdt", json!({"closID": "shared"}));
    c.create().ok();
    let dir = c.rt.root.join(&c.id);
    let state: Value =
        serde_json::from_str(&fs::read_to_string(dir.join("state.json")).unwrap()).unwrap();
    c.delete_force().ok();
    for (tasks, stays) in [("77\n", true), ("", false)] {
        let group = root.join("new");
        fs::create_dir_all(&group).unwrap();
        let tasks = (!tasks.is_empty()).then(|| c.file("resctrl/new/tasks", tasks));
        let mut groups = state["intelRdt"].clone();
        groups["dir"] = json!(group);
        groups["made"] = json!(true);
        let intent = json!({
            "version": state["version"], "id": state["id"], "bundle": state["bundle"],
            "created": state["created"], "cgroup": state["cgroup"], "bootId": state["bootId"],
            "intelRdt": groups,
        });
        fs::create_dir(&dir).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o1700);
        fs::set_permissions(&dir, mode).unwrap();
        fs::write(dir.join("intent.json"), intent.to_string()).unwrap();
        c.delete_force().ok();
        assert_eq!(group.exists(), stays);
        if let Some(tasks) = tasks {
            fs::remove_file(tasks).unwrap();
        }
    }
    c.rt.through.clear();
}

// Proves: linux.intelRdt:{differs,missing}
#[test]
fn what_cannot_be_given_is_refused() {
    let mut c = Container::new();
    on_host(&mut c);
    for (rdt, words) in [
        (json!({"closID": "none"}), &["linux.intelRdt.closID: \"none\": no such group"][..]),
        (
            json!({"closID": "shared", "l3CacheSchema": "L3:0=1"}),
            &["linux.intelRdt.l3CacheSchema: \"L3:0=1\": the group", "other limits: L3:0=0ff"],
        ),
        (json!({"closID": "info"}), &["linux.intelRdt.closID: \"info\""]),
    ] {
        c.set("/linux/intelRdt", rdt);
        c.run().refused(words);
        c.assert_gone();
    }
    c.rt.through.clear();
    if !fs::read_to_string("/proc/self/mountinfo").unwrap().contains(" - resctrl ") {
        c.set("/linux/intelRdt", json!({"closID": "/"}));
        c.run().refused(&["linux.intelRdt: the host has no mounted resctrl file system"]);
    }
}

// Proves: linux.intelRdt.{closID,l3CacheSchema,schemata}
// Proves: features.linux.intelRdt.{enabled,schemata}
#[test]
fn limits_of_an_existing_group_are_compared() {
    let mut c = Container::with_script("exec sleep 600");
    let root = on_host(&mut c);
    let limits = |bandwidth: &str| json!({"closID": "shared", "l3CacheSchema": "L3:0=0ff", "schemata": [bandwidth]});
    c.set("/linux/intelRdt", limits("MB:0=20"));
    c.run().refused(&["linux.intelRdt.schemata", "MB:0=20", "MB:0=050"]);
    c.assert_gone();
    c.set("/linux/intelRdt", limits("MB:0=50"));
    c.run_detached();
    let tasks = fs::read_to_string(root.join("shared/tasks")).unwrap();
    assert_eq!(tasks, format!("{}\n", c.process().pid));
    c.delete_force().ok();
    c.rt.through.clear();
}
