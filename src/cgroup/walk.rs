//! Walks over cgroups and all cgroups below them.
//!
//! A container may own its cgroup and create cgroups below to any depth: their path can be longer
//! than the kernel accepts, and a descriptor per level would exceed the limit. A walk therefore
//! goes from descriptor to descriptor, down by name and up by `..`, with two open at a time.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, openat, unlinkat};

use super::files::{Sys, open_dir, read, read_error};
use crate::Result;
use crate::sys::to_nix;

fn open_below(dir: BorrowedFd<'_>, name: &CString) -> Sys<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(dir, name, flags, Mode::empty()).map_err(to_nix)
}

fn children(dir: BorrowedFd<'_>) -> Sys<Vec<CString>> {
    let mut out = Vec::new();
    for entry in Dir::read_from(dir).map_err(to_nix)? {
        let entry = match entry {
            Ok(entry) => entry,
            // The directory was removed meanwhile.
            Err(rustix::io::Errno::NOENT) => break,
            Err(error) => return Err(to_nix(error)),
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
            match open_below(dir.as_fd(), &name) {
                Ok(child) => dir = child,
                Err(Errno::ENOENT) => continue,
                Err(errno) => return Err(errno),
            }
            match visit(dir.as_fd()) {
                // Removed since it was opened.
                Ok(()) | Err(Errno::ENODEV | Errno::ENOENT) => {}
                Err(errno) => return Err(errno),
            }
            levels.push(children(dir.as_fd())?);
        } else {
            levels.pop();
            if !levels.is_empty() {
                dir = open_below(dir.as_fd(), &c"..".to_owned())?;
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
            match unlinkat(&dir, &name, AtFlags::REMOVEDIR) {
                Ok(()) | Err(rustix::io::Errno::NOENT) => {}
                Err(rustix::io::Errno::BUSY) => busy = Some(name),
                Err(error) => return Err(to_nix(error)),
            }
        }
        if let Some(name) = busy {
            dir = match open_below(dir.as_fd(), &name) {
                Ok(child) => child,
                Err(Errno::ENOENT) => continue,
                Err(errno) => return Err(errno),
            };
            names.push(name);
            continue;
        }
        // No children are left here: go up.
        let Some(name) = names.pop() else { return Ok(()) };
        dir = open_below(dir.as_fd(), &c"..".to_owned())?;
        match unlinkat(&dir, &name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(rustix::io::Errno::NOENT) => {}
            Err(error) => return Err(to_nix(error)),
        }
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
    let result = open_dir(path).and_then(|top| {
        walk(top, |dir| {
            pids.extend(processes(dir)?);
            Ok(())
        })
    });
    match result {
        Ok(()) | Err(Errno::ENOENT | Errno::ENODEV) => Ok(pids),
        Err(errno) => Err(read_error(path, "cgroup.procs", errno)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // A plain directory tree walks like a cgroup tree, but for the files in it.
    #[test]
    fn deep_trees_are_walked_with_few_descriptors() {
        let top = tempfile::tempdir().unwrap();
        let mut dir = open_dir(top.path()).unwrap();
        for _ in 0..300 {
            let name = CString::new("x".repeat(200)).unwrap();
            rustix::fs::mkdirat(&dir, &name, Mode::RWXU).unwrap();
            rustix::fs::mkdirat(&dir, c"beside", Mode::RWXU).unwrap();
            dir = open_below(dir.as_fd(), &name).unwrap();
        }
        drop(dir);
        let mut count = 0;
        let visit = |_: BorrowedFd<'_>| {
            count += 1;
            Ok(())
        };
        walk(open_dir(top.path()).unwrap(), visit).unwrap();
        assert_eq!(count, 601);
    }
}
