//! Paths inside of the root file system that an image, or a process that shares it, has turned
//! away. Every test has a canary: a directory of the host that must be the same afterwards, and
//! the host's mount table. CVE-2019-18837, CVE-2021-30465, CVE-2024-45310, CVE-2025-54867,
//! CVE-2026-41579, CVE-2026-88264 and their kin.

use std::fs;
use std::os::unix::fs::{FileTypeExt, symlink};
use std::time::{Duration, Instant};

use crate::hostile_support::{Canary, SECRET, Swapper, exchange, one_line, plant, without_mount};
use crate::support::{Container, Ran, json};

/// Something that a configuration puts at a path of the image.
struct Attack {
    name: &'static str,
    /// Has the configuration put it at a path that leads through the link.
    set: fn(&mut Container, &str),
    /// Whether it is what a link leads to that is hit (a directory), or a file in it.
    last: &'static str,
    /// Whether the container must start, with the thing inside of the root.
    starts: bool,
}

const ATTACKS: &[Attack] = &[
    Attack {
        name: "bind of a directory",
        set: |c, path| {
            let source = c.path().join("data");
            fs::create_dir(&source).unwrap();
            fs::write(source.join("bound"), "bound").unwrap();
            c.mount(path, "bind", source.to_str().unwrap(), &["bind"]);
            c.sh(&format!("cat {path}/bound && touch {path}/new && ! cat {path}/secret"));
        },
        last: "",
        starts: true,
    },
    Attack {
        name: "bind of a file",
        set: |c, path| {
            let source = c.file("source", "bound");
            c.mount(path, "bind", source.to_str().unwrap(), &["rbind", "ro"]);
            c.args(&["/bin/cat", path]);
        },
        last: "/secret",
        starts: true,
    },
    Attack {
        name: "tmpfs",
        set: |c, path| {
            c.mount(path, "tmpfs", "tmpfs", &["mode=700"]);
            c.sh(&format!("touch {path}/new && ! cat {path}/secret"));
        },
        last: "/dir",
        starts: true,
    },
    Attack {
        name: "tmpfs with tmpcopyup",
        set: |c, path| {
            c.mount(path, "tmpfs", "tmpfs", &["tmpcopyup"]);
            c.sh(&format!("! cat {path}/secret"));
        },
        last: "",
        starts: true,
    },
    Attack {
        name: "cgroup",
        set: |c, path| {
            c.mount(path, "cgroup", "cgroup", &["ro"]);
        },
        last: "/dir/new",
        starts: true,
    },
    Attack {
        name: "new directories",
        set: |c, path| {
            c.mount(&format!("{path}/a/b/c"), "tmpfs", "tmpfs", &[]);
        },
        last: "/dir",
        starts: true,
    },
    Attack {
        name: "working directory",
        set: |c, path| {
            c.set("/process/cwd", json!(format!("{path}/work")));
            c.sh("touch here && ! cat ../secret");
        },
        last: "",
        starts: true,
    },
    Attack {
        name: "device",
        set: |c, path| {
            c.push(
                "/linux/devices",
                json!({"path": format!("{path}/new"), "type": "c", "major": 1, "minor": 3}),
            );
        },
        last: "",
        starts: false,
    },
    Attack {
        name: "device over another file",
        set: |c, path| {
            c.push("/linux/devices", json!({"path": path, "type": "c", "major": 1, "minor": 3}));
        },
        last: "/secret",
        starts: false,
    },
    Attack {
        name: "procfs",
        set: |c, path| {
            c.mount(path, "proc", "proc", &[]);
        },
        last: "/dir",
        starts: false,
    },
    Attack {
        name: "sysfs",
        set: |c, path| {
            c.mount(path, "sysfs", "sysfs", &["ro"]);
        },
        last: "/dir",
        starts: false,
    },
    Attack {
        name: "masked directory",
        set: |c, path| {
            c.push("/linux/maskedPaths", json!(path));
        },
        last: "/dir",
        starts: true,
    },
    Attack {
        name: "masked file",
        set: |c, path| {
            c.push("/linux/maskedPaths", json!(path));
        },
        last: "/secret",
        starts: true,
    },
    Attack {
        name: "read-only path",
        set: |c, path| {
            c.push("/linux/readonlyPaths", json!(path));
        },
        last: "",
        starts: true,
    },
];

// Evidence: CVE-2015-3627, CVE-2015-3629, CVE-2019-18837, CVE-2025-24965 (run); fails without
// RESOLVE_IN_ROOT
#[test]
fn links_out_are_read_inside() {
    for attack in ATTACKS {
        let canary = Canary::new();
        for (kind, target) in canary.ways_out("") {
            let what = format!("{} by an {kind} link", attack.name);
            let mut container = Container::new();
            plant(&container, "l", target.trim_end_matches('/'));
            let through = format!("/l{}", attack.last);
            (attack.set)(&mut container, &through);
            let ran = container.run();
            canary.assert_unchanged();
            assert!(!ran.stdout.contains(SECRET), "{what}: {ran:#?}");
            if attack.starts {
                assert_eq!(ran.code(), Some(0), "{what}: {ran:#?}");
            } else {
                one_line(&ran, &["symbolic link"]);
            }
        }
    }
}

#[test]
fn magic_links_are_refused() {
    let canary = Canary::new();
    for link in ["/proc/self/root", "/proc/1/root", "/proc/self/cwd", "/proc/self/fd/0"] {
        for attack in ATTACKS.iter().filter(|attack| attack.starts) {
            let mut container = Container::new();
            let target = format!("{link}{}", canary.text("").trim_end_matches('/'));
            plant(&container, "l", &target);
            (attack.set)(&mut container, &format!("/l{}", attack.last));
            let ran = container.run();
            canary.assert_unchanged();
            one_line(&ran, &["too many symbolic links"]);
        }
    }
}

#[test]
fn loops_of_links_are_refused() {
    for attack in ATTACKS {
        let mut container = Container::new();
        plant(&container, "l", "m/x");
        plant(&container, "m", "l/x");
        (attack.set)(&mut container, "/l/y");
        one_line(&container.run(), &["symbolic link"]);
    }
}

#[test]
fn a_chain_of_dangling_links_ends_inside() {
    let canary = Canary::new();
    let mut container = Container::new();
    plant(&container, "a", "/b/../c");
    plant(&container, "c", "../../../../d");
    fs::create_dir(container.rootfs().join("b")).unwrap();
    plant(&container, "d", &canary.text("new"));
    container.mount("/a/deep", "tmpfs", "tmpfs", &[]).sh("test -d /a/deep && touch /a/deep/x");
    container.run().ok();
    canary.assert_unchanged();
    let inside = container.rootfs().join(canary.text("new/deep").trim_start_matches('/'));
    assert!(inside.is_dir(), "{inside:?}");
}

// Evidence: CVE-2025-54867, CVE-2019-19921, CVE-2023-27561, CVE-2023-28642 (run); fails without
// RESOLVE_IN_ROOT and RESOLVE_NO_SYMLINKS
#[test]
fn proc_and_sys_may_not_be_links() {
    let canary = Canary::new();
    for name in ["proc", "sys"] {
        for target in ["/mnt", "mnt", "/etc/../mnt", &canary.text("dir"), "/missing"] {
            let container = Container::new();
            plant(&container, name, target);
            one_line(&container.run(), &[&format!("\"/{name}\""), "symbolic link"]);
        }
    }
    canary.assert_unchanged();
}

// Evidence: CVE-2026-41579, CVE-2026-47766 (run); fails without RESOLVE_IN_ROOT and RESOLVE_NO_SYMLINKS
#[test]
fn a_link_as_dev_is_refused() {
    let canary = Canary::new();
    for with_mount in [true, false] {
        for (_, target) in canary.ways_out("").iter().chain(&[("inside", "/mnt".to_owned())]) {
            let mut container = Container::new();
            plant(&container, "dev", target);
            if !with_mount {
                without_mount(&mut container, "/dev");
            }
            one_line(&container.run(), &["/dev", "symbolic link"]);
            canary.assert_unchanged();
        }
    }
}

// Evidence: volume-link (run)
#[test]
fn a_link_does_not_lead_dev_into_a_volume() {
    let canary = Canary::new();
    // The image's /dev is a link to where the user's volume goes: its ptmx and null are files.
    let mut container = Container::new();
    plant(&container, "dev", "data");
    without_mount(&mut container, "/dev");
    container.mount("/data", "bind", &canary.text(""), &["bind"]);
    one_line(&container.run(), &["/dev", "symbolic link"]);
    canary.assert_unchanged();
    // A link leads the volume itself to /dev, over the tmpfs that is there or without one.
    for with_mount in [true, false] {
        let mut container = Container::new();
        plant(&container, "data", "/etc/../dev");
        if !with_mount {
            without_mount(&mut container, "/dev");
        }
        container.mount("/data", "bind", &canary.text(""), &["rbind"]);
        one_line(&container.run(), &["/dev", "symbolic link", "bind mount"]);
        canary.assert_unchanged();
    }
}

// Evidence: CVE-2026-41579, CVE-2026-47766 (run)
#[test]
fn what_an_image_has_in_dev_is_not_removed() {
    for ptmx in ["file", "fifo", "node"] {
        let mut container = Container::new();
        without_mount(&mut container, "/dev");
        let dev = container.rootfs().join("dev");
        fs::create_dir_all(dev.join("pts")).unwrap();
        let path = dev.join("ptmx");
        match ptmx {
            "file" => fs::write(&path, "mine").unwrap(),
            "fifo" => nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRUSR).unwrap(),
            _ => nix::sys::stat::mknod(
                &path,
                nix::sys::stat::SFlag::S_IFCHR,
                nix::sys::stat::Mode::S_IRUSR,
                nix::sys::stat::makedev(5, 2),
            )
            .unwrap(),
        }
        let inode = |path: &std::path::Path| {
            use std::os::unix::fs::MetadataExt;
            path.symlink_metadata().unwrap().ino()
        };
        let before = inode(&path);
        container
            .mount("/dev/pts", "devpts", "devpts", &["newinstance", "ptmxmode=0666"])
            .sh("stat -c '%F %t:%T' /dev/ptmx; stat -f -c %t /dev/ptmx");
        let output = container.output();
        assert_eq!(output, "character special file 5:2\n1cd1\n", "{ptmx}");
        assert_eq!(before, inode(&path), "{ptmx}");
    }
}

// Evidence: CVE-2025-24965, CVE-2026-88264 (run)
#[test]
fn a_link_as_console_makes_no_file() {
    let canary = Canary::new();
    for target in ["/data/new", "/data/secret", "/data/console", "../data/dir/new"] {
        let mut container = Container::new();
        without_mount(&mut container, "/dev");
        fs::create_dir_all(container.rootfs().join("dev/pts")).unwrap();
        plant(&container, "dev/console", target);
        container
            .mount("/dev/pts", "devpts", "devpts", &["newinstance", "ptmxmode=0666"])
            .mount("/data", "bind", &canary.text(""), &["bind"])
            .set("/process/terminal", json!(true));
        one_line(&container.run(), &["/dev/console", "symbolic link"]);
        canary.assert_unchanged();
    }
}

#[test]
fn devices_do_not_take_the_place_of_other_files() {
    let canary = Canary::new();
    for name in ["secret", "dir", "link", "fifo", "node", "ptmx"] {
        let mut container = Container::new();
        container.mount("/data", "bind", &canary.text(""), &["bind"]);
        container.push(
            "/linux/devices",
            json!({"path": format!("/data/{name}"), "type": "c", "major": 1, "minor": 3}),
        );
        one_line(&container.run(), &[&format!("/data/{name}"), "another file"]);
        canary.assert_unchanged();
    }
}

// Evidence: cwd-link (run)
#[test]
fn a_working_directory_is_not_a_way_out() {
    let canary = Canary::new();
    for target in [canary.text("dir"), "/proc/self/cwd".into(), "/proc/1/root".into()] {
        let mut container = Container::new();
        plant(&container, "w", &target);
        container.set("/process/cwd", json!("/w")).sh("pwd -P; ls; cat ../secret");
        let ran = container.run();
        canary.assert_unchanged();
        assert!(!ran.stdout.contains(SECRET) && !ran.stdout.contains("file"), "{ran:#?}");
    }
}

/// A directory of a shared root file system, exchanged for a link out while the runtime works.
struct Race {
    canary: Canary,
    container: Container,
}

impl Race {
    fn new() -> Race {
        let canary = Canary::new();
        let mut container = Container::new();
        let mnt = container.rootfs().join("mnt");
        for name in ["x", "x/dir", "x/dir/sub"] {
            fs::create_dir(mnt.join(name)).unwrap();
        }
        fs::write(mnt.join("x/secret"), "inside").unwrap();
        symlink(canary.path(), mnt.join("y")).unwrap();
        let (data, file) = (container.path().join("data"), container.file("source", "bound"));
        fs::create_dir(&data).unwrap();
        container
            .mount("/mnt/x/dir", "bind", data.to_str().unwrap(), &["bind"])
            .mount("/mnt/x/dir/sub", "tmpfs", "tmpfs", &[])
            .mount("/mnt/x/secret", "bind", file.to_str().unwrap(), &["bind"])
            .mount("/mnt/x/new/a", "tmpfs", "tmpfs", &[])
            .mount("/mnt/x/copy", "tmpfs", "tmpfs", &["tmpcopyup"])
            .push("/linux/maskedPaths", json!("/mnt/x/secret"))
            .push("/linux/readonlyPaths", json!("/mnt/x/dir"))
            .push(
                "/linux/devices",
                json!({"path": "/mnt/x/null", "type": "c", "major": 1, "minor": 3}),
            )
            .set("/process/cwd", json!("/mnt/x/dir/sub/cwd"))
            .sh("cat /mnt/*/secret /mnt/*/copy/secret; ls -lR /mnt; cat ../../../*/secret; true");
        // Undisturbed it starts.
        assert!(container.output().contains("total"));
        Race { canary, container }
    }

    /// Runs it under the racing thread; whether the container starts is chance.
    fn run(&self, pause: Duration) -> Ran {
        let mnt = self.container.rootfs().join("mnt");
        let swapper = Swapper::start(&mnt.join("x"), &mnt.join("y"), pause);
        let ran = self.container.run();
        swapper.stop();
        // An odd number of turns leaves the link in the directory's place.
        if mnt.join("x").symlink_metadata().unwrap().file_type().is_symlink() {
            exchange(&mnt.join("x"), &mnt.join("y"));
        }
        assert!(!ran.stdout.contains(SECRET), "{ran:#?}");
        assert!(!ran.stderr.contains("panicked"), "{ran:#?}");
        ran
    }
}

// Evidence: CVE-2021-30465, CVE-2024-45310 (run); fails without RESOLVE_IN_ROOT
#[test]
fn swapped_while_mounting() {
    let race = Race::new();
    let end = Instant::now() + Duration::from_secs(5);
    let (mut runs, mut started) = (0, 0);
    while runs <= 3 || Instant::now() < end {
        let pause = Duration::from_micros([0, 5, 50, 500][runs % 4]);
        started += usize::from(race.run(pause).status.success());
        runs += 1;
    }
    race.canary.assert_unchanged();
    eprintln!("{runs} runs, {started} of them started");
}

// Evidence: CVE-2021-30465, CVE-2024-45310, CVE-2023-27561 (run); fails without RESOLVE_IN_ROOT
#[test]
fn swapped_while_the_runtime_is_held_in_every_call() {
    // A few milliseconds in each call that looks up or mounts: every window between two of them
    // is one that the thread cannot miss.
    let calls = "openat2,openat,mkdirat,mknodat,open_tree,move_mount,pivot_root";
    if !std::path::Path::new("/usr/bin/strace").exists() {
        assert!(std::env::var_os("CI").is_none(), "strace is missing");
        crate::support::skip!("needs strace");
    }
    let mut race = Race::new();
    let inject = format!("inject={calls}:delay_exit=2000");
    race.container.rt.through =
        ["strace", "-f", "-o", "/dev/null", "-e", &format!("trace={calls}"), "-e", &inject]
            .map(Into::into)
            .to_vec();
    for pause in [700, 1300, 2100, 3700] {
        race.run(Duration::from_micros(pause));
        race.canary.assert_unchanged();
    }
}

#[test]
fn the_canary_sees_what_is_done_to_it() {
    let changes: [fn(&Canary); 5] = [
        |canary| fs::write(canary.join("secret"), "x").unwrap(),
        |canary| fs::write(canary.join("new"), "").unwrap(),
        |canary| fs::remove_file(canary.join("ptmx")).unwrap(),
        |canary| {
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
            fs::set_permissions(canary.join("dir"), mode).unwrap();
        },
        |canary| {
            fs::remove_file(canary.join("fifo")).unwrap();
            fs::write(canary.join("fifo"), "").unwrap();
            assert!(!canary.join("fifo").metadata().unwrap().file_type().is_fifo());
        },
    ];
    for change in changes {
        let canary = Canary::new();
        canary.assert_unchanged();
        change(&canary);
        assert!(!canary.changes().is_empty());
    }
}

// Evidence: no-openat2 (run)
#[test]
fn hostile_without_openat2() {
    crate::hostile_support::again_without_openat2(module_path!());
}
