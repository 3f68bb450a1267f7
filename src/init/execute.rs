//! The process that executes the program, in the three ways of [`Birth`](super::birth::Birth), and
//! its last restrictions: seccomp filter and capabilities.

use std::ffi::{CStr, OsStr};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::AtomicI32;

use nix::errno::Errno;

use super::birth::{self, Report, Step};
use super::last_steps::Program;
use super::lifetime::exit_status;
use super::{identity, interpreter, limits, start};
use crate::config::FilterPoint;
use crate::protocol::{ToInit, ToParent};
use crate::sys::clone::clone_sibling;
use crate::sys::exec::Exec;
use crate::sys::seccomp as filter;
use crate::terminal::pty;
use crate::{Context, Error, Result, sys};

/// The restrictions that a process must still take on before it executes the program.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Remaining {
    Nothing,
    Filter,
    /// The filter needs a capability to be loaded.
    FilterThenCapabilities,
}

impl Program<'_> {
    pub(super) fn execute_here(&self, exec: Exec<'_>) -> Result<i32> {
        let remaining = self.restrict(self.filter_point != FilterPoint::Execute)?;
        self.ready()?;
        self.wait_and_execute(exec, remaining, nix::unistd::getpid().as_raw())
    }

    /// A sibling becomes the container's init: the runtime learns its id, then receives its
    /// messages.
    pub(super) fn execute_as_init(&self, exec: Exec<'_>) -> Result<i32> {
        let remaining = self.restrict(self.filter_point == FilterPoint::Clone)?;
        let pid = clone_sibling(false, &AtomicI32::new(0), |pid| {
            let run = || {
                self.parent.wait_for(ToInit::Adopted)?;
                self.settle().map_err(|(step, errno)| birth::error_of(step, errno))?;
                let mut remaining = remaining;
                if self.filter_point == FilterPoint::Ready {
                    self.restrict_fully(remaining)?;
                    remaining = Remaining::Nothing;
                }
                self.ready()?;
                self.wait_and_execute(exec, remaining, pid)
            };
            exit_status(self.parent, run())
        });
        let pid = pid.context("clone init into the pid namespace")?;
        self.parent.tell_parent(&ToParent::Pid(pid))?;
        Ok(0)
    }

    /// A sibling executes the program of an exec at once; it has nothing that the program does not
    /// have.
    pub(super) fn execute_by_sibling(&self, mut exec: Exec<'_>, report: &Report) -> Result<i32> {
        let remaining = self.restrict(self.filter_point == FilterPoint::Clone)?;
        self.ready()?;
        nix::unistd::close(self.parent.as_raw_fd()).context("close the socket to the runtime")?;
        let pid = clone_sibling(true, report.born(), |pid| {
            let mut run = || {
                self.settle()?;
                let step = if remaining == Remaining::FilterThenCapabilities {
                    Step::Capabilities
                } else {
                    Step::Filter
                };
                self.restrict_fully(remaining)
                    .map_err(|error| (step, error.errno().unwrap_or(Errno::EINVAL)))?;
                Ok(self.execve(&mut exec, pid))
            };
            let (step, errno) = run().map_or_else(|failed| failed, |errno| (Step::Execute, errno));
            report.fail(step, errno);
            1
        });
        // The runtime does not read from the socket any more.
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

    fn ready(&self) -> Result<()> {
        let user_namespace = self.user_namespace;
        self.parent.tell_parent(&ToParent::Ready { user_namespace })?;
        self.parent.wait_for(ToInit::Go)
    }

    /// Waits for `start`, runs the startContainer hooks and executes the program. Returns only
    /// after an error.
    fn wait_and_execute(&self, mut exec: Exec<'_>, remaining: Remaining, pid: i32) -> Result<i32> {
        let mut last = || -> Result<Errno> {
            start::wait(self.fifos)?;
            self.before.map_or(Ok(()), |before| before())?;
            self.restrict_fully(remaining)?;
            Ok(self.execve(&mut exec, pid))
        };
        let error = match last() {
            Ok(errno) => self.exec_error(exec.path(), errno),
            Err(error) => error,
        };
        start::report(self.fifos, error)
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
            Errno::ENOENT if !self.may_look() => error,
            Errno::ENOENT => {
                match interpreter::of(Path::new(OsStr::from_bytes(program.to_bytes()))) {
                    Ok(Some(needed)) => {
                        error.advice(format_args!("its interpreter or loader is {needed:?}"))
                    }
                    Ok(None) => error.advice("its interpreter or loader is missing"),
                    // The file was found and has been removed since.
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

    /// Sets the capabilities and, if `now`, loads the filter.
    fn restrict(&self, now: bool) -> Result<Remaining> {
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
        self.restrict_fully(remaining)?;
        Ok(Remaining::Nothing)
    }

    /// Takes on the remaining restrictions. Without no_new_privs a filter needs CAP_SYS_ADMIN to be
    /// loaded, so it is loaded before that capability goes; but after every step that needs system
    /// calls which the filter may refuse.
    fn restrict_fully(&self, remaining: Remaining) -> Result<()> {
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

    /// Whether the filter permits to read the program's file: it could kill the process.
    fn may_look(&self) -> bool {
        let filter = self.process.seccomp.as_ref();
        filter.is_none_or(|filter| filter.permits(&interpreter::calls()))
    }

    /// Takes the steps that only the sibling itself can take: a session and its terminal end with
    /// the process that leads the session, and a limit on the number of processes must not keep the
    /// sibling from being born.
    fn settle(&self) -> std::result::Result<(), (Step, Errno)> {
        nix::unistd::setsid().map_err(|errno| (Step::Session, errno))?;
        if self.process.terminal {
            pty::control(sys::term::stdio()[0]).map_err(|errno| (Step::Terminal, errno))?;
        }
        if self.sets_process_count() {
            limits::set(self.process.rlimits.iter().filter(|limit| limit.is_process_count()), None)
                .map_err(|error| (Step::Limit, error.errno().unwrap_or(Errno::EINVAL)))?;
        }
        Ok(())
    }
}
