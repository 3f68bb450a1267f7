//! Files of a container's directory: reads them without trust, writes them atomically.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::BorrowedFd;

use nix::errno::Errno;
use rustix::fs::{AtFlags, FileType, Mode, OFlags};

use crate::{Context, Error, Kind, Result};

/// The maximum size of a state in bytes; this runtime writes no longer file.
const MAX: u64 = 64 << 20;

/// Returns the content of the regular file `name`, or `None` if it does not exist.
/// [`Kind::Invalid`] for a file that this runtime never writes: a link, a FIFO, a huge file.
pub fn read(dir: BorrowedFd<'_>, name: &str) -> Result<Option<Vec<u8>>> {
    // NONBLOCK: opening a FIFO must not wait for a writer.
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let fd = match rustix::fs::openat(dir, name, flags, Mode::empty()) {
        Ok(fd) => fd,
        Err(rustix::io::Errno::NOENT) => return Ok(None),
        Err(rustix::io::Errno::LOOP | rustix::io::Errno::NXIO) => {
            return Err(Error::new(Kind::Invalid, "not a regular file"));
        }
        Err(e) => return Err(e.into()),
    };
    let stat = rustix::fs::fstat(&fd)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(Error::new(Kind::Invalid, "not a regular file"));
    }
    let size = u64::try_from(stat.st_size).unwrap_or(u64::MAX);
    if size > MAX {
        return Err(Error::new(Kind::Invalid, format!("{size} bytes long, more than {MAX}")));
    }
    // The file was complete before it, or the state that tells of it, was renamed into place: one read
    // returns all of it.
    let mut bytes = vec![0; usize::try_from(size).unwrap_or(0)];
    File::from(fd).read_exact(&mut bytes)?;
    Ok(Some(bytes))
}

/// Creates the file `name`, mode 0600, which must not exist. For a file that is not read until
/// another one is published. Leaves no file behind after an error.
pub fn create(dir: BorrowedFd<'_>, name: &str, bytes: &[u8]) -> Result<()> {
    let written = create_new(dir, name)?.write_all(bytes);
    if written.is_err() {
        let _ = rustix::fs::unlinkat(dir, name, AtFlags::empty());
    }
    written.with_context(|| format!("write {name}"))
}

fn create_new(dir: BorrowedFd<'_>, name: &str) -> Result<File> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = rustix::fs::openat(dir, name, flags, Mode::RUSR | Mode::WUSR);
    Ok(File::from(fd.with_context(|| format!("create {name}"))?))
}

/// Returns the name of `name` during a write.
pub fn temporary(name: &str) -> String {
    format!("{name}.tmp")
}

/// Writes `bytes` to the file `name`, mode 0600; a reader sees the old file or the new file. Does
/// not sync, because the state must not survive a reboot and the directory is intended to be on a
/// tmpfs.
///
/// The temporary name is fixed, unlike that of [`crate::fs::write_atomic`]: the caller holds the
/// lock of the directory, and `delete` finds the files of a killed writer.
pub fn write(dir: BorrowedFd<'_>, name: &str, bytes: &[u8]) -> Result<()> {
    write_temporary(dir, name, bytes)?;
    publish(dir, name)
}

/// Takes the first half of [`write`]: a reader sees no file yet.
pub fn write_temporary(dir: BorrowedFd<'_>, name: &str, bytes: &[u8]) -> Result<()> {
    let mut file = create_new(dir, &temporary(name))?;
    or_remove(dir, name, file.write_all(bytes).map_err(Error::from))
}

/// Takes the second half of [`write`]: gives the temporary file its name.
pub fn publish(dir: BorrowedFd<'_>, name: &str) -> Result<()> {
    let renamed = rustix::fs::renameat(dir, temporary(name), dir, name).map_err(Error::from);
    or_remove(dir, name, renamed)
}

/// Removes the temporary file after an error.
fn or_remove(dir: BorrowedFd<'_>, name: &str, result: Result<()>) -> Result<()> {
    if result.is_err() {
        let _ = rustix::fs::unlinkat(dir, temporary(name), AtFlags::empty());
    }
    result.with_context(|| format!("write {name}"))
}

/// Removes the file `name`, if it exists.
pub fn unlink(dir: BorrowedFd<'_>, name: &str) -> Result<()> {
    match rustix::fs::unlinkat(dir, name, AtFlags::empty()).map_err(Error::from) {
        Err(e) if e.errno() == Some(Errno::ENOENT) => Ok(()),
        other => other.with_context(|| format!("remove {name}")),
    }
}
