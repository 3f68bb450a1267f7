//! A container's root file system as a descriptor, and look-ups that cannot leave it.

use std::cell::Cell;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::open::{PATH, openat2, read_link};
use super::walk::{self, Scope};
use crate::{Context, Error, Result};

/// The maximum number of dangling links in the path of a destination; more are a loop.
const MAX_DANGLING: u32 = 40;

/// The root file system. Its methods resolve every path as the container would: absolute, links
/// followed inside the root, mounts crossed, magic links refused.
#[derive(Debug)]
pub struct Root {
    dir: OwnedFd,
    covered: u32,
    no_openat2: Cell<bool>,
}

impl Root {
    pub fn new(dir: OwnedFd) -> Root {
        Root { dir, covered: 0, no_openat2: Cell::new(false) }
    }

    /// Replaces the root directory by a directory that was mounted over it. Returns the former root
    /// directory.
    pub fn replace(&mut self, dir: OwnedFd) -> OwnedFd {
        self.covered += 1;
        std::mem::replace(&mut self.dir, dir)
    }

    /// Returns how many root directories this root directory has been mounted over.
    pub fn covered(&self) -> u32 {
        self.covered
    }

    pub fn fd(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }

    /// Opens an existing `path` with `flags`, following links inside the root.
    pub fn open(&self, path: &Path, flags: OFlags) -> rustix::io::Result<OwnedFd> {
        self.look_up(path, flags, ResolveFlags::NO_MAGICLINKS, Scope::InRoot)
    }

    pub fn find(&self, path: &Path) -> rustix::io::Result<OwnedFd> {
        self.open(path, PATH)
    }

    /// Opens an existing `path` as an O_PATH descriptor; ELOOP if a component is a link.
    pub fn find_no_links(&self, path: &Path) -> rustix::io::Result<OwnedFd> {
        self.look_up(path, PATH, ResolveFlags::NO_SYMLINKS, Scope::InRootNoLinks)
    }

    /// Opens an existing directory like [`Root::find_no_links`]; ENOTDIR if it is not a directory.
    pub fn find_dir_no_links(&self, path: &Path) -> rustix::io::Result<OwnedFd> {
        let flags = PATH | OFlags::DIRECTORY;
        self.look_up(path, flags, ResolveFlags::NO_SYMLINKS, Scope::InRootNoLinks)
    }

    fn look_up(
        &self,
        path: &Path,
        flags: OFlags,
        links: ResolveFlags,
        scope: Scope,
    ) -> rustix::io::Result<OwnedFd> {
        if !self.no_openat2.get() {
            match openat2(self.fd(), path, flags, ResolveFlags::IN_ROOT | links) {
                Some(answer) => return answer,
                None => self.no_openat2.set(true),
            }
        }
        walk::open(self.fd(), path, flags, scope)
    }

    /// Opens the directory `path`. Creates missing directories (mode 0755), also for the target of
    /// a dangling link, inside the root.
    pub fn make_dir(&self, path: &Path) -> Result<OwnedFd> {
        Ok(self.find_or_make_dir(path)?.0)
    }

    /// Opens the directory `path` like [`Root::make_dir`], and returns whether it existed.
    pub fn find_or_make_dir(&self, path: &Path) -> Result<(OwnedFd, bool)> {
        match self.open(path, PATH | OFlags::DIRECTORY) {
            Ok(dir) => return Ok((dir, true)),
            Err(Errno::NOENT) => {}
            Err(errno) => {
                let what = format!("find directory {path:?} in the rootfs");
                return Err(Error::from(errno).context(what));
            }
        }
        let made = match self.make_last(path) {
            Some(made) => Ok(made),
            None => match self.find_free(path)? {
                None => self.open(path, PATH | OFlags::DIRECTORY).map_err(Error::from),
                Some((dir, name)) => make_child_dir(&dir, &name),
            },
        };
        let made = made.with_context(|| format!("create directory {path:?} in the rootfs"))?;
        Ok((made, false))
    }

    /// Handles the usual case that only the last name is missing. mkdir(2) follows no link and
    /// returns EEXIST for a dangling link; [`Root::find_free`] then takes over.
    fn make_last(&self, path: &Path) -> Option<OwnedFd> {
        let (parent, name) = (path.parent()?, path.file_name()?);
        let dir = self.open(parent, PATH | OFlags::DIRECTORY).ok()?;
        rustix::fs::mkdirat(&dir, name, Mode::from_raw_mode(0o755)).ok()?;
        let flags = PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW;
        rustix::fs::openat(&dir, name, flags, Mode::empty()).ok()
    }

    /// Opens the file `path` as an O_PATH descriptor, as a mount point. An existing file may be of
    /// any type but a directory. A missing file is created empty (mode 0644, parents 0755).
    pub fn make_file(&self, path: &Path) -> Result<OwnedFd> {
        match self.find(path) {
            Err(Errno::NOENT) => {}
            answer => return answer.with_context(|| format!("find {path:?} in the rootfs")),
        }
        let make = || -> Result<OwnedFd> {
            match self.find_free(path)? {
                Some((dir, name)) => make_child_file(&dir, &name),
                None => Ok(self.find(path)?),
            }
        };
        make().with_context(|| format!("create file {path:?} in the rootfs"))
    }

    /// Opens or creates the file `path` in an existing directory; ELOOP if a component is a link.
    pub fn make_file_no_links(&self, path: &Path) -> Result<OwnedFd> {
        let make = || -> Result<OwnedFd> {
            match self.find_no_links(path) {
                Err(Errno::NOENT) => {}
                answer => return Ok(answer?),
            }
            let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
                return Err(Error::from(Errno::ISDIR));
            };
            make_child_file(&self.find_no_links(parent)?, name)
        };
        make().with_context(|| format!("create file {path:?} in the rootfs"))
    }

    /// Finds where to create `path`: its parent directory, created if missing, and the name that
    /// does not exist there. Returns `None` if the path exists after all (it was a link to
    /// something).
    fn find_free(&self, path: &Path) -> Result<Option<(OwnedFd, OsString)>> {
        let mut todo: PathBuf = walk::components(path).collect();
        for _ in 0..MAX_DANGLING {
            match self.descend(&todo)? {
                Descent::Exists => return Ok(None),
                Descent::Free(dir, name) => return Ok(Some((dir, name))),
                Descent::Elsewhere(path) => todo = walk::components(&path).collect(),
            }
        }
        Err(Error::from(Errno::LOOP))
    }

    fn descend(&self, path: &Path) -> Result<Descent> {
        let mut so_far = PathBuf::new();
        let names: Vec<&OsStr> = path.iter().collect();
        for (i, name) in names.iter().enumerate() {
            let parent = so_far.clone();
            so_far.push(name);
            let last = i + 1 == names.len();
            match self.find(&so_far) {
                Ok(_) => continue,
                Err(Errno::NOENT) => {}
                Err(errno) => return Err(Error::from(errno)),
            }
            let dir = self.open(&parent, PATH | OFlags::DIRECTORY)?;
            if *name == ".." {
                return Err(Error::from(Errno::NOENT));
            }
            match read_link(dir.as_fd(), name) {
                // A dangling link: continue at its target, with the rest of the path.
                Ok(target) => {
                    let rest: PathBuf = names[i + 1..].iter().collect();
                    let target = parent.join(target);
                    let path = if rest.as_os_str().is_empty() { target } else { target.join(rest) };
                    return Ok(Descent::Elsewhere(path));
                }
                Err(Errno::NOENT | Errno::INVAL) => {}
                Err(errno) => return Err(Error::from(errno)),
            }
            if last {
                return Ok(Descent::Free(dir, (*name).to_owned()));
            }
            make_child_dir(&dir, name)?;
        }
        Ok(Descent::Exists)
    }
}

enum Descent {
    Exists,
    /// A directory, and a name in it, never `..`, that does not exist.
    Free(OwnedFd, OsString),
    Elsewhere(PathBuf),
}

/// Creates a directory. Another process may have created it first; in either case the result must
/// be a directory and not a link.
fn make_child_dir(dir: &OwnedFd, name: &OsStr) -> Result<OwnedFd> {
    match rustix::fs::mkdirat(dir, name, Mode::from_raw_mode(0o755)) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(Error::from(errno)),
    }
    let flags = PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW;
    Ok(rustix::fs::openat(dir, name, flags, Mode::empty())?)
}

fn make_child_file(dir: &OwnedFd, name: &OsStr) -> Result<OwnedFd> {
    let flags = OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::RDONLY;
    let mode = Mode::from_raw_mode(0o644);
    rustix::fs::openat(dir, name, flags | OFlags::EXCL, mode)?;
    Ok(rustix::fs::openat(dir, name, PATH | OFlags::NOFOLLOW, mode)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn root() -> (tempfile::TempDir, PathBuf, Root) {
        let tree = tempfile::tempdir().unwrap();
        let path = tree.path().join("root");
        std::fs::create_dir(&path).unwrap();
        let dir = rustix::fs::open(&path, PATH | OFlags::DIRECTORY, Mode::empty()).unwrap();
        (tree, path, Root::new(dir))
    }

    #[test]
    fn makes_directories_and_files_inside_only() {
        let (tree, path, root) = root();
        symlink("/../../escape", path.join("out")).unwrap();
        symlink(tree.path().join("canary"), path.join("abs")).unwrap();
        root.make_dir(Path::new("/x/y/z")).unwrap();
        root.make_dir(Path::new("/out/sub")).unwrap();
        root.make_file(Path::new("/abs/deep/file")).unwrap();
        assert!(path.join("x/y/z").is_dir());
        assert!(path.join("escape/sub").is_dir());
        let inside = path.join(tree.path().strip_prefix("/").unwrap()).join("canary/deep/file");
        assert!(inside.is_file());
        assert!(!tree.path().join("escape").exists());
        assert!(!tree.path().join("canary").exists());
    }

    #[test]
    fn the_walk_makes_the_same() {
        let (tree, path, root) = root();
        root.no_openat2.set(true);
        symlink("/../../escape", path.join("out")).unwrap();
        root.make_dir(Path::new("/out/sub/../other")).unwrap();
        assert!(path.join("escape/other").is_dir());
        assert!(!tree.path().join("escape").exists());
    }

    #[test]
    fn a_loop_of_links_is_an_error() {
        let (_tree, path, root) = root();
        symlink("b/x", path.join("a")).unwrap();
        symlink("a/x", path.join("b")).unwrap();
        assert!(root.make_dir(Path::new("/a/c")).is_err());
        symlink("self", path.join("self")).unwrap();
        assert!(root.make_file(Path::new("/self")).is_err());
    }

    #[test]
    fn a_file_is_no_directory() {
        let (_tree, path, root) = root();
        std::fs::write(path.join("f"), "").unwrap();
        assert!(root.make_dir(Path::new("/f")).is_err());
        assert!(root.make_dir(Path::new("/f/g")).is_err());
        root.make_file(Path::new("/f")).unwrap();
    }
}
