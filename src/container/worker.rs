//! A worker: a short-lived process with one thread that runs one operation, and answers over a
//! socket.
//!
//! An operation that creates processes clones its own process, and a clone of a process with
//! threads can hang forever: it has a copy of one thread only, and a lock that another thread held
//! is never released. It also changes settings that all threads of a process share, such as the
//! umask. So [`super::Runtime`] runs the operation in a worker. The worker is a child of the
//! program, and so are the processes that it creates (CLONE_PARENT).

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;

use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::signal::SigSet;
use rustix::fs::{MemfdFlags, memfd_create};
use serde::{Deserialize, Serialize};

use super::create_options::CreateOptions;
use super::exec_options::ExecOptions;
use super::{create, delete, exec, run, start};
use crate::init::lifetime::close_but;
use crate::protocol::{MAX, decode_error, encode_error};
use crate::spawn::Parent;
use crate::state::{Id, Origin, Store};
use crate::sys::clone::Child;
use crate::sys::fdpass::send_with_fd;
use crate::sys::signal::{default_action, ignore, swap_mask};
use crate::terminal::signals::SignalGuard;
use crate::{Context, Error, Kind, Result, log};

/// A request to a worker.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Request {
    /// The state directory.
    pub root: PathBuf,
    /// The container.
    pub id: Id,
    /// The operation.
    pub verb: Verb,
}

/// An operation that a worker runs.
#[derive(Debug, Serialize, Deserialize)]
#[allow(missing_docs)]
pub(super) enum Verb {
    Create(Box<CreateOptions>),
    Run(Box<CreateOptions>),
    Start,
    Exec(Box<ExecOptions>),
    Delete { force: bool },
}

/// An encoded [`Request`]: JSON in an anonymous file, followed by the descriptors of the new
/// process.
#[derive(Debug)]
pub(super) struct Parcel {
    /// The request.
    pub text: OwnedFd,
    /// The descriptors, counted in `Header`.
    pub descriptors: Vec<Arc<OwnedFd>>,
}

/// The descriptors that come with a request.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
struct Header {
    standard: [bool; 3],
    preserved: u32,
}

impl Parcel {
    /// Encodes `request`.
    pub fn pack(request: &Request) -> Result<Parcel> {
        let sent = match &request.verb {
            Verb::Create(options) | Verb::Run(options) => Some(&options.descriptors),
            Verb::Exec(options) => Some(&options.descriptors),
            Verb::Start | Verb::Delete { .. } => None,
        };
        let sent = sent.cloned().unwrap_or_default();
        let header = Header {
            standard: sent.standard.each_ref().map(Option::is_some),
            preserved: u32::try_from(sent.preserved.len()).unwrap_or(u32::MAX),
        };
        let descriptors: Vec<_> =
            sent.standard.into_iter().flatten().chain(sent.preserved).collect();
        let pack = || -> Result<OwnedFd> {
            let text = serde_json::to_vec(&(header, request))
                .map_err(|e| Error::new(Kind::Invalid, e.to_string()))?;
            let mut file = File::from(memfd_create("request", MemfdFlags::CLOEXEC)?);
            file.write_all(&text)?;
            file.rewind()?;
            Ok(file.into())
        };
        Ok(Parcel { text: pack().context("send the request to a worker")?, descriptors })
    }
}

/// Puts a cloned process into a known state: no signal handlers of the program, and a session of
/// its own, so that it gets no signals from a terminal.
pub(super) fn leave_the_program() {
    for signal in 1..=64 {
        // SIGKILL and SIGSTOP always have their default action.
        let _ = default_action(signal);
    }
    // This cannot fail: a new process leads no process group.
    let _ = nix::unistd::setsid();
}

/// Runs the request in this process, which must be a clone for that purpose, and sends the answer
/// over `answer`. Returns the exit status of the worker.
pub(super) fn run(answer: OwnedFd, text: OwnedFd, descriptors: Vec<OwnedFd>) -> i32 {
    // A panic must not unwind into the clone's copy of the program.
    let work = std::panic::AssertUnwindSafe(|| {
        let (answer, result) = work(answer, text, descriptors);
        let sent = match result {
            Ok(child) => {
                let pid = child.as_ref().map_or(0, |child| child.pid);
                let message = [b"O", &pid.to_le_bytes()[..]].concat();
                let pidfd = child.as_ref().map(|child| child.pidfd.as_fd());
                send_with_fd(answer.as_fd(), &message, pidfd)
            }
            Err(error) => send_with_fd(answer.as_fd(), &encode_error(&error), None),
        };
        // If the program is gone, there is no receiver.
        i32::from(sent.is_err())
    });
    std::panic::catch_unwind(work).unwrap_or(101)
}

fn work(
    answer: OwnedFd,
    text: OwnedFd,
    descriptors: Vec<OwnedFd>,
) -> (OwnedFd, Result<Option<Child>>) {
    let read = || -> Result<(Header, Request)> {
        let mut bytes = Vec::new();
        File::from(text).read_to_end(&mut bytes)?;
        serde_json::from_slice(&bytes).map_err(|e| Error::new(Kind::System, e.to_string()))
    };
    let (header, request) = match read().context("read the request") {
        Ok(read) => read,
        Err(error) => return (answer, Err(error)),
    };
    match place(&answer, header, descriptors) {
        Ok(moved) => {
            // It is already closed.
            std::mem::forget(answer);
            let result = execute(request, header.preserved, &moved);
            (moved, result)
        }
        Err(error) => (answer, Err(error.context("pass descriptors to a worker"))),
    }
}

/// Moves the descriptors of the new process to their numbers and closes all others except `answer`.
/// Returns a copy of `answer`.
fn place(answer: &OwnedFd, header: Header, descriptors: Vec<OwnedFd>) -> Result<OwnedFd> {
    let first_free = header.preserved.saturating_add(3);
    let above = |fd: BorrowedFd<'_>| -> Result<OwnedFd> {
        let number = i32::try_from(first_free).unwrap_or(i32::MAX);
        Ok(rustix::io::fcntl_dupfd_cloexec(fd, number)?)
    };
    let moved = above(answer.as_fd())?;
    let mut copies = Vec::with_capacity(descriptors.len());
    for fd in &descriptors {
        copies.push(above(fd.as_fd())?);
    }
    // The whole range is closed.
    std::mem::forget(descriptors);
    let mut kept: Vec<_> = copies.iter().map(AsRawFd::as_raw_fd).collect();
    kept.push(moved.as_raw_fd());
    kept.sort_unstable();
    close_but(3, &kept)?;
    let mut copies = copies.into_iter();
    let to: [fn(BorrowedFd<'_>) -> nix::Result<()>; 3] = [
        |fd| nix::unistd::dup2_stdin(fd),
        |fd| nix::unistd::dup2_stdout(fd),
        |fd| nix::unistd::dup2_stderr(fd),
    ];
    for (given, copy_to) in header.standard.into_iter().zip(to) {
        if given && let Some(fd) = copies.next() {
            copy_to(fd.as_fd())?;
        }
    }
    crate::terminal::stdio::ensure_open()?;
    for fd in copies {
        // The lowest free number is the next from 3 on.
        let placed = fcntl(&fd, FcntlArg::F_DUPFD(3))?;
        debug_assert!(placed < i32::try_from(first_free).unwrap_or(i32::MAX));
    }
    Ok(moved)
}

fn execute(request: Request, preserved: u32, answer: &OwnedFd) -> Result<Option<Child>> {
    swap_mask(&SigSet::empty()).context("empty the signal mask")?;
    ignore(libc::SIGPIPE).context("ignore SIGPIPE")?;
    let warnings = answer.try_clone().context("copy the socket to the program")?;
    log::redirect(move |text| {
        let text = text.as_bytes();
        let text = text.get(..MAX - WARNING.len()).unwrap_or(text);
        let _ = send_with_fd(warnings.as_fd(), &[WARNING, text].concat(), None);
    });
    let Request { root, id, verb } = request;
    let store = Store::open(&root, Origin::Default)?;
    // If the program is gone, it has nothing to reap.
    let reap = |ended: OwnedFd| drop(send_with_fd(answer.as_fd(), ENDED, Some(ended.as_fd())));
    let parent = Parent::OfCaller(&reap);
    match verb {
        Verb::Create(mut options) => {
            options.preserve_fds = preserved;
            create::create(&store, &id, &options, parent).map(Some)
        }
        Verb::Run(mut options) => {
            options.preserve_fds = preserved;
            run::detached(&store, &id, &options, parent, SignalGuard::block()?).map(Some)
        }
        Verb::Exec(mut options) => {
            options.preserve_fds = preserved;
            exec::detached(&store, &id, &options, parent).map(Some)
        }
        Verb::Start => start::start(&store, &id, None).map(|()| None),
        Verb::Delete { force } => delete::delete(&store, &id, force).map(|()| None),
    }
}

/// A message to the program.
#[derive(Debug)]
pub(super) enum Answer {
    /// The worker has succeeded; with the process id of a new process, or 0.
    Done(i32),
    /// The worker has failed.
    Failed(Error),
    /// The worker was cloned; its pidfd comes with the message.
    Worker,
    /// A warning, for the program's logger.
    Warning(String),
    /// A process that the worker has created has ended, and the program must reap it; its pidfd
    /// comes with the message.
    Ended,
}

/// The message that the worker was cloned.
pub(super) const WORKER: &[u8] = b"W";

const ENDED: &[u8] = b"E";
const WARNING: &[u8] = b"!";

impl Answer {
    /// Parses a message.
    pub fn parse(bytes: &[u8]) -> Option<Answer> {
        match bytes {
            [b'O', pid @ ..] => {
                pid.try_into().ok().map(|pid| Answer::Done(i32::from_le_bytes(pid)))
            }
            [b'W'] => Some(Answer::Worker),
            [b'E'] => Some(Answer::Ended),
            [b'!', text @ ..] => Some(Answer::Warning(String::from_utf8_lossy(text).into_owned())),
            _ => decode_error(bytes).map(Answer::Failed),
        }
    }
}
