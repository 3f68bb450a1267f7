//! A bundle in a temporary directory: a busybox root file system and a configuration that a test
//! edits by JSON pointer.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};
use tempfile::TempDir;

/// The programs that the tests' scripts use.
const APPLETS: &[&str] = &[
    "[", "awk", "basename", "cat", "chmod", "chown", "cut", "date", "dd", "df", "dirname", "echo",
    "env", "false", "find", "free", "getopt", "grep", "head", "hostname", "id", "ifconfig", "ip",
    "kill", "ln", "ls", "mkdir", "mkfifo", "mknod", "mount", "mv", "nproc", "od", "ps", "pwd",
    "readlink", "rm", "rmdir", "sed", "seq", "setsid", "sh", "sleep", "sort", "stat", "stty",
    "tail", "tee", "test", "touch", "tr", "true", "truncate", "tty", "umount", "uname", "wc",
    "yes",
];

/// A bundle; its directory goes when it is dropped.
pub struct Bundle {
    dir: TempDir,
    name: String,
    /// What `config.json` will hold: see [`Bundle::write`].
    pub config: Value,
}

impl Bundle {
    /// A bundle of one's own with every directory and program that the tests need.
    pub fn new() -> Self {
        static SERIAL: AtomicU32 = AtomicU32::new(0);
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        let name = format!("bulkhead-test-{}-{serial}", std::process::id());
        let dir = tempfile::Builder::new()
            .prefix(&format!("{name}-"))
            .permissions(fs::Permissions::from_mode(0o755))
            .tempdir()
            .unwrap();
        make_rootfs(&dir.path().join("rootfs"));
        let config = default_config(&name);
        Bundle { dir, name, config }
    }

    /// The name that the container and its cgroup bear.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The bundle's directory.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// The root file system's directory.
    pub fn rootfs(&self) -> PathBuf {
        self.path().join("rootfs")
    }

    /// Sets the value at a JSON pointer, making the objects on the way.
    #[track_caller]
    pub fn set(&mut self, pointer: &str, value: Value) -> &mut Self {
        *self.slot(pointer) = value;
        self
    }

    /// Appends to the array at a JSON pointer, making it if there is none.
    #[track_caller]
    pub fn push(&mut self, pointer: &str, value: Value) -> &mut Self {
        let slot = self.slot(pointer);
        if slot.is_null() {
            *slot = json!([]);
        }
        slot.as_array_mut().expect(pointer).push(value);
        self
    }

    /// Removes what is at a JSON pointer (which ends in an object's key).
    #[track_caller]
    pub fn remove(&mut self, pointer: &str) -> &mut Self {
        let (parent, key) = pointer.rsplit_once('/').expect(pointer);
        let parent = self.config.pointer_mut(parent).expect(pointer);
        parent.as_object_mut().expect(pointer).remove(key).expect(pointer);
        self
    }

    fn slot(&mut self, pointer: &str) -> &mut Value {
        let mut at = &mut self.config;
        for key in pointer.split('/').skip(1) {
            let key = key.replace("~1", "/").replace("~0", "~");
            at = match at {
                Value::Array(items) => {
                    let index: usize = key.parse().expect(pointer);
                    items.get_mut(index).expect(pointer)
                }
                other => {
                    if other.is_null() {
                        *other = json!({});
                    }
                    other.as_object_mut().expect(pointer).entry(key).or_insert(Value::Null)
                }
            };
        }
        at
    }

    /// The arguments of the container's process.
    pub fn args(&mut self, args: &[&str]) -> &mut Self {
        self.set("/process/args", json!(args))
    }

    /// A shell script as the container's process.
    pub fn sh(&mut self, script: &str) -> &mut Self {
        self.args(&["/bin/sh", "-c", script])
    }

    /// Adds a mount.
    pub fn mount(&mut self, to: &str, kind: &str, from: &str, options: &[&str]) -> &mut Self {
        self.push(
            "/mounts",
            json!({"destination": to, "type": kind, "source": from, "options": options}),
        )
    }

    /// Adds a namespace, in place of one of the same type.
    pub fn namespace(&mut self, namespace: Value) -> &mut Self {
        let kind = namespace["type"].as_str().expect("a type").to_owned();
        self.without_namespace(&kind);
        self.push("/linux/namespaces", namespace)
    }

    /// Takes a namespace away: the container then shares its caller's.
    pub fn without_namespace(&mut self, kind: &str) -> &mut Self {
        let list = self.slot("/linux/namespaces").as_array_mut().expect("namespaces");
        list.retain(|namespace| namespace["type"] != kind);
        self
    }

    /// Adds a user namespace whose ids start at `outside` on the host.
    pub fn map_users(&mut self, outside: u32, size: u32) -> &mut Self {
        let map = json!([{"containerID": 0, "hostID": outside, "size": size}]);
        self.namespace(json!({"type": "user"}))
            .set("/linux/uidMappings", map.clone())
            .set("/linux/gidMappings", map)
    }

    /// Gives all five capability sets the same names, or none.
    pub fn capabilities(&mut self, names: &[&str]) -> &mut Self {
        for set in ["bounding", "effective", "permitted", "inheritable", "ambient"] {
            self.set(&format!("/process/capabilities/{set}"), json!(names));
        }
        self
    }

    /// Writes a file into the bundle's directory (not into the root file system).
    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    /// Writes an executable shell script of the host into the bundle's directory.
    pub fn script(&self, name: &str, text: &str) -> PathBuf {
        let path = self.file(name, &format!("#!/bin/sh\n{text}\n"));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    /// Writes `config.json`.
    pub fn write(&self) {
        self.file("config.json", &serde_json::to_string_pretty(&self.config).unwrap());
    }
}

fn make_rootfs(root: &Path) {
    for dir in ["bin", "dev", "etc", "mnt", "proc", "root", "sys", "tmp", "var"] {
        fs::create_dir_all(root.join(dir)).unwrap();
    }
    fs::set_permissions(root.join("tmp"), fs::Permissions::from_mode(0o1777)).unwrap();
    let busybox = ["/bin/busybox", "/usr/bin/busybox"]
        .iter()
        .find(|path| Path::new(path).exists())
        .expect("busybox is missing (Debian: busybox-static)");
    // A copy and no hard link: a container may write into its root file system.
    super::copy_program(busybox, root.join("bin/busybox"));
    for applet in APPLETS {
        symlink("busybox", root.join("bin").join(applet)).unwrap();
    }
    fs::write(
        root.join("etc/passwd"),
        "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/var:/bin/sh\n",
    )
    .unwrap();
    fs::write(root.join("etc/group"), "root:x:0:\nuser:x:1000:\n").unwrap();
}

fn default_config(name: &str) -> Value {
    let caps = json!(["CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_KILL", "CAP_MKNOD", "CAP_SETUID"]);
    json!({
        "ociVersion": "1.0.2",
        "process": {
            "terminal": false,
            "user": {"uid": 0, "gid": 0},
            "args": ["/bin/true"],
            "env": ["PATH=/bin", "TERM=dumb"],
            "cwd": "/",
            "capabilities": {
                "bounding": caps, "effective": caps, "permitted": caps,
                "inheritable": [], "ambient": []
            },
            "noNewPrivileges": true
        },
        "root": {"path": "rootfs", "readonly": false},
        "hostname": "inside",
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc",
             "options": ["nosuid", "noexec", "nodev"]},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
             "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
            {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
             "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]},
            {"destination": "/dev/shm", "type": "tmpfs", "source": "shm",
             "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]},
            {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue",
             "options": ["nosuid", "noexec", "nodev"]},
            {"destination": "/sys", "type": "sysfs", "source": "sysfs",
             "options": ["nosuid", "noexec", "nodev", "ro"]}
        ],
        "linux": {
            "cgroupsPath": super::kernel::cgroups_path(name),
            "resources": {"devices": [{"allow": false, "access": "rwm"}]},
            "namespaces": [
                {"type": "pid"}, {"type": "network"}, {"type": "ipc"}, {"type": "uts"},
                {"type": "mount"}, {"type": "cgroup"}
            ]
        }
    })
}
