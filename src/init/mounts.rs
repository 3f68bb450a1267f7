//! The mounts of the spec, in the order listed.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, fsconfig_create, fsconfig_set_fd,
    fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, move_mount,
};

use super::outward::Outward;
use super::{Init, done, procfs, superblock};
use crate::config::Kind as Namespace;
use crate::config::Mount;
use crate::config::mounts::MountKind;
use crate::config::options::{MountAttr, SuperFlags};
use crate::fs::{Root, copy_tree};
use crate::mount::prepare::{self, Trees};
use crate::spawn::maps;
use crate::{Context, Error, Kind, Result};

/// A mount that is still to be made read-only. It is kept open: looked up again its path could mean
/// another one.
#[derive(Debug)]
pub struct Late<'a> {
    /// Where it is.
    pub destination: &'a Path,
    /// The mount.
    pub mount: OwnedFd,
}

/// What later steps have to know of the mounts.
#[derive(Debug, Default)]
pub struct Made<'a> {
    /// Those that are still to be made read-only.
    pub late: Vec<Late<'a>>,
    /// Those that the host is a peer of.
    pub outward: Outward,
}

/// All of them.
pub fn all<'a>(init: &Init<'a>, root: &mut Root, trees: &Trees) -> Result<Made<'a>> {
    let Made { mut late, mut outward } = Made::default();
    for mount in &init.plan.mounts {
        let made = one(init, root, trees, mount, &mut outward).with_context(|| {
            format!("mounts[{}]: mount on {:?}", mount.index, mount.destination)
        })?;
        let destination = mount.destination.as_path();
        if mount.kind == MountKind::Remount {
            // The last word on a place counts.
            late.retain(|earlier| earlier.destination != destination);
        }
        if covers_root(mount)
            && let Some(new) = &made
        {
            let new = new.try_clone().context("keep the new root file system open")?;
            done(root.replace(new));
        }
        match made {
            Some(made) if mount.read_only_late => late.push(Late { destination, mount: made }),
            Some(made) => done(made),
            None => {}
        }
    }
    Ok(Made { late, outward })
}

/// A mount on `/` itself is the root file system from there on.
fn covers_root(mount: &Mount) -> bool {
    mount.destination == Path::new("/") && mount.kind != MountKind::Remount
}

/// Gives the mount, unless it is held elsewhere and not asked for.
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
            let tree = trees.mounts.get(mount.index).and_then(Option::as_ref);
            let tree = tree.ok_or_else(|| Error::new(Kind::System, "the source is not open"))?;
            bind(root, tree.as_fd(), destination, outward)?;
            outward.note(init, mount, tree.as_fd())?;
            let kept = (mount.read_only_late || covers_root(mount)).then(|| tree.try_clone());
            kept.transpose().context("keep the mount open")
        }
        MountKind::Own(source) => {
            let there = root.find(source).with_context(|| format!("find source {source:?}"))?;
            let tree = prepare::clone_open(there.as_fd(), mount.options.recursive)?;
            done(there);
            prepare::set(tree.as_fd(), true, prepare::base(init.plan.propagation, 0))?;
            for (_, mapping) in init.prepared.idmaps.iter().filter(|(i, _)| *i == mount.index) {
                maps::idmap(tree.as_fd(), mount, mapping.as_fd()).context("idmap")?;
            }
            prepare::apply_options(tree.as_fd(), mount)?;
            bind(root, tree.as_fd(), destination, outward)?;
            outward.note(init, mount, tree.as_fd())?;
            Ok(Some(tree))
        }
        MountKind::Link(target) => link(root, target, destination).map(|()| None),
        MountKind::New(fstype, source) => {
            let host = trees.mounts.get(mount.index).and_then(Option::as_ref);
            let new = new_filesystem(init, root, mount, fstype, source, outward);
            match (new, host) {
                (Err(error), Some(host)) if error.errno() == Some(nix::errno::Errno::EPERM) => {
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
            superblock::reconfigure(init.prepared, there.as_fd(), mount)?;
            prepare::apply_options(there.as_fd(), mount)?;
            Ok(Some(there))
        }
    }
}

fn bind(root: &Root, tree: BorrowedFd<'_>, destination: &Path, outward: &Outward) -> Result<()> {
    let target = if prepare::is_dir(tree)? {
        root.make_dir(destination)?
    } else {
        root.make_file(destination)?
    };
    outward.attach(root, tree, target)
}

/// A symbolic link in the place of a mount. One that is there already, of an earlier start say, has
/// to be the same.
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
    done(dir);
    Ok(())
}

/// Puts a detached mount on a place that is held open.
pub fn attach(mount: BorrowedFd<'_>, target: OwnedFd) -> Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(mount, "", &target, "", flags)
        .map_err(|errno| mismatch(errno, mount, target.as_fd()))?;
    done(target);
    Ok(())
}

/// A file cannot be mounted on a directory, nor the other way round. Where mount(2) calls that
/// ENOTDIR, move_mount(2) says EINVAL; engines look for the words of the former and give a hint.
fn mismatch(errno: Errno, mount: BorrowedFd<'_>, target: BorrowedFd<'_>) -> Error {
    match (errno, prepare::is_dir(mount), prepare::is_dir(target)) {
        (Errno::INVAL, Ok(true), Ok(false)) => Error::from(Errno::NOTDIR)
            .context("the source is a directory and the destination a file"),
        (Errno::INVAL, Ok(false), Ok(true)) => Error::from(Errno::NOTDIR)
            .context("the source is a file and the destination a directory"),
        _ => Error::from(errno),
    }
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
        // A link in the place of /proc or /sys is an image that wants them elsewhere
        // (CVE-2019-19921, CVE-2025-54867).
        "proc" | "sysfs" => (ordinary_dir(root, &mount.destination, fstype)?, true),
        _ => root.find_or_make_dir(&mount.destination)?,
    };
    let mut data = mount.options.data.clone();
    if fstype == "tmpfs" && !data.iter().any(|(key, _)| key == "mode") {
        // A tmpfs without a mode takes that of the directory it hides.
        let mode = if existed {
            rustix::fs::fstat(&target)?.st_mode & 0o7777
        } else {
            like_tmpfs(target.as_fd())?
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
    let joined = init.prepared.joins.iter().find(|(kind, _)| *kind == Namespace::Pid);
    let new = match joined.filter(|_| fstype == "proc") {
        Some((_, pid)) => procfs::make(pid.as_fd(), root.fd(), |named| {
            make_with(fstype, source, named.map(|fd| ("pidns", fd)), flags, &data, attributes)
        })?,
        None => make(fstype, source, flags, &data, attributes)?,
    };
    if mount.options.tmpcopyup {
        copy_up(root, mount, new.as_fd())?;
    }
    prepare::apply_propagation(new.as_fd(), mount)?;
    outward.attach(root, new.as_fd(), target)?;
    if mount.options.super_flags.has(SuperFlags::IVERSION) {
        superblock::with_iversion(mount, new.as_fd())?;
    }
    superblock::check(init.prepared, new.as_fd(), mount)?;
    Ok(new)
}

/// Gives a directory that was made to mount a tmpfs on the mode that the kernel gives a tmpfs: the
/// next start, which finds the directory, has to give the same.
fn like_tmpfs(made: BorrowedFd<'_>) -> Result<u32> {
    const MODE: u32 = 0o1777;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let dir = rustix::fs::openat(made, ".", flags, Mode::empty())?;
    rustix::fs::fchmod(&dir, Mode::from_raw_mode(MODE))
        .context("set the mode of the new directory")?;
    done(dir);
    Ok(MODE)
}

/// fsopen(2), fsconfig(2), fsmount(2): a new file system as a detached mount.
pub fn make(
    fstype: &str,
    source: &str,
    flags: SuperFlags,
    data: &[(String, Option<String>)],
    attributes: u64,
) -> Result<OwnedFd> {
    make_with(fstype, source, None, flags, data, attributes)
}

/// As [`make`], with an option whose value is a descriptor.
fn make_with(
    fstype: &str,
    source: &str,
    descriptor: Option<(&str, BorrowedFd<'_>)>,
    flags: SuperFlags,
    data: &[(String, Option<String>)],
    attributes: u64,
) -> Result<OwnedFd> {
    let context = match fsopen(fstype, FsOpenFlags::FSOPEN_CLOEXEC) {
        Err(Errno::NODEV) => {
            return Err(Error::new(
                Kind::Invalid,
                format!("type {fstype:?}: this kernel has no such file system"),
            ));
        }
        answer => answer.with_context(|| format!("open file system type {fstype:?}"))?,
    };
    let configure = || -> Result<OwnedFd> {
        if !source.is_empty() {
            fsconfig_set_string(&context, "source", source)
                .with_context(|| format!("source {source:?}"))?;
        }
        if let Some((key, fd)) = descriptor {
            fsconfig_set_fd(&context, key, fd).with_context(|| format!("option {key:?}"))?;
        }
        for name in super_flag_names(fstype, flags) {
            fsconfig_set_flag(&context, name).with_context(|| format!("option {name:?}"))?;
        }
        for (key, value) in data {
            match value {
                Some(value) => fsconfig_set_string(&context, key.as_str(), value.as_str())
                    .with_context(|| format!("option \"{key}={value}\""))?,
                None => fsconfig_set_flag(&context, key.as_str())
                    .with_context(|| format!("option {key:?}"))?,
            }
        }
        fsconfig_create(&context)
            .with_context(|| format!("make a file system of type {fstype:?}"))?;
        let attributes = MountAttrFlags::from_bits_retain(attributes as u32);
        fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
            .with_context(|| format!("mount file system type {fstype:?}"))
    };
    let made = configure().map_err(|error| match kernel_message(context.as_fd()) {
        Some(message) => error.context(format!("the kernel says {message:?}")),
        None => error,
    });
    done(context);
    made
}

/// The read-only flag of the file system itself matters where there is a device behind it; the
/// pseudo file systems share theirs with others, and the mount's own flag is what counts.
fn super_flag_names(fstype: &str, flags: SuperFlags) -> Vec<&'static str> {
    const SHARED: [&str; 6] = ["proc", "sysfs", "cgroup", "cgroup2", "mqueue", "devpts"];
    let pseudo = SHARED.contains(&fstype) || fstype == "tmpfs";
    let keep = |name: &&str| !(pseudo && (*name == "ro" || *name == "rw"));
    flags.fsconfig_names().filter(keep).collect()
}

/// What the file system said about a configuration it refused (fsopen(2), "message retrieval").
pub fn kernel_message(context: BorrowedFd<'_>) -> Option<String> {
    let mut buffer = [0; 256];
    let length = rustix::io::read(context, &mut buffer).ok()?;
    let text = String::from_utf8_lossy(buffer.get(..length)?).trim().to_owned();
    Some(text.strip_prefix("e ").map_or(text.clone(), str::to_owned)).filter(|t| !t.is_empty())
}

/// For proc and sysfs, with the words of runc.
fn ordinary_dir(root: &Root, path: &Path, fstype: &str) -> Result<OwnedFd> {
    no_link(root, path).map_err(|error| match error.kind() {
        Kind::Invalid => {
            let why = format!("filesystem {fstype:?} must be mounted on ordinary directory");
            error.context(why)
        }
        _ => error,
    })
}

/// The directory itself: no component of its path may be a link.
pub fn no_link(root: &Root, path: &Path) -> Result<OwnedFd> {
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
    let to = rustix::fs::openat(new, ".", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    copy_tree(from.as_fd(), to.as_fd()).context("tmpcopyup")
}
