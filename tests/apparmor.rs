//! AppArmor: the kernel's word on what confines the container's processes. These need a machine that has
//! it, such as that of `hack/vm`.

use std::fs;
use std::process::{Command, Stdio};

use crate::support::*;

/// A profile that is loaded while this lives: everything is allowed but to write `/tmp/secret`.
struct Profile(String);

impl Profile {
    fn load(c: &Container) -> Profile {
        let name = format!("{}-profile", c.id);
        let rules = "file, capability, network, mount, umount, pivot_root, signal, ptrace, unix,";
        let flags = "flags=(attach_disconnected,mediate_deleted)";
        let text = format!("profile {name} {flags} {{ {rules} deny /tmp/secret w, }}\n");
        let profile = Profile(name);
        profile.parser("--replace", &c.file("profile", &text));
        profile
    }

    fn parser(&self, verb: &str, file: &std::path::Path) {
        let output = Command::new("apparmor_parser").arg(verb).arg(file).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

impl Drop for Profile {
    fn drop(&mut self) {
        let mut child =
            Command::new("apparmor_parser").arg("--remove").stdin(Stdio::piped()).spawn().unwrap();
        let text = format!("profile {} {{ }}\n", self.0);
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), text.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success());
    }
}

macro_rules! need_apparmor {
    () => {
        let text = fs::read_to_string("/sys/module/apparmor/parameters/enabled");
        if !text.is_ok_and(|text| text.starts_with('Y')) {
            skip!("no AppArmor here");
        }
    };
}

fn label(process: Proc) -> String {
    process.read("attr/apparmor/current").trim().to_owned()
}

// Proves: process.apparmorProfile, features.linux.apparmor.enabled
#[test]
fn the_program_is_under_its_profile() {
    need_apparmor!();
    let mut c = Container::new();
    let profile = Profile::load(&c);
    for no_new_privileges in [true, false] {
        c.sh("echo x >/tmp/open && echo x >/tmp/secret; cat /proc/self/attr/apparmor/current; \
              exec sleep 600");
        c.set("/process/noNewPrivileges", json!(no_new_privileges));
        c.set("/process/apparmorProfile", json!(profile.0));
        let ran = c.run_detached();
        let confined = format!("{} (enforce)", profile.0);
        let said = ran.wait_for("(enforce)");
        assert_eq!(said, format!("{confined}\n"));
        assert_eq!(label(c.process()), confined);
        assert!(c.rootfs().join("tmp/open").exists());
        assert!(!c.rootfs().join("tmp/secret").exists());

        // What joins it is under it as well, unless it is told otherwise.
        let ran = c.exec(&[], &["sh", "-c", "echo x >/tmp/secret; echo done"]).ok();
        assert!(ran.stderr.contains("Permission denied"), "{ran:#?}");
        assert_eq!(c.exec_sh("cat /proc/self/attr/apparmor/current"), format!("{confined}\n"));
        let free =
            c.exec(&["--apparmor", "unconfined"], &["cat", "/proc/self/attr/apparmor/current"]);
        assert_eq!(free.ok().stdout, "unconfined\n");
        c.exec(&["--apparmor", "no-such"], &["true"]).not_started(&[
            "process.apparmorProfile",
            "\"no-such\"",
            "not loaded",
        ]);
        c.delete_force().ok();
    }
}

#[test]
fn a_profile_that_is_not_loaded_is_refused() {
    need_apparmor!();
    let mut c = Container::with_script("exec sleep 600");
    c.set("/process/apparmorProfile", json!("no-such-profile"));
    c.create().refused(&["process.apparmorProfile", "\"no-such-profile\"", "not loaded"]);
    c.assert_gone();
}

#[test]
fn without_a_profile_nothing_is_asked_for() {
    need_apparmor!();
    let mut c = Container::with_script("exec sleep 600");
    c.run_detached();
    assert_eq!(label(c.process()), "unconfined");
    c.delete_force().ok();
    c.set("/process/apparmorProfile", json!("unconfined"));
    c.run_detached();
    assert_eq!(label(c.process()), "unconfined");
}

/// A container that mounts something over the place does not catch the write (CVE-2019-16884).
#[test]
fn the_image_s_proc_is_not_asked() {
    need_apparmor!();
    let mut c = Container::new();
    let profile = Profile::load(&c);
    c.sh("exec sleep 600").set("/process/apparmorProfile", json!(profile.0));
    c.mount("/proc/self/attr", "tmpfs", "tmpfs", &["rw"]);
    c.run_detached();
    assert_eq!(label(c.process()), format!("{} (enforce)", profile.0));
    c.delete_force().ok();
}

#[test]
fn where_there_is_none_only_nothing_can_be_had() {
    let text = fs::read_to_string("/sys/module/apparmor/parameters/enabled");
    if text.is_ok_and(|text| text.starts_with('Y')) {
        skip!("AppArmor is enabled here");
    }
    let mut c = Container::with_script("echo ran");
    c.set("/process/apparmorProfile", json!("some-profile"));
    c.create().refused(&["process.apparmorProfile", "some-profile", "not enabled"]);
    c.assert_gone();
    c.set("/process/apparmorProfile", json!("unconfined"));
    assert_eq!(c.output(), "ran\n");
}
