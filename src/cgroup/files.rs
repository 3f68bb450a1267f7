//! Control files of cgroup directories, read and written with single system calls.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::fs::{CWD, Mode, OFlags, openat};

use crate::sys::to_nix;
use crate::{Error, Result};

pub type Sys<T> = std::result::Result<T, Errno>;

/// Whether an error is a lack of permission.
pub fn is_permission(error: &Error) -> bool {
    matches!(error.errno(), Some(Errno::EPERM | Errno::EACCES | Errno::EROFS))
}

/// Opens a cgroup directory.
pub fn open_dir(path: &Path) -> Sys<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(CWD, path, flags, Mode::empty()).map_err(to_nix)
}

/// Reads the text of a file in an open directory.
pub fn read(dir: BorrowedFd<'_>, file: &str) -> Sys<String> {
    let fd = openat(dir, file, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).map_err(to_nix)?;
    read_fd(fd.as_fd())
}

/// Reads the text of an open file from its beginning.
pub fn read_fd(fd: BorrowedFd<'_>) -> Sys<String> {
    let mut out = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let offset = u64::try_from(out.len()).map_err(|_| Errno::EFBIG)?;
        match rustix::io::pread(fd, &mut buffer, offset) {
            Ok(0) => return Ok(String::from_utf8_lossy(&out).into_owned()),
            Ok(count) => out.extend(buffer.iter().take(count)),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(to_nix(error)),
        }
    }
}

/// Reads the text of a file by the path of its directory.
pub fn read_in(dir: &Path, file: &str) -> Sys<String> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let fd = openat(CWD, dir.join(file), flags, Mode::empty()).map_err(to_nix)?;
    read_fd(fd.as_fd())
}

/// Writes `value` to a file in an open directory with one write(2).
pub fn write(dir: BorrowedFd<'_>, file: &str, value: &str) -> Sys<()> {
    let fd = openat(dir, file, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty()).map_err(to_nix)?;
    write_fd(fd.as_fd(), value)
}

/// Writes `value` to a file by the path of its directory with one write(2).
pub fn write_in(dir: &Path, file: &str, value: &str) -> Sys<()> {
    let flags = OFlags::WRONLY | OFlags::CLOEXEC;
    let fd = openat(CWD, dir.join(file), flags, Mode::empty()).map_err(to_nix)?;
    write_fd(fd.as_fd(), value)
}

/// Writes each value with one write(2), in order; a file that is written several times in a row is
/// opened once. `path` names the directory in errors.
pub fn write_each(
    dir: BorrowedFd<'_>,
    path: &Path,
    writes: impl Iterator<Item = (&'static str, String)>,
) -> Result<()> {
    let mut open: Option<(&str, OwnedFd)> = None;
    for (file, value) in writes {
        let failed = |errno| write_error(path, file, &value, errno);
        let reused = open.take().filter(|(name, _)| *name == file);
        let fd = match reused {
            Some((_, fd)) => fd,
            None => openat(dir, file, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())
                .map_err(|error| failed(to_nix(error)))?,
        };
        write_fd(fd.as_fd(), &value).map_err(failed)?;
        open = Some((file, fd));
    }
    Ok(())
}

fn write_fd(fd: BorrowedFd<'_>, value: &str) -> Sys<()> {
    loop {
        match rustix::io::write(fd, value.as_bytes()) {
            Ok(_) => return Ok(()),
            // A signal can interrupt the reclaim for a memory limit.
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(to_nix(error)),
        }
    }
}

/// Returns the error of a failed [`write`].
pub fn write_error(path: &Path, file: &str, value: &str, errno: Errno) -> Error {
    // A list may be thousands of characters long.
    let end = value.char_indices().nth(SHOWN).map_or(value.len(), |(end, _)| end);
    let more = if end < value.len() { " and more" } else { "" };
    let shown = value.get(..end).unwrap_or_default();
    Error::sys(errno).context(format!("write {shown:?}{more} to {}", path.join(file).display()))
}

/// The number of characters of a value that an error shows.
const SHOWN: usize = 80;

/// Returns the error of a failed [`read`].
pub fn read_error(path: &Path, file: &str, errno: Errno) -> Error {
    Error::sys(errno).context(format!("read {}", path.join(file).display()))
}

/// Whether the text of `cgroup.events` has a line such as `populated 0`.
pub fn has_line(text: &str, line: &str) -> bool {
    text.lines().any(|candidate| candidate == line)
}

/// Waits until `cgroup.events` of a v2 cgroup has `line`. Returns false after `limit`, and true if
/// the cgroup is gone.
pub fn wait_event(dir: BorrowedFd<'_>, line: &str, limit: Duration) -> Sys<bool> {
    let end = Instant::now() + limit;
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let fd = match openat(dir, "cgroup.events", flags, Mode::empty()) {
        Ok(fd) => fd,
        Err(rustix::io::Errno::NODEV | rustix::io::Errno::NOENT) => return Ok(true),
        Err(error) => return Err(to_nix(error)),
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
