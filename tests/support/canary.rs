//! A directory of the host to watch.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::Container;

/// A directory of the host that a container must not change: what it holds, to the inode.
pub struct Canary {
    /// Where it is.
    pub path: PathBuf,
    before: Vec<String>,
}

impl Canary {
    /// A new one in the container's bundle.
    pub fn new(c: &Container) -> Self {
        let path = c.path().join("canary");
        fs::create_dir_all(path.join("sub")).unwrap();
        fs::write(path.join("file"), "alive\n").unwrap();
        let before = Canary::look(&path);
        Canary { path, before }
    }

    /// The same as it is by now: changes so far are the test's own.
    pub fn seen_again(self) -> Self {
        Canary { before: Canary::look(&self.path), path: self.path }
    }

    fn look(dir: &Path) -> Vec<String> {
        let mut seen = Vec::new();
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let meta = fs::symlink_metadata(&path).unwrap();
            seen.push(format!("{path:?} {} {:o} {}", meta.ino(), meta.mode(), meta.len()));
            if meta.is_dir() {
                seen.extend(Canary::look(&path));
            }
        }
        seen.sort();
        seen
    }

    /// Fails the test if anything in it has changed, or is mounted there.
    #[track_caller]
    pub fn assert_alive(&self) {
        assert_eq!(Canary::look(&self.path), self.before, "the host's directory was changed");
        let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(!table.contains(self.path.to_str().unwrap()), "mounted on the host: {table}");
    }
}
