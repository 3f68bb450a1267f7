//! Files that appear whole or not at all, and leave nothing where the writer is killed.

use std::ffi::OsString;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, linkat, openat, renameat, unlinkat};
use rustix::io::Errno;

use crate::Result;

/// Somebody may put another file there each time that we have removed one.
const TRIES: usize = 16;

/// Makes file `path` (relative to `dir`) hold `bytes`; what was there is replaced. A reader never
/// sees a part. The file has no name before it is whole, so that a writer who is killed leaves
/// none; where the file system knows no such files (O_TMPFILE), it is `.NAME.PID` meanwhile.
pub fn write_whole(dir: BorrowedFd<'_>, path: &Path, mode: Mode, bytes: &[u8]) -> Result<()> {
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
    for _ in 0..TRIES {
        match linkat(CWD, &unnamed, dir, path, AtFlags::SYMLINK_FOLLOW) {
            Ok(()) => return Ok(()),
            Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno.into()),
        }
        match unlinkat(dir, path, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Err(Errno::EXIST.into())
}

fn by_rename(dir: BorrowedFd<'_>, path: &Path, mode: Mode, bytes: &[u8]) -> Result<()> {
    let mut name = OsString::from(".");
    name.push(path.file_name().ok_or(Errno::ISDIR)?);
    name.push(format!(".{}", std::process::id()));
    let temporary = path.with_file_name(name);
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut file = File::from(openat(dir, &temporary, flags, mode)?);
    let mut write = || -> Result<()> {
        file.write_all(bytes)?;
        Ok(renameat(dir, &temporary, dir, path)?)
    };
    write().inspect_err(|_| {
        // The first error is the story.
        let _ = unlinkat(dir, &temporary, AtFlags::empty());
    })
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn both_ways_replace_what_is_there_and_leave_nothing_else() {
        for write in [write_whole, by_rename] {
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
