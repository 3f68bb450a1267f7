//! Operations in progress: each runs in a worker of the library, and its request is answered when it
//! is done.

use bulkhead::{Operation, Pending, Process};
use prost::Message;

use crate::proto::events::{
    TaskCheckpointed, TaskDelete, TaskExecStarted, TaskPaused, TaskResumed, TaskStart,
};
use crate::proto::task::PidResponse;
use crate::shim::Shim;
use crate::task::container::{Container, Prepared};
use crate::task::process::{LOST, State, Ticket};
use crate::task::rootfs;
use crate::wire::rpc::{Code, Failure};

/// An operation in progress.
pub struct Call {
    pub pending: Pending,
    /// The request to answer; none for an operation of the shim's own.
    ticket: Option<Ticket>,
    id: String,
    then: Then,
}

/// What follows the operation.
pub enum Then {
    Create(Box<Prepared>),
    Start,
    Exec(String),
    Kill,
    Pause,
    Resume,
    Update,
    Checkpoint(String),
    Delete,
}

type Finished = Result<Option<Process>, bulkhead::Error>;

impl Call {
    /// Whether the operation creates the container `id`.
    pub fn creates(&self, id: &str) -> bool {
        matches!(self.then, Then::Create(_)) && self.id == id
    }
}

impl Shim {
    /// Starts an operation on a container.
    pub fn begin(
        &mut self,
        ticket: Option<Ticket>,
        id: &str,
        operation: Operation<'_>,
        then: Then,
    ) -> Result<(), Failure> {
        let runtime = match &then {
            Then::Create(prepared) => &prepared.container.runtime,
            _ => &self.container(id)?.runtime,
        };
        let pending = runtime.begin(id, operation)?;
        self.calls.push(Call { pending, ticket, id: id.to_owned(), then });
        Ok(())
    }

    /// Answers the requests whose operations are done.
    pub fn finish_calls(&mut self) {
        let mut at = 0;
        while let Some(call) = self.calls.get_mut(at) {
            let finished = match call.pending.try_wait() {
                Ok(None) => {
                    at += 1;
                    continue;
                }
                Ok(Some(process)) => Ok(process),
                Err(error) => Err(error),
            };
            let Call { ticket, id, then, .. } = self.calls.remove(at);
            let answer = self.finish(ticket, &id, then, finished).transpose();
            if let (Some(ticket), Some(answer)) = (ticket, answer) {
                self.respond(ticket, answer);
            }
            // Processes whose end was not to be seen before.
            self.reap();
        }
    }

    /// Does what follows an operation. Returns the response, or `None` if it comes later.
    fn finish(
        &mut self,
        ticket: Option<Ticket>,
        id: &str,
        then: Then,
        finished: Finished,
    ) -> Result<Option<Vec<u8>>, Failure> {
        match then {
            Then::Create(prepared) => return self.created(*prepared, finished).map(Some),
            Then::Start => return self.started(id, finished).map(Some),
            Then::Exec(exec) => return self.exec_started(id, &exec, finished).map(Some),
            Then::Delete => {
                finished.inspect_err(|_| self.allow_delete(id))?;
                self.close(ticket, id, "")?;
                return Ok(None);
            }
            Then::Kill => {
                finished.map_err(kill_failure)?;
            }
            Then::Pause => {
                finished?;
                self.container_mut(id)?.paused = true;
                self.publisher.publish(&TaskPaused { container_id: id.to_owned() });
            }
            Then::Resume => {
                finished?;
                self.container_mut(id)?.paused = false;
                self.publisher.publish(&TaskResumed { container_id: id.to_owned() });
            }
            Then::Update => drop(finished?),
            Then::Checkpoint(checkpoint) => {
                finished.map_err(|error| named("OCI runtime checkpoint failed", error))?;
                let container_id = id.to_owned();
                self.publisher.publish(&TaskCheckpointed { container_id, checkpoint });
            }
        }
        Ok(Some(Vec::new()))
    }

    fn created(&mut self, prepared: Prepared, finished: Finished) -> Result<Vec<u8>, Failure> {
        let Prepared { mut container, mut event, create } = prepared;
        drop(create);
        let connected = finished
            .map_err(|error| named("OCI runtime create failed", error))
            .and_then(|process| {
                container.init.process = process;
                container.init.io.connect()
            });
        if let Err(failure) = connected {
            rootfs::unmount(&container.rootfs());
            return Err(failure);
        }
        event.pid = container.init.pid();
        self.insert(container, &event);
        Ok(PidResponse { pid: event.pid }.encode_to_vec())
    }

    /// Adds a container that was created, or whose checkpoint Start restores.
    pub fn insert(&mut self, container: Container, event: &crate::proto::events::TaskCreate) {
        self.publisher.publish(event);
        self.containers.insert(container.id.clone(), container);
    }

    fn started(&mut self, id: &str, finished: Finished) -> Result<Vec<u8>, Failure> {
        let container = self.container_mut(id)?;
        // Its end may be known by now, which the reaper reports.
        container.init.state = State::Created;
        match finished {
            Err(error) => {
                let kind = if container.restore.is_some() { "restore" } else { "start" };
                if container.init.process.is_none() {
                    container.init.stop(LOST);
                }
                return Err(named(&format!("OCI runtime {kind} failed"), error));
            }
            Ok(None) => {}
            Ok(process) => {
                container.init.process = process;
                container.init.io.connect()?;
            }
        }
        container.restore = None;
        container.init.state = State::Running;
        container.oom = container.handle()?.watch_oom().unwrap_or_else(|error| {
            // A container that has ended at once has no cgroup to watch.
            log::debug!("{error}");
            None
        });
        let pid = container.init.pid();
        self.publisher.publish(&TaskStart { container_id: id.to_owned(), pid });
        Ok(PidResponse { pid }.encode_to_vec())
    }

    fn exec_started(
        &mut self,
        id: &str,
        exec: &str,
        finished: Finished,
    ) -> Result<Vec<u8>, Failure> {
        let task = self.container_mut(id)?.task_mut(exec)?;
        match finished {
            Ok(process) => task.process = process,
            Err(error) => {
                let exit = task.stop(LOST);
                let waiters = std::mem::take(&mut task.waiters);
                self.tell(&waiters, exit);
                return Err(named("OCI runtime exec failed", error));
            }
        }
        task.io.connect()?;
        task.state = State::Running;
        let pid = task.pid();
        self.publisher.publish(&TaskExecStarted {
            container_id: id.to_owned(),
            exec_id: exec.to_owned(),
            pid,
        });
        Ok(PidResponse { pid }.encode_to_vec())
    }

    /// After a failed Delete, the next may succeed.
    fn allow_delete(&mut self, id: &str) {
        if let Ok(container) = self.container_mut(id) {
            container.deleting = false;
        }
    }

    /// Publishes that a container was deleted.
    pub fn publish_delete(&mut self, id: &str, response: &crate::proto::task::DeleteResponse) {
        self.publisher.publish(&TaskDelete {
            container_id: id.to_owned(),
            pid: response.pid,
            exit_status: response.exit_status,
            exited_at: response.exited_at,
        });
    }
}

/// Returns the failure of an operation with the words that engines search for.
fn named(what: &str, error: bulkhead::Error) -> Failure {
    Failure::new(Code::Unknown, format!("{what}: {error}"))
}

/// Returns the failure of Kill: for a process that has ended, engines expect this text.
pub fn kill_failure(error: bulkhead::Error) -> Failure {
    let gone = error.kind() == bulkhead::Kind::State || error.raw_os_error() == Some(libc::ESRCH);
    match gone {
        true => Failure::new(Code::NotFound, "process already finished"),
        false => error.into(),
    }
}
