//! `update`: what is set is read back from the cgroup that the process is in; what is not named
//! stays; what fails leaves nothing changed.

use std::fs;
use std::io::Write;
use std::process::Stdio;

use crate::support::*;

fn asleep() -> Container {
    Container::with_script("exec sleep 600")
}

/// `update OPTIONS ID`.
fn update(c: &Container, options: &[&str]) -> Ran {
    let mut words = vec!["update"];
    words.extend(options);
    words.push(&c.id);
    c.rt.call(&words)
}

/// `update WORDS` with the text on its standard input.
fn update_from_stdin(c: &Container, words: &[&str], text: &str) -> Ran {
    let mut command = c.rt.command(words);
    command.stdin(Stdio::piped());
    let mut running = c.rt.spawn(command);
    running.child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    running.wait()
}

/// `linux.resources` of the configuration as the runtime keeps it.
fn kept(c: &Container) -> Value {
    let read = |name: &str| -> Value {
        let text = fs::read_to_string(c.rt.root.join(&c.id).join(name)).unwrap();
        serde_json::from_str(&text).unwrap()
    };
    match &read("state.json")["resources"] {
        Value::Null => read("config.json")["linux"]["resources"].clone(),
        resources => resources.clone(),
    }
}

/// Deletes the container and the cgroup above it, which is left to whoever is above.
fn delete_with_pod(c: &Container) {
    c.delete_force().ok();
    for (point, _) in cgroup_mounts() {
        let pod = point.join(format!("{}-pod", c.id));
        if pod.exists() {
            fs::remove_dir(pod).unwrap();
        }
    }
}

fn memory(c: &Container) -> String {
    control(c, "memory", "memory.limit_in_bytes", "memory.max")
}

fn pids(c: &Container) -> String {
    control(c, "pids", "pids.max", "pids.max")
}

/// Quota and period.
fn quota(c: &Container) -> (String, String) {
    match controller("cpu").unwrap().0 {
        Version::V1 => {
            (control(c, "cpu", "cpu.cfs_quota_us", ""), control(c, "cpu", "cpu.cfs_period_us", ""))
        }
        Version::V2 => {
            let text = control(c, "cpu", "", "cpu.max");
            let (quota, period) = text.split_once(' ').unwrap();
            (quota.replace("max", "-1"), period.to_owned())
        }
    }
}

fn pair(quota: &str, period: &str) -> (String, String) {
    (quota.to_owned(), period.to_owned())
}

#[test]
fn memory_is_raised_lowered_and_lifted() {
    let version = need!("memory");
    let mut c = asleep();
    c.set("/linux/resources/memory", json!({"limit": 32 << 20, "swap": 64 << 20}));
    c.run_detached();
    let total = || {
        let text = control(&c, "memory", "memory.memsw.limit_in_bytes", "memory.swap.max");
        let extra = if version == Version::V1 { 0 } else { memory(&c).parse::<u64>().unwrap() };
        text.parse::<u64>().unwrap() + extra
    };
    // Above what both were limited to, then below, then within.
    for (limit, swap) in [("128M", "256M"), ("16M", "24M"), ("20m", "24M")] {
        update(&c, &["--memory", limit, "--memory-swap", swap]).ok();
        let bytes = |text: &str| text[..text.len() - 1].parse::<u64>().unwrap() << 20;
        assert_eq!(memory(&c), bytes(limit).to_string());
        assert_eq!(total(), bytes(swap), "{limit} {swap}");
    }
    update(&c, &["--memory", "22M"]).ok();
    assert_eq!((memory(&c), total()), ((22_u64 << 20).to_string(), 24 << 20));
    update(&c, &["--memory", "30M"]).refused(&["linux.resources.memory.swap", "25165824"]);
    assert_eq!(memory(&c), (22_u64 << 20).to_string());
    update(&c, &["--memory=-1"]).ok();
    let lifted = memory(&c);
    assert!(lifted == "max" || lifted.parse::<u64>().unwrap() > 1 << 60, "{lifted}");
    update(&c, &["--memory-reservation", "1g"]).ok();
    let soft = control(&c, "memory", "memory.soft_limit_in_bytes", "memory.low");
    assert_eq!(soft, (1_u64 << 30).to_string());
}

#[test]
fn cpu_quota_and_period_are_set_together_or_alone() {
    need!("cpu");
    let mut c = asleep();
    c.set("/linux/resources/cpu", json!({"quota": 50000, "period": 100_000, "shares": 512}));
    c.run_detached();
    for (options, wanted) in [
        (&["--cpu-quota", "60000"][..], pair("60000", "100000")),
        (&["--cpu-period", "50000"], pair("60000", "50000")),
        (&["--cpu-quota", "5000", "--cpu-period", "10000"], pair("5000", "10000")),
        (&["--cpu-quota", "500000", "--cpu-period", "1000000"], pair("500000", "1000000")),
        (&["--cpu-quota", "-1"], pair("-1", "1000000")),
        (&["--cpu-quota=20000", "--cpu-burst=10000"], pair("20000", "1000000")),
        // The old burst would be more than the new quota.
        (&["--cpu-quota=5000", "--cpu-burst=1000"], pair("5000", "1000000")),
    ] {
        update(&c, options).ok();
        assert_eq!(quota(&c), wanted, "{options:?}");
    }
    assert_eq!(control(&c, "cpu", "cpu.cfs_burst_us", "cpu.max.burst"), "1000");
    update(&c, &["--cpu-quota", "500"]).refused(&["linux.resources.cpu.burst", "1000"]);
    update(&c, &["--cpu-share", "1024"]).ok();
    assert_eq!(control(&c, "cpu", "cpu.shares", "cpu.weight").parse::<u32>().unwrap() % 924, 100);
    update(&c, &["--cpu-share", "512"]).ok();
    let shares = control(&c, "cpu", "cpu.shares", "cpu.weight");
    update(&c, &["--cpu-idle", "1"]).ok();
    assert_eq!(control(&c, "cpu", "cpu.idle", "cpu.idle"), "1");
    // Something else changes meanwhile, and the share comes back with the end of idleness.
    update(&c, &["--cpu-quota", "6000"]).ok();
    update(&c, &["--cpu-idle", "0"]).ok();
    assert_eq!(control(&c, "cpu", "cpu.idle", "cpu.idle"), "0");
    assert_eq!(control(&c, "cpu", "cpu.shares", "cpu.weight"), shares);
}

#[test]
fn a_quota_that_the_parent_does_not_allow_with_the_old_period_is_set() {
    let version = need!("cpu");
    if version != Version::V1 {
        skip!("cgroup v2 sets both with one write");
    }
    if by_systemd() {
        skip!("systemd takes the processes of others along when it begins to use a v1 hierarchy");
    }
    let mut c = asleep();
    let parent = controller("cpu").unwrap().1.join(format!("{}-pod", c.id));
    fs::create_dir(&parent).unwrap();
    fs::write(parent.join("cpu.cfs_quota_us"), "50000").unwrap();
    let path = format!("/{0}-pod/{0}", c.id);
    c.set("/linux/cgroupsPath", json!(path));
    c.set("/linux/resources/cpu", json!({"quota": 50000, "period": 100_000}));
    c.run_detached();
    // 50 ms in 10 ms would be more than the parent has; 5 ms in 100 ms is not.
    let ran = update(&c, &["--cpu-period", "10000", "--cpu-quota", "5000"]);
    let now = quota(&c);
    delete_with_pod(&c);
    ran.ok();
    assert_eq!(now, pair("5000", "10000"));
}

#[test]
fn pids_and_cpusets() {
    need!("pids");
    need!("cpuset");
    let mut c = asleep();
    c.set("/linux/resources/pids", json!({"limit": 100}));
    c.run_detached();
    update(&c, &["--pids-limit", "10", "--cpuset-cpus", "0", "--cpuset-mems", "0"]).ok();
    assert_eq!(pids(&c), "10");
    assert_eq!(control(&c, "cpuset", "cpuset.cpus", "cpuset.cpus"), "0");
    assert_eq!(c.process().status("Cpus_allowed_list"), "0");
    update(&c, &["--pids-limit", "-1"]).ok();
    assert_eq!(pids(&c), "max");
    assert_eq!(kept(&c)["pids"], json!({"limit": -1}));
    assert_eq!(kept(&c)["cpu"], json!({"cpus": "0", "mems": "0"}));
}

#[test]
fn block_io_throttles_are_merged_by_device() {
    let version = need!("blkio");
    if version != Version::V1 {
        skip!("tested where the controller is v1");
    }
    let devices: Vec<(u64, u64)> = fs::read_dir("/sys/block")
        .unwrap()
        .filter_map(|entry| fs::read_to_string(entry.unwrap().path().join("dev")).ok())
        .filter_map(|dev| {
            let (major, minor) = dev.trim().split_once(':')?;
            Some((major.parse().ok()?, minor.parse().ok()?))
        })
        .take(2)
        .collect();
    let &[(major, minor), (other, another)] = devices.as_slice() else {
        skip!("needs two block devices");
    };
    let mut c = asleep();
    c.set(
        "/linux/resources/blockIO",
        json!({"throttleReadBpsDevice": [{"major": major, "minor": minor, "rate": 1 << 20}]}),
    );
    c.run_detached();
    let add = |major, minor, rate: u64| {
        let entry = json!({"major": major, "minor": minor, "rate": rate});
        let text = json!({"blockIO": {"throttleReadBpsDevice": [entry]}}).to_string();
        update_from_stdin(&c, &["update", "-r", "-", &c.id], &text).ok();
        let text = control(&c, "blkio", "blkio.throttle.read_bps_device", "");
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let line = |major, minor, rate: u64| format!("{major}:{minor} {rate}");
    let mut both = vec![line(major, minor, 1 << 20), line(other, another, 2 << 20)];
    both.sort();
    assert_eq!(add(other, another, 2 << 20), both);
    assert_eq!(add(other, another, 0), [line(major, minor, 1 << 20)]);
}

#[test]
fn resources_come_from_a_file_or_standard_input() {
    need!("pids");
    let mut c = asleep();
    c.set("/linux/resources/pids", json!({"limit": 100}));
    c.run_detached();
    let id = c.id.as_str();
    let file = c.file("limits.json", r#"{"pids":{"limit":20}}"#);
    update(&c, &["-r", file.to_str().unwrap()]).ok();
    assert_eq!(pids(&c), "20");
    for (words, limit) in [
        (&["update", "--resources=-", id][..], "21"),
        (&["update", "--resources", "-", id], "22"),
        (&["update", "-r", "-", id], "23"),
        (&["update", id, "--resources", "-"], "24"),
        (&["update", "-r", "/dev/stdin", id], "25"),
    ] {
        let text = format!("{{\"pids\":{{\"limit\":{limit}}}}}");
        update_from_stdin(&c, words, &text).ok();
        assert_eq!(pids(&c), limit, "{words:?}");
    }
}

#[test]
fn huge_pages_are_limited_on_either_version() {
    need!("hugetlb");
    if !std::path::Path::new("/sys/kernel/mm/hugepages/hugepages-2048kB").exists() {
        skip!("no pages of 2 MB");
    }
    // Deep, and without a limit at first, so that the controller may have to be enabled.
    let mut c = asleep();
    let path = format!("/{0}-pod/{0}", c.id);
    c.set("/linux/cgroupsPath", json!(path));
    c.run_detached();
    let set = |limit: u64| {
        let text = json!({"hugepageLimits": [{"pageSize": "2MB", "limit": limit}]}).to_string();
        update_from_stdin(&c, &["update", "--resources=-", &c.id], &text).ok();
        control(&c, "hugetlb", "hugetlb.2MB.limit_in_bytes", "hugetlb.2MB.max")
    };
    assert_eq!(set(4 << 20), "4194304");
    assert_eq!(set(0), "0");
    assert_eq!(set(2 << 20), "2097152");
    let entry = json!([{"pageSize": "2MB", "limit": 2 << 20}]);
    assert_eq!(kept(&c)["hugepageLimits"], entry);
    delete_with_pod(&c);
}

#[test]
fn what_fails_leaves_everything_as_it_was() {
    need!("pids");
    need!("cpu");
    need!("cpuset");
    let mut c = asleep();
    c.set("/linux/resources/pids", json!({"limit": 100}));
    c.set("/linux/resources/cpu", json!({"quota": 50000, "period": 100_000, "shares": 512}));
    c.run_detached();
    let look = || {
        let shares = control(&c, "cpu", "cpu.shares", "cpu.weight");
        // A list of one's own cannot be taken away under v2; what it was in effect can be given.
        let cpus = control(&c, "cpuset", "cpuset.cpus", "cpuset.cpus.effective");
        (pids(&c), quota(&c), shares, cpus, kept(&c))
    };
    let before = look();
    // The kernel has no such CPU, which is found after or between the others.
    for options in [
        &["--pids-limit=7", "--cpu-quota=1000", "--cpu-share=100", "--cpuset-cpus=4000"][..],
        &["--pids-limit=7", "--cpu-quota=1000", "--cpuset-cpus=0", "--cpuset-mems=60"],
    ] {
        update(&c, options).refused(&[
            "update container",
            "linux.resources.cpu",
            "does not exist; ",
        ]);
        assert_eq!(look(), before, "{options:?}");
    }
    assert_eq!(c.status(), "running");
}

// Proves: linux.resources.memory.checkBeforeUpdate
#[test]
fn a_memory_limit_below_what_is_in_use_is_refused() {
    need!("memory");
    let mut c = Container::with_script(
        "dd if=/dev/zero of=/dev/shm/x bs=1M count=30 2>/dev/null; echo full; exec sleep 600",
    );
    c.set("/linux/resources/memory", json!({"limit": 64 << 20, "swap": 64 << 20}));
    c.run_detached().wait_for("full");
    let text = r#"{"memory":{"limit":8388608,"swap":8388608,"checkBeforeUpdate":true}}"#;
    update_from_stdin(&c, &["update", "-r", "-", &c.id], text)
        .refused(&["linux.resources.memory.limit", "in use"]);
    assert_eq!(memory(&c), (64_u64 << 20).to_string());
    assert_eq!(kept(&c)["memory"], json!({"limit": 64 << 20, "swap": 64 << 20}));
}

#[test]
fn updates_add_up_and_device_rules_are_replaced() {
    need!("pids");
    let mut c = asleep();
    c.set("/linux/resources/pids", json!({"limit": 100}));
    c.set("/annotations", json!({"some": "text"}));
    c.run_detached();
    // systemd has another order, which means nothing.
    let rules = || -> Vec<String> {
        let Some(_) = controller("devices") else { return Vec::new() };
        let text = control(&c, "devices", "devices.list", "");
        let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let before = rules();
    let text = r#"{"devices":[{"allow":true,"access":"rwm"}],"pids":{"limit":30}}"#;
    update_from_stdin(&c, &["update", "-r", "-", &c.id], text).ok();
    let all = if before.is_empty() { Vec::new() } else { vec!["a *:* rwm".to_owned()] };
    assert_eq!((pids(&c).as_str(), rules()), ("30", all));
    assert_eq!(kept(&c)["devices"], json!([{"allow": true, "access": "rwm"}]));
    let deny = c.config["linux"]["resources"]["devices"].clone();
    update_from_stdin(&c, &["update", "-r", "-", &c.id], &json!({"devices": deny}).to_string())
        .ok();
    assert_eq!((rules(), &kept(&c)["devices"]), (before.clone(), &deny));
    update(&c, &[]).ok();
    assert_eq!(rules(), before);
    assert_eq!(pids(&c), "30");
    assert_eq!(c.state()["annotations"], json!({"some": "text"}));
}

#[test]
fn devices_are_refused_before_and_after_an_update() {
    need!("pids");
    need!("memory");
    need!("cpu");
    let mut c = asleep();
    c.capabilities(&["CAP_MKNOD", "CAP_SYSLOG", "CAP_SYS_ADMIN", "CAP_DAC_OVERRIDE"]);
    c.push(
        "/linux/resources/devices",
        json!({"allow": true, "type": "c", "major": 1, "minor": 11, "access": "r"}),
    );
    c.run_detached();
    c.exec_sh("mknod /tmp/kmsg c 1 11; mknod /tmp/disk b 7 0");
    for options in [&[][..], &["--pids-limit", "30"], &["--memory", "64M", "--cpu-share", "9"]] {
        update(&c, options).ok();
        c.exec_sh("head -c 1 /tmp/kmsg >/dev/null");
        for script in ["echo x >/tmp/kmsg", "head -c 1 /tmp/disk"] {
            let ran = c.exec(&[], &["sh", "-c", script]);
            assert_ne!(ran.code(), Some(0), "{script}");
            assert!(ran.stderr.contains("Operation not permitted"), "{script}: {ran:#?}");
        }
    }
}

#[test]
fn a_created_and_a_paused_container_are_updated_and_a_stopped_one_is_not() {
    need!("pids");
    let mut c = asleep();
    c.set("/linux/resources/pids", json!({"limit": 100}));
    update(&c, &["--pids-limit", "5"]).refused(&["container does not exist"]);
    c.create().ok();
    update(&c, &["--pids-limit", "50"]).ok();
    c.start().ok();
    assert_eq!(pids(&c), "50");
    c.rt.call(&["pause", &c.id]).ok();
    update(&c, &["--pids-limit", "40"]).ok();
    c.rt.call(&["resume", &c.id]).ok();
    assert_eq!(pids(&c), "40");
    c.kill("KILL").ok();
    c.wait_status("stopped");
    update(&c, &["--pids-limit", "5"]).refused(&["container not running"]);
    assert_eq!(kept(&c)["pids"], json!({"limit": 40}));
}

#[test]
fn what_one_that_was_killed_has_left_does_not_hinder() {
    need!("pids");
    let c = asleep();
    c.run_detached();
    let left = c.rt.root.join(&c.id).join("state.json.tmp");
    fs::write(&left, "{").unwrap();
    update(&c, &["--pids-limit", "50"]).ok();
    assert!(!left.exists());
    assert_eq!(c.status(), "running");
}

#[test]
fn bad_values_are_named() {
    let c = asleep();
    c.run_detached();
    for (options, words) in [
        (&["--memory", "10X"][..], &["--memory", "10X"][..]),
        (&["--cpu-period", "abc"], &["--cpu-period", "abc"]),
        (&["--cpu-share=-1"], &["--cpu-share", "-1"]),
        (&["--blkio-weight", "70000"], &["--blkio-weight", "70000"]),
        (&["--blkio-weight", "5"], &["blockIO.weight", "5", "10 to 1000"]),
        (&["--cpu-idle", "2"], &["cpu.idle", "2"]),
        (&["--cpuset-cpus", "0-"], &["cpu.cpus", "0-"]),
        (&["--pids-limit", "-2"], &["pids.limit", "-2"]),
        (&["--l3-cache-schema", "L3:0=f"], &["--l3-cache-schema", "without linux.intelRdt"]),
        (&["--mem-bw-schema", "MB:0=10"], &["--mem-bw-schema", "without linux.intelRdt"]),
        (&["--mem-bw-schema", "L3:0=10"], &["--mem-bw-schema", "must start with \"MB:\""]),
        (&["-r", "/no/such/file"], &["/no/such/file", "no such file"]),
    ] {
        update(&c, options).refused(words);
    }
    for (text, words) in [
        ("{", &["standard input", "line 1"][..]),
        ("{\"cpu\":{\"quota\":\"x\"}}", &["linux.resources.cpu.quota", "x"]),
        ("{\"memory\":{\"swap\":4096}}", &["linux.resources.memory.swap", "4096"]),
    ] {
        update_from_stdin(&c, &["update", "-r", "-", &c.id], text).refused(words);
    }
    // The specification has unknown ones ignored; they are told all the same.
    let unknown = update_from_stdin(&c, &["update", "-r", "-", &c.id], "{\"memroy\":1}").ok();
    assert!(unknown.stderr.contains("linux.resources.memroy"), "{unknown:#?}");
    let both = update(&c, &["-r", "-", "--memory", "1G"]);
    assert_eq!(both.code(), Some(1), "{both:#?}");
    assert!(both.stderr.lines().last().unwrap().contains("--memory"), "{both:#?}");
}

#[test]
fn kernel_memory_is_a_warning() {
    let c = asleep();
    c.run_detached();
    let ran = update(&c, &["--kernel-memory", "50M"]).ok();
    assert!(ran.stderr.contains("linux.resources.memory.kernel"), "{ran:#?}");
}
