//! Where in a hierarchy the container's cgroup is: the rules of `linux.cgroupsPath`.
//!
//! Runtime spec, config-linux.md, "Cgroups Path". Pure.

use std::path::{Component, Path, PathBuf};

use crate::{Error, Result};

const FIELD: &str = "linux.cgroupsPath";

/// A path below the root of any hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Below the mount point; otherwise below the runtime's own cgroup.
    absolute: bool,
    /// Plain names only, at least one.
    path: PathBuf,
}

impl Place {
    /// The place that the configuration names, or one named after the container.
    pub fn new(id: &str, cgroups_path: Option<&Path>) -> Result<Place> {
        let (field, asked) = match cgroups_path.filter(|path| !path.as_os_str().is_empty()) {
            Some(path) => (FIELD, path),
            None => ("container id", Path::new(id)),
        };
        let mut path = PathBuf::new();
        for component in asked.components() {
            match component {
                Component::Normal(name) => path.push(name),
                Component::RootDir | Component::CurDir => {}
                // A cleaned-up path would be some other cgroup than the one that was named.
                Component::ParentDir | Component::Prefix(_) => {
                    return Err(Error::invalid(field, asked, "must stay below its root"));
                }
            }
        }
        if path.as_os_str().is_empty() {
            // Limits on it would bind the whole host, and delete would try to kill it.
            return Err(Error::invalid(field, asked, "must not be the root of the hierarchy"));
        }
        if path.as_os_str().as_encoded_bytes().iter().any(u8::is_ascii_control) {
            return Err(Error::invalid(field, asked, "must not have control characters"));
        }
        Ok(Place { absolute: asked.has_root(), path })
    }

    /// The directory in a v1 hierarchy, for a process that is in `own` there.
    pub fn v1(&self, root: &Path, own: &str) -> Result<PathBuf> {
        if self.absolute {
            return Ok(root.join(&self.path));
        }
        Ok(below(root, Path::new(own))?.join(&self.path))
    }

    /// The directory in the v2 hierarchy, for a process that is in `own` there.
    ///
    /// Its own cgroup has processes, this one at least, and the kernel enables controllers only
    /// below cgroups without (cgroups(7), "no internal processes"): so beside it, not below it.
    pub fn v2(&self, root: &Path, own: &str) -> Result<PathBuf> {
        if self.absolute {
            return Ok(root.join(&self.path));
        }
        let parent = Path::new(own).parent().unwrap_or(Path::new("/"));
        Ok(below(root, parent)?.join(&self.path))
    }
}

fn below(root: &Path, own: &Path) -> Result<PathBuf> {
    let own = own.strip_prefix("/").unwrap_or(own);
    // "/.." is how the kernel shows a cgroup that is outside of the cgroup namespace.
    if own.components().any(|component| !matches!(component, Component::Normal(_))) {
        let why = "the runtime's own cgroup is outside of its cgroup namespace: an absolute path \
                   is needed";
        return Err(Error::invalid(FIELD, own, why));
    }
    Ok(root.join(own))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: &str = "/sys/fs/cgroup";

    fn place(path: Option<&str>) -> Result<Place> {
        Place::new("c1", path.map(Path::new))
    }

    fn v1(path: Option<&str>, own: &str) -> String {
        place(path).unwrap().v1(Path::new(ROOT), own).unwrap().display().to_string()
    }

    fn v2(path: Option<&str>, own: &str) -> String {
        place(path).unwrap().v2(Path::new(ROOT), own).unwrap().display().to_string()
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
            let error = place(Some(path)).unwrap_err().to_string();
            assert!(error.starts_with("linux.cgroupsPath: "), "{path:?}: {error}");
        }
        assert!(Place::new("..", None).is_err());
        let outside = place(Some("x")).unwrap();
        assert!(outside.v1(Path::new(ROOT), "/../other").is_err());
        assert!(outside.v2(Path::new(ROOT), "/../../other").is_err());
    }
}
