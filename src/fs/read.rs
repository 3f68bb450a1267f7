//! Reads small files and copies files.

use std::fs::File;
use std::io::{Read, Write};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::{Context, Error, Kind, Result};

/// Reads a small text file of procfs, sysfs or a cgroup. The standard library's reader queries
/// sizes that these file systems do not provide, and reads in small steps.
pub fn read_text(path: &str) -> Result<String> {
    let text = read_bytes(path)?;
    String::from_utf8(text).map_err(|e| Error::new(Kind::System, format!("read {path}: {e}")))
}

/// Reads a small file like [`read_text`], whose content need not be UTF-8, such as the name of a
/// process.
pub fn read_bytes(path: &str) -> Result<Vec<u8>> {
    let read = || -> rustix::io::Result<Vec<u8>> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let file = rustix::fs::open(path, flags, Mode::empty())?;
        let mut text = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            match rustix::io::read(&file, &mut buffer) {
                Ok(length) => {
                    text.extend(buffer.iter().take(length));
                    // These file systems fill the buffer as long as they have lines.
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

/// Copies the rest of `from` to `to`. The standard library's copy uses sendfile(2) and similar
/// calls, and panics on unexpected results.
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
