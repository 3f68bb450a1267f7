//! Reads small files and copies files.

use std::fs::File;
use std::io::{Read, Write};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::{Context, Error, Kind, Result};

/// The size of a read.
const PAGE: usize = 4096;

/// Whether a read(2) of `length` bytes, of the `size` bytes that the buffer holds, has reached the end
/// of a file of procfs, sysfs or a cgroup whose records, such as lines, are shorter than half the
/// buffer: such a file (seq_file of the kernel) gives at least half a buffer, or is at its end.
pub fn is_end(length: usize, size: usize) -> bool {
    length < size / 2
}

/// Reads a small text file of procfs, sysfs or a cgroup. The standard library's reader queries
/// sizes that these file systems do not provide, and reads in small steps.
///
/// A record of the file, such as a line, has at most half a page: one read(2) suffices for a file of
/// less than that. [`read_long_text`] has no such limit.
pub fn read_text(path: &str) -> Result<String> {
    text(path, read_bytes(path)?)
}

/// Reads a file like [`read_text`] that can have longer records, such as the paths of cgroups.
pub fn read_long_text(path: &str) -> Result<String> {
    text(path, read(path, |length, _| length == 0)?)
}

fn text(path: &str, bytes: Vec<u8>) -> Result<String> {
    String::from_utf8(bytes).map_err(|e| Error::new(Kind::System, format!("read {path}: {e}")))
}

/// Reads a small file like [`read_text`] whose content need not be UTF-8.
pub fn read_bytes(path: &str) -> Result<Vec<u8>> {
    read(path, is_end)
}

/// Reads a file up to its end, which `is_end` finds by the length of a read(2) and that of the
/// buffer.
fn read(path: &str, is_end: fn(usize, usize) -> bool) -> Result<Vec<u8>> {
    let read = || -> rustix::io::Result<Vec<u8>> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let file = rustix::fs::open(path, flags, Mode::empty())?;
        let mut text = Vec::new();
        let mut buffer = [0; PAGE];
        loop {
            match rustix::io::read(&file, &mut buffer) {
                Ok(length) => {
                    text.extend(buffer.iter().take(length));
                    if is_end(length, buffer.len()) {
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

/// Copies the rest of `from` to `to`. The standard library's copy panics on unexpected results.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_many_records_are_read_to_their_end() {
        // The stack is mapped above everything else that a program maps.
        for text in
            [read_text("/proc/self/smaps").unwrap(), read_long_text("/proc/self/smaps").unwrap()]
        {
            assert!(text.len() > PAGE && text.contains("[stack]"), "{text}");
        }
    }
}
