//! The mounts of the configuration, in the order listed.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::inherited::Init;
use super::outward::Outward;
use super::{procfs, superblock};
use crate::config::Kind as Namespace;
use crate::config::Mount;
use crate::config::mounts::MountKind;
use crate::config::options::{MountAttr, SuperFlags};
use crate::fs::{Root, copy_tree, mount_id};
use crate::mount::closing::close_later;
use crate::mount::filesystem::make;
use crate::mount::trees::Trees;
use crate::mount::{options, tree};
use crate::protocol::{ToInit, ToParent};
use crate::{Context, Error, Kind, Result};

/// A mount that is still to be made read-only. It is kept open: by then its path could lead to
/// another mount.
#[derive(Debug)]
pub(super) struct Late<'a> {
    pub destination: &'a Path,
    pub mount: OwnedFd,
}

#[derive(Debug, Default)]
pub(super) struct Made<'a> {
    pub late: Vec<Late<'a>>,
    pub outward: Outward,
}

pub(crate) fn all<'a>(init: &Init<'a>, root: &mut Root, trees: &Trees) -> Result<Made<'a>> {
    let Made { mut late, mut outward } = Made::default();
    for mount in &init.plan.mounts {
        let made = one(init, root, trees, mount, &mut outward).with_context(|| {
            format!("mounts[{}]: mount on {:?}", mount.index, mount.destination)
        })?;
        let destination = mount.destination.as_path();
        if mount.kind == MountKind::Remount {
            // The last entry of a destination counts.
            late.retain(|earlier| earlier.destination != destination);
        }
        if covers_root(mount)
            && let Some(new) = &made
        {
            let new = new.try_clone().context("keep the new root file system open")?;
            close_later(root.replace(new));
        }
        match made {
            Some(made) if mount.read_only_late => late.push(Late { destination, mount: made }),
            Some(made) => close_later(made),
            None => {}
        }
    }
    Ok(Made { late, outward })
}

fn covers_root(mount: &Mount) -> bool {
    mount.destination == Path::new("/") && mount.kind != MountKind::Remount
}

/// Makes one mount. Returns it if a later step needs it and `trees` does not hold it.
fn one(
    init: &Init<'_>,
    root: &Root,
    trees: &Trees,
    mount: &Mount,
    outward: &mut Outward,
) -> Result<Option<OwnedFd>> {
    let destination = &mount.destination;
    if covers_root(mount) && init.plan.mounts_in_callers_namespace() {
        let why = "needs a mount namespace of the container's own";
        return Err(Error::new(Kind::Invalid, why));
    }
    match &mount.kind {
        MountKind::Bind(_) => {
            let tree = trees.mount(mount.index);
            let tree = tree.ok_or_else(|| Error::new(Kind::System, "the source is not open"))?;
            bind(root, tree.as_fd(), destination, outward)?;
            outward.note(init, mount, tree.as_fd())?;
            let kept = (mount.read_only_late || covers_root(mount)).then(|| tree.try_clone());
            kept.transpose().context("keep the mount open")
        }
        MountKind::Own(source) => {
            // A link of the image must not choose whose files are idmapped: whoever can write to one
            // mount of the container would give it the files of another.
            let there = match mount.idmap {
                Some(_) => root.find_no_links(source),
                None => root.find(source),
            };
            let there = there.with_context(|| format!("find source {source:?}"))?;
            let tree = tree::clone_file(&there, mount.options.recursive)?;
            close_later(there);
            tree::set(tree.as_fd(), true, tree::isolated(init.plan.propagation))?;
            idmap(init, mount, tree.as_fd())?;
            options::apply_options(tree.as_fd(), mount)?;
            bind(root, tree.as_fd(), destination, outward)?;
            outward.note(init, mount, tree.as_fd())?;
            Ok(Some(tree))
        }
        MountKind::Link(target) => link(root, target, destination).map(|()| None),
        MountKind::New(fstype, source) => {
            let new = new_filesystem(init, root, mount, fstype, source, outward);
            match (new, trees.mount(mount.index)) {
                (Err(error), Some(host))
                    if error.errno() == Some(nix::errno::Errno::EPERM) && mount.idmap.is_none() =>
                {
                    let target = ordinary_dir(root, destination, fstype)?;
                    outward.attach(root, host.as_fd(), target)?;
                    Ok(None)
                }
                (new, _) => new.map(Some),
            }
        }
        MountKind::Cgroup => super::cgroups::mount(init, root, mount, outward).map(Some),
        MountKind::Remount => {
            let there = root.find(destination)?;
            superblock::reconfigure(&init.inherited.proc, there.as_fd(), mount)?;
            options::apply_options(there.as_fd(), mount)?;
            Ok(Some(there))
        }
    }
}

fn bind(root: &Root, tree: BorrowedFd<'_>, destination: &Path, outward: &Outward) -> Result<()> {
    let target = if tree::is_dir(tree)? {
        root.make_dir(destination)?
    } else {
        root.make_file(destination)?
    };
    outward.attach(root, tree, target)
}

/// Makes a symbolic link in the place of a mount. A link that exists already, from an earlier
/// start, must have the same target.
fn link(root: &Root, target: &Path, destination: &Path) -> Result<()> {
    let (Some(parent), Some(name)) = (destination.parent(), destination.file_name()) else {
        return Err(Error::from(Errno::ISDIR));
    };
    let dir = root.make_dir(parent)?;
    match rustix::fs::symlinkat(target, &dir, name) {
        Err(Errno::EXIST) => {
            let same = rustix::fs::readlinkat(&dir, name, Vec::new())
                .is_ok_and(|there| there.as_bytes() == target.as_os_str().as_bytes());
            if !same {
                let what = format!("copy the symbolic link to {target:?}: another file is there");
                return Err(Error::from(Errno::EXIST).context(what));
            }
        }
        answer => answer.with_context(|| format!("make a symbolic link to {target:?}"))?,
    }
    close_later(dir);
    Ok(())
}

fn new_filesystem(
    init: &Init<'_>,
    root: &Root,
    mount: &Mount,
    fstype: &str,
    source: &str,
    outward: &Outward,
) -> Result<OwnedFd> {
    let (target, existed) = match fstype {
        // A link in the place of /proc or /sys would lead the mount elsewhere (CVE-2019-19921,
        // CVE-2025-54867).
        "proc" | "sysfs" => (ordinary_dir(root, &mount.destination, fstype)?, true),
        _ => root.find_or_make_dir(&mount.destination)?,
    };
    let mut data = mount.options.data.clone();
    if fstype == "tmpfs" && !data.iter().any(|(key, _)| key == "mode") {
        // A tmpfs without a mode takes the mode of the directory it hides.
        let mode = if existed {
            rustix::fs::fstat(&target)?.st_mode & 0o7777
        } else {
            like_tmpfs(root, target.as_fd())?
        };
        data.push(("mode".into(), Some(format!("{mode:o}"))));
    }
    let mut flags = mount.options.super_flags;
    let mut read_only = 0;
    if mount.read_only_late {
        flags.set &= !SuperFlags::RDONLY;
        read_only = MountAttr::RDONLY.0;
    }
    let attributes = mount.options.of_one_mount().0.0 & !read_only;
    let joined = init.inherited.joined(Namespace::Pid);
    let new = match joined.filter(|_| fstype == "proc") {
        Some(pid) => procfs::make(pid.as_fd(), root.fd(), |named| {
            make(fstype, source, named.map(|fd| ("pidns", fd)), flags, &data, attributes)
        })?,
        None => make(fstype, source, None, flags, &data, attributes)?,
    };
    if let Some(label) = &mount.root_label {
        set_label(new.as_fd(), label)?;
    }
    if mount.options.tmpcopyup {
        copy_up(root, mount, new.as_fd())?;
    }
    // After the last file is made: init's own ids may have no place in the mapping.
    idmap(init, mount, new.as_fd())?;
    options::apply_propagation(new.as_fd(), mount)?;
    outward.attach(root, new.as_fd(), target)?;
    if mount.options.super_flags.has(SuperFlags::IVERSION) {
        superblock::with_iversion(mount, new.as_fd())?;
    }
    superblock::check(&init.inherited.proc, new.as_fd(), mount)?;
    Ok(new)
}

/// Has the runtime idmap a mount, if the configuration requests that.
fn idmap(init: &Init<'_>, mount: &Mount, tree: BorrowedFd<'_>) -> Result<()> {
    if !mount.is_idmapped_when_made() {
        return Ok(());
    }
    let index = u32::try_from(mount.index).map_err(|_| Error::from(Errno::OVERFLOW))?;
    let tree = tree.try_clone_to_owned().context("hand the mount to the runtime")?;
    init.parent.tell_parent(&ToParent::NeedIdmap(index, tree))?;
    init.parent.wait_for(ToInit::Idmapped)
}

/// Sets the SELinux label of the root directory of a file system.
fn set_label(new: BorrowedFd<'_>, label: &str) -> Result<()> {
    let set = || -> Result<()> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = rustix::fs::openat(new, ".", flags, Mode::empty())?;
        let none = rustix::fs::XattrFlags::empty();
        rustix::fs::fsetxattr(&dir, "security.selinux", label.as_bytes(), none)?;
        close_later(dir);
        Ok(())
    };
    set().with_context(|| format!("linux.mountLabel: {label:?}"))
}

/// Gives a directory that was made for a tmpfs the mode that the kernel gives a tmpfs: the next
/// start finds the directory, and its tmpfs must have the same mode. A directory in another mount can
/// be one of the host's, where it must not be writable for everybody.
fn like_tmpfs(root: &Root, made: BorrowedFd<'_>) -> Result<u32> {
    const MODE: u32 = 0o1777;
    if mount_id(made)? != mount_id(root.fd())? {
        return Ok(MODE);
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let dir = rustix::fs::openat(made, ".", flags, Mode::empty())?;
    rustix::fs::fchmod(&dir, Mode::from_raw_mode(MODE))
        .context("set the mode of the new directory")?;
    close_later(dir);
    Ok(MODE)
}

/// Opens a directory for proc or sysfs, like [`no_link`]; the error text is runc's.
pub(crate) fn ordinary_dir(root: &Root, path: &Path, fstype: &str) -> Result<OwnedFd> {
    no_link(root, path).map_err(|error| match error.kind() {
        Kind::Invalid => {
            let why = format!("filesystem {fstype:?} must be mounted on ordinary directory");
            error.context(why)
        }
        _ => error,
    })
}

/// Opens or makes a directory. No component of its path may be a symbolic link.
pub(crate) fn no_link(root: &Root, path: &Path) -> Result<OwnedFd> {
    let found = match root.find_dir_no_links(path) {
        Err(Errno::NOENT) => {
            root.make_dir(path)?;
            root.find_dir_no_links(path)
        }
        answer => answer,
    };
    let refuse = |what: &str| Error::new(Kind::Invalid, format!("{path:?} in the rootfs {what}"));
    found.map_err(|errno| match errno {
        Errno::LOOP => refuse("is reached by a symbolic link, which is refused here"),
        Errno::NOTDIR => refuse("is not a directory"),
        errno => Error::from(errno),
    })
}

fn copy_up(root: &Root, mount: &Mount, new: BorrowedFd<'_>) -> Result<()> {
    let from = root.open(&mount.destination, OFlags::RDONLY | OFlags::DIRECTORY);
    let from = from.context("open the directory to copy up")?;
    copy_tree(from.as_fd(), new).context("tmpcopyup")
}
