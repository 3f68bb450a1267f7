//! Sources of a container that has a user namespace, so that the kernel keeps what the host has
//! mounted read-only, nosuid, nodev or noexec, and what it has covered.
//!
//! The kernel locks the attributes of a mount, and a mount to its place, only when it copies them
//! into a mount namespace of another user namespace (mount_namespaces(7), "Restrictions on mount
//! namespaces"). A detached clone that is merely attached there has no locks, and root inside with
//! CAP_SYS_ADMIN can remount and unmount it. So the clones have to be part of the namespace that
//! init's is copied from. That namespace is not the host's: the runtime makes one for the time of
//! the clone, attaches every source to an empty tmpfs there, and returns. The tmpfs is the working
//! directory that init inherits; the copy of a mount namespace moves the working directory along,
//! and init finds its own, locked copy of each source whatever permissions it has.
//!
//! All attributes are set before the copy, with the rights of the runtime: what the configuration
//! asks for is locked as well.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::sched::{CloneFlags, setns, unshare};
use rustix::fs::{AtFlags, CWD, FileType, Mode};
use rustix::io::Errno;
use rustix::mount::{MoveMountFlags, OpenTreeFlags, move_mount, open_tree};

use super::prepare::{Prepared, Trees, apply_propagation, set};
use crate::config::options::SuperFlags;
use crate::config::{Choice, Plan};
use crate::fs::{PATH, Proc};
use crate::init::mounts::make;
use crate::sys::mount::{Change, mount_setattr};
use crate::{Context, Error, Kind, Result};

/// What init finds in its working directory, each under its number in this order.
#[derive(Debug)]
pub struct Stage {
    root: File,
    null: File,
    mounts: Vec<Option<File>>,
    devices: Vec<Option<File>>,
}

/// A file, and what it must still be when init finds it: device, inode, whether it is a directory.
type File = (u64, u64, bool);

/// Whether the container's mount namespace belongs to another user namespace than the runtime's.
pub fn is_needed(plan: &Plan) -> bool {
    plan.namespaces.has_user() && plan.namespaces.mount == Choice::New
}

/// Where the runtime returns to.
#[derive(Debug)]
pub struct Home {
    namespace: OwnedFd,
    root: OwnedFd,
    directory: OwnedFd,
    /// Whether the host's root still has to be covered.
    covers: bool,
}

/// Enters a new mount namespace with the trees of `prepared` in it, if the container needs that.
/// From here to [`Home::leave`] nothing may be done but to clone init.
pub fn enter(plan: &Plan, prepared: &mut Prepared) -> Result<Option<Home>> {
    if !is_needed(plan) {
        return Ok(None);
    }
    // None: an unprivileged runtime; init's own mount namespace is a copy with locks already.
    let Some(trees) = prepared.trees.take() else { return Ok(None) };
    // A new user namespace is refused to who has not the topmost root (EPERM), so it has to be there
    // before: when init waits for its maps.
    let late = plan.no_pivot && plan.namespaces.user == Choice::New;
    let home = Home::here(&prepared.proc, late)?;
    unshare(CloneFlags::CLONE_NEWNS).context("make a mount namespace for the sources")?;
    let change = Change { propagation: libc::MS_SLAVE, ..Change::default() };
    let apart = mount_setattr(CWD, c"/", libc::AT_RECURSIVE, change, None)
        .context("make the mounts of a new namespace slaves");
    let covered = apart.and_then(|()| if plan.no_pivot && !late { cover() } else { Ok(()) });
    match covered.and_then(|()| fill(plan, &trees)) {
        Ok(stage) => {
            prepared.stage = Some(stage);
            Ok(Some(home))
        }
        Err(error) => home.leave(Err(error.context("prepare the sources")), |_| Ok(())),
    }
}

impl Home {
    fn here(proc: &Proc, covers: bool) -> Result<Home> {
        let open = |path: &str| rustix::fs::openat(CWD, path, PATH, Mode::empty());
        let directory = match open(".") {
            // On a file system of a user's, not even root may. Relative paths lead nowhere there, and
            // must not lead to the root directory.
            Err(Errno::ACCESS) => empty().context("replace a working directory without access")?,
            opened => opened.context("open the working directory")?,
        };
        Ok(Home {
            namespace: proc.own_namespace("mnt").context("open the runtime's mount namespace")?,
            root: open("/").context("open the root directory")?,
            directory,
            covers,
        })
    }

    /// Returns to where the runtime was; gives `answer` if that succeeds. `wait` returns when a new
    /// user namespace has been made.
    pub fn leave<T>(self, answer: Result<T>, wait: impl FnOnce(&T) -> Result<()>) -> Result<T> {
        let answer = match answer {
            Ok(cloned) if self.covers => wait(&cloned).and_then(|()| cover()).map(|()| cloned),
            answer => answer,
        };
        let leave = || -> Result<()> {
            setns(self.namespace.as_fd(), CloneFlags::CLONE_NEWNS)?;
            // setns(2) sets the root of the namespace; the runtime may have had another one.
            nix::unistd::fchdir(&self.root)?;
            nix::unistd::chroot(".")?;
            Ok(nix::unistd::fchdir(&self.directory)?)
        };
        leave().context("return to the runtime's mount namespace")?;
        answer
    }
}

/// Attaches every tree, and makes the tmpfs the working directory.
fn fill(plan: &Plan, trees: &Trees) -> Result<Stage> {
    // Where the root file system is: hooks that enter the namespace have to find the rest of the
    // host's tree.
    let place = if plan.rootfs == Path::new("/") { &plan.bundle } else { &plan.rootfs };
    let stage = mount_tmpfs(place)?;
    let mut names = 0_u32..;
    let mut put = |tree: &OwnedFd| put(stage.as_fd(), tree.as_fd(), names.next());
    let (root, null) = (put(&trees.root)?, put(&trees.null)?);
    let mut each = |list: &[Option<OwnedFd>]| -> Result<Vec<Option<File>>> {
        list.iter().map(|tree| tree.as_ref().map(&mut put).transpose()).collect()
    };
    let filled = Stage { root, null, mounts: each(&trees.mounts)?, devices: each(&trees.devices)? };
    set_read_only(stage.as_fd())?;
    nix::unistd::fchdir(&stage).context("enter the tmpfs")?;
    Ok(filled)
}

/// Without pivot_root(2) the host's root stays below the container's, which the container can unmount.
/// It cannot unmount what lies between them since before the copy.
fn cover() -> Result<()> {
    set_read_only(mount_tmpfs(Path::new("/"))?.as_fd()).context("cover the root (--no-pivot)")
}

fn mount_tmpfs(place: &Path) -> Result<OwnedFd> {
    let tmpfs = tmpfs()?;
    move_mount(&tmpfs, "", CWD, place, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
        .with_context(|| format!("mount a tmpfs on {place:?}"))?;
    Ok(tmpfs)
}

/// A directory that stays empty.
fn empty() -> Result<OwnedFd> {
    let tmpfs = tmpfs()?;
    set_read_only(tmpfs.as_fd())?;
    Ok(tmpfs)
}

fn tmpfs() -> Result<OwnedFd> {
    let attributes = libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV | libc::MOUNT_ATTR_NOEXEC;
    let data = [("mode".to_owned(), Some("755".to_owned()))];
    make("tmpfs", "tmpfs", SuperFlags::default(), &data, attributes)
}

fn set_read_only(mount: BorrowedFd<'_>) -> Result<()> {
    let change = Change { set: libc::MOUNT_ATTR_RDONLY, ..Change::default() };
    set(mount, false, change).context("make a tmpfs read-only")
}

fn put(stage: BorrowedFd<'_>, tree: BorrowedFd<'_>, name: Option<u32>) -> Result<File> {
    let name = name.unwrap_or_default().to_string();
    let file = look(tree)?;
    if file.2 {
        rustix::fs::mkdirat(stage, name.as_str(), Mode::RWXU)?;
    } else {
        rustix::fs::mknodat(stage, name.as_str(), FileType::RegularFile, Mode::RUSR, 0)?;
    }
    move_mount(tree, "", stage, name, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
    Ok(file)
}

fn look(tree: BorrowedFd<'_>) -> Result<File> {
    let stat = rustix::fs::statat(tree, "", AtFlags::EMPTY_PATH)?;
    let is_dir = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
    Ok((stat.st_dev, stat.st_ino, is_dir))
}

impl Stage {
    /// Init, in its own mount namespace: a clone of each source, which has its locks.
    pub fn trees(&self, plan: &Plan) -> Result<Trees> {
        let mut names = 0_u32..;
        let mut take = |file: &File| take(*file, names.next());
        let (root, null) = (take(&self.root)?, take(&self.null)?);
        let mut each = |list: &[Option<File>]| -> Result<Vec<Option<OwnedFd>>> {
            list.iter().map(|file| file.as_ref().map(&mut take).transpose()).collect()
        };
        let trees =
            Trees { root, null, mounts: each(&self.mounts)?, devices: each(&self.devices)? };
        for (mount, tree) in plan.mounts.iter().zip(&trees.mounts) {
            if let Some(tree) = tree {
                // Not earlier: the copy makes a slave of what is shared, and what is unbindable
                // could not have been cloned.
                apply_propagation(tree.as_fd(), mount)
                    .with_context(|| format!("mounts[{}]", mount.index))?;
            }
        }
        Ok(trees)
    }
}

fn take(file: File, name: Option<u32>) -> Result<OwnedFd> {
    let name = name.unwrap_or_default().to_string();
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_RECURSIVE
        | OpenTreeFlags::AT_SYMLINK_NOFOLLOW;
    let tree = open_tree(CWD, name.as_str(), flags)
        .with_context(|| format!("open prepared source {name}"))?;
    // A mount namespace's own file is left out by the copy, and the place below it is seen.
    if look(tree.as_fd())? != file {
        let why = format!("prepared source {name} is another file in the container's namespace");
        return Err(Error::new(Kind::System, why));
    }
    Ok(tree)
}
