//! What init will need, opened by the runtime before the clone: the descriptors are simply
//! inherited. A privileged runtime opens every source here, with its own rights and in its own
//! mount namespace, as a detached mount that has its final attributes already; then a source that
//! the container's root cannot reach still serves, and what is attached later cannot be swapped.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::mount::MsFlags;
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags};
use rustix::mount::{OpenTreeFlags, open_tree};

use super::locked;
use super::nodes;
use super::stage::{self, Stage};
use crate::config::devices::Origin;
use crate::config::mounts::MountKind;
use crate::config::options::{MountAttr, PropagationKind};
use crate::config::{Choice, Device, Kind, Mount, Namespaces, Plan};
use crate::fs::{PATH, Proc, Root, is_char_device, read_text};
use crate::host::Host;
use crate::sys::mount::{Change, mount_setattr};
use crate::sys::ns;
use crate::{Context, Error, Kind as ErrorKind, Result};

/// Descriptors for init.
#[derive(Debug)]
pub struct Prepared {
    /// Detached clones, or `None` where init has to open them in its own mount namespace because
    /// the runtime has no right to.
    pub trees: Option<Trees>,
    /// Where init finds them in place of `trees`, in a user namespace.
    pub stage: Option<Stage>,
    /// The host's procfs.
    pub proc: Proc,
    /// The mappings of idmapped mounts whose source only init has: index of the mount, namespace.
    pub idmaps: Vec<(usize, OwnedFd)>,
    /// A tmpfs with the devices of [`crate::config::devices::Origin::Staged`].
    pub nodes: Option<OwnedFd>,
    /// Namespaces to join, the mount namespace last.
    pub joins: Vec<(Kind, OwnedFd)>,
    /// The container has a user namespace of its own, to which the joined pid namespace does not
    /// belong: only before that is entered may the pid namespace be joined.
    pub pid_is_first: bool,
}

/// Detached mounts.
#[derive(Debug)]
pub struct Trees {
    /// The root file system.
    pub root: OwnedFd,
    /// By index of the mount; `None` for what is no bind mount.
    pub mounts: Vec<Option<OwnedFd>>,
    /// By index of the device, where devices are bound (in a user namespace).
    pub devices: Vec<Option<OwnedFd>>,
    /// /dev/null, to hide files with.
    pub null: OwnedFd,
}

impl Prepared {
    /// Opens everything.
    pub fn new(plan: &Plan, host: &Host) -> Result<Prepared> {
        // Another mount namespace that is joined has its own tree: sources are looked up there.
        let here = host.is_privileged() && plan.namespaces.mount.path().is_none();
        let joins = joins(&plan.namespaces)?;
        Ok(Prepared {
            nodes: nodes::stage(plan, &joins)?,
            trees: if here { Some(Trees::open(plan, stage::is_needed(plan))?) } else { None },
            stage: None,
            idmaps: Vec::new(),
            proc: Proc::open()?,
            pid_is_first: pid_is_first(plan, &joins)?,
            joins,
        })
    }

    /// Init, in its own mount namespace: what it finds there.
    pub fn trees_here(&self, plan: &Plan) -> Result<Trees> {
        match &self.stage {
            Some(stage) => stage.trees(plan),
            None => Trees::open(plan, false),
        }
    }
}

impl Trees {
    /// Clones the root file system, every bind source, and the devices where they are bound.
    /// `staged`: the propagation of the sources is set by init.
    pub fn open(plan: &Plan, staged: bool) -> Result<Trees> {
        let root = clone_tree(&plan.rootfs, true)
            .with_context(|| format!("open the root file system {:?}", plan.rootfs))?;
        set(root.as_fd(), true, base(plan.propagation, 0))
            .context("set the propagation of the root file system")?;
        Ok(Trees {
            root,
            mounts: plan
                .mounts
                .iter()
                .map(|m| bind_source(m, plan, staged))
                .collect::<Result<_>>()?,
            devices: plan.devices.iter().map(device_source).collect::<Result<_>>()?,
            null: null_tree()?,
        })
    }
}

/// open_tree(2) of a path, as a detached clone.
fn clone_tree(path: &Path, recursive: bool) -> Result<OwnedFd> {
    Ok(open_tree(CWD, path, clone_flags(recursive))?)
}

/// The same of a place that is held open.
pub fn clone_open(place: BorrowedFd<'_>, recursive: bool) -> Result<OwnedFd> {
    Ok(open_tree(place, "", clone_flags(recursive) | OpenTreeFlags::AT_EMPTY_PATH)?)
}

fn clone_flags(recursive: bool) -> OpenTreeFlags {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    if recursive { flags | OpenTreeFlags::AT_RECURSIVE } else { flags }
}

/// mount_setattr(2) on a mount that a descriptor names.
pub fn set(mount: BorrowedFd<'_>, recursive: bool, change: Change) -> Result<()> {
    if change.is_empty() {
        return Ok(());
    }
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    Ok(mount_setattr(mount, c"", flags, change, None)?)
}

/// What a detached tree starts with: nothing may pass out of it. `extra` are attributes to set.
pub fn base(propagation: MsFlags, extra: u64) -> Change {
    let private = propagation.intersects(MsFlags::MS_PRIVATE | MsFlags::MS_UNBINDABLE);
    let kind = if private { libc::MS_PRIVATE } else { libc::MS_SLAVE };
    Change { set: extra, clear: 0, propagation: kind }
}

fn bind_source(mount: &Mount, plan: &Plan, staged: bool) -> Result<Option<OwnedFd>> {
    let MountKind::Bind(source) = &mount.kind else {
        return host_sysfs(mount, plan);
    };
    let tree = clone_source(source, plan, mount.options.recursive)
        .with_context(|| format!("mounts[{}]: open source {source:?}", mount.index))?;
    let shared = mount.options.propagation.iter().any(|p| p.kind == PropagationKind::Shared);
    // A mount that is to be shared stays a peer of the host's; every other one must not pass
    // anything out, whatever its source does.
    let change = if shared { Change::default() } else { base(plan.propagation, 0) };
    set(tree.as_fd(), true, change)
        .and_then(|()| apply_attributes(tree.as_fd(), mount))
        .and_then(|()| if staged { Ok(()) } else { apply_propagation(tree.as_fd(), mount) })
        .with_context(|| format!("mounts[{}]: set the options of {source:?}", mount.index))?;
    Ok(Some(tree))
}

/// A source below the root file system is read as the container would read it: a link of the image
/// must not lead to a file of the host.
fn clone_source(source: &Path, plan: &Plan, recursive: bool) -> Result<OwnedFd> {
    match inside_root(source, plan) {
        Some(inside) => {
            let root = Root::new(open_dir(&plan.rootfs)?);
            clone_open(root.find(inside)?.as_fd(), recursive)
        }
        None => clone_tree(source, recursive),
    }
}

/// What of a path is below the root file system, whose own path may be written with links.
fn inside_root<'a>(source: &'a Path, plan: &Plan) -> Option<&'a Path> {
    if plan.rootfs == Path::new("/") {
        return None;
    }
    if let Ok(inside) = source.strip_prefix(&plan.rootfs) {
        return Some(inside);
    }
    let below = source.strip_prefix(&plan.bundle).ok()?;
    // A file of the bundle itself is the usual case, and is not worth a look.
    let mut parents: Vec<&Path> = below.ancestors().skip(1).collect();
    parents.pop();
    let is_root = |dir: &&Path| {
        std::fs::canonicalize(plan.bundle.join(dir)).is_ok_and(|real| real == plan.rootfs)
    };
    // From the top down: nothing below the root file system is followed.
    let root = parents.into_iter().rev().find(is_root)?;
    below.strip_prefix(root).ok()
}

/// linux/magic.h
const SYSFS_MAGIC: rustix::fs::FsWord = 0x6265_6572;

/// The host's /sys, where the container may have no right to a sysfs of its own: the kernel asks for
/// rights over the network namespace, which is not the container's (sysfs(5)). With all that is
/// mounted below, because that may cover files of it, and read-only there.
fn host_sysfs(mount: &Mount, plan: &Plan) -> Result<Option<OwnedFd>> {
    let MountKind::New(fstype, _) = &mount.kind else { return Ok(None) };
    let own_network = plan.namespaces.network == Choice::New;
    if fstype != "sysfs" || !plan.in_user_namespace || own_network {
        return Ok(None);
    }
    let make = || -> Result<Option<OwnedFd>> {
        let tree = match clone_tree(Path::new("/sys"), true) {
            // What is asked for may be possible all the same.
            Err(error) if error.errno() == Some(Errno::ENOENT) => return Ok(None),
            tree => tree?,
        };
        if rustix::fs::fstatfs(&tree)?.f_type != SYSFS_MAGIC {
            return Ok(None);
        }
        let closed = libc::MOUNT_ATTR_RDONLY
            | libc::MOUNT_ATTR_NOSUID
            | libc::MOUNT_ATTR_NODEV
            | libc::MOUNT_ATTR_NOEXEC;
        let was_read_only = is_read_only(tree.as_fd())?;
        let all = Change { set: closed, ..base(plan.propagation, 0) };
        set(tree.as_fd(), true, all)?;
        let read_only = (mount.options.set | mount.options.rec_set).contains(MountAttr::RDONLY);
        if !read_only && !was_read_only {
            let top = Change { clear: libc::MOUNT_ATTR_RDONLY, ..Change::default() };
            set(tree.as_fd(), false, top)?;
        }
        Ok(Some(tree))
    };
    make().with_context(|| format!("mounts[{}]: bind the host's /sys", mount.index))
}

/// The attributes and the propagation of a mount: recursive ones first, then the mount's own.
pub fn apply_options(tree: BorrowedFd<'_>, mount: &Mount) -> Result<()> {
    apply_attributes(tree, mount)?;
    apply_propagation(tree, mount)
}

/// The propagation alone, each change in the order listed.
pub fn apply_propagation(tree: BorrowedFd<'_>, mount: &Mount) -> Result<()> {
    for propagation in &mount.options.propagation {
        let kind = propagation_flag(propagation.kind);
        let change = Change { propagation: kind, ..Change::default() };
        set(tree, propagation.recursive, change).context("set the propagation")?;
    }
    Ok(())
}

/// The MS_* bit that mount_setattr(2) takes.
pub fn propagation_flag(kind: PropagationKind) -> u64 {
    match kind {
        PropagationKind::Shared => libc::MS_SHARED,
        PropagationKind::Slave => libc::MS_SLAVE,
        PropagationKind::Private => libc::MS_PRIVATE,
        PropagationKind::Unbindable => libc::MS_UNBINDABLE,
    }
}

/// The attributes alone, but for a read-only flag of the mount itself that has to wait.
pub fn apply_attributes(tree: BorrowedFd<'_>, mount: &Mount) -> Result<()> {
    let options = &mount.options;
    let all = Change { set: options.rec_set.0, clear: options.rec_clear.0, propagation: 0 };
    let mut own = Change { set: options.set.0, clear: options.clear.0, propagation: 0 };
    if mount.read_only_late {
        own.set &= !libc::MOUNT_ATTR_RDONLY;
        // Not if it is so already: then the host has said it.
        if options.rec_set.contains(MountAttr::RDONLY) && !is_read_only(tree)? {
            own.clear |= libc::MOUNT_ATTR_RDONLY;
        }
    }
    set(tree, true, all).map_err(locked::explain)?;
    set(tree, false, own).or_else(|error| locked::settle(tree, own, mount, error))
}

fn is_read_only(mount: BorrowedFd<'_>) -> Result<bool> {
    let flags = rustix::fs::fstatvfs(mount).context("ask for the flags of the mount")?.f_flag;
    Ok(flags.contains(rustix::fs::StatVfsMountFlags::RDONLY))
}

/// The host's own node, where it is to be bound.
fn device_source(device: &Device) -> Result<Option<OwnedFd>> {
    if device.origin != Origin::Bound {
        return Ok(None);
    }
    let path = &device.path;
    let open = |path: &Path| -> Result<Option<OwnedFd>> {
        let tree = clone_tree(path, false)?;
        let is_it = device.is_node(&rustix::fs::fstat(&tree)?);
        Ok(is_it.then_some(tree))
    };
    // The usual name first, then the one that the host has for the number.
    let tree = match open(path) {
        Ok(Some(tree)) => Ok(tree),
        answer => match host_path(device).map(|path| open(&path)) {
            Some(Ok(Some(tree))) => Ok(tree),
            _ => answer.and_then(|_| {
                let numbers = format!("{}:{}", device.major, device.minor);
                Err(Error::new(ErrorKind::Invalid, format!("the host's node is not {numbers}")))
            }),
        },
    };
    let tree = tree.with_context(|| {
        format!("bind device {path:?} (in a user namespace the host's own node is bound)")
    })?;
    only_used(tree.as_fd()).with_context(|| format!("bind device {path:?}"))?;
    Ok(Some(tree))
}

/// Where the kernel (devtmpfs) has put the node of that number, below /dev.
fn host_path(device: &Device) -> Option<PathBuf> {
    let kind = if device.kind == FileType::BlockDevice { "block" } else { "char" };
    let text = read_text(&format!("/sys/dev/{kind}/{}:{}/uevent", device.major, device.minor));
    let text = text.ok()?;
    let name = text.lines().find_map(|line| line.strip_prefix("DEVNAME="))?;
    Some(Path::new("/dev").join(name))
}

/// Makes the mount of a host's node read-only: a device can be written through one, but its mode,
/// owner and times cannot be changed, and they are the host's own. And private: on a peer of the
/// host's /dev a container that may mount would mount over the host's node.
fn only_used(node: BorrowedFd<'_>) -> Result<()> {
    let attributes = libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NOEXEC;
    set(node, false, Change { set: attributes, clear: 0, propagation: libc::MS_PRIVATE })
}

/// The host's /dev/null to hide files with.
fn null_tree() -> Result<OwnedFd> {
    let null = clone_tree(Path::new("/dev/null"), false).context("open /dev/null")?;
    check_null(null.as_fd())?;
    only_used(null.as_fd()).context("make the mount of /dev/null read-only")?;
    Ok(null)
}

/// A /dev/null that is something else would put that something over every masked path
/// (CVE-2025-31133).
pub fn check_null(null: BorrowedFd<'_>) -> Result<()> {
    if is_char_device(&rustix::fs::fstat(null).context("check /dev/null")?, 1, 3) {
        return Ok(());
    }
    Err(Error::new(ErrorKind::System, "/dev/null is not the character device 1:3"))
}

/// Opens the namespaces to join and checks that each is of the kind it is listed as.
fn joins(namespaces: &Namespaces) -> Result<Vec<(Kind, OwnedFd)>> {
    let mut joins = Vec::new();
    for kind in Kind::ALL {
        let Some(path) = namespaces.get(kind).path() else { continue };
        let refuse = |why: String| {
            Error::invalid(format!("linux.namespaces: {}: path", kind.name()), path, why)
        };
        // NONBLOCK: a FIFO in its place must not hold the runtime up.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = rustix::fs::openat(CWD, path, flags, Mode::empty())
            .map_err(|e| refuse(Error::from(e).to_string()))?;
        match ns::namespace_type(file.as_fd()) {
            Ok(found) if found == kind.flag() => joins.push((kind, file)),
            Ok(_) => return Err(refuse("it is a namespace of another type".into())),
            Err(Errno::ENOTTY | Errno::EINVAL) => {
                return Err(refuse("it is not a namespace".into()));
            }
            Err(errno) => return Err(refuse(Error::from(errno).to_string())),
        }
    }
    Ok(joins)
}

/// Joined before the mounts, the pid namespace would also be that of createContainer hooks, which
/// hold the host's root, and the neighbours there see them.
fn pid_is_first(plan: &Plan, joins: &[(Kind, OwnedFd)]) -> Result<bool> {
    let Some((_, pid)) = joins.iter().find(|(kind, _)| *kind == Kind::Pid) else {
        return Ok(false);
    };
    if !plan.namespaces.has_user() || !plan.route.is_privileged {
        return Ok(false);
    }
    let is_first = match joins.iter().find(|(kind, _)| *kind == Kind::User) {
        None => true,
        // Root of the user namespace to join has rights over this one alone.
        Some((_, user)) => {
            let owner = ns::owning_user_namespace(pid.as_fd());
            let owner = owner.context("find the pid namespace's owner")?;
            let owner = rustix::fs::fstat(&owner).context("look at the pid namespace's owner")?;
            let user = rustix::fs::fstat(user).context("look at the user namespace to join")?;
            (owner.st_dev, owner.st_ino) != (user.st_dev, user.st_ino)
        }
    };
    if is_first && !plan.hooks.create_container.is_empty() {
        let why = "createContainer hooks, a user namespace and the pid namespace of processes that \
                   are outside of it do not go together: the hooks could be looked into";
        return Err(Error::invalid_field("hooks.createContainer", why));
    }
    Ok(is_first)
}

/// Whether the file that an O_PATH descriptor names is a directory.
pub fn is_dir(file: BorrowedFd<'_>) -> rustix::io::Result<bool> {
    let stat = rustix::fs::statat(file, "", AtFlags::EMPTY_PATH)?;
    Ok(rustix::fs::FileType::from_raw_mode(stat.st_mode) == rustix::fs::FileType::Directory)
}

/// An O_PATH descriptor of a directory of the host.
pub fn open_dir(path: &Path) -> Result<OwnedFd> {
    let dir = rustix::fs::openat(CWD, path, PATH | OFlags::DIRECTORY, Mode::empty());
    dir.with_context(|| format!("open directory {path:?}"))
}
