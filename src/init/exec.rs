//! The end of a container's process, whether init or one that `exec` has put into the container:
//! the program is found, privileges go, `start` is waited for, execve.

use std::ffi::{CStr, CString, OsStr};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::unistd::{AccessFlags, faccessat};

use super::limits::{self, Affinity};
use super::{Init, identity, interpreter, scheduling};
use crate::error::twice;
use crate::fs::Proc;
use crate::hooks;
use crate::launch::fifo::Fifos;
use crate::plan::{Listen, Process};
use crate::state::Status;
use crate::sync::{Socket, ToInit, ToParent, encode_error, read};
use crate::sys::exec::{Exec, close_range};
use crate::sys::seccomp as filter;
use crate::sys::signal;
use crate::tty::signals::{Ignored, reset_signals_for_exec};
use crate::{Context, Error, Kind, Result};

/// execvp(3) where the environment has no PATH.
const DEFAULT_PATH: &[u8] = b"/bin:/usr/bin";

/// What is left to do for a process that has its namespaces, its root and its terminal.
pub struct Program<'a> {
    /// What runs, as whom.
    pub process: &'a Process,
    /// The host's procfs.
    pub proc: &'a Proc,
    /// The user namespace it is in.
    pub within: identity::Within,
    /// The processors it may run on.
    pub affinity: Affinity,
    /// How many descriptors from 3 up it gets, those of `listen` among them.
    pub preserve_fds: u32,
    /// What it is told of sockets that were handed over.
    pub listen: &'a Listen,
    /// Where to report.
    pub parent: &'a Socket,
    /// What `start` opens; `None`: it goes on at once.
    pub fifos: Option<&'a Fifos>,
    /// The signals that the caller ignores, for which the program gets the default action.
    pub signals: &'a Ignored,
    /// Between `start` and execve: the startContainer hooks, if there are any.
    pub before: Option<&'a dyn Fn() -> Result<()>>,
}

/// Runs init's program. Returns only with an error, or with the status of a container that has
/// none.
pub fn run(init: &Init<'_>, umask: Mode) -> Result<i32> {
    let Some(process) = &init.plan.process else { return without_process(init) };
    let plan = init.plan;
    let hooks = || start_hooks(init);
    let program = Program {
        process,
        proc: &init.prepared.proc,
        within: identity::Within {
            user_namespace: plan.in_user_namespace,
            denies_setgroups: plan.ids.as_ref().is_some_and(|ids| ids.denies_setgroups()),
        },
        affinity: Affinity::All,
        preserve_fds: plan.preserve_fds,
        listen: &plan.listen,
        parent: init.parent,
        fifos: init.fifos,
        signals: init.signals,
        before: if plan.hooks.start_container.is_empty() { None } else { Some(&hooks) },
    };
    program.run(umask)
}

/// From execve on: for hooks of the image, too.
fn apparmor(process: &Process, proc: &Proc) -> Result<()> {
    let Some(profile) = &process.apparmor else { return Ok(()) };
    proc.write("self/attr/apparmor/exec", format!("exec {profile}").as_bytes()).map_err(|error| {
        let hint = match error.errno() {
            Some(Errno::ENOENT) => " (not loaded; apparmor_parser loads profiles)",
            _ => "",
        };
        error.context(format!("process.apparmorProfile: {profile:?}{hint}"))
    })
}

impl Program<'_> {
    /// Returns only with an error; one that comes after `Go` is told to `start`, if that is what
    /// the process waited for, and then the exit status is returned.
    pub fn run(&self, umask: Mode) -> Result<i32> {
        let process = self.process;
        // While the host's procfs is open, and before no_new_privs, under which a confined runtime
        // may not ask for another profile.
        apparmor(process, self.proc)?;
        let mask = process.identity.umask.map_or(umask, Mode::from_bits_truncate);
        nix::sys::stat::umask(mask);
        // Before the first path that the image chooses: while a descriptor of a host directory is
        // open, /proc/self/fd/N is a way out, for a working directory (CVE-2024-21626) as for a
        // link in the place of /etc/passwd.
        close_others(self.preserve_fds, self.parent, self.fifos)?;
        self.affinity.set()?;
        scheduling::set_own(&process.scheduling)?;
        let mut env = with_home(process);
        self.listen.tell(&mut env, nix::unistd::getpid().as_raw());
        if process.no_new_privileges {
            prctl::set_no_new_privileges(true)
                .map_err(|e| Error::from(Errno::from_raw(e)).context("set no_new_privs"))?;
        }
        outlive_runtime()?;
        reset_signals_for_exec(self.signals)?;
        if self.fifos.is_some() {
            end_by_signals()?;
        }

        let entered = enter_cwd(process);
        identity::assume(&process.identity, self.within)?;
        identity::regain_reach(&process.identity)?;
        // A directory that root may not enter (on NFS, say) may be open to the user.
        if entered.is_err() {
            enter_cwd(process)?;
        }
        inside_cwd(process)?;
        // As the user, like execve: what root alone may run is not what stands first in its PATH.
        let program = find(process, &env)?;
        let exec = Exec::new(&program, &process.args, &env);
        // Hooks are programs of the image, and not to run outside of the filter.
        let early =
            !process.no_new_privileges || process.listener.is_some() || self.before.is_some();
        if process.sets_own_rlimits {
            limits::set(&process.rlimits, None)?;
        }
        // Without no_new_privs loading a filter needs CAP_SYS_ADMIN, so it comes before that goes;
        // but after all that needs system calls which the filter may refuse.
        if !process.no_new_privileges && process.seccomp.is_some() {
            identity::regain(&process.identity)?;
            self.seccomp()?;
        }
        identity::set_capabilities(&process.identity.caps)?;
        if process.no_new_privileges && early {
            self.seccomp()?;
        }

        self.parent.tell_parent(&ToParent::Ready)?;
        self.parent.wait_for(ToInit::Go)?;
        let last = || -> Result<Errno> {
            wait_for_start(self.fifos)?;
            self.before.map_or(Ok(()), |before| before())?;
            // With no_new_privs the filter is the last thing: nothing but execve runs under it.
            if !early {
                self.seccomp()?;
            }
            Ok(exec.run())
        };
        let error = match last() {
            Ok(errno) => exec_error(process, &program, errno),
            Err(error) => error,
        };
        report_late(self.fifos, error)
    }

    fn seccomp(&self) -> Result<()> {
        let Some(compiled) = &self.process.seccomp else { return Ok(()) };
        let listener =
            filter::load(&compiled.program, compiled.flags).context("load the seccomp filter")?;
        if let Some(listener) = listener {
            self.parent.tell_parent(&ToParent::SeccompFd(listener.as_raw_fd()))?;
            self.parent.wait_for(ToInit::SeccompTaken)?;
        }
        Ok(())
    }
}

/// From here on the end of the runtime is seen as the end of file on its socket: changing ids
/// clears the death signal anyway, and a filter may soon refuse to change it.
fn outlive_runtime() -> Result<()> {
    prctl::set_death_signal(0)
        .map_err(|e| Error::from(Errno::from_raw(e)).context("clear the death signal"))
}

/// Until `start` there is no program that could decide about these: `kill`, whose signal is SIGTERM
/// unless another is named, ends a created container as it ends a process.
fn end_by_signals() -> Result<()> {
    [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM]
        .into_iter()
        .try_for_each(signal::exit_on)
        .context("handle signals until start")
}

/// create's init waits on its FIFO; run's goes on. The FIFO was open before, for reading and
/// writing, so that neither side ever blocks in open(2).
fn wait_for_start(fifos: Option<&Fifos>) -> Result<()> {
    let Some(fifos) = fifos else { return Ok(()) };
    let mut byte = [0];
    read(&fifos.start, &mut byte).context("wait for start")?;
    Ok(())
}

fn start_hooks(init: &Init<'_>) -> Result<()> {
    let state = (init.hook_state)(Status::Created, nix::unistd::getpid().as_raw())?;
    // Programs of the image like the container's own: they get its environment.
    let env = init.plan.process.as_ref().map(with_home).unwrap_or_default();
    let hooks = init.plan.hooks.start_container.iter();
    let hooks: Vec<_> = hooks.map(|hook| hook.inheriting(&env)).collect();
    hooks::run_all("startContainer", &hooks, &state)
}

/// After Go a `create` has gone: the error is for the `start` that waits.
fn report_late(fifos: Option<&Fifos>, error: Error) -> Result<i32> {
    let Some(fifos) = fifos else { return Err(error) };
    let text = encode_error(&error);
    // Without a word, the end of file that follows would be taken for success.
    twice(|| Ok(nix::unistd::write(&fifos.result, &text)?)).context("report to start")?;
    Ok(1)
}

/// The spec allows a container without a process; it can be created, and never started.
fn without_process(init: &Init<'_>) -> Result<i32> {
    close_others(init.plan.preserve_fds, init.parent, init.fifos)?;
    outlive_runtime()?;
    init.parent.tell_parent(&ToParent::Ready)?;
    init.parent.wait_for(ToInit::Go)?;
    let missing = || Error::invalid_field("process", "missing, so there is nothing to start");
    report_late(init.fifos, wait_for_start(init.fifos).err().unwrap_or_else(missing))
}

fn close_others(preserve: u32, parent: &Socket, fifos: Option<&Fifos>) -> Result<()> {
    let mut kept = vec![parent.as_raw_fd()];
    if let Some(fifos) = fifos {
        kept.extend([fifos.start.as_raw_fd(), fifos.result.as_raw_fd()]);
    }
    kept.sort_unstable();
    let mut first = preserve.saturating_add(3);
    for kept in kept.into_iter().filter_map(|fd| u32::try_from(fd).ok()) {
        if kept >= first {
            if kept > first {
                close_range(first, kept - 1).context("close descriptors")?;
            }
            first = kept + 1;
        }
    }
    // The kept ones are close-on-exec, like every descriptor of this program; none can lie
    // among those to preserve: their numbers were in use before the first was opened.
    close_range(first, u32::MAX).context("close descriptors")
}

fn enter_cwd(process: &Process) -> Result<()> {
    nix::unistd::chdir(&process.cwd).with_context(|| format!("process.cwd: {:?}", process.cwd))
}

/// The kernel marks a directory that is not below the root: its path is not absolute. libc's
/// getcwd would then look for the name itself, with the user's rights, and fail in many ways.
fn inside_cwd(process: &Process) -> Result<()> {
    match rustix::process::getcwd(Vec::new()) {
        Ok(path) if path.as_bytes().starts_with(b"/") => Ok(()),
        _ => Err(Error::invalid("process.cwd", &process.cwd, "not inside the root file system")),
    }
}

/// HOME from the container's own /etc/passwd where the environment has none, as login(1) would.
fn with_home(process: &Process) -> Vec<CString> {
    let mut env = process.env.clone();
    let place = env.iter().position(|e| e.as_bytes().starts_with(b"HOME="));
    if place.is_some_and(|i| env.get(i).is_some_and(|e| e.as_bytes() != b"HOME=")) {
        return env;
    }
    let home = home_of(process.identity.uid).unwrap_or_else(|| "/".into());
    if let Ok(home) = CString::new(format!("HOME={home}")) {
        match place.and_then(|i| env.get_mut(i)) {
            Some(entry) => *entry = home,
            None => env.push(home),
        }
    }
    env
}

/// The sixth field of the line of /etc/passwd whose third is `uid`. The file is the image's: it
/// may be anything, and only so much of it is read.
fn home_of(uid: u32) -> Option<String> {
    use std::io::Read;
    use std::os::unix::fs::OpenOptionsExt;
    let file = std::fs::OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
        .open("/etc/passwd")
        .ok()?;
    // Files of procfs have no size; reading some of them (kmsg) takes something away.
    let meta = file.metadata().ok()?;
    if !meta.is_file() || meta.len() == 0 {
        return None;
    }
    let mut text = Vec::new();
    file.take(1 << 20).read_to_end(&mut text).ok()?;
    let text = String::from_utf8_lossy(&text);
    let line = text.lines().find(|line| {
        line.split(':').nth(2).and_then(|field| field.parse::<u32>().ok()) == Some(uid)
    })?;
    line.split(':').nth(5).filter(|home| !home.is_empty()).map(str::to_owned)
}

/// Looks args[0] up as execvp(3) does, so that a missing program fails the create. The words are
/// those that engines turn into exit codes 126 and 127.
fn find(process: &Process, env: &[CString]) -> Result<CString> {
    let Some(name) = process.args.first() else {
        return Err(Error::invalid_field("process.args", "empty"));
    };
    let text = name.to_string_lossy();
    let fail = |why: String| Error::new(Kind::System, why).context(format!("exec: {text:?}"));
    if name.as_bytes().contains(&b'/') {
        let path = process.cwd.join(std::ffi::OsStr::from_bytes(name.as_bytes()));
        return match executable(&path) {
            Ok(()) => Ok(name.clone()),
            Err(errno) => Err(fail(words(errno, &path))),
        };
    }
    let path = env.iter().find_map(|e| e.as_bytes().strip_prefix(b"PATH="));
    let mut refused = None;
    for dir in path.unwrap_or(DEFAULT_PATH).split(|b| *b == b':') {
        let dir = process.cwd.join(std::ffi::OsStr::from_bytes(dir));
        let candidate: PathBuf = dir.join(std::ffi::OsStr::from_bytes(name.as_bytes()));
        match executable(&candidate) {
            Ok(()) => {
                return CString::new(candidate.into_os_string().into_encoded_bytes())
                    .map_err(|_| fail("its path holds a NUL".into()));
            }
            Err(Errno::EACCES) => refused = Some(candidate),
            Err(_) => {}
        }
    }
    Err(match refused {
        Some(path) => fail(words(Errno::EACCES, &path)),
        None => fail("executable file not found in $PATH".into()),
    })
}

fn executable(path: &Path) -> nix::Result<()> {
    let stat = nix::sys::stat::stat(path)?;
    if stat.st_mode & libc::S_IFMT == libc::S_IFDIR {
        return Err(Errno::EISDIR);
    }
    // With the effective capabilities: access(2) takes every one from a user that is not root.
    faccessat(AT_FDCWD, path, AccessFlags::X_OK, AtFlags::AT_EACCESS)
}

fn words(errno: Errno, path: &Path) -> String {
    match errno {
        // execve(2) says EACCES as well, and some engines know only that as 126.
        Errno::EISDIR => "is a directory: permission denied".into(),
        Errno::EACCES => "permission denied".into(),
        errno => format!("stat {}: {}", path.display(), Error::from(errno)),
    }
}

fn exec_error(process: &Process, program: &CStr, errno: Errno) -> Error {
    let name = process.args.first().map(|a| a.to_string_lossy().into_owned()).unwrap_or_default();
    let error = Error::from(errno);
    let error = match errno {
        Errno::ENOENT => match interpreter::of(Path::new(OsStr::from_bytes(program.to_bytes()))) {
            Ok(Some(needed)) => {
                error.advice(format_args!("its interpreter or loader is {needed:?}"))
            }
            Ok(None) => error.advice("its interpreter or loader is missing"),
            // It was found, and has gone since.
            Err(_) => error,
        },
        Errno::ENOEXEC => error
            .advice("it is built for another machine, or a script without #! in its first line"),
        _ => error,
    };
    error.context(format!("exec {name}"))
}
