//! Control files of cgroup directories, read and written with single system calls.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::retry_on_intr;
use rustix::path::Arg;

use crate::sys::to_nix;
use crate::{Context, Error, Result, fs};

pub type Sys<T> = std::result::Result<T, Errno>;

/// The flags of [`open`] for a cgroup directory.
pub const DIRECTORY: OFlags = OFlags::DIRECTORY.union(OFlags::NOFOLLOW);

/// Whether an error is a lack of permission.
pub fn is_permission(error: &Error) -> bool {
    matches!(error.errno(), Some(Errno::EPERM | Errno::EACCES | Errno::EROFS))
}

/// Whether an error shows that the file does not exist, or that its cgroup has been removed.
pub fn is_gone(error: &Error) -> bool {
    matches!(error.errno(), Some(Errno::ENOENT | Errno::ENODEV))
}

/// An open cgroup directory. Its errors name the directory or the file.
#[derive(Debug)]
pub struct OpenDir<'a> {
    pub path: &'a Path,
    pub fd: OwnedFd,
}

impl<'a> OpenDir<'a> {
    pub fn open(path: &'a Path) -> Result<OpenDir<'a>> {
        let fd = open(CWD, path, DIRECTORY).with_context(|| format!("open {}", path.display()))?;
        Ok(OpenDir { path, fd })
    }

    pub fn read(&self, file: &str) -> Result<String> {
        read(self.fd.as_fd(), file).with_context(|| reading(self.path, file))
    }

    /// Writes `value` to a file with one write(2).
    pub fn write(&self, file: &str, value: &str) -> Result<()> {
        write(self.fd.as_fd(), file, value).with_context(|| writing(self.path, file, value))
    }

    /// Writes each value with one write(2), in order; a file that is written several times in a row
    /// is opened once.
    pub fn write_each(&self, writes: impl Iterator<Item = (&'static str, String)>) -> Result<()> {
        let mut last: Option<(&str, OwnedFd)> = None;
        for (file, value) in writes {
            let fd = match last.take() {
                Some((name, fd)) if name == file => Ok(fd),
                _ => open(&self.fd, file, OFlags::WRONLY),
            };
            let written = fd.and_then(|fd| write_fd(fd.as_fd(), &value).map(|()| fd));
            last = Some((file, written.with_context(|| writing(self.path, file, &value))?));
        }
        Ok(())
    }
}

/// Opens a file or a directory.
pub fn open(dir: impl AsFd, file: impl Arg, flags: OFlags) -> Sys<OwnedFd> {
    openat(dir, file, flags | OFlags::CLOEXEC, Mode::empty()).map_err(to_nix)
}

/// Reads the text of a file in an open directory.
pub fn read(dir: BorrowedFd<'_>, file: impl Arg) -> Sys<String> {
    read_fd(open(dir, file, OFlags::RDONLY)?.as_fd())
}

/// Reads the text of an open file from its beginning.
pub fn read_fd(fd: BorrowedFd<'_>) -> Sys<String> {
    let mut out = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let offset = u64::try_from(out.len()).map_err(|_| Errno::EFBIG)?;
        match rustix::io::pread(fd, &mut buffer, offset) {
            Ok(count) => {
                out.extend(buffer.iter().take(count));
                if fs::is_end(count, buffer.len()) {
                    return Ok(String::from_utf8_lossy(&out).into_owned());
                }
            }
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(to_nix(error)),
        }
    }
}

/// Reads the text of a file by the path of its directory.
pub fn read_in(dir: &Path, file: &str) -> Result<String> {
    read(CWD, dir.join(file)).with_context(|| reading(dir, file))
}

/// Writes `value` to a file in an open directory with one write(2).
pub fn write(dir: BorrowedFd<'_>, file: impl Arg, value: &str) -> Sys<()> {
    write_fd(open(dir, file, OFlags::WRONLY)?.as_fd(), value)
}

/// Writes `value` to a file by the path of its directory with one write(2).
pub fn write_in(dir: &Path, file: &str, value: &str) -> Result<()> {
    write(CWD, dir.join(file), value).with_context(|| writing(dir, file, value))
}

fn write_fd(fd: BorrowedFd<'_>, value: &str) -> Sys<()> {
    // A signal can interrupt the reclaim for a memory limit.
    retry_on_intr(|| rustix::io::write(fd, value.as_bytes())).map(drop).map_err(to_nix)
}

/// Describes a write for an error.
pub fn writing(path: &Path, file: &str, value: &str) -> String {
    // A list may be thousands of characters long.
    let end = value.char_indices().nth(SHOWN).map_or(value.len(), |(end, _)| end);
    let more = if end < value.len() { " and more" } else { "" };
    let shown = value.get(..end).unwrap_or_default();
    format!("write {shown:?}{more} to {}", path.join(file).display())
}

/// The number of characters of a value that an error shows.
const SHOWN: usize = 80;

/// Describes a read for an error.
pub fn reading(path: &Path, file: &str) -> String {
    format!("read {}", path.join(file).display())
}

/// Whether the text of `cgroup.events` has a line such as `populated 0`.
pub fn has_line(text: &str, line: &str) -> bool {
    text.lines().any(|candidate| candidate == line)
}

/// Waits until `cgroup.events` of a v2 cgroup has `line`. Returns false after `limit`, and true if
/// the cgroup is gone.
pub fn wait_event(dir: BorrowedFd<'_>, line: &str, limit: Duration) -> Sys<bool> {
    let end = Instant::now() + limit;
    let fd = match open(dir, "cgroup.events", OFlags::RDONLY) {
        Err(Errno::ENODEV | Errno::ENOENT) => return Ok(true),
        other => other?,
    };
    loop {
        match read_fd(fd.as_fd()) {
            Ok(text) if has_line(&text, line) => return Ok(true),
            Ok(_) => {}
            Err(Errno::ENODEV) => return Ok(true),
            Err(errno) => return Err(errno),
        }
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(false);
        }
        // Round up: 0 would be a busy loop through the last millisecond.
        let left = u16::try_from(left.as_millis().saturating_add(1)).unwrap_or(u16::MAX);
        let mut fds = [PollFd::new(fd.as_fd(), PollFlags::POLLPRI)];
        match poll(&mut fds, PollTimeout::from(left)) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_whole_lines() {
        assert!(has_line("populated 0\nfrozen 1\n", "frozen 1"));
        assert!(!has_line("populated 0\nfrozen 10\n", "frozen 1"));
    }
}
