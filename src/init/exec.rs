//! The end of a container's process, whether init or one that `exec` has put into the container:
//! the program is found, privileges go, `start` is waited for, execve.

use std::ffi::{CStr, OsStr};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::AtomicI32;

use nix::errno::Errno;
use nix::sys::signal::Signal;
use nix::sys::stat::Mode;

use super::birth::{self, Birth, Report, Step};
use super::descriptors::close_others;
use super::limits::{self, Affinity};
use super::program::{find, with_home};
use super::{Init, enter, identity, interpreter, scheduling};
use crate::config::process::Rlimit;
use crate::config::{Listen, Process};
use crate::error::retry_once;
use crate::fs::Proc;
use crate::hooks;
use crate::protocol::{Socket, ToInit, ToParent, encode_error, read};
use crate::seccomp::Call;
use crate::spawn::fifo::Fifos;
use crate::state::Status;
use crate::sys::clone::clone_sibling;
use crate::sys::exec::Exec;
use crate::sys::seccomp as filter;
use crate::sys::signal;
use crate::terminal::pty;
use crate::terminal::signals::{Ignored, reset_signals_for_exec};
use crate::{Context, Error, Result, sys};

/// What is left to do for a process that has its namespaces, its root and its terminal.
pub(crate) struct Program<'a> {
    /// What runs, as whom.
    pub process: &'a Process,
    /// Which process executes it.
    pub birth: Birth<'a>,
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
    /// Whether it is not dumpable until it executes the program.
    pub is_hidden: bool,
    /// Where to report.
    pub parent: &'a Socket,
    /// What `start` opens; `None`: it goes on at once.
    pub fifos: Option<&'a Fifos>,
    /// The signals that the caller ignores, for which the program gets the default action.
    pub signals: &'a Ignored,
    /// Between `start` and execve: the startContainer hooks, if there are any.
    pub before: Option<&'a dyn Fn() -> Result<()>>,
}

/// What a process has still to give up before it executes the program.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Remaining {
    Nothing,
    Filter,
    /// The filter needs a capability to be loaded.
    FilterThenCapabilities,
}

/// Runs init's program. Returns only with an error, or with the status of a container that has
/// none.
pub(crate) fn run(init: &Init<'_>, umask: Mode) -> Result<i32> {
    let plan = init.plan;
    let hooks = || start_hooks(init);
    let within = identity::Within {
        user_namespace: plan.in_user_namespace,
        denies_setgroups: plan.ids.as_ref().is_some_and(|ids| ids.denies_setgroups()),
    };
    // Last of all namespaces: every process that is cloned from here on is born there.
    if plan.route.joins_pid {
        enter::pid_namespace(init)?;
    }
    let Some(process) = &plan.process else { return without_process(init, within) };
    let program = Program {
        process,
        birth: if plan.route.joins_pid { Birth::Init } else { Birth::Here },
        proc: &init.inherited.proc,
        within,
        affinity: Affinity::All,
        preserve_fds: plan.preserve_fds,
        listen: &plan.listen,
        is_hidden: enter::is_hidden(plan),
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
        // The runtime records that of init, and of no other process.
        let user_namespace = match self.birth {
            Birth::Exec(_) => 0,
            Birth::Here | Birth::Init => user_namespace(self.proc)?,
        };
        // While the host's procfs is open, and before no_new_privs, under which a confined runtime
        // may not ask for another profile.
        apparmor(process, self.proc)?;
        let mask = process.identity.umask.map_or(umask, Mode::from_bits_truncate);
        nix::sys::stat::umask(mask);
        if let Birth::Exec(report) = &self.birth {
            report.hide_from_sibling()?;
        }
        // Before the first path that the image chooses: while a descriptor of a host directory is
        // open, /proc/self/fd/N is a way out, for a working directory (CVE-2024-21626) as for a
        // link in the place of /etc/passwd.
        close_others(self.preserve_fds, self.parent, self.fifos)?;
        self.affinity.set()?;
        scheduling::set_own(&process.scheduling)?;
        let mut env = with_home(process);
        self.listen.tell(&mut env);
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
        if self.is_hidden && (process.identity.uid, process.identity.gid) != (0, 0) {
            // The change has set it to fs.suid_dumpable, which can be 1.
            enter::not_dumpable()?;
        }
        identity::regain_reach(&process.identity)?;
        // A directory that root may not enter (on NFS, say) may be open to the user.
        if entered.is_err() {
            enter_cwd(process)?;
        }
        inside_cwd(process)?;
        // As the user, like execve: what root alone may run is not what stands first in its PATH.
        let program = find(process, &env)?;
        let exec = Exec::new(&program, &process.args, &env);
        if process.sets_own_rlimits {
            limits::set(self.limits_before_birth(), None)?;
        }
        match &self.birth {
            Birth::Here => self.execute_here(exec, user_namespace),
            Birth::Init => self.execute_as_init(exec, user_namespace),
            Birth::Exec(report) => self.execute_by_sibling(exec, report),
        }
    }

    /// This process is the program's.
    fn execute_here(&self, exec: Exec<'_>, user_namespace: u64) -> Result<i32> {
        let permits = self.permits(&birth::last_calls());
        let remaining = self.give_up(self.is_filtered_first() || permits)?;
        self.ready(user_namespace)?;
        self.wait_and_execute(exec, remaining, nix::unistd::getpid().as_raw())
    }

    /// A sibling becomes the container's init. The runtime learns of it, then hears from it.
    fn execute_as_init(&self, exec: Exec<'_>, user_namespace: u64) -> Result<i32> {
        let remaining = self.give_up(self.permits(&self.birth_calls(false)))?;
        let pid = clone_sibling(false, &AtomicI32::new(0), |pid| {
            let run = || {
                self.parent.wait_for(ToInit::Adopted)?;
                self.settle().map_err(|(step, errno)| birth::error_of(step, errno))?;
                let mut remaining = remaining;
                if self.is_filtered_first() {
                    self.give_up_rest(remaining)?;
                    remaining = Remaining::Nothing;
                }
                self.ready(user_namespace)?;
                self.wait_and_execute(exec, remaining, pid)
            };
            super::end(self.parent, run())
        });
        let pid = pid.context("clone init into the pid namespace")?;
        self.parent.tell_parent(&ToParent::Pid(pid))?;
        Ok(0)
    }

    /// A sibling executes the program of an exec at once; it has nothing but what the program has.
    fn execute_by_sibling(&self, mut exec: Exec<'_>, report: &Report) -> Result<i32> {
        let has_listener = self.process.listener.is_some();
        let mut calls = self.birth_calls(true);
        if has_listener {
            // The agent, which has the listener by then, may decide about it.
            calls.retain(|call| call.number != libc::SYS_execve);
        }
        let permits = self.permits(&calls);
        if !permits && has_listener {
            let why = "a profile with a listener must permit the calls that start a process: \
                       clone, setsid, read, write, close, exit_group";
            return Err(Error::invalid_field("linux.seccomp", why));
        }
        let remaining = self.give_up(permits)?;
        self.ready(0)?;
        nix::unistd::close(self.parent.as_raw_fd()).context("close the socket to the runtime")?;
        let pid = clone_sibling(true, report.born(), |pid| {
            let mut run = || {
                self.settle()?;
                let step = if remaining == Remaining::FilterThenCapabilities {
                    Step::Capabilities
                } else {
                    Step::Filter
                };
                self.give_up_rest(remaining)
                    .map_err(|error| (step, error.errno().unwrap_or(Errno::EINVAL)))?;
                Ok(self.execve(&mut exec, pid))
            };
            let (step, errno) = run().map_or_else(|failed| failed, |errno| (Step::Execute, errno));
            report.fail(step, errno);
            1
        });
        // Nobody listens on the socket any more.
        match pid {
            Ok(pid) => {
                let error = report.failure().map(|failure| match failure {
                    (Step::Execute, errno) => self.exec_error(exec.path(), errno),
                    (step, errno) => birth::error_of(step, errno),
                });
                report.tell(pid, error.as_ref());
            }
            Err(errno) => {
                let error = Error::from(errno).context("clone the process of the exec");
                report.tell(0, Some(&error));
            }
        }
        Ok(0)
    }

    fn ready(&self, user_namespace: u64) -> Result<()> {
        self.parent.tell_parent(&ToParent::Ready { user_namespace })?;
        self.parent.wait_for(ToInit::Go)
    }

    /// After Go.
    fn wait_and_execute(&self, mut exec: Exec<'_>, remaining: Remaining, pid: i32) -> Result<i32> {
        let mut last = || -> Result<Errno> {
            wait_for_start(self.fifos)?;
            self.before.map_or(Ok(()), |before| before())?;
            self.give_up_rest(remaining)?;
            Ok(self.execve(&mut exec, pid))
        };
        let error = match last() {
            Ok(errno) => self.exec_error(exec.path(), errno),
            Err(error) => error,
        };
        report_late(self.fifos, error)
    }

    fn execve(&self, exec: &mut Exec<'_>, pid: i32) -> Errno {
        let mut buffer = [0; 32];
        match self.listen.pid_variable(pid, &mut buffer) {
            Some(variable) => exec.run_with(variable),
            None => exec.run(),
        }
    }

    fn exec_error(&self, program: &CStr, errno: Errno) -> Error {
        let name = self.process.args.first();
        let name = name.map(|a| a.to_string_lossy().into_owned()).unwrap_or_default();
        let error = Error::from(errno);
        let error = match errno {
            // A filter may kill the process that looks.
            Errno::ENOENT if !self.permits(&interpreter::calls()) => error,
            Errno::ENOENT => {
                match interpreter::of(Path::new(OsStr::from_bytes(program.to_bytes()))) {
                    Ok(Some(needed)) => {
                        error.advice(format_args!("its interpreter or loader is {needed:?}"))
                    }
                    Ok(None) => error.advice("its interpreter or loader is missing"),
                    // It was found, and has gone since.
                    Err(_) => error,
                }
            }
            Errno::ENOEXEC => error.advice(
                "it is built for another machine, or a script without #! in its first line",
            ),
            _ => error,
        };
        error.context(format!("exec {name}"))
    }

    fn is_filtered_first(&self) -> bool {
        let (process, has_hooks) = (self.process, self.before.is_some());
        birth::is_filtered_first(process.no_new_privileges, process.listener.is_some(), has_hooks)
    }

    fn birth_calls(&self, waits: bool) -> Vec<Call> {
        birth::calls(waits, self.process.terminal, self.sets_process_count())
    }

    fn permits(&self, calls: &[Call]) -> bool {
        self.process.seccomp.as_ref().is_none_or(|filter| filter.permits(calls))
    }

    /// Loads the filter, if that is to be `now`, and gives up the capabilities.
    fn give_up(&self, now: bool) -> Result<Remaining> {
        let remaining = match (&self.process.seccomp, self.process.no_new_privileges) {
            (None, _) => Remaining::Nothing,
            (Some(_), true) => Remaining::Filter,
            (Some(_), false) => Remaining::FilterThenCapabilities,
        };
        if remaining != Remaining::FilterThenCapabilities {
            identity::set_capabilities(&self.process.identity.caps)?;
        }
        if !now {
            return Ok(remaining);
        }
        self.give_up_rest(remaining)?;
        Ok(Remaining::Nothing)
    }

    /// Without no_new_privs loading a filter needs CAP_SYS_ADMIN, so it comes before that goes; but
    /// after all that needs system calls which the filter may refuse.
    fn give_up_rest(&self, remaining: Remaining) -> Result<()> {
        match remaining {
            Remaining::Nothing => Ok(()),
            Remaining::Filter => self.seccomp(),
            Remaining::FilterThenCapabilities => {
                identity::regain(&self.process.identity)?;
                self.seccomp()?;
                identity::set_capabilities(&self.process.identity.caps)
            }
        }
    }

    /// What a sibling has to do itself: the session and its terminal end with the process that
    /// leads it, and a limit on the number of processes must not keep it from being born.
    fn settle(&self) -> std::result::Result<(), (Step, Errno)> {
        nix::unistd::setsid().map_err(|errno| (Step::Session, errno))?;
        if self.process.terminal {
            pty::control(sys::term::stdio()[0]).map_err(|errno| (Step::Terminal, errno))?;
        }
        if self.sets_process_count() {
            limits::set(
                self.process.rlimits.iter().filter(|limit| limits::is_process_count(limit)),
                None,
            )
            .map_err(|error| (Step::Limit, error.errno().unwrap_or(Errno::EINVAL)))?;
        }
        Ok(())
    }

    /// Whether the sibling sets RLIMIT_NPROC: always for an exec, whose sibling nobody waits for.
    fn sets_process_count(&self) -> bool {
        let by_sibling = match self.birth {
            Birth::Here => false,
            Birth::Init => self.process.sets_own_rlimits,
            Birth::Exec(_) => true,
        };
        by_sibling && self.process.rlimits.iter().any(limits::is_process_count)
    }

    /// The limits that the process sets before a sibling is born.
    fn limits_before_birth(&self) -> impl Iterator<Item = &Rlimit> {
        let all = !self.sets_process_count();
        self.process.rlimits.iter().filter(move |limit| all || !limits::is_process_count(limit))
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
    retry_once(|| Ok(nix::unistd::write(&fifos.result, &text)?)).context("report to start")?;
    Ok(1)
}

/// The spec allows a container without a process; it can be created, and never started.
fn without_process(init: &Init<'_>, within: identity::Within) -> Result<i32> {
    let user_namespace = user_namespace(&init.inherited.proc)?;
    let is_sibling = init.plan.route.joins_pid;
    close_others(init.plan.preserve_fds, init.parent, init.fifos)?;
    outlive_runtime()?;
    identity::forgo(within)?;
    let wait = || {
        init.parent.tell_parent(&ToParent::Ready { user_namespace })?;
        init.parent.wait_for(ToInit::Go)?;
        let missing = || Error::invalid_field("process", "missing, so there is nothing to start");
        report_late(init.fifos, wait_for_start(init.fifos).err().unwrap_or_else(missing))
    };
    if !is_sibling {
        return wait();
    }
    let born = || init.parent.wait_for(ToInit::Adopted).and_then(|()| wait());
    let pid = clone_sibling(false, &AtomicI32::new(0), |_| super::end(init.parent, born()));
    init.parent.tell_parent(&ToParent::Pid(pid.context("clone init into the pid namespace")?))?;
    Ok(0)
}

/// The user namespace that the calling process is in, by its inode number; 0 if the kernel has none.
pub(crate) fn user_namespace(proc: &Proc) -> Result<u64> {
    match proc.own_namespace("user") {
        Ok(file) => Ok(rustix::fs::fstat(&file).context("look at the user namespace")?.st_ino),
        Err(rustix::io::Errno::NOENT) => Ok(0),
        Err(errno) => Err(Error::from(errno).context("open the user namespace")),
    }
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
