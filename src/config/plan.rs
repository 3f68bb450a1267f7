//! Combines configuration, command line and host into a [`Plan`]: every decision of `create`, made
//! before the first side effect. Planning changes nothing on the host; the code after it decides
//! nothing.

use std::ffi::CString;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::{Path, PathBuf};

use nix::mount::MsFlags;
use oci_spec::runtime::{Linux, Root, Spec};

use super::annotations::Annotations;
use super::cgroup::{self, CgroupRequest};
use super::devices::{self, Device, Origins};
use super::filter_point::FilterPoint;
use super::ids::IdMaps;
use super::listen::Listen;
use super::mounts::{self, DevConsole, Mount, Users};
use super::namespaces::{Choice, Kind, Namespaces};
use super::net_devices::NetDevice;
use super::process::{self, Process, TerminalRequest};
use super::route::Route;
use super::{hooks, intel_rdt, linux, net_devices, sysctl};
use crate::hooks::Hooks;
use crate::host::Host;
use crate::{Error, Result, resctrl, sd_notify};

/// The options of the command line.
#[derive(Debug, Clone, Default)]
pub struct PlanOptions {
    /// The container's id, which is valid.
    pub id: String,
    /// The bundle, as an absolute path.
    pub bundle: PathBuf,
    /// Whether to use chroot(2) in the place of pivot_root(2), which fails if the root file system
    /// is on a ramfs.
    pub no_pivot: bool,
    /// Whether to keep the caller's session keyring.
    pub no_new_keyring: bool,
    /// The number of descriptors, from 3 on, that the container's process gets in addition to those
    /// of `listen`.
    pub preserve_fds: u32,
    /// The descriptors of socket activation.
    pub listen: Listen,
    /// How the terminal is served.
    pub terminal: TerminalRequest,
    /// How the cgroup is created.
    pub cgroup: CgroupRequest,
    /// The host directory with the container's readiness socket, if a service manager waits for the
    /// container to be ready.
    pub notify_dir: Option<PathBuf>,
}

/// Everything that `create` will do.
#[derive(Debug)]
pub struct Plan {
    /// The bundle's absolute path.
    pub bundle: PathBuf,
    /// The absolute path of the root file system, free of symbolic links.
    pub rootfs: PathBuf,
    /// Whether the root is remounted read-only after setup.
    pub readonly_root: bool,
    /// The propagation of `/` in the container: one of MS_SHARED, MS_SLAVE, MS_PRIVATE,
    /// MS_UNBINDABLE, with or without MS_REC (mount(2)).
    pub propagation: MsFlags,
    /// Whether chroot(2) replaces pivot_root(2).
    pub no_pivot: bool,
    /// The choice for each kind of namespace.
    pub namespaces: Namespaces,
    /// The order in which the namespaces are entered, and the processes that enter them.
    pub route: Route,
    /// The mappings of a new user namespace.
    pub ids: Option<IdMaps>,
    /// The mappings that the configuration gives for a user namespace to join.
    pub copied_ids: Option<IdMaps>,
    /// The mounts, in the order listed.
    pub mounts: Vec<Mount>,
    /// The SELinux label of file systems that the runtime makes in addition to `mounts`.
    pub mount_label: Option<String>,
    /// Default devices and those of the configuration.
    pub devices: Vec<Device>,
    /// Whether the container is in a user namespace, its own or the runtime's. No device node can
    /// be created there, and setgroups(2) may be denied.
    pub in_user_namespace: bool,
    /// Whether devices and links are created: not if the configuration binds a /dev of its own.
    pub populate_dev: bool,
    /// Paths to hide.
    pub masked: Vec<PathBuf>,
    /// Paths to make read-only.
    pub readonly: Vec<PathBuf>,
    /// Paths below /proc/sys, with their values.
    pub sysctl: Vec<(String, String)>,
    /// The host name for the UTS namespace.
    pub hostname: Option<String>,
    /// The NIS domain name for the UTS namespace.
    pub domainname: Option<String>,
    /// The name of the session keyring to join, if any.
    pub keyring: Option<CString>,
    /// The process; a container without a process cannot be started (the specification allows it).
    pub process: Option<Process>,
    /// When init loads the seccomp filter of `process`.
    pub filter_point: FilterPoint,
    /// The offsets of a new time namespace, in the format of /proc/self/timens_offsets.
    pub time_offsets: Option<String>,
    /// The hooks of all six kinds.
    pub hooks: Hooks,
    /// The container's cgroup.
    pub cgroup: crate::cgroup::CgroupPlan,
    /// The resctrl groups of the container.
    pub intel_rdt: Option<resctrl::Plan>,
    /// The annotations.
    pub annotations: Annotations,
    /// The network devices that move into the container.
    pub net_devices: Vec<NetDevice>,
    /// Whether the readiness socket is mounted and the program gets its address.
    pub notifies: bool,
    /// The number of descriptors, from 3 on, that the container keeps, including those of `listen`.
    pub preserve_fds: u32,
    /// The descriptors of socket activation.
    pub listen: Listen,
}

impl Plan {
    /// Builds the plan, section by section. Changes nothing on the host.
    ///
    /// # Errors
    /// The first field that is invalid, that this version does not support, or that this host
    /// cannot provide.
    pub fn new(
        spec: &Spec,
        options: &PlanOptions,
        host: &Host,
        warnings: &mut Vec<String>,
    ) -> Result<Plan> {
        let (rootfs, readonly_root) = root(spec.root().as_ref(), &options.bundle)?;
        let annotations = Annotations::new(spec)?;
        let bare;
        let linux = match spec.linux() {
            Some(linux) => linux,
            None => {
                bare = bare_linux();
                &bare
            }
        };
        let namespaces = Namespaces::new(linux.namespaces().as_ref())?;
        let route = Route::new(&namespaces, host)?;
        let ids = IdMaps::new(linux, &namespaces, host)?;
        let (ids, copied_ids) =
            if namespaces.user == Choice::New { (ids, None) } else { (None, ids) };
        let hostname = linux::uts_name("hostname", spec.hostname(), &namespaces)?;
        let domainname = linux::uts_name("domainname", spec.domainname(), &namespaces)?;
        let masked = linux::restricted_paths("maskedPaths", linux.masked_paths(), &namespaces)?;
        let readonly =
            linux::restricted_paths("readonlyPaths", linux.readonly_paths(), &namespaces)?;
        let time_offsets = linux::time_offsets(linux.time_offsets(), &namespaces)?;
        let notify = options.notify_dir.as_deref().filter(|_| spec.process().is_some());
        let notify = notify.filter(|_| has_own_mounts(&namespaces, warnings));
        let notify = notify.map(mounts::notify_socket);
        let mount_label = linux::mount_label(linux.mount_label().as_deref())?;
        let around = mounts::Surroundings {
            bundle: &options.bundle,
            rootfs: &rootfs,
            label: mount_label.as_deref().map(|label| (label, annotations.mount_context)),
            joins_mount: namespaces.is_joined(Kind::Mount),
            users: Users::of(&namespaces, ids.as_ref()),
        };
        let mut mounts = mounts::parse(spec.mounts().iter().flatten().chain(&notify), &around)?;
        let populate_dev = !mounts::binds_dev(&mounts, &rootfs);
        mounts::mark_late(&mut mounts, populate_dev);
        let propagation = linux::propagation(linux.rootfs_propagation())?;
        let sysctl = sysctl::parse(linux.sysctl(), &namespaces, domainname.as_deref())?;
        let origins = Origins::new(&namespaces, host);
        let devices = devices::parse(linux.devices().as_ref(), origins, populate_dev)?;
        let cgroup = cgroup::plan(spec, &options.id, &mounts, &options.cgroup, host, warnings)?;
        let annotation = |name: &str| annotations.all.get(name).map(String::as_str);
        let hooks = hooks::parse(spec.hooks().as_ref(), annotation)?;
        let around = process::Surroundings {
            linux: Some(linux),
            namespaces: &namespaces,
            ids: ids.as_ref(),
            keeps_groups: annotations.keeps_groups,
            terminal: options.terminal,
            host,
        };
        let mut process = match spec.process() {
            Some(process) => Some(Process::new(process, &around, warnings)?),
            None => {
                process::check_absent(&around)?;
                None
            }
        };
        if let (Some(process), Some(_)) = (&mut process, &notify) {
            process.set_env(sd_notify::VARIABLE, sd_notify::ADDRESS)?;
        }
        let net_devices = net_devices::parse(linux.net_devices().as_ref(), &namespaces, host)?;
        let request = linux.intel_rdt().as_ref().map(|rdt| intel_rdt::parse(rdt, &options.id));
        let request = request.transpose()?;
        let intel_rdt = request.map(resctrl::Plan::new).transpose()?;
        let filter_point = process.as_ref().map_or(FilterPoint::Ready, |process| {
            process.filter_point_of_init(route.joins_pid, !hooks.start_container.is_empty())
        });
        let plan = Plan {
            bundle: options.bundle.clone(),
            rootfs,
            readonly_root,
            propagation,
            no_pivot: options.no_pivot,
            route,
            ids,
            copied_ids,
            mounts,
            mount_label,
            devices,
            in_user_namespace: namespaces.has_user() || host.in_user_namespace,
            populate_dev,
            masked,
            readonly,
            sysctl,
            hostname,
            domainname,
            keyring: keyring(options)?,
            process,
            filter_point,
            time_offsets,
            hooks,
            cgroup,
            intel_rdt,
            annotations,
            net_devices,
            notifies: notify.is_some(),
            preserve_fds: options.listen.count().saturating_add(options.preserve_fds),
            listen: options.listen.clone(),
            namespaces,
        };
        if plan.mounts_in_callers_namespace() && plan.namespaces.has_user() {
            let why = "a user namespace without a mount namespace has no right to mount";
            return Err(Error::invalid_field("linux.namespaces", why));
        }
        if let Some(mount) = plan.mounts.iter().find(|mount| mount.is_idmapped_when_made())
            && !plan.route.is_privileged
        {
            return Err(Error::invalid_field(mount.idmap_label(), "needs a privileged runtime"));
        }
        Ok(plan)
    }

    /// Whether the root file system is a mount. It always is in a new mount namespace. In the
    /// caller's namespace, and without mounts, it is only the directory for chroot(2).
    pub fn mounts_root(&self) -> bool {
        let inherit = self.namespaces.mount == Choice::Inherit;
        !inherit || !self.mounts.is_empty() || self.readonly_root
    }

    /// Returns how the terminal becomes /dev/console.
    pub fn dev_console(&self) -> DevConsole {
        mounts::dev_console(&self.mounts, self.mounts_root(), self.populate_dev)
    }

    /// Whether mounts are created in the caller's mount namespace, where they outlive the
    /// container.
    pub fn mounts_in_callers_namespace(&self) -> bool {
        self.namespaces.mount == Choice::Inherit && self.mounts_root()
    }

    /// Whether a SIGKILL to init kills all processes of the container.
    pub fn has_private_pid(&self) -> bool {
        self.namespaces.pid == Choice::New
    }
}

/// Returns a `linux` object without members. The crate's default has namespaces, masked paths and
/// more, which the configuration does not contain.
fn bare_linux() -> Linux {
    let mut linux = Linux::default();
    linux.set_namespaces(None).set_resources(None).set_masked_paths(None).set_readonly_paths(None);
    linux
}

/// Parses `root` (config.md, "Root"). Returns the absolute path of the directory, free of symbolic
/// links, and whether it is read-only. A relative path starts at the bundle.
fn root(root: Option<&Root>, bundle: &Path) -> Result<(PathBuf, bool)> {
    let missing = || Error::invalid_field("root", "missing; the spec requires it");
    let root = root.ok_or_else(missing)?;
    let path = root.path();
    let refuse = |why: String| Error::invalid("root.path", path, why);
    if path.as_os_str().is_empty() {
        return Err(refuse("must name a directory".to_owned()));
    }
    let joined = bundle.join(path);
    let real = std::fs::canonicalize(&joined)
        .map_err(|e| refuse(Error::from(e).context(format!("find {joined:?}")).to_string()))?;
    if !real.is_dir() {
        return Err(refuse("not a directory".to_owned()));
    }
    Ok((real, root.readonly().unwrap_or(false)))
}

/// Whether the readiness socket can be mounted. In a mount namespace of the host or of another
/// container the mount would appear there.
fn has_own_mounts(namespaces: &Namespaces, warnings: &mut Vec<String>) -> bool {
    let own = namespaces.mount == Choice::New;
    if !own {
        let why = "ignored: the container has no mount namespace of its own";
        warnings.push(format!("{}: {why}", sd_notify::VARIABLE));
    }
    own
}

fn keyring(options: &PlanOptions) -> Result<Option<CString>> {
    if options.no_new_keyring {
        return Ok(None);
    }
    // The random keys of the standard library's hasher, which are available even if getrandom(2) is
    // refused.
    let random = RandomState::new().build_hasher().finish();
    keyring_name(&format!("{}.{random:016x}", options.id)).map(Some)
}

/// Returns the name of a container's session keyring. keyctl(2) joins an existing keyring of the
/// name, so the name must be unpredictable: another process could have created the keyring.
pub fn keyring_name(suffix: &str) -> Result<CString> {
    CString::new(format!("_ses.{suffix}"))
        .map_err(|_| Error::invalid("container id", suffix, "holds a NUL byte"))
}
