//! Target of the fuzzers: look-ups in a tree of links, compared with those of the kernel.

use std::cell::RefCell;
use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, ResolveFlags};

use super::open::{PATH, openat2};
use super::root::Root;
use super::walk::{self, Scope};
use crate::fuzzing::{Input, reached};

/// A directory that is removed at the end.
struct Tree(PathBuf);

impl Tree {
    fn new() -> Tree {
        let shared = Path::new("/dev/shm");
        let base = if shared.is_dir() { shared.to_owned() } else { std::env::temp_dir() };
        let name =
            format!("bulkhead-fuzz-{}-{:?}", std::process::id(), std::thread::current().id());
        let path = base.join(name.replace(['(', ')'], ""));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).unwrap();
        Tree(path)
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

thread_local! {
    static TREE: RefCell<Option<Tree>> = const { RefCell::new(None) };
}

const NAMES: [&str; 4] = ["a", "b", "c", "d"];

/// Returns a path of names, links, `.` and `..`.
fn path(input: &mut Input<'_>) -> String {
    let mut path = String::from(if input.flag() { "/" } else { "" });
    for _ in 0..input.below(6) {
        path += input.pick(&["a", "b", "c", "d", "..", "..", ".", "a", "", "none"]);
        path += input.pick(&["/", "/", "/", "//"]);
    }
    path += input.pick(&["a", "b", "c", "d", "", ".."]);
    path
}

/// A tree made by a hostile image.
pub fn paths(data: &[u8]) {
    TREE.with_borrow_mut(|tree| {
        let tree = &tree.get_or_insert_with(Tree::new).0;
        let top = tree.join("top");
        let _ = fs::remove_dir_all(&top);
        let root = top.join("root");
        fs::create_dir_all(&root).unwrap();
        fs::write(top.join("a"), "outside").unwrap();
        let mut input = Input::new(data);
        let mut dirs = vec![root.clone()];
        for _ in 0..input.below(12) {
            let at = dirs[input.below(dirs.len())].join(input.pick(&NAMES));
            match input.below(4) {
                // Follows no link.
                0 => drop(fs::File::create_new(&at)),
                1 => {
                    if fs::create_dir(&at).is_ok() {
                        dirs.push(at);
                    }
                }
                _ => {
                    let target = path(&mut input);
                    if !target.is_empty() {
                        let _ = symlink(target, &at);
                    }
                }
            }
        }
        let dir = rustix::fs::open(&root, PATH | OFlags::DIRECTORY, Mode::empty()).unwrap();
        while !input.is_empty() {
            look_up(&dir, Path::new(&path(&mut input)), &mut input);
        }
        make(&top, dir, data);
    });
}

fn look_up(root: &OwnedFd, mut path: &Path, input: &mut Input<'_>) {
    let mut more = vec![OFlags::empty(), OFlags::DIRECTORY];
    let access = [OFlags::PATH, OFlags::PATH, OFlags::RDONLY];
    let (scope, links) = input.pick(&[
        (Scope::InRoot, ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS),
        (Scope::InRootNoLinks, ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS),
        (
            Scope::Beneath,
            ResolveFlags::BENEATH | ResolveFlags::NO_XDEV | ResolveFlags::NO_MAGICLINKS,
        ),
    ]);
    // Callers give no other combinations.
    if scope == Scope::Beneath {
        path = path.strip_prefix("/").unwrap_or(path);
    }
    if scope != Scope::InRootNoLinks {
        more.push(OFlags::NOFOLLOW);
    }
    let flags = input.pick(&access) | input.pick(&more);
    let kernel = openat2(root.as_fd(), path, flags, links).unwrap();
    let ours = walk::open(root.as_fd(), path, flags, scope);
    match (&kernel, &ours) {
        (Ok(kernel), Ok(ours)) => {
            let (kernel, ours) =
                (rustix::fs::fstat(kernel).unwrap(), rustix::fs::fstat(ours).unwrap());
            assert_eq!((kernel.st_dev, kernel.st_ino), (ours.st_dev, ours.st_ino), "{path:?}");
            reached();
        }
        (Err(kernel), Err(ours)) => assert_eq!(kernel, ours, "{path:?} {flags:?}"),
        _ => panic!("{path:?} {flags:?}: kernel {kernel:?}, walk {ours:?}"),
    }
}

/// Makes directories and files for mounts, and checks that nothing appears outside.
fn make(top: &Path, dir: OwnedFd, data: &[u8]) {
    let mut input = Input::new(data);
    input.byte();
    // As the destinations of mounts are.
    let path: PathBuf = Path::new("/").join(path(&mut input)).components().collect();
    let root = Root::new(dir);
    let found = match input.flag() {
        true => root.make_dir(&path).ok(),
        false => root.make_file(&path).ok(),
    };
    let mut outside: Vec<_> =
        fs::read_dir(top).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    outside.sort();
    assert_eq!(outside, ["a", "root"], "{path:?}");
    assert_eq!(fs::read(top.join("a")).unwrap(), b"outside");
    if let Some(found) = found {
        use std::os::fd::AsRawFd;
        let name = fs::read_link(format!("/proc/self/fd/{}", found.as_raw_fd())).unwrap();
        assert!(name.starts_with(top.join("root")), "{path:?}: {name:?}");
        match root.find(&path) {
            Ok(again) => {
                let (a, b) =
                    (rustix::fs::fstat(&found).unwrap(), rustix::fs::fstat(again).unwrap());
                assert_eq!(a.st_ino, b.st_ino, "{path:?}");
            }
            // The file for a dangling link whose target ends with a slash.
            Err(errno) => assert_eq!(errno, rustix::io::Errno::NOTDIR, "{path:?}"),
        }
    }
}
