//! Reading, writing and walking cgroup directories.
//!
//! A container may own its cgroup and make sub-cgroups to any depth, so that their path is longer
//! than the kernel takes and more descriptors than allowed would be open along it. So walks go
//! from descriptor to descriptor, down by name and up by `..`, two open at a time.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, openat, unlinkat};

use crate::{Error, Result};

use super::cpuset;
use super::knobs::Write;

type Sys<T> = std::result::Result<T, Errno>;

fn errno(error: rustix::io::Errno) -> Errno {
    Errno::from_raw(error.raw_os_error())
}

/// Opens a cgroup directory.
pub fn open_dir(path: &Path) -> Sys<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(CWD, path, flags, Mode::empty()).map_err(errno)
}

fn open_below(dir: BorrowedFd<'_>, name: &CString) -> Sys<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(dir, name, flags, Mode::empty()).map_err(errno)
}

/// The whole text of a cgroup's file, or of any other of procfs or sysfs.
pub fn read(dir: BorrowedFd<'_>, file: &str) -> Sys<String> {
    let fd = openat(dir, file, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).map_err(errno)?;
    read_fd(fd.as_fd())
}

/// The whole text of an open file, from its beginning.
pub fn read_fd(fd: BorrowedFd<'_>) -> Sys<String> {
    let mut out = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let offset = u64::try_from(out.len()).map_err(|_| Errno::EFBIG)?;
        match rustix::io::pread(fd, &mut buffer, offset) {
            Ok(0) => return Ok(String::from_utf8_lossy(&out).into_owned()),
            Ok(count) => out.extend(buffer.iter().take(count)),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(errno(error)),
        }
    }
}

/// The whole text of a file of the cgroup `dir`, for which the directory need not be open.
pub fn read_in(dir: &Path, file: &str) -> Sys<String> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let fd = openat(CWD, dir.join(file), flags, Mode::empty()).map_err(errno)?;
    read_fd(fd.as_fd())
}

/// One write(2) of `value` to a cgroup's file.
pub fn write(dir: BorrowedFd<'_>, file: &str, value: &str) -> Sys<()> {
    let fd = openat(dir, file, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty()).map_err(errno)?;
    write_fd(fd.as_fd(), value)
}

/// The same for a cgroup whose directory is not open.
pub fn write_in(dir: &Path, file: &str, value: &str) -> Sys<()> {
    let flags = OFlags::WRONLY | OFlags::CLOEXEC;
    let fd = openat(CWD, dir.join(file), flags, Mode::empty()).map_err(errno)?;
    write_fd(fd.as_fd(), value)
}

/// A file and the value for it.
pub type FileValue = (&'static str, String);

/// One write(2) for each value, in order; a file that is written several times in a row is opened
/// once. An error tells which write it was.
pub fn write_each<'a>(
    dir: BorrowedFd<'_>,
    writes: &'a [FileValue],
) -> std::result::Result<(), (&'a FileValue, Errno)> {
    let mut open: Option<(&str, OwnedFd)> = None;
    for write in writes {
        let (file, value) = write;
        if open.as_ref().is_none_or(|(name, _)| name != file) {
            let flags = OFlags::WRONLY | OFlags::CLOEXEC;
            let fd = openat(dir, *file, flags, Mode::empty()).map_err(|e| (write, errno(e)))?;
            open = Some((file, fd));
        }
        if let Some((_, fd)) = &open {
            write_fd(fd.as_fd(), value).map_err(|errno| (write, errno))?;
        }
    }
    Ok(())
}

fn write_fd(fd: BorrowedFd<'_>, value: &str) -> Sys<()> {
    loop {
        match rustix::io::write(fd, value.as_bytes()) {
            Ok(_) => return Ok(()),
            // Reclaim for a memory limit can be interrupted, and is then repeated.
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(errno(error)),
        }
    }
}

/// The failure of [`write`], told.
pub fn write_error(path: &Path, file: &str, value: &str, errno: Errno) -> Error {
    // A list may have thousands of letters.
    let end = value.char_indices().nth(SHOWN).map_or(value.len(), |(end, _)| end);
    let more = if end < value.len() { " and more" } else { "" };
    let shown = value.get(..end).unwrap_or_default();
    Error::sys(errno).context(format!("write {shown:?}{more} to {}", path.join(file).display()))
}

/// How many letters of a value an error shows.
const SHOWN: usize = 80;

/// The failure of [`read`], told.
pub fn read_error(path: &Path, file: &str, errno: Errno) -> Error {
    Error::sys(errno).context(format!("read {}", path.join(file).display()))
}

/// Does `writes` in order; those that depend on each other a second time if the kernel wants
/// another order.
pub fn apply(dir: BorrowedFd<'_>, path: &Path, writes: &[Write]) -> Result<()> {
    let mut again = Vec::new();
    for write in writes {
        match apply_one(dir, path, write) {
            Err(error) if write.coupled && error.errno() == Some(Errno::EINVAL) => {
                again.push(write);
            }
            result => result?,
        }
    }
    again.into_iter().try_for_each(|write| apply_one(dir, path, write))
}

fn apply_one(dir: BorrowedFd<'_>, path: &Path, setting: &Write) -> Result<()> {
    let mut missing = None;
    for knob in &setting.knobs {
        let (file, value) = (knob.file.as_str(), knob.value.as_str());
        if let Some(floor) = setting.floor {
            not_below(dir, path, setting, floor, value)?;
        }
        match write(dir, file, value) {
            Ok(()) => return Ok(()),
            Err(Errno::ENOENT) => {
                let error = write_error(path, file, value, Errno::ENOENT);
                missing.get_or_insert(error);
            }
            Err(errno) => {
                if let Some(error) = cpuset::explain(path, setting.field, file, value) {
                    return Err(error);
                }
                return Err(explain(setting, write_error(path, file, value, errno)));
            }
        }
    }
    match missing {
        Some(error) if !setting.optional => Err(explain(setting, error)),
        _ => Ok(()),
    }
}

/// What the bare error number does not tell.
fn explain(setting: &Write, error: Error) -> Error {
    let why = match (error.errno(), setting.controller.as_str()) {
        (Some(Errno::ENOENT), "hugetlb") => "the kernel has no huge pages of this size",
        (Some(Errno::ENOENT), _) => "the kernel does not have this control",
        (Some(Errno::EBUSY), "memory") => "the new limit is below what is in use",
        _ => return error.context(setting.field),
    };
    error.context(format!("{} ({why})", setting.field))
}

/// Refuses new limits that are below what is in use, where that was asked for.
pub fn check_floors<'a>(
    dir: BorrowedFd<'_>,
    path: &Path,
    writes: impl IntoIterator<Item = &'a Write>,
) -> Result<()> {
    for write in writes {
        if let (Some(floor), Some(knob)) = (write.floor, write.knobs.first()) {
            not_below(dir, path, write, floor, &knob.value)?;
        }
    }
    Ok(())
}

/// A limit below the usage would kill at once on v2, and have much swapped on v1.
fn not_below(
    dir: BorrowedFd<'_>,
    path: &Path,
    setting: &Write,
    floor: &str,
    value: &str,
) -> Result<()> {
    let Ok(limit) = value.parse::<u64>() else { return Ok(()) };
    let used = read(dir, floor).map_err(|errno| read_error(path, floor, errno))?;
    match used.trim().parse::<u64>() {
        Ok(used) if limit < used => {
            let why = format!("must not be below the {used} bytes in use (checkBeforeUpdate)");
            Err(Error::invalid(setting.field, limit, why))
        }
        _ => Ok(()),
    }
}

fn children(dir: BorrowedFd<'_>) -> Sys<Vec<CString>> {
    let mut out = Vec::new();
    for entry in Dir::read_from(dir).map_err(errno)? {
        let entry = match entry {
            Ok(entry) => entry,
            // The directory was removed meanwhile.
            Err(rustix::io::Errno::NOENT) => break,
            Err(error) => return Err(errno(error)),
        };
        let name = entry.file_name();
        if entry.file_type() == FileType::Directory && name != c"." && name != c".." {
            out.push(name.to_owned());
        }
    }
    Ok(out)
}

/// Calls `visit` for a cgroup and all below it, each before its children.
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

/// Removes all cgroups below `top`. EBUSY if one of them has processes.
pub fn remove_below(top: OwnedFd) -> Sys<()> {
    let mut names: Vec<CString> = Vec::new();
    let mut dir = top;
    loop {
        let mut busy = None;
        for name in children(dir.as_fd())? {
            match unlinkat(&dir, &name, AtFlags::REMOVEDIR) {
                Ok(()) | Err(rustix::io::Errno::NOENT) => {}
                Err(rustix::io::Errno::BUSY) => busy = Some(name),
                Err(error) => return Err(errno(error)),
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
        // No children are left here; back up.
        let Some(name) = names.pop() else { return Ok(()) };
        dir = open_below(dir.as_fd(), &c"..".to_owned())?;
        match unlinkat(&dir, &name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(rustix::io::Errno::NOENT) => {}
            Err(error) => return Err(errno(error)),
        }
    }
}

/// Ids of the processes of one cgroup; not those that this pid namespace cannot see.
pub fn processes(dir: BorrowedFd<'_>) -> Sys<Vec<i32>> {
    let text = match read(dir, "cgroup.procs") {
        // A threaded cgroup has threads only (cgroups(7)).
        Err(Errno::EOPNOTSUPP) => read(dir, "cgroup.threads")?,
        other => other?,
    };
    Ok(text.lines().filter_map(|line| line.parse().ok()).filter(|pid| *pid > 0).collect())
}

/// Ids of the processes of a cgroup and all below it.
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

/// Does `cgroup.events` have this line? It is two words, as in `populated 0`.
pub fn has_line(text: &str, line: &str) -> bool {
    text.lines().any(|candidate| candidate == line)
}

/// Waits until the v2 cgroup's `cgroup.events` has `line`; false if that took too long. A cgroup
/// that is gone has whatever is waited for.
pub fn wait_event(dir: BorrowedFd<'_>, line: &str, limit: Duration) -> Sys<bool> {
    let end = Instant::now() + limit;
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let fd = match openat(dir, "cgroup.events", flags, Mode::empty()) {
        Ok(fd) => fd,
        Err(rustix::io::Errno::NODEV | rustix::io::Errno::NOENT) => return Ok(true),
        Err(error) => return Err(errno(error)),
    };
    loop {
        match read_fd(fd.as_fd()) {
            Ok(text) if has_line(&text, line) => return Ok(true),
            Ok(_) => {}
            Err(Errno::ENODEV) => return Ok(true),
            Err(errno) => return Err(errno),
        }
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(false);
        }
        // Rounded up: 0 would be a busy loop through the last millisecond.
        let left = u16::try_from(left.as_millis().saturating_add(1)).unwrap_or(u16::MAX);
        let mut fds = [PollFd::new(fd.as_fd(), PollFlags::POLLPRI)];
        match poll(&mut fds, PollTimeout::from(left)) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

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

    #[test]
    fn lines_are_whole_lines() {
        assert!(has_line("populated 0\nfrozen 1\n", "frozen 1"));
        assert!(!has_line("populated 0\nfrozen 10\n", "frozen 1"));
    }

    #[test]
    fn a_missing_file_is_an_error_unless_optional() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("b"), "").unwrap();
        let fd = open_dir(dir.path()).unwrap();
        let knob = |file: &str| super::super::knobs::Knob { file: file.into(), value: "1".into() };
        let mut setting = Write {
            controller: "memory".into(),
            field: "linux.resources.memory.limit",
            knobs: vec![knob("a"), knob("b")],
            optional: false,
            coupled: false,
            floor: None,
        };
        apply(fd.as_fd(), dir.path(), std::slice::from_ref(&setting)).unwrap();
        assert_eq!(fs::read_to_string(dir.path().join("b")).unwrap(), "1");
        setting.knobs.pop();
        let error =
            apply(fd.as_fd(), dir.path(), std::slice::from_ref(&setting)).unwrap_err().to_string();
        assert!(error.contains("write \"1\" to "), "{error}");
        assert!(error.ends_with("/a: no such file or directory"), "{error}");
        setting.optional = true;
        apply(fd.as_fd(), dir.path(), &[setting]).unwrap();
    }

    #[test]
    fn a_limit_below_the_usage_is_refused_when_asked() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("memory.current"), "4096\n").unwrap();
        fs::write(dir.path().join("memory.max"), "").unwrap();
        let fd = open_dir(dir.path()).unwrap();
        let setting = |value: &str| Write {
            controller: "memory".into(),
            field: "linux.resources.memory.limit",
            knobs: vec![super::super::knobs::Knob {
                file: "memory.max".into(),
                value: value.into(),
            }],
            optional: false,
            coupled: false,
            floor: Some("memory.current"),
        };
        let error = apply(fd.as_fd(), dir.path(), &[setting("4095")]).unwrap_err().to_string();
        assert!(error.contains("must not be below the 4096 bytes in use"), "{error}");
        assert_eq!(fs::read_to_string(dir.path().join("memory.max")).unwrap(), "");
        apply(fd.as_fd(), dir.path(), &[setting("4096")]).unwrap();
        apply(fd.as_fd(), dir.path(), &[setting("max")]).unwrap();
    }
}
