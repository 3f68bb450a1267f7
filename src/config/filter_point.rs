//! When a process loads its seccomp filter: as early as the filter permits all system calls that
//! the process makes under it.

use super::process::Process;
use super::rlimits::Rlimit;
use crate::seccomp::{Call, Filter};
use crate::sys::clone::sibling_call;
use crate::{Error, Result};

/// The step before which a process that sets a container up loads the filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FilterPoint {
    /// The clone of the sibling that executes the program: the sibling inherits the filter.
    Clone,
    /// The message that the process is ready.
    Ready,
    /// execve(2). The process waits for `start` without the filter.
    Execute,
}

/// A sibling of the process that sets the container up, which executes the program.
#[derive(Debug, Clone, Copy)]
pub struct Sibling {
    /// Whether it has a controlling terminal.
    pub terminal: bool,
    /// Whether it sets RLIMIT_NPROC.
    pub sets_process_count: bool,
}

impl FilterPoint {
    /// Returns the point for a container's init; `sibling` describes it if it is a sibling.
    ///
    /// In three cases the filter is in force at the latest when the runtime hears of init: without
    /// no_new_privs the filter takes a capability that the program may not have, a listener goes to
    /// its agent, and startContainer hooks are programs of the image, which must not run outside of
    /// the filter.
    pub fn of_init(
        filter: &Filter,
        no_new_privileges: bool,
        has_start_hooks: bool,
        sibling: Option<Sibling>,
    ) -> FilterPoint {
        let must_be_ready = !no_new_privileges || filter.notify || has_start_hooks;
        match sibling {
            Some(sibling) if filter.permits(&sibling.calls(false)) => FilterPoint::Clone,
            None if filter.permits(&last_calls()) => FilterPoint::Ready,
            _ if must_be_ready => FilterPoint::Ready,
            _ => FilterPoint::Execute,
        }
    }

    /// Returns the point for the process of an exec, which is a sibling.
    ///
    /// # Errors
    /// The filter has a listener and does not permit the calls: the sibling has no descriptor to
    /// send the listener through.
    fn of_exec(filter: &Filter, sibling: Sibling) -> Result<FilterPoint> {
        let mut calls = sibling.calls(true);
        if filter.notify {
            // The agent, which has the listener by then, may decide about it.
            calls.retain(|call| call.number != libc::SYS_execve);
        }
        match filter.permits(&calls) {
            true => Ok(FilterPoint::Clone),
            false if filter.notify => {
                let why = "a profile with a listener must permit the calls that start a process: \
                           clone, setsid, read, write, close, exit_group";
                Err(Error::invalid_field("linux.seccomp", why))
            }
            false => Ok(FilterPoint::Execute),
        }
    }
}

impl Process {
    /// Returns the point at which the process loads its filter as a container's init.
    pub fn filter_point_of_init(&self, is_sibling: bool, has_start_hooks: bool) -> FilterPoint {
        let Some(filter) = &self.seccomp else { return FilterPoint::Ready };
        let sibling = is_sibling.then(|| self.sibling(self.sets_own_rlimits));
        FilterPoint::of_init(filter, self.no_new_privileges, has_start_hooks, sibling)
    }

    /// Returns the point at which the process loads its filter as that of an exec.
    ///
    /// # Errors
    /// The profile has a listener, and does not permit to start a process.
    pub fn filter_point_of_exec(&self) -> Result<FilterPoint> {
        let Some(filter) = &self.seccomp else { return Ok(FilterPoint::Clone) };
        FilterPoint::of_exec(filter, self.sibling(true))
    }

    /// Describes the sibling that executes the program; `sets_limits`: it sets its limits itself.
    pub fn sibling(&self, sets_limits: bool) -> Sibling {
        let sets_process_count = sets_limits && self.rlimits.iter().any(Rlimit::is_process_count);
        Sibling { terminal: self.terminal, sets_process_count }
    }
}

impl Sibling {
    /// Returns the system calls from the clone of the sibling on: the last calls and the settings
    /// of the sibling. `waits`: the process that clones it waits for its execve(2).
    fn calls(self, waits: bool) -> Vec<Call> {
        let (clone, flags) = sibling_call(waits);
        let mut calls = last_calls();
        calls.push(Call::with(clone, [flags, 0]));
        calls.push(Call::any(libc::SYS_setsid));
        if waits {
            calls.push(Call::any(libc::SYS_close));
        }
        if self.terminal {
            calls.push(Call::with(libc::SYS_ioctl, [0, libc::TIOCSCTTY as libc::c_ulong, 0]));
        }
        if self.sets_process_count {
            calls.push(Call::with(libc::SYS_prlimit64, [0, libc::RLIMIT_NPROC as u64]));
        }
        calls
    }
}

/// Returns the system calls of a process that is under its filter and waits to execute the program.
fn last_calls() -> Vec<Call> {
    [libc::SYS_read, libc::SYS_write, libc::SYS_execve, libc::SYS_exit_group].map(Call::any).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A program of one instruction, which returns `action` for every call.
    fn filter(action: u32, notify: bool) -> Filter {
        let code = (libc::BPF_RET | libc::BPF_K) as u16;
        let program = [code.to_ne_bytes().as_slice(), &[0, 0], &action.to_ne_bytes()].concat();
        Filter { program, flags: 0, notify }
    }

    const SIBLING: Sibling = Sibling { terminal: true, sets_process_count: true };

    #[test]
    fn a_filter_is_loaded_as_early_as_it_permits() {
        let allow = filter(libc::SECCOMP_RET_ALLOW, false);
        assert_eq!(FilterPoint::of_init(&allow, true, false, None), FilterPoint::Ready);
        assert_eq!(FilterPoint::of_init(&allow, true, false, Some(SIBLING)), FilterPoint::Clone);
        assert_eq!(FilterPoint::of_exec(&allow, SIBLING).unwrap(), FilterPoint::Clone);
        let deny = filter(libc::SECCOMP_RET_ERRNO, false);
        for sibling in [None, Some(SIBLING)] {
            let point = |privileges, hooks| FilterPoint::of_init(&deny, privileges, hooks, sibling);
            assert_eq!(point(true, false), FilterPoint::Execute);
            assert_eq!(point(false, false), FilterPoint::Ready);
            assert_eq!(point(true, true), FilterPoint::Ready);
        }
        assert_eq!(FilterPoint::of_exec(&deny, SIBLING).unwrap(), FilterPoint::Execute);
    }

    #[test]
    fn a_filter_with_a_listener_is_not_loaded_last() {
        let deny = filter(libc::SECCOMP_RET_ERRNO, true);
        assert_eq!(FilterPoint::of_init(&deny, true, false, None), FilterPoint::Ready);
        assert!(FilterPoint::of_exec(&deny, SIBLING).is_err());
    }
}
