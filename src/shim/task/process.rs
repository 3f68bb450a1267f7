//! A process of a container: its init, or that of an exec.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::SystemTime;

use bulkhead::Process;

use crate::io::{Io, Names};
use crate::proto::task::{DeleteResponse, Status, WaitResponse};

/// A request that is answered later: the connection, and the stream in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket {
    pub connection: u64,
    pub stream: u32,
}

/// How a process has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit {
    pub status: u32,
    pub at: SystemTime,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Created,
    /// A request to start it is in progress.
    Starting,
    Running,
    Stopped(Exit),
}

/// A process with its streams.
pub struct Task {
    pub names: Names,
    pub io: Io,
    pub state: State,
    /// The process; none before it was started.
    pub process: Option<Process>,
    /// The requests that wait for its end.
    pub waiters: Vec<Ticket>,
}

impl Task {
    pub fn new(names: Names, io: Io) -> Task {
        Task { names, io, state: State::Created, process: None, waiters: Vec::new() }
    }

    /// Returns the process id, 0 before the process was started.
    pub fn pid(&self) -> u32 {
        self.process.as_ref().map_or(0, Process::id)
    }

    pub fn exit(&self) -> Option<Exit> {
        match self.state {
            State::Stopped(exit) => Some(exit),
            _ => None,
        }
    }

    pub fn status(&self) -> Status {
        match self.state {
            State::Created | State::Starting => Status::Created,
            State::Running => Status::Running,
            State::Stopped(_) => Status::Stopped,
        }
    }

    /// Returns the exit if the process has just ended. The end of a process whose start is in progress
    /// is reported after it.
    pub fn reap(&mut self) -> Option<Exit> {
        if !matches!(self.state, State::Created | State::Running) {
            return None;
        }
        let status = match self.process.as_ref()?.try_wait() {
            Ok(None) => return None,
            Ok(Some(status)) => code(status),
            Err(error) => {
                log::error!("{error}");
                LOST
            }
        };
        Some(self.stop(status))
    }

    /// Records the end of the process.
    pub fn stop(&mut self, status: u32) -> Exit {
        let exit = Exit { status, at: SystemTime::now() };
        self.state = State::Stopped(exit);
        self.io.end_input();
        exit
    }

    /// Returns the response to Delete.
    pub fn deleted(&self) -> DeleteResponse {
        let exit = self.exit();
        DeleteResponse {
            pid: self.pid(),
            exit_status: exit.map_or(0, |exit| exit.status),
            exited_at: exit.map(|exit| exit.at.into()),
        }
    }
}

impl From<Exit> for WaitResponse {
    fn from(exit: Exit) -> WaitResponse {
        WaitResponse { exit_status: exit.status, exited_at: Some(exit.at.into()) }
    }
}

/// The exit status of a process that was never started, or whose status is not known.
pub const LOST: u32 = 255;

/// Returns the exit status as a shell shows it.
fn code(status: ExitStatus) -> u32 {
    let signal = || status.signal().map(|signal| 128 + signal);
    status.code().or_else(signal).and_then(|code| u32::try_from(code).ok()).unwrap_or(LOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_adds_128() {
        assert_eq!(code(ExitStatus::from_raw(3 << 8)), 3);
        assert_eq!(code(ExitStatus::from_raw(9)), 137);
    }
}
