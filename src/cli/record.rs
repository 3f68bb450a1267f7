//! `record`: runs a container and writes a seccomp profile of the system calls that it made.
//!
//! The container runs under a filter that asks an agent about each system call. The agent is this
//! program in a process of its own, since the process that creates a container has one thread.

use std::ffi::OsStr;
use std::fs::{self, OpenOptions};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::wait::{WaitPidFlag, waitpid};
use serde_json::Value;

use super::args::{Global, RecordArgs};
use super::output::print;
use super::{create, environment};
use crate::container::run::in_foreground;
use crate::seccomp::recording::{self, Calls};
use crate::state::Id;
use crate::sys::{fdpass, pidfd};
use crate::terminal::signals::SignalGuard;
use crate::terminal::supervise::shell_status;
use crate::{Context, Error, Kind, Result, config};

/// The name of the hidden command of the agent.
pub const AGENT: &str = "record-agent";

const PROFILE: &str = "seccomp.json";
const LIST: &str = "syscalls.txt";

/// Runs the container and writes the profile. Returns the exit status of the container's process.
pub fn run(global: &Global, args: &RecordArgs) -> Result<i32> {
    let store = environment::store(global)?;
    let id = Id::new(&args.create.id)?;
    let mut options = create::options(global, &args.create)?;
    let config = options.config.clone().unwrap_or_else(|| options.bundle.join("config.json"));
    let mut value = parse(&config)?;
    if value.pointer("/linux/seccomp").is_some_and(|profile| !profile.is_null())
        && !args.without_profile
    {
        let why = "the configuration has a profile; give --without-profile to record without it";
        return Err(Error::invalid_field("linux.seccomp", why));
    }
    let directory = directory(&args.output)?;
    // A signal ends the container, and so the recording, in good order.
    let signals = SignalGuard::block()?;
    let work = Work::new(&directory)?;
    let listener = UnixListener::bind(work.0.join("agent")).context("bind the agent's socket")?;
    let path = work.0.join("agent").to_string_lossy().into_owned();
    let Value::Object(members) = &mut value else { return Err(no_object(&config)) };
    let linux = members.entry("linux").or_insert_with(|| serde_json::json!({}));
    let Value::Object(linux) = linux else { return Err(no_object(&config)) };
    linux.insert("seccomp".to_owned(), recording::profile(&path));
    let prepared = work.0.join("config.json");
    fs::write(&prepared, value.to_string())
        .with_context(|| format!("write {}", prepared.display()))?;
    options.config = Some(prepared);

    let mut agent = start_agent(listener)?;
    let handle = pidfd::open(agent.id().cast_signed()).context("pidfd_open")?;
    // Orphans of the container are adopted, so that the recording ends with all processes.
    let status = in_foreground(&store, &id, &options, signals, true, false).inspect_err(|_| {
        // It may wait for a listener that never comes. By its pidfd: it may have been reaped.
        let _ = handle.as_ref().map(|agent| pidfd::send_signal(agent.as_fd(), libc::SIGKILL));
    })?;
    let mut lines = String::new();
    if let Some(output) = &mut agent.stdout {
        // The agent ends when the last process under the filter has ended. Before Linux 6.11 a dead
        // process counts until it is reaped.
        loop {
            let mut fds = [PollFd::new(output.as_fd(), PollFlags::POLLIN)];
            match poll(&mut fds, PollTimeout::from(100_u8)) {
                Ok(0) | Err(Errno::EINTR) => {}
                polled => {
                    polled.context("wait for the agent")?;
                    break;
                }
            }
            while matches!(waitpid(None, Some(WaitPidFlag::WNOHANG)), Ok(status) if status.pid().is_some())
            {
            }
        }
        output.read_to_string(&mut lines).context("read the recorded calls")?;
    }
    let calls = Calls::parse(&lines);
    if calls.is_empty() {
        let why = "the agent has recorded nothing: it has ended before the container";
        return Err(Error::new(Kind::System, why).context("record"));
    }
    let profile = serde_json::to_string_pretty(&calls.profile())
        .map_err(|error| Error::new(Kind::System, format!("write JSON: {error}")))?;
    write_new(&directory.join(PROFILE), &(profile + "\n"))?;
    write_new(&directory.join(LIST), &calls.lines())?;
    Ok(shell_status(status))
}

fn parse(path: &Path) -> Result<Value> {
    let raw = config::load_bytes(path)?;
    let loaded = config::parse(raw, &path.to_string_lossy())?;
    serde_json::from_slice(&loaded.raw)
        .map_err(|error| Error::new(Kind::Invalid, error.to_string()))
}

fn no_object(path: &Path) -> Error {
    Error::new(Kind::Invalid, "must hold a JSON object").context(path.to_string_lossy())
}

/// Makes the directory of the results. Refuses to overwrite results.
fn directory(path: &Path) -> Result<PathBuf> {
    fs::create_dir_all(path).with_context(|| format!("mkdir {}", path.display()))?;
    for name in [PROFILE, LIST] {
        let file = path.join(name);
        if file.symlink_metadata().is_ok() {
            return Err(exists(&file));
        }
    }
    path.canonicalize().with_context(|| format!("find {}", path.display()))
}

fn exists(path: &Path) -> Error {
    Error::new(Kind::Invalid, format!("{path:?}: already exists; remove it first"))
}

fn write_new(path: &Path, text: &str) -> Result<()> {
    let file = OpenOptions::new().write(true).create_new(true).open(path);
    let mut file = file.map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => exists(path),
        _ => Error::from(error).context(format!("create {path:?}")),
    })?;
    file.write_all(text.as_bytes()).with_context(|| format!("write {path:?}"))
}

/// A directory for the agent's socket and the changed configuration, which goes at the end.
struct Work(PathBuf);

impl Work {
    fn new(around: &Path) -> Result<Work> {
        // A killed recording leaves its directory, and process ids are used again.
        let random = RandomState::new().build_hasher().finish();
        let path = around.join(format!(".record-{random:016x}"));
        // No other user may connect in the runtime's place.
        let made = fs::DirBuilder::new().mode(0o700).create(&path);
        made.with_context(|| format!("mkdir {}", path.display()))?;
        Ok(Work(path))
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        // What is left is harmless, and its name shows what it was for.
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn start_agent(listener: UnixListener) -> Result<Child> {
    let mut agent = Command::new("/proc/self/exe");
    agent.arg0(OsStr::new("bulkhead")).arg(AGENT);
    agent.stdin(Stdio::from(OwnedFd::from(listener))).stdout(Stdio::piped());
    // A signal of the terminal is for the container, and the agent ends after it.
    agent.process_group(0);
    agent.spawn().context("start the agent")
}

/// Serves as the agent: standard input is a listening socket. Prints the recorded calls.
pub fn agent() -> Result<()> {
    let socket = std::io::stdin().as_fd().try_clone_to_owned().context("duplicate a socket")?;
    let listener = UnixListener::from(socket);
    // The reader of standard output is the process that records: without it nothing will connect.
    let output = std::io::stdout();
    let mut fds = [
        PollFd::new(listener.as_fd(), PollFlags::POLLIN),
        PollFd::new(output.as_fd(), PollFlags::empty()),
    ];
    poll(&mut fds, PollTimeout::NONE).context("wait for the container")?;
    if !fds[0].any().unwrap_or(false) {
        return Err(Error::new(Kind::System, "the process that records has ended"));
    }
    let (connection, _) = listener.accept().context("accept")?;
    let mut buffer = vec![0; 1 << 16];
    let mut listener = None;
    loop {
        // The state of the container, of which only the descriptor counts.
        let (length, fds) = fdpass::recv_with_fds(connection.as_fd(), &mut buffer)?;
        listener = listener.or(fds.into_iter().next());
        if length == 0 {
            break;
        }
    }
    let Some(listener) = listener else {
        return Err(Error::new(Kind::System, "no seccomp listener was sent"));
    };
    print(Calls::record(listener.as_fd())?.lines().as_bytes())
}
