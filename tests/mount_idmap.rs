//! Mappings in the mount options `idmap=` and `ridmap=`: who owns the files of a mount, inside as
//! the container sees it and outside on the disk.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};

use crate::support::rootless::of_nobody;
use crate::support::*;

const LOOK: &str = "stat -c '%u:%g' /mnt/file /mnt/sub/file; touch /mnt/new && echo made; true";

/// A directory with a file of a user and a group, and a mount with another one below it.
fn data(c: &mut Container, user: u32, group: u32) -> PathBuf {
    let data = c.path().join("data");
    fs::create_dir_all(data.join("sub")).unwrap();
    fs::create_dir(c.path().join("below")).unwrap();
    for file in ["data/file", "below/file"] {
        let file = c.file(file, "");
        chown(&file, Some(user), Some(group)).unwrap();
    }
    chown(&data, Some(user), Some(group)).unwrap();
    let words = format!("mount --bind {0}/below {0}/data/sub; exec \"$@\"", c.path().display());
    c.rt.through = ["unshare", "--mount", "--propagation", "private", "sh", "-ec", &words, "sh"]
        .iter()
        .map(Into::into)
        .collect();
    data
}

fn knows_idmapped_mounts(path: &Path) -> bool {
    use nix::sys::statfs::{BTRFS_SUPER_MAGIC, EXT4_SUPER_MAGIC, XFS_SUPER_MAGIC, statfs};
    let kind = statfs(path).unwrap().filesystem_type();
    [EXT4_SUPER_MAGIC, XFS_SUPER_MAGIC, BTRFS_SUPER_MAGIC].contains(&kind)
}

macro_rules! need_idmapped_mounts {
    ($path:expr) => {
        if !knows_idmapped_mounts($path) {
            skip!("{:?} is on a file system that may not know idmapped mounts", $path);
        }
    };
}

/// The files belong to 1000:100 on the disk. Inside: of the file in the mount, of the one below it.
// Proves: mounts[].options={idmap, ridmap}
#[test]
fn mappings_without_a_user_namespace() {
    for (option, bind, top, below) in [
        ("idmap=uids=1000-0-1;gids=100-0-1", "rbind", "0:0", "1000:100"),
        ("ridmap=uids=1000-0-1;gids=100-0-1", "rbind", "0:0", "0:0"),
        ("idmap=gids=90-17-1#100-5-3;uids=0-1-1#1-2-1#1000-0-1", "rbind", "0:5", "1000:100"),
        // What is not mentioned stays as it is.
        ("ridmap=uids=1000-0-1", "rbind", "0:100", "0:100"),
        ("ridmap=gids=100-0-1", "rbind", "1000:0", "1000:0"),
        // Ids outside of the mapping belong to nobody.
        ("idmap=uids=7-0-1;gids=7-0-1", "rbind", "65534:65534", "1000:100"),
    ] {
        let mut c = Container::with_script(LOOK);
        let data = data(&mut c, 1000, 100);
        need_idmapped_mounts!(&data);
        c.mount("/mnt", "bind", data.to_str().unwrap(), &[bind, option]);
        let output = c.output();
        c.rt.through.clear();
        let expected = format!("{top}\n{below}\n");
        assert_eq!(output.strip_suffix("made\n").unwrap_or(&output), expected, "{option}");
        if top == "0:0" {
            let made = fs::metadata(data.join("new")).unwrap();
            assert_eq!((made.uid(), made.gid()), (1000, 100), "{option}: on the disk");
        }
    }
}

#[test]
fn mappings_in_a_user_namespace() {
    for (option, inside) in [
        // As if the host's ids were written by hand, or the container's.
        ("idmap=uids=1000-100000-1;gids=100-100005-1", "0:5"),
        ("idmap=uids=@1000-0-1;gids=@100-5-1", "0:5"),
        ("idmap=uids=@1000-33-1;gids=100-100005-1", "33:5"),
        // Over the edge of the first range of the container's.
        ("idmap=uids=@998-48-5;gids=@98-48-5", "50:50"),
        // What is not mentioned is as in the container.
        ("idmap=uids=@1000-0-1", "0:100"),
        ("idmap=gids=@100-0-1", "1000:0"),
        ("idmap", "1000:100"),
    ] {
        let mut c = Container::with_script(LOOK);
        let map = json!([
            {"containerID": 0, "hostID": 100_000, "size": 50},
            {"containerID": 50, "hostID": 200_000, "size": 5000},
        ]);
        c.namespace(json!({"type": "user"}));
        c.set("/linux/uidMappings", map.clone()).set("/linux/gidMappings", map);
        let data = data(&mut c, 1000, 100);
        need_idmapped_mounts!(&data);
        c.mount("/mnt", "bind", data.to_str().unwrap(), &["bind", option]);
        let output = c.output();
        c.rt.through.clear();
        assert_eq!(output.lines().next(), Some(inside), "{option}: {output}");
    }
}

/// A tmpfs knows idmapped mounts since Linux 6.3. Its root directory belongs to 0:0 in the file
/// system.
// Proves: mounts[].options={idmap, ridmap}, mounts[].{uidMappings, gidMappings}
#[test]
fn a_new_file_system_has_its_own_mapping() {
    if !kernel_at_least(6, 3) {
        skip!("this kernel cannot idmap a tmpfs");
    }
    for (users, option, expected) in [
        (false, "idmap=uids=0-1000-9;gids=0-100-9", "1000:100"),
        (false, "ridmap=uids=0-7-1#1-0-1", "7:0"),
        (true, "idmap=uids=0-100005-1;gids=@0-6-1", "5:6"),
        (true, "idmap=uids=@0-5-1#@1-0-1", "5:0"),
        (true, "idmap", "0:0"),
    ] {
        let mut c = Container::with_script("stat -c '%u:%g' /mnt");
        if users {
            c.map_users(100_000, 65536);
        }
        c.mount("/mnt", "tmpfs", "tmpfs", &[option, "mode=711"]);
        assert_eq!(c.output(), format!("{expected}\n"), "{option}");
    }
    let mut c = Container::with_script("stat -c '%u:%g' /mnt");
    c.mount("/mnt", "tmpfs", "tmpfs", &[]);
    let map = json!([{"containerID": 0, "hostID": 5, "size": 1}]);
    c.set("/mounts/6/uidMappings", map.clone()).set("/mounts/6/gidMappings", map);
    assert_eq!(c.output(), "5:5\n");
}

/// The kernel's refusal is an error, and never a mount without the mapping.
#[test]
fn a_file_system_without_mappings_is_an_error() {
    for users in [false, true] {
        let mut c = Container::new();
        if users {
            c.map_users(100_000, 65536);
        }
        c.mount("/mnt", "mqueue", "mqueue", &["idmap=uids=0-100001-1;gids=0-100001-1"]);
        c.create().refused(&["mounts[6]: idmapped mount on \"/mnt\"", "may not support idmapped"]);
    }
}

/// A source in the container's own tree, which only init can open, in a user namespace, in which init
/// has no rights over the file system. The files belong to the host's 0:0.
// Proves: mounts[].options=idmap
#[test]
fn a_part_of_the_containers_tree_in_a_user_namespace() {
    let mut c = Container::with_script(
        "stat -c '%u:%g' /mnt/file /mnt/sub/file /final/file /final/sub/file /other/file",
    );
    c.map_users(100_000, 65536);
    let data = data(&mut c, 0, 0);
    need_idmapped_mounts!(&data);
    for name in ["final", "other"] {
        fs::create_dir(c.rootfs().join(name)).unwrap();
    }
    c.mount("/mnt", "bind", data.to_str().unwrap(), &["rbind"]);
    let own = c.rootfs().join("mnt");
    c.mount("/final", "bind", own.to_str().unwrap(), &["rbind", "idmap"]);
    let relative = "idmap=uids=@0-5-1;gids=@0-6-1";
    // Recursive too: without the mount below, which is locked, the kernel refuses the clone.
    c.mount("/other", "bind", own.to_str().unwrap(), &["rbind", relative]);
    let output = c.output();
    c.rt.through.clear();
    let nobody = "65534:65534";
    assert_eq!(output, format!("{nobody}\n{nobody}\n0:0\n{nobody}\n5:6\n"));
}

/// Whoever can write to one mount of a container must not choose by a link which files of another are
/// idmapped.
#[test]
fn a_link_does_not_choose_what_is_idmapped() {
    for users in [true, false] {
        let mut c = Container::new();
        if users {
            c.map_users(100_000, 65536);
        }
        let data = data(&mut c, 0, 0);
        need_idmapped_mounts!(&data);
        fs::create_dir(c.rootfs().join("final")).unwrap();
        std::os::unix::fs::symlink("/", data.join("link")).unwrap();
        c.mount("/mnt", "bind", data.to_str().unwrap(), &["rbind"]);
        let own = c.rootfs().join("mnt/link");
        let option = "idmap=uids=0-100000-9;gids=0-100000-9";
        c.mount("/final", "bind", own.to_str().unwrap(), &["rbind", option]);
        c.create().refused(&["mounts[7]", "find source"]);
        c.rt.through.clear();
    }
}

/// The files of the image are copied before the mapping is in force: init's ids have no place in it.
// Proves: mounts[].options={idmap, tmpcopyup}
#[test]
fn what_is_copied_up_is_mapped_too() {
    if !kernel_at_least(6, 3) {
        skip!("this kernel cannot idmap a tmpfs");
    }
    let mut c = Container::with_script("stat -c '%u:%g' /mnt/file");
    fs::write(c.rootfs().join("mnt/file"), "").unwrap();
    chown(c.rootfs().join("mnt/file"), Some(0), Some(0)).unwrap();
    let option = "idmap=uids=0-1000-9;gids=0-100-9";
    c.mount("/mnt", "tmpfs", "tmpfs", &["tmpcopyup", option]);
    assert_eq!(c.output(), "1000:100\n");
}

/// The kernel asks for rights over the file system of the host, or over the user namespace of the
/// mapping.
#[test]
fn without_root_a_new_file_system_has_no_mapping() {
    if !unprivileged_user_namespaces() {
        skip!("unprivileged user namespaces are switched off");
    }
    let mut c = of_nobody("true");
    c.mount("/mnt", "tmpfs", "tmpfs", &["idmap=uids=@0-0-1;gids=@0-0-1"]);
    let ran = c.create();
    assert_ne!(ran.status.code(), Some(0), "{ran:#?}");
    assert!(ran.stderr.contains("on \"/mnt\": needs a privileged runtime"), "{ran:#?}");
    c.assert_gone();
}

#[test]
fn mappings_that_mean_nothing_are_refused() {
    let relative = "a relative mapping (\"@\") needs a user namespace";
    let rows: &[(&str, &str)] = &[
        ("idmap=", "expected uids="),
        ("idmap=true", "expected uids="),
        ("ridmap=uids=1000-0", "expected uids="),
        ("idmap=uids=1000-0-0", "expected uids="),
        ("idmap=uids=1000-0-1;pids=1-1-1", "expected uids="),
        ("idmap=uids=1000-0-4294967296", "expected uids="),
        ("idmap=uids=1000-0-1;uids=1000-0-1", "only once"),
        ("idmap=uids=@1000-0-1;gids=@100-0-1", relative),
        ("idmap=uids=1000-4294967295-2;gids=1-1-1", "goes beyond"),
        ("idmap=uids=1-1-5#5-50-1;gids=1-1-1", "overlaps"),
    ];
    for_each_row(rows, |(option, why)| {
        let mut c = Container::new();
        c.mount("/mnt", "bind", "/etc", &["bind", option]);
        c.create().refused(&["mounts[6]", "idmap", why]);
    });
    let mut c = Container::new();
    c.map_users(100_000, 1000);
    c.mount("/mnt", "bind", "/etc", &["bind", "idmap=uids=@0-999-2"]);
    c.create().refused(&["mounts[6].options[1]", "idmap=uids=@0-999-2", "does not map"]);
    let map = json!([{"containerID": 0, "hostID": 5, "size": 1}]);
    c.set("/mounts/6/options/1", json!("idmap=uids=0-0-1"));
    c.set("/mounts/6/uidMappings", map.clone()).set("/mounts/6/gidMappings", map);
    c.create().refused(&["mounts[6].options[1]", "give one of the two"]);
}

#[test]
fn a_joined_user_namespace_needs_the_hosts_ids() {
    let mut other = Container::with_script("exec sleep 600");
    other.map_users(100_000, 65536);
    other.run_detached();
    let mut c = Container::with_script(LOOK);
    let data = data(&mut c, 1000, 100);
    need_idmapped_mounts!(&data);
    let user = format!("/proc/{}/ns/user", other.process().pid);
    c.namespace(json!({"type": "user", "path": user}));
    c.mount("/mnt", "bind", data.to_str().unwrap(), &["bind", "idmap=uids=1000-100007-1"]);
    c.create().refused(&["mounts[6].options[1]", "joined by path"]);
    let option = "idmap=uids=1000-100007-1;gids=100-100008-1";
    c.set("/mounts/6/options/1", json!(option));
    let output = c.output();
    c.rt.through.clear();
    assert_eq!(output.lines().next(), Some("7:8"), "{output}");
}
