//! The mounts of the spec, in the order listed.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, fsconfig_create, fsconfig_set_flag,
    fsconfig_set_string, fsmount, fsopen, move_mount,
};

use super::{Init, done, superblock};
use crate::fs::{Root, copy_tree};
use crate::launch::prepare::{self, Trees};
use crate::plan::mounts::MountKind;
use crate::plan::options::{MountAttr, SuperFlags};
use crate::plan::{Mount, Plan};
use crate::{Context, Error, Kind, Result};

/// All of them.
pub fn all(init: &Init<'_>, root: &Root, trees: &Trees) -> Result<()> {
    for mount in &init.plan.mounts {
        one(init, root, trees, mount).with_context(|| {
            format!("mounts[{}]: mount on {:?}", mount.index, mount.destination)
        })?;
    }
    Ok(())
}

fn one(init: &Init<'_>, root: &Root, trees: &Trees, mount: &Mount) -> Result<()> {
    let destination = &mount.destination;
    match &mount.kind {
        MountKind::Bind(_) => {
            let tree = trees.mounts.get(mount.index).and_then(Option::as_ref);
            let tree = tree.ok_or_else(|| Error::new(Kind::System, "the source is not open"))?;
            bind(root, tree.as_fd(), destination)
        }
        MountKind::Own(source) => {
            let there = root.find(source).with_context(|| format!("find source {source:?}"))?;
            let tree = prepare::clone_open(there.as_fd(), mount.options.recursive)?;
            done(there);
            prepare::set(tree.as_fd(), true, prepare::base(init.plan.propagation, 0))?;
            prepare::apply_options(tree.as_fd(), mount)?;
            bind(root, tree.as_fd(), destination)?;
            done(tree);
            Ok(())
        }
        MountKind::Link(target) => link(root, target, destination),
        MountKind::New(fstype, source) => new_filesystem(init, root, mount, fstype, source),
        MountKind::Cgroup => super::cgroups::mount(init, root, mount),
        MountKind::Remount => {
            let there = root.find(destination)?;
            superblock::reconfigure(init.prepared, there.as_fd(), mount)?;
            prepare::apply_options(there.as_fd(), mount)
        }
    }
}

fn bind(root: &Root, tree: BorrowedFd<'_>, destination: &Path) -> Result<()> {
    let target = if prepare::is_dir(tree)? {
        root.make_dir(destination)?
    } else {
        root.make_file(destination)?
    };
    attach(tree, target)
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
) -> Result<()> {
    let (target, existed) = match fstype {
        // A link in the place of /proc or /sys is an image that wants them elsewhere
        // (CVE-2019-19921, CVE-2025-54867).
        "proc" | "sysfs" => (no_link(root, &mount.destination)?, true),
        _ => root.find_or_make_dir(&mount.destination)?,
    };
    let plan = init.plan;
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
    let late = read_only_late(plan, mount);
    let read_only = if late { MountAttr::RDONLY.0 } else { 0 };
    let attributes = mount.options.of_one_mount().0.0 & !read_only;
    let new = make(fstype, source, mount.options.super_flags, &data, attributes)?;
    if mount.options.tmpcopyup {
        copy_up(root, mount, new.as_fd())?;
    }
    prepare::apply_propagation(new.as_fd(), mount)?;
    attach(new.as_fd(), target)?;
    if mount.options.super_flags.has(SuperFlags::IVERSION) {
        superblock::with_iversion(plan, mount, new.as_fd())?;
    }
    superblock::check(init.prepared, new.as_fd(), mount)?;
    done(new);
    Ok(())
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

/// Whether the read-only flag has to wait: device nodes are still to be made in a /dev, and
/// contents copied up.
pub fn read_only_late(plan: &Plan, mount: &Mount) -> bool {
    let dev = plan.populate_dev && mount.destination == Path::new("/dev");
    let read_only = mount.options.of_one_mount().0.contains(MountAttr::RDONLY);
    read_only && (dev || mount.options.tmpcopyup)
}

/// fsopen(2), fsconfig(2), fsmount(2): a new file system as a detached mount.
pub fn make(
    fstype: &str,
    source: &str,
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

/// The directory itself: no component of its path may be a link.
pub fn no_link(root: &Root, path: &Path) -> Result<OwnedFd> {
    let found = match root.find_no_links(path) {
        Err(Errno::NOENT) => {
            root.make_dir(path)?;
            root.find_no_links(path)
        }
        answer => answer,
    };
    found.map_err(|errno| match errno {
        Errno::LOOP => Error::new(
            Kind::Invalid,
            format!("{path:?} in the rootfs is reached by a symbolic link, which is refused here"),
        ),
        errno => Error::from(errno),
    })
}

fn copy_up(root: &Root, mount: &Mount, new: BorrowedFd<'_>) -> Result<()> {
    let from = root.open(&mount.destination, OFlags::RDONLY | OFlags::DIRECTORY);
    let from = from.context("open the directory to copy up")?;
    let to = rustix::fs::openat(new, ".", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    copy_tree(from.as_fd(), to.as_fd()).context("tmpcopyup")
}
