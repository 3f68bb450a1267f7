//! Configurations as people write them: keys in other letters, near misses, values that go together
//! or do not, members that are missing, and how long an error is.

use std::fs;

use crate::support::*;

fn asleep() -> Container {
    Container::with_script("exec sleep 600")
}

#[test]
fn a_key_in_other_letters_is_in_force_with_a_warning() {
    let mut c = asleep();
    c.set("/root", json!({"path": "rootfs", "readOnly": true}));
    c.set("/process/NonewPrivileges", json!(true)).remove("/process/noNewPrivileges");
    let process = c.config["process"].clone();
    c.set("/Process", process).remove("/process");
    let ran = c.run_detached();
    assert!(c.process().mount_options("/").contains("ro"));
    assert_eq!(c.process().status("NoNewPrivs"), "1");
    for key in ["root.readOnly", "Process", "Process.NonewPrivileges"] {
        assert!(ran.stderr.contains(&format!("{key}: taken for")), "{key}: {}", ran.stderr);
    }
    // Later commands read what was kept of it.
    let status = c.exec_sh("cat /proc/self/status");
    assert!(status.contains("NoNewPrivs:\t1"), "{status}");
}

#[test]
fn a_key_in_two_spellings_is_refused() {
    let mut c = Container::new();
    c.set("/root", json!({"path": "rootfs", "readonly": true, "READONLY": false}));
    c.run().refused(&["root.readonly", "given twice"]);
}

#[test]
fn a_near_miss_is_a_warning_that_names_the_right_key() {
    let mut c = Container::new();
    c.set("/root/read_only", json!(true)).set("/process/noNewPrivilege", json!(true));
    c.set("/process/seccomp", json!({})).set("/x-vendor", json!({"a": 1}));
    let ran = c.run().ok();
    for (key, known) in [
        ("root.read_only", "readonly"),
        ("process.noNewPrivilege", "noNewPrivileges"),
        ("process.seccomp", "linux.seccomp"),
    ] {
        let line = format!("{key}: ignored: there is no such field here (did you mean {known:?}?)");
        assert!(ran.stderr.contains(&line), "{line}: {}", ran.stderr);
    }
    assert_eq!(ran.stderr.lines().count(), 3, "{}", ran.stderr);
}

#[test]
fn a_process_file_is_read_by_the_same_rules() {
    let mut c = asleep();
    c.set("/process/noNewPrivileges", json!(false));
    c.run_detached();
    let process = json!({"cwd": "/", "args": ["/bin/cat", "/proc/self/status"],
        "NoNewPrivileges": true, "oomScoreAjd": 5});
    let file = c.file("process.json", &process.to_string());
    let ran = c.rt.call(&["exec", "--process", file.to_str().unwrap(), &c.id]).ok();
    assert!(ran.stdout.contains("NoNewPrivs:\t1"), "{}", ran.stdout);
    assert!(ran.stderr.contains("process.NoNewPrivileges: taken for \"noNewPrivileges\""));
    assert!(ran.stderr.contains("process.oomScoreAjd: ignored"), "{}", ran.stderr);
}

#[test]
fn resources_of_an_update_are_read_by_the_same_rules() {
    need!("pids");
    let c = asleep();
    c.run_detached();
    let file = c.file("resources.json", r#"{"PIDs": {"LIMIT": 33}, "memory": {"limits": 1}}"#);
    let ran = c.rt.call(&["update", "--resources", file.to_str().unwrap(), &c.id]).ok();
    assert_eq!(control(&c, "pids", "pids.max", "pids.max"), "33");
    assert!(ran.stderr.contains("linux.resources.PIDs: taken for \"pids\""), "{}", ran.stderr);
    assert!(ran.stderr.contains("linux.resources.memory.limits: ignored"), "{}", ran.stderr);
    assert_eq!(ran.stderr.lines().count(), 3, "{}", ran.stderr);
}

#[test]
fn an_io_priority_without_a_class_is_refused() {
    let mut c = Container::new();
    c.set("/process/ioPriority", json!({"priority": 3}));
    c.run().refused(&["process.ioPriority.class", "missing"]);
    c.assert_gone();
}

/// containerd and CRI-O write a copy of the mappings.
#[test]
fn mappings_beside_a_user_namespace_to_join_are_its_own_or_refused() {
    let mut holder = asleep();
    let map = |ids: &[(u32, u32, u32)]| -> Value {
        ids.iter().map(|(i, o, n)| json!({"containerID": i, "hostID": o, "size": n})).collect()
    };
    let own = map(&[(0, 100_000, 1000), (1000, 200_000, 10)]);
    holder.namespace(json!({"type": "user"}));
    holder.set("/linux/uidMappings", own.clone()).set("/linux/gidMappings", own.clone());
    holder.run_detached();
    let path = format!("/proc/{}/ns/user", holder.process().pid);
    let joining = |uids: Value, gids: Value| {
        let mut c = asleep();
        c.namespace(json!({"type": "user", "path": path}));
        c.set("/linux/uidMappings", uids).set("/linux/gidMappings", gids);
        c
    };
    let other_order = map(&[(1000, 200_000, 10), (0, 100_000, 1000)]);
    for copy in [own.clone(), other_order] {
        let c = joining(copy, own.clone());
        c.run_detached();
        assert_eq!(c.process().ns("user"), holder.process().ns("user"));
        assert!(c.process().status("Uid").starts_with("100000"));
    }
    for other in [
        map(&[(0, 100_000, 1000)]),
        map(&[(0, 300_000, 1000), (1000, 200_000, 10)]),
        map(&[(0, 100_000, 1000), (1000, 200_000, 11)]),
    ] {
        let c = joining(other.clone(), own.clone());
        c.run().refused(&["linux.uidMappings", "not the mappings of the user namespace to join"]);
        c.assert_gone();
        let c = joining(own.clone(), other);
        c.run().refused(&["linux.gidMappings", "not the mappings of the user namespace to join"]);
        c.assert_gone();
    }
}

#[test]
fn a_domain_name_may_be_given_twice_if_it_is_the_same() {
    let mut c = Container::with_script("cat /proc/sys/kernel/domainname");
    c.set("/domainname", json!("here.example"));
    c.set("/linux/sysctl", json!({"kernel.domainname": "here.example"}));
    assert_eq!(c.output(), "here.example\n");
    c.set("/linux/sysctl", json!({"kernel.domainname": "there.example"}));
    c.run().refused(&["linux.sysctl.kernel.domainname", "there.example", "here.example"]);
}

// Proves: process.capabilities:unknown
#[test]
fn an_unknown_capability_of_exec_is_a_warning() {
    let mut c = asleep();
    c.capabilities(&["CAP_KILL"]);
    c.run_detached();
    let ran = c.exec(&["--cap", "CAP_NONE", "--cap", "CAP_CHOWN"], &["cat", "/proc/self/status"]);
    let ran = ran.ok();
    assert!(ran.stdout.contains("CapPrm:\t0000000000000021"), "{}", ran.stdout);
    assert!(ran.stderr.contains("--cap: \"CAP_NONE\": unknown capability"), "{}", ran.stderr);
}

// Proves: process.capabilities:unknown
#[test]
fn a_configuration_that_was_repaired_serves_later_commands() {
    let mut c = asleep();
    c.remove("/process/user").push("/process/capabilities/bounding", json!("CAP_FROM_TOMORROW"));
    let ran = c.run_detached();
    assert!(ran.stderr.contains("CAP_FROM_TOMORROW"), "{}", ran.stderr);
    let ids = |process: Proc| (process.status("Uid"), process.status("Gid"));
    assert_eq!(ids(c.process()), ("0\t0\t0\t0".to_owned(), "0\t0\t0\t0".to_owned()));
    assert_eq!(c.exec_sh("id -u; id -g"), "0\n0\n");
    c.kill("KILL").ok();
    c.wait_status("stopped");
    c.delete().ok();
}

/// One place cuts them, so one field stands for all of a kind.
#[test]
fn long_values_are_not_echoed_whole() {
    let long = "x".repeat(50_000);
    let many: Vec<u32> = (0..65_537).collect();
    let cases: &[(&str, Value, &str)] = &[
        ("/process/user/additionalGids", json!(many), "set groups [0, 1, 2"),
        ("/process/cwd", json!(long), "process.cwd"),
        ("/hostname", json!(long), "hostname"),
        ("/linux/rootfsPropagation", json!(long), "linux.rootfsPropagation"),
        ("/linux/resources/cpu", json!({"cpus": long}), "linux.resources.cpu.cpus"),
        ("/linux/sysctl", json!({long.as_str(): "1"}), "linux.sysctl"),
        ("/linux/sysctl", json!({format!("kernel.{long}"): "1"}), "linux.sysctl"),
        ("/linux/resources/unified", json!({format!("a/{long}"): "1"}), "linux.resources.unified"),
        ("/mounts/0/options", json!([format!("{long}=x"), long]), "mounts[0]"),
        ("/mounts/0/type", json!(long), "mounts[0]"),
        ("/process/args", json!([long]), "exec: "),
        ("/process/capabilities/bounding", json!(long), "process.capabilities.bounding"),
        ("/linux/seccomp", json!({"defaultAction": long}), "linux.seccomp.defaultAction"),
        ("/root/path", json!(long), "root.path"),
        ("/ociVersion", json!(long), "ociVersion"),
    ];
    for (pointer, value, field) in cases {
        let mut c = Container::new();
        c.set(pointer, value.clone());
        let ran = c.run().refused(&[field]);
        assert!(ran.stderr.len() < 2500, "{pointer}: {} bytes: {}", ran.stderr.len(), ran.stderr);
        c.assert_gone();
    }
}

/// What a terminal would act upon, in the names of an image or of a bundle.
#[test]
fn no_error_and_no_list_acts_on_a_terminal() {
    let evil = "a\u{9b}31m\u{202e}b\u{85}\u{200b}c\u{2028}\u{1b}[2Jd\u{feff}";
    let acts = |text: &str| {
        let acting =
            |c: char| c != '\n' && c.is_control() || "\u{202e}\u{200b}\u{2028}\u{feff}".contains(c);
        text.contains(acting)
    };
    for format in ["text", "json"] {
        let mut c = Container::new();
        c.args(&[&format!("/bin/{evil}")]);
        c.set("/root/read_only", json!(true)).set(&format!("/process/{evil}rlimits"), json!(1));
        c.rt.global = vec!["--log-format".into(), format.into()];
        let ran = c.run();
        assert_eq!(ran.code(), Some(1), "{ran:#?}");
        assert!(ran.stderr.contains("9b") && !acts(&ran.stderr), "{format}: {:?}", ran.stderr);
        let log = c.path().join("log");
        c.rt.global.extend(["--log".into(), log.clone().into()]);
        c.run();
        let text = fs::read_to_string(&log).unwrap();
        assert!(text.contains("9b") && !acts(&text), "{format}: {text:?}");
    }
    // What engines read means the same, and does nothing to who looks at it.
    let mut c = asleep();
    c.set("/annotations", json!({"org.example": evil}));
    c.run_detached();
    let ran = c.state_call().ok();
    assert!(!acts(&ran.stdout), "{:?}", ran.stdout);
    assert_eq!(c.state()["annotations"]["org.example"], json!(evil));
    for format in ["table", "json"] {
        let ran = c.rt.call(&["list", "--format", format]).ok();
        assert!(!acts(&ran.stdout), "{:?}", ran.stdout);
    }
    let ran = c.rt.call(&[format!("--{evil}")]);
    assert!(ran.code() != Some(0) && !acts(&ran.stderr), "{:?}", ran.stderr);
    let ran = c.rt.call(&["kill", &c.id, evil]);
    assert!(ran.code() != Some(0) && !acts(&ran.stderr), "{:?}", ran.stderr);
}

// Refuses: linux.personality.flags
#[test]
fn what_is_refused_is_refused_by_name() {
    let rows: [(&str, Value); 1] = [("linux.personality.flags", json!(["ADDR_NO_RANDOMIZE"]))];
    for (path, value) in rows {
        let mut c = Container::new();
        c.set("/linux/personality/domain", json!("LINUX"));
        c.set(&format!("/{}", path.replace('.', "/")), value);
        c.run().refused(&[path]);
        c.assert_gone();
    }
}

/// Keys without effect do not hinder a container.
// Ignores: {solaris, windows, vm, zos, freebsd}, process.{commandLine, user.username}
#[test]
fn what_is_ignored_does_no_harm() {
    let mut c = Container::new();
    let rows = [
        ("process.user.username", json!("somebody")),
        ("process.commandLine", json!("cmd /c")),
        ("solaris", json!({"milestone": "x"})),
        ("windows", json!({"layerFolders": ["x"]})),
        ("vm", json!({"kernel": {"path": "/k"}})),
        ("zos", json!({})),
        ("freebsd", json!({})),
    ];
    for (path, value) in rows {
        c.set(&format!("/{}", path.replace('.', "/")), value);
    }
    let ran = c.run().ok();
    assert_eq!(ran.stderr, "");
}

// Proves: process.scheduler.policy={SCHED_FIFO, SCHED_RR}, process.scheduler.priority
#[test]
fn a_realtime_priority_is_the_kernels() {
    for (policy, number) in [("SCHED_FIFO", "1"), ("SCHED_RR", "2")] {
        let mut c = Container::with_script("exec sleep 600");
        c.set("/process/scheduler", json!({"policy": policy, "priority": 7}));
        let ran = c.create();
        if ran.code() != Some(0) {
            // On cgroup v1 a cgroup has no time for it unless it is given some: that is the reason.
            let set = format!("process.scheduler: set {policy}");
            ran.refused(&[&set, "linux.resources.cpu.realtimeRuntime"]);
            c.assert_gone();
            c.set(
                "/linux/resources/cpu",
                json!({"realtimePeriod": 1_000_000, "realtimeRuntime": 1000}),
            );
            if c.create().code() != Some(0) {
                skip!("the cgroup above has no real-time share");
            }
        }
        let stat = c.process().read("stat");
        let fields: Vec<&str> = stat[stat.rfind(')').unwrap()..].split_whitespace().collect();
        // rt_priority and policy, proc_pid_stat(5).
        assert_eq!((fields[38], fields[39]), ("7", number), "{stat}");
    }
}

// Proves: linux.resources.cpu.burst
#[test]
fn a_burst_is_the_kernels_or_refused() {
    let version = need!("cpu");
    let mut c = Container::with_script("exec sleep 600");
    c.set("/linux/resources/cpu", json!({"quota": 50_000, "period": 100_000, "burst": 20_000}));
    let file = match version {
        Version::V1 => "cpu.cfs_burst_us",
        Version::V2 => "cpu.max.burst",
    };
    c.run_detached();
    assert_eq!(control(&c, "cpu", file, file), "20000");
}

// Ignores: linux.resources.memory.kernel
#[test]
fn kernel_memory_is_ignored_with_a_warning() {
    let mut c = Container::with_script("echo ran");
    c.set("/linux/resources/memory", json!({"kernel": 64 << 20}));
    let ran = c.run().ok();
    assert_eq!(ran.stdout, "ran\n");
    assert!(ran.stderr.contains("linux.resources.memory.kernel: ignored"), "{ran:#?}");
}

/// Since Linux 5.11 there is no other kind of memory cgroup.
// Proves: linux.resources.memory.useHierarchy
#[test]
fn a_hierarchy_of_memory_is_what_there_is() {
    let version = need!("memory");
    let mut c = Container::with_script("exec sleep 600");
    c.set("/linux/resources/memory", json!({"useHierarchy": true, "limit": 64 << 20}));
    c.run_detached();
    if version == Version::V1 {
        let file = "memory.use_hierarchy";
        assert_eq!(control(&c, "memory", file, file), "1");
    }
}

/// Linux 5.0 has taken it away, with the scheduler that had it.
// Proves: linux.resources.blockIO.leafWeight, linux.resources.blockIO.weightDevice[].leafWeight
#[test]
fn a_leaf_weight_is_the_kernels_or_refused() {
    let weight = json!({"leafWeight": 500});
    let device = json!({"weightDevice": [{"major": 8, "minor": 0, "leafWeight": 500}]});
    for (value, file) in [(weight, "blkio.leaf_weight"), (device, "blkio.leaf_weight_device")] {
        let mut c = Container::with_script("exec sleep 600");
        c.set("/linux/resources/blockIO", value);
        let ran = c.create();
        match ran.code() {
            Some(0) => assert!(control(&c, "blkio", file, file).contains("500")),
            _ => drop(ran.refused(&["linux.resources.blockIO"])),
        }
    }
}
