//! Path look-ups that a hostile image or a racing process cannot turn away: [`Root`] for every
//! path inside a container's root file system, [`Proc`] for the host's procfs.
//!
//! After the root is open no function of this program takes a path inside it without a `Root`:
//! that ends the class of CVE-2019-18837, CVE-2021-30465, CVE-2024-45310 and their kin, not one
//! instance of it.

mod atomic_file;
mod copy_up;
mod own_mount;
mod proc;
mod root;
mod walk;

pub use atomic_file::write_whole;
pub use copy_up::copy_tree;
pub use own_mount::OwnMount;
pub use proc::Proc;
pub use root::Root;

use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStringExt;

use rustix::fs::{FileType, OFlags, Stat};
use rustix::io::Errno;

use crate::{Context, Error, Kind};

/// For error texts and look-ups: every descriptor of this program is close-on-exec.
pub const PATH: OFlags = OFlags::PATH.union(OFlags::CLOEXEC);

/// A device's numbers and kind, for checks that a special file is the one it should be.
pub fn is_char_device(stat: &Stat, major: u32, minor: u32) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice
        && stat.st_rdev == rustix::fs::makedev(major, minor)
}

/// The whole text of a small file of procfs, sysfs or a cgroup. std's own reader asks for sizes
/// that these file systems do not know, and reads in small steps.
pub fn read_text(path: &str) -> crate::Result<String> {
    let text = read_bytes(path)?;
    String::from_utf8(text).map_err(|e| Error::new(Kind::System, format!("read {path}: {e}")))
}

/// The same of a file that holds what others may choose, such as the name of a process.
pub fn read_bytes(path: &str) -> crate::Result<Vec<u8>> {
    let read = || -> rustix::io::Result<Vec<u8>> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let file = rustix::fs::open(path, flags, rustix::fs::Mode::empty())?;
        let mut text = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            match rustix::io::read(&file, &mut buffer) {
                Ok(length) => {
                    text.extend(buffer.iter().take(length));
                    // These file systems fill what they are given, as long as they have lines.
                    if length < buffer.len() {
                        return Ok(text);
                    }
                }
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno),
            }
        }
    };
    read().with_context(|| format!("read {path}"))
}

/// The number of the mount that an open file was reached by (statx(2), stx_mnt_id, Linux 5.8).
pub fn mount_id(file: BorrowedFd<'_>) -> rustix::io::Result<u64> {
    use rustix::fs::{AtFlags, StatxFlags};
    let stat = rustix::fs::statx(file, "", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID)?;
    if stat.stx_mask & StatxFlags::MNT_ID.bits() == 0 {
        return Err(Errno::NOSYS);
    }
    Ok(stat.stx_mnt_id)
}

/// Copies what is left of `from` to `to`. std's own copy uses sendfile(2) and its kin, and panics
/// on answers that it does not expect of them.
pub fn copy_bytes(from: &mut File, to: &mut File) -> std::io::Result<()> {
    let mut buffer = vec![0; 1 << 16];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(length) => to.write_all(buffer.get(..length).unwrap_or_default())?,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// The text of the symbolic link that `name` in `dir` is (or `dir` itself if `name` is empty).
fn read_link(dir: BorrowedFd<'_>, name: &std::ffi::OsStr) -> rustix::io::Result<OsString> {
    let target = rustix::fs::readlinkat(dir.as_fd(), name, Vec::new())?;
    Ok(OsString::from_vec(target.into_bytes()))
}

/// openat2(2) says EAGAIN when a rename raced with a `..`; a few more tries, then it is an attack
/// or an error, never a reason to look the path up in a weaker way.
const RACE_RETRIES: u32 = 64;

/// Calls openat2 until it gives an answer. `None`: the kernel has no openat2 (before Linux 5.6).
fn openat2(
    dir: BorrowedFd<'_>,
    path: &std::path::Path,
    flags: OFlags,
    resolve: rustix::fs::ResolveFlags,
) -> Option<rustix::io::Result<std::os::fd::OwnedFd>> {
    let path = if path.as_os_str().is_empty() { std::path::Path::new(".") } else { path };
    let mut tries = 0;
    loop {
        let flags = flags | OFlags::CLOEXEC;
        match rustix::fs::openat2(dir, path, flags, rustix::fs::Mode::empty(), resolve) {
            Err(Errno::AGAIN) if tries < RACE_RETRIES => tries += 1,
            Err(Errno::INTR) => {}
            Err(Errno::NOSYS) => return None,
            answer => return Some(answer),
        }
    }
}
