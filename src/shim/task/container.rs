//! A container, and what the shim reads from its configuration.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bulkhead::{CgroupManager, CreateOptions, OomWatch, RestoreOptions, Runtime};
use serde::Deserialize;

use super::process::Task;
use super::record::{PID_FILE, Record};
use super::rootfs;
use crate::io::destination::{Owner, Slots};
use crate::io::{Ends, Io, Names};
use crate::proto::events::{TaskCreate, TaskIo};
use crate::proto::options::Options;
use crate::proto::task::CreateTaskRequest;
use crate::wire::rpc::{Code, Failure};

/// A container with its processes.
pub struct Container {
    pub id: String,
    pub bundle: PathBuf,
    pub runtime: Runtime,
    pub options: Options,
    pub init: Task,
    pub execs: BTreeMap<String, Exec>,
    pub paused: bool,
    pub oom: Option<OomWatch>,
    /// Whether the end of init is the end of the other processes.
    pub private_pid: bool,
    /// The checkpoint from which Start makes the container.
    pub restore: Option<RestoreOptions>,
    /// Whether Delete is in progress.
    pub deleting: bool,
}

/// A process that was added by Exec.
pub struct Exec {
    pub task: Task,
    /// The `process` object, as JSON.
    pub process: String,
}

/// A container before its creation, with the options of the operation.
pub struct Prepared {
    pub container: Container,
    pub create: CreateOptions,
    pub event: TaskCreate,
}

impl Prepared {
    /// Prepares a container: its options, the mounts of its root file system, and its streams.
    pub fn new(
        request: CreateTaskRequest,
        namespace: &str,
        slots: &mut Slots,
    ) -> Result<Prepared, Failure> {
        let bundle = PathBuf::from(&request.bundle);
        let options = Options::read(request.options.as_ref())?;
        let config = Config::read(&bundle)?;
        let record = Record::new(&options.root, namespace);
        let runtime = Runtime::open(&record.root)?;
        record.write(&bundle)?;
        let root = bundle.join("rootfs");
        rootfs::mount_all(&request.rootfs, &root)?;
        let names = Names {
            stdin: request.stdin,
            stdout: request.stdout,
            stderr: request.stderr,
            terminal: request.terminal,
        };
        let owner = Owner { namespace, id: &request.id };
        let opened = Io::open(&names, &owner, (options.io_uid, options.io_gid), slots);
        let (io, ends) = opened.inspect_err(|_| rootfs::unmount(&root))?;
        let create = create_options(&bundle, &options, ends);
        let restore = Some(&request.checkpoint)
            .filter(|images| !images.is_empty())
            .map(|images| RestoreOptions::new(images, create.clone()))
            .map(|restore| restore.work_dir(options.criu_work_dir(&bundle)))
            .map(|restore| restore.criu(options.criu()));
        let event = TaskCreate {
            container_id: request.id.clone(),
            bundle: request.bundle,
            rootfs: request.rootfs,
            io: Some(TaskIo {
                stdin: names.stdin.clone(),
                stdout: names.stdout.clone(),
                stderr: names.stderr.clone(),
                terminal: names.terminal,
            }),
            checkpoint: request.checkpoint,
            pid: 0,
        };
        let container = Container {
            id: request.id,
            runtime,
            options,
            init: Task::new(names, io),
            execs: BTreeMap::new(),
            paused: false,
            oom: None,
            private_pid: config.has_private_pid(),
            restore,
            deleting: false,
            bundle,
        };
        Ok(Prepared { container, create, event })
    }
}

fn create_options(bundle: &Path, options: &Options, ends: Ends) -> CreateOptions {
    let manager = match options.systemd_cgroup {
        true => CgroupManager::Systemd,
        false => CgroupManager::Cgroupfs,
    };
    let mut create = CreateOptions::new(bundle)
        .cgroup_manager(manager)
        .systemd_environment(std::env::vars_os())
        .no_pivot(options.no_pivot_root)
        .no_new_keyring(options.no_new_keyring)
        .pid_file(bundle.join(PID_FILE));
    let Ends { stdin, stdout, stderr, console } = ends;
    if let Some(fd) = stdin {
        create = create.stdin(fd);
    }
    if let Some(fd) = stdout {
        create = create.stdout(fd);
    }
    if let Some(fd) = stderr {
        create = create.stderr(fd);
    }
    match console {
        Some(fd) => create.console(fd),
        None => create,
    }
}

impl Container {
    /// Returns init, or the process of an exec.
    pub fn task(&self, exec: &str) -> Result<&Task, Failure> {
        match exec {
            "" => Ok(&self.init),
            id => self.execs.get(id).map(|exec| &exec.task).ok_or_else(|| no_process(id)),
        }
    }

    /// Returns init, or the process of an exec.
    pub fn task_mut(&mut self, exec: &str) -> Result<&mut Task, Failure> {
        match exec {
            "" => Ok(&mut self.init),
            id => self.execs.get_mut(id).map(|exec| &mut exec.task).ok_or_else(|| no_process(id)),
        }
    }

    /// Returns the library's handle.
    pub fn handle(&self) -> Result<bulkhead::Container, Failure> {
        Ok(self.runtime.container(&self.id)?)
    }

    /// Returns the directory of the root file system's mounts.
    pub fn rootfs(&self) -> PathBuf {
        self.bundle.join("rootfs")
    }

    /// Returns the streams of all processes.
    pub fn streams(&self) -> impl Iterator<Item = &Io> {
        std::iter::once(&self.init.io).chain(self.execs.values().map(|exec| &exec.task.io))
    }

    /// Returns the streams of all processes, in the same order.
    pub fn streams_mut(&mut self) -> impl Iterator<Item = &mut Io> {
        let execs = self.execs.values_mut().map(|exec| &mut exec.task.io);
        std::iter::once(&mut self.init.io).chain(execs)
    }
}

fn no_process(id: &str) -> Failure {
    Failure::new(Code::NotFound, format!("process does not exist {id}"))
}

/// The part of config.json that the shim needs.
#[derive(Deserialize)]
struct Config {
    #[serde(default)]
    linux: Option<Linux>,
}

#[derive(Deserialize)]
struct Linux {
    #[serde(default)]
    namespaces: Option<Vec<Namespace>>,
}

#[derive(Deserialize)]
struct Namespace {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    path: Option<String>,
}

impl Config {
    fn read(bundle: &Path) -> Result<Config, Failure> {
        let path = bundle.join("config.json");
        let told = |error: &dyn std::fmt::Display| {
            Failure::new(Code::Unknown, format!("{}: {error}", path.display()))
        };
        let text = std::fs::read(&path).map_err(|error| told(&error))?;
        serde_json::from_slice(&text).map_err(|error| told(&error))
    }

    /// Whether the container gets a pid namespace of its own.
    fn has_private_pid(&self) -> bool {
        let namespaces = self.linux.as_ref().and_then(|linux| linux.namespaces.as_deref());
        namespaces.unwrap_or_default().iter().any(|namespace| {
            namespace.kind == "pid" && namespace.path.as_ref().is_none_or(String::is_empty)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Config;

    #[test]
    fn a_joined_pid_namespace_is_not_private() {
        let config = |namespaces: &str| -> bool {
            let text = format!("{{\"linux\": {{\"namespaces\": {namespaces}}}}}");
            serde_json::from_str::<Config>(&text).unwrap().has_private_pid()
        };
        assert!(config(r#"[{"type": "mount"}, {"type": "pid"}]"#));
        assert!(!config(r#"[{"type": "pid", "path": "/proc/1/ns/pid"}]"#));
        assert!(!config("[]"));
        assert!(!serde_json::from_str::<Config>("{}").unwrap().has_private_pid());
    }
}
