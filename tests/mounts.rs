//! The container's file systems: every mount is read back from its mountinfo, and the host's own
//! files are looked at for harm.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use crate::support::canary::Canary;
use crate::support::*;

/// A mount namespace for the calls of a test, so that what they mount in their own never appears
/// on the host.
struct Apart(std::process::Child);

impl Apart {
    fn new() -> Apart {
        let mut unshare = std::process::Command::new("unshare");
        unshare.args(["--mount", "--propagation", "private", "sleep", "600"]);
        let holder = Apart(unshare.spawn().unwrap());
        let own = ns_link("self", "mnt");
        wait_until("the mount namespace", || holder.namespace() != own);
        holder
    }

    fn namespace(&self) -> String {
        ns_link(&self.0.id().to_string(), "mnt")
    }

    fn through(&self) -> Vec<std::ffi::OsString> {
        let file = format!("--mount=/proc/{}/ns/mnt", self.0.id());
        ["nsenter", &file, "--"].iter().map(Into::into).collect()
    }

    /// The mounts in it that are below a directory.
    fn below(&self, dir: &Path) -> Vec<String> {
        let mounts = fs::read_to_string(format!("/proc/{}/mountinfo", self.0.id())).unwrap();
        let dir = dir.to_str().unwrap();
        mounts.lines().filter(|line| line.contains(dir)).map(str::to_owned).collect()
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// Sleeps as the container's process, so that the kernel can be asked about its mounts.
fn asleep() -> Container {
    Container::with_script("exec sleep 600")
}

/// Calls the runtime in a private mount namespace in which `script` has run first, so that a
/// test's mounts never appear on the host.
fn after_mounting(c: &mut Container, script: &str) {
    let words = format!("{script} && exec \"$@\"");
    c.rt.through = ["unshare", "--mount", "--propagation", "private", "sh", "-ec", &words, "sh"]
        .iter()
        .map(Into::into)
        .collect();
}

// Proves: mounts[].{destination, type}, default:{/proc, /sys, /dev/pts, /dev/shm}
#[test]
fn every_type_of_file_system() {
    let mut c = asleep();
    let data = c.path().join("data");
    fs::create_dir(&data).unwrap();
    c.mount("/mnt/bind", "bind", data.to_str().unwrap(), &["bind"]);
    c.mount("/mnt/none", "none", data.to_str().unwrap(), &["rbind"]);
    c.mount("/mnt/tmpfs", "tmpfs", "named", &[]);
    c.mount("/mnt/ramfs", "ramfs", "ramfs", &[]);
    c.run_detached();
    let process = c.process();
    for (place, kind) in [
        ("/proc", "proc"),
        ("/dev", "tmpfs"),
        ("/dev/pts", "devpts"),
        ("/dev/shm", "tmpfs"),
        ("/dev/mqueue", "mqueue"),
        ("/sys", "sysfs"),
        ("/mnt/tmpfs", "tmpfs"),
        ("/mnt/ramfs", "ramfs"),
    ] {
        assert_eq!(process.mount(place).fs_type, kind, "{place}");
    }
    assert_eq!(process.mount("/mnt/tmpfs").mount_source.as_deref(), Some("named"));
    for place in ["/mnt/bind", "/mnt/none"] {
        let root = process.mount(place).root;
        assert!(root.ends_with("/data"), "{place} is {root:?}");
    }
}

#[test]
fn options_of_a_mount_point() {
    // What is asked for; what mountinfo must have; what it must not have.
    let cases: &[(&[&str], &[&str], &[&str])] = &[
        (&[], &["rw"], &["ro", "nosuid", "nodev", "noexec"]),
        (&["ro"], &["ro"], &["rw"]),
        (&["rw"], &["rw"], &["ro"]),
        (&["ro", "rw"], &["rw"], &["ro"]),
        (&["rw", "ro"], &["ro"], &["rw"]),
        (&["nosuid"], &["nosuid", "rw"], &["nodev", "noexec"]),
        (&["nosuid", "suid"], &[], &["nosuid"]),
        (&["nodev"], &["nodev"], &["nosuid"]),
        (&["nodev", "dev"], &[], &["nodev"]),
        (&["noexec"], &["noexec"], &["nosuid"]),
        (&["noexec", "exec"], &[], &["noexec"]),
        (&["relatime"], &["relatime"], &["noatime"]),
        (&["noatime"], &["noatime"], &["relatime"]),
        (&["strictatime"], &[], &["noatime", "relatime"]),
        (&["nodiratime"], &["nodiratime"], &["noatime"]),
        (&["nodiratime", "noatime"], &["nodiratime", "noatime"], &[]),
        (&["defaults"], &["rw"], &["ro"]),
        (&["ro", "nosuid", "nodev", "noexec"], &["ro", "nosuid", "nodev", "noexec"], &["rw"]),
    ];
    let mut c = asleep();
    let data = c.path().join("data");
    fs::create_dir(&data).unwrap();
    for (number, (asked, _, _)) in cases.iter().enumerate() {
        c.mount(&format!("/mnt/tmpfs{number}"), "tmpfs", "tmpfs", asked);
        let mut asked = asked.to_vec();
        asked.push("bind");
        c.mount(&format!("/mnt/bind{number}"), "bind", data.to_str().unwrap(), &asked);
    }
    c.run_detached();
    let process = c.process();
    for (number, (asked, present, absent)) in cases.iter().enumerate() {
        for kind in ["tmpfs", "bind"] {
            let options = process.mount_options(&format!("/mnt/{kind}{number}"));
            for option in *present {
                assert!(options.contains(*option), "{kind} {asked:?}: no {option} in {options:?}");
            }
            for option in *absent {
                assert!(!options.contains(*option), "{kind} {asked:?}: {option} in {options:?}");
            }
        }
    }
}

#[test]
fn nosymfollow_is_a_mount_option() {
    let mut c = Container::with_script("cat /mnt/link; echo cat=$?; exec sleep 600");
    let data = c.path().join("data");
    fs::create_dir(&data).unwrap();
    fs::write(data.join("file"), "text\n").unwrap();
    symlink("file", data.join("link")).unwrap();
    c.mount("/mnt", "bind", data.to_str().unwrap(), &["bind", "nosymfollow"]);
    let ran = c.run_detached();
    let output = ran.wait_for("cat=");
    assert!(c.process().mount_options("/mnt").contains("nosymfollow"));
    assert_ne!(said(&output, "cat"), "0", "the link was followed");
}

// Proves: mounts[].options:data
#[test]
fn options_of_the_file_system() {
    let mut c = Container::with_script("df -k /mnt | tail -n 1; stat -c %a /mnt; exec sleep 600");
    c.mount("/mnt", "tmpfs", "tmpfs", &["size=1m", "mode=0711", "nr_inodes=77"]);
    let ran = c.run_detached();
    let output = ran.wait_for("711");
    assert_eq!(output.split_whitespace().nth(1), Some("1024"), "{output}");
    let options = c.process().mount("/mnt").super_options;
    let value = |name: &str| options.get(name).cloned().flatten();
    assert_eq!(value("size").as_deref(), Some("1024k"));
    assert_eq!(value("mode").as_deref(), Some("711"));
    assert_eq!(value("nr_inodes").as_deref(), Some("77"));
}

#[test]
fn a_tmpfs_takes_the_mode_of_what_it_covers() {
    let mut c = Container::with_script("stat -c %a /mnt/given; stat -c %a /mnt/made");
    let given = c.rootfs().join("mnt/given");
    fs::create_dir(&given).unwrap();
    fs::set_permissions(&given, fs::Permissions::from_mode(0o2750)).unwrap();
    c.mount("/mnt/given", "tmpfs", "tmpfs", &[]);
    c.mount("/mnt/made", "tmpfs", "tmpfs", &["mode=0700"]);
    assert_eq!(c.output(), "2750\n700\n");
}

// Proves: mounts[].options={bind, rbind}
#[test]
fn a_bind_is_not_recursive_and_rbind_is() {
    let mut c = Container::with_script("ls /mnt/bind/sub /mnt/rbind/sub");
    fs::create_dir_all(c.path().join("data/sub")).unwrap();
    let data = c.path().join("data").to_str().unwrap().to_owned();
    after_mounting(&mut c, &format!("mount -t tmpfs sub {data}/sub && touch {data}/sub/below"));
    c.mount("/mnt/bind", "bind", &data, &["bind"]);
    c.mount("/mnt/rbind", "bind", &data, &["rbind"]);
    let output = c.output();
    c.rt.through.clear();
    assert_eq!(output, "/mnt/bind/sub:\n\n/mnt/rbind/sub:\nbelow\n");
}

// Proves: mounts[].options={rro, rnosuid, rnodev, rnoexec, rnoatime, rnodiratime}
#[test]
fn recursive_options_reach_the_mounts_below() {
    // Asked for on an rbind; the mount point's word; the word of the mount below it.
    let cases: &[(&str, &str, bool)] = &[
        ("ro", "ro", false),
        ("rro", "ro", true),
        ("nosuid", "nosuid", false),
        ("rnosuid", "nosuid", true),
        ("rnodev", "nodev", true),
        ("rnoexec", "noexec", true),
        ("rnoatime", "noatime", true),
        ("rnodiratime", "nodiratime", true),
    ];
    let mut c = asleep();
    fs::create_dir_all(c.path().join("data/sub")).unwrap();
    let data = c.path().join("data").to_str().unwrap().to_owned();
    after_mounting(&mut c, &format!("mount -t tmpfs sub {data}/sub"));
    for (option, _, _) in cases {
        c.mount(&format!("/mnt/{option}"), "bind", &data, &["rbind", option]);
    }
    c.run_detached();
    c.rt.through.clear();
    let process = c.process();
    for (option, word, below) in cases {
        let top = process.mount_options(&format!("/mnt/{option}"));
        assert!(top.contains(*word), "{option}: {top:?}");
        let sub = process.mount_options(&format!("/mnt/{option}/sub"));
        assert_eq!(sub.contains(*word), *below, "below {option}: {sub:?}");
    }
}

#[test]
fn read_only_keeps_what_the_source_forbids() {
    let mut c = asleep();
    fs::create_dir(c.path().join("data")).unwrap();
    let data = c.path().join("data").to_str().unwrap().to_owned();
    after_mounting(&mut c, &format!("mount -t tmpfs -o nosuid,nodev,noexec data {data}"));
    c.mount("/mnt", "bind", &data, &["bind", "ro"]);
    c.run_detached();
    c.rt.through.clear();
    let options = c.process().mount_options("/mnt");
    for option in ["ro", "nosuid", "nodev", "noexec"] {
        assert!(options.contains(option), "no {option} in {options:?}");
    }
}

#[test]
fn propagation_of_each_mount() {
    let mut c = asleep();
    let cases = [
        ("shared", "shared"),
        ("rshared", "shared"),
        ("private", "private"),
        ("rprivate", "private"),
        ("unbindable", "unbindable"),
        ("runbindable", "unbindable"),
    ];
    for (option, _) in cases {
        c.mount(&format!("/mnt/{option}"), "tmpfs", "tmpfs", &[option]);
    }
    c.run_detached();
    for (option, word) in cases {
        assert_eq!(c.process().propagation(&format!("/mnt/{option}")), word, "{option}");
    }
}

// Proves: mounts[].options={slave, rslave}
#[test]
fn a_slave_has_its_master_on_the_host() {
    // In the foreground: the master is in the caller's namespace and lives no longer than it.
    let mut c = Container::with_script("cat /proc/self/mountinfo");
    fs::create_dir(c.path().join("data")).unwrap();
    let data = c.path().join("data").to_str().unwrap().to_owned();
    after_mounting(&mut c, &format!("mount -t tmpfs data {data} && mount --make-shared {data}"));
    c.mount("/mnt/slave", "bind", &data, &["bind", "slave"]);
    c.mount("/mnt/rslave", "bind", &data, &["rbind", "rslave"]);
    c.mount("/mnt/private", "bind", &data, &["bind", "private"]);
    let output = c.output();
    c.rt.through.clear();
    for (place, master) in [("/mnt/slave", true), ("/mnt/rslave", true), ("/mnt/private", false)] {
        let line = output.lines().find(|line| line.split(' ').nth(4) == Some(place)).unwrap();
        assert_eq!(line.contains(" master:"), master, "{line}");
        assert!(!line.contains(" shared:"), "{line}");
    }
}

#[test]
fn no_mount_is_a_peer_of_the_hosts() {
    // A mask, and a device where nodes cannot be made, are the host's own node: mounting on a peer
    // of it would cover it outside too.
    for user_namespace in [false, true] {
        let mut c = Container::with_script("cat /proc/self/mountinfo");
        if user_namespace {
            c.map_users(100_000, 65536);
        }
        c.set("/linux/maskedPaths", json!(["/proc/keys", "/proc/timer_list", "/proc/acpi"]));
        after_mounting(&mut c, "mount --make-rshared /");
        let output = c.output();
        c.rt.through.clear();
        assert!(output.contains(" /proc/keys "), "{output}");
        assert!(!output.contains(" shared:"), "{output}");
    }
}

// Proves: linux.rootfsPropagation={shared, private, unbindable}
#[test]
fn propagation_of_the_root() {
    for (asked, word) in [
        (Some("private"), "private"),
        (Some("rprivate"), "private"),
        (Some("unbindable"), "unbindable"),
        (Some("shared"), "shared"),
        (Some("slave"), "private"),
        (Some("rslave"), "private"),
        (None, "private"),
    ] {
        let mut c = asleep();
        if let Some(asked) = asked {
            c.set("/linux/rootfsPropagation", json!(asked));
        }
        c.run_detached();
        // A slave whose master is not shared is private to the eye.
        assert_eq!(c.process().propagation("/"), word, "{asked:?}");
    }
}

#[test]
fn the_propagation_of_a_mount_prevails_over_that_of_the_root() {
    const PLACES: [&str; 4] =
        ["/mnt/bind/shared", "/mnt/bind/unbindable", "/mnt/proc/shared", "/mnt/proc/unbindable"];
    for (asked, users) in [
        (Some("private"), false),
        (Some("rprivate"), false),
        (Some("rprivate"), true),
        (Some("slave"), false),
        (Some("rslave"), false),
        (None, false),
    ] {
        let mut c = asleep();
        if users {
            c.map_users(100_000, 65536);
        }
        if let Some(asked) = asked {
            c.set("/linux/rootfsPropagation", json!(asked));
        }
        fs::create_dir(c.path().join("data")).unwrap();
        for place in PLACES {
            fs::create_dir_all(c.rootfs().join(&place[1..])).unwrap();
            let word = place.rsplit('/').next().unwrap();
            if place.contains("bind") {
                c.mount(place, "bind", "data", &["bind", word]);
            } else {
                c.mount(place, "proc", "proc", &[word]);
            }
        }
        c.run_detached();
        assert_eq!(c.process().propagation("/"), "private", "{asked:?}");
        for place in PLACES {
            let word = place.rsplit('/').next().unwrap();
            // In a user namespace it is a slave of the host's, too, if that is shared.
            let there = c.process().propagation(place);
            assert!(there.split(',').any(|one| one == word), "{asked:?} {users} {place}: {there}");
        }
    }
    // A shared root is made so at the end, as under runc: a recursive one with all that is in it.
    for (asked, word) in [("shared", "private"), ("rshared", "shared")] {
        let mut c = asleep();
        c.set("/linux/rootfsPropagation", json!(asked));
        c.mount("/mnt/own", "tmpfs", "tmpfs", &["private"]);
        c.run_detached();
        assert_eq!(c.process().propagation("/"), "shared", "{asked}");
        assert_eq!(c.process().propagation("/mnt/own"), word, "{asked}");
    }
}

#[test]
fn what_is_mounted_inside_stays_inside() {
    let mut c = Container::with_script("mount -t tmpfs inner /mnt && echo mounted; exec sleep 600");
    c.capabilities(&["CAP_SYS_ADMIN"]);
    // The host's root as systemd makes it: shared.
    let seen = c.path().join("seen").to_str().unwrap().to_owned();
    let script =
        format!("mount --make-rshared / && (sleep 1; cat /proc/self/mountinfo > {seen}) &");
    let words = format!("{script} exec \"$@\"");
    c.rt.through =
        ["unshare", "--mount", "sh", "-c", &words, "sh"].iter().map(Into::into).collect();
    let ran = c.run_detached();
    c.rt.through.clear();
    ran.wait_for("mounted");
    let table = wait_for("the host's table", || {
        fs::read_to_string(&seen).ok().filter(|text| text.ends_with('\n'))
    });
    assert!(!table.contains("inner"), "{table}");
    assert!(!table.contains(c.rootfs().to_str().unwrap()), "{table}");
}

// Proves: mounts[].options=tmpcopyup
#[test]
fn tmpcopyup_copies_what_it_covers() {
    let mut c = Container::with_script(
        "cat /data/sub/file; stat -c '%a %u' /data/sub/file; readlink /data/link; echo new > /data/sub/file; echo write=$?",
    );
    fs::create_dir_all(c.rootfs().join("data/sub")).unwrap();
    let file = c.rootfs().join("data/sub/file");
    fs::write(&file, "old\n").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    symlink("sub/file", c.rootfs().join("data/link")).unwrap();
    c.mount("/data", "tmpfs", "tmpfs", &["tmpcopyup"]);
    assert_eq!(c.output(), "old\n640 0\nsub/file\nwrite=0\n");
    assert_eq!(
        fs::read_to_string(file).unwrap(),
        "old\n",
        "the write reached the root file system"
    );
}

#[test]
fn tmpcopyup_and_read_only() {
    let mut c = Container::with_script("cat /data/file; echo new > /data/file; echo write=$?");
    fs::create_dir_all(c.rootfs().join("data")).unwrap();
    fs::write(c.rootfs().join("data/file"), "old\n").unwrap();
    c.mount("/data", "tmpfs", "tmpfs", &["tmpcopyup", "ro"]);
    assert_eq!(c.output(), "old\nwrite=1\n");
}

// Proves: mounts[].source
#[test]
fn sources_may_be_relative_files_and_links() {
    let mut c = Container::with_script(
        "cat /mnt/relative/file /mnt/one /mnt/link; echo x > /mnt/one; echo write=$?",
    );
    fs::create_dir(c.path().join("data")).unwrap();
    c.file("data/file", "in the bundle\n");
    c.file("single", "single\n");
    symlink("single", c.path().join("link")).unwrap();
    let link = c.path().join("link").to_str().unwrap().to_owned();
    c.mount("/mnt/relative", "bind", "data", &["bind"]);
    c.mount("/mnt/one", "bind", "single", &["bind", "ro"]);
    c.mount("/mnt/link", "bind", &link, &["bind"]);
    assert_eq!(c.output(), "in the bundle\nsingle\nsingle\nwrite=1\n");
    assert!(c.rootfs().join("mnt/one").is_file());
}

#[test]
fn a_source_in_what_is_mounted_already_is_what_is_mounted() {
    for users in [false, true] {
        let mut c = Container::with_script("cat /final/file /last/file; echo x >/last/new");
        if users {
            c.map_users(100_000, 1000);
        }
        let data = c.path().join("data");
        fs::create_dir_all(data.join("sub")).unwrap();
        fs::write(data.join("sub/file"), "of the host\n").unwrap();
        // It would be found, if the source were looked up before the mount.
        fs::create_dir_all(c.rootfs().join("mnt/sub")).unwrap();
        fs::write(c.rootfs().join("mnt/sub/file"), "of the image\n").unwrap();
        for place in ["final", "last"] {
            fs::create_dir(c.rootfs().join(place)).unwrap();
        }
        let inside = |path: &str| c.rootfs().join(path).to_str().unwrap().to_owned();
        let (source, last) = (inside("mnt/sub"), inside("last"));
        c.mount("/mnt", "bind", data.to_str().unwrap(), &["rbind"]);
        c.mount("/final", "bind", &source, &["bind", "ro"]);
        c.mount(&last, "bind", "rootfs/mnt/sub", &["bind", "ro"]);
        let ran = c.run();
        assert_eq!(ran.stdout, "of the host\nof the host\n", "{ran:#?}");
        assert!(ran.stderr.contains("Read-only file system"), "{ran:#?}");
    }
}

/// As old tools write them; the specification has them start at the root.
// Proves: mounts[].destination:relative
#[test]
fn a_relative_destination_starts_at_the_root() {
    let mut c = asleep();
    c.set("/process/cwd", json!("/tmp"));
    c.mount("mnt/deep", "tmpfs", "named", &[]);
    c.run_detached();
    assert_eq!(c.process().mount("/mnt/deep").mount_source.as_deref(), Some("named"));
}

/// Attaching the root file system to a shared mount makes it shared: what the container mounts would
/// appear wherever that mount has peers.
// Proves: linux.rootfsPropagation={slave, private}
#[test]
fn the_root_in_a_joined_namespace_of_shared_mounts_is_isolated() {
    for asked in ["private", "rprivate", "slave", "rslave"] {
        let mut c = asleep();
        // Ends before the container is searched for what it has left.
        let holder = Apart::new();
        let root = c.rootfs();
        let mounted = std::process::Command::new("nsenter")
            .args(&holder.through()[1..])
            .args(["sh", "-ec", "mount --bind \"$0\" \"$0\"; mount --make-shared \"$0\""])
            .arg(&root)
            .status();
        assert!(mounted.unwrap().success());
        let path = format!("/proc/{}/ns/mnt", holder.0.id());
        c.namespace(json!({"type": "mount", "path": path}));
        c.set("/linux/rootfsPropagation", json!(asked));
        c.run_detached();
        assert_ne!(c.process().propagation("/"), "shared", "{asked}");
        c.delete_force().ok();
    }
}

/// Where the root file system is on a shared mount of the host, as it is with systemd.
// Proves: linux.rootfsPropagation=slave
#[test]
fn a_slave_root_has_its_master_on_the_host() {
    for (asked, master) in [("slave", true), ("private", false)] {
        // In the foreground: the master lives no longer than the caller's namespace.
        let mut c = Container::with_script("cat /proc/self/mountinfo");
        let root = c.rootfs().to_str().unwrap().to_owned();
        after_mounting(
            &mut c,
            &format!("mount --bind {root} {root} && mount --make-shared {root}"),
        );
        c.set("/linux/rootfsPropagation", json!(asked));
        let output = c.output();
        c.rt.through.clear();
        let line = output.lines().find(|line| line.split(' ').nth(4) == Some("/")).unwrap();
        assert_eq!(line.contains(" master:"), master, "{asked}: {line}");
    }
}

// Proves: mounts:order
#[test]
fn mounts_are_made_in_the_order_listed() {
    let mut c = Container::with_script("ls -A /mnt /mnt/deep/er; cat /twice");
    fs::write(c.rootfs().join("mnt/covered"), "").unwrap();
    c.file("first", "first\n");
    c.file("second", "second\n");
    c.mount("/mnt", "tmpfs", "tmpfs", &[]);
    c.mount("/mnt/deep/er", "tmpfs", "tmpfs", &[]);
    c.mount("/mnt/deep/er/file", "bind", "first", &["bind"]);
    c.mount("/twice", "bind", "first", &["bind"]);
    c.mount("/twice", "bind", "second", &["bind"]);
    assert_eq!(c.output(), "/mnt:\ndeep\n\n/mnt/deep/er:\nfile\nsecond\n");
}

#[test]
fn a_destination_through_links_stays_inside() {
    for kind in ["directory", "file", "tmpfs", "made"] {
        for up in [false, true] {
            let mut c = Container::with_script("cat /proc/self/mountinfo");
            let canary = Canary::new(&c);
            let mut target = canary.path.to_str().unwrap().to_owned();
            if up {
                target = format!("../../../../../../../..{target}");
            }
            symlink(&target, c.rootfs().join("link")).unwrap();
            c.file("one", "");
            fs::create_dir(c.path().join("data")).unwrap();
            match kind {
                "directory" => c.mount("/link", "bind", "data", &["bind"]),
                "file" => c.mount("/link/file", "bind", "one", &["bind"]),
                "tmpfs" => c.mount("/link/sub", "tmpfs", "tmpfs", &[]),
                _ => c.mount("/link/new/dir", "tmpfs", "tmpfs", &[]),
            };
            let ran = c.run();
            canary.assert_alive();
            // It may be refused; if it is not, the mount is below the container's own root.
            if ran.status.success() {
                assert!(c.rootfs().join(canary.path.strip_prefix("/").unwrap()).exists(), "{kind}");
            } else {
                assert_eq!(ran.stderr.lines().count(), 1, "{ran:#?}");
            }
            c.assert_gone();
        }
    }
}

// Proves: mounts[].options=idmap, mounts[].{uidMappings, gidMappings}, mounts[].{uidMappings,
// gidMappings}[].{containerID, hostID, size}, features.linux.mountExtensions.idmap.enabled
#[test]
fn idmapped_mount() {
    let mut c = Container::with_script("stat -c '%u:%g' /mnt/file; touch /mnt/new; echo touch=$?");
    c.map_users(100_000, 65536);
    let data = c.path().join("data");
    fs::create_dir(&data).unwrap();
    fs::write(data.join("file"), "").unwrap();
    if !knows_idmapped_mounts(&data) {
        skip!("{data:?} is on a file system that may not know idmapped mounts");
    }
    c.push(
        "/mounts",
        json!({
            "destination": "/mnt", "type": "bind", "source": data, "options": ["bind", "idmap"],
            "uidMappings": [{"containerID": 0, "hostID": 100_000, "size": 65536}],
            "gidMappings": [{"containerID": 0, "hostID": 100_000, "size": 65536}]
        }),
    );
    assert_eq!(c.output(), "0:0\ntouch=0\n");
    let made = fs::metadata(data.join("new")).unwrap();
    assert_eq!((made.uid(), made.gid()), (0, 0), "on the disk it is the host's root");
}

/// Without mappings of its own the mount gets those of the container, which are another's here.
#[test]
fn idmapped_mount_in_a_joined_user_namespace() {
    let mut other = asleep();
    other.map_users(100_000, 65536);
    other.run_detached();
    let mut c = Container::with_script("stat -c '%u:%g' /mnt/file");
    let data = c.path().join("data");
    fs::create_dir(&data).unwrap();
    fs::write(data.join("file"), "").unwrap();
    if !knows_idmapped_mounts(&data) {
        skip!("{data:?} is on a file system that may not know idmapped mounts");
    }
    let user = format!("/proc/{}/ns/user", other.process().pid);
    c.namespace(json!({"type": "user", "path": user}));
    c.mount("/mnt", "bind", data.to_str().unwrap(), &["bind", "idmap"]);
    assert_eq!(c.output(), "0:0\n");
}

fn knows_idmapped_mounts(path: &Path) -> bool {
    use nix::sys::statfs::{BTRFS_SUPER_MAGIC, EXT4_SUPER_MAGIC, XFS_SUPER_MAGIC, statfs};
    let kind = statfs(path).unwrap().filesystem_type();
    [EXT4_SUPER_MAGIC, XFS_SUPER_MAGIC, BTRFS_SUPER_MAGIC].contains(&kind)
}

#[test]
fn mounts_in_the_callers_mount_namespace_go_with_the_container() {
    let apart = Apart::new();
    let mut c = Container::with_script("ls /proc/self/exe && exec sleep 600");
    c.rt.through = apart.through();
    c.without_namespace("mount").set("/root/readonly", json!(true));
    let ran = c.run_detached();
    ran.wait_for("/proc/self/exe");
    let process = c.process();
    assert_eq!(process.ns("mnt"), apart.namespace());
    assert!(fs::write(process.inside("/file"), "").is_err(), "the root file system is writable");
    let mounted = apart.below(c.path());
    assert!(mounted.len() > 5, "{mounted:#?}");
    assert!(!mounted.iter().any(|line| line.contains("shared:")), "{mounted:#?}");
    c.kill("KILL").ok();
    c.wait_status("stopped");
    c.delete().ok();
    assert_eq!(apart.below(c.path()), Vec::<String>::new());

    c.args(&["no-such-program"]);
    c.create().refused(&["no-such-program"]);
    assert_eq!(apart.below(c.path()), Vec::<String>::new());
    c.args(&["/bin/true"]);
    c.output();
    assert_eq!(apart.below(c.path()), Vec::<String>::new());
}

#[test]
fn a_mount_of_somebody_else_in_the_place_of_the_root_is_left_alone() {
    let mut c = asleep();
    // Goes first, with the mount that nothing can reach any more.
    let apart = Apart::new();
    c.rt.through = apart.through();
    c.without_namespace("mount");
    c.run_detached();
    let rootfs = c.rootfs();
    let words = format!("mount -t tmpfs mine {0}", rootfs.display());
    let mut shell = std::process::Command::new("nsenter");
    shell.args(&apart.through()[1..]).args(["sh", "-c", &words]);
    assert!(shell.status().unwrap().success());
    c.delete_force().ok();
    let left = apart.below(c.path());
    assert!(left.iter().any(|line| line.contains(" - tmpfs mine ")), "{left:#?}");
    c.rt.through.clear();
}

#[test]
fn a_user_namespace_has_no_right_to_mount_in_the_callers() {
    let apart = Apart::new();
    let mut c = Container::new();
    c.rt.through = apart.through();
    c.without_namespace("mount").map_users(100_000, 1000);
    c.create().refused(&["linux.namespaces", "mount namespace"]);
}
