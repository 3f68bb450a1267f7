//! Replaces files atomically, and leaves nothing behind if the writer is killed.

use std::ffi::OsString;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, linkat, openat, renameat, unlinkat};
use rustix::io::Errno;

use crate::Result;

/// Writes `bytes` to the file `path` (relative to `dir`), and replaces an existing file. A reader
/// sees the old file or the new file, never a part.
///
/// A new file has no name before it is complete (O_TMPFILE), so a writer that is killed leaves
/// nothing behind. If the file exists, or the file system does not support O_TMPFILE, the new file
/// is named `.NAME.PID` before it is renamed.
pub fn write_atomic(dir: BorrowedFd<'_>, path: &Path, mode: Mode, bytes: &[u8]) -> Result<()> {
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let flags = OFlags::WRONLY | OFlags::TMPFILE | OFlags::CLOEXEC;
    let mut file = match openat(dir, parent, flags, mode) {
        Ok(file) => File::from(file),
        Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => {
            return by_rename(dir, path, mode, bytes);
        }
        Err(errno) => return Err(errno.into()),
    };
    file.write_all(bytes)?;
    let unnamed = format!("/proc/self/fd/{}", file.as_raw_fd());
    let link = |path: &Path| linkat(CWD, &unnamed, dir, path, AtFlags::SYMLINK_FOLLOW);
    match link(path) {
        Err(Errno::EXIST) => {}
        answer => return Ok(answer?),
    }
    let temporary = temporary(path)?;
    remove_stale(dir, &temporary)?;
    link(&temporary)?;
    rename(dir, &temporary, path)
}

fn by_rename(dir: BorrowedFd<'_>, path: &Path, mode: Mode, bytes: &[u8]) -> Result<()> {
    let temporary = temporary(path)?;
    remove_stale(dir, &temporary)?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut file = File::from(openat(dir, &temporary, flags, mode)?);
    file.write_all(bytes).inspect_err(|_| discard(dir, &temporary))?;
    rename(dir, &temporary, path)
}

fn temporary(path: &Path) -> Result<PathBuf> {
    let mut name = OsString::from(".");
    name.push(path.file_name().ok_or(Errno::ISDIR)?);
    name.push(format!(".{}", std::process::id()));
    Ok(path.with_file_name(name))
}

/// Removes the temporary file of a killed process with this process id.
fn remove_stale(dir: BorrowedFd<'_>, temporary: &Path) -> Result<()> {
    match unlinkat(dir, temporary, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

fn rename(dir: BorrowedFd<'_>, temporary: &Path, path: &Path) -> Result<()> {
    let renamed = renameat(dir, temporary, dir, path);
    Ok(renamed.inspect_err(|_| discard(dir, temporary))?)
}

/// Removes the temporary file after an error, which is the one to report.
fn discard(dir: BorrowedFd<'_>, temporary: &Path) {
    let _ = unlinkat(dir, temporary, AtFlags::empty());
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn both_ways_replace_what_is_there_and_leave_nothing_else() {
        for write in [write_atomic, by_rename] {
            let tree = tempfile::tempdir().unwrap();
            let dir = File::open(tree.path()).unwrap();
            std::fs::create_dir(tree.path().join("d")).unwrap();
            for bytes in [&b"long old text"[..], b"new"] {
                for path in ["file", "d/file"] {
                    write(dir.as_fd(), Path::new(path), Mode::RUSR, bytes).unwrap();
                    assert_eq!(std::fs::read(tree.path().join(path)).unwrap(), bytes);
                }
            }
            assert!(write(dir.as_fd(), Path::new("d"), Mode::RUSR, b"x").is_err());
            assert!(write(dir.as_fd(), Path::new("none/file"), Mode::RUSR, b"x").is_err());
            assert_eq!(std::fs::read_dir(tree.path()).unwrap().count(), 2);
            assert_eq!(std::fs::read_dir(tree.path().join("d")).unwrap().count(), 1);
        }
    }
}
