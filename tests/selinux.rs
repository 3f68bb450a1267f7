//! SELinux: the kernel's word on the labels of the container's processes, keys and file systems. These
//! need the policy of `hack/vm --selinux`, where `bulkhead_test_t` uses every file that exists, and makes
//! files only in directories of the type `bulkhead_test_file_t`.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::*;

macro_rules! need_selinux {
    () => {
        let enforces = fs::read_to_string("/sys/fs/selinux/enforce").is_ok_and(|text| text == "1");
        if !enforces || !Path::new("/etc/selinux/bulkhead_test.cil").exists() {
            skip!("no SELinux here that enforces the policy of the tests");
        }
    };
}

/// The label of a process, as the kernel reports it.
fn of_process(process: Proc) -> String {
    process.read("attr/current").trim_end_matches('\0').to_owned()
}

/// The label of a file in the container, as the kernel reports it.
fn of_file(process: Proc, path: &str) -> String {
    let mut value = [0; 256];
    let path = process.inside(path);
    let length = rustix::fs::getxattr(&path, "security.selinux", &mut value[..])
        .unwrap_or_else(|errno| panic!("{path:?}: {errno}"));
    String::from_utf8_lossy(&value[..length]).trim_end_matches('\0').to_owned()
}

/// A label of the domain for tests, with the user and role of the runtime.
fn domain(categories: &str) -> String {
    let own = of_process(Proc::new(std::process::id() as i32));
    let role: Vec<&str> = own.split(':').take(2).collect();
    format!("{}:bulkhead_test_t:s0:{categories}", role.join(":"))
}

fn files(categories: &str) -> String {
    format!("system_u:object_r:bulkhead_test_file_t:s0:{categories}")
}

const SHOW: &str = "tr -d '\\0' </proc/self/attr/current; echo";

// Proves: process.selinuxLabel
// Proves: features.linux.selinux.enabled
#[test]
fn the_program_has_its_label() {
    need_selinux!();
    let mut c = Container::new();
    let (label, other) = (domain("c1,c2"), domain("c3,c4"));
    let deny = "echo x >/refused || echo refused";
    for no_new_privileges in [true, false] {
        c.sh(&format!("{SHOW}; {deny}; exec sleep 600"));
        c.set("/process/noNewPrivileges", json!(no_new_privileges));
        c.set("/process/selinuxLabel", json!(label));
        let ran = c.run_detached();
        assert_eq!(ran.wait_for("refused\n"), format!("{label}\nrefused\n"));
        assert_eq!(of_process(c.process()), label);
        assert!(!c.rootfs().join("refused").exists());

        // A process that joins has the label, too, unless another is given.
        assert_eq!(c.exec_sh(SHOW), format!("{label}\n"));
        let ran = c.exec(&["--process-label", &other], &["sh", "-c", &format!("{SHOW}; {deny}")]);
        let ran = ran.ok();
        assert_eq!(ran.stdout, format!("{other}\nrefused\n"));
        assert!(ran.stderr.contains("Permission denied"), "{ran:#?}");
        let mut process = json!({
            "user": {"uid": 0, "gid": 0}, "cwd": "/", "args": ["sh", "-c", SHOW],
            "env": ["PATH=/bin"],
        });
        for expected in [&label, &other] {
            let file = c.file("process.json", &process.to_string());
            let ran = c.exec(&["--process", file.to_str().unwrap()], &[]).ok();
            assert_eq!(ran.stdout, format!("{expected}\n"));
            process["selinuxLabel"] = json!(other);
        }
        c.exec(&["--process-label", "no:such:label:s0"], &["true"]).not_started(&[
            "process.selinuxLabel",
            "\"no:such:label:s0\"",
            "the policy has no such label",
        ]);
        c.delete_force().ok();
    }
    let log = Command::new("dmesg").output().unwrap();
    let log = String::from_utf8_lossy(&log.stdout).into_owned();
    let of_domain =
        |line: &str| line.contains("denied  { write }") && line.contains("bulkhead_test_t");
    assert!(log.lines().any(of_domain), "{log}");
}

#[test]
fn hooks_of_the_image_have_the_label() {
    need_selinux!();
    let mut c = Container::with_script("exec sleep 600");
    let label = domain("c1,c2");
    c.set("/process/selinuxLabel", json!(label));
    c.set("/linux/mountLabel", json!(files("c1,c2")));
    c.mount("/out", "tmpfs", "tmpfs", &[]);
    let args = json!(["sh", "-c", format!("{{ {SHOW}; }} >/out/hook")]);
    c.set("/hooks/startContainer", json!([{"path": "/bin/sh", "args": args}]));
    c.run_detached();
    assert_eq!(c.exec_sh("cat /out/hook"), format!("{label}\n"));
}

#[test]
fn a_label_that_the_policy_lacks_is_refused() {
    need_selinux!();
    let mut c = Container::with_script("exec sleep 600");
    c.set("/process/selinuxLabel", json!("no:such:label:s0"));
    c.create().refused(&["process.selinuxLabel", "\"no:such:label:s0\""]);
    c.assert_gone();
    c.remove("/process/selinuxLabel").set("/linux/mountLabel", json!("no:such:label:s0"));
    c.create().refused(&["mounts[", "context", "no:such:label:s0"]);
    c.assert_gone();
}

#[test]
fn without_a_label_none_is_set() {
    need_selinux!();
    let c = Container::with_script("exec sleep 600");
    c.run_detached();
    assert_eq!(of_process(c.process()), of_process(Proc::new(std::process::id() as i32)));
}

/// A container that mounts something over the place does not catch the write (CVE-2019-16884).
#[test]
fn the_image_s_proc_is_not_asked() {
    need_selinux!();
    let mut c = Container::with_script("exec sleep 600");
    let label = domain("c1,c2");
    c.set("/process/selinuxLabel", json!(label));
    c.mount("/proc/self/attr", "tmpfs", "tmpfs", &["rw"]);
    c.run_detached();
    assert_eq!(of_process(c.process()), label);
}

#[test]
fn the_session_keyring_has_the_label() {
    need_selinux!();
    let mut c = Container::with_script("exec sleep 600");
    c.set("/process/selinuxLabel", json!(domain("c1,c2")));
    c.run_detached();
    let keys = c.exec_sh("cat /proc/keys");
    // Containers of other tests have the same label, so their keyrings are listed too.
    let name = format!("_ses.{}", c.id);
    let session = keys.lines().find(|line| line.contains(&name));
    let session = session.unwrap_or_else(|| panic!("{keys}"));
    let serial = format!("0x{}", session.split_whitespace().next().unwrap());
    let ran = Command::new("keyctl").args(["security", &serial]).output().unwrap();
    let found = String::from_utf8_lossy(&ran.stdout).into_owned();
    assert_eq!(found.trim_end(), domain("c1,c2"), "{ran:?}");
}

// Proves: linux.mountLabel
#[test]
fn new_file_systems_have_the_label() {
    need_selinux!();
    let mut c = Container::new();
    let (label, own) = (files("c1,c2"), files("c5"));
    c.sh("echo x >/data/x && touch /dev/shm/x && echo written; exec sleep 600");
    c.set("/process/selinuxLabel", json!(domain("c1,c2")));
    c.set("/linux/mountLabel", json!(label));
    c.set("/linux/maskedPaths", json!(["/masked"]));
    fs::create_dir(c.rootfs().join("masked")).unwrap();
    c.mount("/data", "tmpfs", "tmpfs", &[]);
    c.mount("/own", "tmpfs", "tmpfs", &[&format!("context=\"{own}\"")]);
    c.mount("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"]);
    c.mount("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", "ro"]);
    let ran = c.run_detached();
    ran.wait_for("written\n");
    let inside = c.process();
    for path in [
        "/data",
        "/data/x",
        "/dev",
        "/dev/null",
        "/dev/pts",
        "/dev/shm",
        "/dev/shm/x",
        "/dev/mqueue",
        "/masked",
    ] {
        assert_eq!(of_file(inside, path), label, "{path}");
    }
    assert_eq!(of_file(inside, "/own"), own);
    for path in ["/", "/proc", "/sys"] {
        assert!(!of_file(inside, path).contains("bulkhead_test"), "{path}");
    }
}

/// As podman requests it for a container that labels files itself.
#[test]
fn the_label_can_be_that_of_the_root_alone() {
    need_selinux!();
    let mut c = Container::with_script("exec sleep 600");
    let label = files("c1,c2");
    c.set("/annotations", json!({"run.oci.mount_context_type": "rootcontext"}));
    c.set("/linux/mountLabel", json!(label));
    c.mount("/data", "tmpfs", "tmpfs", &[]);
    c.run_detached();
    assert_eq!(of_file(c.process(), "/data"), label);
    let options = c.process().mount("/data").super_options;
    assert!(options.contains_key("rootcontext") && options.contains_key("seclabel"), "{options:?}");
    assert!(!options.contains_key("context"), "{options:?}");
}

// Proves: linux.mountLabel
#[test]
fn nodes_of_a_user_namespace_have_the_label() {
    need_selinux!();
    let mut c = Container::with_script("echo x >/dev/null && exec sleep 600");
    let label = files("c1,c2");
    c.map_users(100_000, 65536);
    c.push("/linux/devices", json!({"path": "/dev/own", "type": "c", "major": 1, "minor": 5}));
    c.set("/process/selinuxLabel", json!(domain("c1,c2")));
    c.set("/linux/mountLabel", json!(label));
    c.run_detached();
    assert_eq!(of_process(c.process()), domain("c1,c2"));
    for path in ["/dev", "/dev/own", "/dev/shm"] {
        assert_eq!(of_file(c.process(), path), label, "{path}");
    }
}

#[test]
fn without_selinux_a_label_is_refused() {
    if Path::new("/sys/fs/selinux/enforce").exists() {
        skip!("SELinux is enabled here");
    }
    for (pointer, field) in [
        ("/process/selinuxLabel", "process.selinuxLabel"),
        ("/linux/mountLabel", "linux.mountLabel"),
    ] {
        let mut c = Container::with_script("echo ran");
        c.set(pointer, json!("u:r:t:s0"));
        let error = format!("{field}: \"u:r:t:s0\": SELinux is not enabled on this host");
        c.create().refused(&[&error]);
        c.assert_gone();
        c.set(pointer, json!(""));
        assert_eq!(c.output(), "ran\n");
    }
}
