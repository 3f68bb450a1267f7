//! `linux.devices`: mode, owner and name of each node, in a user namespace too, and that nothing is
//! made or changed in a directory of the host.

use std::fs::{self, Permissions};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::Path;

use crate::hostile_support::{Canary, in_own_mounts, one_line, without_mount};
use crate::support::rootless::{NOBODY, give_to_nobody, of_nobody, through};
use crate::support::*;
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use nix::unistd::chown;

/// Kind, number, mode, owner and group of a node, as `stat` sees them from the host.
type Node = (char, (u64, u64), u32, (u32, u32));

fn node(path: &Path) -> Node {
    let meta = fs::symlink_metadata(path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
    let kind = match meta.file_type() {
        kind if kind.is_char_device() => 'c',
        kind if kind.is_block_device() => 'b',
        kind if kind.is_fifo() => 'p',
        kind => panic!("{path:?} is {kind:?}"),
    };
    let number = match kind {
        'p' => (0, 0),
        _ => (nix::sys::stat::major(meta.rdev()), nix::sys::stat::minor(meta.rdev())),
    };
    (kind, number, meta.mode() & 0o7777, (meta.uid(), meta.gid()))
}

fn make(path: &Path, minor: u64, mode: u32, owner: u32) {
    mknod(path, SFlag::S_IFCHR, Mode::empty(), makedev(1, minor)).unwrap();
    chown(path, Some(owner.into()), Some(owner.into())).unwrap();
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn zero(path: &str) -> Value {
    json!({"path": path, "type": "c", "major": 1, "minor": 5, "fileMode": 0o640, "uid": 5, "gid": 6})
}

fn list() -> Value {
    json!([
        zero("/dev/other"),
        {"path": "/dev/null", "type": "c", "major": 1, "minor": 3, "fileMode": 0o622},
        {"path": "/dev/disk", "type": "b", "major": 7, "minor": 250, "fileMode": 0o4751, "uid": 7},
        {"path": "/srv/deep/full", "type": "u", "major": 1, "minor": 7},
        {"path": "/dev/pipe", "type": "p", "fileMode": 0o600, "uid": 8},
        zero("/dev/other"),
    ])
}

/// Directories of the image in which root of a user namespace may make mount points.
fn give(c: &Container, first: u32, dirs: &[&str]) {
    for dir in dirs {
        let path = c.rootfs().join(dir);
        fs::create_dir_all(&path).unwrap();
        chown(&path, Some(first.into()), Some(first.into())).unwrap();
    }
}

/// Fails the test unless the container has the nodes of [`list`], with ids that start at `first`.
#[track_caller]
fn has_the_list(c: &Container, first: u32) {
    let look = |path: &str| node(&c.process().inside(path));
    let ids = |uid: u32, gid: u32| (first + uid, first + gid);
    assert_eq!(look("/dev/other"), ('c', (1, 5), 0o640, ids(5, 6)));
    assert_eq!(look("/dev/null"), ('c', (1, 3), 0o622, ids(0, 0)));
    assert_eq!(look("/dev/disk"), ('b', (7, 250), 0o4751, ids(7, 0)));
    assert_eq!(look("/srv/deep/full"), ('c', (1, 7), 0o666, ids(0, 0)));
    assert_eq!(look("/dev/pipe"), ('p', (0, 0), 0o600, ids(8, 0)));
    let read = c.exec_sh("head -c 3 /dev/other | wc -c; echo x 2>&1 >/dev/null && echo written");
    assert_eq!(read, "3\nwritten\n");
    // Nothing of the way there is left.
    let table = c.process().read("mountinfo");
    let roots: Vec<_> = table.lines().filter(|m| m.split(' ').nth(4) == Some("/")).collect();
    assert_eq!(roots.len(), 1, "{table}");
}

// Proves: linux.devices[].{fileMode, uid, gid}
#[test]
fn a_user_namespace_gets_the_nodes_that_are_requested() {
    for setup in ["", "umask 077"] {
        let mut c = Container::with_script("exec sleep 600");
        c.map_users(100_000, 65536).set("/linux/devices", list());
        give(&c, 100_000, &["srv/deep"]);
        c.remove("/linux/resources");
        c.rt.through =
            ["sh", "-c", &format!("{setup}\nexec \"$@\""), "sh"].map(Into::into).to_vec();
        c.run_detached();
        c.rt.through.clear();
        has_the_list(&c, 100_000);
        // The mounts are of the container's own file system: nothing of them is the host's.
        let mount = c.process().mount("/dev/other");
        assert_eq!(mount.fs_type, "tmpfs", "{mount:?}");
        assert!(mount.mount_options.contains_key("nosuid"), "{mount:?}");
        // Their file system belongs to the initial user namespace.
        let ran = c.exec(&[], &["mount", "-o", "remount,size=1g", "/dev/other"]);
        assert_ne!(ran.code(), Some(0), "{ran:?}");
    }
}

#[test]
fn a_user_namespace_that_is_joined_gets_them_too() {
    let mut holder = Container::with_script("exec sleep 600");
    holder.map_users(200_000, 65536);
    holder.run_detached();
    for pid_namespace in [true, false] {
        let mut c = Container::with_script("exec sleep 600");
        let path = format!("/proc/{}/ns/user", holder.process().pid);
        c.namespace(json!({"type": "user", "path": path})).set("/linux/devices", list());
        give(&c, 200_000, &["srv/deep"]);
        c.remove("/linux/resources");
        if !pid_namespace {
            c.without_namespace("pid");
            // A procfs needs a pid namespace of its own.
            without_mount(&mut c, "/proc");
        }
        c.run_detached();
        let look = |path: &str| node(&c.process().inside(path));
        assert_eq!(look("/dev/other"), ('c', (1, 5), 0o640, (200_005, 200_006)));
        assert_eq!(look("/dev/disk"), ('b', (7, 250), 0o4751, (200_007, 200_000)));
    }
}

#[test]
fn an_owner_that_is_not_mapped_is_refused() {
    for (field, map) in [("uid", "uid"), ("gid", "gid")] {
        let mut c = Container::new();
        c.map_users(100_000, 1000);
        c.push("/linux/devices", zero("/dev/other"));
        c.set(&format!("/linux/devices/0/{map}"), json!(1000));
        c.create().refused(&[&format!("linux.devices[0].{field}"), "1000", "not mapped"]);
        c.assert_gone();
    }
}

#[test]
fn the_nodes_of_a_container_without_a_user_namespace_are_exact() {
    let mut c = Container::with_script("exec sleep 600");
    c.set("/linux/devices", list()).remove("/linux/resources");
    // New files get the group of a set-group-id directory.
    let dir = c.rootfs().join("srv/deep");
    fs::create_dir_all(&dir).unwrap();
    chown(&dir, None, Some(77.into())).unwrap();
    fs::set_permissions(&dir, Permissions::from_mode(0o2755)).unwrap();
    c.push("/linux/devices", json!({"path": "/srv/deep/own", "type": "p", "gid": 0}));
    c.run_detached();
    has_the_list(&c, 0);
    assert_eq!(node(&c.process().inside("/srv/deep/own")), ('p', (0, 0), 0o666, (0, 0)));
}

#[test]
fn a_node_of_the_image_gets_mode_and_owner() {
    for user_namespace in [false, true] {
        let first = if user_namespace { 100_000 } else { 0 };
        let mut c = Container::with_script("exec sleep 600");
        let dev = c.rootfs().join("srv");
        fs::create_dir(&dev).unwrap();
        for name in ["other", "as-it-is", "default"] {
            make(&dev.join(name), 5, 0o600, 33);
        }
        nix::unistd::mkfifo(&dev.join("pipe"), Mode::S_IRUSR).unwrap();
        chown(&dev.join("pipe"), Some(first.into()), Some(first.into())).unwrap();
        c.set(
            "/linux/devices",
            json!([
                zero("/srv/other"),
                {"path": "/srv/as-it-is", "type": "c", "major": 1, "minor": 5},
                {"path": "/srv/default", "type": "c", "major": 1, "minor": 5, "fileMode": 0o600},
                {"path": "/srv/pipe", "type": "p", "fileMode": 0o622, "uid": 2, "gid": 3},
            ]),
        );
        if user_namespace {
            c.map_users(100_000, 65536);
        }
        c.run_detached();
        let look = |path: &str| node(&c.process().inside(path));
        assert_eq!(look("/srv/other"), ('c', (1, 5), 0o640, (first + 5, first + 6)));
        assert_eq!(look("/srv/as-it-is"), ('c', (1, 5), 0o600, (33, 33)));
        assert_eq!(look("/srv/default"), ('c', (1, 5), 0o600, (33, 33)));
        assert_eq!(look("/srv/pipe"), ('p', (0, 0), 0o622, (first + 2, first + 3)));
    }
}

#[test]
fn another_file_is_refused_in_a_user_namespace_too() {
    for kind in ["full", "node", "dir", "link", "fifo"] {
        let mut c = Container::new();
        let path = c.rootfs().join("srv");
        match kind {
            "full" => fs::write(&path, "mine").unwrap(),
            "node" => make(&path, 3, 0o640, 0),
            "dir" => fs::create_dir(&path).unwrap(),
            "link" => std::os::unix::fs::symlink("/etc/passwd", &path).unwrap(),
            _ => nix::unistd::mkfifo(&path, Mode::S_IRUSR).unwrap(),
        }
        c.map_users(100_000, 65536).push("/linux/devices", zero("/srv"));
        one_line(&c.run(), &["linux.devices[0]", "/srv", "another file"]);
    }
    // What an earlier container has left, to bind a node on.
    let mut c = Container::with_script("stat -c %t:%T /srv/x");
    give(&c, 100_000, &["srv"]);
    c.map_users(100_000, 65536).push("/linux/devices", zero("/srv/x"));
    assert_eq!(c.output(), "1:5\n");
    c.delete_force().ok();
    assert_eq!(fs::read(c.rootfs().join("srv/x")).unwrap(), b"");
    assert_eq!(c.output(), "1:5\n");
}

#[test]
fn a_node_of_the_host_that_is_bound_there_is_not_changed() {
    for user_namespace in [false, true] {
        let mut c = Container::with_script("stat -c %a:%u:%g /dev/other");
        let host = c.path().join("zero");
        make(&host, 5, 0o666, 0);
        c.mount("/dev/other", "bind", host.to_str().unwrap(), &["bind"]);
        c.push("/linux/devices", zero("/dev/other"));
        if user_namespace {
            c.map_users(100_000, 65536);
            assert_eq!(c.output(), "640:5:6\n");
        } else {
            one_line(&c.run(), &["linux.devices[0]", "its mode is 0666, not 0640"]);
        }
        assert_eq!(node(&host), ('c', (1, 5), 0o666, (0, 0)));
    }
    // A mount over one that is shared with the host would appear there.
    let mut c = Container::new();
    let dir = c.path().join("host");
    fs::create_dir(&dir).unwrap();
    make(&dir.join("zero"), 5, 0o666, 0);
    c.mount("/dev/other", "bind", dir.join("zero").to_str().unwrap(), &["bind", "shared"]);
    c.map_users(100_000, 65536).push("/linux/devices", zero("/dev/other"));
    let dir = dir.display();
    c.rt.through = in_own_mounts(&format!("mount --bind {dir} {dir}; mount --make-shared {dir}"));
    let ran = c.run();
    c.rt.through.clear();
    one_line(&ran, &["linux.devices[0]", "shared with the host"]);
}

/// Directories of the host that a container has by a bind mount, and where a device is listed in
/// them: the mount's destination, and the path.
const OF_HOST: &[(&str, &str)] = &[
    ("/dev", "/dev/other"),
    ("/dev", "/dev/dir/new"),
    ("/data", "/data/other"),
    ("/data", "/data/new/x"),
];

#[test]
fn nothing_is_made_on_the_host() {
    let canary = Canary::new();
    for user_namespace in [false, true] {
        for (to, path) in OF_HOST {
            let mut c = Container::new();
            fs::create_dir(c.rootfs().join("data")).unwrap();
            if *to == "/dev" {
                without_mount(&mut c, "/dev");
            }
            c.mount(to, "bind", &canary.text(""), &["rbind"]);
            c.push("/linux/devices", zero(path));
            if user_namespace {
                c.map_users(100_000, 65536);
            }
            one_line(&c.run(), &["linux.devices[0]", path, "directory of the host"]);
            canary.assert_unchanged();
        }
    }
    // A link leads the mount to where the device is listed.
    let mut c = Container::new();
    crate::hostile_support::plant(&c, "data", "/srv");
    c.mount("/data", "bind", &canary.text(""), &["rbind"]);
    c.push("/linux/devices", zero("/srv/dir/other"));
    one_line(&c.run(), &["/srv/dir/other", "directory of the host"]);
    canary.assert_unchanged();
    // A part of the host's tree that is bound from the container's own.
    let mut c = Container::new();
    let own = c.rootfs().join("data/dir");
    c.mount("/data", "bind", &canary.text(""), &["rbind"]);
    c.mount("/srv", "bind", own.to_str().unwrap(), &["rbind"]);
    c.push("/linux/devices", zero("/srv/other"));
    one_line(&c.run(), &["/srv/other", "directory of the host"]);
    canary.assert_unchanged();
}

#[test]
fn the_links_of_dev_are_not_made_on_the_host() {
    let canary = Canary::new();
    for options in [&["rbind"][..], &["bind"], &["rbind", "rprivate"]] {
        let mut c = Container::with_script("ls /dev/core /dev/fd /dev/stdin 2>&1 | grep -vc No");
        without_mount(&mut c, "/dev");
        c.mount("/dev", "bind", &canary.text(""), options);
        assert_eq!(c.run().stdout, "0\n");
        canary.assert_unchanged();
    }
    // What is mounted on /dev last is what counts.
    let mut c = Container::with_script("stat -c %t:%T /dev/null; readlink /dev/fd");
    without_mount(&mut c, "/dev");
    c.mount("/dev", "bind", &canary.text(""), &["rbind"]);
    c.mount("/dev", "tmpfs", "tmpfs", &["mode=755"]);
    assert_eq!(c.output(), "1:3\n/proc/self/fd\n");
    canary.assert_unchanged();
}

/// A directory with nodes in a bundle, bound on /dev of its container.
fn with_host_dev(script: &str) -> (Container, std::path::PathBuf) {
    let mut c = Container::with_script(script);
    let dev = c.path().join("dev");
    fs::create_dir(&dev).unwrap();
    make(&dev.join("null"), 3, 0o666, 0);
    make(&dev.join("zero"), 5, 0o640, 0);
    without_mount(&mut c, "/dev");
    c.mount("/dev", "bind", dev.to_str().unwrap(), &["rbind", "rprivate"]);
    (c, dev)
}

#[test]
fn a_node_of_the_host_that_matches_is_accepted() {
    let device = |mode: Value, uid: Value| json!({"path": "/dev/zero", "type": "c", "major": 1, "minor": 5, "fileMode": mode, "uid": uid});
    let nothing = Value::Null;
    for (mode, uid, refusal) in [
        (json!(0o640), json!(0), None),
        (nothing.clone(), nothing.clone(), None),
        (json!(0o666), nothing.clone(), Some("its mode is 0640, not 0666")),
        (nothing.clone(), json!(5), Some("its owner is 0, not 5")),
    ] {
        let (mut c, dev) = with_host_dev("head -c 3 /dev/zero | wc -c");
        let mut device = device(mode, uid);
        device.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        c.push("/linux/devices", device);
        match refusal {
            None => assert_eq!(c.output(), "3\n"),
            Some(why) => {
                one_line(&c.run(), &["linux.devices[0]", "/dev/zero", why]);
            }
        }
        assert_eq!(node(&dev.join("zero")), ('c', (1, 5), 0o640, (0, 0)));
        assert_eq!(fs::read_dir(&dev).unwrap().count(), 2);
    }
}

#[test]
fn in_a_user_namespace_a_node_is_bound_over_the_host_s() {
    let (mut c, dev) = with_host_dev("exec sleep 600");
    c.map_users(100_000, 65536).push("/linux/devices", zero("/dev/zero"));
    c.run_detached();
    let inside = c.process().inside("/dev/zero");
    assert_eq!(node(&inside), ('c', (1, 5), 0o640, (100_005, 100_006)));
    assert_eq!(node(&dev.join("zero")), ('c', (1, 5), 0o640, (0, 0)));
    // Where the mount would appear on the host there is none.
    let (mut c, dev) = with_host_dev("true");
    c.map_users(100_000, 65536).push("/linux/devices", zero("/dev/zero"));
    let last = c.config["mounts"].as_array().unwrap().len() - 1;
    c.set(&format!("/mounts/{last}/options"), json!(["rbind", "rshared"]));
    let dir = dev.display();
    c.rt.through = in_own_mounts(&format!("mount --bind {dir} {dir}; mount --make-shared {dir}"));
    let ran = c.run();
    c.rt.through.clear();
    one_line(&ran, &["/dev/zero", "shared with the host"]);
}

#[test]
fn without_privileges_a_mode_that_cannot_be_given_is_refused() {
    if !unprivileged_user_namespaces() {
        skip!("unprivileged user namespaces are switched off");
    }
    let host = node(Path::new("/dev/zero"));
    assert_eq!(host, ('c', (1, 5), 0o666, (0, 0)), "the host's /dev/zero is not the usual one");
    // Another name, and an owner that makes no difference where everybody has the same rights.
    let device = |mode: u32| json!({"path": "/dev/other", "type": "c", "major": 1, "minor": 5, "fileMode": mode, "uid": 0});
    let mut c = of_nobody("head -c 3 /dev/other | wc -c; stat -c %a:%u /dev/other");
    c.push("/linux/devices", device(0o666));
    assert_eq!(c.output(), format!("3\n666:{NOBODY}\n"));
    c.delete_force().ok();
    c.set("/linux/devices", json!([device(0o600)]));
    c.run().refused(&["linux.devices[0]", "/dev/other", "its mode is 0666, not 0600"]);
    through(&mut c, "");
    c.assert_gone();
}

#[test]
fn without_a_mount_namespace_a_device_must_be_there() {
    let mut c = Container::with_script("head -c 3 /srv | wc -c");
    c.map_users(100_000, 65536).without_namespace("mount");
    c.set("/mounts", json!([])).push("/linux/devices", zero("/srv"));
    one_line(&c.run(), &["linux.devices[0]", "/srv", "missing"]);
    assert!(!c.rootfs().join("srv").exists());
    make(&c.rootfs().join("srv"), 5, 0o640, 0);
    one_line(&c.run(), &["linux.devices[0]", "/srv", "owner"]);
    chown(&c.rootfs().join("srv"), Some(100_005.into()), Some(100_006.into())).unwrap();
    assert_eq!(c.output(), "3\n");
}

#[test]
fn the_host_console_and_ptmx_can_be_listed() {
    for user_namespace in [false, true] {
        let mut c =
            Container::with_script("stat -c %t:%T /dev/console; stat -L -c %t:%T /dev/ptmx");
        c.set(
            "/linux/devices",
            json!([{"path": "/dev/console", "type": "c", "major": 5, "minor": 1, "fileMode": 0o600},
                   {"path": "/dev/ptmx", "type": "c", "major": 5, "minor": 2}]),
        );
        if user_namespace {
            c.map_users(100_000, 65536);
        }
        assert_eq!(c.output(), "5:1\n5:2\n");
        c.delete_force().ok();
        // The terminal goes over it.
        c.set("/process/terminal", json!(true));
        let output = c.output();
        assert!(output.starts_with("88:0"), "{output:?}");
    }
}

#[test]
fn few_descriptors_are_enough() {
    for (limit, user_namespace) in [(20, false), (28, true)] {
        for terminal in [false, true] {
            let mut c = Container::with_script("echo started");
            c.set("/process/terminal", json!(terminal));
            c.set("/linux/maskedPaths", json!(["/proc/kcore", "/proc/keys", "/proc/timer_list"]));
            c.set("/linux/readonlyPaths", json!(["/proc/sys", "/proc/bus", "/proc/irq"]));
            c.mount("/sys/fs/cgroup", "cgroup", "cgroup", &["nosuid", "noexec", "nodev", "ro"]);
            if user_namespace {
                c.map_users(100_000, 65536).push("/linux/devices", zero("/dev/other"));
            }
            let words = format!("ulimit -S -n {limit}; exec \"$@\"");
            c.rt.through = ["sh", "-c", &words, "sh"].map(Into::into).to_vec();
            let ran = c.run();
            if !terminal {
                assert_eq!(ran.ok().stdout, "started\n");
                c.delete_force().ok();
                c.create().ok();
                c.start().ok();
            } else {
                assert_eq!(ran.ok().stdout.trim_end(), "started");
            }
            c.rt.through.clear();
        }
    }
}

#[test]
fn the_bundle_of_nobody_is_his() {
    // A FIFO is made by its container, with or without privileges.
    if !unprivileged_user_namespaces() {
        skip!("unprivileged user namespaces are switched off");
    }
    let mut c = of_nobody("stat -c %a:%u:%F /srv");
    c.push("/linux/devices", json!({"path": "/srv", "type": "p", "fileMode": 0o640, "uid": 0}));
    give_to_nobody(&c.rootfs());
    assert_eq!(c.output(), "640:0:fifo\n");
    c.delete_force().ok();
    c.set("/linux/devices/0/uid", json!(1));
    c.run().refused(&["linux.devices[0]", "/srv"]);
    through(&mut c, "");
}

#[test]
fn hostile_without_openat2() {
    crate::hostile_support::again_without_openat2(module_path!());
}
