//! `descriptors.json` among the images: the standard descriptors of the container's process, as
//! /proc/PID/fd showed them. A restore connects those that are pipes to its own.

use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::{Mode, OFlags};

use super::images::Directories;
use super::rpc::InheritFd;
use crate::fs::write_atomic;
use crate::{Context, Error, Kind, Result};

const NAME: &str = "descriptors.json";

/// The standard descriptors are three; another runtime may have written more.
const MAX_BYTES: u64 = 1 << 16;

/// Writes the file for the process `pid`.
pub(super) fn save(directories: &Directories, pid: i32) -> Result<()> {
    let mut targets = Vec::with_capacity(3);
    for number in 0..3 {
        let path = format!("/proc/{pid}/fd/{number}");
        targets.push(match std::fs::read_link(&path) {
            Ok(target) => target.to_string_lossy().into_owned(),
            // A closed descriptor has no target.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error).with_context(|| format!("read {path}")),
        });
    }
    let text = serde_json::to_vec(&targets).map_err(|e| Error::new(Kind::System, e.to_string()))?;
    let mode = Mode::RUSR | Mode::WUSR;
    write_atomic(directories.images.as_fd(), Path::new(NAME), mode, &text)
        .with_context(|| format!("write {NAME} to the image directory"))
}

/// Reads the file, and returns the pipes that are replaced by the descriptors of the same number.
pub(super) fn pipes(directories: &Directories) -> Result<Vec<InheritFd>> {
    use std::io::Read;
    let read = || -> Result<Vec<String>> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&directories.images, NAME, flags, Mode::empty())?;
        let mut text = Vec::new();
        std::fs::File::from(file).take(MAX_BYTES).read_to_end(&mut text)?;
        serde_json::from_slice(&text).map_err(|e| Error::new(Kind::Invalid, e.to_string()))
    };
    let targets = read().with_context(|| format!("read {NAME} of the image directory"))?;
    Ok(inherited(&targets))
}

fn inherited(targets: &[String]) -> Vec<InheritFd> {
    let standard = targets.iter().zip(0..3);
    let pipes = standard.filter(|(target, _)| target.starts_with("pipe:"));
    pipes.map(|(target, fd)| InheritFd { key: target.clone(), fd }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pipes_among_the_standard_descriptors_are_inherited() {
        let targets = ["/dev/null", "pipe:[7]", "pipe:[8]", "pipe:[9]"].map(str::to_owned);
        let pairs: Vec<_> = inherited(&targets).into_iter().map(|i| (i.key, i.fd)).collect();
        assert_eq!(pairs, [("pipe:[7]".to_owned(), 1), ("pipe:[8]".to_owned(), 2)]);
    }
}
