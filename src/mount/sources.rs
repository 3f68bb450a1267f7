//! The sources of a container's mounts, on their way from the runtime to init. If the container has a
//! user namespace, they are placed on a stage, so that the kernel locks the mount flags of the host
//! (read-only, nosuid, nodev, noexec) and what the host has covered.
//!
//! The kernel locks the attributes of a mount, and a mount to its place, only when it copies them
//! into a mount namespace of another user namespace (mount_namespaces(7), "Restrictions on mount
//! namespaces"). Root inside can remount and unmount a detached clone that is merely attached there.
//! So the runtime makes a mount namespace for the time of the clone, attaches every source to an
//! empty tmpfs there, and init's namespace is copied from that one. The tmpfs is the working
//! directory that init inherits; the copy moves it along, and init finds its own, locked copy of each
//! source whatever permissions it has.
//!
//! All attributes are set before the copy, so that those which the configuration requests are locked
//! as well.
//!
//! The working directory and the root are attributes of the process, not of the thread: the process
//! that stages must have one thread.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::sched::{CloneFlags, setns, unshare};
use rustix::fs::{AtFlags, CWD, FileType, Mode};
use rustix::io::Errno;
use rustix::mount::OpenTreeFlags;

use super::filesystem;
use super::options::apply_propagation;
use super::tree::{attach_at, clone_at, make_all_slaves, set_read_only};
use super::trees::Trees;
use crate::config::{Choice, Plan};
use crate::fs::{PATH, Proc};
use crate::{Context, Error, Kind, Result};

/// The way by which init gets the sources of its mounts.
#[derive(Debug)]
pub(crate) enum Sources {
    /// Init opens them in its own mount namespace: the runtime has no right to, or the namespace is
    /// joined and has a tree of its own.
    OfInit,
    Open(Trees),
    /// In the working directory of init, for a container with a user namespace.
    Staged(Stage),
}

impl Sources {
    /// Opens the sources if the runtime can: `is_privileged`.
    pub fn open(plan: &Plan, is_privileged: bool) -> Result<Sources> {
        if !is_privileged || plan.namespaces.mount.path().is_some() {
            return Ok(Sources::OfInit);
        }
        Trees::open(plan, is_needed(plan)).map(Sources::Open)
    }

    pub fn trees(&self) -> Option<&Trees> {
        match self {
            Sources::Open(trees) => Some(trees),
            _ => None,
        }
    }

    pub fn will_be_staged(&self, plan: &Plan) -> bool {
        self.trees().is_some() && is_needed(plan)
    }

    pub fn is_staged(&self) -> bool {
        matches!(self, Sources::Staged(_))
    }

    /// Stages the sources that are open, if the container needs that, and enters the mount
    /// namespace of the stage.
    ///
    /// Until [`Home::leave`] the calling process has another mount namespace, root directory and
    /// working directory: it may only clone init.
    pub fn stage(&mut self, plan: &Plan, proc: &Proc) -> Result<Option<Home>> {
        // Init's own mount namespace is a copy with locks already if an unprivileged runtime
        // clones.
        let (true, Sources::Open(trees)) = (is_needed(plan), &*self) else {
            return Ok(None);
        };
        let (home, stage) = enter(plan, trees, proc)?;
        *self = Sources::Staged(stage);
        Ok(Some(home))
    }
}

/// The sources in the working directory of init, each under its number in the order of
/// [`Trees::try_map`].
pub(crate) type Stage = Trees<File>;

/// A file, as init must find it: device, inode, whether it is a directory.
pub(crate) type File = (u64, u64, bool);

/// Whether the container's mount namespace belongs to another user namespace than the runtime's.
fn is_needed(plan: &Plan) -> bool {
    plan.namespaces.has_user() && plan.namespaces.mount == Choice::New
}

/// The mount namespace, root and working directory that the runtime returns to.
#[derive(Debug)]
#[must_use = "the process is in the mount namespace of the stage"]
pub(crate) struct Home {
    namespace: OwnedFd,
    root: OwnedFd,
    directory: OwnedFd,
    covers: bool,
}

fn enter(plan: &Plan, trees: &Trees, proc: &Proc) -> Result<(Home, Stage)> {
    // A process without the topmost root may not make a user namespace (EPERM), so the root has to
    // be there before: when init waits for its maps.
    let late = plan.no_pivot && plan.namespaces.user == Choice::New;
    let home = Home::here(proc, late)?;
    unshare(CloneFlags::CLONE_NEWNS).context("make a mount namespace for the sources")?;
    let apart = make_all_slaves().context("make the mounts of a new namespace slaves");
    let covered = apart.and_then(|()| if plan.no_pivot && !late { cover() } else { Ok(()) });
    match covered.and_then(|()| fill(plan, trees)) {
        Ok(stage) => Ok((home, stage)),
        Err(error) => home.leave(Err(error.context("prepare the sources")), |_| Ok(())),
    }
}

impl Home {
    fn here(proc: &Proc, covers: bool) -> Result<Home> {
        let open = |path: &str| rustix::fs::openat(CWD, path, PATH, Mode::empty());
        let directory = match open(".") {
            // On a file system that a user has mounted (FUSE), access can be refused even to root.
            // Relative paths must lead nowhere then, not to the root directory.
            Err(Errno::ACCESS) => tmpfs()
                .and_then(|empty| close_to_writes(&empty).map(|()| empty))
                .context("replace a working directory without access")?,
            opened => opened.context("open the working directory")?,
        };
        Ok(Home {
            namespace: proc.own_namespace("mnt").context("open the runtime's mount namespace")?,
            root: open("/").context("open the root directory")?,
            directory,
            covers,
        })
    }

    /// Returns to the namespace, root and working directory of the runtime; yields `answer` if that
    /// succeeds. `wait` returns when a new user namespace exists.
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

fn fill(plan: &Plan, trees: &Trees) -> Result<Stage> {
    // Attached where the root file system is: hooks that enter the namespace need the rest of the
    // tree of the host.
    let place = if plan.rootfs == Path::new("/") { &plan.bundle } else { &plan.rootfs };
    let stage = mount_tmpfs(place)?;
    let mut names = 0_u32..;
    let filled = trees.try_map(|tree| put(stage.as_fd(), tree.as_fd(), names.next()))?;
    close_to_writes(&stage)?;
    nix::unistd::fchdir(&stage).context("enter the tmpfs")?;
    Ok(filled)
}

/// Without pivot_root(2) the host's root stays below the container's, which the container can
/// unmount. It cannot unmount what lies between them since before the copy.
fn cover() -> Result<()> {
    close_to_writes(&mount_tmpfs(Path::new("/"))?).context("cover the root (--no-pivot)")
}

fn mount_tmpfs(place: &Path) -> Result<OwnedFd> {
    let tmpfs = tmpfs()?;
    attach_at(&tmpfs, CWD, place).with_context(|| format!("mount a tmpfs on {place:?}"))?;
    Ok(tmpfs)
}

fn tmpfs() -> Result<OwnedFd> {
    let attributes = libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV | libc::MOUNT_ATTR_NOEXEC;
    filesystem::tmpfs(&[("mode", "755")], None, attributes)
}

fn close_to_writes(tmpfs: &OwnedFd) -> Result<()> {
    set_read_only(tmpfs.as_fd()).context("make a tmpfs read-only")
}

fn put(stage: BorrowedFd<'_>, tree: BorrowedFd<'_>, name: Option<u32>) -> Result<File> {
    let name = name.unwrap_or_default().to_string();
    let file = look(tree)?;
    if file.2 {
        rustix::fs::mkdirat(stage, name.as_str(), Mode::RWXU)?;
    } else {
        rustix::fs::mknodat(stage, name.as_str(), FileType::RegularFile, Mode::RUSR, 0)?;
    }
    attach_at(tree, stage, name)?;
    Ok(file)
}

fn look(tree: BorrowedFd<'_>) -> Result<File> {
    let stat = rustix::fs::statat(tree, "", AtFlags::EMPTY_PATH)?;
    let is_dir = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
    Ok((stat.st_dev, stat.st_ino, is_dir))
}

impl Stage {
    /// Clones each source, with its locks: for init, in its own mount namespace.
    pub fn trees(&self, plan: &Plan) -> Result<Trees> {
        let mut names = 0_u32..;
        let trees = self.try_map(|file| take(*file, names.next()))?;
        for (mount, tree) in plan.mounts.iter().zip(&trees.mounts) {
            if let Some(tree) = tree {
                // Not earlier: the copy of the namespace makes slaves of shared mounts, and
                // unbindable mounts could not have been cloned.
                apply_propagation(tree.as_fd(), mount)
                    .with_context(|| format!("mounts[{}]", mount.index))?;
            }
        }
        Ok(trees)
    }
}

fn take(file: File, name: Option<u32>) -> Result<OwnedFd> {
    let name = name.unwrap_or_default().to_string();
    let flags = OpenTreeFlags::AT_RECURSIVE | OpenTreeFlags::AT_SYMLINK_NOFOLLOW;
    let tree = clone_at(CWD, name.as_str(), flags)
        .with_context(|| format!("open prepared source {name}"))?;
    // The copy leaves out a file of nsfs that names a mount namespace: the file below it is found.
    if look(tree.as_fd())? != file {
        let why = format!("prepared source {name} is another file in the container's namespace");
        return Err(Error::new(Kind::System, why));
    }
    Ok(tree)
}
