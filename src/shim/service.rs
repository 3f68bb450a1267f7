//! The requests of the task service.

use bulkhead::{CgroupMode, CheckpointOptions, ExecOptions, Operation, Signal};
use prost::Message;

use crate::calls::{Then, kill_failure};
use crate::host;
use crate::io::destination::Owner;
use crate::io::{Io, Names};
use crate::proto::any::Any;
use crate::proto::events::TaskExecAdded;
use crate::proto::options::{self, ProcessDetails};
use crate::proto::task::*;
use crate::proto::{metrics_v1, metrics_v2};
use crate::shim::Shim;
use crate::task::container::{Exec, Prepared};
use crate::task::process::{State, Task, Ticket};
use crate::wire::rpc::{Code, Failure, Request};

/// The response now, or `None` if it comes later.
type Answer = Result<Option<Vec<u8>>, Failure>;

/// The services, whose messages are the same.
const SERVICES: [&str; 2] = ["containerd.task.v2.Task", "containerd.task.v3.Task"];

impl Shim {
    /// Handles a request.
    pub fn handle(&mut self, ticket: Ticket, request: Result<Request, Failure>) {
        let answer = request.and_then(|request| self.dispatch(ticket, &request)).transpose();
        if let Some(answer) = answer {
            self.respond(ticket, answer);
        }
    }

    fn dispatch(&mut self, ticket: Ticket, request: &Request) -> Answer {
        let Request { service, method, payload } = request;
        if !SERVICES.contains(&service.as_str()) {
            return Err(Failure::new(Code::Unimplemented, format!("service {service}")));
        }
        log::debug!("{method}");
        let payload = payload.as_slice();
        match method.as_str() {
            "Create" => self.create(ticket, decode(payload)?),
            "Start" => self.start(ticket, &decode(payload)?),
            "State" => self.state(&decode(payload)?),
            "Delete" => self.delete(ticket, &decode(payload)?),
            "Exec" => self.exec(decode(payload)?),
            "Wait" => self.wait(ticket, &decode(payload)?),
            "Kill" => self.kill(ticket, &decode(payload)?),
            "Pids" => self.pids(&decode(payload)?),
            "Stats" => self.stats(&decode(payload)?),
            "ResizePty" => self.resize(&decode(payload)?),
            "CloseIO" => self.close_io(&decode(payload)?),
            "Update" => self.update(ticket, &decode(payload)?),
            "Checkpoint" => self.checkpoint(ticket, &decode(payload)?),
            "Pause" => self.freeze(ticket, &decode(payload)?, Operation::Pause, Then::Pause),
            "Resume" => self.freeze(ticket, &decode(payload)?, Operation::Resume, Then::Resume),
            "Connect" => self.connect(&decode(payload)?),
            "Shutdown" => {
                self.shut_down();
                done()
            }
            _ => Err(Failure::new(Code::Unimplemented, format!("method {method}"))),
        }
    }

    fn create(&mut self, ticket: Ticket, request: CreateTaskRequest) -> Answer {
        let id = request.id.clone();
        if self.containers.contains_key(&id) || self.calls.iter().any(|call| call.creates(&id)) {
            return Err(Failure::new(Code::AlreadyExists, format!("container {id}")));
        }
        let mut prepared = Prepared::new(request, &self.namespace, &mut self.slots)?;
        if prepared.container.restore.is_some() {
            self.insert(prepared.container, &prepared.event);
            return Ok(Some(PidResponse::default().encode_to_vec()));
        }
        let create = std::mem::take(&mut prepared.create);
        let rootfs = prepared.container.rootfs();
        let then = Then::Create(Box::new(prepared));
        self.begin(Some(ticket), &id, Operation::Create(&create), then)
            .inspect_err(|_| crate::task::rootfs::unmount(&rootfs))?;
        Ok(None)
    }

    fn start(&mut self, ticket: Ticket, request: &ProcessRequest) -> Answer {
        let (id, exec) = (&request.id, &request.exec_id);
        let namespace = self.namespace.clone();
        let container = self.containers.get_mut(id).ok_or_else(no_container)?;
        let state = container.task(exec)?.state;
        if state != State::Created {
            let why = format!("cannot start a {} process", words(state));
            return Err(Failure::new(Code::FailedPrecondition, why));
        }
        if exec.is_empty() {
            container.init.state = State::Starting;
            let restore = container.restore.clone();
            let operation = restore.as_ref().map_or(Operation::Start, Operation::Restore);
            let begun = self.begin(Some(ticket), id, operation, Then::Start);
            return begun.map(|()| None);
        }
        if container.init.exit().is_some() {
            let why = format!("container {id} init process is not running");
            return Err(Failure::new(Code::FailedPrecondition, why));
        }
        let users = (container.options.io_uid, container.options.io_gid);
        let Some(Exec { task, process }) = container.execs.get_mut(exec) else {
            return Err(Failure::new(Code::NotFound, format!("process does not exist {exec}")));
        };
        let owner = Owner { namespace: &namespace, id };
        let (io, ends) = Io::open(&task.names, &owner, users, &mut self.slots)?;
        let mut options = ExecOptions::process_json(process.as_str());
        for (end, set) in [
            (ends.stdin, ExecOptions::stdin as fn(ExecOptions, _) -> _),
            (ends.stdout, ExecOptions::stdout),
            (ends.stderr, ExecOptions::stderr),
            (ends.console, ExecOptions::console),
        ] {
            if let Some(end) = end {
                options = set(options, end);
            }
        }
        (task.io, task.state) = (io, State::Starting);
        let then = Then::Exec(exec.clone());
        self.begin(Some(ticket), id, Operation::Exec(&options), then)?;
        Ok(None)
    }

    fn state(&mut self, request: &ProcessRequest) -> Answer {
        let container = self.container(&request.id)?;
        let task = container.task(&request.exec_id)?;
        let mut status = task.status();
        if container.paused && request.exec_id.is_empty() && status == Status::Running {
            status = Status::Paused;
        }
        let exit = task.exit();
        let id = if request.exec_id.is_empty() { &request.id } else { &request.exec_id };
        let response = StateResponse {
            id: id.clone(),
            bundle: container.bundle.to_string_lossy().into_owned(),
            pid: task.pid(),
            status: status as i32,
            stdin: task.names.stdin.clone(),
            stdout: task.names.stdout.clone(),
            stderr: task.names.stderr.clone(),
            terminal: task.names.terminal,
            exit_status: exit.map_or(0, |exit| exit.status),
            exited_at: exit.map(|exit| exit.at.into()),
            exec_id: request.exec_id.clone(),
        };
        Ok(Some(response.encode_to_vec()))
    }

    fn delete(&mut self, ticket: Ticket, request: &ProcessRequest) -> Answer {
        let (id, exec) = (&request.id, &request.exec_id);
        let container = self.container_mut(id)?;
        let state = container.task(exec)?.state;
        if matches!(state, State::Running | State::Starting) || container.deleting {
            let why = format!("cannot delete a {} process", words(state));
            return Err(Failure::new(Code::FailedPrecondition, why));
        }
        if !exec.is_empty() {
            self.close(Some(ticket), id, exec)?;
            return Ok(None);
        }
        container.deleting = true;
        // By force: a failed start and a checkpoint have deleted it, and a container that was not
        // started still has its init.
        self.begin(Some(ticket), id, Operation::DeleteByForce, Then::Delete)?;
        Ok(None)
    }

    fn exec(&mut self, request: ExecProcessRequest) -> Answer {
        let container = self.container_mut(&request.id)?;
        if container.execs.contains_key(&request.exec_id) || request.exec_id.is_empty() {
            return Err(Failure::new(Code::AlreadyExists, format!("id {}", request.exec_id)));
        }
        if container.init.exit().is_some() {
            let why = "cannot exec in a stopped state";
            return Err(Failure::new(Code::FailedPrecondition, why));
        }
        let spec = request.spec.unwrap_or_default();
        let invalid = |error| Failure::new(Code::InvalidArgument, format!("process: {error}"));
        let mut process: serde_json::Map<String, serde_json::Value> =
            serde_json::from_slice(&spec.value).map_err(invalid)?;
        process.insert("terminal".to_owned(), request.terminal.into());
        let names = Names {
            stdin: request.stdin,
            stdout: request.stdout,
            stderr: request.stderr,
            terminal: request.terminal,
        };
        let process = serde_json::to_string(&process).map_err(invalid)?;
        let exec = Exec { task: Task::new(names, Io::default()), process };
        container.execs.insert(request.exec_id.clone(), exec);
        let event = TaskExecAdded { container_id: request.id, exec_id: request.exec_id };
        self.publisher.publish(&event);
        done()
    }

    fn wait(&mut self, ticket: Ticket, request: &ProcessRequest) -> Answer {
        let task = self.container_mut(&request.id)?.task_mut(&request.exec_id)?;
        match task.exit() {
            Some(exit) => Ok(Some(WaitResponse::from(exit).encode_to_vec())),
            None => {
                task.waiters.push(ticket);
                Ok(None)
            }
        }
    }

    fn kill(&mut self, ticket: Ticket, request: &KillRequest) -> Answer {
        let id = &request.id;
        let container = self.container(id)?;
        let task = container.task(&request.exec_id)?;
        let signal = i32::try_from(request.signal).ok().and_then(Signal::from_number);
        let signal = signal.ok_or_else(|| {
            Failure::new(Code::InvalidArgument, format!("signal {}", request.signal))
        })?;
        let finished = || Failure::new(Code::NotFound, "process already finished");
        if !request.exec_id.is_empty() {
            if task.exit().is_some() {
                return Err(finished());
            }
            let created = || Failure::new(Code::FailedPrecondition, "process not created");
            let process = task.process.as_ref().ok_or_else(created)?;
            process.signal(signal).map_err(kill_failure)?;
            return done();
        }
        if task.exit().is_some() && !request.all {
            return Err(finished());
        }
        if request.all || !container.private_pid {
            let all = if request.all { Operation::KillAll } else { Operation::Kill };
            self.begin(Some(ticket), id, all(signal), Then::Kill)?;
            return Ok(None);
        }
        container.handle()?.kill(signal).map_err(kill_failure)?;
        done()
    }

    fn pids(&mut self, request: &ProcessRequest) -> Answer {
        let container = self.container(&request.id)?;
        let info = |pid: u32| {
            let exec = container.execs.iter().find(|(_, exec)| exec.task.pid() == pid);
            exec.map(|(id, _)| Any::pack(&ProcessDetails { exec_id: id.clone() }))
        };
        let pids = container.handle()?.processes()?;
        let processes = pids.into_iter().map(|pid| ProcessInfo { pid, info: info(pid) }).collect();
        Ok(Some(PidsResponse { processes }.encode_to_vec()))
    }

    fn stats(&mut self, request: &ProcessRequest) -> Answer {
        let stats = self.container(&request.id)?.handle()?.stats()?;
        let stats = match host::is_unified() {
            true => Any::pack(&metrics_v2::Metrics::from(&stats)),
            false => Any::pack(&metrics_v1::Metrics::from(&stats)),
        };
        Ok(Some(StatsResponse { stats: Some(stats) }.encode_to_vec()))
    }

    fn resize(&mut self, request: &ResizePtyRequest) -> Answer {
        let task = self.container(&request.id)?.task(&request.exec_id)?;
        let size = |cells: u32| u16::try_from(cells).unwrap_or(u16::MAX);
        task.io.resize(size(request.height), size(request.width))?;
        done()
    }

    fn close_io(&mut self, request: &CloseIoRequest) -> Answer {
        let task = self.container_mut(&request.id)?.task_mut(&request.exec_id)?;
        if request.stdin {
            task.io.close_input();
        }
        done()
    }

    fn update(&mut self, ticket: Ticket, request: &UpdateTaskRequest) -> Answer {
        let Some(resources) = &request.resources else { return done() };
        let invalid = |error| Failure::new(Code::InvalidArgument, format!("resources: {error}"));
        let text = std::str::from_utf8(&resources.value).map_err(invalid)?;
        self.begin(Some(ticket), &request.id, Operation::Update(text), Then::Update)?;
        Ok(None)
    }

    fn checkpoint(&mut self, ticket: Ticket, request: &CheckpointTaskRequest) -> Answer {
        let container = self.container(&request.id)?;
        let options = options::CheckpointOptions::read(request.options.as_ref())?;
        if !options.empty_namespaces.is_empty() {
            let why = "options: empty_namespaces are not supported by this shim";
            return Err(Failure::new(Code::InvalidArgument, why));
        }
        let path = match request.path.as_str() {
            "" => options.image_path.clone(),
            path => path.to_owned(),
        };
        let work = match options.work_path.as_str() {
            "" => container.options.criu_work_dir(&container.bundle),
            path => path.into(),
        };
        let checkpoint = CheckpointOptions::new(&path)
            .criu(container.options.criu())
            .work_dir(work)
            .leave_running(!options.exit)
            .tcp_established(options.open_tcp)
            .external_unix_sockets(options.external_unix_sockets)
            .shell_job(options.terminal)
            .file_locks(options.file_locks);
        let checkpoint = match options.cgroups_mode.as_str() {
            "" => checkpoint,
            mode => checkpoint.cgroup_mode(cgroup_mode(mode)?),
        };
        let then = Then::Checkpoint(path);
        self.begin(Some(ticket), &request.id, Operation::Checkpoint(&checkpoint), then)?;
        Ok(None)
    }

    fn freeze(
        &mut self,
        ticket: Ticket,
        request: &ProcessRequest,
        operation: Operation<'_>,
        then: Then,
    ) -> Answer {
        self.begin(Some(ticket), &request.id, operation, then)?;
        Ok(None)
    }

    fn connect(&mut self, request: &ProcessRequest) -> Answer {
        let task_pid = self.containers.get(&request.id).map_or(0, |found| found.init.pid());
        let response =
            ConnectResponse { shim_pid: std::process::id(), task_pid, version: String::new() };
        Ok(Some(response.encode_to_vec()))
    }
}

fn decode<M: Message + Default>(payload: &[u8]) -> Result<M, Failure> {
    M::decode(payload).map_err(|error| Failure::new(Code::InvalidArgument, error))
}

fn done() -> Answer {
    Ok(Some(Vec::new()))
}

fn cgroup_mode(name: &str) -> Result<CgroupMode, Failure> {
    Ok(match name {
        "soft" => CgroupMode::Soft,
        "full" => CgroupMode::Full,
        "strict" => CgroupMode::Strict,
        "ignore" => CgroupMode::Ignore,
        _ => {
            let why = format!("options: cgroups_mode: unknown mode {name:?}");
            return Err(Failure::new(Code::InvalidArgument, why));
        }
    })
}

fn words(state: State) -> &'static str {
    match state {
        State::Created => "created",
        State::Starting | State::Running => "running",
        State::Stopped(_) => "stopped",
    }
}

/// The failure of a request for a container that the shim does not have.
pub fn no_container() -> Failure {
    Failure::new(Code::NotFound, "container not created")
}
