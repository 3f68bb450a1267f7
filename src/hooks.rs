//! Hooks (config.md, "POSIX-platform Hooks"). Init runs those of createContainer and startContainer,
//! the runtime the others.
//!
//! A hook gets the state on its standard input, and the environment in its configuration: neither
//! the runtime's environment nor the container's, whose LD_PRELOAD would run code of the image in a
//! program of the host (CVE-2025-23266). A startContainer hook is a program of the image: without
//! an environment of its own it gets that of the process, as in runc. The output goes to the
//! runtime, or to the files of the annotations `run.oci.hooks.*`.

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::signal::Signal;
use rustix::fs::{MemfdFlags, OFlags, SealFlags};

use crate::sys::exec::Exec;
use crate::sys::pidfd::poll_timeout;
use crate::sys::spawn;
use crate::{Context, Error, Kind, Result};

mod orphans;

use orphans::Orphans;

/// The number of bytes of a hook's last output that the error message can use.
const TAIL: usize = 1024;

/// A hook, checked and ready to be executed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook {
    /// Absolute, in the mount namespace that the hook runs in.
    pub path: CString,
    /// The arguments; never empty.
    pub args: Vec<CString>,
    pub env: Vec<CString>,
    /// Whether the environment is the default, because the configuration has none.
    pub default_env: bool,
    pub timeout: Option<Duration>,
    /// Whether the hook runs in the runtime's namespaces.
    pub beside_runtime: bool,
    /// Where standard output goes; `None`: to the runtime.
    pub stdout: Option<Sink>,
    /// Like `stdout`.
    pub stderr: Option<Sink>,
}

/// A file that the output of hooks is appended to.
#[derive(Debug, Clone)]
pub enum Sink {
    Path(PathBuf),
    /// An open file, for a hook that runs where the path cannot be opened.
    File(Arc<OwnedFd>),
}

impl PartialEq for Sink {
    fn eq(&self, other: &Sink) -> bool {
        match (self, other) {
            (Sink::Path(a), Sink::Path(b)) => a == b,
            (Sink::File(a), Sink::File(b)) => Arc::ptr_eq(a, b),
            _ => false,
        }
    }
}

impl Eq for Sink {}

impl Sink {
    fn open(&self) -> Result<OwnedFd> {
        let path = match self {
            Sink::File(file) => return file.try_clone().context("keep the file for output open"),
            Sink::Path(path) => path,
        };
        let flags = OFlags::WRONLY
            | OFlags::APPEND
            | OFlags::CREATE
            | OFlags::CLOEXEC
            | OFlags::NOCTTY
            | OFlags::NONBLOCK;
        // NONBLOCK: a FIFO without a reader is an error, and does not block the runtime.
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        let open = || -> Result<OwnedFd> {
            let file = rustix::fs::open(path, flags, mode)?;
            rustix::fs::fcntl_setfl(&file, OFlags::APPEND)?;
            Ok(file)
        };
        open().with_context(|| format!("open {path:?} for the output of hooks"))
    }
}

/// The hooks of a container, by the point at which they run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hooks {
    /// In the runtime's namespaces (deprecated by the specification).
    pub prestart: Vec<Hook>,
    /// In the runtime's namespaces, after `prestart`.
    pub create_runtime: Vec<Hook>,
    /// In the container's namespaces, before pivot_root: the path is a path of the host.
    pub create_container: Vec<Hook>,
    /// In the container's namespaces, after pivot_root, as a part of `start`.
    pub start_container: Vec<Hook>,
    /// In the runtime's namespaces, after the program was executed, before `start` returns.
    pub poststart: Vec<Hook>,
    /// In the runtime's namespaces, after `delete` has removed everything.
    pub poststop: Vec<Hook>,
}

impl Hooks {
    /// Whether there are hooks that run while the container is created.
    pub fn has_create(&self) -> bool {
        !self.prestart.is_empty()
            || !self.create_runtime.is_empty()
            || !self.create_container.is_empty()
    }

    /// Opens the files for the output of createContainer hooks, which init may have no right to open.
    pub fn open_output(&mut self) -> Result<()> {
        for hook in &mut self.create_container {
            for sink in [&mut hook.stdout, &mut hook.stderr].into_iter().flatten() {
                *sink = Sink::File(Arc::new(sink.open()?));
            }
        }
        Ok(())
    }
}

impl Hook {
    /// Returns a copy of the hook, with the environment `env` if the configuration gives none.
    #[must_use]
    pub fn inheriting(&self, env: &[CString]) -> Hook {
        let mut hook = self.clone();
        if hook.default_env {
            env.clone_into(&mut hook.env);
        }
        hook
    }

    fn run(&self, state: &[u8]) -> Result<()> {
        let stdin = state_file(state)?;
        let (output, write_end) =
            nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).context("pipe")?;
        // Only this end of the pipe: the flag belongs to the open file, and the hook expects a
        // blocking pipe.
        rustix::fs::fcntl_setfl(&output, OFlags::NONBLOCK).context("fcntl")?;
        let open = |sink: &Option<Sink>| sink.as_ref().map(Sink::open).transpose();
        let (stdout, stderr) = (open(&self.stdout)?, open(&self.stderr)?);
        // Processes that a hook of init leaves behind end with the container, if the hook fails.
        let orphans = self.timeout.filter(|_| self.beside_runtime);
        let orphans = orphans.map(|_| Orphans::adopt()).transpose()?.flatten();
        let child = spawn::spawn(&spawn::Command {
            program: Exec::new(&self.path, &self.args, &self.env),
            stdin: stdin.as_fd(),
            stdout: stdout.as_ref().unwrap_or(&write_end).as_fd(),
            stderr: stderr.as_ref().unwrap_or(&write_end).as_fd(),
        })?;
        drop((write_end, stdout, stderr));

        let mut tail = Tail::default();
        let finished = follow(&child, &output, &mut tail, self.timeout);
        let failed = !matches!(finished, Ok(true));
        if failed {
            child.kill_group();
        }
        let exit = child.wait();
        if failed && let Some(orphans) = &orphans {
            orphans.kill();
        }
        if !finished? {
            let limit = self.timeout.unwrap_or_default().as_secs();
            return Err(tail.failure(format!(
                "hook ran past specified timeout of {limit}.0s, and was killed"
            )));
        }
        let exit = exit?;
        match exit.exit_status() {
            Some(0) => Ok(()),
            Some(code) => Err(tail.failure(format!("exit status {code}"))),
            None => Err(tail.failure(killed_by(exit.terminating_signal().unwrap_or_default()))),
        }
    }
}

/// Runs `hooks` in order, with `state` (the OCI state as JSON) as standard input, until the first
/// failure. `kind` is the hooks' name in config.json, for errors.
pub fn run_all(kind: &str, hooks: &[Hook], state: &[u8]) -> Result<()> {
    for (index, hook) in hooks.iter().enumerate() {
        hook.run(state).with_context(|| name(kind, index, hook))?;
    }
    Ok(())
}

/// Runs `hooks` like [`run_all`], but a failure is a warning and the next hook runs (poststop).
pub fn run_all_logging(kind: &str, hooks: &[Hook], state: &[u8]) {
    for (index, hook) in hooks.iter().enumerate() {
        if let Err(error) = hook.run(state).with_context(|| name(kind, index, hook)) {
            crate::log::warn(&error);
        }
    }
}

/// Names the signal that ended a hook, and explains SIGSYS, with which a seccomp filter kills.
fn killed_by(signal: i32) -> String {
    match Signal::try_from(signal) {
        Ok(Signal::SIGSYS) => "killed by SIGSYS (bad system call: by the seccomp filter?)".into(),
        Ok(signal) => format!("killed by {signal}"),
        Err(_) => format!("killed by signal {signal}"),
    }
}

/// Returns the name of a hook for errors. It begins as in runc, since scripts search for it.
fn name(kind: &str, index: usize, hook: &Hook) -> String {
    format!("error running {kind} hook #{index}: {:?}", hook.path)
}

/// Creates a file that contains the state. Not a pipe: a hook that does not read its input must not
/// block the runtime, nor cause a SIGPIPE. Each hook gets its own file, because all descriptors of a
/// file share the read position.
fn state_file(state: &[u8]) -> Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    // vm.memfd_noexec=2 requires NOEXEC_SEAL, which kernels before 6.3 do not have.
    let file = match rustix::fs::memfd_create("state", flags | MemfdFlags::NOEXEC_SEAL) {
        Err(rustix::io::Errno::INVAL) => rustix::fs::memfd_create("state", flags),
        other => other,
    };
    let mut file = std::fs::File::from(file.context("memfd_create")?);
    std::io::Write::write_all(&mut file, state).context("write the state for a hook")?;
    std::io::Seek::rewind(&mut file).context("rewind the state for a hook")?;
    let seals = SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL;
    rustix::fs::fcntl_add_seals(&file, seals).context("seal the state for a hook")?;
    Ok(file.into())
}

/// Reads the hook's output until the hook ends. Returns false if its time runs out first. Does not
/// wait for the end of the output, since a daemon left by the hook may keep the pipe open forever.
fn follow(
    child: &spawn::Child,
    output: &OwnedFd,
    tail: &mut Tail,
    timeout: Option<Duration>,
) -> Result<bool> {
    let deadline = timeout.and_then(|limit| Instant::now().checked_add(limit));
    let mut open = true;
    loop {
        let mut fds = [
            PollFd::new(child.pidfd(), PollFlags::POLLIN),
            PollFd::new(output.as_fd(), PollFlags::POLLIN),
        ];
        let watched = if open { &mut fds[..] } else { &mut fds[..1] };
        match poll(watched, poll_timeout(deadline)) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(e) => return Err(e).context("poll"),
        }
        let [ended, wrote] = fds.map(|fd| fd.any().unwrap_or(false));
        if open && (wrote || ended) {
            open = tail.read(output)?;
        }
        if ended {
            return Ok(true);
        }
        if deadline.is_some_and(|at| Instant::now() >= at) {
            return Ok(false);
        }
    }
}

#[derive(Default)]
struct Tail(Vec<u8>);

impl Tail {
    /// Reads what is available, up to the size of a pipe. Returns false at the end of file.
    fn read(&mut self, output: &OwnedFd) -> Result<bool> {
        let mut buffer = [0; 4096];
        for _ in 0..16 {
            match nix::unistd::read(output, &mut buffer) {
                Ok(0) => return Ok(false),
                Ok(length) => {
                    self.0.extend_from_slice(buffer.get(..length).unwrap_or_default());
                    let excess = self.0.len().saturating_sub(TAIL);
                    self.0.drain(..excess);
                }
                Err(Errno::EAGAIN) => return Ok(true),
                Err(Errno::EINTR) => {}
                Err(e) => return Err(e).context("read a hook's output"),
            }
        }
        Ok(true)
    }

    fn failure(&self, cause: String) -> Error {
        let text = String::from_utf8_lossy(&self.0);
        match text.lines().map(str::trim).rfind(|line| !line.is_empty()) {
            Some(line) => Error::new(Kind::System, format!("{cause}: {line}")),
            None => Error::new(Kind::System, cause),
        }
    }
}

#[cfg(test)]
mod run_tests;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_has_the_last_line() {
        let tail = Tail(b"one\ntwo \n\n".to_vec());
        assert_eq!(tail.failure("exit status 1".into()).to_string(), "exit status 1: two");
        assert_eq!(Tail::default().failure("x".into()).to_string(), "x");
    }
}
