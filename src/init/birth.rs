//! The process that becomes the container's program, where it is not the process that sets it up.
//!
//! **No process that a container can see holds anything of the host**: no root directory, mount
//! namespace or descriptor of the host, no environment of the runtime's caller, and no more
//! privileges than the container's own processes have. A process of the container with
//! CAP_SYS_PTRACE may open `/proc/PID/root`, `/proc/PID/fd/N` and `/proc/PID/mem` of every process
//! that it sees, dumpable or not, for as long as the two share a user namespace.
//!
//! What can be seen is decided by the pid namespace that a process is born in. So where a pid
//! namespace has other processes already (exec, and create with a pid namespace that is joined),
//! the process that the runtime clones stays outside of it. It enters everything else, takes on the
//! user's identity, closes what is the host's, and only then clones a sibling of itself into the
//! pid namespace, which is its children's alone (setns(2)): the sibling is born with what the
//! program will have, and executes it.
//!
//! The seccomp filter is in force before that, if it permits the few calls that remain; any other
//! filter is loaded by the sibling, first of all ([`crate::config::FilterPoint`]).

use std::sync::atomic::{AtomicI32, Ordering};

use nix::errno::Errno;

use crate::protocol::{decode_error, encode_error};
use crate::sys::shared::Shared;
use crate::{Context, Error, Result};

/// The process that executes the program, as seen from the process that sets everything up.
#[derive(Debug)]
pub(crate) enum Birth<'a> {
    /// The calling process itself, in a pid namespace of its own or in the runtime's.
    Here,
    /// A sibling, the container's init, which then waits for the runtime.
    Init,
    /// A sibling, the process of an exec, which executes the program at once. It has no descriptor
    /// to report through, so that none can be taken from it.
    Exec(&'a Report),
}

/// The result of the process of an exec: in memory that is shared with the runtime.
#[derive(Debug)]
pub(crate) struct Report(Shared);

/// Marks a complete report; follows the process id and the length of the error in the first page.
const TOLD: u8 = b't';

/// The step at which the sibling failed; the numbers are written to the memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i32)]
pub(crate) enum Step {
    Session = 1,
    Terminal,
    Limit,
    Filter,
    /// Set after a filter that needs them.
    Capabilities,
    Execute,
}

const STEPS: [(Step, &str); 6] = [
    (Step::Session, "setsid"),
    (Step::Terminal, "make the console the controlling terminal"),
    (Step::Limit, "process.rlimits: set RLIMIT_NPROC"),
    (Step::Filter, "load the seccomp filter"),
    (Step::Capabilities, "set the capabilities"),
    (Step::Execute, "exec"),
];

impl Report {
    pub fn new() -> Result<Report> {
        Shared::map().map(Report).context("map memory to share with the process")
    }

    /// Keeps the first page, which the runtime trusts, from the sibling that is cloned next.
    pub fn hide_from_sibling(&self) -> Result<()> {
        self.0.keep_first_from_children().context("keep shared memory from the process")
    }

    pub fn fail(&self, step: Step, errno: Errno) {
        let [place, number] = self.0.second();
        number.store(errno as i32, Ordering::Relaxed);
        place.store(step as i32, Ordering::Release);
    }

    /// Returns the failure of a sibling that has executed its program or is gone.
    pub fn failure(&self) -> Option<(Step, Errno)> {
        let [place, number] = self.0.second();
        let step = place.load(Ordering::Acquire);
        let (step, _) = STEPS.into_iter().find(|(known, _)| *known as i32 == step)?;
        Some((step, Errno::from_raw(number.load(Ordering::Relaxed))))
    }

    /// Returns the place where the kernel writes the process id of the sibling before that runs.
    pub fn born(&self) -> &AtomicI32 {
        self.0.last_of_first()
    }

    /// Reports, in the go-between, the id of the sibling (0: there is none) and its error.
    pub fn tell(&self, pid: i32, error: Option<&Error>) {
        let text = error.map(encode_error).unwrap_or_default();
        let length = (text.len() as u32).to_le_bytes();
        let bytes = pid.to_le_bytes().into_iter().chain(length).chain([TOLD]).chain(text);
        self.0.first().iter().zip(bytes).for_each(|(place, byte)| {
            place.store(byte, Ordering::Relaxed);
        });
    }

    /// Returns, in the runtime, the id of the sibling and its error once the go-between is gone;
    /// `None` if the go-between died before it could report.
    pub fn read(&self) -> Option<(i32, Result<()>)> {
        let mut bytes = self.0.first().iter().map(|byte| byte.load(Ordering::Relaxed));
        let mut number = || {
            let mut four = [0; 4];
            four.iter_mut().zip(&mut bytes).for_each(|(to, from)| *to = from);
            four
        };
        let pid = i32::from_le_bytes(number());
        let length = u32::from_le_bytes(number());
        if bytes.next() != Some(TOLD) {
            return None;
        }
        let text: Vec<u8> = bytes.take(usize::try_from(length).ok()?).collect();
        Some((pid, decode_error(&text).map_or(Ok(()), Err)))
    }
}

pub(crate) fn error_of(step: Step, errno: Errno) -> Error {
    let operation = STEPS.into_iter().find(|(known, _)| *known == step);
    Error::from(errno).context(operation.map_or("exec", |(_, operation)| operation))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Kind;

    #[test]
    fn a_report_is_read_as_it_was_told() {
        let report = Report::new().unwrap();
        assert!(report.read().is_none() && report.failure().is_none());
        report.fail(Step::Execute, Errno::ENOEXEC);
        assert_eq!(report.failure(), Some((Step::Execute, Errno::ENOEXEC)));
        report.tell(77, None);
        let (pid, error) = report.read().unwrap();
        assert!(pid == 77 && error.is_ok());
        let long = Error::new(Kind::Invalid, "x".repeat(10_000));
        report.tell(78, Some(&long));
        let (pid, error) = report.read().unwrap();
        assert_eq!((pid, error.unwrap_err().kind()), (78, Kind::Invalid));
    }
}
