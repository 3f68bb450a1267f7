//! Mounts that lie in one another, and links of the image on the way to them.

mod support;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use support::*;

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
