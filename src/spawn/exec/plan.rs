//! The decisions about a process that enters a container, made before the first side effect.

use std::ffi::CString;

use oci_spec::runtime::{Process as SpecProcess, Spec};

use super::affinity;
use super::cgroup::ExecCgroup;
use super::request::ExecRequest;
use crate::config::annotations;
use crate::config::process;
use crate::config::{
    self, Choice, FilterPoint, IdMaps, KINDS, Kind, Listen, Namespaces, Process, TerminalRequest,
};
use crate::host::Host;
use crate::init::identity::Within;
use crate::init::limits::Affinity;
use crate::state::State;
use crate::sys::sched::Mask;
use crate::{Error, Kind as ErrorKind, Result};

#[derive(Debug)]
pub(crate) struct ExecPlan {
    pub process: Process,
    pub filter_point: FilterPoint,
    /// The namespaces that the container does not share with the runtime of its create.
    pub kinds: Vec<Kind>,
    /// Whether the container was put into the pid namespace of others.
    pub joins_pid: bool,
    pub within: Within,
    /// Whether the rights of the runtime, rather than of the container's root, serve to join
    /// namespaces.
    pub is_privileged: bool,
    pub cgroup: ExecCgroup,
    /// Name of the session keyring to join, if the container has one of its own.
    pub keyring: Option<CString>,
    pub initial_affinity: Option<Mask>,
    pub affinity: Affinity,
    /// How many descriptors from 3 up the process gets, those of `listen` among them.
    pub preserve_fds: u32,
    pub listen: Listen,
}

/// Returns the name of the session keyring; in a container of an older version it is made of the id
/// alone.
fn keyring(state: &State) -> Result<Option<CString>> {
    if state.no_new_keyring {
        return Ok(None);
    }
    let Some(name) = &state.keyring else {
        return config::keyring_name(state.id.as_str()).map(Some);
    };
    let bad = |_| Error::new(ErrorKind::State, "the keyring's name in the state holds a NUL");
    CString::new(name.as_str()).map(Some).map_err(bad)
}

impl ExecPlan {
    pub fn new(
        config: &Spec,
        process: &SpecProcess,
        state: &State,
        request: &ExecRequest<'_>,
        host: &Host,
        warnings: &mut Vec<String>,
    ) -> Result<ExecPlan> {
        let linux = config.linux().as_ref();
        let namespaces = Namespaces::new(linux.and_then(|linux| linux.namespaces().as_ref()))?;
        let ids = linux.map(|linux| IdMaps::new(linux, &namespaces, host)).transpose()?.flatten();
        let has = |kind: Kind| match kind {
            Kind::Time if state.keeps_clocks => true,
            kind => *namespaces.get(kind) != Choice::Inherit,
        };
        let kinds = KINDS.into_iter().filter(|kind| has(*kind));
        let listen = request.options.listen.clone();
        let around = process::Surroundings {
            linux,
            namespaces: &namespaces,
            // Those of a namespace that the configuration joins are the kernel's to know.
            ids: ids.as_ref().filter(|_| namespaces.user == Choice::New),
            keeps_groups: annotations::keeps_groups(config),
            terminal: TerminalRequest {
                console_socket: request.options.console_socket.is_some()
                    || request.options.console.is_some(),
                detached: request.detached,
            },
            host,
        };
        let process = Process::new(process, &around, warnings)?;
        let (initial_affinity, affinity) = affinity::both(process.exec_affinity.as_ref());
        let plan = ExecPlan {
            filter_point: process.filter_point_of_exec()?,
            process,
            kinds: kinds.collect(),
            joins_pid: namespaces.pid.path().is_some(),
            within: Within {
                user_namespace: namespaces.has_user() || host.in_user_namespace,
                denies_setgroups: ids.is_some_and(|ids| ids.denies_setgroups()),
            },
            is_privileged: host.is_privileged(),
            cgroup: ExecCgroup::new(&state.cgroup, &request.options.cgroups)?,
            keyring: keyring(state)?,
            initial_affinity,
            affinity,
            preserve_fds: listen.count().saturating_add(request.options.preserve_fds),
            listen,
        };
        if plan.has(Kind::Pid) && !plan.has(Kind::User) && !plan.is_privileged {
            let why = "joining the container's pid namespace needs CAP_SYS_ADMIN";
            return Err(Error::new(ErrorKind::System, why));
        }
        Ok(plan)
    }

    /// Whether the container has a namespace of that kind for itself.
    pub fn has(&self, kind: Kind) -> bool {
        self.kinds.contains(&kind)
    }
}
