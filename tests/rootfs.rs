//! The root file system: what is made in it, hidden in it, and closed.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use crate::support::canary::Canary;
use crate::support::*;

/// Sleeps as the container's process, so that the kernel can be asked about its mounts.
fn asleep() -> Container {
    Container::with_script("exec sleep 600")
}

#[test]
fn proc_and_sys_must_be_directories_of_their_own() {
    for name in ["proc", "sys"] {
        let c = Container::with_script("true");
        let canary = Canary::new(&c);
        fs::remove_dir(c.rootfs().join(name)).unwrap();
        fs::create_dir(c.rootfs().join("elsewhere")).unwrap();
        symlink("elsewhere", c.rootfs().join(name)).unwrap();
        c.create().refused(&[name]);
        canary.assert_alive();
        c.assert_gone();
    }
}

#[test]
fn a_dev_that_is_a_link_makes_nothing_on_the_host() {
    let mut c = Container::with_script("true");
    let canary = Canary::new(&c);
    fs::write(canary.path.join("ptmx"), "").unwrap();
    let canary = canary.seen_again();
    fs::remove_dir(c.rootfs().join("dev")).unwrap();
    symlink(&canary.path, c.rootfs().join("dev")).unwrap();
    c.set("/mounts", json!([{"destination": "/proc", "type": "proc", "source": "proc"}]));
    c.run();
    canary.assert_alive();
    c.assert_gone();
}

// Proves: root.readonly
#[test]
fn a_read_only_root() {
    let mut c = Container::with_script(
        "touch /new 2>&1; touch /etc/new 2>&1; touch /tmp/new && echo tmp fine; touch /dev/shm/new && echo shm fine; echo done; exec sleep 600",
    );
    c.set("/root/readonly", json!(true));
    c.mount("/tmp", "tmpfs", "tmpfs", &[]);
    let ran = c.run_detached();
    let output = ran.wait_for("done");
    assert_eq!(output.matches("Read-only file system").count(), 2, "{output}");
    assert!(output.contains("tmp fine") && output.contains("shm fine"), "{output}");
    assert!(c.process().mount_options("/").contains("ro"));
    assert!(!c.rootfs().join("new").exists());
}

// Proves: root.path
#[test]
fn the_path_of_the_root_is_absolute_or_starts_at_the_bundle() {
    let mut c = Container::with_script("cat /which");
    for name in ["rootfs", "another/root"] {
        let root = c.path().join(name);
        fs::create_dir_all(&root).unwrap();
        for dir in ["bin", "dev", "proc", "sys"] {
            fs::create_dir_all(root.join(dir)).unwrap();
        }
        for program in ["busybox", "cat", "sh"] {
            let from = c.rootfs().join("bin").join(program);
            let to = root.join("bin").join(program);
            if from != to {
                copy_program(from, to);
            }
        }
        fs::write(root.join("which"), name).unwrap();
        for path in [json!(name), json!(root)] {
            c.set("/root/path", path);
            assert_eq!(c.output(), name);
        }
    }
}

#[test]
fn the_root_is_writable_unless_asked_otherwise() {
    let c = Container::with_script("echo text > /made");
    c.run().ok();
    assert_eq!(fs::read_to_string(c.rootfs().join("made")).unwrap(), "text\n");
}

// Proves: default:/dev/{null, zero, full, random, urandom, tty}, default:/dev/ptmx
#[test]
fn default_devices_have_their_numbers_and_modes() {
    let c = asleep();
    c.run_detached();
    let process = c.process();
    for (name, major, minor) in [
        ("null", 1, 3),
        ("zero", 1, 5),
        ("full", 1, 7),
        ("random", 1, 8),
        ("urandom", 1, 9),
        ("tty", 5, 0),
    ] {
        let meta = fs::symlink_metadata(process.inside(&format!("/dev/{name}"))).unwrap();
        assert!(meta.file_type().is_char_device(), "{name}");
        let device = (nix::sys::stat::major(meta.rdev()), nix::sys::stat::minor(meta.rdev()));
        assert_eq!(device, (major, minor), "{name}");
        assert_eq!(meta.mode() & 0o7777, 0o666, "{name}");
        assert_eq!((meta.uid(), meta.gid()), (0, 0), "{name}");
    }
    for (link, target) in [
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
        ("ptmx", "pts/ptmx"),
    ] {
        let found = fs::read_link(process.inside(&format!("/dev/{link}"))).unwrap();
        assert_eq!(found, Path::new(target), "{link}");
    }
    assert!(!process.inside("/dev/console").exists(), "a console without a terminal");
}

// Proves: linux.devices[].type={c, u, b, p}, linux.devices[].{path, major, minor, fileMode, uid,
// gid}
#[test]
fn devices_of_the_configuration() {
    let mut c = asleep();
    c.set(
        "/linux/devices",
        json!([
            {"path": "/dev/mine", "type": "c", "major": 1, "minor": 3, "fileMode": 0o640, "uid": 5, "gid": 6},
            {"path": "/dev/disk", "type": "b", "major": 7, "minor": 0},
            {"path": "/dev/pipe", "type": "p", "fileMode": 0o600},
            {"path": "/srv/deep/null", "type": "u", "major": 1, "minor": 3, "fileMode": 0o777}
        ]),
    );
    // A umask must not eat what was asked for.
    c.rt.through = ["sh", "-c", "umask 077; exec \"$@\"", "sh"].iter().map(Into::into).collect();
    c.run_detached();
    c.rt.through.clear();
    let look = |path: &str| {
        let meta = fs::symlink_metadata(c.process().inside(path)).unwrap();
        let kind = match meta.file_type() {
            kind if kind.is_char_device() => 'c',
            kind if kind.is_block_device() => 'b',
            kind if kind.is_fifo() => 'p',
            _ => '?',
        };
        let device = match kind {
            'p' => (0, 0),
            _ => (nix::sys::stat::major(meta.rdev()), nix::sys::stat::minor(meta.rdev())),
        };
        (kind, device, meta.mode() & 0o7777, (meta.uid(), meta.gid()))
    };
    assert_eq!(look("/dev/mine"), ('c', (1, 3), 0o640, (5, 6)));
    assert_eq!(look("/dev/disk"), ('b', (7, 0), 0o666, (0, 0)));
    assert_eq!(look("/dev/pipe"), ('p', (0, 0), 0o600, (0, 0)));
    assert_eq!(look("/srv/deep/null"), ('c', (1, 3), 0o777, (0, 0)));
}

// Proves: linux.devices[].path:other
#[test]
fn a_device_over_another_file_is_refused() {
    let mut c = Container::with_script("true");
    fs::write(c.rootfs().join("etc/device"), "a file\n").unwrap();
    c.set("/linux/devices", json!([{"path": "/etc/device", "type": "c", "major": 1, "minor": 3}]));
    c.create().refused(&["/etc/device"]);
    assert_eq!(fs::read_to_string(c.rootfs().join("etc/device")).unwrap(), "a file\n");
    c.assert_gone();
}

// Proves: linux.maskedPaths
#[test]
fn masked_paths_are_empty_and_stay_so() {
    let mut c = Container::with_script(
        "echo file=$(cat /vault/file | wc -c); echo dir=$(ls -A /hidden | wc -l)\n\
         touch /hidden/new; echo touch=$?; echo proc=$(cat /proc/version | wc -c)\n\
         umount /hidden; echo umount=$?; echo x >/vault/file; echo write=$?\n\
         chmod 0666 /vault/file; echo chmod=$?; chmod 0666 /proc/version; echo chmod-proc=$?\n\
         echo done; exec sleep 600",
    );
    for path in ["vault", "hidden/deep"] {
        fs::create_dir_all(c.rootfs().join(path)).unwrap();
    }
    fs::write(c.rootfs().join("vault/file"), "secret\n").unwrap();
    fs::write(c.rootfs().join("hidden/deep/file"), "secret\n").unwrap();
    c.set(
        "/linux/maskedPaths",
        json!(["/vault/file", "/hidden", "/proc/version", "/no/such/path"]),
    );
    let ran = c.run_detached();
    let output = ran.wait_for("done");
    for key in ["file", "dir", "proc", "write"] {
        assert_eq!(said(&output, key), "0", "{key}: {output}");
    }
    // The null device that covers a file is the host's: its mode is not the container's to change.
    for key in ["touch", "umount", "chmod", "chmod-proc"] {
        assert_ne!(said(&output, key), "0", "{key}: {output}");
    }
    let process = c.process();
    assert!(process.mount_options("/hidden").contains("ro"));
    // What covers a file is the null device and nothing that an image put in its place.
    let cover = fs::metadata(process.inside("/proc/version")).unwrap();
    assert!(cover.file_type().is_char_device());
    assert_eq!((nix::sys::stat::major(cover.rdev()), nix::sys::stat::minor(cover.rdev())), (1, 3));
}

#[test]
fn a_masked_path_that_cannot_be_masked_is_an_error() {
    let mut c = Container::with_script("true");
    fs::create_dir(c.rootfs().join("loop")).unwrap();
    symlink("b", c.rootfs().join("loop/a")).unwrap();
    symlink("a", c.rootfs().join("loop/b")).unwrap();
    c.set("/linux/maskedPaths", json!(["/loop/a/x"]));
    c.create().refused(&["/loop/a/x"]);
    c.assert_gone();
}

// Proves: linux.readonlyPaths
#[test]
fn read_only_paths() {
    let mut c = Container::with_script(
        "echo x > /data/file; echo file=$?; echo x > /open/file; echo open=$?\n\
         echo 1 > /proc/sys/net/ipv4/ip_forward; echo sysctl=$?; echo done; exec sleep 600",
    );
    for dir in ["data", "open"] {
        fs::create_dir(c.rootfs().join(dir)).unwrap();
        fs::write(c.rootfs().join(dir).join("file"), "old").unwrap();
    }
    c.set("/linux/readonlyPaths", json!(["/data", "/proc/sys", "/no/such/path"]));
    let ran = c.run_detached();
    let output = ran.wait_for("done");
    assert_ne!(said(&output, "file"), "0");
    assert_ne!(said(&output, "sysctl"), "0");
    assert_eq!(said(&output, "open"), "0");
    let options = c.process().mount_options("/proc/sys");
    for option in ["ro", "nosuid", "nodev", "noexec"] {
        assert!(options.contains(option), "/proc/sys lost {option}: {options:?}");
    }
}

// Proves: linux.sysctl
#[test]
fn sysctls_are_written_inside_only() {
    let host = fs::read_to_string("/proc/sys/kernel/msgmax").unwrap();
    let mut c = Container::with_script(
        "cat /proc/sys/kernel/msgmax /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv4/ip_unprivileged_port_start",
    );
    c.set(
        "/linux/sysctl",
        json!({"kernel.msgmax": "12345", "net.ipv4.ip_forward": "1", "net/ipv4/ip_unprivileged_port_start": "77"}),
    );
    c.set("/linux/readonlyPaths", json!(["/proc/sys"]));
    assert_eq!(c.output(), "12345\n1\n77\n");
    assert_eq!(fs::read_to_string("/proc/sys/kernel/msgmax").unwrap(), host);
}

#[test]
fn the_cgroup_file_system_shows_its_own_cgroup() {
    let mut c = Container::with_script(
        "cat $(find /sys/fs/cgroup -maxdepth 2 -name cgroup.procs | head -n 1)\n\
         mkdir /sys/fs/cgroup/x || mkdir /sys/fs/cgroup/*/x; echo mkdir=$?; exec sleep 600",
    );
    c.mount("/sys/fs/cgroup", "cgroup", "cgroup", &["nosuid", "noexec", "nodev", "relatime", "ro"]);
    let ran = c.run_detached();
    let output = ran.wait_for("mkdir=");
    assert!(output.lines().any(|line| line == "1"), "{output}");
    assert_ne!(said(&output, "mkdir"), "0", "it is writable");
    let options = c.process().mount_options("/sys/fs/cgroup");
    assert!(options.contains("ro") && options.contains("nosuid"), "{options:?}");
    // Nothing of the cgroups of others.
    let names = fs::read_dir(c.process().inside("/sys/fs/cgroup")).unwrap();
    let names: Vec<_> = names.map(|entry| entry.unwrap().file_name()).collect();
    assert!(!names.iter().any(|name| name.to_string_lossy().contains("bulkhead")), "{names:?}");
    // Nor, beside v1, the hierarchy that systemd would take for its own.
    assert!(!names.iter().any(|name| name == "unified"), "{names:?}");
}

#[test]
fn the_old_root_is_out_of_reach() {
    let c = Container::with_script(
        "cat /proc/self/mountinfo | wc -l; ls -d /../../../etc/passwd; cat /proc/1/mountinfo; exec sleep 600",
    );
    let ran = c.run_detached();
    ran.wait_for("passwd");
    let expected = c.config["mounts"].as_array().unwrap().len() + 1;
    let mounts = c.process().mounts();
    assert_eq!(mounts.len(), expected, "{mounts:#?}");
    assert_eq!(mounts[0].mount_point, Path::new("/"));
}

/// As on NFS and FUSE: root of the container may not look into the directory, its user may.
#[test]
fn a_working_directory_that_only_the_user_may_enter() {
    let mut c = Container::new();
    c.map_users(100_000, 2000).set("/process/user", json!({"uid": 1000, "gid": 1000}));
    let private = c.rootfs().join("private");
    fs::create_dir_all(private.join("inner")).unwrap();
    // The owner has no id in the user namespace, so root's capabilities do not count.
    std::os::unix::fs::chown(&private, Some(300_000), Some(101_000)).unwrap();
    fs::set_permissions(&private, fs::Permissions::from_mode(0o750)).unwrap();
    c.set("/process/cwd", json!("/private/inner")).sh("pwd; exec sleep 600");
    let ran = c.run_detached();
    ran.wait_for("/private/inner\n");
    assert_eq!(c.exec(&[], &["pwd"]).ok().stdout, "/private/inner\n");
    // What nobody may enter is an error.
    let mut other = Container::new();
    other.map_users(100_000, 2000).set("/process/cwd", json!("/private/inner"));
    fs::create_dir_all(other.rootfs().join("private")).unwrap();
    std::os::unix::fs::chown(other.rootfs().join("private"), Some(300_000), Some(300_000)).unwrap();
    let nobody = fs::Permissions::from_mode(0o700);
    fs::set_permissions(other.rootfs().join("private"), nobody).unwrap();
    other.run().refused(&["process.cwd", "/private/inner", "permission denied"]);
}
