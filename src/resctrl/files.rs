//! The mounted file system, its directories and files.

use std::fs::File;
use std::path::{Path, PathBuf};

use procfs::FromRead;
use procfs::process::MountInfos;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::fs::read_long_text;
use crate::{Context, Error, Kind, Result};

/// The file with the ids of the processes of a group.
pub const TASKS: &str = "tasks";
/// The file with the limits of a control group.
pub const SCHEMATA: &str = "schemata";

/// Returns the mount point of the file system. The user decides where to mount it, usually at
/// /sys/fs/resctrl.
pub fn find_root() -> Result<PathBuf> {
    let table = File::open("/proc/self/mountinfo").context("open /proc/self/mountinfo")?;
    let MountInfos(mounts) = MountInfos::from_read(table).map_err(|e| {
        Error::new(Kind::System, e.to_string()).context("read /proc/self/mountinfo")
    })?;
    // The bind mount of a group is not the file system.
    let is_root = |fs_type: &str, root: &str| fs_type == "resctrl" && root == "/";
    let mount = mounts.into_iter().find(|mount| is_root(&mount.fs_type, &mount.root));
    mount.map(|mount| mount.mount_point).ok_or_else(|| {
        let why = "the host has no mounted resctrl file system (mount -t resctrl resctrl \
                   /sys/fs/resctrl)";
        Error::invalid_field("linux.intelRdt", why)
    })
}

/// Makes a group. Returns false if it exists.
pub fn make_group(root: &Path, dir: &Path) -> Result<bool> {
    match rustix::fs::mkdir(dir, Mode::from_raw_mode(0o755)) {
        Ok(()) => {
            #[cfg(test)]
            super::tests::populate(dir);
            Ok(true)
        }
        Err(Errno::EXIST) => Ok(false),
        Err(errno) => Err(explain(root, errno.into(), &format!("make {}", dir.display()))),
    }
}

/// Removes a group; its processes get into the group above. A group that does not exist is no error.
pub fn remove_group(dir: &Path) -> Result<()> {
    #[cfg(test)]
    super::tests::depopulate(dir);
    match rustix::fs::rmdir(dir) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(errno).with_context(|| format!("remove {}", dir.display())),
    }
}

/// Writes a line with a single write(2): the kernel takes the whole or nothing.
pub fn write(root: &Path, dir: &Path, name: &str, line: &str) -> Result<()> {
    let path = dir.join(name);
    let write = || -> rustix::io::Result<usize> {
        let file = rustix::fs::open(&path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
        rustix::io::write(&file, format!("{line}\n").as_bytes())
    };
    let operation = || format!("write {line:?} to {}", path.display());
    match write() {
        Ok(length) if length == line.len() + 1 => Ok(()),
        Ok(_) => {
            Err(Error::new(Kind::System, "it was not taken as a whole")).with_context(operation)
        }
        Err(errno) => Err(explain(root, errno.into(), &operation())),
    }
}

/// Adds what the kernel tells about the last failed request.
fn explain(root: &Path, error: Error, operation: &str) -> Error {
    let status = read(&root.join("info"), "last_cmd_status").unwrap_or_default();
    let error = match status.trim() {
        "" | "ok" => error,
        status => error.advice(format_args!("last_cmd_status: {status}")),
    };
    error.context(operation)
}

/// Reads a file.
pub fn read(dir: &Path, name: &str) -> Result<String> {
    read_long_text(&dir.join(name).to_string_lossy())
}

/// Reads a file that need not exist.
pub fn read_if_any(dir: &Path, name: &str) -> Result<Option<String>> {
    match read(dir, name) {
        Err(error)
            if matches!(
                error.errno(),
                Some(nix::errno::Errno::ENOENT | nix::errno::Errno::ENOTDIR)
            ) =>
        {
            Ok(None)
        }
        answer => answer.map(Some),
    }
}
