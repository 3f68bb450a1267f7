//! The path of the container's cgroup in a hierarchy: the rules of `linux.cgroupsPath`.
//!
//! Runtime spec, config-linux.md, "Cgroups Path".

use std::path::{Component, Path, PathBuf};

use super::layout::Dir;
use crate::{Error, Result};

const FIELD: &str = "linux.cgroupsPath";

/// The checked path of a cgroup, for any hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CgroupsPath {
    /// Whether the path starts at the mount point; otherwise at the runtime's own cgroup.
    absolute: bool,
    /// At least one name, without `..`.
    path: PathBuf,
}

impl CgroupsPath {
    /// Checks the path of the configuration, or makes one from the id of the container.
    pub fn new(id: &str, cgroups_path: Option<&Path>) -> Result<CgroupsPath> {
        let (field, asked) = match cgroups_path.filter(|path| !path.as_os_str().is_empty()) {
            Some(path) => (FIELD, path),
            None => ("container id", Path::new(id)),
        };
        let mut path = PathBuf::new();
        for component in asked.components() {
            match component {
                Component::Normal(name) => path.push(name),
                Component::RootDir | Component::CurDir => {}
                // A normalized path would be another cgroup than the named one.
                Component::ParentDir | Component::Prefix(_) => {
                    return Err(Error::invalid(field, asked, "must stay below its root"));
                }
            }
        }
        if path.as_os_str().is_empty() {
            // Its limits would apply to the whole host, and delete would try to kill all processes.
            return Err(Error::invalid(field, asked, "must not be the root of the hierarchy"));
        }
        if path.as_os_str().as_encoded_bytes().iter().any(u8::is_ascii_control) {
            return Err(Error::invalid(field, asked, "must not have control characters"));
        }
        Ok(CgroupsPath { absolute: asked.has_root(), path })
    }

    /// Returns the directory in the hierarchy in which this process is in `own`.
    ///
    /// A relative path starts at `own`, and on v2 at its parent: the own cgroup has at least this
    /// process, and the kernel enables controllers only below cgroups without processes
    /// (cgroups(7), "no internal processes").
    pub fn below(&self, own: &Dir) -> Result<PathBuf> {
        if self.absolute {
            return Ok(own.root.join(&self.path));
        }
        let mut start = own.path.strip_prefix(&own.root).unwrap_or(&own.path);
        if own.is_unified() {
            start = start.parent().unwrap_or(start);
        }
        // The kernel shows a cgroup outside of the cgroup namespace as "/..".
        if start.components().any(|component| !matches!(component, Component::Normal(_))) {
            let why = "the runtime's own cgroup is outside of its cgroup namespace: an absolute \
                       path is needed";
            return Err(Error::invalid(FIELD, start, why));
        }
        Ok(own.root.join(start).join(&self.path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: &str = "/sys/fs/cgroup";

    fn parse(path: Option<&str>) -> Result<CgroupsPath> {
        CgroupsPath::new("c1", path.map(Path::new))
    }

    fn dir(options: &str, own: &str) -> Dir {
        Dir::new(options, options, ROOT.into(), own)
    }

    fn v1(path: Option<&str>, own: &str) -> String {
        parse(path).unwrap().below(&dir("cpu", own)).unwrap().display().to_string()
    }

    fn v2(path: Option<&str>, own: &str) -> String {
        parse(path).unwrap().below(&dir("", own)).unwrap().display().to_string()
    }

    #[test]
    fn absolute_is_below_the_mount() {
        assert_eq!(v1(Some("/docker/x"), "/a"), "/sys/fs/cgroup/docker/x");
        assert_eq!(v2(Some("//docker/./x/"), "/a/b"), "/sys/fs/cgroup/docker/x");
    }

    #[test]
    fn relative_is_below_the_own_cgroup_on_v1() {
        assert_eq!(v1(Some("x"), "/"), "/sys/fs/cgroup/x");
        assert_eq!(v1(Some("./x/y"), "/api/1"), "/sys/fs/cgroup/api/1/x/y");
    }

    #[test]
    fn relative_is_beside_the_own_cgroup_on_v2() {
        assert_eq!(v2(Some("x"), "/"), "/sys/fs/cgroup/x");
        assert_eq!(v2(Some("x"), "/user.slice/a.scope"), "/sys/fs/cgroup/user.slice/x");
    }

    #[test]
    fn unset_is_the_id() {
        assert_eq!(v2(None, "/"), "/sys/fs/cgroup/c1");
        assert_eq!(v1(Some(""), "/a"), "/sys/fs/cgroup/a/c1");
    }

    #[test]
    fn nothing_leaves_the_root() {
        for path in ["..", "/..", "a/../b", "/a/../../b", "/", ".", "//", "/a\nb", "a\0b"] {
            let error = parse(Some(path)).unwrap_err().to_string();
            assert!(error.starts_with("linux.cgroupsPath: "), "{path:?}: {error}");
        }
        assert!(CgroupsPath::new("..", None).is_err());
        let outside = parse(Some("x")).unwrap();
        assert!(outside.below(&dir("cpu", "/../other")).is_err());
        assert!(outside.below(&dir("", "/../../other")).is_err());
    }
}
