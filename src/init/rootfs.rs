//! The root file system: attach, enter, finish.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags};
use rustix::fs::CWD;

use super::inherited::Init;
use crate::config::{Choice, Plan};
use crate::fs::{Root, mount_id};
use crate::mount::closing::close_later;
use crate::mount::trees::{Trees, open_dir};
use crate::mount::{table, tree};
use crate::sys::mount::Change;
use crate::{Context, Result};

/// Attaches the detached tree of the root file system in init's mount namespace.
pub(crate) fn attach(plan: &Plan, trees: &Trees) -> Result<Root> {
    if plan.namespaces.mount == Choice::New {
        // Nothing that is mounted from here on may pass out to the host.
        tree::make_all_slaves().context("make the mounts of the new namespace slaves")?;
    }
    if !plan.mounts_root() {
        return Ok(Root::new(open_dir(&plan.rootfs)?));
    }
    let place = attach_point(plan);
    tree::attach_at(&trees.root, CWD, place)
        .with_context(|| format!("mount the root file system on {place:?}"))?;
    if plan.namespaces.mount != Choice::New {
        // Attaching to a shared mount has made the tree shared; mounts inside must not propagate to
        // other namespaces.
        tree::set(trees.root.as_fd(), true, tree::isolated(plan.propagation))
            .context("set the propagation of the root file system")?;
    }
    let root: OwnedFd = trees.root.try_clone().context("keep the root file system open")?;
    Ok(Root::new(root))
}

/// Returns the place where the root file system is attached: over the old root itself, which the
/// container's root reaches whatever the permissions on the way to the bundle are. Hooks that enter
/// the namespace look for the mount at the bundle's own path, and in a namespace that is not the
/// container's own the root must not be covered.
pub(crate) fn attach_point(plan: &Plan) -> &Path {
    if plan.hooks.has_create() || plan.namespaces.mount != Choice::New {
        &plan.rootfs
    } else {
        Path::new("/")
    }
}

/// Makes the working directory if it is missing, as engines expect. Links are resolved inside the
/// root.
pub(crate) fn make_cwd(plan: &Plan, root: &Root) -> Result<()> {
    let cwd = plan.process.as_ref().map(|process| &process.cwd);
    let Some(cwd) = cwd.filter(|cwd| *cwd != Path::new("/")) else { return Ok(()) };
    match root.make_dir(cwd) {
        // On NFS or FUSE the user may have access where root has none: the user tries later.
        Err(error) if error.errno() == Some(Errno::EACCES) => Ok(()),
        answer => answer.map(close_later).context("process.cwd"),
    }
}

/// Makes the root file system the root directory of this process and, with pivot_root(2), of its
/// mount namespace.
pub(crate) fn enter(init: &Init<'_>, root: &Root) -> Result<()> {
    let plan = init.plan;
    nix::unistd::fchdir(root.fd()).context("enter the root file system")?;
    if plan.no_pivot && plan.namespaces.mount == Choice::New {
        cover_old_root(init, root).context("leave the old root file system (--no-pivot)")?;
    }
    if plan.no_pivot || plan.namespaces.mount != Choice::New {
        nix::unistd::chroot(".").context("chroot")?;
        return nix::unistd::chdir("/").context("enter the root file system");
    }
    // With two equal arguments the old root ends up on top of the new root, at the same place, so
    // that no directory for it is needed (pivot_root(2), "pivot_root(".", ".")").
    nix::unistd::pivot_root(".", ".")
        .context("pivot_root (on a ramfs, such as an initramfs, --no-pivot is needed)")?;
    // The old root, now at ".", must not propagate its unmounting to the host. The mount that the
    // new root was attached over, at the same place, lies on top of it.
    let covered = if attach_point(plan) == Path::new("/") { root.covered() } else { 0 };
    for _ in 0..=covered {
        nix::mount::umount2(".", MntFlags::MNT_DETACH).context("unmount the old root")?;
    }
    nix::unistd::chdir("/").context("enter the root file system")
}

/// Does the work of pivot_root(2): the host's tree would stay in the mount namespace. So the new
/// root must cover the whole tree, or a process that may call chroot(2) could leave the root; and
/// no procfs or sysfs of the host may stay, or the kernel would let a user namespace below mount
/// one without the masks (mount_namespaces(7), "Restrictions on mount namespaces").
fn cover_old_root(init: &Init<'_>, root: &Root) -> Result<()> {
    let mounts = table::read(&init.inherited.proc)?;
    let own = table::below(&mounts, mount_id(root.fd())?);
    // In reverse: a mount can lie below an earlier one.
    for mount in mounts.iter().rev() {
        let kernel_files = matches!(mount.fs_type.as_str(), "proc" | "sysfs");
        if kernel_files && !own.contains(&mount.mnt_id) {
            hide(&mount.mount_point).with_context(|| format!("hide {:?}", mount.mount_point))?;
        }
    }
    let place = attach_point(init.plan);
    if place != Path::new("/") {
        tree::attach_at(root.fd(), CWD, "/")?;
    }
    Ok(())
}

/// Unmounts a mount, or covers it: a mount from a namespace with more rights cannot be unmounted.
fn hide(place: &Path) -> Result<()> {
    match nix::mount::umount2(place, MntFlags::MNT_DETACH) {
        Err(Errno::EINVAL | Errno::EPERM) => {
            let flags = MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
            nix::mount::mount(Some("tmpfs"), place, Some("tmpfs"), flags, None::<&str>)?;
            Ok(())
        }
        answer => Ok(answer?),
    }
}

/// Sets the root's own propagation and read-only flag, after all mounts are made.
pub(crate) fn finish(plan: &Plan, root: &Root) -> Result<()> {
    if !plan.mounts_root() {
        return Ok(());
    }
    // Private and slave trees are so from the beginning. To set that again here would override what
    // the options of a mount say, which prevail under runc, too.
    if plan.propagation.intersects(MsFlags::MS_SHARED | MsFlags::MS_UNBINDABLE) {
        let recursive = plan.propagation.contains(MsFlags::MS_REC);
        let propagation = (plan.propagation - MsFlags::MS_REC).bits();
        let change = Change { propagation, ..Change::default() };
        tree::set(root.fd().as_fd(), recursive, change).context("set linux.rootfsPropagation")?;
    }
    if plan.readonly_root {
        tree::set_read_only(root.fd()).context("make the root file system read-only")?;
    }
    Ok(())
}
