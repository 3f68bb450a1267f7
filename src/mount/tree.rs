//! The mount system calls on detached mounts: clone, change, attach.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::mount::MsFlags;
use rustix::fs::{AtFlags, CWD, FileType};
use rustix::io::Errno;
use rustix::mount::{MoveMountFlags, OpenTreeFlags, move_mount, open_tree};

use super::closing::close_later;
use crate::config::Mount;
use crate::sys::mount::{Change, mount_setattr};
use crate::{Error, Result};

/// The attributes of a mount that gives a container nothing but its files to read.
pub(crate) const CLOSED: u64 = libc::MOUNT_ATTR_RDONLY
    | libc::MOUNT_ATTR_NOSUID
    | libc::MOUNT_ATTR_NODEV
    | libc::MOUNT_ATTR_NOEXEC;

/// Clones the mount at `path` below `dir` as a detached mount, open_tree(2).
pub(crate) fn clone_at(
    dir: impl AsFd,
    path: impl rustix::path::Arg,
    flags: OpenTreeFlags,
) -> rustix::io::Result<OwnedFd> {
    let clone = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    open_tree(dir, path, clone | flags)
}

pub(crate) fn clone_path(path: &Path, recursive: bool) -> rustix::io::Result<OwnedFd> {
    clone_at(CWD, path, below(recursive))
}

/// Clones the mount, from the file on that `file` names.
pub(crate) fn clone_file(file: impl AsFd, recursive: bool) -> rustix::io::Result<OwnedFd> {
    clone_at(file, "", below(recursive) | OpenTreeFlags::AT_EMPTY_PATH)
}

fn below(recursive: bool) -> OpenTreeFlags {
    if recursive { OpenTreeFlags::AT_RECURSIVE } else { OpenTreeFlags::empty() }
}

/// Changes a mount, mount_setattr(2); with `recursive` also the mounts below it.
pub(crate) fn set(mount: BorrowedFd<'_>, recursive: bool, change: Change) -> Result<()> {
    if change == Change::default() {
        return Ok(());
    }
    Ok(mount_setattr(mount, c"", of_descriptor(recursive), change, None)?)
}

pub(crate) fn set_read_only(mount: BorrowedFd<'_>) -> Result<()> {
    set(mount, false, Change { set: libc::MOUNT_ATTR_RDONLY, ..Change::default() })
}

pub(crate) fn idmap(
    tree: BorrowedFd<'_>,
    mount: &Mount,
    namespace: BorrowedFd<'_>,
) -> nix::Result<()> {
    let flags = of_descriptor(mount.options.idmap == Some(true));
    let change = Change { set: libc::MOUNT_ATTR_IDMAP, ..Change::default() };
    mount_setattr(tree, c"", flags, change, Some(namespace))
}

fn of_descriptor(recursive: bool) -> i32 {
    libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 }
}

/// Makes all mounts of the calling process's namespace slaves: nothing that is mounted from here on
/// appears on the host.
pub(crate) fn make_all_slaves() -> nix::Result<()> {
    let change = Change { propagation: libc::MS_SLAVE, ..Change::default() };
    mount_setattr(CWD, c"/", libc::AT_RECURSIVE, change, None)
}

/// Returns the change that keeps the mounts made below a new tree from the host: with root file
/// system propagation `propagation` the tree is private or a slave.
pub(crate) fn isolated(propagation: MsFlags) -> Change {
    let private = propagation.intersects(MsFlags::MS_PRIVATE | MsFlags::MS_UNBINDABLE);
    let kind = if private { libc::MS_PRIVATE } else { libc::MS_SLAVE };
    Change { propagation: kind, ..Change::default() }
}

/// Attaches a detached mount at `path` below `dir`, move_mount(2).
pub(crate) fn attach_at(
    mount: impl AsFd,
    dir: impl AsFd,
    path: impl rustix::path::Arg,
) -> rustix::io::Result<()> {
    move_mount(mount, "", dir, path, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
}

/// Attaches a detached mount on `target`, an open file or directory, and closes `target`.
pub(crate) fn attach_on(mount: BorrowedFd<'_>, target: OwnedFd) -> Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(mount, "", &target, "", flags)
        .map_err(|errno| mismatch(errno, mount, target.as_fd()))?;
    close_later(target);
    Ok(())
}

/// Names the mismatch of a file and a directory. Where mount(2) fails with ENOTDIR, move_mount(2)
/// fails with EINVAL; engines look for the text of the former and give a hint.
fn mismatch(errno: Errno, mount: BorrowedFd<'_>, target: BorrowedFd<'_>) -> Error {
    match (errno, is_dir(mount), is_dir(target)) {
        (Errno::INVAL, Ok(true), Ok(false)) => Error::from(Errno::NOTDIR)
            .context("the source is a directory and the destination a file"),
        (Errno::INVAL, Ok(false), Ok(true)) => Error::from(Errno::NOTDIR)
            .context("the source is a file and the destination a directory"),
        _ => Error::from(errno),
    }
}

/// Whether a descriptor, which may be of the O_PATH kind, names a directory.
pub(crate) fn is_dir(file: BorrowedFd<'_>) -> rustix::io::Result<bool> {
    let stat = rustix::fs::statat(file, "", AtFlags::EMPTY_PATH)?;
    Ok(FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
}
