//! `audit`: what it finds in the configurations of engines and in running containers, and that a
//! hardened configuration runs.

use std::fs::{self, File};

use crate::support::*;

/// The capabilities of Docker and containerd.
const USUAL: &[&str] = &[
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
];

fn every_capability() -> Vec<String> {
    let last: u32 =
        fs::read_to_string("/proc/sys/kernel/cap_last_cap").unwrap().trim().parse().unwrap();
    let names = [
        "CHOWN",
        "DAC_OVERRIDE",
        "DAC_READ_SEARCH",
        "FOWNER",
        "FSETID",
        "KILL",
        "SETGID",
        "SETUID",
        "SETPCAP",
        "LINUX_IMMUTABLE",
        "NET_BIND_SERVICE",
        "NET_BROADCAST",
        "NET_ADMIN",
        "NET_RAW",
        "IPC_LOCK",
        "IPC_OWNER",
        "SYS_MODULE",
        "SYS_RAWIO",
        "SYS_CHROOT",
        "SYS_PTRACE",
        "SYS_PACCT",
        "SYS_ADMIN",
        "SYS_BOOT",
        "SYS_NICE",
        "SYS_RESOURCE",
        "SYS_TIME",
        "SYS_TTY_CONFIG",
        "MKNOD",
        "LEASE",
        "AUDIT_WRITE",
        "AUDIT_CONTROL",
        "SETFCAP",
        "MAC_OVERRIDE",
        "MAC_ADMIN",
        "SYSLOG",
        "WAKE_ALARM",
        "BLOCK_SUSPEND",
        "AUDIT_READ",
        "PERFMON",
        "BPF",
        "CHECKPOINT_RESTORE",
    ];
    names.iter().take(last as usize + 1).map(|name| format!("CAP_{name}")).collect()
}

fn profile() -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/seccomp-profiles/default.json");
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// What engines write for a container without options: Docker's shape, which containerd's and
/// podman's resemble.
fn engine_default() -> Value {
    json!({
        "ociVersion": "1.2.0",
        "process": {
            "user": {"uid": 0, "gid": 0}, "args": ["sh"], "cwd": "/",
            "capabilities": {"bounding": USUAL, "effective": USUAL, "permitted": USUAL},
            "apparmorProfile": "docker-default", "oomScoreAdj": 0,
        },
        "root": {"path": "/var/lib/docker/overlay2/abc/merged"},
        "hostname": "abc",
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc",
             "options": ["nosuid", "noexec", "nodev"]},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
             "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
            {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
             "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "gid=5"]},
            {"destination": "/sys", "type": "sysfs", "source": "sysfs",
             "options": ["nosuid", "noexec", "nodev", "ro"]},
            {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
             "options": ["ro", "nosuid", "noexec", "nodev"]},
            {"destination": "/etc/hosts", "type": "bind",
             "source": "/var/lib/docker/containers/abc/hosts", "options": ["rbind", "rprivate"]},
        ],
        "linux": {
            "resources": {"devices": [
                {"allow": false, "access": "rwm"},
                {"allow": true, "type": "c", "major": 1, "minor": 5, "access": "rwm"},
                {"allow": true, "type": "c", "major": 5, "minor": 1, "access": "rwm"},
                {"allow": true, "type": "c", "major": 136, "access": "rwm"},
                {"allow": true, "type": "b", "access": "m"},
                {"allow": true, "type": "c", "access": "m"},
            ]},
            "namespaces": [{"type": "mount"}, {"type": "network"}, {"type": "uts"},
                           {"type": "pid"}, {"type": "ipc"}, {"type": "cgroup"}],
            "seccomp": profile(),
            "maskedPaths": ["/proc/asound", "/proc/acpi", "/proc/kcore", "/proc/keys",
                "/proc/latency_stats", "/proc/timer_list", "/proc/timer_stats",
                "/proc/sched_debug", "/proc/scsi", "/sys/firmware"],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys",
                              "/proc/sysrq-trigger"],
        },
    })
}

/// `docker run --privileged`.
fn privileged() -> Value {
    let mut config = engine_default();
    let all = every_capability();
    config["process"]["capabilities"] =
        json!({"bounding": all, "effective": all, "permitted": all});
    config["process"]["apparmorProfile"] = json!("unconfined");
    config["mounts"][3]["options"] = json!(["nosuid", "noexec", "nodev"]);
    config["mounts"][4]["options"] = json!(["nosuid", "noexec", "nodev"]);
    let linux = config["linux"].as_object_mut().unwrap();
    for member in ["seccomp", "maskedPaths", "readonlyPaths"] {
        linux.remove(member);
    }
    linux["resources"] = json!({"devices": [{"allow": true, "access": "rwm"}]});
    linux.insert(
        "devices".into(),
        json!([{"path": "/dev/sda", "type": "b", "major": 8, "minor": 0}]),
    );
    config
}

/// Podman without options: fewer capabilities, a limit of processes, no /dev/console.
fn podman_default() -> Value {
    let mut config = engine_default();
    let fewer = json!([
        "CAP_CHOWN",
        "CAP_DAC_OVERRIDE",
        "CAP_FOWNER",
        "CAP_FSETID",
        "CAP_KILL",
        "CAP_NET_BIND_SERVICE",
        "CAP_SETFCAP",
        "CAP_SETGID",
        "CAP_SETPCAP",
        "CAP_SETUID",
        "CAP_SYS_CHROOT"
    ]);
    config["process"]["capabilities"] =
        json!({"bounding": fewer, "effective": fewer, "permitted": fewer});
    config["linux"]["resources"] =
        json!({"devices": [{"allow": false, "access": "rwm"}], "pids": {"limit": 2048}});
    config
}

/// Podman without root: the user namespace is that of podman itself, so the configuration has none.
fn podman_rootless() -> Value {
    let mut config = podman_default();
    config["process"].as_object_mut().unwrap().remove("apparmorProfile");
    config["linux"]["resources"] = json!({});
    config
}

/// `ctr run`: neither a seccomp profile nor a cgroup namespace.
fn ctr_default() -> Value {
    let mut config = engine_default();
    config["process"]["noNewPrivileges"] = json!(true);
    config["process"].as_object_mut().unwrap().remove("apparmorProfile");
    config["linux"].as_object_mut().unwrap().remove("seccomp");
    config["linux"]["namespaces"].as_array_mut().unwrap().retain(|n| n["type"] != "cgroup");
    config
}

/// A pod of Kubernetes' level "baseline", by containerd's CRI: the namespaces of the pod are
/// joined.
fn pod_baseline() -> Value {
    let mut config = engine_default();
    config["process"]["apparmorProfile"] = json!("cri-containerd.apparmor.d");
    config["process"]["oomScoreAdj"] = json!(1000);
    config["linux"]["namespaces"] = json!([
        {"type": "pid"}, {"type": "ipc", "path": "/proc/4242/ns/ipc"},
        {"type": "uts", "path": "/proc/4242/ns/uts"}, {"type": "mount"},
        {"type": "network", "path": "/proc/4242/ns/net"}, {"type": "cgroup"}]);
    config["linux"].as_object_mut().unwrap().remove("seccomp");
    config["mounts"][5] = json!({"destination": "/etc/hosts", "type": "bind",
        "source": "/var/lib/kubelet/pods/1-2/etc-hosts", "options": ["rbind", "rprivate", "rw"]});
    config
}

/// A pod of the level "restricted".
fn pod_restricted() -> Value {
    let mut config = pod_baseline();
    config["process"]["user"] = json!({"uid": 1000, "gid": 1000});
    config["process"]["capabilities"] = json!({});
    config["process"]["noNewPrivileges"] = json!(true);
    config["linux"]["seccomp"] = profile();
    config
}

/// A pod of the level "privileged", with the host's namespaces and a bind of its root.
fn pod_privileged() -> Value {
    let mut config = privileged();
    config["linux"]["namespaces"] = json!([{"type": "mount"}]);
    config["mounts"].as_array_mut().unwrap().push(json!({"destination": "/host", "type": "bind",
        "source": "/", "options": ["rbind", "rprivate", "rw"]}));
    config
}

/// The calls of a test on one file.
struct Audited {
    c: Container,
}

impl Audited {
    fn new(config: &Value) -> Audited {
        let c = Container::new();
        c.file("audited.json", &config.to_string());
        Audited { c }
    }

    fn call(&self, options: &[&str]) -> Ran {
        let mut words = vec!["audit", "./audited.json"];
        words.extend(options);
        self.c.rt.call(&words)
    }

    fn json(&self) -> Value {
        let ran = self.call(&["--format", "json", "--fail-on", "never"]).ok();
        serde_json::from_str(&ran.stdout).unwrap()
    }
}

fn rules(report: &Value, severity: &str) -> Vec<String> {
    let findings = report["findings"].as_array().unwrap().iter();
    let chosen = findings.filter(|finding| finding["severity"] == severity);
    chosen.map(|finding| finding["rule"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn severities_of_what_engines_generate() {
    for (name, config, worst, fails) in [
        ("docker", engine_default(), "medium", false),
        ("docker --privileged", privileged(), "critical", true),
        ("podman", podman_default(), "medium", false),
        ("podman rootless", podman_rootless(), "medium", false),
        ("ctr", ctr_default(), "medium", false),
        ("pod privileged", pod_privileged(), "critical", true),
        ("pod baseline", pod_baseline(), "medium", false),
        ("pod restricted", pod_restricted(), "low", false),
    ] {
        let audited = Audited::new(&config);
        let report = audited.json();
        let findings = report["findings"].as_array().unwrap();
        assert_eq!(findings[0]["severity"], worst, "{name}: {report:#}");
        assert_eq!(report["summary"][worst], rules(&report, worst).len(), "{name}");
        let status = audited.call(&[]).status.code();
        assert_eq!(status, Some(if fails { 2 } else { 0 }), "{name}");
    }
    let report = Audited::new(&engine_default()).json();
    assert_eq!(rules(&report, "medium"), ["BH-USER-ROOT"]);
    let report = Audited::new(&privileged()).json();
    assert_eq!(
        rules(&report, "critical"),
        [
            "BH-CAP-SYS-ADMIN",
            "BH-CAP-SYS-MODULE",
            "BH-CAP-SYS-RAWIO",
            "BH-DEVICE-ALL",
            "BH-PROC-SYS"
        ]
    );
    // All devices say more than each of them.
    let high = rules(&report, "high");
    assert!(!high.iter().any(|rule| rule.starts_with("BH-DEVICE-")), "{high:?}");
    let report = Audited::new(&pod_privileged()).json();
    let critical = rules(&report, "critical");
    for rule in ["BH-BIND-HOST", "BH-PTRACE-HOST"] {
        assert!(critical.iter().any(|found| found == rule), "{rule}: {critical:?}");
    }
}

/// `podman unshare bulkhead audit`: the runtime's user namespace is the audit's.
#[test]
fn in_a_user_namespace_root_is_another_user() {
    let mut audited = Audited::new(&podman_rootless());
    audited.c.rt.through = ["unshare", "--user", "--map-root-user"].map(Into::into).into();
    let report = audited.json();
    assert_eq!(report["findings"][0]["severity"], "low", "{report:#}");
    assert_eq!(rules(&report, "medium"), [""; 0]);
}

#[test]
fn the_text_is_for_a_terminal_of_80_columns() {
    let audited = Audited::new(&privileged());
    let ran = audited.call(&[]);
    assert_eq!(ran.status.code(), Some(2));
    assert_eq!(ran.stderr, "");
    let lines: Vec<&str> = ran.stdout.lines().collect();
    assert_eq!(lines[0], "critical  BH-CAP-SYS-ADMIN");
    assert_eq!(lines[1], "  at   process.capabilities.bounding: CAP_SYS_ADMIN");
    let last = lines.last().unwrap();
    assert!(last.starts_with("./audited.json: 5 critical, "), "{last}");
    assert!(lines.iter().all(|line| line.chars().count() <= 80), "{}", ran.stdout);
    assert!(!ran.stdout.contains('\u{1b}'));
}

#[test]
fn exit_statuses_and_ignored_rules() {
    let audited = Audited::new(&pod_restricted());
    for (options, status) in [
        (&[][..], 0),
        (&["--fail-on", "medium"], 0),
        (&["--fail-on", "low"], 2),
        (&["--fail-on", "never"], 0),
        (&["--ignore", "BH-NOT-THERE"], 1),
        (&["--fail-on", "worst"], 1),
    ] {
        assert_eq!(audited.call(options).status.code(), Some(status), "{options:?}");
    }
    let report = audited.json();
    let mut options = vec!["--fail-on", "low"];
    let found = rules(&report, "low");
    for rule in &found {
        options.extend(["--ignore", rule]);
    }
    let ran = audited.call(&options);
    assert_eq!(ran.status.code(), Some(0));
    assert_eq!(ran.stdout, "./audited.json: nothing found\n");
    let ran = audited.c.rt.call(&["audit", "no-such-thing"]);
    assert_eq!(ran.status.code(), Some(1));
    assert!(ran.stderr.contains("no-such-thing"), "{}", ran.stderr);
}

#[test]
fn standard_input_and_what_is_no_configuration() {
    let c = Container::new();
    let ask = |text: &str| {
        let file = c.file("input", text);
        let mut command = c.rt.command(&["audit", "-"]);
        command.stdin(File::open(file).unwrap());
        c.rt.spawn(command).wait()
    };
    let ran = ask(&pod_privileged().to_string());
    assert_eq!(ran.status.code(), Some(2));
    assert!(ran.stdout.contains("\nstandard input: "), "{}", ran.stdout);
    for text in ["", "x", "[]", "5", "{"] {
        let ran = ask(text);
        assert_eq!(ran.status.code(), Some(1), "{text:?}");
        assert_eq!(ran.stderr.lines().count(), 1, "{text:?}: {}", ran.stderr);
    }
}

#[test]
fn hostile_strings_are_escaped() {
    let mut config = pod_restricted();
    let evil = "/etc\u{1b}]0;x\u{7}\n\u{202e}";
    config["mounts"][5]["source"] = json!(format!("/root/.ssh/{evil}"));
    config["linux"]["sysctl"] = json!({ format!("kernel.{evil}"): "1" });
    config["linux"]["maskedPath\u{1b}s"] = json!([]);
    let audited = Audited::new(&config);
    for format in ["text", "json", "sarif"] {
        let ran = audited.call(&["--format", format]);
        let controls = |c: char| c != '\n' && (c.is_control() || c == '\u{202e}');
        assert!(!ran.stdout.contains(controls), "{format}: {:?}", ran.stdout);
        assert!(ran.stdout.contains("BH-BIND-HOST"), "{format}");
    }
}

#[test]
fn what_the_runtime_refuses_is_a_finding() {
    let mut c = Container::new();
    c.set("/process/noNewPriviliges", json!(true)).set("/process/noNewPrivileges", json!(1));
    c.write();
    let ran = c.rt.call(&["audit", "--format", "json", "--bundle", c.path().to_str().unwrap()]);
    assert_eq!(ran.status.code(), Some(2));
    let report: Value = serde_json::from_str(&ran.stdout).unwrap();
    let high = rules(&report, "high");
    assert!(high.contains(&"BH-CONFIG-INVALID".to_owned()), "{report:#}");
    assert!(high.contains(&"BH-KEY-MISSPELT".to_owned()), "{report:#}");

    // Valid, but not for this host.
    c.remove("/process/noNewPriviliges").set("/process/noNewPrivileges", json!(true));
    c.set("/root/path", json!("none"));
    c.write();
    let ran = c.rt.call(&["audit", "--format", "json"]);
    let report: Value = serde_json::from_str(&ran.stdout).unwrap();
    let medium = rules(&report, "medium");
    assert!(medium.contains(&"BH-CONFIG-REFUSED".to_owned()), "{report:#}");
    let found = report["findings"].as_array().unwrap();
    let refused = found.iter().find(|f| f["rule"] == "BH-CONFIG-REFUSED").unwrap();
    assert!(refused["object"].as_str().unwrap().starts_with("root.path: "), "{refused}");
}

/// The members that SARIF 2.1.0 requires, and those that code hosts need.
#[test]
fn sarif_has_what_its_schema_requires() {
    let mut c = Container::new();
    c.config = privileged();
    // A path that is no URI by itself.
    fs::create_dir(c.path().join("a dir")).unwrap();
    c.file("a dir/config.json", &serde_json::to_string_pretty(&c.config).unwrap());
    let ran = c.rt.call(&["audit", "a dir/config.json", "--format", "sarif"]);
    assert_eq!(ran.status.code(), Some(2));
    let log: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(log["version"], "2.1.0");
    assert!(log["$schema"].as_str().unwrap().ends_with("sarif-schema-2.1.0.json"));
    let run = &log["runs"][0];
    let driver = &run["tool"]["driver"];
    assert_eq!(driver["name"], "bulkhead audit");
    let described = driver["rules"].as_array().unwrap();
    let ids: Vec<&str> = described.iter().map(|rule| rule["id"].as_str().unwrap()).collect();
    for rule in described {
        assert!(rule["shortDescription"]["text"].is_string(), "{rule}");
        assert!(rule["help"]["text"].is_string(), "{rule}");
    }
    let results = run["results"].as_array().unwrap();
    assert!(results.len() > 10);
    let text = fs::read_to_string(c.path().join("a dir/config.json")).unwrap();
    for result in results {
        let index = result["ruleIndex"].as_u64().unwrap();
        assert_eq!(ids[usize::try_from(index).unwrap()], result["ruleId"], "{result}");
        assert!(["error", "warning", "note"].contains(&result["level"].as_str().unwrap()));
        assert!(result["message"]["text"].is_string());
        let location = &result["locations"][0];
        let physical = &location["physicalLocation"];
        assert_eq!(physical["artifactLocation"]["uri"], "a%20dir/config.json");
        let line = usize::try_from(physical["region"]["startLine"].as_u64().unwrap()).unwrap();
        assert!((1..=text.lines().count()).contains(&line), "{result}");
    }
    let admin = results.iter().find(|result| result["ruleId"] == "BH-CAP-SYS-ADMIN").unwrap();
    let line = admin["locations"][0]["physicalLocation"]["region"]["startLine"].as_u64().unwrap();
    let line = text.lines().nth(usize::try_from(line).unwrap() - 1).unwrap();
    assert!(line.contains("\"bounding\""), "{line}");
    assert_eq!(run["invocations"][0]["executionSuccessful"], true);
}

/// From the worst configuration to a container that the kernel confirms to be confined.
#[test]
fn a_fixed_configuration_runs_and_is_confined() {
    let mut c = Container::with_script("exec sleep 600");
    let all = every_capability();
    for set in ["bounding", "effective", "permitted"] {
        c.set(&format!("/process/capabilities/{set}"), json!(all));
    }
    c.set("/process/noNewPrivileges", json!(false));
    c.set("/linux/resources/devices", json!([{"allow": true, "access": "rwm"}]));
    c.without_namespace("pid").without_namespace("ipc");
    c.mount("/host", "bind", "/", &["rbind"]);
    c.mount("/host-etc", "bind", "/etc", &["bind"]);
    c.write();
    let before = fs::read(c.path().join("config.json")).unwrap();
    let report = |file: &str| -> Value {
        let ran = c.rt.call(&["audit", file, "--format", "json", "--fail-on", "never"]).ok();
        serde_json::from_str(&ran.stdout).unwrap()
    };
    assert!(report("./config.json")["summary"]["critical"].as_u64().unwrap() >= 6);

    let ran = c.rt.call(&["audit", "--fix"]).ok();
    assert_eq!(fs::read(c.path().join("config.json")).unwrap(), before);
    assert!(ran.stdout.contains("can break: "), "{}", ran.stdout);
    let left = report("./config.hardened.json");
    assert_eq!((&left["summary"]["critical"], &left["summary"]["high"]), (&json!(0), &json!(0)));
    // It is not overwritten by accident.
    let again = c.rt.call(&["audit", "--fix"]);
    assert_eq!(again.status.code(), Some(1));
    assert!(again.stderr.contains("--overwrite"), "{}", again.stderr);
    c.rt.call(&["audit", "--fix", "--overwrite"]).ok();

    let hardened = c.path().join("config.hardened.json");
    c.call("run", &["--detach", "--config", hardened.to_str().unwrap()]).ok();
    let process = c.process();
    let (effective, bounding) = (process.mask("CapEff"), process.mask("CapBnd"));
    for (name, bit) in [("CAP_SYS_ADMIN", 21), ("CAP_SYS_MODULE", 16), ("CAP_SYS_PTRACE", 19)] {
        assert_eq!((effective | bounding) & (1 << bit), 0, "{name}");
    }
    assert_eq!(process.status("Seccomp"), "2");
    assert_eq!(process.status("NoNewPrivs"), "1");
    assert_ne!(process.ns("pid"), ns_link("self", "pid"));
    // The audit of the running container agrees.
    let live = c.rt.call(&["audit", &c.id, "--format", "json"]).ok();
    let live: Value = serde_json::from_str(&live.stdout).unwrap();
    assert_eq!((&live["summary"]["critical"], &live["summary"]["high"]), (&json!(0), &json!(0)));
    assert_eq!(live["unread"], json!([]));
}

#[test]
fn fix_needs_a_valid_file() {
    let c = Container::new();
    let file = c.file("input", &pod_privileged().to_string());
    let mut command = c.rt.command(&["audit", "-", "--fix"]);
    command.stdin(File::open(file).unwrap());
    assert_eq!(c.rt.spawn(command).wait().status.code(), Some(1));
    let mut config = pod_restricted();
    config["process"]["cwd"] = json!(5);
    let audited = Audited::new(&config);
    let ran = audited.call(&["--fix"]);
    assert_eq!(ran.status.code(), Some(1));
    assert!(ran.stderr.contains("process.cwd"), "{}", ran.stderr);
    assert!(!audited.c.path().join("audited.hardened.json").exists());
}

#[test]
fn a_running_container_is_audited_by_the_word_of_the_kernel() {
    let mut c = Container::with_script("exec sleep 600");
    c.without_namespace("uts").remove("/hostname");
    c.mount("/host-etc", "bind", "/etc", &["bind", "ro"]);
    c.mount("/host-proc", "bind", "/proc", &["bind"]);
    let limits_pids = controller("pids").is_some();
    if limits_pids {
        c.set("/linux/resources/pids", json!({"limit": 50}));
    }
    c.run_detached();
    let report = || -> Value {
        let ran = c.rt.call(&["audit", &c.id, "--format", "json", "--fail-on", "never"]).ok();
        serde_json::from_str(&ran.stdout).unwrap()
    };
    let report = report();
    let pid = c.state()["pid"].to_string();
    assert_eq!(report["subject"], format!("container {}", c.id));
    assert_eq!(report["unread"], json!([]));
    let place = |rule: &str| -> Option<String> {
        let findings = report["findings"].as_array().unwrap();
        let found = findings.iter().find(|finding| finding["rule"] == rule)?;
        Some(found["place"].as_str().unwrap().to_owned())
    };
    let of_kernel = |file: &str| Some(format!("/proc/{pid}/{file}"));
    assert_eq!(place("BH-NS-UTS"), of_kernel("ns/uts"));
    assert_eq!(place("BH-SECCOMP-NONE"), of_kernel("status: Seccomp"));
    assert_eq!(place("BH-USER-ROOT"), of_kernel("status: Uid"));
    assert_eq!(place("BH-CAP-MKNOD"), of_kernel("status: CapPrm"));
    // The worst first: the root of a file system of the host, then a directory in one.
    assert_eq!(place("BH-BIND-HOST"), of_kernel("mountinfo: /host-proc"));
    let findings = report["findings"].as_array().unwrap().iter();
    let binds = findings.filter(|finding| finding["rule"] == "BH-BIND-HOST");
    let objects: Vec<&str> = binds.map(|found| found["object"].as_str().unwrap()).collect();
    assert_eq!(objects, ["/proc (writable)", "/etc (read-only)"]);
    assert_eq!(place("BH-PROC-SYS"), of_kernel("mountinfo"));
    assert_eq!(place("BH-PRIVILEGES-GAIN"), None);
    assert_eq!(place("BH-NS-PID"), None);
    assert_eq!(place("BH-LIMIT-PIDS").is_none(), limits_pids);
    let memory = place("BH-LIMIT-MEMORY").unwrap();
    assert!(memory.contains("memory") || memory.contains("cgroup"), "{memory}");

    // A container that does not run has no facts.
    c.kill("KILL").ok();
    c.wait_status("stopped");
    let ran = c.rt.call(&["audit", &c.id]);
    assert_eq!(ran.status.code(), Some(1));
    assert!(ran.stderr.contains("not running"), "{}", ran.stderr);
}

#[test]
fn a_file_of_the_name_of_a_container_needs_a_slash() {
    let c = Container::with_script("exec sleep 600");
    c.run_detached();
    c.file(&c.id, &pod_restricted().to_string());
    let subject = |target: &str| -> String {
        let ran = c.rt.call(&["audit", target, "--format", "json", "--fail-on", "never"]).ok();
        let report: Value = serde_json::from_str(&ran.stdout).unwrap();
        report["subject"].as_str().unwrap().to_owned()
    };
    assert_eq!(subject(&c.id), format!("container {}", c.id));
    assert_eq!(subject(&format!("./{}", c.id)), format!("./{}", c.id));
    assert_eq!(subject("config.json"), "config.json");
    assert_eq!(subject("."), "config.json");
}
