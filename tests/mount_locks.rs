//! A container with a user namespace and CAP_SYS_ADMIN: what the host has mounted read-only,
//! nosuid, nodev or noexec, and what it has covered, stays so. The kernel's own locks refuse it.

use std::fs;
use std::path::Path;

use crate::support::*;

/// Calls the runtime in a private mount namespace in which `script` has run first.
fn after_mounting(c: &mut Container, script: &str) {
    let words = format!("{script} && exec \"$@\"");
    c.rt.through = ["unshare", "--mount", "--propagation", "private", "sh", "-ec", &words, "sh"]
        .iter()
        .map(Into::into)
        .collect();
}

/// A container that may mount, and nothing of the host.
fn mighty(script: &str) -> Container {
    let mut c = Container::with_script(script);
    c.map_users(100_000, 65_536);
    c.capabilities(&["CAP_SYS_ADMIN", "CAP_SYS_CHROOT", "CAP_CHOWN", "CAP_DAC_OVERRIDE"]);
    c
}

/// A new directory of the host beside the root file system.
fn directory(c: &Container, name: &str) -> String {
    let path = c.path().join(name);
    fs::create_dir_all(&path).unwrap();
    path.to_str().unwrap().to_owned()
}

/// Runs in the foreground, after `script` on the host's side.
#[track_caller]
fn output(c: &mut Container, script: &str) -> String {
    after_mounting(c, script);
    let output = c.output();
    c.rt.through.clear();
    output
}

#[track_caller]
fn run(c: &mut Container, script: &str) -> crate::support::Ran {
    after_mounting(c, script);
    let ran = c.run();
    c.rt.through.clear();
    ran
}

/// The options of a mount point in the text of a mountinfo.
#[track_caller]
fn options<'a>(table: &'a str, place: &str) -> Vec<&'a str> {
    let line = table.lines().rfind(|line| line.split(' ').nth(4) == Some(place));
    let line = line.unwrap_or_else(|| panic!("no {place} in {table}"));
    line.split(' ').nth(5).unwrap().split(',').collect()
}

// Evidence: mount-unlocked (run)
#[test]
fn attributes_of_the_host_cannot_be_cleared() {
    // What the host has, and a remount that has all but that.
    let cases = [
        ("ro", "rw"),
        ("nosuid", "suid"),
        ("nodev", "dev"),
        ("noexec", "exec"),
        ("noatime", "strictatime"),
    ];
    let mut script = String::new();
    let mut before = String::from("true");
    let mut c = mighty("");
    for (flag, clear) in cases {
        let source = directory(&c, flag);
        fs::create_dir_all(c.rootfs().join("mnt").join(flag)).unwrap();
        fs::create_dir_all(c.rootfs().join("tmp").join(flag)).unwrap();
        before += &format!(" && mount -t tmpfs -o {flag} {flag} {source}");
        c.mount(&format!("/mnt/{flag}"), "bind", &source, &["rbind"]);
        script += &format!(
            "mount -o remount,bind,{clear} /mnt/{flag} && echo remounted {flag}
             mount --bind /mnt/{flag} /tmp/{flag} &&
                 mount -o remount,bind,{clear} /tmp/{flag} && echo remounted a bind of {flag}
             busybox unshare -m mount -o remount,bind,{clear} /mnt/{flag} && echo apart {flag}\n"
        );
    }
    c.sh(&format!("exec 2>/dev/null\n{script}\ntouch /mnt/ro/x; cat /proc/self/mountinfo"));
    let table = output(&mut c, &before);
    for (flag, _) in cases {
        assert!(options(&table, &format!("/mnt/{flag}")).contains(&flag), "{table}");
        assert!(options(&table, &format!("/tmp/{flag}")).contains(&flag), "{table}");
    }
    assert!(!table.contains("remounted") && !table.contains("apart"), "{table}");
}

#[test]
fn attributes_of_the_configuration_cannot_be_cleared() {
    let mut c =
        mighty("mount -o remount,bind,rw /mnt 2>&1; touch /mnt/x; cat /proc/self/mountinfo");
    let source = directory(&c, "data");
    fs::set_permissions(&source, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    c.mount("/mnt", "bind", &source, &["rbind", "ro", "nosuid"]);
    let ran = c.run().ok();
    assert!(options(&ran.stdout, "/mnt").contains(&"ro"), "{ran:#?}");
    assert!(!Path::new(&source).join("x").exists(), "{ran:#?}");
}

// Evidence: mount-unlocked (run)
#[test]
fn what_the_host_covers_stays_covered() {
    let mut c = mighty(
        "exec 2>/dev/null
         for at in /mnt /one; do
             umount $at/secret && echo unmounted $at
             umount -l $at/secret && echo unmounted lazily $at
             mount --move $at/secret /tmp && echo moved $at
             mount --bind $at /tmp && echo bound $at
             busybox unshare -m umount $at/secret && echo apart $at
             mount --rbind $at /tmp && umount /tmp/secret && echo unmounted a bind of $at
             cat $at/secret/file /tmp/secret/file
         done
         echo end",
    );
    let source = directory(&c, "data");
    directory(&c, "data/secret");
    directory(&c, "rootfs/one");
    c.file("data/secret/file", "the secret\n");
    c.mount("/mnt", "bind", &source, &["rbind"]);
    c.mount("/one", "bind", &source, &["rbind", "ro", "private"]);
    let said = output(&mut c, &format!("mount -t tmpfs cover {source}/secret"));
    assert_eq!(said, "end\n");
}

#[test]
fn the_root_file_system_keeps_what_the_host_has_mounted() {
    let mut c = mighty(
        "exec 2>/dev/null
         umount /mnt && echo unmounted
         mount -o remount,bind,suid / && echo remounted
         cat /mnt/file; cat /proc/self/mountinfo",
    );
    let root = c.rootfs().to_str().unwrap().to_owned();
    c.file("rootfs/mnt/file", "the secret\n");
    let host = format!(
        "mount --bind {root} {root} && mount -o remount,bind,nosuid {root} &&
         mount -t tmpfs cover {root}/mnt"
    );
    let said = output(&mut c, &host);
    assert!(options(&said, "/").contains(&"nosuid"), "{said}");
    assert!(!said.contains("the secret") && !said.contains("mounted\n"), "{said}");
}

#[test]
fn an_idmapped_mount_has_the_locks() {
    for own in [true, false] {
        let mut c = mighty(
            "mount -o remount,bind,rw /mnt; umount /mnt/secret
             touch /mnt/x; stat -c '%u:%g' /mnt/top; cat /mnt/secret/file; echo end",
        );
        let source = directory(&c, "data");
        directory(&c, "data/secret");
        c.file("data/top", "");
        c.file("data/secret/file", "the secret\n");
        if nix::sys::statfs::statfs(Path::new(&source)).unwrap().filesystem_type()
            == nix::sys::statfs::OVERLAYFS_SUPER_MAGIC
        {
            skip!("{source:?} is on a file system that knows no idmapped mounts");
        }
        let map = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
        let mut mount = json!({
            "destination": "/mnt", "type": "bind", "source": source, "options": ["rbind", "idmap"]
        });
        if own {
            mount["uidMappings"] = map.clone();
            mount["gidMappings"] = map;
        }
        c.push("/mounts", mount);
        let host = format!(
            "mount --bind {source} {source} && mount -o remount,bind,ro {source} &&
             mount --bind /mnt {source}/secret"
        );
        let ran = run(&mut c, &host).ok();
        assert_eq!(ran.stdout, "0:0\nend\n", "{ran:#?}");
        assert!(!Path::new(&source).join("x").exists());
    }
}

#[test]
fn a_joined_user_namespace_has_the_locks() {
    let mut other = Container::with_script("exec sleep 600");
    other.map_users(100_000, 65_536);
    other.run_detached();
    let mut c = mighty("mount -o remount,bind,rw /mnt 2>/dev/null; cat /proc/self/mountinfo");
    let user = format!("/proc/{}/ns/user", other.process().pid);
    c.namespace(json!({"type": "user", "path": user}));
    c.remove("/linux/uidMappings").remove("/linux/gidMappings");
    let source = directory(&c, "data");
    c.mount("/mnt", "bind", &source, &["bind"]);
    let table = output(&mut c, &format!("mount -t tmpfs -o ro data {source}"));
    assert!(options(&table, "/mnt").contains(&"ro"), "{table}");
}

/// The runtime's rights open the sources, and set what only they can.
#[test]
fn sources_out_of_reach_of_the_containers_root() {
    let mut c = mighty(
        "cat /mnt/data/file /mnt/file /mnt/alone/below; ls /mnt/alone/sub; touch /mnt/rw/x;
         cat /proc/self/mountinfo",
    );
    let closed = directory(&c, "closed");
    for name in ["data", "file", "alone", "rw"] {
        let place = c.rootfs().join("mnt").join(name);
        if name == "file" { fs::write(place, "").unwrap() } else { fs::create_dir(place).unwrap() }
    }
    for name in ["data", "alone/sub", "rw"] {
        directory(&c, &format!("closed/{name}"));
    }
    c.file("closed/data/file", "data\n");
    c.file("closed/alone/below", "below\n");
    c.file("closed/alone/sub/covered", "");
    fs::set_permissions(&closed, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    c.mount("/mnt/data", "bind", &format!("{closed}/data"), &["bind", "noatime"]);
    c.mount("/mnt/file", "bind", &format!("{closed}/data/file"), &["bind", "ro"]);
    c.mount("/mnt/alone", "bind", &format!("{closed}/alone"), &["bind"]);
    c.mount("/mnt/rw", "bind", &format!("{closed}/rw"), &["bind", "rw", "exec"]);
    let host = format!(
        "mount -t tmpfs cover {closed}/alone/sub &&
         mount -t tmpfs -o ro,noexec,mode=777 rw {closed}/rw"
    );
    let said = output(&mut c, &host);
    assert!(said.starts_with("data\ndata\nbelow\ncovered\n"), "{said}");
    assert!(options(&said, "/mnt/data").contains(&"noatime"), "{said}");
    assert!(!options(&said, "/mnt/rw").contains(&"noexec"), "{said}");
    assert!(options(&said, "/mnt/rw").contains(&"rw"), "{said}");
}

/// What is shared with the host takes mounts from it, and gives none to it.
#[test]
fn no_mount_of_a_user_namespace_appears_on_the_host() {
    let mut c = mighty("mount -t tmpfs inside /mnt/sub; cat /proc/self/mountinfo");
    let source = directory(&c, "data");
    directory(&c, "data/sub");
    c.mount("/mnt", "bind", &source, &["rbind", "rshared"]);
    let words = format!(
        "mount -t tmpfs data {source} && mkdir {source}/sub && mount --make-shared {source};
         \"$@\"; echo HOST; cat /proc/self/mountinfo"
    );
    c.rt.through = ["unshare", "--mount", "--propagation", "private", "sh", "-ec", &words, "sh"]
        .iter()
        .map(Into::into)
        .collect();
    let said = c.output();
    c.rt.through.clear();
    let (inside, host) = said.split_once("HOST\n").unwrap();
    assert!(inside.contains(" /mnt/sub "), "{said}");
    let line = inside.lines().find(|line| line.contains(" /mnt ")).unwrap();
    assert!(line.contains(" shared:") && line.contains(" master:"), "{line}");
    assert!(!host.contains(&format!(" {source}/sub ")), "{said}");
}

/// The host's root lies below: a process that unmounts its own and enters its namespace again would
/// be there.
#[test]
fn without_pivot_root_the_hosts_root_stays_covered() {
    let mut joined = Container::with_script("exec sleep 600");
    joined.map_users(100_000, 65_536);
    joined.run_detached();
    let user = format!("/proc/{}/ns/user", joined.process().pid);
    for join in [false, true] {
        let mut c = mighty(
            "exec 2>&1
             umount -l / && echo first
             umount -l / && echo second
             umount -l /.. && echo third
             echo end; exec sleep 600",
        );
        if join {
            c.namespace(json!({"type": "user", "path": user}));
            c.remove("/linux/uidMappings").remove("/linux/gidMappings");
        }
        let pid_file = c.pid_file();
        let options = ["--no-pivot", "--detach", "--pid-file", pid_file.to_str().unwrap()];
        let ran = c.call("run", &options).ok();
        let said = ran.wait_for("end\n");
        assert!(said.starts_with("first\n"), "the test's own premise: {said}");
        let namespace = format!("--mount=/proc/{}/ns/mnt", c.process().pid);
        let seen = std::process::Command::new("nsenter")
            .args([&namespace, "/bin/ls", "-A", "/"])
            .output()
            .unwrap();
        assert!(!seen.status.success(), "join {join}: a root with programs: {seen:?}");
    }
}
