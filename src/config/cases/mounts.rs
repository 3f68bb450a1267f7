//! The rules of mounts.

use serde_json::{Value, json};

use super::{long, refused, taken, userns};

#[test]
fn mounts() {
    let path = format!("/{}", long(4095));
    refused(&[
        (json!({"/mounts/0/destination": ""}), "mounts[0].destination: \"\": must not be empty"),
        (
            json!({"/mounts/0/destination": path}),
            "mounts[0].destination: a path of 4096 bytes: is longer than 4095 bytes",
        ),
        (
            json!({"/mounts/0/destination": "a/../.."}),
            "mounts[0].destination: \"a/../..\": is the root file system itself; write \"/\" to mount \
             over it",
        ),
        (
            json!({"/mounts/2/source": null}),
            "mounts[2].source: missing; a bind mount needs a source",
        ),
        (json!({"/mounts/2/source": ""}), "mounts[2].source: missing; a bind mount needs a source"),
        (
            json!({"/mounts/0/type": "bind"}),
            "mounts[0].type: \"bind\": a bind mount needs the option bind or rbind",
        ),
        (
            json!({"/mounts/0/type": null}),
            "mounts[0].type: missing; only a bind mount (option bind or rbind) needs no type",
        ),
        (
            json!({"/mounts/1/options/4": "size=1,suid"}),
            "mounts[1].options[4]: \"size=1,suid\": a mount option cannot contain a comma: list the \
             options one by one, or put the whole value in double quotes",
        ),
        (
            json!({"/mounts/2/options/2": "context=u:o:r"}),
            "mounts[2].options[2]: \"context=u:o:r\": unknown option for a bind mount",
        ),
        (
            json!({"/mounts/2/options/2": "rshard"}),
            "mounts[2].options[2]: \"rshard\": unknown option for a bind mount",
        ),
        (
            json!({"/mounts/2/options/2": "size=1m"}),
            "mounts[2].options[2]: \"size=1m\": unknown option for a bind mount",
        ),
        (
            json!({"/mounts/2/options/2": "ro=recursive"}),
            "mounts[2].options[2]: \"ro=recursive\": this mount option takes no value",
        ),
        (
            json!({"/mounts/2/options/2": "copy-symlink",
                   "/linux/namespaces/4/path": "/proc/1/ns/mnt"}),
            "mounts[2].options[2]: \"copy-symlink\": is not possible in a mount namespace that is \
             joined by path",
        ),
        (
            json!({"/mounts/2/options/2": "sync"}),
            "mounts[2].options[2]: \"sync\": belongs to the file system, which this mount shares with \
             others of the host",
        ),
        (
            json!({"/mounts/0/type": "cgroup2", "/mounts/0/options": ["ro", "nsdelegate"]}),
            "mounts[0].options[1]: \"nsdelegate\": unknown option for a cgroup mount",
        ),
        (
            json!({"/mounts/0/type": "ramfs", "/mounts/0/options": ["size=1m"]}),
            "mounts[0].options[0]: \"size=1m\": unknown option for this type of file system, which \
             would ignore it",
        ),
        (
            json!({"/mounts/0/options": ["remount", "noiversion"]}),
            "mounts[0].options[1]: \"noiversion\": is not possible on a remount",
        ),
        (
            json!({"/mounts/0/options": ["tmpcopyup"]}),
            "mounts[0].options[0]: \"tmpcopyup\": is only possible on a tmpfs",
        ),
    ]);
    taken(&[
        json!({"/mounts/0/destination": format!("/{}", long(4094))}),
        json!({"/mounts/0/destination": "/a/../b"}),
        json!({"/mounts/1/options/4": "tmpcopyup"}),
        json!({"/mounts/2/type": "none", "/mounts/2/options": ["bind", "ro", "rw", "rslave"]}),
        json!({"/mounts/0/type": null, "/mounts/0/options": ["remount", "ro"]}),
        json!({"/mounts/0/options": ["remount", "hidepid=2", "sync"]}),
        json!({"/mounts/2/options/2": "silent"}),
        json!({"/mounts/0/type": "cgroup", "/mounts/0/options": ["rw", "noatime", "rprivate"]}),
        json!({"/mounts/1/options/4": "context=\"u:r:t:s0:c1,c2\""}),
    ]);
}

#[test]
fn idmapped_mounts() {
    let map = json!([{"containerID": 0, "hostID": 5, "size": 1}]);
    let mapped = |options: Value| {
        json!({"/mounts/2/options": options, "/mounts/2/uidMappings": map,
               "/mounts/2/gidMappings": map})
    };
    refused(&[
        (
            json!({"/mounts/2/options/2": "idmap"}),
            "mounts[2].options[2]: \"idmap\": needs uidMappings and gidMappings of the mount, or a \
             user namespace",
        ),
        (
            userns(json!({"/mounts/1/type": "cgroup", "/mounts/1/options": ["ridmap"]})),
            "mounts[1].options[0]: \"ridmap\": only a bind mount or a new file system can be \
             idmapped",
        ),
        (
            json!({"/mounts/1/options": ["remount"], "/mounts/1/uidMappings": map,
                   "/mounts/1/gidMappings": map}),
            "mounts[1].uidMappings: only a bind mount or a new file system can be idmapped",
        ),
        (
            json!({"/mounts/1/options": ["idmap"]}),
            "mounts[1].options[0]: \"idmap\": needs uidMappings and gidMappings of the mount, or a \
             user namespace",
        ),
        (
            mapped(json!(["bind", "idmap=uids=0-0-1"])),
            "mounts[2].options[1]: \"idmap=uids=0-0-1\": the mount has uidMappings and gidMappings \
             too; give one of the two",
        ),
        (
            json!({"/mounts/2/options/2": "idmap=uids=0-5-2#3-6-1"}),
            "mounts[2].options: idmap: uids[1].hostID: 6: the range of 1 ids overlaps that of entry 0",
        ),
        (
            json!({"/mounts/2/uidMappings": map}),
            "mounts[2].gidMappings: uidMappings and gidMappings must be given together",
        ),
        (
            json!({"/mounts/2/gidMappings": map}),
            "mounts[2].uidMappings: uidMappings and gidMappings must be given together",
        ),
        (
            json!({"/mounts/2/gidMappings": map, "/mounts/2/uidMappings":
                   [{"containerID": 0, "hostID": 5, "size": 0}]}),
            "mounts[2].uidMappings[0].size: 0: must be above 0",
        ),
    ]);
    taken(&[
        mapped(json!(["rbind", "ridmap"])),
        mapped(json!(["bind", "idmap"])),
        json!({"/mounts/1/uidMappings": map, "/mounts/1/gidMappings": map}),
        userns(json!({"/mounts/1/options": ["ridmap"]})),
        mapped(json!(["bind"])),
        userns(json!({"/mounts/2/options/2": "ridmap"})),
        userns(json!({"/mounts/2/options/2": "idmap=gids=@0-0-1"})),
        json!({"/mounts/2/options/2": "ridmap=uids=0-5-2#3-7-1;gids=0-0-1"}),
    ]);
}
