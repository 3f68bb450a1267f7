//! Options of a file system itself that are not set when it is made.

use std::os::fd::{AsFd, BorrowedFd};

use nix::mount::MsFlags;
use rustix::mount::{FsPickFlags, fsconfig_reconfigure, fspick};

use crate::config::Mount;
use crate::config::options::{MountAttr, SuperFlags};
use crate::fs::{Proc, mount_id};
use crate::mount::closing::close_later;
use crate::mount::filesystem::{add_kernel_message, set_options};
use crate::mount::table;
use crate::{Context, Error, Kind, Result};

/// The flags that mountinfo shows, with the names that it and mount(8) use.
const SHOWN: [(u64, &str, &str); 4] = [
    (SuperFlags::SYNC, "sync", "async"),
    (SuperFlags::DIRSYNC, "dirsync", ""),
    (SuperFlags::MAND, "mand", "nomand"),
    (SuperFlags::LAZYTIME, "lazytime", "nolazytime"),
];

/// Changes the options of the mounted file system at `place` (option `remount`). Options that are
/// not named stay. So does the read-only flag of the file system: the flag of the mount is enough,
/// and the file system can belong to the host.
pub(crate) fn reconfigure(proc: &Proc, place: BorrowedFd<'_>, mount: &Mount) -> Result<()> {
    let options = &mount.options;
    let wanted = options.super_flags.beyond_read_only() || !options.data.is_empty();
    if options.bind || !wanted {
        return Ok(());
    }
    let flags = FsPickFlags::FSPICK_CLOEXEC | FsPickFlags::FSPICK_EMPTY_PATH;
    let context = fspick(place, "", flags).context("open the file system to change")?;
    set_options(context.as_fd(), options.super_flags, false, &options.data)
        .and_then(|()| {
            fsconfig_reconfigure(&context).context("change the options of the file system")
        })
        .map_err(|error| add_kernel_message(error, context.as_fd()))?;
    close_later(context);
    check(proc, place, mount)
}

/// Fails unless the file system has the requested flags. The kernel accepts flags for a file system
/// that exists already (sysfs, or procfs in the pid namespace of others), and does not change it.
pub(crate) fn check(proc: &Proc, place: BorrowedFd<'_>, mount: &Mount) -> Result<()> {
    let wanted = mount.options.super_flags;
    if !SHOWN.iter().any(|(bit, ..)| wanted.has(*bit)) {
        return Ok(());
    }
    let mounts = table::read(proc)?;
    let id = mount_id(place)?;
    let found = mounts
        .iter()
        .find(|mount| mount.mnt_id == id)
        .ok_or_else(|| Error::new(Kind::System, "the mount is not in /proc/self/mountinfo"))?;
    for (bit, set, clear) in SHOWN {
        let has = found.super_options.contains_key(set);
        let refused = if wanted.set & bit != 0 && !has {
            set
        } else if wanted.clear & bit != 0 && has {
            clear
        } else {
            continue;
        };
        let why = format!("the file system, of type {:?}, ignores it", found.fs_type);
        return Err(Error::new(Kind::Invalid, format!("option {refused:?}: {why}")));
    }
    Ok(())
}

/// Sets `iversion` or `noiversion`, which exist in mount(2) only: by a remount that repeats the
/// flags of the file system and of the mount.
pub(crate) fn with_iversion(mount: &Mount, new: BorrowedFd<'_>) -> Result<()> {
    let mut bits = mount.options.super_flags.set | MsFlags::MS_REMOUNT.bits();
    if mount.read_only_late {
        bits &= !MsFlags::MS_RDONLY.bits();
    }
    let (attributes, _) = mount.options.of_one_mount();
    // The attributes of the mount itself have the same meaning in both interfaces, not the same
    // bits.
    for (attribute, flag) in [
        (MountAttr::NOSUID, MsFlags::MS_NOSUID.bits()),
        (MountAttr::NODEV, MsFlags::MS_NODEV.bits()),
        (MountAttr::NOEXEC, MsFlags::MS_NOEXEC.bits()),
        (MountAttr::NOATIME, MsFlags::MS_NOATIME.bits()),
        (MountAttr::NODIRATIME, MsFlags::MS_NODIRATIME.bits()),
        (MountAttr::STRICTATIME, MsFlags::MS_STRICTATIME.bits()),
        (MountAttr::NOSYMFOLLOW, MS_NOSYMFOLLOW),
    ] {
        if attributes.contains(attribute) {
            bits |= flag;
        }
    }
    nix::unistd::fchdir(new).context("enter the new mount")?;
    let none: Option<&str> = None;
    let answer = nix::mount::mount(none, ".", none, MsFlags::from_bits_retain(bits), none);
    nix::unistd::chdir("/").context("leave the new mount")?;
    answer.context("option \"iversion\"")
}

/// mount(2), Linux 5.10; libc has no name for it.
const MS_NOSYMFOLLOW: u64 = 256;
