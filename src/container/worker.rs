//! A worker: a short-lived process with one thread that runs one operation, and answers over a
//! socket. [`crate::spawn`] tells why a program with threads cannot run the operation itself. The
//! worker is a child of the program, and so are the processes that it creates (CLONE_PARENT).

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;

use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::signal::SigSet;
use rustix::fs::{MemfdFlags, memfd_create};
use serde::{Deserialize, Serialize};

use super::criu_options::CheckpointOptions;
use super::descriptors::Descriptors;
use super::{checkpoint, create, delete, exec, kill, pause, restore, run, start, update};
use crate::checkpoint::Settings;
use crate::init::lifetime::close_but;
use crate::protocol::{MAX, decode_error, encode_error};
use crate::spawn::Parent;
use crate::spawn::create::Options as CreateOptions;
use crate::spawn::exec::Options as ExecOptions;
use crate::state::{Id, Origin, Store};
use crate::sys::clone::Child;
use crate::sys::fdpass::send_with_fd;
use crate::sys::signal::{default_action, ignore, swap_mask};
use crate::terminal::signals::SignalGuard;
use crate::terminal::stdio;
use crate::{Context, Error, Kind, Result, log};

/// A request to a worker. The descriptors of the new process come with it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Request {
    /// The state directory.
    root: PathBuf,
    /// The container.
    id: Id,
    verb: Verb,
    /// Whether standard input, output and error are among the descriptors.
    standard: [bool; 3],
    /// Whether the last descriptor is the socket that receives the master of the terminal.
    console: bool,
}

/// An operation that a worker runs.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Verb {
    Create(Box<CreateOptions>),
    Run(Box<CreateOptions>),
    Start,
    Exec(Box<ExecOptions>),
    Delete { force: bool },
    Kill { signal: i32, all: bool },
    Pause,
    Resume,
    Update { resources: String },
    Checkpoint(Box<CheckpointOptions>),
    Restore(Box<(CreateOptions, Settings)>),
}

impl Request {
    pub fn new(root: PathBuf, id: Id, verb: Verb, descriptors: &Descriptors) -> Request {
        let standard = descriptors.standard.each_ref().map(Option::is_some);
        Request { root, id, verb, standard, console: descriptors.console.is_some() }
    }

    /// Encodes the request as JSON in an anonymous file.
    pub fn pack(&self) -> Result<OwnedFd> {
        let pack = || -> Result<OwnedFd> {
            let text =
                serde_json::to_vec(self).map_err(|e| Error::new(Kind::Invalid, e.to_string()))?;
            let mut file = File::from(memfd_create("request", MemfdFlags::CLOEXEC)?);
            file.write_all(&text)?;
            file.rewind()?;
            Ok(file.into())
        };
        pack().context("send the request to a worker")
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
/// over `answer`, which it closes like all other descriptors. Returns the exit status.
pub(super) fn run(answer: &OwnedFd, text: OwnedFd, descriptors: Vec<OwnedFd>) -> i32 {
    // A panic must not unwind into the clone's copy of the program.
    let work = std::panic::AssertUnwindSafe(|| {
        let request = read(text).context("read the request");
        let placed = request.and_then(|request| {
            let placed = place(answer, &request, descriptors);
            Ok((placed.context("pass descriptors to a worker")?, request))
        });
        let sent = match placed {
            Ok((Placed { answer, console }, request)) => {
                tell(&answer, execute(request, &answer, console))
            }
            Err(error) => tell(answer, Err(error)),
        };
        // If the program is gone, there is no receiver.
        i32::from(sent.is_err())
    });
    std::panic::catch_unwind(work).unwrap_or(101)
}

fn read(text: OwnedFd) -> Result<Request> {
    let mut bytes = Vec::new();
    File::from(text).read_to_end(&mut bytes)?;
    serde_json::from_slice(&bytes).map_err(|e| Error::new(Kind::System, e.to_string()))
}

fn tell(answer: &OwnedFd, result: Result<Option<Child>>) -> Result<()> {
    let (message, child) = match result {
        Ok(child) => {
            let pid = child.as_ref().map_or(0, |child| child.pid);
            ([b"O", &pid.to_le_bytes()[..]].concat(), child)
        }
        Err(error) => (encode_error(&error), None),
    };
    let pidfd = child.as_ref().map(|child| child.pidfd.as_fd());
    Ok(send_with_fd(answer.as_fd(), &message, pidfd)?)
}

/// The descriptors that a worker keeps for itself.
struct Placed {
    answer: OwnedFd,
    console: Option<OwnedFd>,
}

/// Moves the descriptors of the new process to their numbers and closes all others except `answer`
/// and the console. Returns copies of those two.
fn place(answer: &OwnedFd, request: &Request, descriptors: Vec<OwnedFd>) -> Result<Placed> {
    // Above the numbers that the new process gets.
    let first_free = i32::try_from(descriptors.len() + 3).unwrap_or(i32::MAX);
    let above = |fd: BorrowedFd<'_>| rustix::io::fcntl_dupfd_cloexec(fd, first_free);
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
    let console = if request.console { copies.pop() } else { None };
    let mut copies = copies.into_iter();
    for (given, copy_to) in request.standard.into_iter().zip(stdio::COPY_TO) {
        if given && let Some(fd) = copies.next() {
            copy_to(fd.as_fd())?;
        }
    }
    stdio::ensure_open()?;
    for fd in copies {
        // The lowest free number is the next from 3 on.
        let placed = fcntl(&fd, FcntlArg::F_DUPFD(3))?;
        debug_assert!(placed < first_free);
    }
    Ok(Placed { answer: moved, console })
}

fn execute(request: Request, answer: &OwnedFd, console: Option<OwnedFd>) -> Result<Option<Child>> {
    swap_mask(&SigSet::empty()).context("empty the signal mask")?;
    ignore(libc::SIGPIPE).context("ignore SIGPIPE")?;
    let warnings = answer.try_clone().context("copy the socket to the program")?;
    log::redirect(move |text| {
        let text = text.as_bytes();
        let text = text.get(..MAX - WARNING.len()).unwrap_or(text);
        let _ = send_with_fd(warnings.as_fd(), &[WARNING, text].concat(), None);
    });
    let Request { root, id, verb, .. } = request;
    let store = Store::open(&root, Origin::Default)?;
    // If the program is gone, it has nothing to reap.
    let reap = |ended: OwnedFd| drop(send_with_fd(answer.as_fd(), ENDED, Some(ended.as_fd())));
    let parent = Parent::OfCaller(&reap);
    let console = console.map(Arc::new);
    match verb {
        Verb::Create(mut options) => {
            options.console = console;
            create::create(&store, &id, &options, parent).map(Some)
        }
        Verb::Run(mut options) => {
            options.console = console;
            run::detached(&store, &id, &options, parent, SignalGuard::block()?).map(Some)
        }
        Verb::Exec(mut options) => {
            options.console = console;
            exec::detached(&store, &id, &options, parent).map(Some)
        }
        Verb::Start => start::start(&store, &id, None).map(|()| None),
        Verb::Checkpoint(options) => {
            checkpoint::checkpoint(&store, &id, &options, parent).map(|()| None)
        }
        Verb::Restore(options) => {
            let (mut options, settings) = *options;
            options.console = console;
            restore::detached(&store, &id, &options, &settings, parent).map(Some)
        }
        Verb::Delete { force } => delete::delete(&store, &id, force).map(|()| None),
        Verb::Kill { signal, all } => kill::kill(&store.load(&id)?, signal, all).map(|()| None),
        Verb::Pause => pause::pause(&mut store.load(&id)?).map(|()| None),
        Verb::Resume => pause::resume(&mut store.load(&id)?).map(|()| None),
        Verb::Update { resources } => {
            update::update_from_json(store.load(&id)?, &resources).map(|()| None)
        }
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
