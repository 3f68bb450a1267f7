//! The runtime's side of a create, top to bottom: read, check, plan, reserve; then
//! `attempt` makes it real.
//!
//! After an error the host is as if nothing had been tried (runtime.md, "Errors"): [`Launch`]
//! knows what has been made so far and undoes exactly that.

mod attempt;

use std::path::PathBuf;

pub use self::attempt::{Launch, Running, kill};
use crate::cgroup::{CgroupOptions, CgroupPlan, Layout, Resources};
use crate::config::{Listen, Options, Plan, annotations};
use crate::host::Host;
use crate::sd_notify;
use crate::spawn::record;
use crate::state::{Id, Store};
use crate::terminal::signals::Ignored;
use crate::terminal::socket;
use crate::{Result, config, log, systemd};

/// What a command asks for.
#[derive(Debug)]
pub struct Request<'a> {
    /// The new container's id.
    pub id: Id,
    /// The bundle, absolute.
    pub bundle: PathBuf,
    /// In place of the bundle's config.json.
    pub config: Option<PathBuf>,
    /// Where the terminal's master goes.
    pub console_socket: Option<PathBuf>,
    /// Where a pidfd of init goes.
    pub pidfd_socket: Option<PathBuf>,
    /// Where its process id is written.
    pub pid_file: Option<PathBuf>,
    /// chroot in place of pivot_root.
    pub no_pivot: bool,
    /// Keep the caller's session keyring.
    pub no_new_keyring: bool,
    /// Descriptors from 3 up that the container gets. The caller has opened them, or reserved
    /// their numbers.
    pub preserve_fds: u32,
    /// The runtime does not stay in the foreground.
    pub detached: bool,
    /// Init waits for a later `start`.
    pub waits_for_start: bool,
    /// Whether a cgroup that may not be used is no error, if no limit is asked for; `None`: yes
    /// without the machine's root.
    pub rootless: Option<bool>,
    /// systemd makes the cgroup.
    pub systemd_cgroup: bool,
    /// The variables that tell where systemd is.
    pub environment: systemd::Environment,
    /// No cgroup is made, and limits are refused.
    pub no_cgroup: bool,
    /// The signals that the caller ignores, for which the program gets the default action.
    pub signals: &'a Ignored,
    /// The service manager that wants to know when the container is ready.
    pub notify: Option<sd_notify::Host>,
    /// Where compiled seccomp filters are kept.
    pub seccomp_cache: Option<PathBuf>,
}

/// Does everything up to the point where init waits. The state and the pid file are written; if
/// this process dies now, init dies with it.
pub fn launch(store: &Store, request: &Request<'_>) -> Result<Launch> {
    let mut warnings = Vec::new();
    let host = Host::probe()?;
    let path = request.config.clone().unwrap_or_else(|| request.bundle.join("config.json"));
    let mut loaded = config::load(&path)?;
    warnings.append(&mut loaded.warnings);
    let rootless = request.rootless.unwrap_or(host.is_rootless);
    let given = config::Given {
        console_socket: request.console_socket.is_some(),
        detached: request.detached,
        rootless: !host.is_privileged(),
    };
    config::check(&loaded.spec, &given)?;
    let dir = store.path().join(request.id.as_str());
    let notify = request.notify.clone();
    let notify = notify.filter(|_| sd_notify::add_to(&mut loaded.spec, &dir, &mut warnings));
    let options = Options {
        id: request.id.as_str().to_owned(),
        bundle: request.bundle.clone(),
        no_pivot: request.no_pivot,
        no_new_keyring: request.no_new_keyring,
        preserve_fds: request.preserve_fds,
        listen: Listen::from_environment()?,
        seccomp_cache: request.seccomp_cache.clone(),
    };
    let mut plan = Plan::new(&loaded.spec, &options, &host, &mut warnings)?;
    let cgroup =
        plan_cgroup(&loaded.spec, &plan.resources, request, rootless, &host, &mut warnings)?;
    let console = request.console_socket.as_deref();
    let console = console.map(|path| socket::connect("--console-socket", path)).transpose()?;
    warnings.iter().for_each(log::warn);

    plan.hooks.open_output()?;
    let state = record::state(request, &plan, &host, &cgroup, &loaded.raw)?;
    // From here on there is something to undo.
    let reserved = store.reserve(&request.id, &record::intent(&state))?;
    let launch =
        Launch::new(plan, state, reserved, notify).run(&host, &cgroup, request, console)?;
    launch.save_filter();
    Ok(launch)
}

fn plan_cgroup(
    spec: &oci_spec::runtime::Spec,
    resources: &Resources,
    request: &Request<'_>,
    rootless: bool,
    host: &Host,
    warnings: &mut Vec<String>,
) -> Result<CgroupPlan> {
    if request.no_cgroup {
        return CgroupPlan::disabled(resources, warnings);
    }
    let options = CgroupOptions {
        rootless,
        in_user_namespace: host.in_user_namespace,
        systemd: request.systemd_cgroup.then(|| request.environment.clone()),
        mounts_devices: spec.mounts().iter().flatten().any(needs_device),
    };
    let mut plan = CgroupPlan::new(
        &Layout::probe()?,
        request.id.as_str(),
        spec.linux().as_ref().and_then(|linux| linux.cgroups_path().as_deref()),
        resources,
        &options,
        warnings,
    )?;
    let annotation = |name| spec.annotations().as_ref().and_then(|all| all.get(name));
    for (name, counts) in [
        (annotations::SYSTEMD_SUBGROUP, request.systemd_cgroup),
        (annotations::DELEGATE_CGROUP, true),
    ] {
        if let Some(path) = annotation(name).filter(|_| counts) {
            plan.start_below(name, path)?;
        }
    }
    if request.systemd_cgroup {
        let annotations = spec.annotations().iter().flatten();
        let pairs = annotations.map(|(key, value)| (key.as_str(), value.as_str()));
        plan.set(systemd::annotations::properties(pairs)?);
    }
    Ok(plan)
}

/// Whether it may be a file system on a block device: what has a path as source is no bind mount.
fn needs_device(mount: &oci_spec::runtime::Mount) -> bool {
    let options = mount.options().as_deref().unwrap_or(&[]);
    let binds = options.iter().any(|option| option == "bind" || option == "rbind");
    !binds && mount.source().as_ref().is_some_and(|source| source.is_absolute())
}
