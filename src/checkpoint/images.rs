//! The directories of CRIU: images, and logs.

use std::fs::{DirBuilder, File};
use std::io::{ErrorKind, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Gid, Mode, OFlags};

use super::settings::Settings;
use crate::{Context, Error, Kind, Result};

/// The directories of a checkpoint, which exist.
#[derive(Debug)]
pub(super) struct Directories {
    /// The images.
    pub images: OwnedFd,
    /// Whether the directory of the images did not exist before.
    is_new: bool,
    images_path: PathBuf,
    work_path: PathBuf,
    log: &'static str,
}

/// How much of a log is searched for errors: its end has them.
const TAIL: u64 = 1 << 20;

/// The maximum length of the errors that are quoted.
const QUOTED: usize = 600;

impl Directories {
    /// Opens the directories; `create` makes those that do not exist, for their owner alone: the images
    /// of a process hold its memory. An old log, whose errors could be taken for new errors, is
    /// removed.
    pub fn open(settings: &Settings, create: bool, log: &'static str) -> Result<Directories> {
        let images_path = settings.images.clone();
        let is_new = create && make("--image-path", &images_path)?;
        // A link in the place of a new directory is not the runtime's.
        let links = if is_new { OFlags::NOFOLLOW } else { OFlags::empty() };
        let images = open("--image-path", &images_path, links)?;
        let work_path = match &settings.work {
            Some(work) => {
                make("--work-path", work)?;
                work.clone()
            }
            None => images_path.clone(),
        };
        let work = open("--work-path", &work_path, OFlags::empty())?;
        match rustix::fs::unlinkat(&work, log, AtFlags::empty()) {
            Ok(()) | Err(rustix::io::Errno::NOENT) => {}
            Err(errno) => {
                return Err(errno).with_context(|| format!("remove {log} in {work_path:?}"));
            }
        }
        Ok(Directories { images, is_new, images_path, work_path, log })
    }

    /// Lets the root user of a container's user namespace, whose group is `gid` on the host, open the
    /// images by name: CRIU restores a process as that user. The modes of an existing directory stay.
    pub fn admit(&self, gid: u32) -> Result<()> {
        if !self.is_new {
            return Ok(());
        }
        let owned = rustix::fs::fchown(&self.images, None, Some(Gid::from_raw(gid)));
        owned
            .and_then(|()| rustix::fs::fchmod(&self.images, Mode::RWXU | Mode::XGRP))
            .with_context(|| format!("--image-path: give {:?} to group {gid}", self.images_path))
    }

    /// Opens the directories of images and of logs again, in the mount namespace of CRIU: CRIU makes
    /// mounts in the latter.
    pub fn open_again(&self) -> Result<(OwnedFd, OwnedFd)> {
        let images = open("--image-path", &self.images_path, OFlags::empty())?;
        Ok((images, open("--work-path", &self.work_path, OFlags::empty())?))
    }

    /// Returns the name of CRIU's log.
    pub fn log(&self) -> &'static str {
        self.log
    }

    /// Replaces the cause in an error of a request by the errors in CRIU's log.
    pub fn explain(&self, error: Error) -> Error {
        let path = self.work_path.join(self.log);
        let operation = error.operation().filter(|text| text.starts_with("criu: "));
        match (operation, File::open(&path).and_then(errors_of)) {
            (Some(operation), Ok(lines)) if !lines.is_empty() => {
                let why = format!("{lines} (from {path:?})");
                Error::new(Kind::System, why).context(operation)
            }
            // The log can be missing, or elsewhere by CRIU's own configuration.
            _ => error,
        }
    }
}

/// Makes a directory and those on the way to it. Returns whether the last is new.
fn make(option: &str, path: &Path) -> Result<bool> {
    let make = || -> std::io::Result<bool> {
        if let Some(parent) = path.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
        }
        match DirBuilder::new().mode(0o700).create(path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
            made => made.map(|()| true),
        }
    };
    make().with_context(|| format!("{option}: make {path:?}"))
}

fn open(option: &str, path: &Path, more: OFlags) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | more;
    rustix::fs::openat(CWD, path, flags, Mode::empty())
        .with_context(|| format!("{option}: open {path:?}"))
}

fn errors_of(mut log: File) -> std::io::Result<String> {
    use std::io::{Seek, SeekFrom};
    let length = log.metadata()?.len();
    log.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
    let mut bytes = Vec::new();
    log.take(TAIL).read_to_end(&mut bytes)?;
    Ok(quote(&String::from_utf8_lossy(&bytes)))
}

/// Joins the lines that report errors, without the time stamps. The first errors are the causes.
fn quote(log: &str) -> String {
    let mut quoted = String::new();
    for line in log.lines() {
        let Some(error) = line.find("Error").and_then(|at| line.get(at..)) else { continue };
        let separator = if quoted.is_empty() { "" } else { "; " };
        if quoted.len() + separator.len() + error.len() > QUOTED {
            break;
        }
        quoted.push_str(separator);
        quoted.push_str(error.trim_end());
    }
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_quoted_without_their_times() {
        let log = "(00.01) pie: ok\n(00.02) 1: Error (criu/a.c:7): no /x\n(00.03) Error (criu/b.c:1): y\n";
        assert_eq!(quote(log), "Error (criu/a.c:7): no /x; Error (criu/b.c:1): y");
        assert_eq!(quote("(00.01) all is well\n"), "");
        let long = format!("Error {}\nError b\n", "x".repeat(580));
        assert!(quote(&long).ends_with('b'));
        assert_eq!(quote(&format!("Error {}\n", "x".repeat(700))), "");
    }
}
