//! Hooks: programs that the configuration wants run at points of the life of a container
//! (config.md "POSIX-platform Hooks"). Used by the runtime and, for createContainer and
//! startContainer, by init.
//!
//! A hook gets the state on its standard input, the environment that its configuration gives and
//! nothing else: neither the runtime's environment nor the container's, whose LD_PRELOAD would run
//! code of the image in a program of the host (CVE-2025-23266). A startContainer hook is a program
//! of the image itself: without an environment of its own it gets that of the process, as under
//! runc. Its output goes to the runtime, for the error message, or to the files of
//! [`Hooks::set_output`]; never to the container's own standard output.

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::signal::Signal;
use rustix::fs::{MemfdFlags, OFlags, SealFlags};

use crate::config::annotations;
use crate::sys::pidfd::poll_timeout;
use crate::sys::spawn::{self, Exit};
use crate::{Context, Error, Kind, Result};

mod orphans;

use orphans::Orphans;

/// The whole environment of a hook for which the configuration gives none.
const DEFAULT_ENV: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// How much of the end of a hook's output is kept to explain its failure, in bytes.
const TAIL: usize = 1024;

/// One hook, checked and ready to be executed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook {
    /// The program: an absolute path, in the mount namespace that the hook runs in.
    pub path: CString,
    /// argv; never empty.
    pub args: Vec<CString>,
    /// The whole environment.
    pub env: Vec<CString>,
    /// Whether the configuration has none, so that it is the runtime's choice.
    pub default_env: bool,
    /// The longest it may run; no limit if absent.
    pub timeout: Option<Duration>,
    /// Whether it runs beside the runtime, in the runtime's namespaces.
    pub beside_runtime: bool,
    /// Where its standard output goes; `None`: to the runtime.
    pub stdout: Option<Sink>,
    /// Where its standard error goes; `None`: to the runtime.
    pub stderr: Option<Sink>,
}

/// A file that the output of hooks is appended to.
#[derive(Debug, Clone)]
pub enum Sink {
    /// By its path, opened when the hook runs.
    Path(PathBuf),
    /// Opened before, by who has the right.
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
        // NONBLOCK: a FIFO that nobody reads is an error, and does not hold the runtime.
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
    /// Runtime namespaces, after the container's were made (deprecated by the specification).
    pub prestart: Vec<Hook>,
    /// Runtime namespaces, after `prestart`.
    pub create_runtime: Vec<Hook>,
    /// Container namespaces, before pivot_root: the path is one of the host.
    pub create_container: Vec<Hook>,
    /// Container namespaces, after pivot_root, as a part of `start`.
    pub start_container: Vec<Hook>,
    /// Runtime namespaces, after the process was executed, before `start` returns.
    pub poststart: Vec<Hook>,
    /// Runtime namespaces, after `delete` has freed everything.
    pub poststop: Vec<Hook>,
}

impl Hooks {
    /// Whether there are any of the three kinds that run while the container is created.
    pub fn has_create(&self) -> bool {
        !self.prestart.is_empty()
            || !self.create_runtime.is_empty()
            || !self.create_container.is_empty()
    }

    /// Checks and converts the `hooks` object of a configuration.
    pub fn from_spec(hooks: Option<&oci_spec::runtime::Hooks>) -> Result<Hooks> {
        let Some(hooks) = hooks else { return Ok(Hooks::default()) };
        #[allow(deprecated)] // by the specification, which still wants it run
        let prestart = hooks.prestart();
        let mut hooks = Hooks {
            prestart: list("prestart", prestart.as_deref())?,
            create_runtime: list("createRuntime", hooks.create_runtime().as_deref())?,
            create_container: list("createContainer", hooks.create_container().as_deref())?,
            start_container: list("startContainer", hooks.start_container().as_deref())?,
            poststart: list("poststart", hooks.poststart().as_deref())?,
            poststop: list("poststop", hooks.poststop().as_deref())?,
        };
        let Hooks { prestart, create_runtime, poststart, poststop, .. } = &mut hooks;
        for hook in [prestart, create_runtime, poststart, poststop].into_iter().flatten() {
            hook.beside_runtime = true;
        }
        Ok(hooks)
    }

    /// Sends the output of hooks to the files that the annotations name ([`annotations`]). Not
    /// that of startContainer hooks: they are programs of the image, which get no descriptor of a
    /// file of the host.
    pub fn set_output<'a>(&mut self, annotation: impl Fn(&str) -> Option<&'a str>) {
        let sink = |name| annotation(name).map(|path| Sink::Path(Path::new(path).to_owned()));
        let (stdout, stderr) = (sink(annotations::HOOKS_STDOUT), sink(annotations::HOOKS_STDERR));
        if stdout.is_none() && stderr.is_none() {
            return;
        }
        let Hooks {
            prestart,
            create_runtime,
            create_container,
            start_container: _,
            poststart,
            poststop,
        } = self;
        let lists = [prestart, create_runtime, create_container, poststart, poststop];
        for hook in lists.into_iter().flatten() {
            hook.stdout.clone_from(&stdout);
            hook.stderr.clone_from(&stderr);
        }
    }

    /// Opens the files for the output of createContainer hooks, for which init may have no right.
    pub fn open_output(&mut self) -> Result<()> {
        for hook in &mut self.create_container {
            for sink in [&mut hook.stdout, &mut hook.stderr].into_iter().flatten() {
                *sink = Sink::File(Arc::new(sink.open()?));
            }
        }
        Ok(())
    }
}

fn list(kind: &str, hooks: Option<&[oci_spec::runtime::Hook]>) -> Result<Vec<Hook>> {
    let hooks = hooks.unwrap_or_default().iter().enumerate();
    hooks.map(|(index, hook)| Hook::from_spec(&format!("hooks.{kind}[{index}]"), hook)).collect()
}

impl Hook {
    /// Checks and converts one hook; `field` is its place in config.json, for errors.
    pub fn from_spec(field: &str, hook: &oci_spec::runtime::Hook) -> Result<Hook> {
        let path = hook.path();
        if !path.is_absolute() {
            return Err(Error::invalid(format!("{field}.path"), path, "must be an absolute path"));
        }
        let path = CString::new(path.as_os_str().as_bytes())
            .map_err(|_| Error::invalid(format!("{field}.path"), path, "holds a NUL byte"))?;
        let mut args = strings(field, "args", hook.args().as_deref())?;
        if args.is_empty() {
            args.push(path.clone());
        }
        let mut env = strings(field, "env", hook.env().as_deref())?;
        let default_env = env.is_empty();
        if default_env {
            env.extend(CString::new(DEFAULT_ENV));
        }
        let timeout = match hook.timeout() {
            None => None,
            Some(seconds) => match u64::try_from(seconds) {
                Ok(seconds) if seconds > 0 => Some(Duration::from_secs(seconds)),
                _ => {
                    let field = format!("{field}.timeout");
                    return Err(Error::invalid(field, seconds, "must be greater than 0 seconds"));
                }
            },
        };
        let (stdout, stderr) = (None, None);
        Ok(Hook { path, args, env, default_env, timeout, beside_runtime: false, stdout, stderr })
    }

    /// The same with the environment `env` where the configuration gives none.
    #[must_use]
    pub fn inheriting(&self, env: &[CString]) -> Hook {
        let mut hook = self.clone();
        if hook.default_env {
            env.clone_into(&mut hook.env);
        }
        hook
    }

    /// Runs it to its end; `Err` unless it exits with status 0 within its time.
    fn run(&self, state: &[u8]) -> Result<()> {
        let stdin = state_file(state)?;
        let (output, write_end) =
            nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).context("pipe")?;
        // Only our end: the flag belongs to the open file, and the hook expects a blocking pipe.
        rustix::fs::fcntl_setfl(&output, OFlags::NONBLOCK).context("fcntl")?;
        let open = |sink: &Option<Sink>| sink.as_ref().map(Sink::open).transpose();
        let (stdout, stderr) = (open(&self.stdout)?, open(&self.stderr)?);
        // What a hook of init has started ends with the container, if the hook fails.
        let orphans = self.timeout.filter(|_| self.beside_runtime);
        let orphans = orphans.map(|_| Orphans::adopt()).transpose()?.flatten();
        let child = spawn::spawn(&spawn::Command {
            path: &self.path,
            argv: &self.args,
            env: &self.env,
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
            return Err(tail.explain(format!(
                "hook ran past specified timeout of {limit}.0s, and was killed"
            )));
        }
        match exit? {
            Exit::Code(0) => Ok(()),
            Exit::Code(code) => Err(tail.explain(format!("exit status {code}"))),
            Exit::Signal(signal) => Err(tail.explain(killed_by(signal))),
        }
    }
}

fn strings(field: &str, name: &str, list: Option<&[String]>) -> Result<Vec<CString>> {
    let list = list.unwrap_or_default().iter().enumerate();
    list.map(|(index, text)| {
        CString::new(text.as_bytes()).map_err(|_| {
            Error::invalid(format!("{field}.{name}[{index}]"), text, "holds a NUL byte")
        })
    })
    .collect()
}

/// Runs `hooks` in their order, with the bytes of `state` (the OCI state as JSON) as standard
/// input; the first failure ends it. `kind` is the hooks' name in config.json, for errors.
pub fn run_all(kind: &str, hooks: &[Hook], state: &[u8]) -> Result<()> {
    for (index, hook) in hooks.iter().enumerate() {
        hook.run(state).with_context(|| name(kind, index, hook))?;
    }
    Ok(())
}

/// The same for hooks whose failure is a warning and hinders nothing (poststop).
pub fn run_all_logging(kind: &str, hooks: &[Hook], state: &[u8]) {
    for (index, hook) in hooks.iter().enumerate() {
        if let Err(error) = hook.run(state).with_context(|| name(kind, index, hook)) {
            crate::log::warn(&error);
        }
    }
}

/// SIGSYS is what a seccomp filter kills with, which nobody knows by its number.
fn killed_by(signal: i32) -> String {
    match Signal::try_from(signal) {
        Ok(Signal::SIGSYS) => "killed by SIGSYS (bad system call: by the seccomp filter?)".into(),
        Ok(signal) => format!("killed by {signal}"),
        Err(_) => format!("killed by signal {signal}"),
    }
}

/// The beginning is in the words of runc, for which scripts look.
fn name(kind: &str, index: usize, hook: &Hook) -> String {
    format!("error running {kind} hook #{index}: {:?}", hook.path)
}

/// The state as a file to read. Not a pipe: a hook that does not read its input must not block us
/// (a pipe holds 64 KiB), and one that stops reading must not give us a SIGPIPE. One for each
/// hook, because the read position is shared by all who have the file.
fn state_file(state: &[u8]) -> Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    // vm.memfd_noexec=2 demands NOEXEC_SEAL, and kernels before 6.3 do not know it.
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

/// Reads the hook's output until it ends; false if its time ran out first. It waits for the hook,
/// not for the end of the output, which a daemon left by the hook may keep open for ever.
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

/// The end of a hook's output.
#[derive(Default)]
struct Tail(Vec<u8>);

impl Tail {
    /// Takes what is there, up to what a pipe holds; false once nobody can write any more.
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

    /// A failure, with the last line that the hook wrote.
    fn explain(&self, cause: String) -> Error {
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

    fn convert(json: &str) -> Result<Hook> {
        Hook::from_spec("hooks.poststop[2]", &serde_json::from_str(json).unwrap())
    }

    #[test]
    fn defaults_are_argv0_and_a_path() {
        let hook = convert(r#"{"path": "/bin/true", "args": [], "timeout": 3}"#).unwrap();
        assert_eq!(hook.args, [c"/bin/true".to_owned()]);
        assert_eq!(hook.env.len(), 1);
        assert!(hook.env[0].to_bytes().starts_with(b"PATH=/"));
        assert_eq!(hook.timeout, Some(Duration::from_secs(3)));
    }

    #[test]
    fn an_environment_is_inherited_where_none_is_given() {
        let inherited = [c"A=1".to_owned()];
        let none = convert(r#"{"path": "/a", "env": []}"#).unwrap();
        assert_eq!(none.inheriting(&inherited).env, inherited);
        let own = convert(r#"{"path": "/a", "env": ["B=2"]}"#).unwrap();
        assert_eq!(own.inheriting(&inherited), own);
    }

    #[test]
    fn bad_hooks_are_named() {
        for (json, part) in [
            (
                r#"{"path": "bin/true"}"#,
                r#"hooks.poststop[2].path: "bin/true": must be an absolute"#,
            ),
            (r#"{"path": ""}"#, "must be an absolute path"),
            (r#"{"path": "/a\u0000b"}"#, "NUL"),
            (r#"{"path": "/a", "args": ["a", "\u0000"]}"#, "hooks.poststop[2].args[1]"),
            (r#"{"path": "/a", "env": ["\u0000"]}"#, "hooks.poststop[2].env[0]"),
            (r#"{"path": "/a", "timeout": 0}"#, "timeout: 0: must be greater"),
            (r#"{"path": "/a", "timeout": -1}"#, "timeout: -1: must be greater"),
        ] {
            let error = convert(json).unwrap_err().to_string();
            assert!(error.contains(part), "{json}: {error}");
        }
    }

    #[test]
    fn explains_with_the_last_line() {
        let tail = Tail(b"one\ntwo \n\n".to_vec());
        assert_eq!(tail.explain("exit status 1".into()).to_string(), "exit status 1: two");
        assert_eq!(Tail::default().explain("x".into()).to_string(), "x");
    }
}
