//! The sources of a container's mounts, as detached mounts with their final attributes.
//!
//! A privileged runtime opens every source before the clone, with its own rights and in its own
//! mount namespace: a source that the container's root cannot reach still serves, and what is
//! attached later cannot be exchanged. Init inherits the descriptors.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;

use super::devices;
use super::options::{apply_attributes, apply_propagation, is_read_only};
use super::tree::{self, clone_file, clone_path, isolated};
use crate::config::mounts::MountKind;
use crate::config::options::{MountAttr, PropagationKind};
use crate::config::{Choice, Mount, Plan};
use crate::fs::{PATH, Root};
use crate::sys::mount::Change;
use crate::{Context, Result};

/// The sources, as detached mounts, or on the stage as files.
#[derive(Debug)]
pub(crate) struct Trees<T = OwnedFd> {
    pub root: T,
    /// By index of the mount; `None` unless it is a bind mount.
    pub mounts: Vec<Option<T>>,
    /// By index of the device; `None` unless the device is bound (in a user namespace).
    pub devices: Vec<Option<T>>,
    /// /dev/null, to hide files with; `None` without masked paths.
    pub null: Option<T>,
}

impl<T> Trees<T> {
    /// Returns the source of a bind mount, by the index of the mount.
    pub fn mount(&self, index: usize) -> Option<&T> {
        self.mounts.get(index)?.as_ref()
    }

    /// Maps each source, always in the same order.
    pub(super) fn try_map<U>(&self, mut map: impl FnMut(&T) -> Result<U>) -> Result<Trees<U>> {
        let root = map(&self.root)?;
        let null = self.null.as_ref().map(&mut map).transpose()?;
        let mut each = |list: &[Option<T>]| -> Result<Vec<Option<U>>> {
            list.iter().map(|source| source.as_ref().map(&mut map).transpose()).collect()
        };
        Ok(Trees { root, null, mounts: each(&self.mounts)?, devices: each(&self.devices)? })
    }
}

impl Trees {
    /// Clones the root file system, every bind source, and the devices where they are bound.
    /// `staged`: the propagation of the sources is set by init.
    pub fn open(plan: &Plan, staged: bool) -> Result<Trees> {
        let root = clone_path(&plan.rootfs, true)
            .with_context(|| format!("open the root file system {:?}", plan.rootfs))?;
        tree::set(root.as_fd(), true, isolated(plan.propagation))
            .context("set the propagation of the root file system")?;
        Ok(Trees {
            root,
            mounts: plan
                .mounts
                .iter()
                .map(|m| bind_source(m, plan, staged))
                .collect::<Result<_>>()?,
            devices: plan.devices.iter().map(devices::source).collect::<Result<_>>()?,
            null: (!plan.masked.is_empty()).then(devices::null).transpose()?,
        })
    }
}

fn bind_source(mount: &Mount, plan: &Plan, staged: bool) -> Result<Option<OwnedFd>> {
    let MountKind::Bind(source) = &mount.kind else {
        return host_sysfs(mount, plan);
    };
    let tree = clone_source(source, plan, mount.options.recursive)
        .with_context(|| format!("mounts[{}]: open source {source:?}", mount.index))?;
    let shared = mount.options.propagation.iter().any(|p| p.kind == PropagationKind::Shared);
    // A mount that is to be shared stays a peer of the mount on the host. From any other mount
    // nothing may propagate out, whatever the propagation of its source is.
    let change = if shared { Change::default() } else { isolated(plan.propagation) };
    tree::set(tree.as_fd(), true, change)
        .and_then(|()| apply_attributes(tree.as_fd(), mount))
        .and_then(|()| if staged { Ok(()) } else { apply_propagation(tree.as_fd(), mount) })
        .with_context(|| format!("mounts[{}]: set the options of {source:?}", mount.index))?;
    Ok(Some(tree))
}

fn clone_source(source: &Path, plan: &Plan, recursive: bool) -> Result<OwnedFd> {
    match inside_root(source, plan) {
        Some(inside) => Ok(clone_file(find(inside, plan)?, recursive)?),
        None => Ok(clone_path(source, recursive)?),
    }
}

/// Opens the file or directory that is the source of a bind mount.
pub(crate) fn open_source(source: &Path, plan: &Plan) -> Result<OwnedFd> {
    match inside_root(source, plan) {
        Some(inside) => find(inside, plan),
        None => Ok(rustix::fs::openat(CWD, source, PATH, Mode::empty())?),
    }
}

/// Opens a source below the root file system as the container would open it: a link of the image
/// must not lead to a file of the host.
fn find(inside: &Path, plan: &Plan) -> Result<OwnedFd> {
    Ok(Root::new(open_dir(&plan.rootfs)?).find(inside)?)
}

/// Returns the part of a path below the root file system, whose own path may be written with links.
fn inside_root<'a>(source: &'a Path, plan: &Plan) -> Option<&'a Path> {
    if plan.rootfs == Path::new("/") {
        return None;
    }
    if let Ok(inside) = source.strip_prefix(&plan.rootfs) {
        return Some(inside);
    }
    let below = source.strip_prefix(&plan.bundle).ok()?;
    // In the usual case the file is in the bundle, and needs no look-up.
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

/// Returns a copy of the host's /sys for a container that may not be permitted to make a sysfs: the
/// kernel requires rights over the network namespace, which is not the container's (sysfs(5)). The
/// copy is read-only, and includes all mounts below, because they may cover files.
fn host_sysfs(mount: &Mount, plan: &Plan) -> Result<Option<OwnedFd>> {
    let MountKind::New(fstype, _) = &mount.kind else { return Ok(None) };
    let own_network = plan.namespaces.network == Choice::New;
    if fstype != "sysfs" || !plan.in_user_namespace || own_network {
        return Ok(None);
    }
    let make = || -> Result<Option<OwnedFd>> {
        let tree = match clone_path(Path::new("/sys"), true) {
            // Without /sys on the host, init tries to make a sysfs.
            Err(Errno::NOENT) => return Ok(None),
            tree => tree?,
        };
        if rustix::fs::fstatfs(&tree)?.f_type != SYSFS_MAGIC {
            return Ok(None);
        }
        let was_read_only = is_read_only(tree.as_fd())?;
        let all = Change { set: tree::CLOSED, ..isolated(plan.propagation) };
        tree::set(tree.as_fd(), true, all)?;
        let read_only = (mount.options.set | mount.options.rec_set).contains(MountAttr::RDONLY);
        if !read_only && !was_read_only {
            let top = Change { clear: libc::MOUNT_ATTR_RDONLY, ..Change::default() };
            tree::set(tree.as_fd(), false, top)?;
        }
        Ok(Some(tree))
    };
    make().with_context(|| format!("mounts[{}]: bind the host's /sys", mount.index))
}

pub(crate) fn open_dir(path: &Path) -> Result<OwnedFd> {
    let dir = rustix::fs::openat(CWD, path, PATH | OFlags::DIRECTORY, Mode::empty());
    dir.with_context(|| format!("open directory {path:?}"))
}
