//! Every decision of a create, made before the first side effect: spec and options and host in,
//! a [`Plan`] out. Nothing here changes anything; nothing after here decides anything.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::{Path, PathBuf};

use nix::mount::MsFlags;
use oci_spec::runtime::Spec;

use crate::cgroup::Resources;
use crate::config::annotations;
use crate::hooks::Hooks;
use crate::host::Host;
use crate::{Error, Result};

use super::idmap::Users;
use super::{Choice, DevConsole, Device, IdMaps, Listen, Mount, Namespaces, Process, Route};
use super::{devices, mounts};

/// What the command line adds to the spec.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The container's id, already checked.
    pub id: String,
    /// The bundle, as an absolute path.
    pub bundle: PathBuf,
    /// chroot instead of pivot_root (a root file system on a ramfs cannot be pivoted).
    pub no_pivot: bool,
    /// Keep the caller's session keyring.
    pub no_new_keyring: bool,
    /// How many descriptors from 3 up the container's process gets, after those of `listen`.
    pub preserve_fds: u32,
    /// Descriptors of socket activation.
    pub listen: Listen,
    /// Where compiled seccomp filters are kept between runs.
    pub seccomp_cache: Option<PathBuf>,
}

/// Everything that create will do, owned and total.
#[derive(Debug)]
pub struct Plan {
    /// The container's id.
    pub id: String,
    /// The bundle, absolute.
    pub bundle: PathBuf,
    /// The root file system's directory, absolute and free of links.
    pub rootfs: PathBuf,
    /// Whether the root is remounted read-only at the end.
    pub readonly_root: bool,
    /// Propagation that `/` has in the container (mount(2): one of MS_SHARED, MS_SLAVE,
    /// MS_PRIVATE, MS_UNBINDABLE, with or without MS_REC).
    pub propagation: MsFlags,
    /// Whether the old root is left by chroot(2).
    pub no_pivot: bool,
    /// The eight namespaces.
    pub namespaces: Namespaces,
    /// In which order, and by whom, they are entered.
    pub route: Route,
    /// The mappings of a new user namespace.
    pub ids: Option<IdMaps>,
    /// The mappings that a user namespace to join is said to have.
    pub copied_ids: Option<IdMaps>,
    /// In the order listed.
    pub mounts: Vec<Mount>,
    /// Default devices and those of the spec.
    pub devices: Vec<Device>,
    /// Whether the container is in a user namespace: one of its own, or the runtime's. No device
    /// can be made there, and setgroups(2) may be denied.
    pub in_user_namespace: bool,
    /// Whether devices and links are made at all: not when the spec binds a /dev of its own.
    pub populate_dev: bool,
    /// Paths to hide.
    pub masked: Vec<PathBuf>,
    /// Paths to make read-only.
    pub readonly: Vec<PathBuf>,
    /// The limits and device rules of the cgroup.
    pub resources: Resources,
    /// Path below /proc/sys and value, sorted by path.
    pub sysctl: Vec<(String, String)>,
    /// Host name for the uts namespace.
    pub hostname: Option<String>,
    /// NIS domain name for the uts namespace.
    pub domainname: Option<String>,
    /// Name of the session keyring to join, if any.
    pub keyring: Option<std::ffi::CString>,
    /// What runs; `None` makes a container that cannot be started (the spec allows it).
    pub process: Option<Process>,
    /// Offsets for a new time namespace, as /proc/self/timens_offsets takes them.
    pub time_offsets: Option<String>,
    /// The hooks of all six kinds.
    pub hooks: Hooks,
    /// The socket of the annotation that gets a pidfd of init.
    pub pidfd_receiver: Option<PathBuf>,
    /// From the spec, for the state.
    pub annotations: BTreeMap<String, String>,
    /// How many descriptors from 3 up survive into the container, those of `listen` among them.
    pub preserve_fds: u32,
    /// What the program is told about the first of them.
    pub listen: Listen,
}

impl Plan {
    /// Makes the plan. The spec has passed [`crate::config::check()`] already; what is left to
    /// refuse here is what depends on the host.
    ///
    /// # Errors
    /// A field that this host cannot honour, by name.
    pub fn new(
        spec: &Spec,
        options: &Options,
        host: &Host,
        warnings: &mut Vec<String>,
    ) -> Result<Plan> {
        let root = spec.root().as_ref().ok_or_else(|| Error::invalid_field("root", "missing"))?;
        let linux = spec.linux().clone().unwrap_or_else(bare_linux);
        let nodes = linux.devices().as_deref().unwrap_or(&[]);
        let resources = Resources::new(linux.resources().as_ref(), nodes)?;
        let namespaces = Namespaces::new(linux.namespaces().as_deref().unwrap_or(&[]))?;
        let route = Route::new(&namespaces, host);
        let ids = IdMaps::new(&linux, &namespaces, host)?;
        let list = spec.mounts().as_deref().unwrap_or(&[]);
        let rootfs = rootfs(&options.bundle, root.path())?;
        let users = match &ids {
            Some(ids) => Users::New(&ids.uids, &ids.gids),
            None if namespaces.has_user() => Users::Joined,
            None => Users::Host,
        };
        let mut mounts = mounts::plan(list, &options.bundle, &rootfs, users)?;
        let populate_dev = !devices::binds_dev(&mounts, &rootfs);
        mounts::mark_late(&mut mounts, populate_dev);
        let origins = devices::Origins::new(&namespaces, host);
        let process = match spec.process() {
            Some(process) => Some(Process::new(
                process,
                Some(&linux),
                &namespaces,
                annotations::keeps_groups(spec),
                options.seccomp_cache.as_deref(),
                host,
                warnings,
            )?),
            None => None,
        };
        let plan = Plan {
            id: options.id.clone(),
            bundle: options.bundle.clone(),
            rootfs,
            readonly_root: root.readonly().unwrap_or(false),
            propagation: propagation(linux.rootfs_propagation().as_deref())?,
            no_pivot: options.no_pivot,
            route,
            ids,
            copied_ids: IdMaps::copied(&linux, &namespaces),
            mounts,
            devices: if populate_dev {
                devices::plan(linux.devices().as_deref().unwrap_or(&[]), origins)?
            } else {
                devices::listed(linux.devices().as_deref().unwrap_or(&[]), origins)?
            },
            in_user_namespace: namespaces.has_user() || host.in_user_namespace,
            populate_dev,
            masked: paths(linux.masked_paths()),
            readonly: paths(linux.readonly_paths()),
            resources,
            sysctl: sysctl(linux.sysctl().as_ref()),
            hostname: spec.hostname().clone(),
            domainname: spec.domainname().clone(),
            keyring: keyring(options)?,
            process,
            time_offsets: time_offsets(linux.time_offsets().as_ref()),
            hooks: hooks(spec)?,
            pidfd_receiver: annotations::path(spec, annotations::PIDFD_RECEIVER)
                .map(Path::to_owned),
            annotations: spec.annotations().clone().into_iter().flatten().collect(),
            preserve_fds: options.listen.count().saturating_add(options.preserve_fds),
            listen: options.listen.clone(),
            namespaces,
        };
        if plan.mounts_in_callers_namespace() && plan.namespaces.has_user() {
            let why = "a user namespace without a mount namespace has no right to mount";
            return Err(Error::invalid_field("linux.namespaces", why));
        }
        Ok(plan)
    }

    /// Whether the root file system is a mount: always in a mount namespace of the container's
    /// own. In the caller's it is no more than a directory to change the root to, as long as
    /// nothing is to be mounted.
    pub fn mounts_root(&self) -> bool {
        let inherit = self.namespaces.mount == Choice::Inherit;
        !inherit || !self.mounts.is_empty() || self.readonly_root
    }

    /// How the terminal becomes /dev/console.
    pub fn dev_console(&self) -> DevConsole {
        devices::dev_console(&self.mounts, self.mounts_root(), self.populate_dev)
    }

    /// Whether mounts are made in the caller's mount namespace, where they outlive the container.
    pub fn mounts_in_callers_namespace(&self) -> bool {
        self.namespaces.mount == Choice::Inherit && self.mounts_root()
    }

    /// Whether killing init kills every process of the container.
    pub fn has_private_pid(&self) -> bool {
        self.namespaces.pid == Choice::New
    }
}

fn hooks(spec: &Spec) -> Result<Hooks> {
    let mut hooks = Hooks::from_spec(spec.hooks().as_ref())?;
    if let Some(annotations) = spec.annotations() {
        hooks.set_output(|name| annotations.get(name).map(String::as_str));
    }
    Ok(hooks)
}

/// The crate's own default has namespaces, masked paths and more that nobody asked for.
fn bare_linux() -> oci_spec::runtime::Linux {
    let mut linux = oci_spec::runtime::Linux::default();
    linux.set_namespaces(None).set_resources(None).set_masked_paths(None).set_readonly_paths(None);
    linux
}

/// The root file system as an absolute path: what is not absolute is relative to the bundle.
fn rootfs(bundle: &Path, path: &Path) -> Result<PathBuf> {
    let joined = bundle.join(path);
    let refuse = |why: String| Error::invalid("root.path", path, why);
    let real = std::fs::canonicalize(&joined)
        .map_err(|e| refuse(Error::from(e).context(format!("find {joined:?}")).to_string()))?;
    if !real.is_dir() {
        return Err(refuse("not a directory".into()));
    }
    Ok(real)
}

/// `linux.rootfsPropagation`; rslave where it is not given, as runc has it: host mounts appear,
/// the container's do not leave.
fn propagation(name: Option<&str>) -> Result<MsFlags> {
    Ok(match name {
        None | Some("" | "rslave") => MsFlags::MS_SLAVE | MsFlags::MS_REC,
        Some("slave") => MsFlags::MS_SLAVE,
        Some("shared") => MsFlags::MS_SHARED,
        Some("rshared") => MsFlags::MS_SHARED | MsFlags::MS_REC,
        Some("private") => MsFlags::MS_PRIVATE,
        Some("rprivate") => MsFlags::MS_PRIVATE | MsFlags::MS_REC,
        Some("unbindable") => MsFlags::MS_UNBINDABLE,
        Some("runbindable") => MsFlags::MS_UNBINDABLE | MsFlags::MS_REC,
        Some(other) => {
            return Err(Error::invalid("linux.rootfsPropagation", other, "unknown propagation"));
        }
    })
}

/// A path that is listed twice is mounted over once.
fn paths(list: &Option<Vec<String>>) -> Vec<PathBuf> {
    let mut seen = BTreeSet::new();
    list.iter().flatten().filter(|path| seen.insert(*path)).map(PathBuf::from).collect()
}

fn sysctl(map: Option<&HashMap<String, String>>) -> Vec<(String, String)> {
    let path = |name: &String| super::check::sysctl::path(name).unwrap_or_else(|| name.clone());
    let mut list: Vec<_> =
        map.into_iter().flatten().map(|(key, value)| (path(key), value.clone())).collect();
    list.sort();
    list
}

fn keyring(options: &Options) -> Result<Option<std::ffi::CString>> {
    if options.no_new_keyring {
        return Ok(None);
    }
    // Of random keys; it works where getrandom(2) is refused as well.
    let random = RandomState::new().build_hasher().finish();
    keyring_name(&format!("{}.{random:016x}", options.id)).map(Some)
}

/// The name of a container's session keyring. keyctl(2) joins an existing keyring of the name, so
/// that name must not be known before: a neighbour could have made the keyring.
pub fn keyring_name(suffix: &str) -> Result<std::ffi::CString> {
    std::ffi::CString::new(format!("_ses.{suffix}"))
        .map_err(|_| Error::invalid("container id", suffix, "holds a NUL"))
}

/// Lines of `<clock> <seconds> <nanoseconds>`, time_namespaces(7).
fn time_offsets(
    map: Option<&HashMap<String, oci_spec::runtime::LinuxTimeOffset>>,
) -> Option<String> {
    let mut lines: Vec<String> = map?
        .iter()
        .map(|(clock, offset)| {
            let (secs, nanos) = (offset.secs().unwrap_or(0), offset.nanosecs().unwrap_or(0));
            format!("{clock} {secs} {nanos}\n")
        })
        .collect();
    lines.sort();
    Some(lines.concat()).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_taken_once() {
        let list = ["/b", "/a", "/b"].map(str::to_owned).to_vec();
        assert_eq!(paths(&Some(list)), [Path::new("/b"), Path::new("/a")]);
    }

    #[test]
    fn propagation_names() {
        assert_eq!(propagation(None).unwrap(), MsFlags::MS_SLAVE | MsFlags::MS_REC);
        assert_eq!(propagation(Some("shared")).unwrap(), MsFlags::MS_SHARED);
        assert!(propagation(Some("sideways")).is_err());
    }
}
