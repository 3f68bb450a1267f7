//! `tmpcopyup`: a tmpfs starts with a copy of the directory that it is mounted on.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Dir, FileType, Gid, Mode, OFlags, Stat, Uid};

use super::open::read_link;
use super::read::copy_bytes;
use crate::{Context, Error, Kind, Result};

/// Copies everything below the directory `from` into the directory `to`: files, directories, links
/// and special files, with owner, mode and times. Copies links, never follows them.
pub fn copy_tree(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<()> {
    let from = rustix::fs::openat(from, ".", READ_DIR, Mode::empty())?;
    let to = rustix::fs::openat(to, ".", READ_DIR, Mode::empty())?;
    copy_dir(from, to.as_fd(), 0)
}

/// The maximum depth, for the stack and a descriptor per level.
const MAX_DEPTH: u32 = 256;

const READ_DIR: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

fn copy_dir(from: OwnedFd, to: BorrowedFd<'_>, depth: u32) -> Result<()> {
    if depth > MAX_DEPTH {
        let why = format!("directories are nested deeper than {MAX_DEPTH}");
        return Err(Error::new(Kind::Invalid, why));
    }
    for entry in Dir::read_from(&from)? {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        copy_entry(from.as_fd(), to, name, depth)
            .with_context(|| format!("copy {:?} up", name.to_string_lossy()))?;
    }
    Ok(())
}

fn copy_entry(
    from: BorrowedFd<'_>,
    to: BorrowedFd<'_>,
    name: &std::ffi::CStr,
    depth: u32,
) -> Result<()> {
    let stat = rustix::fs::statat(from, name, AtFlags::SYMLINK_NOFOLLOW)?;
    let mode = Mode::from_raw_mode(stat.st_mode);
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => {
            rustix::fs::mkdirat(to, name, Mode::RWXU)?;
            let below = rustix::fs::openat(from, name, READ_DIR, Mode::empty())?;
            let target = rustix::fs::openat(to, name, READ_DIR, Mode::empty())?;
            copy_dir(below, target.as_fd(), depth + 1)?;
        }
        FileType::Symlink => {
            let target =
                read_link(from, std::os::unix::ffi::OsStrExt::from_bytes(name.to_bytes()))?;
            rustix::fs::symlinkat(target, to, name)?;
            return own(to, name, &stat);
        }
        FileType::RegularFile => {
            // NONBLOCK: it may have become a FIFO since it was examined.
            let read = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let make = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
            let mut source = File::from(rustix::fs::openat(from, name, read, Mode::empty())?);
            let mut copy = File::from(rustix::fs::openat(to, name, make, Mode::RUSR)?);
            copy_bytes(&mut source, &mut copy)?;
        }
        kind => rustix::fs::mknodat(to, name, kind, Mode::RUSR, stat.st_rdev)?,
    }
    own(to, name, &stat)?;
    rustix::fs::chmodat(to, name, mode, AtFlags::empty())?;
    let times = rustix::fs::Timestamps {
        last_access: rustix::fs::Timespec {
            tv_sec: stat.st_atime,
            tv_nsec: stat.st_atime_nsec as _,
        },
        last_modification: rustix::fs::Timespec {
            tv_sec: stat.st_mtime,
            tv_nsec: stat.st_mtime_nsec as _,
        },
    };
    rustix::fs::utimensat(to, name, &times, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(())
}

/// Sets the owner, then the mode: chown clears the set-id bits.
fn own(dir: BorrowedFd<'_>, name: &std::ffi::CStr, stat: &Stat) -> Result<()> {
    let (uid, gid) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
    rustix::fs::chownat(dir, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(())
}
