//! The public handles of a runtime and of a container.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::create_options::CreateOptions;
use super::criu_options::{CheckpointOptions, RestoreOptions};
use super::descriptors::Descriptors;
use super::events::{self, Events};
use super::exec_options::ExecOptions;
use super::fork_server::{self, ForkServer};
use super::oom::OomWatch;
use super::operation::Operation;
use super::pending::Pending;
use super::process::Process;
use super::signal::Signal;
use super::worker::{Request, Verb};
use super::{kill, pause, ps, update};
use crate::cgroup::Stats;
use crate::state::{Entry, Id, Origin, Status, Store};
use crate::{Error, Kind, Result};

/// The containers of a state directory.
///
/// A container is created, started and deleted by a worker, a short-lived clone of the program; the
/// processes of the container are children of the program. A runtime prints nothing, reads no
/// environment variable and changes no setting of the program. Clones share the state directory.
#[derive(Debug, Clone)]
pub struct Runtime {
    store: Arc<Store>,
    /// The process of which workers are clones; without it, they are clones of the calling process.
    server: Option<ForkServer>,
}

impl Runtime {
    /// Opens the state directory `root` for a program with one thread. The first `create` creates
    /// the directory, with mode 0700.
    ///
    /// If the program has more than one thread, calls that create processes are an error: use
    /// [`Runtime::with_fork_server`].
    ///
    /// # Errors
    /// [`Kind::Invalid`] if `root` is `/` or not a directory.
    pub fn open(root: impl AsRef<Path>) -> Result<Runtime> {
        let store = Arc::new(Store::open(root.as_ref(), Origin::Named)?);
        Ok(Runtime { store, server: None })
    }

    /// Opens the state directory `root` for a program with any number of threads.
    ///
    /// # Errors
    /// As for [`Runtime::open`].
    pub fn with_fork_server(root: impl AsRef<Path>, server: &ForkServer) -> Result<Runtime> {
        Ok(Runtime { server: Some(server.clone()), ..Runtime::open(root)? })
    }

    /// Creates the container `id`. Returns its init, which waits for [`Container::start`].
    ///
    /// # Errors
    /// [`Kind::State`] if the container exists; [`Kind::Invalid`] if the configuration is invalid.
    /// After an error, nothing has been created.
    pub fn create(&self, id: &str, options: &CreateOptions) -> Result<Process> {
        self.spawn(id, Operation::Create(options))
    }

    /// Creates and starts the container `id`. Returns its init, which has executed the program.
    ///
    /// # Errors
    /// As for [`Runtime::create`] and [`Container::start`]. After an error, nothing has been
    /// created.
    pub fn run(&self, id: &str, options: &CreateOptions) -> Result<Process> {
        let verb = Verb::Run(Box::new(options.absolute()?));
        started(self.start_worker(Id::new(id)?, verb, &options.descriptors)?.wait()?)
    }

    /// Restores the container `id` from the images of a checkpoint. Returns its init, which runs.
    ///
    /// # Errors
    /// As for [`Runtime::create`]; [`Kind::System`] if CRIU fails.
    pub fn restore(&self, id: &str, options: &RestoreOptions) -> Result<Process> {
        self.spawn(id, Operation::Restore(options))
    }

    /// Returns a handle on the container `id`. The container need not exist: each method looks it
    /// up.
    ///
    /// # Errors
    /// [`Kind::Invalid`] if `id` is not a valid container id.
    pub fn container(&self, id: &str) -> Result<Container> {
        Ok(Container { runtime: self.clone(), id: Id::new(id)? })
    }

    /// Returns the containers, sorted by id. Leaves out, with a warning, containers that cannot be
    /// read.
    pub fn containers(&self) -> Result<Vec<Container>> {
        let handle = |entry: Entry| Container { runtime: self.clone(), id: entry.id().clone() };
        match self.store.list() {
            Err(error) if error.errno() == Some(nix::errno::Errno::ENOENT) => Ok(Vec::new()),
            entries => Ok(entries?.map(handle).collect()),
        }
    }

    /// Starts an operation on the container `id`, and returns before it is done: for a program
    /// that must not wait, such as a server with one thread. Until the operation is done, the program
    /// must reap neither the worker nor a process of the container.
    ///
    /// # Errors
    /// An operation cannot be started; the errors of the operation itself come with its result.
    pub fn begin(&self, id: &str, operation: Operation<'_>) -> Result<Pending> {
        self.begin_on(Id::new(id)?, operation)
    }

    fn begin_on(&self, id: Id, operation: Operation<'_>) -> Result<Pending> {
        let (verb, descriptors) = operation.verb()?;
        self.start_worker(id, verb, &descriptors)
    }

    fn start_worker(&self, id: Id, verb: Verb, descriptors: &Descriptors) -> Result<Pending> {
        let request = Request::new(self.store.path().to_owned(), id, verb, descriptors);
        match &self.server {
            Some(server) => server.begin(&request, descriptors),
            None => fork_server::begin_directly(&request, descriptors),
        }
    }

    fn spawn(&self, id: &str, operation: Operation<'_>) -> Result<Process> {
        started(self.begin(id, operation)?.wait()?)
    }
}

fn started(process: Option<Process>) -> Result<Process> {
    process.ok_or_else(|| Error::new(Kind::System, "a worker returned no process"))
}

/// A container of a [`Runtime`].
///
/// The handle owns no resource: dropping it does not affect the container.
#[derive(Debug, Clone)]
pub struct Container {
    runtime: Runtime,
    id: Id,
}

/// Every method returns an error of [`Kind::NotFound`] if the container does not exist.
impl Container {
    /// Returns the id.
    pub fn id(&self) -> &str {
        self.id.as_str()
    }

    /// Returns the status, derived from the live process.
    pub fn status(&self) -> Result<Status> {
        self.load()?.status()
    }

    /// Returns the OCI state as JSON (OCI runtime specification, "State").
    pub fn state_json(&self) -> Result<String> {
        let json = serde_json::to_string(&self.load()?.document()?);
        json.map_err(|e| Error::new(Kind::System, e.to_string()))
    }

    /// Makes init execute the program of a created container. Returns when the program runs and the
    /// poststart hooks have run.
    ///
    /// # Errors
    /// [`Kind::State`] unless the container is created. If the program cannot be executed or a hook
    /// fails, the container is deleted.
    pub fn start(&self) -> Result<()> {
        self.call(Operation::Start)
    }

    /// Saves the container in images from which it can be restored, with CRIU. The container is deleted
    /// afterwards, unless the options let it run on.
    ///
    /// # Errors
    /// [`Kind::State`] unless the container is running or paused; [`Kind::System`] if CRIU fails. The
    /// container then runs on.
    pub fn checkpoint(&self, options: &CheckpointOptions) -> Result<()> {
        self.call(Operation::Checkpoint(options))
    }

    /// Starts another process in the container. Returns the process when it has executed its
    /// program.
    ///
    /// # Errors
    /// [`Kind::State`] if the container is stopped or paused; [`Kind::Invalid`] if the process is
    /// invalid; the error of execve(2).
    pub fn exec(&self, options: &ExecOptions) -> Result<Process> {
        started(self.runtime.begin_on(self.id.clone(), Operation::Exec(options))?.wait()?)
    }

    /// Sends a signal to init. [`Signal::KILL`] also reaches the other processes of the container.
    ///
    /// # Errors
    /// [`Kind::State`] if the container is stopped.
    pub fn kill(&self, signal: Signal) -> Result<()> {
        kill::kill(&self.load()?, signal.number(), false)
    }

    /// Sends a signal to every process of the container, including those that have outlived init.
    pub fn kill_all(&self, signal: Signal) -> Result<()> {
        kill::kill(&self.load()?, signal.number(), true)
    }

    /// Freezes all processes, and waits until they are frozen.
    ///
    /// # Errors
    /// [`Kind::State`] unless the container is created or running.
    pub fn pause(&self) -> Result<()> {
        pause::pause(&mut self.load()?)
    }

    /// Thaws all processes.
    ///
    /// # Errors
    /// [`Kind::State`] unless the container is paused.
    pub fn resume(&self) -> Result<()> {
        pause::resume(&mut self.load()?)
    }

    /// Changes limits. `resources` is JSON in the format of `linux.resources` in config.json.
    /// Limits that it does not contain are not changed.
    ///
    /// # Errors
    /// [`Kind::State`] if the container is stopped; [`Kind::Invalid`] if a limit is invalid. After
    /// an error, no limit has changed.
    pub fn update(&self, resources: &str) -> Result<()> {
        update::update_from_json(self.load()?, resources)
    }

    /// Returns the ids of all processes in the cgroups of the container, in ascending order.
    pub fn processes(&self) -> Result<Vec<u32>> {
        let pids = ps::processes(&self.load()?)?;
        Ok(pids.into_iter().map(i32::unsigned_abs).collect())
    }

    /// Returns the resource usage of the container.
    ///
    /// # Errors
    /// [`Kind::State`] if the container is stopped.
    pub fn stats(&self) -> Result<Stats> {
        events::stats(&self.load()?)
    }

    /// Returns an iterator of events that ends with the container: the resource usage at every
    /// `interval`, and an event whenever the container runs out of memory.
    ///
    /// # Errors
    /// [`Kind::State`] if the container is stopped.
    pub fn events(&self, interval: Duration) -> Result<Events> {
        Events::open(&self.load()?, interval)
    }

    /// Starts to watch a live container for a lack of memory; `None` if no controller counts its
    /// memory.
    ///
    /// # Errors
    /// [`Kind::State`] if the container is stopped.
    pub fn watch_oom(&self) -> Result<Option<OomWatch>> {
        OomWatch::open(&self.load()?)
    }

    /// Deletes a stopped container: its remaining processes, its cgroup and its state. Runs the
    /// poststop hooks.
    ///
    /// # Errors
    /// [`Kind::State`] if the container is not stopped.
    pub fn delete(&self) -> Result<()> {
        self.call(Operation::Delete)
    }

    /// Kills the container if it is not stopped, and deletes it. A container that does not exist is
    /// no error.
    pub fn delete_by_force(&self) -> Result<()> {
        self.call(Operation::DeleteByForce)
    }

    fn call(&self, operation: Operation<'_>) -> Result<()> {
        self.runtime.begin_on(self.id.clone(), operation)?.wait().map(drop)
    }

    fn load(&self) -> Result<Entry> {
        self.runtime.store.load(&self.id)
    }
}
