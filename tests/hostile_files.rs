//! Special files that are something else: /dev/null, ptmx, what is masked, standard input and
//! output. CVE-2025-31133, CVE-2025-52565, CVE-2025-62161, CVE-2026-88265.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Instant;

use crate::hostile_support::{Canary, SECRET, in_own_mounts, one_line, plant, without_mount};
use crate::support::{Container, QUICK, json};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};

/// What an image can have in the place of a device.
const WRONG: &[&str] = &["file", "link", "dangling", "loop", "fifo", "directory", "other device"];

fn put(kind: &str, path: &Path) {
    match kind {
        "file" => fs::write(path, "mine").unwrap(),
        "link" => symlink("/etc/passwd", path).unwrap(),
        "dangling" => symlink("/etc/new", path).unwrap(),
        "loop" => symlink(path.file_name().unwrap(), path).unwrap(),
        "fifo" => nix::unistd::mkfifo(path, Mode::S_IRUSR | Mode::S_IWUSR).unwrap(),
        "directory" => fs::create_dir(path).unwrap(),
        _ => mknod(path, SFlag::S_IFCHR, Mode::S_IRUSR, makedev(1, 7)).unwrap(),
    }
}

#[test]
fn a_device_of_the_image_that_is_something_else_is_refused() {
    for kind in WRONG {
        for name in ["null", "zero", "tty"] {
            let mut container = Container::new();
            without_mount(&mut container, "/dev");
            put(kind, &container.rootfs().join("dev").join(name));
            one_line(&container.run(), &[&format!("/dev/{name}"), "another file"]);
            assert!(!container.rootfs().join("etc/new").exists());
        }
    }
    // The right one is taken as it is.
    let mut container = Container::with_script("stat -c %a /dev/null");
    without_mount(&mut container, "/dev");
    let null = container.rootfs().join("dev/null");
    mknod(&null, SFlag::S_IFCHR, Mode::S_IRUSR, makedev(1, 3)).unwrap();
    assert_eq!(container.output(), "400\n");
}

// Evidence: CVE-2025-31133, CVE-2025-62161 (run); fails without the check that /dev/null is device 1:3
#[test]
fn a_null_that_is_something_else_hides_nothing_and_is_not_opened() {
    for kind in WRONG {
        let mut container = Container::new();
        // A /dev that the configuration binds is left as it is.
        let dev = container.path().join("dev");
        fs::create_dir(&dev).unwrap();
        put(kind, &dev.join("null"));
        without_mount(&mut container, "/dev");
        container
            .mount("/dev", "bind", dev.to_str().unwrap(), &["bind"])
            .push("/linux/maskedPaths", json!("/etc/group"))
            .sh("cat /etc/group; stat -L -c %t:%T /etc/group /proc/self/fd/0");
        let asked = Instant::now();
        let ran = container.run();
        assert!(asked.elapsed() < *QUICK, "{kind}: {ran:#?}");
        // The mask is the host's null, and so is standard input still.
        assert_eq!(ran.ok().stdout, "1:3\n1:3\n", "{kind}");
        let now = container.path().join("dev/null").symlink_metadata().unwrap();
        assert_eq!(now.is_file() && now.len() == 4, *kind == "file", "{kind}: {now:?}");
    }
}

// Evidence: CVE-2026-88265 (run); fails without the check that /dev/null is device 1:3
#[test]
fn the_images_null_is_not_opened_before_it_is_known() {
    // Opening a FIFO for writing would let its reader go on; opening a watchdog starts it.
    let mut container = Container::new();
    let dev = container.path().join("dev");
    fs::create_dir(&dev).unwrap();
    let fifo = dev.join("null");
    nix::unistd::mkfifo(&fifo, Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
    let (told, hears) = std::sync::mpsc::channel();
    let path = fifo.clone();
    let reader = std::thread::spawn(move || {
        let opened = fs::File::open(path);
        told.send(opened.is_ok()).unwrap();
    });
    without_mount(&mut container, "/dev");
    container.mount("/dev", "bind", dev.to_str().unwrap(), &["bind"]);
    container.run().ok();
    assert!(hears.try_recv().is_err(), "somebody has opened the FIFO");
    drop(fs::OpenOptions::new().write(true).open(&fifo).unwrap());
    reader.join().unwrap();
}

// Evidence: CVE-2025-31133, CVE-2025-62161 (run); fails without the check that /dev/null is device 1:3
#[test]
fn a_null_of_the_host_that_is_something_else_is_refused() {
    for setup in [
        "mount --bind /dev/zero /dev/null",
        "touch \"$TMP\"; mount --bind \"$TMP\" /dev/null",
        "mkfifo \"$TMP\"; mount --bind \"$TMP\" /dev/null",
    ] {
        let mut container = Container::new();
        let file = container.path().join("false-null");
        let setup = setup.replace("\"$TMP\"", file.to_str().unwrap());
        container.push("/linux/maskedPaths", json!("/etc/passwd"));
        container.rt.through = in_own_mounts(&setup);
        let ran = container.run();
        container.rt.through.clear();
        one_line(&ran, &["/dev/null is not the character device 1:3"]);
    }
}

// Evidence: CVE-2025-52565 (run)
#[test]
fn a_ptmx_that_is_none_is_refused() {
    // No devpts: what the image has in its place is not opened.
    for kind in ["file", "fifo", "directory", "other device", "loop", "node"] {
        let mut container = Container::new();
        without_mount(&mut container, "/dev");
        let pts = container.rootfs().join("dev/pts");
        fs::create_dir_all(&pts).unwrap();
        match kind {
            "node" => mknod(&pts.join("ptmx"), SFlag::S_IFCHR, Mode::all(), makedev(5, 2)).unwrap(),
            kind => put(kind, &pts.join("ptmx")),
        }
        container.set("/process/terminal", json!(true));
        one_line(&container.run(), &["/dev/pts/ptmx"]);
    }
    // A link to another devpts that the configuration has bound would be the host's terminals.
    let mut container = Container::new();
    container.set("/process/terminal", json!(true));
    without_mount(&mut container, "/dev/pts");
    one_line(&container.run(), &["/dev/pts/ptmx", "no such file"]);
}

// Evidence: mask-skipped (run); fails without the error for a path that cannot be opened
#[test]
fn what_cannot_be_masked_fails_the_container() {
    for list in ["maskedPaths", "readonlyPaths"] {
        for (what, path, words) in [
            ("a loop", "/etc/loop", "too many symbolic links"),
            ("below a loop", "/etc/loop/x", "too many symbolic links"),
            ("below a file", "/etc/passwd/x", "not a directory"),
            ("a name that is too long", &format!("/{}", "x".repeat(300)), "name too long"),
            ("a magic link", "/proc/self/exe/x", "too many symbolic links"),
            ("by a magic link", "/proc/self/cwd/etc", "too many symbolic links"),
        ] {
            let mut container = Container::with_script("echo started");
            plant(&container, "etc/loop", "loop");
            container.set(&format!("/linux/{list}"), json!([path]));
            let ran = container.run();
            assert_eq!(ran.stdout, "", "{what}");
            one_line(&ran, &[words]);
        }
        let mut container = Container::with_script("echo started");
        plant(&container, "etc/dangling", "/nowhere/x");
        container
            .set(&format!("/linux/{list}"), json!(["/missing", "/etc/dangling", "/proc/no/x"]));
        assert_eq!(container.output(), "started\n");
    }
}

#[test]
fn a_mask_goes_where_the_path_leads() {
    let mut container = Container::with_script(
        "cat /etc/real /etc/alias /etc/dir/file 2>&1; ls /etc/dir; stat -c %t:%T /etc/real; \
         echo x 2>/dev/null > /etc/read/new || echo read-only",
    );
    let etc = container.rootfs().join("etc");
    for dir in ["dir", "read"] {
        fs::create_dir(etc.join(dir)).unwrap();
    }
    fs::write(etc.join("real"), "hidden").unwrap();
    fs::write(etc.join("dir/file"), "hidden").unwrap();
    plant(&container, "etc/alias", "/etc/../etc/real");
    plant(&container, "etc/dir-alias", "../../../etc/dir");
    plant(&container, "etc/read-alias", "/etc/read");
    container
        .set("/linux/maskedPaths", json!(["/etc/alias", "/etc/dir-alias"]))
        .set("/linux/readonlyPaths", json!(["/etc/read-alias"]));
    let output = container.output();
    assert!(!output.contains("hidden") && output.contains("/etc/dir/file': No such"), "{output}");
    assert!(output.ends_with("1:3\nread-only\n"), "{output}");
}

#[test]
fn standard_output_is_where_the_caller_wants_it() {
    // Links of the image in the place of /dev/stdout lead the runtime nowhere.
    let canary = Canary::new();
    let mut container = Container::with_script("echo out; echo err >&2");
    without_mount(&mut container, "/dev");
    container.mount("/data", "bind", &canary.text(""), &["bind"]);
    for name in ["stdin", "stdout", "stderr", "fd", "core"] {
        plant(&container, &format!("dev/{name}"), "/data/secret");
    }
    let ran = container.run().ok();
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("out\n", "err\n"));
    canary.assert_unchanged();
}

#[test]
fn devices_and_directories_of_the_caller_keep_their_owner() {
    let canary = Canary::new();
    for name in ["node", "dir", "."] {
        let mut container = Container::with_script("true");
        container.set("/process/user", json!({"uid": 1000, "gid": 1000}));
        let script = format!("exec \"$@\" < '{}'", canary.text(name));
        container.rt.through = ["sh", "-c", &script, "sh"].map(Into::into).to_vec();
        container.run().ok();
        container.rt.through.clear();
        canary.assert_unchanged();
    }
}

#[test]
fn closed_standard_descriptors_are_not_taken_by_others() {
    for closed in ["<&-", ">&-", "<&- >&-", "<&- >&- 2>&-"] {
        let mut container = Container::with_script(
            "for n in 0 1 2; do readlink /proc/self/fd/$n; done > /mnt/out; ls /proc/self/fd >> /mnt/out",
        );
        let script = format!("exec {closed} \"$@\"");
        container.rt.through = ["sh", "-c", &script, "sh"].map(Into::into).to_vec();
        let ran = container.run();
        assert_eq!(ran.code(), Some(0), "{closed}: {ran:#?}");
        let seen = fs::read_to_string(container.rootfs().join("mnt/out")).unwrap();
        assert!(!seen.contains(SECRET) && !seen.contains("socket:"), "{seen}");
        // 0, 1, 2 and the directory that ls reads.
        assert!(seen.ends_with("\n0\n1\n2\n3\n"), "{closed}: {seen}");
    }
}

#[test]
fn a_deep_image_is_copied_up_or_refused() {
    // 3000 directories in each other: as deep as the copy's own recursion would have to go.
    let mut container = Container::new();
    let top = container.rootfs().join("deep");
    fs::create_dir(&top).unwrap();
    let mut dir = std::fs::File::open(&top).unwrap();
    for _ in 0..3000 {
        nix::sys::stat::mkdirat(&dir, "d", Mode::S_IRWXU).unwrap();
        let flags = nix::fcntl::OFlag::O_DIRECTORY;
        dir = nix::fcntl::openat(&dir, "d", flags, Mode::empty()).unwrap().into();
    }
    container.mount("/deep", "tmpfs", "tmpfs", &["tmpcopyup"]);
    one_line(&container.run(), &["tmpcopyup"]);
}

// Evidence: no-openat2 (run)
#[test]
fn hostile_without_openat2() {
    crate::hostile_support::again_without_openat2(module_path!());
}
