//! Namespaces: new, joined by path and shared; what is set up in them.

use std::fs;
use std::path::Path;

use crate::support::*;

/// The type in config.json and the name in /proc/pid/ns.
const KINDS: &[(&str, &str)] = &[
    ("pid", "pid"),
    ("network", "net"),
    ("ipc", "ipc"),
    ("uts", "uts"),
    ("mount", "mnt"),
    ("cgroup", "cgroup"),
    ("user", "user"),
];

fn time_namespaces() -> bool {
    Path::new("/proc/self/ns/time").exists()
}

// Proves: linux, linux.namespaces[].type={pid, network, mount, ipc, uts, user, cgroup}
#[test]
fn each_new_namespace_is_the_containers_own() {
    let mut c = Container::with_script(
        "for n in pid net ipc uts mnt cgroup user; do echo $n=$(readlink /proc/self/ns/$n); done\n\
         echo pid1=$$; echo done; exec sleep 600",
    );
    c.map_users(100_000, 65536);
    let ran = c.run_detached();
    let inside = ran.wait_for("done");
    for (_, name) in KINDS {
        let host = ns_link("self", name);
        assert_ne!(said(&inside, name), host, "{name} is the host's");
        assert_eq!(said(&inside, name), c.process().ns(name));
    }
    assert_eq!(said(&inside, "pid1"), "1");
}

// Proves: linux.namespaces:inherited
#[test]
fn each_namespace_left_out_is_the_callers() {
    for (kind, name) in
        [("pid", "pid"), ("network", "net"), ("ipc", "ipc"), ("uts", "uts"), ("cgroup", "cgroup")]
    {
        let mut c = Container::with_script("exec sleep 600");
        c.without_namespace(kind).remove("/hostname");
        c.run_detached();
        assert_eq!(c.process().ns(name), ns_link("self", name), "{kind}");
        for (_, other) in KINDS.iter().filter(|(_, other)| *other != name && *other != "user") {
            assert_ne!(c.process().ns(other), ns_link("self", other), "{other} without {kind}");
        }
    }
}

// Proves: linux.namespaces[].path
#[test]
fn each_namespace_can_be_joined_by_path() {
    let holder = Container::with_script("exec sleep 600");
    holder.run_detached();
    let process = holder.process();
    for (kind, name) in
        [("network", "net"), ("ipc", "ipc"), ("uts", "uts"), ("pid", "pid"), ("cgroup", "cgroup")]
    {
        let mut c = Container::with_script("exec sleep 600");
        c.namespace(json!({"type": kind, "path": format!("/proc/{}/ns/{name}", process.pid)}));
        c.remove("/hostname");
        c.run_detached();
        assert_eq!(c.process().ns(name), process.ns(name), "{kind} was not joined");
        for other in ["mnt", "net", "ipc", "uts", "pid"].iter().filter(|other| **other != name) {
            assert_ne!(c.process().ns(other), process.ns(other), "{other} was joined with {kind}");
        }
        if kind == "pid" {
            assert!(c.process().status("NSpid").split_whitespace().count() == 2);
        }
    }
    assert!(process.alive(), "deleting one that joined killed the other");
}

#[test]
fn several_namespaces_joined_at_once() {
    let holder = Container::with_script("exec sleep 600");
    holder.run_detached();
    let process = holder.process();
    let mut c = Container::with_script("hostname; exec sleep 600");
    for (kind, name) in [("network", "net"), ("ipc", "ipc"), ("uts", "uts"), ("pid", "pid")] {
        c.namespace(json!({"type": kind, "path": format!("/proc/{}/ns/{name}", process.pid)}));
    }
    c.remove("/hostname");
    let ran = c.run_detached();
    ran.wait_for("inside");
    for name in ["net", "ipc", "uts", "pid"] {
        assert_eq!(c.process().ns(name), process.ns(name), "{name}");
    }
    assert_ne!(c.process().ns("mnt"), process.ns("mnt"));
}

#[test]
fn a_user_namespace_can_be_joined() {
    let mut holder = Container::with_script("exec sleep 600");
    holder.map_users(100_000, 65536);
    holder.run_detached();
    let process = holder.process();
    let mut c = Container::with_script("echo uid=$(id -u); exec sleep 600");
    c.namespace(json!({"type": "user", "path": format!("/proc/{}/ns/user", process.pid)}));
    let ran = c.run_detached();
    let output = ran.wait_for("uid=");
    assert_eq!(said(&output, "uid"), "0");
    assert_eq!(c.process().ns("user"), process.ns("user"));
    assert_eq!(c.process().status("Uid").split_whitespace().next(), Some("100000"));
    assert_ne!(c.process().ns("mnt"), process.ns("mnt"));
}

/// With the runtime's own rights, which root of the new user namespace has not.
#[test]
fn a_pid_namespace_of_others_is_joined_with_a_new_user_namespace() {
    let holder = Container::with_script("exec sleep 600");
    holder.run_detached();
    let process = holder.process();
    let mut c = Container::with_script("echo pid=$$; exec sleep 600");
    c.map_users(100_000, 65536);
    c.namespace(json!({"type": "pid", "path": format!("/proc/{}/ns/pid", process.pid)}));
    // The kernel lets it mount no procfs of that namespace.
    let mounts = c.config["mounts"].as_array().unwrap();
    let others = mounts.iter().filter(|mount| mount["type"] != "proc").cloned().collect();
    c.set("/mounts", Value::Array(others));
    c.run_detached().wait_for("pid=");
    assert_eq!(c.process().ns("pid"), process.ns("pid"));
    assert_ne!(c.process().ns("user"), process.ns("user"));
}

/// The host's root is covered when the user namespace has been made, and not before.
#[test]
fn a_network_namespace_is_joined_with_a_new_user_namespace_and_no_pivot() {
    let holder = Container::with_script("exec sleep 600");
    holder.run_detached();
    let mut c = Container::new();
    c.map_users(100_000, 65536);
    let path = format!("/proc/{}/ns/net", holder.process().pid);
    c.namespace(json!({"type": "network", "path": path}));
    for _ in 0..10 {
        c.call("run", &["--no-pivot"]).ok();
    }
}

/// Of one user namespace and of another: root inside has no rights over the second.
#[test]
fn a_user_namespace_and_the_pid_namespace_of_another_are_joined() {
    let holder = |first: u32| {
        let mut c = Container::with_script("exec sleep 600");
        c.map_users(first, 65536);
        c.run_detached();
        c
    };
    let (one, other) = (holder(100_000), holder(200_000));
    let (user, pid) = (one.process(), other.process());
    let mut c = Container::with_script("echo pid=$$; exec sleep 600");
    c.namespace(json!({"type": "user", "path": format!("/proc/{}/ns/user", user.pid)}));
    c.namespace(json!({"type": "pid", "path": format!("/proc/{}/ns/pid", pid.pid)}));
    let mounts = c.config["mounts"].as_array().unwrap();
    let others = mounts.iter().filter(|mount| mount["type"] != "proc").cloned().collect();
    c.set("/mounts", Value::Array(others));
    c.run_detached().wait_for("pid=");
    assert_eq!((c.process().ns("user"), c.process().ns("pid")), (user.ns("user"), pid.ns("pid")));
}

/// As on a file system of a user's (FUSE): root's own right to enter any directory is taken away.
#[test]
fn the_runtime_need_not_be_able_to_enter_its_working_directory() {
    let mut c = Container::new();
    c.map_users(100_000, 65536);
    let closed = c.path().join("closed");
    fs::create_dir(&closed).unwrap();
    std::os::unix::fs::chown(&closed, Some(65534), None).unwrap();
    fs::set_permissions(&closed, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let without = "cd \"$0\" && exec setpriv --bounding-set -dac_override,-dac_read_search \"$@\"";
    c.rt.through = ["sh", "-c", without].map(Into::into).to_vec();
    c.rt.through.push(closed.into());
    c.rt.global = ["--cgroup-manager", "disabled"].map(Into::into).to_vec();
    c.set("/linux/resources", json!({}));
    c.run().ok();
    // It is not the root directory in its place.
    c.call("run", &["--pid-file", "pid-of-nowhere"]).refused(&["pid-of-nowhere"]);
    assert!(!Path::new("/pid-of-nowhere").exists());
}

// Proves: linux.namespaces[].type=time
#[test]
fn time_has_its_own_boot() {
    if !time_namespaces() {
        skip!("the kernel has no time namespaces");
    }
    let mut c = Container::with_script("echo up=$(cut -d. -f1 /proc/uptime); exec sleep 600");
    c.namespace(json!({"type": "time"}));
    c.set("/linux/timeOffsets", json!({"boottime": {"secs": 604_800, "nanosecs": 5}}));
    let ran = c.run_detached();
    let output = ran.wait_for("up=");
    assert_ne!(c.process().ns("time"), ns_link("self", "time"));
    let host = fs::read_to_string("/proc/uptime").unwrap();
    let host: u64 = host.split('.').next().unwrap().parse().unwrap();
    let inside: u64 = said(&output, "up").parse().unwrap();
    assert!(inside.abs_diff(host + 604_800) < 60, "{inside} inside, {host} outside");
    let offsets = c.process().read("timens_offsets");
    assert!(offsets.split_whitespace().any(|word| word == "604800"), "{offsets}");
}

// Proves: linux.timeOffsets{}.{secs, nanosecs}
#[test]
fn each_clock_has_its_offset() {
    if !time_namespaces() {
        skip!("the kernel has no time namespaces");
    }
    let mut c = Container::with_script("exec sleep 600");
    c.namespace(json!({"type": "time"}));
    let offsets = json!({"monotonic": {"secs": 86_400, "nanosecs": 7},
        "boottime": {"secs": 604_800, "nanosecs": 900_000_000}});
    c.set("/linux/timeOffsets", offsets);
    c.run_detached();
    let process = c.process();
    wait_until("execve", || process.ns("time") != ns_link("self", "time"));
    let text = process.read("timens_offsets");
    let lines: Vec<Vec<&str>> =
        text.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines, [["monotonic", "86400", "7"], ["boottime", "604800", "900000000"]]);
}

#[test]
fn time_in_a_user_namespace() {
    if !time_namespaces() {
        skip!("the kernel has no time namespaces");
    }
    let mut c = Container::with_script("echo up=$(cut -d. -f1 /proc/uptime); exec sleep 600");
    c.map_users(100_000, 65536).namespace(json!({"type": "time"}));
    c.set("/linux/timeOffsets", json!({"boottime": {"secs": 604_800}}));
    let ran = c.run_detached();
    assert!(said(&ran.wait_for("up="), "up").parse::<u64>().unwrap() > 604_800);
}

#[test]
fn time_joined_by_path() {
    if !time_namespaces() {
        skip!("the kernel has no time namespaces");
    }
    let mut holder = Container::with_script("exec sleep 600");
    holder.namespace(json!({"type": "time"}));
    holder.set("/linux/timeOffsets", json!({"monotonic": {"secs": 1000}}));
    let ran = holder.run_detached();
    drop(ran);
    let process = holder.process();
    wait_until("execve", || process.ns("time") != ns_link("self", "time"));
    let mut c = Container::with_script("exec sleep 600");
    c.namespace(json!({"type": "time", "path": format!("/proc/{}/ns/time", process.pid)}));
    c.run_detached();
    wait_until("execve", || c.process().ns("time") == process.ns("time"));
}

#[test]
fn a_joined_namespace_outlives_the_container() {
    let holder = Container::with_script("exec sleep 600");
    holder.run_detached();
    let path = format!("/proc/{}/ns/net", holder.process().pid);
    let before = fs::read_link(&path).unwrap();
    let mut c = Container::with_script("true");
    c.namespace(json!({"type": "network", "path": path}));
    c.run().ok();
    assert_eq!(fs::read_link(&path).unwrap(), before);
    assert!(holder.process().alive());
}

// Proves: hostname
#[test]
fn the_host_name_is_set_inside_only() {
    let before = nix::unistd::gethostname().unwrap();
    let mut c = Container::with_script("hostname; cat /proc/sys/kernel/hostname");
    c.set("/hostname", json!("quite-another.example"));
    assert_eq!(c.output(), "quite-another.example\nquite-another.example\n");
    assert_eq!(nix::unistd::gethostname().unwrap(), before);
}

// Proves: domainname
#[test]
fn the_domain_name_is_set_inside_only() {
    let before = fs::read_to_string("/proc/sys/kernel/domainname").unwrap();
    let mut c = Container::with_script("cat /proc/sys/kernel/domainname");
    c.set("/domainname", json!("inside.example"));
    assert_eq!(c.output(), "inside.example\n");
    assert_eq!(fs::read_to_string("/proc/sys/kernel/domainname").unwrap(), before);
}

#[test]
fn a_host_name_may_be_set_in_a_joined_namespace() {
    let holder = Container::with_script("exec sleep 600");
    holder.run_detached();
    let mut c = Container::with_script("hostname");
    c.namespace(json!({"type": "uts", "path": format!("/proc/{}/ns/uts", holder.process().pid)}));
    c.set("/hostname", json!("renamed"));
    assert_eq!(c.output(), "renamed\n");
}

#[test]
fn a_new_network_has_loopback_up_and_nothing_else() {
    let c = Container::with_script("ip -o link; ip -o addr");
    let output = c.output();
    assert!(output.contains("lo: <LOOPBACK,UP"), "{output}");
    assert!(output.contains("127.0.0.1/8"), "{output}");
    let links: Vec<_> = output.lines().filter(|line| line.contains("mtu")).collect();
    assert!(links.iter().all(|link| !link.contains("state UP")), "{output}");
    assert!(!output.contains("eth0"), "{output}");
}

#[test]
fn only_its_own_processes_are_seen() {
    let c = Container::with_script("for p in /proc/[0-9]*; do echo ${p#/proc/}; done");
    assert_eq!(c.output(), "1\n");
}

#[test]
fn its_cgroup_is_the_root_of_its_cgroup_namespace() {
    let c = Container::with_script("cat /proc/self/cgroup");
    for line in c.output().lines() {
        let path = line.splitn(3, ':').nth(2).unwrap();
        assert_eq!(path, "/", "{line}");
    }
}

// Proves: linux.{uidMappings, gidMappings}[].{containerID, hostID, size}
#[test]
fn ids_are_mapped_as_asked() {
    let mut c = Container::with_script(
        "id -u; id -g; stat -c '%u:%g' /bin/busybox; touch /tmp/made; echo done; exec sleep 600",
    );
    c.namespace(json!({"type": "user"}));
    c.set(
        "/linux/uidMappings",
        json!([{"containerID": 0, "hostID": 200_000, "size": 1000},
               {"containerID": 1000, "hostID": 300_000, "size": 5}]),
    );
    c.set("/linux/gidMappings", json!([{"containerID": 0, "hostID": 400_000, "size": 10}]));
    let ran = c.run_detached();
    assert_eq!(ran.wait_for("done"), "0\n0\n65534:65534\ndone\n");
    let rows = |name: &str| -> Vec<Vec<u64>> {
        let text = c.process().read(name);
        text.lines()
            .map(|line| line.split_whitespace().map(|word| word.parse().unwrap()).collect())
            .collect()
    };
    assert_eq!(rows("uid_map"), [[0, 200_000, 1000], [1000, 300_000, 5]]);
    assert_eq!(rows("gid_map"), [[0, 400_000, 10]]);
    assert_eq!(c.process().status("Uid"), "200000\t200000\t200000\t200000");
    assert_eq!(c.process().status("Gid"), "400000\t400000\t400000\t400000");
    use std::os::unix::fs::MetadataExt;
    let made = fs::metadata(c.rootfs().join("tmp/made")).unwrap();
    assert_eq!((made.uid(), made.gid()), (200_000, 400_000));
}

#[test]
fn mapped_root_has_no_power_over_the_host() {
    let mut c = Container::with_script(
        "cat /secret; echo cat=$?; echo x > /bin/busybox; echo write=$?; chown 0 /etc/passwd; echo chown=$?\n\
         mount -t tmpfs none /tmp; echo mount=$?; hostname other; echo hostname=$?",
    );
    c.map_users(100_000, 65536).capabilities(&["CAP_SYS_ADMIN", "CAP_DAC_OVERRIDE", "CAP_CHOWN"]);
    let secret = c.file("secret-of-root", "hidden\n");
    fs::write(c.rootfs().join("secret"), "").unwrap();
    fs::set_permissions(&secret, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    c.mount("/secret", "bind", secret.to_str().unwrap(), &["bind"]);
    let ran = c.run().ok();
    assert!(!ran.stdout.contains("hidden"), "{ran:#?}");
    for key in ["cat", "write", "chown"] {
        assert_ne!(said(&ran.stdout, key), "0", "{key}: {ran:#?}");
    }
    // In its own namespaces root is root.
    for key in ["mount", "hostname"] {
        assert_eq!(said(&ran.stdout, key), "0", "{key}: {ran:#?}");
    }
}

#[test]
fn another_user_of_a_mapped_container() {
    let mut c = Container::with_script("id; echo done; exec sleep 600");
    c.map_users(100_000, 65536);
    c.set("/process/user", json!({"uid": 1000, "gid": 1000, "additionalGids": [10, 20]}));
    let ran = c.run_detached();
    assert!(ran.wait_for("done").starts_with("uid=1000(user) gid=1000(user) groups=10,20"));
    assert_eq!(c.process().status("Uid").split_whitespace().next(), Some("101000"));
    assert_eq!(c.process().status("Groups").trim(), "100010 100020");
}

#[test]
fn devices_work_in_a_user_namespace() {
    let mut c = Container::with_script(
        "echo x > /dev/null && head -c 3 /dev/zero | wc -c && head -c 2 /dev/urandom | wc -c\n\
         stat -c '%n %t:%T' /dev/null /dev/zero /dev/full /dev/random /dev/urandom /dev/tty",
    );
    c.map_users(100_000, 65536);
    assert_eq!(
        c.output(),
        "3\n2\n/dev/null 1:3\n/dev/zero 1:5\n/dev/full 1:7\n/dev/random 1:8\n/dev/urandom 1:9\n/dev/tty 5:0\n"
    );
}
