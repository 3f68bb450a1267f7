//! `info`: what it says is what the kernel says, and it changes nothing.

use std::fs;
use std::process::{Command, Stdio};

use crate::support::*;

/// The number of lsm_list_modules(2), on all architectures.
const LSM_LIST_MODULES: libc::c_long = 461;

fn info(rt: &Runtime) -> Value {
    serde_json::from_str(&rt.call(&["info", "--format", "json"]).ok().stdout).unwrap()
}

fn feature<'a>(info: &'a Value, name: &str) -> &'a Value {
    let features = info["features"].as_array().unwrap();
    features.iter().find(|feature| feature["name"] == name).expect(name)
}

#[test]
fn it_says_what_the_kernel_says() {
    let c = Container::new();
    let mounts = || fs::read_to_string("/proc/self/mountinfo").unwrap();
    let before = mounts();
    let found = info(&c.rt);
    assert_eq!(mounts(), before);
    assert!(!c.rt.root.exists(), "it makes no state directory");
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    assert_eq!(found["kernel"], release.trim());
    assert_eq!(found["uid"], 0);
    // Without these no test could run.
    for name in ["clone3", "open_tree and fsopen", "mount_setattr", "pidfd"] {
        assert_eq!(*feature(&found, name), json!({"name": name, "present": true}));
    }
    let text = c.rt.call(&["info"]).ok().stdout;
    let long: Vec<&str> = text.lines().filter(|line| line.chars().count() > 80).collect();
    assert_eq!(long, [""; 0]);
    assert!(text.contains(&format!("\nkernel       {} ", release.trim())), "{text}");
    for feature in found["features"].as_array().unwrap() {
        let line = format!("\n  without {}: ", feature["name"].as_str().unwrap());
        assert_eq!(text.contains(&line), feature["present"] == false, "{line}{text}");
        assert_eq!(feature["present"] == false, feature["cost"].is_string(), "{feature}");
    }
}

/// Whether a command of a shell succeeds.
fn holds(script: &str) -> bool {
    let mut sh = Command::new("sh");
    sh.args(["-c", script]).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success()
}

fn line_of(script: &str) -> String {
    let output = Command::new("sh").args(["-c", script]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Whether the kernel knows a system call: with an invalid descriptor and null addresses it fails, but not with
/// ENOSYS.
fn has_call(number: libc::c_long) -> bool {
    holds(&format!("perl -e 'syscall({number}, -1, 0, 0, 0, 0, 0); exit($! == {})'", libc::ENOSYS))
}

/// Each feature, asked of the kernel in another way than the program asks.
#[test]
fn each_line_is_the_kernels_word() {
    // Its cgroup has the files that a root has not.
    let c = Container::with_script("sleep 600");
    c.run_detached();
    let found = info(&c.rt);
    assert_eq!(found["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(found["machine"], line_of("uname -m"));
    assert_eq!(
        found["inUserNamespace"],
        !holds("grep -q '^ *0 *0 *4294967295$' /proc/self/uid_map")
    );

    // The hierarchies of v1 that this process is in, and what they control. In a view of v2 none is mounted.
    let own = fs::read_to_string("/proc/self/cgroup").unwrap();
    let of_v1 = own.lines().filter_map(|line| line.split(':').nth(1));
    let of_v1 = of_v1.filter(|names| !names.is_empty() && !names.starts_with("name="));
    let mut controllers: Vec<String> =
        of_v1.flat_map(|names| names.split(',')).map(str::to_owned).collect();
    let is_v2 = |place: &str| line_of(&format!("stat -f -c %T {place}")) == "cgroup2fs";
    let (form, of_v2) = match (is_v2("/sys/fs/cgroup"), is_v2("/sys/fs/cgroup/unified")) {
        (true, _) => ("v2", "/sys/fs/cgroup"),
        (false, true) => ("hybrid", "/sys/fs/cgroup/unified"),
        (false, false) => ("v1", "/nonexistent"),
    };
    assert_eq!(found["cgroups"], form);
    if form == "v2" {
        controllers.clear();
    }
    let of_v2 = line_of(&format!("cat {of_v2}/cgroup.controllers 2>/dev/null"));
    controllers.extend(of_v2.split_whitespace().map(str::to_owned));
    controllers.sort();
    let mut told: Vec<String> = serde_json::from_value(found["controllers"].clone()).unwrap();
    told.sort();
    assert_eq!(told, controllers);

    let systemd = holds("test -d /run/systemd/system");
    assert_eq!(found["drivers"].as_array().unwrap().contains(&json!("systemd")), systemd);
    assert_eq!(found["criu"].is_string(), holds("command -v criu"));
    // The kernel lists a module by its attributes, if it has any, and by its parameters.
    let lsms = found["lsms"].as_array().cloned();
    let can_tell = holds("test -e /sys/kernel/security/lsm") || has_call(LSM_LIST_MODULES);
    assert_eq!(lsms.is_some(), can_tell);
    let lsms = lsms.unwrap_or_default();
    assert_eq!(lsms.contains(&json!("capability")), can_tell, "{lsms:?}");
    for (name, sign) in [
        ("apparmor", "grep -q Y /sys/module/apparmor/parameters/enabled"),
        ("selinux", "grep -q selinuxfs /proc/filesystems"),
        ("yama", "test -e /proc/sys/kernel/yama/ptrace_scope"),
        ("landlock", ""),
    ] {
        let present = match name {
            "landlock" => holds(&format!(
                "perl -e 'exit(syscall({}, 0, 0, 1) <= 0)'",
                libc::SYS_landlock_create_ruleset
            )),
            _ => holds(sign),
        };
        assert_eq!(lsms.contains(&json!(name)), present && can_tell, "{name}: {lsms:?}");
    }

    let has = |name: &str| controllers.iter().any(|one| one == name);
    let unshare = |option: &str| holds(&format!("unshare {option} true"));
    let nobody = "setpriv --reuid 65534 --regid 65534 --clear-groups";
    let any_cgroup = |name: &str| {
        !line_of(&format!("find /sys/fs/cgroup -maxdepth 3 -name {name} | head -n 1")).is_empty()
    };
    let actions = fs::read_to_string("/proc/sys/kernel/seccomp/actions_avail").unwrap_or_default();
    let wanted = [
        ("clone3", has_call(libc::SYS_clone3)),
        ("open_tree and fsopen", has_call(libc::SYS_open_tree) && has_call(libc::SYS_fsopen)),
        ("mount_setattr", has_call(libc::SYS_mount_setattr)),
        ("pidfd", has_call(libc::SYS_pidfd_open)),
        ("close_range", has_call(libc::SYS_close_range)),
        ("openat2", has_call(libc::SYS_openat2)),
        ("seccomp", actions.contains("errno")),
        ("seccomp notify", actions.contains("user_notif")),
        ("mount namespaces", unshare("--mount")),
        ("pid namespaces", unshare("--fork --pid")),
        ("network namespaces", unshare("--net")),
        ("ipc namespaces", unshare("--ipc")),
        ("uts namespaces", unshare("--uts")),
        ("cgroup namespaces", unshare("--cgroup")),
        ("time namespaces", unshare("--time")),
        ("user namespaces", unshare("--user")),
        (
            "user namespaces without root",
            holds(&format!("{nobody} unshare --user --map-root-user true")),
        ),
        ("resctrl", holds("grep -qw resctrl /proc/filesystems")),
        ("controller cpu", has("cpu")),
        ("controller cpuset", has("cpuset")),
        ("controller io", has("io") || has("blkio")),
        ("controller memory", has("memory")),
        ("controller pids", has("pids")),
        ("controller hugetlb", has("hugetlb")),
        ("controller rdma", has("rdma")),
        (
            "limit of swap",
            any_cgroup("memory.memsw.limit_in_bytes") || any_cgroup("memory.swap.max"),
        ),
        ("cgroup.kill", any_cgroup("cgroup.kill")),
        ("systemd", systemd),
        ("AppArmor", holds("grep -q Y /sys/module/apparmor/parameters/enabled")),
        ("SELinux", holds("test -e /sys/fs/selinux/enforce")),
        ("CRIU", holds("command -v criu")),
        ("newuidmap", holds("command -v newuidmap && command -v newgidmap")),
    ];
    let features = found["features"].as_array().unwrap();
    let names: Vec<&str> =
        features.iter().map(|feature| feature["name"].as_str().unwrap()).collect();
    assert_eq!(names, wanted.map(|(name, _)| name));
    for (name, present) in wanted {
        assert_eq!(feature(&found, name)["present"], present, "{name}");
    }
}

/// In a container whose seccomp filter hides two system calls, and that has no rights.
#[test]
fn what_is_hidden_is_missing() {
    let mut c = Container::with_script("/bulkhead --root /tmp/none info --format json");
    for (place, source) in [("/lib64", "/lib64"), ("/lib", "/lib"), ("/usr/lib", "/usr/lib")] {
        if std::path::Path::new(source).is_dir() {
            c.mount(place, "bind", source, &["rbind", "ro"]);
        }
    }
    let binary = c.rt.binary.clone();
    c.mount("/bulkhead", "bind", binary.to_str().unwrap(), &["bind", "ro"]);
    let rules =
        json!([{"names": ["clone3", "openat2"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38}]);
    c.set("/linux/seccomp", json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules}));
    let found: Value = serde_json::from_str(&c.output()).unwrap();
    for (name, cost) in
        [("clone3", "no container can be created"), ("openat2", "paths are resolved in more steps")]
    {
        assert_eq!(*feature(&found, name), json!({"name": name, "present": false, "cost": cost}));
    }
    assert_eq!(feature(&found, "pidfd")["present"], true);
}
