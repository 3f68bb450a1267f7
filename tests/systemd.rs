//! `--systemd-cgroup`: what systemd says of the unit, what the kernel says of its cgroup, and that
//! neither has anything left of it afterwards. All but the first two need a machine that runs
//! systemd, such as that of `hack/vm`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::rootless::{NOBODY, of_nobody};
use crate::support::*;

/// A container whose unit is `bt-ID.scope`; `--systemd-cgroup` is given to `create` alone.
fn with_unit(script: &str) -> Container {
    let mut c = Container::with_script(script);
    let path = format!("bt-test.slice:bt:{}", c.id);
    c.set("/linux/cgroupsPath", json!(path));
    c
}

fn unit(c: &Container) -> String {
    format!("bt-{}.scope", c.id)
}

fn create(c: &mut Container) -> Ran {
    c.rt.global = vec!["--systemd-cgroup".into()];
    let ran = c.create();
    c.rt.global.clear();
    ran
}

macro_rules! need_systemd {
    () => {
        if !Path::new("/run/systemd/system").is_dir() {
            skip!("no systemd here");
        }
        if controller("memory").is_none() || !Path::new("/proc/1/root/run/systemd").is_dir() {
            skip!("no cgroups of systemd in this view");
        }
    };
}

fn systemctl(words: &[&str]) -> String {
    let output = Command::new("systemctl").args(words).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// A property of a unit, as systemd says it.
fn property(unit: &str, name: &str) -> String {
    systemctl(&["show", "--value", "-p", name, unit]).trim().to_owned()
}

/// Where in the hierarchy of `controller` a process is.
fn cgroup_of(process: Proc) -> String {
    let text = process.read("cgroup");
    let line = text.lines().find(|line| line.contains(":memory:") || line.starts_with("0::"));
    line.unwrap().splitn(3, ':').nth(2).unwrap().to_owned()
}

fn assert_no_unit(unit: &str) {
    wait_until(format!("end of {unit}"), || property(unit, "LoadState") == "not-found");
    let listed = systemctl(&["list-units", "--all", "--plain", "--no-legend", unit]);
    assert_eq!(listed.trim(), "", "{unit}");
}

// ---- on every machine

// Evidence: CVE-2024-3154 (create)
#[test]
fn a_path_that_is_none_for_systemd_is_refused_before_anything_is_made() {
    for path in ["/a/b", "a.slice:b", "a:b:c", "a--b.slice:b:c", "a.slice:b:", "a.slice:b:c/d"] {
        let mut c = Container::with_script("exec sleep 600");
        c.set("/linux/cgroupsPath", json!(path));
        create(&mut c).refused(&["linux.cgroupsPath", path]);
        c.assert_gone();
    }
    for (key, value) in [
        ("org.systemd.property.TimeoutStopSec", "'soon'"),
        ("org.systemd.property.Slice", "'other.slice'"),
        ("org.systemd.property.A.b", "1"),
        ("org.systemd.property.CollectMode", "inactive"),
    ] {
        let mut c = with_unit("exec sleep 600");
        c.set("/annotations", json!({ key: value }));
        create(&mut c).refused(&[key]);
        c.assert_gone();
    }
}

#[test]
fn a_bus_that_hangs_up_leaves_nothing() {
    let mut c = with_unit("exec sleep 600");
    c.write();
    let socket = c.path().join("bus");
    let listener = UnixListener::bind(&socket).unwrap();
    let server = std::thread::spawn(move || drop(listener.accept().unwrap()));
    c.rt.global = vec!["--systemd-cgroup".into()];
    let mut command = c.rt.command(&c.words("create", &[]));
    command.env("DBUS_SYSTEM_BUS_ADDRESS", format!("unix:path={}", socket.display()));
    c.rt.spawn(command).wait().refused(&["--systemd-cgroup", "service manager"]);
    server.join().unwrap();
    c.rt.global.clear();
    c.assert_gone();
}

// ---- where systemd runs

// Proves: features.linux.cgroup.systemd
#[test]
fn the_unit_has_the_limits_and_so_has_its_cgroup() {
    need_systemd!();
    let mut c = with_unit("exec sleep 600");
    c.set(
        "/linux/resources",
        json!({
            "memory": {"limit": 104857600}, "pids": {"limit": 33},
            "cpu": {"shares": 512, "quota": 12345, "period": 50000, "cpus": "0"},
            "devices": [{"allow": false, "access": "rwm"}],
        }),
    );
    c.set(
        "/annotations",
        json!({
            "org.systemd.property.TimeoutStopSec": "7",
            "org.systemd.property.CollectMode": "'inactive-or-failed'",
        }),
    );
    create(&mut c).ok();
    let unit = unit(&c);
    let v2 = matches!(controller("memory"), Some((Version::V2, _)));
    for (name, value) in [
        ("ActiveState", "active"),
        ("Slice", "bt-test.slice"),
        ("Delegate", "yes"),
        ("Description", &format!("bulkhead container {}", c.id)),
        ("TimeoutStopUSec", "7s"),
        ("CollectMode", "inactive-or-failed"),
        ("DevicePolicy", "strict"),
        ("TasksMax", "33"),
        (if v2 { "MemoryMax" } else { "MemoryLimit" }, "104857600"),
        if v2 { ("CPUWeight", "59") } else { ("CPUShares", "512") },
        ("CPUQuotaPerSecUSec", "250ms"),
        ("CPUQuotaPeriodUSec", "50ms"),
    ] {
        assert_eq!(property(&unit, name), value, "{name}");
    }
    let cgroup = format!("/bt.slice/bt-test.slice/{unit}");
    assert_eq!(cgroup_of(c.process()), cgroup);
    assert_eq!(property(&unit, "ControlGroup"), cgroup);
    let memory = |c: &Container| control(c, "memory", "memory.limit_in_bytes", "memory.max");
    let pids = |c: &Container| control(c, "pids", "pids.max", "pids.max");
    assert_eq!((memory(&c).as_str(), pids(&c).as_str()), ("104857600", "33"));
    let cpu = |c: &Container| control(c, "cpu", "cpu.cfs_quota_us", "cpu.max");
    assert_eq!(cpu(&c), if v2 { "12345 50000" } else { "12345" });
    assert_eq!(control(&c, "cpuset", "cpuset.cpus", "cpuset.cpus"), "0");

    // Later commands know it without being told.
    c.start().ok();
    let words = ["--memory", "209715200", "--memory-swap", "-1", "--pids-limit", "44"];
    c.rt.call(&[&["update"][..], &words[..], &[&c.id]].concat()).ok();
    assert_eq!((memory(&c).as_str(), pids(&c).as_str()), ("209715200", "44"));
    assert_eq!(property(&unit, "TasksMax"), "44");
    // systemd writes all that it knows anew.
    systemctl(&["daemon-reload"]);
    assert_eq!((memory(&c).as_str(), pids(&c).as_str()), ("209715200", "44"));
    assert_eq!(c.exec_sh("echo a >/dev/null && echo fine").trim(), "fine");
    c.rt.call(&["pause", &c.id]).ok();
    assert_eq!(c.status(), "paused");
    c.rt.call(&["resume", &c.id]).ok();
    assert_eq!(c.status(), "running");
    c.kill("KILL").ok();
    c.wait_status("stopped");
    assert_eq!(c.delete().ok().stderr, "");
    assert_no_unit(&unit);
    c.assert_gone();
}

/// systemd writes the device rules of cgroup v1 again with every property, one by one.
#[test]
fn no_device_is_refused_while_limits_change() {
    need_systemd!();
    let mut c = with_unit(
        "echo ready; while :; do true >/dev/null || echo refused; true </dev/zero || echo refused; done",
    );
    c.set("/linux/resources/pids", json!({"limit": 33}));
    let ran = create(&mut c).ok();
    c.start().ok();
    for limit in 40..60 {
        c.rt.call(&["update", "--pids-limit", &limit.to_string(), &c.id]).ok();
    }
    assert_eq!(c.status(), "running");
    assert_eq!(ran.later(), "ready\n");
    // One that is paused stays so.
    c.rt.call(&["pause", &c.id]).ok();
    c.rt.call(&["update", "--pids-limit", "70", &c.id]).ok();
    assert_eq!(c.status(), "paused");
    c.rt.call(&["resume", &c.id]).ok();
}

/// What is set in the cgroups of a process: the text of every file that can be read and written.
fn settings(process: Proc) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for name in ["cpu", "cpuset", "memory", "io", "blkio", "pids", "hugetlb"] {
        let Some((version, _)) = controller(name) else { continue };
        let dir = cgroup_file(process, name, "", "");
        for entry in fs::read_dir(&dir).unwrap() {
            let (path, file) = (entry.as_ref().unwrap().path(), entry.unwrap().file_name());
            let file = file.to_str().unwrap().to_owned();
            let counts = ["usage", "failcnt", "peak", "pressure", "reclaim", "memory.stat"];
            let mode = fs::metadata(&path).unwrap().permissions().mode();
            if (version == Version::V2 && !file.starts_with(&format!("{name}.")))
                || path.is_dir()
                || mode & 0o600 != 0o600
                || counts.iter().any(|word| file.contains(word))
            {
                continue;
            }
            if let Ok(text) = fs::read_to_string(&path) {
                found.push((path, text));
            }
        }
    }
    found.sort();
    found
}

/// systemd writes all that it knows of a unit whenever it is told to read its files again, or has
/// something to do beside it.
#[test]
fn nothing_is_lost_when_systemd_writes_again() {
    need_systemd!();
    let v2 = matches!(controller("memory"), Some((Version::V2, _)));
    let mut c = with_unit("exec sleep 600");
    let mib = 1 << 20;
    c.set(
        "/linux/resources",
        json!({
            "cpu": {"shares": 300, "quota": 40000, "period": 80000, "burst": 7000, "cpus": "0", "mems": "0"},
            "memory": {"limit": 90 * mib, "swap": 120 * mib, "reservation": 30 * mib},
            "pids": {"limit": 44},
            "hugepageLimits": [{"pageSize": "2MB", "limit": 4 * mib}],
            "devices": [{"allow": false, "access": "rwm"}],
        }),
    );
    if v2 {
        let unified = json!({
            "memory.high": "80000000", "memory.min": "4096000", "memory.oom.group": "1",
            "pids.max": "55", "cpu.weight": "77", "hugetlb.2MB.rsvd.max": "6291456",
        });
        c.set("/linux/resources/unified", unified);
        c.set("/linux/resources/blockIO", json!({"weight": 300}));
    } else {
        c.set("/linux/resources/memory/swappiness", json!(33));
    }
    let told = create(&mut c).ok().stderr;
    c.start().ok();
    let version = systemctl(&["--version"]);
    let version: u32 = version.split_whitespace().nth(1).unwrap().parse().unwrap();
    let old = v2 && version < 253;
    // There is no remedy: it is told.
    assert_eq!(told.contains("warning: memory.oom.group: systemd"), old, "{told}");
    // Neither is there for a weight under BFQ, which systemd has in a scale of its own (README).
    let settings = |process: Proc| {
        let mut all = settings(process);
        all.retain(|(path, _)| !path.ends_with("io.bfq.weight"));
        all.retain(|(path, _)| !(old && path.ends_with("memory.oom.group")));
        all
    };
    let asked = settings(c.process());
    let mut other = with_unit("exec sleep 600");
    other.set("/linux/resources/memory", json!({"limit": 70 * mib}));
    create(&mut other).ok();
    systemctl(&["daemon-reload"]);
    systemctl(&["set-property", "--runtime", "bt-test.slice", "TasksMax=999", "CPUWeight=70"]);
    assert_eq!(settings(c.process()), asked);
    // Whole percents: it keeps no others.
    let words = ["--memory", "100M", "--cpu-quota", "32000", "--pids-limit", "66"];
    c.rt.call(&[&["update"][..], &words[..], &[&c.id]].concat()).ok();
    let updated = settings(c.process());
    assert_ne!(updated, asked);
    systemctl(&["daemon-reload"]);
    assert_eq!(settings(c.process()), updated);
}

#[test]
fn an_update_that_fails_changes_neither_unit_nor_cgroup() {
    need_systemd!();
    let mut c = with_unit("exec sleep 600");
    c.set("/linux/resources/pids", json!({"limit": 33}));
    create(&mut c).ok();
    let words = ["update", "--pids-limit", "44", "--cpuset-cpus", "4095", &c.id];
    assert_ne!(c.rt.call(&words).code(), Some(0));
    assert_eq!(control(&c, "pids", "pids.max", "pids.max"), "33");
    assert_eq!(property(&unit(&c), "TasksMax"), "33");
    systemctl(&["daemon-reload"]);
    assert_eq!(control(&c, "pids", "pids.max", "pids.max"), "33");
}

/// Where there is no bus yet, or none at all.
#[test]
fn systemd_s_own_socket_will_do() {
    need_systemd!();
    for _ in 0..12 {
        let c = with_unit("true");
        c.write();
        let mut words = vec!["--systemd-cgroup"];
        words.extend(c.words("run", &[]));
        let mut command = c.rt.command(&words);
        command.env("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/run/systemd/private");
        let ran = c.rt.spawn(command).wait().ok();
        assert_eq!(ran.stderr, "");
        assert_no_unit(&unit(&c));
    }
}

#[test]
fn an_exec_is_in_the_scope_and_force_ends_it() {
    need_systemd!();
    let mut c = with_unit("exec sleep 600");
    create(&mut c).ok();
    c.start().ok();
    c.exec(&["--detach", "--pid-file", "exec.pid"], &["sleep", "500"]).ok();
    let pid: i32 = fs::read_to_string(c.path().join("exec.pid")).unwrap().parse().unwrap();
    assert_eq!(cgroup_of(Proc::new(pid)), cgroup_of(c.process()));
    assert!(cgroup_of(Proc::new(pid)).ends_with(&unit(&c)));
    assert_eq!(c.delete_force().ok().stderr, "");
    assert_no_unit(&unit(&c));
    c.assert_gone();
}

#[test]
fn of_a_create_that_was_killed_nothing_is_left() {
    need_systemd!();
    let mut c = with_unit("exec sleep 600");
    let hook = c.script("hook", "#!/bin/sh\necho here >there\nexec sleep 600\n");
    let there = c.path().join("there");
    c.set("/hooks", json!({"createRuntime": [{"path": hook}]}));
    c.write();
    c.rt.global = vec!["--systemd-cgroup".into()];
    let command = c.rt.command(&c.words("create", &[]));
    let mut running = c.rt.spawn(command);
    wait_until("the hook", || there.exists());
    assert_eq!(property(&unit(&c), "ActiveState"), "active");
    running.child.kill().unwrap();
    running.child.wait().unwrap();
    c.rt.global.clear();
    assert_eq!(c.delete_force().ok().stderr, "");
    assert_no_unit(&unit(&c));
}

#[test]
fn a_failed_unit_of_that_name_is_replaced_and_a_live_one_is_not() {
    need_systemd!();
    let mut c = with_unit("exec sleep 600");
    let unit = unit(&c);
    // It runs out of time, and has failed then.
    let words = ["--scope", "--quiet", "--unit", &unit, "-p", "RuntimeMaxSec=1", "sleep", "60"];
    let _ = Command::new("systemd-run").args(words).status().unwrap();
    wait_until("a failed unit", || property(&unit, "ActiveState") == "failed");
    create(&mut c).ok();
    assert_eq!(property(&unit, "ActiveState"), "active");
    let mut other = Container::with_script("exec sleep 600");
    other.set("/linux/cgroupsPath", json!(format!("bt-test.slice:bt:{}", c.id)));
    create(&mut other).refused(&[&unit, "container's cgroup is not empty"]);
    other.assert_gone();
    assert_eq!(c.status(), "created");
    assert_eq!(property(&unit, "ActiveState"), "active");
    assert_eq!(c.delete_force().ok().stderr, "");
    assert_no_unit(&unit);
}

/// A failed unit would keep its name from the next container.
#[test]
fn a_unit_that_has_failed_goes_with_the_container() {
    need_systemd!();
    let mut c = with_unit("exec sleep 600");
    // The first process of a pid namespace does not hear SIGTERM.
    let (run, stop) = ("org.systemd.property.RuntimeMaxSec", "org.systemd.property.TimeoutStopSec");
    c.set("/annotations", json!({ run: "2", stop: "1" }));
    create(&mut c).ok();
    c.start().ok();
    wait_until("the end of its time", || property(&unit(&c), "ActiveState") == "failed");
    c.wait_status("stopped");
    assert_eq!(c.delete().ok().stderr, "");
    assert_no_unit(&unit(&c));
    c.assert_gone();
}

#[test]
fn the_unit_may_be_a_slice() {
    need_systemd!();
    let mut c = Container::with_script("exec sleep 600");
    let name = format!("bt-{}.slice", c.id.replace('-', "_"));
    c.set("/linux/cgroupsPath", json!(format!("::{name}")));
    c.set("/linux/resources/pids", json!({"limit": 33}));
    create(&mut c).ok();
    assert_eq!(cgroup_of(c.process()), format!("/bt.slice/{name}"));
    assert_eq!(property(&name, "TasksMax"), "33");
    c.start().ok();
    assert_eq!(c.exec_sh("echo fine").trim(), "fine");
    assert_eq!(c.delete_force().ok().stderr, "");
    // A slice is loaded as soon as somebody asks for it.
    assert_eq!(property(&name, "ActiveState"), "inactive");
    assert_eq!(property(&name, "TasksMax"), "infinity");
    assert!(!PathBuf::from(format!("/sys/fs/cgroup/bt.slice/{name}")).exists());
}

// Proves: features.linux.cgroup.systemdUser
#[test]
fn a_user_s_own_systemd_has_the_scope_of_a_container_without_root() {
    need_systemd!();
    if !matches!(controller("memory"), Some((Version::V2, _))) {
        skip!("cgroup v1 is not delegated to users");
    }
    let service = format!("user@{NOBODY}.service");
    let runtime_dir = format!("/run/user/{NOBODY}");
    let status = Command::new("systemctl").args(["start", &service]).status().unwrap();
    if !status.success() {
        skip!("no service manager for user {NOBODY}");
    }
    wait_until("the user's bus", || Path::new(&runtime_dir).join("systemd/private").exists());
    let mut c = of_nobody("exec sleep 600");
    c.set("/linux/resources", json!({"memory": {"limit": 104857600}, "pids": {"limit": 33}}));
    let plain = c.rt.through.clone();
    let environment = format!("XDG_RUNTIME_DIR={runtime_dir}");
    c.rt.through.extend(["env".into(), environment.into()]);
    create(&mut c).ok();
    let scope = format!("bulkhead-{}.scope", c.id);
    let cgroup = cgroup_of(c.process());
    let manager = format!("/user.slice/user-{NOBODY}.slice/{service}/user.slice/{scope}");
    assert_eq!(cgroup, manager);
    assert_eq!(control(&c, "memory", "", "memory.max"), "104857600");
    assert_eq!(control(&c, "pids", "", "pids.max"), "33");
    // The environment is no longer needed.
    c.rt.through = plain;
    c.start().ok();
    // From a cgroup that is root's into one of the user's: systemd does it.
    c.exec(&["--detach", "--pid-file", "exec.pid"], &["sleep", "500"]).ok();
    let pid: i32 = fs::read_to_string(c.path().join("exec.pid")).unwrap().parse().unwrap();
    assert_eq!(cgroup_of(Proc::new(pid)), manager);
    c.rt.call(&["update", "--pids-limit", "44", &c.id]).ok();
    assert_eq!(control(&c, "pids", "", "pids.max"), "44");
    assert_eq!(c.delete_force().ok().stderr, "");
    wait_until("the end of the scope", || !Path::new(&format!("/sys/fs/cgroup{manager}")).exists());
    c.assert_gone();
}
