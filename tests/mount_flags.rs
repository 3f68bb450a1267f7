//! Flags of mounts that exist already: what a remount changes, what a bind mount keeps of its source,
//! what a user without privileges cannot change; and files on directories.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use crate::support::rootless::{give_to_nobody, of_nobody};
use crate::support::*;

fn asleep() -> Container {
    Container::with_script("exec sleep 600")
}

fn flags(text: &str) -> BTreeSet<String> {
    text.split(',').map(str::to_owned).collect()
}

/// Mounts a tmpfs with these flags on the bundle's `data` for the calls of the runtime alone.
fn mounted(c: &mut Container, mount_flags: &str) -> String {
    let data = c.path().join("data");
    fs::create_dir(&data).unwrap();
    let data = data.to_str().unwrap().to_owned();
    let words = format!(
        "mount -t tmpfs data {data} && mount -o remount,bind,{mount_flags} {data}; exec \"$@\""
    );
    c.rt.through = ["unshare", "--mount", "--propagation", "private", "sh", "-ec", &words, "sh"]
        .iter()
        .map(Into::into)
        .collect();
    data
}

// Proves: mounts[].options=remount, mounts[].options={async, nolazytime}
#[test]
fn a_remount_changes_the_file_system_as_well() {
    let mut c = asleep();
    c.mount("/mnt/t", "tmpfs", "tmpfs", &["size=1m", "nosuid", "mode=711"]);
    c.mount("/mnt/t", "tmpfs", "tmpfs", &["remount", "size=2m", "sync", "lazytime", "noexec"]);
    c.mount("/mnt/u", "tmpfs", "tmpfs", &["sync", "dirsync", "lazytime"]);
    c.mount("/mnt/u", "", "", &["remount", "async", "nolazytime"]);
    c.mount("/proc", "proc", "proc", &["remount", "hidepid=2"]);
    c.run_detached();
    let process = c.process();
    assert_eq!(process.mount_options("/mnt/t"), flags("rw,nosuid,noexec,relatime"));
    let options = process.mount("/mnt/t").super_options;
    for (name, value) in
        [("size", Some("2048k")), ("mode", Some("711")), ("sync", None), ("lazytime", None)]
    {
        let expected = Some(value.map(str::to_owned));
        assert_eq!(options.get(name).cloned(), expected, "{name}: {options:?}");
    }
    let options = process.mount("/mnt/u").super_options;
    for (name, expected) in [("sync", false), ("dirsync", true), ("lazytime", false)] {
        assert_eq!(options.contains_key(name), expected, "{name}: {options:?}");
    }
    let options = process.mount("/proc").super_options;
    assert_eq!(options.get("hidepid").cloned().flatten().as_deref(), Some("invisible"));
}

#[test]
fn a_remount_that_the_file_system_refuses_fails() {
    let mut c = Container::new();
    c.mount("/proc", "proc", "proc", &["remount", "hidepid=7"]);
    c.create().refused(&["mounts[6]", "hidepid"]);
    c.set("/mounts/6/options", json!(["remount", "sise=1m"]));
    c.create().refused(&["mounts[6]", "sise"]);
    c.set("/mounts/6/options", json!(["remount", "sync"]));
    c.set("/mounts/6/destination", json!("/etc"));
    c.create().refused(&["mounts[6]", "/etc"]);
}

#[test]
fn on_a_new_file_system_the_last_word_wins_over_a_recursive_one() {
    let cases: &[(&[&str], &str)] = &[
        (&["rnodev", "dev"], "rw,relatime"),
        (&["rro", "rw"], "rw,relatime"),
        (&["rw", "rro"], "ro,relatime"),
        (&["rnoatime", "strictatime", "rnosuid", "suid", "rnoexec"], "rw,noexec"),
    ];
    let mut c = asleep();
    for (number, (options, _)) in cases.iter().enumerate() {
        for kind in ["tmpfs", "proc"] {
            c.mount(&format!("/mnt/{kind}{number}"), kind, kind, options);
        }
    }
    c.run_detached();
    for (number, (options, expected)) in cases.iter().enumerate() {
        for kind in ["tmpfs", "proc"] {
            let there = c.process().mount_options(&format!("/mnt/{kind}{number}"));
            assert_eq!(there, flags(expected), "{kind} {options:?}");
        }
    }
}

/// Flags that are not named stay what they are on the source: the container gets no right that the
/// mount on the host does not give.
#[test]
fn a_bind_mount_changes_the_named_flags_alone() {
    const SOURCE: &str = "ro,nosuid,nodev,noexec,noatime,nodiratime,nosymfollow";
    let cases: &[(&[&str], &str)] = &[
        (&[], SOURCE),
        (&["nodev"], SOURCE),
        (&["dev"], "ro,nosuid,noexec,noatime,nodiratime,nosymfollow"),
        (&["rw"], "rw,nosuid,nodev,noexec,noatime,nodiratime,nosymfollow"),
        (&["ro", "symfollow"], "ro,nosuid,nodev,noexec,noatime,nodiratime"),
        (&["exec", "relatime"], "ro,nosuid,nodev,relatime,nodiratime,nosymfollow"),
        (&["strictatime", "diratime"], "ro,nosuid,nodev,noexec,nosymfollow"),
    ];
    let mut c = asleep();
    let data = mounted(&mut c, SOURCE);
    for (number, (options, _)) in cases.iter().enumerate() {
        let options = [&["bind"], *options].concat();
        c.mount(&format!("/mnt/{number}"), "bind", &data, &options);
    }
    c.run_detached();
    c.rt.through.clear();
    for (number, (options, expected)) in cases.iter().enumerate() {
        let there = c.process().mount_options(&format!("/mnt/{number}"));
        assert_eq!(there, flags(expected), "{options:?}");
    }
}

/// Podman writes `rw` for a volume without a word. A source that the host has mounted read-only
/// stays so, and somebody is told.
#[test]
fn without_privileges_a_read_only_source_stays_read_only() {
    if !unprivileged_user_namespaces() {
        skip!("this machine does not let users make user namespaces");
    }
    let mut c = of_nobody("touch /mnt/file || echo refused");
    let data = c.path().join("data");
    fs::create_dir(&data).unwrap();
    give_to_nobody(&data);
    let data = data.to_str().unwrap().to_owned();
    rootless::through(
        &mut c,
        &format!("mount --bind {data} {data} && mount -o remount,bind,ro,nosuid,nodev {data}"),
    );
    c.mount("/mnt", "bind", &data, &["rbind", "rprivate", "rw", "nosuid", "nodev"]);
    give_to_nobody(c.path());
    let ran = c.run().ok();
    assert_eq!(ran.stdout, "refused\n", "{ran:#?}");
    assert!(ran.stderr.contains("warning: mounts[5]: \"/mnt\" is read-only"), "{ran:#?}");
    for (options, named) in [
        (&["rbind", "rw", "suid"][..], "cannot clear ro, nosuid"),
        (&["rbind", "dev"], "cannot clear nodev"),
        (&["rbind", "rrw"], "locked"),
        (&["rbind", "noatime"], "locked"),
    ] {
        c.set("/mounts/5/options", json!(options));
        c.create().refused(&["mounts[5]", &data, named, "operation not permitted"]);
    }
    c.set("/mounts/5/options", json!(["rbind"]));
    c.mount("/mnt", "", "", &["remount", "rw"]);
    c.create().refused(&["mounts[6]", "cannot clear ro", "operation not permitted"]);
    c.rt.through.clear();
}

#[test]
fn a_file_on_a_directory_is_not_a_directory() {
    let mut c = Container::new();
    c.file("file", "");
    fs::create_dir(c.path().join("dir")).unwrap();
    fs::write(c.rootfs().join("file"), "").unwrap();
    for (source, destination) in [("file", "/tmp"), ("dir", "/file"), ("dir", "/bin/busybox")] {
        let list = c.config["mounts"].as_array().unwrap()[..6].to_vec();
        c.set("/mounts", json!(list));
        c.mount(destination, "bind", source, &["bind"]);
        // Docker looks for these words, and then asks: a directory onto a file, or vice versa?
        c.create().refused(&["mounts[6]", destination, "not a directory"]);
    }
    for kind in ["tmpfs", "proc", "mqueue", "cgroup"] {
        let list = c.config["mounts"].as_array().unwrap()[..6].to_vec();
        c.set("/mounts", json!(list));
        c.mount("/file", kind, kind, &[]);
        c.create().refused(&["mounts[6]", "/file", "not a directory"]);
    }
}

#[test]
fn a_tmpfs_without_a_mode_has_the_same_at_every_start() {
    let mut c = Container::with_script("stat -c %a /new /deep/er /mnt /tmp; stat -c %a /deep");
    fs::set_permissions(c.rootfs().join("mnt"), PermissionsExt::from_mode(0o750)).unwrap();
    for place in ["/new", "/deep/er", "/mnt", "/tmp"] {
        c.mount(place, "tmpfs", "tmpfs", &["size=1m"]);
    }
    for start in ["first", "second"] {
        assert_eq!(c.output(), "1777\n1777\n750\n1777\n755\n", "{start} start");
    }
}

#[test]
fn a_directory_of_the_host_that_a_tmpfs_covers_is_not_for_everybody() {
    let mut c = Container::with_script("stat -c %a /mnt /mnt/new/er");
    fs::create_dir(c.path().join("volume")).unwrap();
    c.mount("/mnt", "bind", "volume", &["bind"]).mount("/mnt/new/er", "tmpfs", "tmpfs", &[]);
    assert_eq!(c.output(), "755\n1777\n");
    for name in ["new", "new/er"] {
        let made = fs::metadata(c.path().join("volume").join(name)).unwrap();
        assert_eq!(made.permissions().mode() & 0o7777, 0o755, "{name}");
    }
}

#[test]
fn a_cgroup_mount_has_the_flags_that_are_named() {
    for private in [true, false] {
        let mut c = asleep();
        if !private {
            c.without_namespace("cgroup");
        }
        c.mount(
            "/mnt",
            "cgroup",
            "cgroup",
            &["noatime", "rnosuid", "nodev", "dev", "noexec", "ro"],
        );
        c.run_detached();
        let process = c.process();
        let mounts = process.mounts();
        let of_cgroups: Vec<_> = mounts
            .iter()
            .filter(|m| m.fs_type.starts_with("cgroup") && m.mount_point.starts_with("/mnt"))
            .collect();
        assert!(!of_cgroups.is_empty());
        for mount in of_cgroups {
            let there: BTreeSet<_> = mount.mount_options.keys().cloned().collect();
            assert_eq!(there, flags("ro,nosuid,noexec,noatime"), "{mount:?}");
        }
    }
}

/// podman run --mount type=bind,...,no-dereference.
#[test]
fn a_copied_link_is_no_mount() {
    let mut c = Container::with_script("readlink /links/a; readlink /b; cat /file");
    c.file("file", "text\n");
    symlink("/nowhere/else", c.path().join("link")).unwrap();
    let options = ["bind", "ro", "copy-symlink"];
    c.mount("/links/a", "bind", "link", &options);
    let link = c.path().join("link").to_str().unwrap().to_owned();
    c.mount("/b", "bind", &link, &options);
    c.mount("/file", "bind", "file", &options);
    for start in ["first", "second"] {
        assert_eq!(c.output(), "/nowhere/else\n/nowhere/else\ntext\n", "{start} start");
    }
    // An image's link must not lead out, and no file of the image is replaced.
    fs::remove_file(c.rootfs().join("b")).unwrap();
    fs::write(c.rootfs().join("b"), "").unwrap();
    c.create().refused(&["mounts[7]", "/b", "/nowhere/else", "file exists"]);
    let outside = c.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::remove_file(c.rootfs().join("b")).unwrap();
    symlink(&outside, c.rootfs().join("out")).unwrap();
    c.set("/mounts/7/destination", json!("/out/link"));
    c.run().ok();
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0, "the link was made on the host");
}
