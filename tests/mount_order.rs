//! Mounts that lie in one another, and links of the image on the way to them.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::support::*;

/// A new directory of the host beside the root file system, with a file in it.
fn directory(c: &Container, name: &str) -> String {
    let path = c.path().join(name);
    fs::create_dir_all(&path).unwrap();
    fs::write(path.join("file"), format!("of {name}\n")).unwrap();
    path.to_str().unwrap().to_owned()
}

/// Calls the runtime in a private mount namespace in which `script` has run first.
fn after_mounting(c: &mut Container, script: &str) {
    let words = format!("{script}\nexec \"$@\"");
    c.rt.through = ["unshare", "--mount", "--propagation", "private", "sh", "-ec", &words, "sh"]
        .iter()
        .map(Into::into)
        .collect();
}

#[test]
fn a_mount_below_a_read_only_mount() {
    for users in [false, true] {
        let mut c = Container::with_script("exec sleep 600");
        if users {
            c.map_users(0, 65_536);
        }
        let (data, volume) = (directory(&c, "data"), directory(&c, "volume"));
        let work = directory(&c, "work");
        fs::create_dir_all(c.path().join("work/upper")).unwrap();
        fs::create_dir_all(c.path().join("work/work")).unwrap();
        fs::create_dir_all(c.path().join("work/lower")).unwrap();
        let overlay = format!("lowerdir={work}/lower,upperdir={work}/upper,workdir={work}/work");
        let overlay: Vec<&str> = overlay.split(',').chain(["ro"]).collect();
        c.mount("/run", "tmpfs", "tmpfs", &["ro", "nosuid", "mode=755"]);
        c.mount("/run/secrets/a", "bind", &data, &["bind", "ro"]);
        c.mount("/run/secrets/b", "tmpfs", "tmpfs", &["rro"]);
        c.mount("/run/secrets/b/c", "bind", &data, &["bind"]);
        c.mount("/ram", "ramfs", "ramfs", &["ro"]);
        c.mount("/ram/a/b", "bind", &format!("{data}/file"), &["bind", "ro"]);
        if !users {
            c.mount("/over", "overlay", "overlay", &overlay);
            c.mount("/over/a", "bind", &data, &["rbind"]);
        }
        c.mount("/bind", "bind", &volume, &["rbind", "rro"]);
        c.mount("/bind/a", "bind", &data, &["bind"]);
        let own = format!("{}/ram", c.rootfs().display());
        c.mount("/own", "bind", &own, &["bind", "ro"]);
        c.mount("/own/new", "tmpfs", "tmpfs", &[]);
        c.set("/root/readonly", json!(true));
        c.run_detached();
        let process = c.process();
        let read_only =
            ["/", "/run", "/run/secrets/a", "/run/secrets/b", "/ram", "/ram/a/b", "/bind"];
        for place in read_only.iter().copied().chain(["/own"]).chain((!users).then_some("/over")) {
            assert!(process.mount_options(place).contains("ro"), "{users} {place}");
        }
        for place in ["/run/secrets/b/c", "/bind/a", "/own/new"] {
            assert!(process.mount_options(place).contains("rw"), "{users} {place}");
        }
        assert!(process.mount_options("/run").contains("nosuid"));
        assert_eq!(fs::read_to_string(process.inside("/bind/a/file")).unwrap(), "of data\n");
    }
}

#[test]
fn a_link_leads_a_mount_into_a_read_only_tmpfs() {
    let mut c = Container::with_script("exec sleep 600");
    fs::create_dir_all(c.rootfs().join("run")).unwrap();
    symlink("/run", c.rootfs().join("var/run")).unwrap();
    let data = directory(&c, "data");
    c.mount("/run", "tmpfs", "tmpfs", &["ro"]);
    c.mount("/var/run/secrets", "bind", &data, &["bind", "ro"]);
    c.run_detached();
    let process = c.process();
    assert!(process.mount_options("/run").contains("ro"));
    assert!(process.mount_options("/run/secrets").contains("ro"));
}

#[test]
fn a_later_remount_has_the_last_word() {
    let mut c = Container::with_script("exec sleep 600");
    let data = directory(&c, "data");
    c.mount("/run", "tmpfs", "tmpfs", &["ro"]);
    c.mount("/run/a", "bind", &data, &["bind"]);
    c.mount("/run", "", "", &["remount", "bind", "rw"]);
    c.mount("/mnt", "tmpfs", "tmpfs", &[]);
    c.mount("/mnt", "", "", &["remount", "bind", "ro"]);
    c.mount("/mnt/a", "bind", &data, &["bind"]);
    c.run_detached();
    assert!(c.process().mount_options("/run").contains("rw"));
    assert!(c.process().mount_options("/mnt").contains("ro"));
    assert!(c.process().mount_options("/mnt/a").contains("rw"));
}

/// What waited is the mount itself, not what its path has come to mean.
#[test]
fn a_later_mount_in_the_same_place_is_not_made_read_only() {
    let mut c = Container::with_script("exec sleep 600");
    c.mount("/mnt", "tmpfs", "below", &["ro", "tmpcopyup"]);
    c.mount("/mnt", "tmpfs", "above", &["rw"]);
    c.run_detached();
    let process = c.process();
    let mounts = process.mounts();
    let options = |source: &str| {
        let found = mounts.iter().find(|mount| mount.mount_source.as_deref() == Some(source));
        found.unwrap().mount_options.clone()
    };
    assert!(options("below").contains_key("ro") && options("above").contains_key("rw"));
}

#[test]
fn the_cgroup_file_systems_stay_read_only_with_a_mount_below() {
    let mut c = Container::with_script("exec sleep 600");
    c.mount("/sys/fs/cgroup", "cgroup", "cgroup", &["ro", "nosuid"]);
    c.run_detached();
    let single = c.process().mount("/sys/fs/cgroup").fs_type == "cgroup2";
    let mut c = Container::with_script("exec sleep 600");
    let data = directory(&c, "data");
    c.mount("/sys/fs/cgroup", "cgroup", "cgroup", &["ro", "nosuid"]);
    if !single {
        c.mount("/sys/fs/cgroup/new", "bind", &data, &["bind"]);
    }
    c.run_detached();
    for mount in c.process().mounts() {
        let below = mount.mount_point.starts_with("/sys/fs/cgroup");
        if below && mount.mount_point != Path::new("/sys/fs/cgroup/new") {
            assert!(mount.mount_options.contains_key("ro"), "{mount:?}");
        }
    }
}

/// What the container's processes mount in a shared volume appears on the host, as was asked for;
/// what the runtime mounts for the container does not.
#[test]
fn no_mount_of_the_runtime_appears_on_the_host() {
    let mut c = Container::with_script(
        "mount -t tmpfs late /vol/late; cat /proc/self/mountinfo; ls /vol/sub/a /vol/sub/deep",
    );
    c.capabilities(&["CAP_SYS_ADMIN", "CAP_DAC_OVERRIDE"]);
    symlink("/vol/sub", c.rootfs().join("link")).unwrap();
    let (volume, data) = (directory(&c, "volume"), directory(&c, "data"));
    c.mount("/vol", "bind", &volume, &["rbind", "rshared"]);
    c.mount("/link/a", "bind", &data, &["bind"]);
    c.mount("/vol/b", "tmpfs", "b", &[]);
    c.mount("/link/deep/x", "tmpfs", "x", &[]);
    c.set("/linux/maskedPaths", json!(["/link/file", "/vol/masked"]));
    c.set("/linux/readonlyPaths", json!(["/link"]));
    let words = format!(
        "mount -t tmpfs v {volume}; mkdir -p {volume}/sub/deep {volume}/masked {volume}/late
         echo secret > {volume}/sub/file; mount --make-shared {volume}
         mount -t tmpfs deep {volume}/sub/deep; mount --make-shared {volume}/sub/deep
         \"$@\" || exit 1; echo HOST; cat /proc/self/mountinfo"
    );
    c.rt.through = ["unshare", "--mount", "--propagation", "private", "sh", "-ec", &words, "sh"]
        .iter()
        .map(Into::into)
        .collect();
    let said = c.output();
    c.rt.through.clear();
    let (inside, host) = said.split_once("HOST\n").unwrap();
    for place in ["/vol/sub/a", "/vol/b", "/vol/sub/deep/x", "/vol/sub/file", "/vol/masked"] {
        assert!(inside.contains(&format!(" {place} ")), "no {place}: {inside}");
    }
    let group = |table: &str, place: &str| -> String {
        let line = table.lines().find(|line| line.split(' ').nth(4) == Some(place));
        let line = line.unwrap_or_else(|| panic!("no {place} in {table}"));
        line.split(' ').find(|word| word.starts_with("shared:")).unwrap_or(line).to_owned()
    };
    for place in ["", "/sub/deep"] {
        let (here, there) =
            (group(inside, &format!("/vol{place}")), group(host, &format!("{volume}{place}")));
        assert!(here.starts_with("shared:") && here == there, "{place}: {here} {there}");
    }
    let below: Vec<&str> = host
        .lines()
        .filter_map(|line| line.split(' ').nth(4)?.strip_prefix(&volume))
        .filter(|place| !place.is_empty())
        .collect();
    assert_eq!(below, ["/sub/deep", "/late"], "{host}");
}

#[test]
fn a_source_below_the_root_file_system_does_not_follow_links_out() {
    for spelling in ["rootfs", "spelled"] {
        let mut c = Container::with_script("cat /mnt/file; ls -A /mnt");
        let canary = directory(&c, "canary");
        let out = c.path().join(spelling).join("out");
        symlink("rootfs", c.path().join("spelled")).unwrap();
        symlink(&canary, c.rootfs().join("out")).unwrap();
        fs::create_dir_all(c.rootfs().join("inside")).unwrap();
        fs::write(c.rootfs().join("inside/file"), "inside\n").unwrap();
        symlink("/inside", c.rootfs().join("in")).unwrap();
        c.mount("/mnt", "bind", &format!("{spelling}/in"), &["bind"]);
        assert_eq!(c.output(), "inside\nfile\n");
        c.set("/mounts/6/source", json!(out));
        let ran = c.run();
        assert!(!ran.stdout.contains("of canary"), "{ran:#?}");
        ran.refused(&["mounts[6]", "source", "no such file"]);
        // Another component than the last.
        c.set("/mounts/6/source", json!(out.join("file")));
        c.run().refused(&["mounts[6]", "source", "no such file"]);
    }
}

#[test]
fn a_mount_on_the_root_itself() {
    for hooks in [false, true] {
        let mut c = Container::with_script("ls -A /; cat /file; exec sleep 600");
        let data = directory(&c, "data");
        let programs = c.path().join("programs");
        fs::rename(c.rootfs().join("bin"), &programs).unwrap();
        fs::create_dir_all(c.path().join("data/bin")).unwrap();
        if hooks {
            let script = c.script("hook", "true");
            c.push("/hooks/createRuntime", json!({"path": script}));
        }
        let mounts = c.config["mounts"].clone();
        c.set("/mounts", json!([]));
        c.mount("/", "tmpfs", "between", &[]);
        c.mount("/", "bind", &data, &["rbind", "nosuid", "ro"]);
        c.mount("/bin", "bind", programs.to_str().unwrap(), &["bind", "ro"]);
        for mount in mounts.as_array().unwrap() {
            c.push("/mounts", mount.clone());
        }
        let ran = c.run_detached();
        assert!(ran.wait_for("of data\n").starts_with("bin\n"), "{:?}", ran.later());
        let options = c.process().mount_options("/");
        assert!(options.contains("ro") && options.contains("nosuid"), "{options:?}");
        // Nothing else is there, and nothing of the host.
        let mounts = c.process().mounts();
        assert_eq!(mounts.iter().filter(|m| m.mount_point == Path::new("/")).count(), 1);
        assert!(mounts.iter().all(|m| !m.mount_point.starts_with(c.path())), "{mounts:?}");
        assert_eq!(c.exec_sh("cat /file"), "of data\n");
    }
}

#[test]
fn a_part_of_the_containers_own_tree_can_be_idmapped() {
    let mut c = Container::with_script("stat -c '%u:%g' /mnt/a /own/a");
    let own = c.rootfs().join("mnt");
    c.mount("/mnt", "tmpfs", "tmpfs", &["tmpcopyup"]);
    fs::write(own.join("a"), "").unwrap();
    std::os::unix::fs::chown(own.join("a"), Some(5), Some(6)).unwrap();
    let map = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
    c.push(
        "/mounts",
        json!({
            "destination": "/own", "type": "bind", "source": own, "options": ["bind", "idmap"],
            "uidMappings": map, "gidMappings": map
        }),
    );
    let ran = c.run();
    if ran.stderr.contains("may not support idmapped mounts") {
        skip!("the tmpfs of this kernel knows no idmapped mounts (Linux 6.3)");
    }
    assert_eq!(ran.ok().stdout, "5:6\n100005:100006\n");
}

#[test]
fn sysfs_without_rights_over_the_network_namespace() {
    for read_only in [true, false] {
        let mut c = Container::with_script("exec sleep 600");
        c.map_users(100_000, 65_536).without_namespace("network");
        c.capabilities(&["CAP_SYS_ADMIN"]);
        let options = if read_only { json!(["nosuid", "ro"]) } else { json!(["nosuid"]) };
        c.set("/mounts/5/options", options);
        after_mounting(&mut c, "mount -t tmpfs cover /sys/kernel");
        let ran = c.run_detached();
        c.rt.through.clear();
        let process = c.process();
        let mount = process.mount("/sys");
        assert_eq!(
            (mount.fs_type.as_str(), mount.mount_options.contains_key("ro")),
            ("sysfs", read_only)
        );
        for mount in process.mounts() {
            let place = &mount.mount_point;
            if place.starts_with("/sys") && place != Path::new("/sys") {
                assert!(mount.mount_options.contains_key("ro"), "{mount:?}");
            }
        }
        let net = fs::read_dir("/sys/class/net").unwrap().count();
        assert_eq!(fs::read_dir(process.inside("/sys/class/net")).unwrap().count(), net);
        let tried = c
            .exec_sh("umount /sys/kernel 2>&1; mount -o remount,bind,rw /sys 2>&1; ls /sys/kernel");
        assert!(!tried.contains("mm"), "{tried} {ran:#?}");
        assert_eq!(process.mount_options("/sys").contains("ro"), read_only);
    }
    // With one of its own it has a sysfs of its own.
    let mut c = Container::with_script("ls /sys/class/net");
    c.map_users(100_000, 65_536);
    assert_eq!(c.output(), "lo\n");
}

#[test]
fn proc_and_sys_need_an_ordinary_directory() {
    for (name, kind) in [("proc", "proc"), ("sys", "sysfs")] {
        let words = format!("filesystem \"{kind}\" must be mounted on ordinary directory");
        let c = Container::new();
        let place = c.rootfs().join(name);
        fs::remove_dir(&place).unwrap();
        symlink("/tmp", &place).unwrap();
        c.run().refused(&[&words, "symbolic link"]);
        fs::remove_file(&place).unwrap();
        fs::write(&place, "").unwrap();
        c.run().refused(&[&words, "not a directory"]);
    }
}
