//! The last steps of init and of the process of an exec, from the closed root file system to the
//! execution of the program.

use nix::errno::Errno;
use nix::sys::stat::Mode;

use super::birth::Birth;
use super::identity::Within;
use super::lifetime::{close_others, outlive_runtime};
use super::limits::Affinity;
use super::search::{find, with_home};
use super::start::Fifos;
use super::{enter, identity, limits, scheduling, start};
use crate::config::rlimits::Rlimit;
use crate::config::{FilterPoint, Listen, Process};
use crate::fs::Proc;
use crate::protocol::Socket;
use crate::sys::exec::Exec;
use crate::terminal::signals::{Ignored, reset_signals_for_exec};
use crate::{Context, Error, Result};

/// The program of a process that has its namespaces, its root and its terminal.
pub(crate) struct Program<'a> {
    pub process: &'a Process,
    pub filter_point: FilterPoint,
    pub birth: Birth<'a>,
    pub proc: &'a Proc,
    pub within: Within,
    pub affinity: Affinity,
    /// How many descriptors from 3 up the program gets, those of `listen` among them.
    pub preserve_fds: u32,
    pub listen: &'a Listen,
    /// The user namespace that init reports when it is ready; 0 if it is the runtime's.
    pub user_namespace: u64,
    /// Whether the process is not dumpable until it executes the program.
    pub is_hidden: bool,
    pub parent: &'a Socket,
    /// `None`: the process does not wait for `start`.
    pub fifos: Option<&'a Fifos>,
    pub signals: &'a Ignored,
    /// Runs the startContainer hooks, between `start` and execve(2).
    pub before: Option<&'a dyn Fn() -> Result<()>>,
}

impl Program<'_> {
    /// Takes the last steps and executes the program, or has a sibling execute it.
    ///
    /// Returns the exit status of a process that has cloned a sibling, or only after an error: an
    /// error after Go is reported to `start`, if the process waited for that, and the status is
    /// returned.
    pub fn run(&self, umask: Mode) -> Result<i32> {
        let process = self.process;
        // While the procfs of the host is open, and before no_new_privs, under which a confined
        // runtime may not change to another profile.
        apparmor(process, self.proc)?;
        selinux(process, self.proc)?;
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
                .map_err(Errno::from_raw)
                .context("set no_new_privs")?;
        }
        outlive_runtime()?;
        reset_signals_for_exec(self.signals)?;
        if self.fifos.is_some() {
            start::end_by_signals()?;
        }

        let entered = enter_cwd(process);
        identity::assume(&process.identity, self.within)?;
        if self.is_hidden && (process.identity.uid, process.identity.gid) != (0, 0) {
            // The change of ids has set the attribute to fs.suid_dumpable, which can be 1.
            enter::not_dumpable()?;
        }
        identity::regain_reach(&process.identity)?;
        // A directory that root may not enter (on NFS, say) may be open to the user.
        if entered.is_err() {
            enter_cwd(process)?;
        }
        inside_cwd(process)?;
        // As the user, like execve(2): the first match in PATH may be a file that only root may
        // execute.
        let program = find(process, &env)?;
        let exec = Exec::new(&program, &process.args, &env);
        if process.sets_own_rlimits {
            let all = !self.sets_process_count();
            let before_birth = |limit: &&Rlimit| all || !limit.is_process_count();
            limits::set(process.rlimits.iter().filter(before_birth), None)?;
        }
        match &self.birth {
            Birth::Here => self.execute_here(exec),
            Birth::Init => self.execute_as_init(exec),
            Birth::Exec(report) => self.execute_by_sibling(exec, report),
        }
    }

    /// Whether the sibling sets RLIMIT_NPROC: always for an exec, whose sibling is not waited for.
    pub(super) fn sets_process_count(&self) -> bool {
        match self.birth {
            Birth::Here => false,
            Birth::Init => self.process.sibling(self.process.sets_own_rlimits).sets_process_count,
            Birth::Exec(_) => self.process.sibling(true).sets_process_count,
        }
    }
}

/// Sets the AppArmor profile from execve(2) on: for hooks of the image, too.
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

/// Sets the SELinux label from execve(2) on: for hooks of the image, too.
fn selinux(process: &Process, proc: &Proc) -> Result<()> {
    process.selinux.as_ref().map_or(Ok(()), |label| enter::set_label(proc, "exec", label))
}

/// Returns the inode number of the user namespace of the calling process; 0 if the kernel has no
/// user namespaces.
pub(crate) fn user_namespace(proc: &Proc) -> Result<u64> {
    match proc.own_namespace_id("user") {
        Err(rustix::io::Errno::NOENT) => Ok(0),
        id => id.context("look at the user namespace"),
    }
}

fn enter_cwd(process: &Process) -> Result<()> {
    nix::unistd::chdir(&process.cwd).with_context(|| format!("process.cwd: {:?}", process.cwd))
}

/// Fails unless the working directory is below the root. The kernel returns a path that is not
/// absolute for a directory outside; libc's getcwd would then look for the name itself, with the
/// user's rights, and fail in many ways.
fn inside_cwd(process: &Process) -> Result<()> {
    match rustix::process::getcwd(Vec::new()) {
        Ok(path) if path.as_bytes().starts_with(b"/") => Ok(()),
        _ => Err(Error::invalid("process.cwd", &process.cwd, "not inside the root file system")),
    }
}
