//! Containers made by hand, in the stored form that later versions must read: a `sleep` stands for
//! init.

use std::fs::{self, DirBuilder, File};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::Mutex;

use nix::fcntl::{Flock, FlockArg};
use nix::sys::stat::Mode;
use serde_json::{Value, json};

/// The FIFO on which init waits for `start`.
pub const START_FIFO: &str = "exec.fifo";

/// A state directory of its own, removed at the end.
pub struct Home {
    pub dir: tempfile::TempDir,
    inits: Mutex<Vec<File>>,
}

/// A child that is killed and waited for at the end.
pub struct Sleep(pub Child);

impl Sleep {
    pub fn new() -> Sleep {
        Sleep(Command::new("/bin/sleep").arg("1000").spawn().unwrap())
    }

    pub fn pid(&self) -> i32 {
        self.0.id().try_into().unwrap()
    }

    pub fn alive(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }

    /// Dead, but not waited for.
    pub fn make_zombie(&mut self) {
        self.0.kill().unwrap();
        crate::support::wait_until("a zombie", || start_time(self.pid()).is_none());
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// When a live process started: field 22 of proc_pid_stat(5).
pub fn start_time(pid: i32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = stat[stat.rfind(')')? + 1..].split_whitespace().collect();
    (!["Z", "X"].contains(&fields[0])).then(|| fields[19].parse().unwrap())
}

fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap().trim().to_owned()
}

/// The content of `state.json`.
pub fn state(name: &str, pid: i32) -> Value {
    json!({
        "version": 1,
        "id": name,
        "bundle": "/bundle",
        "rootfs": "/bundle/rootfs",
        "created": "2026-01-02T03:04:05.000000006Z",
        "owner": nix::unistd::geteuid().as_raw(),
        "pid": pid,
        "startTime": start_time(pid).unwrap_or(0),
        "bootId": boot_id(),
        "cgroup": {"mode": "none"},
        "privatePid": true,
        "annotations": {"k": "v"},
        "hasProcess": true,
        "rootless": false,
        "systemdCgroup": false,
        "config": {"ociVersion": "1.0.2"}
    })
}

/// The state of a container whose init has died, with a poststop hook.
pub fn stopped_with_hook(name: &str, script: &str) -> Value {
    let mut state = state(name, std::process::id().try_into().unwrap());
    // Another process has the pid of init by now.
    state["startTime"] = json!(state["startTime"].as_u64().unwrap() + 1);
    state["config"]["hooks"] =
        json!({"poststop": [{"path": "/bin/sh", "args": ["sh", "-c", script]}]});
    state
}

/// The directory of a container that is being created: the lock is free when this is dropped.
pub struct Reserved {
    path: PathBuf,
    _lock: Flock<File>,
}

impl Reserved {
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Ends as a create does that has failed and cleaned up.
    pub fn abandon(self) {
        fs::remove_dir_all(&self.path).unwrap();
    }
}

impl Home {
    pub fn new() -> Home {
        Home { dir: tempfile::tempdir().unwrap(), inits: Mutex::default() }
    }

    pub fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    /// Makes a directory with the mark of the runtime.
    fn make(&self, path: &Path) {
        if !path.exists() {
            DirBuilder::new().mode(0o700).create(path).unwrap();
            fs::set_permissions(path, fs::Permissions::from_mode(0o1700)).unwrap();
        }
    }

    pub fn create_root(&self) {
        self.make(&self.root());
    }

    pub fn reserve(&self, name: &str) -> Reserved {
        self.create_root();
        let path = self.root().join(name);
        self.make(&path);
        let lock = Flock::lock(File::open(&path).unwrap(), FlockArg::LockExclusiveNonblock);
        let intent = json!({
            "version": 1,
            "id": name,
            "bundle": "/bundle",
            "created": "2026-01-02T03:04:05.000000006Z",
            "cgroup": {"mode": "none"},
            "bootId": boot_id(),
        });
        write(&path.join("intent.json"), &intent);
        Reserved { path, _lock: lock.unwrap() }
    }

    /// Puts a created container, with its start FIFO, there.
    pub fn put(&self, state: &Value) -> PathBuf {
        let reserved = self.reserve(state["id"].as_str().unwrap());
        let path = reserved.path().to_owned();
        let fifo = path.join(START_FIFO);
        nix::unistd::mkfifo(&fifo, Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
        // As init holds it: a FIFO that nobody reads is a left-over.
        let init = File::options().read(true).write(true).open(fifo).unwrap();
        self.inits.lock().unwrap().push(init);
        write(&path.join("state.json"), state);
        fs::remove_file(path.join("intent.json")).unwrap();
        path
    }

    /// Puts a running container there.
    pub fn put_running(&self, state: &Value) -> PathBuf {
        let path = self.put(state);
        fs::remove_file(path.join(START_FIFO)).unwrap();
        path
    }

    pub fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.root()).unwrap();
        let mut names: Vec<_> =
            entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

fn write(path: &Path, content: &Value) {
    let mut options = File::options();
    let file = options.write(true).create_new(true).mode(0o600).open(path).unwrap();
    serde_json::to_writer(file, content).unwrap();
}
