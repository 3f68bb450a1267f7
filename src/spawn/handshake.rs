//! The exchange of messages with a process: what create and exec share.

use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::process::{PidfdGetfdFlags, pidfd_getfd};

use super::child::Parent;
use crate::config::Process;
use crate::fs::Proc;
use crate::protocol::{Socket, ToInit, ToParent};
use crate::seccomp::notify::{ProcessState, send_listener};
use crate::state::{self, OCI_VERSION, State, Status};
use crate::sys::clone::Child;
use crate::{Context, Error, Kind, Result};

/// A message that the plan makes due, once. `due` of create and of exec has the order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    Map,
    Pid,
    NetDevices,
    Offsets,
    Idmap,
    Hooks,
    Console,
    Listener,
    Ready,
}

impl Due {
    /// Returns the place of a message in the exchange; `None` for an error, which is due at any time.
    fn of(message: &ToParent) -> Option<Due> {
        match message {
            ToParent::NeedMap => Some(Due::Map),
            ToParent::Pid(_) => Some(Due::Pid),
            ToParent::NeedNetDevices => Some(Due::NetDevices),
            ToParent::NeedOffsets => Some(Due::Offsets),
            ToParent::NeedIdmap(..) => Some(Due::Idmap),
            ToParent::NeedHooks => Some(Due::Hooks),
            ToParent::Console(_) => Some(Due::Console),
            ToParent::SeccompFd(_) => Some(Due::Listener),
            ToParent::Ready { .. } => Some(Due::Ready),
            ToParent::Failed(_) => None,
        }
    }
}

/// The exchange with one process, from its clone until it is ready.
///
/// The runtime accepts the messages that the plan makes due, each once and in their order. A neighbour
/// with CAP_SYS_PTRACE in a shared pid namespace could otherwise have hooks run again, or connect the
/// caller's terminal to a terminal of its own, by messages in the name of the process.
pub(super) struct Handshake<'a> {
    pub parent: Parent<'a>,
    pub name: &'static str,
    pub process: Option<&'a Process>,
    pub state: &'a State,
    pub proc: &'a Proc,
    pub socket: &'a Socket,
    /// The process; replaced when it is a go-between that has cloned another.
    pub child: &'a mut Child,
    /// Whether `child` is the process of the program and will not be replaced.
    pub adopted: bool,
    pub due: std::vec::IntoIter<Due>,
    pub master: Option<OwnedFd>,
    /// A seccomp listener for a process that has no id yet.
    pub listener: Option<OwnedFd>,
}

impl Handshake<'_> {
    /// Sets the OOM score from outside, because only the runtime may have the right to lower it.
    pub fn set_oom_score(&self) -> Result<()> {
        let Some(score) = self.process.and_then(|process| process.oom_score_adj) else {
            return Ok(());
        };
        let path = format!("{}/oom_score_adj", self.child.pid);
        let written = self.proc.write(path, score.to_string().as_bytes());
        written.context("process.oomScoreAdj")
    }

    /// Sends a message. If the process has ended, returns the error that it reported, or else how
    /// it ended.
    pub fn tell(&self, message: ToInit) -> Result<()> {
        match self.socket.tell_init(message)? {
            true => Ok(()),
            false => Err(last_error(self.parent, self.socket, self.child, self.name)),
        }
    }

    /// Returns the next message that create or exec has to answer; handles those that both receive:
    /// the console, a seccomp listener, the end.
    pub fn receive(&mut self) -> Result<ToParent> {
        loop {
            // A go-between leaves a process behind that has its end of the socket, too: the end of
            // file does not mean that the go-between has ended.
            if self.due.as_slice().contains(&Due::Pid) {
                await_go_between(self.parent, self.socket, self.child)?;
            }
            let message = match self.socket.next()? {
                Some(ToParent::Failed(error)) => return Err(error),
                Some(message) if Due::of(&message) == self.due.next() => message,
                Some(_) => return Err(unexpected()),
                None => return Err(self.death()),
            };
            match message {
                ToParent::Console(master) => self.master = Some(master),
                ToParent::SeccompFd(fd) => self.take_listener(fd)?,
                message => return Ok(message),
            }
        }
    }

    pub fn replace_child(&mut self, pid: i32) -> Result<()> {
        self.parent.replace(self.child, pid)?;
        self.adopted = true;
        Ok(())
    }

    /// Takes the listener out of the process, because the filter may refuse the process every way
    /// to send it.
    fn take_listener(&mut self, fd: i32) -> Result<()> {
        let listener = pidfd_getfd(&self.child.pidfd, fd, PidfdGetfdFlags::empty())
            .context("take the seccomp listener from the container's process")?;
        if self.adopted {
            let pid = self.child.pid;
            self.send_listener(&listener, pid, (Status::Creating, pid))?;
        } else {
            self.listener = Some(listener);
        }
        self.tell(ToInit::SeccompTaken)
    }

    /// Sends a listener to its agent, for the process `pid` that executes the program. `container`:
    /// status of the container and process id of its init.
    pub fn send_listener(
        &self,
        listener: &OwnedFd,
        pid: i32,
        (status, init): (Status, i32),
    ) -> Result<()> {
        let Some((path, metadata)) = self.process.and_then(|process| process.listener.as_ref())
        else {
            return Err(Error::invalid_field("linux.seccomp.listenerPath", "missing"));
        };
        let document = serde_json::to_value(state::document(self.state, status, init))
            .map_err(|e| Error::new(Kind::System, e.to_string()))?;
        let message = ProcessState::new(OCI_VERSION, pid, metadata.clone(), document);
        send_listener(path, &message.to_json()?, listener.as_fd())
    }

    pub fn death(&self) -> Error {
        self.parent.death(self.child, self.name)
    }
}

/// Returns the error for a message out of turn: the process is broken, or no longer executes the
/// program of the runtime.
pub(super) fn unexpected() -> Error {
    Error::new(Kind::System, "unexpected message from the container's process")
}

/// Returns the error that a process reported before it ended, or else how it ended.
pub(super) fn last_error(
    parent: Parent<'_>,
    socket: &Socket,
    child: &Child,
    name: &'static str,
) -> Error {
    loop {
        match socket.next() {
            Ok(Some(ToParent::Failed(error))) | Err(error) => return error,
            Ok(Some(_)) => {}
            Ok(None) => return parent.death(child, name),
        }
    }
}

/// Waits for a message or for the end of the go-between.
pub(super) fn await_go_between(parent: Parent<'_>, socket: &Socket, child: &Child) -> Result<()> {
    let mut fds = [
        PollFd::new(socket.fd(), PollFlags::POLLIN),
        PollFd::new(child.pidfd.as_fd(), PollFlags::POLLIN),
    ];
    let mut timeout = PollTimeout::NONE;
    loop {
        match poll(&mut fds, timeout) {
            Ok(_) if fds[0].any().unwrap_or(true) => return Ok(()),
            // The last message may have arrived between the end and poll(2).
            Ok(_) if timeout == PollTimeout::NONE => timeout = PollTimeout::ZERO,
            Ok(_) => return Err(parent.death(child, INIT)),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(Error::from(errno).context("wait for init")),
        }
    }
}

pub(super) const INIT: &str = "container init";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol;
    use crate::state::test_support;

    /// Sends `messages` in the name of a process of which the messages `due` are due. Returns the answers.
    fn answers(due: &[Due], messages: Vec<ToParent>) -> Vec<Result<ToParent>> {
        let (own, other) = protocol::pair().unwrap();
        let count = messages.len();
        messages.iter().for_each(|message| other.tell_parent(message).unwrap());
        let state = test_support::state("c", std::process::id() as i32);
        let pid = std::process::id() as i32;
        let named = rustix::process::Pid::from_raw(pid).unwrap();
        let pidfd =
            rustix::process::pidfd_open(named, rustix::process::PidfdFlags::empty()).unwrap();
        let mut child = Child { pid, pidfd };
        let mut handshake = Handshake {
            parent: Parent::Caller,
            name: INIT,
            process: None,
            state: &state,
            proc: &Proc::open().unwrap(),
            socket: &own,
            child: &mut child,
            adopted: true,
            due: Vec::from(due).into_iter(),
            master: None,
            listener: None,
        };
        (0..count).map(|_| handshake.receive()).collect()
    }

    #[test]
    fn a_message_is_accepted_when_it_is_due() {
        let ready = || ToParent::Ready { user_namespace: 0 };
        let all = answers(
            &[Due::Map, Due::Hooks, Due::Ready],
            vec![ToParent::NeedMap, ToParent::NeedHooks, ready()],
        );
        assert!(all.iter().all(Result::is_ok), "{all:?}");
        let stdin = || std::io::stdin().as_fd().try_clone_to_owned().unwrap();
        for (due, messages) in [
            (&[Due::Ready][..], vec![ToParent::NeedHooks]),
            (&[Due::Hooks, Due::Ready], vec![ToParent::NeedHooks, ToParent::NeedHooks]),
            (&[Due::Hooks, Due::Ready], vec![ready()]),
            (&[Due::Map, Due::Pid, Due::Ready], vec![ToParent::Pid(1)]),
            (&[Due::Ready], vec![ToParent::Pid(1)]),
            (&[Due::Ready], vec![ToParent::Console(stdin())]),
            (&[Due::Ready], vec![ToParent::NeedIdmap(0, stdin())]),
            (&[Due::Ready], vec![ToParent::SeccompFd(0)]),
            (&[], vec![ready()]),
        ] {
            let last = answers(due, messages).pop().unwrap();
            let error = last.expect_err(&format!("{due:?}"));
            assert!(error.to_string().contains("unexpected message"), "{due:?}: {error}");
        }
        let failed = Error::new(Kind::Invalid, "no");
        let error = answers(&[Due::Map], vec![ToParent::Failed(failed)]).pop().unwrap();
        assert_eq!(error.unwrap_err().to_string(), "no");
    }
}
