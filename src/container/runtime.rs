//! The handles that a program holds.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::create_options::CreateOptions;
use super::events::{self, Events};
use super::exec_options::ExecOptions;
use super::fork_server::{self, ForkServer};
use super::process::Process;
use super::run::Foreground;
use super::signal::Signal;
use super::worker::{Request, Verb};
use super::{create, delete, exec, kill, pause, ps, run, start, update};
use crate::cgroup::Stats;
use crate::config::Changes;
use crate::sd_notify;
use crate::spawn::Parent;
use crate::state::{Document, Entry, Id, Origin, Status, Store};
use crate::terminal::signals::SignalGuard;
use crate::terminal::supervise::Exit;
use crate::{Error, Kind, Result};

/// The containers of one state directory.
///
/// A container is created, started and deleted by a worker, a short-lived clone of the program,
/// and its processes are children of the program. A runtime prints nothing, reads no environment
/// variable and changes no setting of the program. Clones share the state directory.
#[derive(Debug, Clone)]
pub struct Runtime {
    store: Arc<Store>,
    executor: Executor,
}

/// Who runs the verbs that create processes.
#[derive(Debug, Clone)]
enum Executor {
    /// The calling process, which is the command line.
    Caller,
    /// A clone of the calling process.
    Clone,
    /// A clone of a fork server.
    Server(ForkServer),
}

impl Runtime {
    /// Opens the state directory `root` for a program with one thread. The first `create` makes
    /// the directory, with mode 0700.
    ///
    /// If the program has more than one thread, calls that create processes are an error: use
    /// [`Runtime::with_fork_server`].
    ///
    /// # Errors
    /// [`Kind::Invalid`] if `root` is `/` or no directory.
    pub fn open(root: impl AsRef<Path>) -> Result<Runtime> {
        let store = Arc::new(Store::open(root.as_ref(), Origin::Named)?);
        Ok(Runtime { store, executor: Executor::Clone })
    }

    /// Opens the state directory `root` for a program with any number of threads.
    ///
    /// # Errors
    /// As of [`Runtime::open`].
    pub fn with_fork_server(root: impl AsRef<Path>, server: &ForkServer) -> Result<Runtime> {
        let executor = Executor::Server(server.clone());
        Ok(Runtime { executor, ..Runtime::open(root)? })
    }

    /// For the command line, which has one thread and ends after one verb.
    pub(crate) fn in_this_process(store: Store) -> Runtime {
        Runtime { store: Arc::new(store), executor: Executor::Caller }
    }

    /// Creates the container `id`. Its init, which is returned, waits for [`Container::start`].
    ///
    /// # Errors
    /// [`Kind::State`] if the container exists; [`Kind::Invalid`] if the configuration is not
    /// valid. The container does not exist then.
    pub fn create(&self, id: &str, options: &CreateOptions) -> Result<Process> {
        let id = Id::new(id)?;
        let child = match &self.executor {
            Executor::Caller => create::create(&self.store, &id, options, Parent::Caller)?,
            _ => {
                let options = Box::new(options.clone().absolute()?);
                return self.started(self.call(id, Verb::Create(options))?);
            }
        };
        Ok(Process::new(child.pid, child.pidfd))
    }

    /// Creates and starts the container `id`, and returns its init, which executes the program.
    ///
    /// # Errors
    /// As of [`Runtime::create`] and [`Container::start`]. The container does not exist then.
    pub fn run(&self, id: &str, options: &CreateOptions) -> Result<Process> {
        let id = Id::new(id)?;
        let options = Box::new(options.clone().absolute()?);
        self.started(self.call(id, Verb::Run(options))?)
    }

    /// For the command line: [`run`](super::run::detached) in the calling process.
    pub(crate) fn run_detached(
        &self,
        id: &str,
        options: &CreateOptions,
        signals: SignalGuard,
    ) -> Result<Process> {
        let child = run::detached(&self.store, &Id::new(id)?, options, Parent::Caller, signals)?;
        Ok(Process::new(child.pid, child.pidfd))
    }

    /// For the command line: [`run`](super::run::in_foreground) in the calling process.
    pub(crate) fn run_in_foreground(
        &self,
        id: &str,
        options: &CreateOptions,
        foreground: Foreground,
        signals: SignalGuard,
    ) -> Result<Exit> {
        run::in_foreground(&self.store, &Id::new(id)?, options, foreground, signals)
    }

    /// Returns a handle of the container `id`, which need not exist: each method looks for it.
    ///
    /// # Errors
    /// [`Kind::Invalid`] if `id` is not the id of a container.
    pub fn container(&self, id: &str) -> Result<Container> {
        Ok(Container { runtime: self.clone(), id: Id::new(id)? })
    }

    /// Lists the containers by id. A container that cannot be read is left out, with a warning.
    pub fn containers(&self) -> Result<Vec<Container>> {
        let entries = match self.store.list() {
            Err(error) if error.errno() == Some(nix::errno::Errno::ENOENT) => Vec::new(),
            entries => entries?,
        };
        let handle = |entry: Entry| Container { runtime: self.clone(), id: entry.id().clone() };
        Ok(entries.into_iter().map(handle).collect())
    }

    /// The entries of all containers, for the command line.
    pub(crate) fn entries(&self) -> Result<Vec<Entry>> {
        self.store.list()
    }

    fn call(&self, id: Id, verb: Verb) -> Result<Option<Process>> {
        let request = Request { root: self.store.path().to_owned(), id, verb };
        match &self.executor {
            Executor::Server(server) => server.call(&request),
            Executor::Caller | Executor::Clone => fork_server::call_directly(&request),
        }
    }

    fn started(&self, process: Option<Process>) -> Result<Process> {
        process.ok_or_else(|| Error::new(Kind::System, "a worker returned no process"))
    }
}

/// A container of a [`Runtime`].
///
/// The handle holds no resource: the container stays when it is dropped.
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
        let json = self.with_document(|document| serde_json::to_string(document))?;
        json.map_err(|e| Error::new(Kind::System, e.to_string()))
    }

    /// Calls `read` with the OCI state.
    pub(crate) fn with_document<T>(&self, read: impl FnOnce(&Document<'_>) -> T) -> Result<T> {
        Ok(read(&self.load()?.document()?))
    }

    /// Has init execute the program of a created container. Returns when the program runs and the
    /// poststart hooks have run.
    ///
    /// # Errors
    /// [`Kind::State`] unless the container is created. If the program cannot be executed or a hook
    /// fails, the container is deleted.
    pub fn start(&self) -> Result<()> {
        self.start_notifying(None)
    }

    /// Like [`Container::start`]; with `host`, also waits until the program is ready.
    pub(crate) fn start_notifying(&self, host: Option<&sd_notify::Host>) -> Result<()> {
        match self.runtime.executor {
            Executor::Caller => start::start(&self.runtime.store, &self.id, host),
            _ => self.runtime.call(self.id.clone(), Verb::Start).map(drop),
        }
    }

    /// Starts another process in the container, and returns it when it has executed its program.
    ///
    /// # Errors
    /// [`Kind::State`] if the container is stopped or paused; [`Kind::Invalid`] if the process is
    /// not valid; the error of execve(2).
    pub fn exec(&self, options: &ExecOptions) -> Result<Process> {
        let child = match self.runtime.executor {
            Executor::Caller => {
                exec::detached(&self.runtime.store, &self.id, options, Parent::Caller)?
            }
            _ => {
                let options = Box::new(options.clone().absolute()?);
                let process = self.runtime.call(self.id.clone(), Verb::Exec(options))?;
                return self.runtime.started(process);
            }
        };
        Ok(Process::new(child.pid, child.pidfd))
    }

    /// For the command line: [`exec`](super::exec::in_foreground) in the calling process.
    pub(crate) fn exec_in_foreground(
        &self,
        options: &ExecOptions,
        signals: SignalGuard,
    ) -> Result<Exit> {
        exec::in_foreground(&self.runtime.store, &self.id, options, signals)
    }

    /// Sends a signal to init. [`Signal::KILL`] reaches the other processes of the container, too.
    ///
    /// # Errors
    /// [`Kind::State`] if the container is stopped.
    pub fn kill(&self, signal: Signal) -> Result<()> {
        kill::kill(&self.load()?, signal.number(), false)
    }

    /// Sends a signal to every process of the container, also to those that live on after init.
    pub fn kill_all(&self, signal: Signal) -> Result<()> {
        kill::kill(&self.load()?, signal.number(), true)
    }

    /// Freezes all processes. Returns when they are frozen.
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

    /// Changes limits. `resources` is JSON in the form of `linux.resources` in config.json; limits
    /// that it does not name stay as they are.
    ///
    /// # Errors
    /// [`Kind::State`] if the container is stopped; [`Kind::Invalid`] if a limit is not valid. All
    /// limits are as before then.
    pub fn update(&self, resources: &str) -> Result<()> {
        let mut warnings = Vec::new();
        let changes = Changes::parse(resources.as_bytes(), "resources", &mut warnings)?;
        warnings.iter().for_each(crate::log::warn);
        self.change(&changes)
    }

    /// Like [`Container::update`], for changes that were read already.
    pub(crate) fn change(&self, changes: &Changes) -> Result<()> {
        update::update(self.load()?, changes)
    }

    /// Returns the ids of all processes in the cgroups of the container, in ascending order.
    pub fn processes(&self) -> Result<Vec<u32>> {
        let pids = ps::processes(&self.load()?)?;
        Ok(pids.into_iter().map(i32::unsigned_abs).collect())
    }

    /// Returns what the container uses.
    ///
    /// # Errors
    /// [`Kind::State`] if the container is stopped.
    pub fn stats(&self) -> Result<Stats> {
        events::stats(&self.load()?)
    }

    /// Returns an iterator of events that ends with the container: statistics at every `interval`,
    /// and each time that the container runs out of memory.
    ///
    /// # Errors
    /// [`Kind::State`] if the container is stopped.
    pub fn events(&self, interval: Duration) -> Result<Events> {
        Events::open(&self.load()?, interval)
    }

    /// Deletes a stopped container: its remaining processes, its cgroup and its state. Runs the
    /// poststop hooks.
    ///
    /// # Errors
    /// [`Kind::State`] if the container is not stopped.
    pub fn delete(&self) -> Result<()> {
        self.delete_with(false)
    }

    /// Kills the container if it is not stopped, and deletes it. It is no error if it does not
    /// exist.
    pub fn delete_by_force(&self) -> Result<()> {
        self.delete_with(true)
    }

    /// [`Container::delete_by_force`] or [`Container::delete`].
    pub(crate) fn delete_with(&self, force: bool) -> Result<()> {
        match self.runtime.executor {
            Executor::Caller => delete::delete(&self.runtime.store, &self.id, force),
            _ => self.runtime.call(self.id.clone(), Verb::Delete { force }).map(drop),
        }
    }

    fn load(&self) -> Result<Entry> {
        self.runtime.store.load(&self.id)
    }
}
