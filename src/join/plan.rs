//! Every decision of an exec, made before the first side effect.

use std::ffi::CString;

use oci_spec::runtime::{Process as SpecProcess, Spec};
use rustix::thread::CpuSet;

use super::affinity::Affinities;
use super::{Request, cgroup};
use crate::cgroup::Record;
use crate::host::Host;
use crate::init::identity::Within;
use crate::init::limits::Affinity;
use crate::plan::{self, Choice, IdMaps, Kind, Listen, Namespaces, Process};
use crate::spec::annotations;
use crate::state::State;
use crate::{Error, Kind as ErrorKind, Result};

/// How a process gets into a container.
#[derive(Debug)]
pub struct Plan {
    /// What runs there.
    pub process: Process,
    /// The namespaces that the container does not share with the runtime of its create.
    pub kinds: Vec<Kind>,
    /// The runtime itself joins the pid namespace around the clone, which changes its children's
    /// only. Else, if the container has one, a go-between does: an unprivileged runtime has rights
    /// over it only from within the container's user namespace, and root of a user namespace may
    /// join it but not return.
    pub parent_joins_pid: bool,
    /// The user namespace that the process ends up in.
    pub within: Within,
    /// Whether the runtime's own rights serve to join what the container's root may not.
    pub is_privileged: bool,
    /// Where its cgroups are.
    pub cgroup: Record,
    /// Whether those were asked for by name: then no others will do.
    pub cgroup_is_explicit: bool,
    /// Name of the session keyring to join, if the container has one of its own.
    pub keyring: Option<CString>,
    /// Processors of the runtime before the clone.
    pub initial_affinity: Option<CpuSet>,
    /// Processors of the process.
    pub affinity: Affinity,
    /// How many descriptors from 3 up it gets, those of `listen` among them.
    pub preserve_fds: u32,
    /// What it is told of sockets that were handed over.
    pub listen: Listen,
}

impl Plan {
    /// Makes the plan; process and configuration have been checked.
    pub fn new(
        config: &Spec,
        process: &SpecProcess,
        state: &State,
        request: &Request<'_>,
        host: &Host,
        warnings: &mut Vec<String>,
    ) -> Result<Plan> {
        let linux = config.linux().as_ref();
        let list = linux.and_then(|linux| linux.namespaces().as_deref()).unwrap_or(&[]);
        let namespaces = Namespaces::new(list)?;
        let ids = linux.map(|linux| IdMaps::new(linux, &namespaces, host)).transpose()?.flatten();
        let kinds = Kind::ALL.into_iter().filter(|kind| *namespaces.get(*kind) != Choice::Inherit);
        let listen = Listen::from_environment()?;
        let affinities = Affinities::new(process)?;
        let plan = Plan {
            process: Process::new(
                process,
                linux,
                &namespaces,
                annotations::keeps_groups(config),
                request.seccomp_cache.as_deref(),
                host,
                warnings,
            )?,
            kinds: kinds.collect(),
            parent_joins_pid: namespaces.pid != Choice::Inherit && host.may_return_to_pid_namespace,
            within: Within {
                user_namespace: namespaces.has_user() || host.in_user_namespace,
                denies_setgroups: ids.is_some_and(|ids| ids.denies_setgroups()),
            },
            is_privileged: host.is_privileged(),
            cgroup: cgroup::inside(&state.cgroup, &request.cgroups)?,
            cgroup_is_explicit: !request.cgroups.is_empty(),
            keyring: match state.no_new_keyring {
                true => None,
                false => Some(plan::keyring_name(state.id.as_str())?),
            },
            initial_affinity: affinities.initial,
            affinity: affinities.last,
            preserve_fds: listen.count().saturating_add(request.preserve_fds),
            listen,
        };
        if plan.needs_go_between() && !plan.has(Kind::User) && !plan.is_privileged {
            let why = "joining the container's pid namespace needs CAP_SYS_ADMIN";
            return Err(Error::new(ErrorKind::System, why));
        }
        Ok(plan)
    }

    /// Whether the container has a namespace of that kind for itself.
    pub fn has(&self, kind: Kind) -> bool {
        self.kinds.contains(&kind)
    }

    /// Whether the process is cloned twice.
    pub fn needs_go_between(&self) -> bool {
        self.has(Kind::Pid) && !self.parent_joins_pid
    }
}
