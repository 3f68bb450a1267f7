//! /dev/console and the pseudo terminal where /dev is the host's own, and a /dev/null that cannot be
//! found. The host's /dev is played by a directory of the bundle, in a private mount namespace.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::PathBuf;

use crate::hostile_support::{one_line, without_mount};
use crate::support::*;
use nix::sys::stat::{Mode, SFlag, makedev, mknod};

/// Numbers of a terminal's slave and of the host's console, as stat(1) prints them.
const SLAVE: &str = "88:0";
const CONSOLE: &str = "5:1";

/// A container with a terminal whose /dev is a directory that is a mount of its own on the host,
/// with a devpts as on a host: its ptmx is of mode `ptmxmode`.
struct OnHostDev {
    c: Container,
    dev: PathBuf,
}

impl OnHostDev {
    fn new(script: &str, options: &[&str], ptmxmode: &str) -> OnHostDev {
        let mut c = Container::with_script(script);
        let dev = c.path().join("dev");
        fs::create_dir_all(dev.join("pts")).unwrap();
        for (name, major, minor, mode) in
            [("null", 1, 3, 0o666), ("console", 5, 1, 0o600), ("ptmx", 5, 2, 0o666)]
        {
            let path = dev.join(name);
            mknod(&path, SFlag::S_IFCHR, Mode::empty(), makedev(major, minor)).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        }
        without_mount(&mut c, "/dev");
        c.mount("/dev", "bind", dev.to_str().unwrap(), options);
        c.set("/process/terminal", json!(true));
        let mut this = OnHostDev { c, dev };
        this.setup(&format!(
            "mount -t devpts -o newinstance,mode=620,gid=5,ptmxmode={ptmxmode} devpts \"$DEV/pts\""
        ));
        this
    }

    /// Runs the shell script `mounts` in the private mount namespace before the runtime, which is
    /// shared within it; the mount table as it is afterwards goes to `table`.
    fn setup(&mut self, mounts: &str) {
        let (dev, table) = (self.dev.display(), self.table());
        let script = format!(
            "set -e; DEV={dev}; mount --bind $DEV $DEV; {mounts}; mount --make-rshared $DEV\n\
             rc=0; \"$@\" || rc=$?; cat /proc/self/mountinfo > {}; exit $rc",
            table.display()
        );
        let words = ["unshare", "--mount", "--propagation", "private", "sh", "-c", &script, "sh"];
        self.c.rt.through = words.map(Into::into).to_vec();
    }

    fn table(&self) -> PathBuf {
        self.c.path().join("mountinfo")
    }

    fn run(&mut self) -> Ran {
        self.c.run()
    }

    /// Fails the test if the host's directory has changed, or if something is mounted on its
    /// console.
    #[track_caller]
    fn assert_unchanged(&mut self, names: &[&str]) {
        self.c.rt.through.clear();
        let mut found: Vec<_> = fs::read_dir(&self.dev)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        found.sort();
        assert_eq!(found, names);
        let table = fs::read_to_string(self.table()).unwrap();
        assert!(!table.contains("dev/console"), "mounted on the host: {table}");
        if names.contains(&"console") {
            let meta = fs::symlink_metadata(self.dev.join("console")).unwrap();
            assert_eq!((meta.rdev(), meta.mode() & 0o7777), (makedev(5, 1), 0o600));
        }
    }
}

const ALL: &[&str] = &["console", "null", "ptmx", "pts"];

#[test]
fn the_terminal_is_the_console_of_the_host_s_dev() {
    for options in [
        &["rbind"][..],
        &["rbind", "rprivate"],
        &["rbind", "rslave"],
        &["rbind", "rshared", "rslave"],
        &["rbind", "ro"],
    ] {
        let mut on =
            OnHostDev::new("stat -c %t:%T /dev/console; echo hello >/dev/console", options, "000");
        let output = on.run().ok().stdout;
        assert_eq!(output, format!("{SLAVE}\nhello\n"), "{options:?}");
        on.assert_unchanged(ALL);
    }
}

#[test]
fn a_dev_that_is_shared_with_the_host_keeps_its_console() {
    for options in [&["rbind", "rshared"][..], &["rbind", "shared"]] {
        let mut on = OnHostDev::new("stat -c %t:%T /dev/console; tty", options, "000");
        let output = on.run().ok().stdout;
        assert_eq!(output, format!("{CONSOLE}\n/dev/pts/0\n"), "{options:?}");
        on.assert_unchanged(ALL);
    }
}

#[test]
fn no_console_is_made_on_the_host() {
    for link in [None, Some("/etc/new"), Some("null"), Some("console")] {
        let mut on = OnHostDev::new("tty; stat -L -c %t:%T /dev/null", &["rbind"], "000");
        fs::remove_file(on.dev.join("console")).unwrap();
        if let Some(link) = link {
            symlink(link, on.dev.join("console")).unwrap();
        }
        assert_eq!(on.run().ok().stdout, "/dev/pts/0\n1:3\n", "{link:?}");
        assert!(!on.c.rootfs().join("etc/new").exists());
        match link {
            None => on.assert_unchanged(&["null", "ptmx", "pts"]),
            Some(link) => {
                assert_eq!(fs::read_link(on.dev.join("console")).unwrap(), PathBuf::from(link));
            }
        }
        on.c.rt.through.clear();
    }
}

#[test]
fn a_user_namespace_has_a_terminal_of_the_host_s_devpts() {
    // As on Debian, where /dev/pts/ptmx has no permission for anybody.
    for ptmxmode in ["000", "666"] {
        let script = "tty; stat -c %t:%T /dev/console; test -t 0 && test -t 1 && echo terminal";
        let mut on = OnHostDev::new(script, &["rbind"], ptmxmode);
        on.c.map_users(100_000, 65536);
        let output = on.run().ok().stdout;
        assert_eq!(output, format!("/dev/pts/0\n{SLAVE}\nterminal\n"), "{ptmxmode}");
        on.assert_unchanged(ALL);
    }
}

#[test]
fn exec_has_a_terminal_of_the_host_s_devpts_too() {
    let mut on = OnHostDev::new("exec sleep 600", &["rbind"], "000");
    on.c.map_users(100_000, 65536).set("/process/terminal", json!(false));
    on.c.run_detached();
    on.c.rt.through.clear();
    let ran = on.c.exec(&["--tty"], &["sh", "-c", "tty; test -t 0 && echo terminal"]).ok();
    assert_eq!(ran.stdout, "/dev/pts/0\nterminal\n");
}

#[test]
fn a_ptmx_beside_the_devpts_that_is_something_else_is_refused() {
    for kind in ["file", "null", "missing", "loop", "other devpts"] {
        let mut on = OnHostDev::new("true", &["rbind"], "000");
        on.c.map_users(100_000, 65536);
        let ptmx = on.dev.join("ptmx");
        fs::remove_file(&ptmx).unwrap();
        match kind {
            "file" => fs::write(&ptmx, "mine").unwrap(),
            "null" => {
                mknod(&ptmx, SFlag::S_IFCHR, Mode::empty(), makedev(1, 3)).unwrap();
                fs::set_permissions(&ptmx, Permissions::from_mode(0o666)).unwrap();
            }
            "loop" => symlink("ptmx", &ptmx).unwrap(),
            "other devpts" => {
                // A link to a ptmx that would give terminals of an instance elsewhere.
                symlink("other/ptmx", &ptmx).unwrap();
                let other = on.dev.join("other");
                fs::create_dir_all(other.join("pts")).unwrap();
                let node = other.join("ptmx");
                mknod(&node, SFlag::S_IFCHR, Mode::empty(), makedev(5, 2)).unwrap();
                fs::set_permissions(&node, Permissions::from_mode(0o666)).unwrap();
                on.setup(
                    "mount -t devpts -o newinstance,ptmxmode=000 devpts $DEV/pts; \
                     mount -t devpts -o newinstance,ptmxmode=666 devpts $DEV/other/pts",
                );
            }
            _ => {}
        }
        let ran = on.run();
        on.c.rt.through.clear();
        one_line(&ran, &["process.terminal", "/dev/ptmx"]);
    }
}

#[test]
fn a_null_that_cannot_be_found_keeps_no_process_out() {
    let script = "rm /dev/null; ln -s null /dev/null; echo planted; exec sleep 600";
    let c = Container::with_script(script);
    let ran = c.run_detached();
    ran.wait_for("planted");
    // The caller's own null stays its standard input.
    let output = c.exec(&[], &["stat", "-L", "-c", "%t:%T", "/proc/self/fd/0"]).ok().stdout;
    assert_eq!(output, "1:3\n");
    // In the image, too.
    let mut c = Container::with_script("stat -L -c %t:%T /proc/self/fd/0");
    let dev = c.path().join("dev");
    fs::create_dir(&dev).unwrap();
    symlink("null", dev.join("null")).unwrap();
    without_mount(&mut c, "/dev");
    c.mount("/dev", "bind", dev.to_str().unwrap(), &["bind"]);
    assert_eq!(c.output(), "1:3\n");
}

#[test]
fn hostile_without_openat2() {
    crate::hostile_support::again_without_openat2(module_path!());
}
