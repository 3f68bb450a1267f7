//! Look-up by components, if openat2(2) is missing: each step opens one name with O_NOFOLLOW
//! relative to an open directory, `..` returns to a directory that is already open, and links are
//! read and resolved here. No step of the kernel can leave the root.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path};

use rustix::fs::{FileType, Mode, OFlags, PROC_SUPER_MAGIC};
use rustix::io::{Errno, Result};

use super::open::{PATH, mount_id, read_link};

/// The kernel's limit on links in a look-up (path_resolution(7)).
const MAX_LINKS: u32 = 40;

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Like RESOLVE_IN_ROOT: absolute links and `..` stay inside the root.
    InRoot,
    /// Like RESOLVE_IN_ROOT with RESOLVE_NO_SYMLINKS.
    InRootNoLinks,
    /// Like RESOLVE_BENEATH with RESOLVE_NO_XDEV: leaving the start, or crossing a mount, is EXDEV.
    Beneath,
}

/// Opens `path` below `root` with `flags`. Follows links, including the last component unless
/// `flags` has O_NOFOLLOW.
pub fn open(root: BorrowedFd<'_>, path: &Path, flags: OFlags, scope: Scope) -> Result<OwnedFd> {
    let mut held: Vec<(OwnedFd, OsString)> = Vec::new();
    let mut rest: VecDeque<OsString> = steps(path).map(OsStr::to_owned).collect();
    let mut links = 0;
    // Not the device: a bind mount of another file of this procfs has that device too.
    let mount = if scope == Scope::Beneath { mount_id(root)? } else { 0 };
    while let Some(name) = rest.pop_front() {
        if name == "." || name == ".." {
            let stat = rustix::fs::fstat(held.last().map_or(root, |(found, _)| found.as_fd()))?;
            if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
                return Err(Errno::NOTDIR);
            }
        }
        if name == "." {
            continue;
        }
        if name == ".." {
            if held.pop().is_none() && scope == Scope::Beneath {
                return Err(Errno::XDEV);
            }
            continue;
        }
        let here = held.last().map_or(root, |(dir, _)| dir.as_fd());
        let last = rest.is_empty();
        let next = rustix::fs::openat(here, &name, PATH | OFlags::NOFOLLOW, Mode::empty())?;
        let stat = rustix::fs::fstat(&next)?;
        if scope == Scope::Beneath && mount_id(next.as_fd())? != mount {
            return Err(Errno::XDEV);
        }
        if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
            held.push((next, name));
            continue;
        }
        if scope == Scope::InRootNoLinks {
            return Err(Errno::LOOP);
        }
        if last && flags.contains(OFlags::NOFOLLOW) {
            return if flags.contains(OFlags::PATH) { Ok(next) } else { Err(Errno::LOOP) };
        }
        links += 1;
        if links > MAX_LINKS || is_magic(next.as_fd(), &name)? {
            return Err(Errno::LOOP);
        }
        let target = read_link(next.as_fd(), OsStr::new(""))?;
        if target.as_bytes().starts_with(b"/") {
            if scope == Scope::Beneath {
                return Err(Errno::XDEV);
            }
            held.clear();
        }
        for part in steps(Path::new(&target)).rev() {
            rest.push_front(part.to_owned());
        }
    }
    reopen(root, held, flags)
}

/// Returns whether a link is a magic link of procfs: all links are, except those whose text is a
/// path inside procfs.
fn is_magic(link: BorrowedFd<'_>, name: &OsStr) -> Result<bool> {
    let plain = ["self", "thread-self", "mounts", "net"];
    Ok(rustix::fs::fstatfs(link)?.f_type == PROC_SUPER_MAGIC
        && !plain.iter().any(|plain| name == *plain))
}

/// Returns the names of a path with `.` at its end if only a directory can have the path.
fn steps(path: &Path) -> impl DoubleEndedIterator<Item = &OsStr> {
    let bytes = path.as_os_str().as_bytes();
    let is_dir = bytes.ends_with(b"/") || bytes.ends_with(b"/.");
    components(path).chain(is_dir.then_some(OsStr::new(".")))
}

/// Returns the names of a path, relative to the root; a look-up handles `..`.
pub(super) fn components(path: &Path) -> impl DoubleEndedIterator<Item = &OsStr> {
    path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name),
        Component::ParentDir => Some(OsStr::new("..")),
        _ => None,
    })
}

/// Opens the found file with the requested flags. Opens the last name again from its parent with
/// O_NOFOLLOW and compares, so that a replacement in between is detected.
fn reopen(
    root: BorrowedFd<'_>,
    mut held: Vec<(OwnedFd, OsString)>,
    flags: OFlags,
) -> Result<OwnedFd> {
    let Some((found, name)) = held.pop() else {
        return rustix::fs::openat(root, ".", flags | OFlags::CLOEXEC, Mode::empty());
    };
    let is_dir = FileType::from_raw_mode(rustix::fs::fstat(&found)?.st_mode) == FileType::Directory;
    if flags.contains(OFlags::DIRECTORY) && !is_dir {
        return Err(Errno::NOTDIR);
    }
    if flags.contains(OFlags::PATH) {
        return Ok(found);
    }
    if is_dir {
        return rustix::fs::openat(&found, ".", flags | OFlags::CLOEXEC, Mode::empty());
    }
    let dir = held.last().map_or(root, |(dir, _)| dir.as_fd());
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = rustix::fs::openat(dir, name, flags, Mode::empty())?;
    let (a, b) = (rustix::fs::fstat(&found)?, rustix::fs::fstat(&opened)?);
    if (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino) { Ok(opened) } else { Err(Errno::XDEV) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    /// The walk must agree with the kernel's openat2(2) on every path of a hostile tree.
    #[test]
    fn agrees_with_openat2() {
        let tree = tempfile::tempdir().unwrap();
        let root_path = tree.path().join("root");
        std::fs::create_dir_all(root_path.join("a/b")).unwrap();
        std::fs::write(root_path.join("a/file"), "x").unwrap();
        std::fs::write(tree.path().join("outside"), "secret").unwrap();
        for (link, target) in [
            ("abs", "/a/b"),
            ("up", "../../../a"),
            ("out", "../../outside"),
            ("absout", "/outside"),
            ("loop", "loop"),
            ("chain", "abs/../file"),
            ("dangling", "nowhere/x"),
            ("slash", "a/file/"),
            ("a/b/root", "/"),
        ] {
            symlink(target, root_path.join(link)).unwrap();
        }
        let root = rustix::fs::open(&root_path, PATH | OFlags::DIRECTORY, Mode::empty()).unwrap();
        let paths = [
            "",
            "/",
            ".",
            "a",
            "/a/b",
            "abs",
            "up",
            "up/b",
            "out",
            "absout",
            "loop",
            "chain",
            "dangling",
            "a/b/root/a/file",
            "a/file",
            "a/file/x",
            "a/file/",
            "a/file/.",
            "a/file/..",
            "a/file/../b",
            "a/b/",
            "abs/",
            "slash",
            "..",
            "../..",
            "../a",
            "abs/../..",
            "a/../../a/b",
            "missing",
            "a/missing/..",
            "a/b/root/a/b/root/chain",
        ];
        for path in paths {
            for flags in [OFlags::PATH, OFlags::RDONLY, OFlags::PATH | OFlags::NOFOLLOW] {
                let resolve =
                    rustix::fs::ResolveFlags::IN_ROOT | rustix::fs::ResolveFlags::NO_MAGICLINKS;
                let kernel =
                    crate::fs::open::openat2(root.as_fd(), Path::new(path), flags, resolve)
                        .expect("openat2");
                let ours = open(root.as_fd(), Path::new(path), flags, Scope::InRoot);
                match (kernel, ours) {
                    (Ok(k), Ok(o)) => {
                        let (k, o) =
                            (rustix::fs::fstat(&k).unwrap(), rustix::fs::fstat(&o).unwrap());
                        assert_eq!((k.st_dev, k.st_ino), (o.st_dev, o.st_ino), "{path}");
                    }
                    (Err(k), Err(o)) => assert_eq!(k, o, "{path} {flags:?}"),
                    (k, o) => panic!("{path:?} {flags:?}: kernel {k:?}, walk {o:?}"),
                }
            }
        }
    }
}
