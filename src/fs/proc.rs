//! The host's procfs, opened before any mount of the container exists, so that nothing that a
//! container mounts on /proc can redirect a write (CVE-2019-16884, CVE-2019-19921, CVE-2025-52881).
//! Look-ups never cross a mount and never follow a magic link.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, PROC_SUPER_MAGIC, ResolveFlags};

use super::open::{PATH, openat2};
use super::walk::{self, Scope};
use crate::{Context, Error, Kind, Result};

/// linux/proc_fs.h: the inode of every procfs's root directory.
const PROC_ROOT_INO: u64 = 1;

#[derive(Debug)]
pub struct Proc(OwnedFd);

impl Proc {
    /// Opens /proc and checks that it is the root of a procfs.
    pub fn open() -> Result<Proc> {
        let open = || -> Result<OwnedFd> {
            let dir = rustix::fs::openat(CWD, "/proc", PATH | OFlags::DIRECTORY, Mode::empty())?;
            let is_proc = rustix::fs::fstatfs(&dir)?.f_type == PROC_SUPER_MAGIC
                && rustix::fs::fstat(&dir)?.st_ino == PROC_ROOT_INO;
            if is_proc { Ok(dir) } else { Err(Error::new(Kind::System, "it is not a procfs")) }
        };
        open().context("open /proc").map(Proc)
    }

    /// Opens `path` (relative to /proc) with `flags`.
    pub fn file(&self, path: &Path, flags: OFlags) -> rustix::io::Result<OwnedFd> {
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_XDEV | ResolveFlags::NO_MAGICLINKS;
        match openat2(self.0.as_fd(), path, flags, resolve) {
            Some(answer) => answer,
            None => walk::open(self.0.as_fd(), path, flags, Scope::Beneath),
        }
    }

    fn dir(&self, path: &str) -> rustix::io::Result<OwnedFd> {
        self.file(Path::new(path), PATH | OFlags::DIRECTORY)
    }

    /// Reopens the file of an O_PATH descriptor with `flags`, by the descriptor's magic link in the
    /// host's procfs. A file from an image is found, checked, and then opened this way: opening a
    /// device or a FIFO before the check may have side effects.
    pub fn reopen(&self, file: BorrowedFd<'_>, flags: OFlags) -> rustix::io::Result<OwnedFd> {
        let number = file.as_raw_fd().to_string();
        let flags = flags | OFlags::CLOEXEC;
        rustix::fs::openat(self.dir("self/fd")?, number, flags, Mode::empty())
    }

    /// Changes the mode of the file of an O_PATH descriptor, which fchmod(2) refuses.
    pub fn chmod(&self, file: BorrowedFd<'_>, mode: Mode) -> rustix::io::Result<()> {
        let number = file.as_raw_fd().to_string();
        rustix::fs::chmodat(self.dir("self/fd")?, number, mode, AtFlags::empty())
    }

    /// Opens a namespace of the caller by its name in /proc/self/ns.
    pub fn own_namespace(&self, name: &str) -> rustix::io::Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        rustix::fs::openat(self.dir("self/ns")?, name, flags, Mode::empty())
    }

    /// Opens a namespace of process `pid` by its name in /proc/PID/ns.
    pub fn namespace_of(&self, pid: i32, name: &str) -> rustix::io::Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        rustix::fs::openat(self.dir(&format!("{pid}/ns"))?, name, flags, Mode::empty())
    }

    /// Returns the inode number of a namespace of the caller by its name in /proc/self/ns.
    pub fn own_namespace_id(&self, name: &str) -> rustix::io::Result<u64> {
        Ok(rustix::fs::statat(self.dir("self/ns")?, name, AtFlags::empty())?.st_ino)
    }

    /// Writes `text` with a single write(2): a file of procfs accepts a complete value or nothing.
    pub fn write(&self, path: impl AsRef<Path>, text: &[u8]) -> Result<()> {
        let path = path.as_ref();
        let write = || -> Result<()> {
            let file = self.file(path, OFlags::WRONLY)?;
            let written = rustix::io::write(&file, text)?;
            if written < text.len() {
                return Err(Error::new(Kind::System, format!("only {written} bytes were taken")));
            }
            Ok(())
        };
        write().with_context(|| {
            format!("write {:?} to /proc/{}", String::from_utf8_lossy(text), path.display())
        })
    }
}
