//! Writes to procfs that a mount could catch, or turn into a write to another file: the runtime
//! must never look procfs up where the configuration, the image or another container has a say.
//! CVE-2019-16884, CVE-2019-19921, CVE-2023-28642, CVE-2025-52881.

use std::fs;
use std::process::Command;

use crate::hostile_support::{Canary, in_own_mounts, one_line, without_mount};
use crate::support::{Container, Proc, json};

const SYSCTL: &str = "net.ipv4.ip_unprivileged_port_start";
const SYSCTL_FILE: &str = "/proc/sys/net/ipv4/ip_unprivileged_port_start";

/// A container whose runtime has two values of procfs to write, and which then sleeps.
fn writes_to_procfs() -> Container {
    let mut container = Container::with_script("sleep 100");
    container
        .set("/linux/sysctl", json!({SYSCTL: "777", "kernel.msgmax": "4321"}))
        .set("/process/oomScoreAdj", json!(321));
    container
}

/// Fails the test unless the real files of the container's namespaces have the values.
#[track_caller]
fn assert_written(process: Proc) {
    let inside = |kind: &str, file: &str| {
        let target = process.pid.to_string();
        let words = ["--target", &target, kind, "cat", file];
        let output = Command::new("nsenter").args(words).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    assert_eq!(inside("--net", SYSCTL_FILE), "777");
    assert_eq!(inside("--ipc", "/proc/sys/kernel/msgmax"), "4321");
    assert_eq!(process.read("oom_score_adj").trim(), "321");
}

// Evidence: CVE-2019-16884, CVE-2019-19921, CVE-2025-52881 (run)
#[test]
fn mounts_over_procfs_catch_nothing() {
    let canary = Canary::new();
    let secret = canary.text("secret");
    for place in [
        SYSCTL_FILE,
        "/proc/sys/kernel/msgmax",
        "/proc/self/oom_score_adj",
        "/proc/self/attr/exec",
        "/proc/self/attr/current",
        "/proc/1/oom_score_adj",
    ] {
        let mut container = writes_to_procfs();
        container.mount(place, "bind", &secret, &["bind"]);
        container.run_detached();
        assert_written(container.process());
        canary.assert_unchanged();
    }
    for place in
        ["/proc/sys/net", "/proc/sys", "/proc/self", "/proc/self/attr", "/proc/sys/net/ipv4"]
    {
        let mut container = writes_to_procfs();
        container.mount(place, "bind", &canary.text("dir"), &["rbind"]);
        container.run_detached();
        assert_written(container.process());
        canary.assert_unchanged();
    }
}

// Evidence: CVE-2025-52881, CVE-2025-62596 (run)
#[test]
fn one_file_of_procfs_over_another_catches_nothing() {
    // The write would be a real one, to the wrong file: a host that panics, a shared setting.
    let before = fs::read_to_string("/proc/sys/kernel/threads-max").unwrap();
    for (place, source) in [
        (SYSCTL_FILE, "/proc/sys/kernel/threads-max"),
        ("/proc/sys/kernel/msgmax", "/proc/sys/kernel/threads-max"),
        ("/proc/self/oom_score_adj", "/proc/sys/kernel/threads-max"),
        ("/proc/sys/net", "/proc/sys/kernel"),
    ] {
        let mut container = writes_to_procfs();
        container.mount(place, "bind", source, &["bind"]);
        container.run_detached();
        assert_written(container.process());
        assert_eq!(before, fs::read_to_string("/proc/sys/kernel/threads-max").unwrap());
    }
}

// Evidence: CVE-2019-16884, proc-self-fd (run)
#[test]
fn a_false_procfs_is_written_to_by_nobody() {
    // A volume with all the files that a runtime may look for.
    let mut container = writes_to_procfs();
    let fake = container.path().join("fake");
    let files = [
        "sys/net/ipv4/ip_unprivileged_port_start",
        "sys/kernel/msgmax",
        "self/oom_score_adj",
        "self/attr/exec",
        "self/mountinfo",
        "self/status",
        "self/uid_map",
        "1/oom_score_adj",
    ];
    for file in files {
        let path = fake.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "fake").unwrap();
    }
    // What is reopened by its number leads to the canary.
    let canary = Canary::new();
    fs::create_dir_all(fake.join("self/fd")).unwrap();
    for number in 0..128 {
        let link = fake.join(format!("self/fd/{number}"));
        std::os::unix::fs::symlink("/data/secret", link).unwrap();
    }
    without_mount(&mut container, "/proc");
    container
        .mount("/data", "bind", &canary.text(""), &["bind"])
        .mount("/proc", "bind", fake.to_str().unwrap(), &["bind"])
        .push("/linux/readonlyPaths", json!("/etc"))
        .push("/linux/maskedPaths", json!("/etc/passwd"))
        .sh("echo x > /etc/new; cat /etc/passwd; echo y > /data/dir/file; echo done; sleep 100");
    let ran = container.run_detached();
    assert_eq!(ran.wait_for("done"), "done\n");
    assert_written(container.process());
    for file in files {
        assert_eq!(fs::read_to_string(fake.join(file)).unwrap(), "fake", "{file}");
    }
    assert!(!container.rootfs().join("etc/new").exists(), "/etc is not read-only");
    // The read-only flag was not put on what the false descriptors led to.
    assert_eq!(fs::read_to_string(canary.join("dir/file")).unwrap(), "y\n");
    fs::write(canary.join("dir/file"), "inner").unwrap();
    canary.assert_unchanged();
}

#[test]
fn a_container_without_procfs_gets_its_values() {
    let mut container = writes_to_procfs();
    without_mount(&mut container, "/proc");
    container.run_detached();
    assert_written(container.process());
}

// Evidence: CVE-2025-52881 (run); fails without RESOLVE_NO_XDEV in procfs
#[test]
fn mounts_over_the_hosts_procfs_are_refused() {
    // Whoever calls the runtime where somebody has prepared /proc. The last one is the same files
    // of the same file system once more, and still not what was looked for.
    for setup in [
        "mount -t tmpfs tmpfs /proc/sys/net",
        "mount --bind /etc /proc/sys/net",
        "mount --bind /proc/sys/kernel /proc/sys/net",
        "mount --bind /proc/sys/net /proc/sys/net",
    ] {
        let mut container = writes_to_procfs();
        container.set("/linux/sysctl", json!({SYSCTL: "777"})).args(&["/bin/true"]);
        container.rt.through = in_own_mounts(setup);
        let ran = container.run();
        container.rt.through.clear();
        one_line(&ran, &["linux.sysctl", "ip_unprivileged_port_start", "cross-device link"]);
    }
}

#[test]
fn what_is_no_procfs_is_refused() {
    // A directory of a procfs is not its root, either.
    for setup in ["mount -t tmpfs tmpfs /proc", "mount --bind /proc/sys /proc"] {
        let mut container = Container::new();
        container.rt.through = in_own_mounts(setup);
        let ran = container.run();
        container.rt.through.clear();
        one_line(&ran, &["/proc"]);
    }
    // A directory with a link to every file of a procfs is none, whatever can be read through it.
    let mut container = Container::new();
    let real = container.path().join("real");
    fs::create_dir(&real).unwrap();
    let real = real.to_str().unwrap();
    container.rt.through = in_own_mounts(&format!(
        "mount --bind /proc {real}; mount -t tmpfs tmpfs /proc; \
         for file in {real}/*; do ln -s $file /proc/; done"
    ));
    let ran = container.run();
    container.rt.through.clear();
    one_line(&ran, &["/proc", "not a procfs"]);
}

// Evidence: CVE-2022-0811 (run); fails without the list of sysctls
#[test]
fn sysctls_reach_only_what_is_the_containers() {
    for name in [
        "kernel.core_pattern",
        "kernel/core_pattern",
        "net/../kernel/core_pattern",
        "net.../kernel.core_pattern",
        "net/./../kernel/core_pattern",
        "net//core",
        "/net/core/somaxconn",
        "net",
        "",
        "net/",
        "kernel.shm_next_id",
        "kernel.msgmax/../core_pattern",
        "fs.mqueue/../../kernel/core_pattern",
        "vm.overcommit_memory",
        "user/../kernel/x",
        "kernel.hostname",
    ] {
        let mut container = Container::new();
        container.set("/linux/sysctl", json!({name: "1"}));
        one_line(&container.run(), &["linux.sysctl", &format!("{name:?}")]);
    }
    // Without the namespace it would be the host's.
    for (name, namespace) in
        [("net.core.somaxconn", "network"), ("kernel.msgmax", "ipc"), ("fs.mqueue.msg_max", "ipc")]
    {
        let mut container = Container::new();
        container.set("/linux/sysctl", json!({name: "1"})).without_namespace(namespace);
        one_line(&container.run(), &["linux.sysctl", name, namespace]);
    }
}

#[test]
fn the_masks_of_procfs_cannot_be_taken_off_by_a_new_one() {
    // With or without pivot_root: a user namespace below may mount no procfs without the masks.
    for options in [&[][..], &["--no-pivot"]] {
        let mut container = Container::new();
        std::os::unix::fs::symlink("busybox", container.rootfs().join("bin/unshare")).unwrap();
        container
            .capabilities(&["CAP_SETFCAP", "CAP_SETGID", "CAP_SETUID", "CAP_SYS_ADMIN"])
            .push("/linux/maskedPaths", json!("/proc/sys"))
            .sh("unshare -Urpfm sh -c 'id; mount -t proc proc /mnt; ls /mnt/sys' 2>&1; true");
        let ran = container.call("run", options).ok();
        assert!(ran.stdout.contains("uid=0"), "the attack did not take place: {ran:#?}");
        assert!(ran.stdout.contains("permission denied"), "{options:?}: {ran:#?}");
        assert!(!ran.stdout.contains("kernel"), "{options:?}: {ran:#?}");
    }
}

#[test]
fn the_hosts_tree_is_out_of_reach() {
    // Up from the container's root there is nothing, which is where chroot(2) would lead.
    let mut container = Container::with_script("sleep 100");
    let hook = json!({"path": "/bin/true"});
    for (options, hooks) in
        [(&[][..], false), (&[], true), (&["--no-pivot"], false), (&["--no-pivot"], true)]
    {
        if hooks {
            container.set("/hooks", json!({"createRuntime": [hook]}));
        }
        let pid_file = container.pid_file();
        let mut words = vec!["--detach", "--pid-file", pid_file.to_str().unwrap()];
        words.extend(options);
        container.call("run", &words).ok();
        let root = container.process().inside("/");
        let id = |path: &std::path::Path| {
            use std::os::unix::fs::MetadataExt;
            let meta = fs::metadata(path).unwrap();
            (meta.dev(), meta.ino())
        };
        let (here, above) = (id(&root), id(&root.join("..")));
        assert_eq!(here, above, "options {options:?}, hooks {hooks}");
        assert_eq!(here, id(&container.rootfs()));
        container.delete_force().ok();
    }
}

// Evidence: no-openat2 (run)
#[test]
fn hostile_without_openat2() {
    crate::hostile_support::again_without_openat2(module_path!());
}
