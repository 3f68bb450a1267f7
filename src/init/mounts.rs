//! The mounts of the spec, in the order listed.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, fsconfig_create, fsconfig_set_flag,
    fsconfig_set_string, fsmount, fsopen, move_mount,
};

use super::{Init, done};
use crate::fs::{Root, copy_tree};
use crate::launch::prepare::{self, Trees};
use crate::plan::Mount;
use crate::plan::mounts::MountKind;
use crate::plan::options::{MountAttr, SuperFlags};
use crate::sys::mount::Change;
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

/// All of them; gives those that are still to be made read-only.
pub fn all<'a>(init: &Init<'a>, root: &Root, trees: &Trees) -> Result<Vec<Late<'a>>> {
    let mut late: Vec<Late<'a>> = Vec::new();
    for mount in &init.plan.mounts {
        let made = one(init, root, trees, mount).with_context(|| {
            format!("mounts[{}]: mount on {:?}", mount.index, mount.destination)
        })?;
        let destination = mount.destination.as_path();
        if mount.kind == MountKind::Remount {
            // The last word on a place counts.
            late.retain(|earlier| earlier.destination != destination);
        }
        match made {
            Some(made) if mount.read_only_late => late.push(Late { destination, mount: made }),
            Some(made) => done(made),
            None => {}
        }
    }
    Ok(late)
}

/// Gives the mount, unless it is held elsewhere and not asked for.
fn one(init: &Init<'_>, root: &Root, trees: &Trees, mount: &Mount) -> Result<Option<OwnedFd>> {
    let destination = &mount.destination;
    match &mount.kind {
        MountKind::Bind(_) => {
            let tree = trees.mounts.get(mount.index).and_then(Option::as_ref);
            let tree = tree.ok_or_else(|| Error::new(Kind::System, "the source is not open"))?;
            bind(root, tree.as_fd(), destination)?;
            let late = mount.read_only_late.then(|| tree.try_clone());
            late.transpose().context("keep the mount open")
        }
        MountKind::Own(source) => {
            let there = root.find(source).with_context(|| format!("find source {source:?}"))?;
            let tree = prepare::clone_open(there.as_fd(), mount.options.recursive)?;
            done(there);
            prepare::set(tree.as_fd(), true, prepare::base(init.plan.propagation, 0))?;
            prepare::apply_options(tree.as_fd(), mount)?;
            bind(root, tree.as_fd(), destination)?;
            Ok(Some(tree))
        }
        MountKind::New(fstype, source) => new_filesystem(root, mount, fstype, source).map(Some),
        MountKind::Cgroup => super::cgroups::mount(init, root, mount).map(Some),
        MountKind::Remount => {
            let there = root.find(destination)?;
            prepare::apply_options(there.as_fd(), mount)?;
            Ok(Some(there))
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

/// Puts a detached mount on a place that is held open.
pub fn attach(mount: BorrowedFd<'_>, target: OwnedFd) -> Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(mount, "", &target, "", flags)?;
    done(target);
    Ok(())
}

fn new_filesystem(root: &Root, mount: &Mount, fstype: &str, source: &str) -> Result<OwnedFd> {
    let (target, existed) = match fstype {
        // A link in the place of /proc or /sys is an image that wants them elsewhere
        // (CVE-2019-19921, CVE-2025-54867).
        "proc" | "sysfs" => (no_link(root, &mount.destination)?, true),
        _ => root.find_or_make_dir(&mount.destination)?,
    };
    let mut data = mount.options.data.clone();
    if fstype == "tmpfs" && existed && !data.iter().any(|(key, _)| key == "mode") {
        // A tmpfs without a mode takes that of the directory it hides.
        let mode = rustix::fs::fstat(&target)?.st_mode & 0o7777;
        data.push(("mode".into(), Some(format!("{mode:o}"))));
    }
    let mut flags = mount.options.super_flags;
    let mut read_only = 0;
    if mount.read_only_late {
        flags.set &= !SuperFlags::RDONLY;
        read_only = MountAttr::RDONLY.0;
    }
    let attributes = mount.options.set.0 & !read_only;
    let new = make(fstype, source, flags, &data, attributes)?;
    if mount.options.tmpcopyup {
        copy_up(root, mount, new.as_fd())?;
    }
    let change = Change {
        set: mount.options.rec_set.0 & !read_only,
        clear: mount.options.rec_clear.0,
        propagation: 0,
    };
    prepare::set(new.as_fd(), true, change)?;
    prepare::apply_propagation(new.as_fd(), mount)?;
    attach(new.as_fd(), target)?;
    if mount.options.super_flags.set & SuperFlags::IVERSION != 0 {
        with_iversion(mount, new.as_fd())?;
    }
    Ok(new)
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
fn kernel_message(context: BorrowedFd<'_>) -> Option<String> {
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

/// `iversion` exists in mount(2) only: a remount that repeats the flags the file system has.
fn with_iversion(mount: &Mount, new: BorrowedFd<'_>) -> Result<()> {
    use nix::mount::MsFlags;
    let mut bits = mount.options.super_flags.set | MsFlags::MS_REMOUNT.bits();
    if mount.read_only_late {
        bits &= !MsFlags::MS_RDONLY.bits();
    }
    // The attributes of the mount itself have the same meaning in both interfaces, not the same
    // bits: nosuid, nodev, noexec, noatime, nodiratime.
    for (attribute, flag) in [
        (MountAttr::NOSUID, MsFlags::MS_NOSUID),
        (MountAttr::NODEV, MsFlags::MS_NODEV),
        (MountAttr::NOEXEC, MsFlags::MS_NOEXEC),
        (MountAttr::NOATIME, MsFlags::MS_NOATIME),
        (MountAttr::NODIRATIME, MsFlags::MS_NODIRATIME),
        (MountAttr::STRICTATIME, MsFlags::MS_STRICTATIME),
    ] {
        if !attribute.is_empty() && mount.options.set.contains(attribute) {
            bits |= flag.bits();
        }
    }
    nix::unistd::fchdir(new).context("enter the new mount")?;
    let none: Option<&str> = None;
    let answer = nix::mount::mount(none, ".", none, MsFlags::from_bits_retain(bits), none);
    nix::unistd::chdir("/").context("leave the new mount")?;
    answer.context("option \"iversion\"")
}
