//! The server: one thread that waits for everything in one poll(2).

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::AsFd;
use std::os::unix::net::UnixListener;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal as Number;
use nix::sys::signalfd::SignalFd;
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use prost::Message;

use crate::calls::{Call, Then};
use crate::io::Io;
use crate::io::destination::Slots;
use crate::proto::events::{TaskExit, TaskOom};
use crate::proto::task::{DeleteResponse, WaitResponse};
use crate::server::connection::Connection;
use crate::server::publisher::Publisher;
use crate::service::no_container;
use crate::task::container::Container;
use crate::task::process::{Exit, Ticket};
use crate::task::rootfs;
use crate::wire::rpc::Failure;

/// How long Delete waits for output of processes that have outlived theirs.
const OUTPUT: Duration = Duration::from_secs(2);

/// How long output that was written before the end waits for a slow client after Delete.
const SLOW: Duration = Duration::from_secs(10);

/// How long the end of the shim waits for its last responses and events.
const LAST: Duration = Duration::from_secs(3);

pub struct Shim {
    pub namespace: String,
    pub containers: BTreeMap<String, Container>,
    pub calls: Vec<Call>,
    pub publisher: Publisher,
    pub slots: Slots,
    connections: BTreeMap<u64, Connection>,
    next_connection: u64,
    closing: Vec<Closing>,
    lingering: Vec<(Io, Instant)>,
    end: Option<Instant>,
}

/// A process that was deleted, whose output has not all been read.
struct Closing {
    ticket: Option<Ticket>,
    /// The container, if it was deleted with its init.
    container: Option<String>,
    response: DeleteResponse,
    io: Io,
    until: Instant,
}

/// What a descriptor belongs to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Source {
    Signals,
    Listener,
    Connection(u64),
    Publisher,
    Calls,
    Memory(String),
    /// The streams with this number in the order of [`Shim::streams`].
    Streams(usize),
}

impl Shim {
    pub fn new(namespace: String, publisher: Publisher, slots: Slots) -> Shim {
        Shim {
            namespace,
            containers: BTreeMap::new(),
            calls: Vec::new(),
            publisher,
            slots,
            connections: BTreeMap::new(),
            next_connection: 0,
            closing: Vec::new(),
            lingering: Vec::new(),
            end: None,
        }
    }

    /// Serves until Shutdown, or until a signal asks for the end.
    pub fn serve(&mut self, listener: &UnixListener, signals: &SignalFd) -> nix::Result<()> {
        while !self.has_ended() {
            let ready = self.poll(listener, signals)?;
            for (at, io) in self.streams_mut().enumerate() {
                if ready.contains(&Source::Streams(at)) {
                    io.run();
                }
            }
            for source in ready {
                match source {
                    Source::Signals => self.take_signals(signals)?,
                    Source::Listener => self.accept(listener),
                    Source::Connection(number) => self.read(number),
                    Source::Publisher | Source::Streams(_) => {}
                    Source::Calls => self.finish_calls(),
                    Source::Memory(id) => self.check_memory(&id),
                }
            }
            self.publisher.run();
            self.finish_closing();
            self.connections.retain(|_, connection| connection.write());
        }
        Ok(())
    }

    /// Waits for a descriptor or for the next deadline. Returns what is ready, output before the end
    /// of its process.
    fn poll(&self, listener: &UnixListener, signals: &SignalFd) -> nix::Result<BTreeSet<Source>> {
        let mut sources = vec![Source::Signals, Source::Listener];
        let mut waits =
            vec![(signals.as_fd(), PollFlags::POLLIN), (listener.as_fd(), PollFlags::POLLIN)];
        for (number, connection) in &self.connections {
            sources.push(Source::Connection(*number));
            waits.push(connection.awaits());
        }
        if let Some(wait) = self.publisher.awaits() {
            sources.push(Source::Publisher);
            waits.push(wait);
        }
        for fd in self.calls.iter().flat_map(|call| call.pending.descriptors()) {
            sources.push(Source::Calls);
            waits.push((fd, PollFlags::POLLIN));
        }
        for container in self.containers.values() {
            if let Some(oom) = &container.oom {
                sources.push(Source::Memory(container.id.clone()));
                waits.push((oom.as_fd(), PollFlags::from_bits_truncate(oom.events())));
            }
        }
        for (at, io) in self.streams().enumerate() {
            io.awaits(&mut waits);
            sources.resize(waits.len(), Source::Streams(at));
        }
        let mut fds: Vec<_> = waits.iter().map(|(fd, flags)| PollFd::new(*fd, *flags)).collect();
        match poll(&mut fds, self.timeout()) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
        let ready = fds.iter().zip(sources).filter(|(fd, _)| fd.any().unwrap_or(true));
        Ok(ready.map(|(_, source)| source).collect())
    }

    fn timeout(&self) -> PollTimeout {
        let closing = self.closing.iter().map(|closing| closing.until);
        let lingering = self.lingering.iter().map(|(_, until)| *until);
        let deadlines = closing.chain(lingering).chain(self.publisher.deadline()).chain(self.end);
        let Some(next) = deadlines.min() else { return PollTimeout::NONE };
        let left = next.saturating_duration_since(Instant::now()).as_micros().div_ceil(1000);
        PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
    }

    fn streams(&self) -> impl Iterator<Item = &Io> {
        let containers = self.containers.values().flat_map(Container::streams);
        let closing = self.closing.iter().map(|closing| &closing.io);
        containers.chain(closing).chain(self.lingering.iter().map(|(io, _)| io))
    }

    fn streams_mut(&mut self) -> impl Iterator<Item = &mut Io> {
        let containers = self.containers.values_mut().flat_map(Container::streams_mut);
        let closing = self.closing.iter_mut().map(|closing| &mut closing.io);
        containers.chain(closing).chain(self.lingering.iter_mut().map(|(io, _)| io))
    }

    fn accept(&mut self, listener: &UnixListener) {
        let accepted = listener.accept().and_then(|(stream, _)| Connection::new(stream));
        match accepted {
            Ok(connection) => {
                self.connections.insert(self.next_connection, connection);
                self.next_connection += 1;
                // A new containerd, which takes events again.
                self.publisher.hurry();
            }
            Err(error) => log::warn!("accept a connection: {error}"),
        }
    }

    fn read(&mut self, number: u64) {
        let Some(connection) = self.connections.get_mut(&number) else { return };
        match connection.read() {
            Some(requests) => {
                for (stream, request) in requests {
                    self.handle(Ticket { connection: number, stream }, request);
                }
            }
            None => drop(self.connections.remove(&number)),
        }
    }

    /// Answers a request. Its client may have hung up.
    pub fn respond(&mut self, ticket: Ticket, answer: Result<Vec<u8>, Failure>) {
        if let Err(failure) = &answer {
            log::debug!("{}", failure.message);
        }
        if let Some(connection) = self.connections.get_mut(&ticket.connection) {
            connection.respond(ticket.stream, answer);
        }
    }

    /// Tells the clients that wait for the end of a process.
    pub fn tell(&mut self, waiters: &[Ticket], exit: Exit) {
        for ticket in waiters {
            self.respond(*ticket, Ok(WaitResponse::from(exit).encode_to_vec()));
        }
    }

    pub fn container(&self, id: &str) -> Result<&Container, Failure> {
        self.containers.get(id).ok_or_else(no_container)
    }

    pub fn container_mut(&mut self, id: &str) -> Result<&mut Container, Failure> {
        self.containers.get_mut(id).ok_or_else(no_container)
    }

    fn take_signals(&mut self, signals: &SignalFd) -> nix::Result<()> {
        let end = [Number::SIGTERM, Number::SIGINT].map(|signal| signal as u32);
        while let Some(signal) = signals.read_signal()? {
            if end.contains(&signal.ssi_signo) {
                log::info!("ended by signal {}", signal.ssi_signo);
                self.end = Some(self.end.unwrap_or_else(|| Instant::now() + LAST));
            }
        }
        self.reap();
        Ok(())
    }

    /// Reports the processes that have ended, and reaps orphans of containers.
    pub fn reap(&mut self) {
        let ids: Vec<String> = self.containers.keys().cloned().collect();
        for id in ids {
            let Some(container) = self.containers.get_mut(&id) else { continue };
            let mut ended = Vec::new();
            // First those of execs, which end with init.
            for (name, exec) in &mut container.execs {
                if let Some(exit) = exec.task.reap() {
                    ended.push((name.clone(), exit));
                }
            }
            if let Some(exit) = container.init.reap() {
                ended.push((String::new(), exit));
            }
            for (exec, exit) in ended {
                self.report(&id, &exec, exit);
            }
        }
        self.reap_orphans();
    }

    fn report(&mut self, id: &str, exec: &str, exit: Exit) {
        self.check_memory(id);
        let Some(container) = self.containers.get_mut(id) else { return };
        let is_init = exec.is_empty();
        let alone = container.private_pid;
        if is_init {
            container.oom = None;
            container.paused = false;
        }
        let Ok(task) = container.task_mut(exec) else { return };
        let (pid, waiters) = (task.pid(), std::mem::take(&mut task.waiters));
        self.publisher.publish(&TaskExit {
            container_id: id.to_owned(),
            id: if is_init { id } else { exec }.to_owned(),
            pid,
            exit_status: exit.status,
            exited_at: Some(exit.at.into()),
        });
        self.tell(&waiters, exit);
        if is_init && !alone {
            // They would keep the output open, for which clients wait.
            let all = bulkhead::Operation::KillAll(bulkhead::Signal::KILL);
            if let Err(failure) = self.begin(None, id, all, Then::Kill) {
                log::warn!("{}", failure.message);
            }
        }
    }

    /// Reaps processes whose parents have ended. Not while an operation is in progress, which has
    /// children of its own that must not be taken away from it.
    fn reap_orphans(&mut self) {
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        while self.calls.is_empty() {
            let pid = match waitid(Id::All, flags) {
                Ok(WaitStatus::Exited(pid, _) | WaitStatus::Signaled(pid, ..)) => pid,
                _ => return,
            };
            if self.is_known(pid.as_raw().unsigned_abs()) {
                return;
            }
            if waitid(Id::Pid(pid), WaitPidFlag::WEXITED).is_err() {
                return;
            }
        }
    }

    /// Whether a process is reaped by its owner.
    fn is_known(&self, pid: u32) -> bool {
        let of = |container: &Container| {
            let mut tasks =
                std::iter::once(&container.init).chain(container.execs.values().map(|e| &e.task));
            tasks.any(|task| task.pid() == pid && task.exit().is_none())
        };
        self.containers.values().any(of) || self.streams().any(|io| io.logger() == Some(pid))
    }

    fn check_memory(&mut self, id: &str) {
        let Some(container) = self.containers.get_mut(id) else { return };
        let Some(oom) = &mut container.oom else { return };
        match oom.happened() {
            Ok(true) => self.publisher.publish(&TaskOom { container_id: id.to_owned() }),
            Ok(false) => {}
            Err(error) => {
                log::warn!("{error}");
                container.oom = None;
            }
        }
    }

    /// Removes a process that was deleted, and answers when its output has reached its destination.
    pub fn close(&mut self, ticket: Option<Ticket>, id: &str, exec: &str) -> Result<(), Failure> {
        self.reap();
        let task = match exec {
            "" => {
                let mut container = self.containers.remove(id).ok_or_else(no_container)?;
                rootfs::unmount(&container.rootfs());
                container.oom = None;
                container.init
            }
            exec => {
                let container = self.container_mut(id)?;
                container.task(exec)?;
                container.execs.remove(exec).ok_or_else(no_container)?.task
            }
        };
        let response = task.deleted();
        let mut io = task.io;
        io.end_input();
        io.run();
        let container = exec.is_empty().then(|| id.to_owned());
        let until = Instant::now() + OUTPUT;
        self.closing.push(Closing { ticket, container, response, io, until });
        Ok(())
    }

    fn finish_closing(&mut self) {
        let now = Instant::now();
        let mut at = 0;
        while let Some(closing) = self.closing.get_mut(at) {
            let done = closing.io.is_done();
            if !done && now < closing.until {
                at += 1;
                continue;
            }
            let Closing { ticket, container, response, mut io, .. } = self.closing.remove(at);
            if !done {
                io.abandon();
                self.lingering.push((io, now + SLOW));
            }
            if let Some(id) = container {
                self.publish_delete(&id, &response);
            }
            if let Some(ticket) = ticket {
                self.respond(ticket, Ok(response.encode_to_vec()));
            }
        }
        self.lingering.retain_mut(|(io, until)| !io.is_done() && now < *until);
    }

    /// Ends the shim, unless it has containers.
    pub fn shut_down(&mut self) {
        if self.containers.is_empty() && self.calls.is_empty() {
            self.end = Some(Instant::now() + LAST);
        }
    }

    /// Whether the shim was to end, and its last bytes are sent or take too long.
    fn has_ended(&self) -> bool {
        let Some(end) = self.end else { return false };
        let flushed = self.connections.values().all(Connection::is_flushed);
        let sent = flushed && self.publisher.is_empty() && self.closing.is_empty();
        let drained = self.lingering.iter().all(|(_, until)| *until < Instant::now());
        (sent && drained) || Instant::now() >= end.max(self.last_output())
    }

    fn last_output(&self) -> Instant {
        let lingering = self.lingering.iter().map(|(_, until)| *until).max();
        lingering.unwrap_or_else(Instant::now)
    }
}
