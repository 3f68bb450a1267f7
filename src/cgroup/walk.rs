//! Walks over cgroups and all cgroups below them.
//!
//! A container may own its cgroup and create cgroups below to any depth: their path can be longer
//! than the kernel accepts, and a descriptor per level would exceed the limit. A walk therefore
//! goes from descriptor to descriptor, down by name and up by `..`, with two open at a time.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use rustix::fs::{AtFlags, CWD, Dir, FileType, unlinkat};

use super::files::{DIRECTORY, Sys, open, read, reading};
use crate::sys::to_nix;
use crate::{Context, Result};

fn children(dir: BorrowedFd<'_>) -> Sys<Vec<CString>> {
    let mut out = Vec::new();
    for entry in Dir::read_from(dir).map_err(to_nix)? {
        let entry = match entry {
            // The directory was removed meanwhile.
            Err(rustix::io::Errno::NOENT) => break,
            other => other.map_err(to_nix)?,
        };
        let name = entry.file_name();
        if entry.file_type() == FileType::Directory && name != c"." && name != c".." {
            out.push(name.to_owned());
        }
    }
    Ok(out)
}

/// Calls `visit` for a cgroup and all cgroups below it, parents first.
pub fn walk(top: OwnedFd, mut visit: impl FnMut(BorrowedFd<'_>) -> Sys<()>) -> Sys<()> {
    visit(top.as_fd())?;
    let mut levels = vec![children(top.as_fd())?];
    let mut dir = top;
    while let Some(level) = levels.last_mut() {
        if let Some(name) = level.pop() {
            match open(&dir, &*name, DIRECTORY) {
                Err(Errno::ENOENT) => continue,
                child => dir = child?,
            }
            match visit(dir.as_fd()) {
                // Removed since it was opened.
                Err(Errno::ENODEV | Errno::ENOENT) => {}
                visited => visited?,
            }
            levels.push(children(dir.as_fd())?);
        } else {
            levels.pop();
            if !levels.is_empty() {
                dir = open(&dir, c"..", DIRECTORY)?;
            }
        }
    }
    Ok(())
}

/// Removes all cgroups below `top`. Fails with EBUSY if one of them has processes.
pub fn remove_below(top: OwnedFd) -> Sys<()> {
    let mut names: Vec<CString> = Vec::new();
    let mut dir = top;
    loop {
        let mut busy = None;
        for name in children(dir.as_fd())? {
            match remove(&dir, &name) {
                Err(Errno::EBUSY) => busy = Some(name),
                removed => removed?,
            }
        }
        if let Some(name) = busy {
            dir = match open(&dir, &*name, DIRECTORY) {
                Err(Errno::ENOENT) => continue,
                child => child?,
            };
            names.push(name);
            continue;
        }
        // No children are left here: go up.
        let Some(name) = names.pop() else { return Ok(()) };
        dir = open(&dir, c"..", DIRECTORY)?;
        remove(&dir, &name)?;
    }
}

fn remove(dir: &OwnedFd, name: &CStr) -> Sys<()> {
    match unlinkat(dir, name, AtFlags::REMOVEDIR) {
        Err(rustix::io::Errno::NOENT) => Ok(()),
        removed => removed.map_err(to_nix),
    }
}

/// Returns the ids of the processes of one cgroup that this pid namespace can see.
pub fn processes(dir: BorrowedFd<'_>) -> Sys<Vec<i32>> {
    let text = match read(dir, "cgroup.procs") {
        // A threaded cgroup has only threads (cgroups(7)).
        Err(Errno::EOPNOTSUPP) => read(dir, "cgroup.threads")?,
        other => other?,
    };
    Ok(text.lines().filter_map(|line| line.parse().ok()).filter(|pid| *pid > 0).collect())
}

/// Returns the ids of the processes of a cgroup and of all cgroups below it.
pub fn all_processes(path: &Path) -> Result<Vec<i32>> {
    let mut pids = Vec::new();
    let result = open(CWD, path, DIRECTORY).and_then(|top| {
        walk(top, |dir| {
            pids.extend(processes(dir)?);
            Ok(())
        })
    });
    match result {
        Ok(()) | Err(Errno::ENOENT | Errno::ENODEV) => Ok(pids),
        Err(errno) => Err(errno).with_context(|| reading(path, "cgroup.procs")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // A plain directory tree walks like a cgroup tree, but for the files in it.
    #[test]
    fn deep_trees_are_walked_with_few_descriptors() {
        let top = tempfile::tempdir().unwrap();
        let mut dir = open(CWD, top.path(), DIRECTORY).unwrap();
        for _ in 0..300 {
            let name = CString::new("x".repeat(200)).unwrap();
            rustix::fs::mkdirat(&dir, &name, rustix::fs::Mode::RWXU).unwrap();
            rustix::fs::mkdirat(&dir, c"beside", rustix::fs::Mode::RWXU).unwrap();
            dir = open(&dir, &*name, DIRECTORY).unwrap();
        }
        drop(dir);
        let mut count = 0;
        let visit = |_: BorrowedFd<'_>| {
            count += 1;
            Ok(())
        };
        walk(open(CWD, top.path(), DIRECTORY).unwrap(), visit).unwrap();
        assert_eq!(count, 601);
    }
}
