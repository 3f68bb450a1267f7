//! Hand-made containers for the tests of state; a `sleep` takes the place of init.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::sync::Mutex;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::state::{
    Entry, Id, Intent, Origin, Reserved, START_FIFO, State, Store, VERSION, boot_id,
    process_start_time,
};
use nix::sys::stat::Mode;

/// The configuration of a container.
pub const CONFIG: &str = r#"{"ociVersion": "1.0.2"}"#;

/// A state directory of its own, removed at the end.
pub struct Home {
    pub dir: tempfile::TempDir,
    inits: Mutex<Vec<std::fs::File>>,
}

/// A child that is killed and waited for at the end.
pub struct Sleep(pub Child);

impl Sleep {
    pub fn new() -> Sleep {
        Sleep(Command::new("/bin/sleep").arg("1000").spawn().unwrap())
    }

    pub fn pid(&self) -> i32 {
        self.0.id() as i32
    }

    pub fn alive(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }

    /// Kills the child, but does not wait for it.
    pub fn make_zombie(&mut self) {
        self.0.kill().unwrap();
        while process_start_time(self.pid()).unwrap().is_some() {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub fn id(name: &str) -> Id {
    Id::new(name).unwrap()
}

pub fn intent(name: &str) -> Intent {
    Intent {
        version: VERSION,
        id: id(name),
        bundle: "/bundle".into(),
        created: UNIX_EPOCH + Duration::from_secs(1_700_000_000),
        cgroup: serde_json::from_str(r#"{"mode":"none"}"#).unwrap(),
        boot_id: boot_id().unwrap().to_owned(),
        intel_rdt: None,
    }
}

pub fn state(name: &str, pid: i32) -> State {
    State {
        version: VERSION,
        id: id(name),
        bundle: "/bundle".into(),
        rootfs: "/bundle/rootfs".into(),
        created: SystemTime::now(),
        owner: nix::unistd::geteuid().as_raw(),
        pid,
        start_time: process_start_time(pid).unwrap().unwrap_or(0),
        pidfd_inode: 0,
        boot_id: boot_id().unwrap().to_owned(),
        cgroup: serde_json::from_str(r#"{"mode":"none"}"#).unwrap(),
        intel_rdt: None,
        private_pid: true,
        annotations: BTreeMap::from([("k".to_owned(), "v".to_owned())]),
        has_process: true,
        has_hooks: true,
        own_mount: None,
        user_namespace: 0,
        keeps_clocks: false,
        keyring: None,
        rootless: false,
        systemd_cgroup: false,
        no_new_keyring: false,
        resources: None,
        config: None,
    }
}

impl Home {
    pub fn new() -> Home {
        Home { dir: tempfile::tempdir().unwrap(), inits: Mutex::default() }
    }

    pub fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    pub fn store(&self) -> Store {
        Store::open(&self.root(), Origin::Named).unwrap()
    }

    pub fn reserve(&self, name: &str) -> Reserved {
        self.reserve_with(name, CONFIG)
    }

    fn reserve_with(&self, name: &str, config: &str) -> Reserved {
        self.store().reserve(&id(name), &intent(name), config.into()).unwrap()
    }

    /// Writes a created container (with the start FIFO) whose state is `state`.
    pub fn put(&self, state: &State) -> PathBuf {
        self.put_with(state, CONFIG)
    }

    /// Writes a created container whose configuration is `config`.
    pub fn put_with(&self, state: &State, config: &str) -> PathBuf {
        let mut reserved = self.reserve_with(state.id.as_str(), config);
        let path = reserved.path().to_owned();
        let fifo = path.join(START_FIFO);
        nix::unistd::mkfifo(&fifo, Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
        // Held open as by init: a FIFO without a reader is a left-over.
        let init = std::fs::OpenOptions::new().read(true).write(true).open(fifo).unwrap();
        self.inits.lock().unwrap().push(init);
        reserved.commit(state).unwrap();
        reserved.keep();
        path
    }

    /// Writes a running container whose state is `state`.
    pub fn put_running(&self, state: &State) -> PathBuf {
        let path = self.put(state);
        std::fs::remove_file(path.join(START_FIFO)).unwrap();
        path
    }

    pub fn load(&self, name: &str) -> crate::Result<Entry> {
        self.store().load(&id(name))
    }

    pub fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.root()).unwrap();
        let mut names: Vec<_> =
            entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}
