//! The system calls of a look-up.

use std::ffi::{OsStr, OsString};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat, StatxFlags};
use rustix::io::Errno;

/// Opens a file only to refer to it. Every descriptor of this program is close-on-exec.
pub const PATH: OFlags = OFlags::PATH.union(OFlags::CLOEXEC);

pub fn is_char_device(stat: &Stat, major: u32, minor: u32) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice
        && stat.st_rdev == rustix::fs::makedev(major, minor)
}

/// Returns the id of the mount through which an open file was reached (statx(2), stx_mnt_id, Linux
/// 5.8).
pub fn mount_id(file: BorrowedFd<'_>) -> rustix::io::Result<i32> {
    let stat = rustix::fs::statx(file, "", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID)?;
    if stat.stx_mask & StatxFlags::MNT_ID.bits() == 0 {
        return Err(Errno::NOSYS);
    }
    i32::try_from(stat.stx_mnt_id).map_err(|_| Errno::OVERFLOW)
}

/// Returns the text of the symbolic link `name` in `dir`, or of `dir` itself if `name` is empty.
pub fn read_link(dir: BorrowedFd<'_>, name: &OsStr) -> rustix::io::Result<OsString> {
    let target = rustix::fs::readlinkat(dir, name, Vec::new())?;
    Ok(OsString::from_vec(target.into_bytes()))
}

/// How often openat2(2) is repeated after EAGAIN, which means that a rename raced with a `..`. More
/// is an attack or an error, and never a reason to look the path up in a weaker way.
const RACE_RETRIES: u32 = 64;

/// Calls openat2(2), and repeats it while a race interferes. Returns `None` if the call is missing
/// (before Linux 5.6, or hidden by a seccomp filter).
pub fn openat2(
    dir: BorrowedFd<'_>,
    path: &Path,
    flags: OFlags,
    resolve: ResolveFlags,
) -> Option<rustix::io::Result<OwnedFd>> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    let mut tries = 0;
    loop {
        let flags = flags | OFlags::CLOEXEC;
        match rustix::fs::openat2(dir, path, flags, Mode::empty(), resolve) {
            Err(Errno::AGAIN) if tries < RACE_RETRIES => tries += 1,
            Err(Errno::INTR) => {}
            Err(Errno::NOSYS) => return None,
            answer => return Some(answer),
        }
    }
}
