//! `linux.cgroupsPath` for systemd: `slice:prefix:name`.
//!
//! systemd.slice(5), systemd.unit(5).

use std::path::{Path, PathBuf};

use crate::{Error, Result};

const FIELD: &str = "linux.cgroupsPath";

/// The limit of systemd (UNIT_NAME_MAX).
const MAX_NAME: usize = 255;

/// The names of a unit and of its slice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    pub slice: String,
    pub unit: String,
    /// The absolute path of the cgroup below that of the service manager.
    pub path: PathBuf,
}

impl Names {
    /// Parses the path of the configuration. Without a path, names a scope after the container, in
    /// `system.slice`, or with `user` in the `user.slice` of the user's service manager.
    pub fn new(id: &str, cgroups_path: Option<&Path>, user: bool) -> Result<Names> {
        let default = if user { "user.slice" } else { "system.slice" };
        let Some(path) = cgroups_path.filter(|path| !path.as_os_str().is_empty()) else {
            // As systemd-escape(1) does.
            let unit = format!("bulkhead-{}.scope", id.replace('+', "\\x2b"));
            check(&unit).map_err(|why| Error::invalid("container id", id, why))?;
            let path = Path::new("/").join(default).join(&unit);
            return Ok(Names { slice: default.to_owned(), unit, path });
        };
        let bad = |why: &str| Error::invalid(FIELD, path, why);
        let text = path.to_str().ok_or_else(|| bad("is not UTF-8"))?;
        let parts: Vec<&str> = text.split(':').collect();
        let [slice, prefix, name] = parts.as_slice() else {
            return Err(bad("with systemd cgroups it must be slice:prefix:name"));
        };
        let slice = match *slice {
            "" => default,
            "-" => "-.slice",
            slice => slice,
        };
        let dir = expand(slice).map_err(|why| bad(&format!("slice {slice:?}: {why}")))?;
        if name.ends_with(".slice") {
            if *name == "-.slice" {
                // Its limits would apply to the whole host, and delete would try to stop it.
                return Err(bad("must not be the root slice"));
            }
            let path = expand(name).map_err(|why| bad(&format!("name {name:?}: {why}")))?;
            return Ok(Names { slice: slice.to_owned(), unit: (*name).to_owned(), path });
        }
        if name.is_empty() {
            return Err(bad("the name is empty"));
        }
        let unit = match *prefix {
            "" => format!("{name}.scope"),
            prefix => format!("{prefix}-{name}.scope"),
        };
        check(&unit).map_err(|why| bad(&format!("unit {unit:?}: {why}")))?;
        let path = dir.join(&unit);
        Ok(Names { slice: slice.to_owned(), unit, path })
    }

    /// Whether the unit is a slice, into which systemd puts no process.
    pub fn is_slice(&self) -> bool {
        self.unit.ends_with(".slice")
    }
}

/// Returns the path of a slice: `a-b.slice` is below `a.slice`.
fn expand(slice: &str) -> Result<PathBuf, &'static str> {
    let Some(name) = slice.strip_suffix(".slice").filter(|name| !name.is_empty()) else {
        return Err("a slice ends with .slice");
    };
    check(slice)?;
    let mut path = PathBuf::from("/");
    if name == "-" {
        return Ok(path);
    }
    let mut prefix = String::new();
    for part in name.split('-') {
        if part.is_empty() {
            return Err("each dash must have a name on both sides");
        }
        prefix.push_str(part);
        path.push(format!("{prefix}.slice"));
        prefix.push('-');
    }
    Ok(path)
}

/// Checks whether systemd accepts the name of a unit.
pub fn check(unit: &str) -> Result<(), &'static str> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b":-_.\\@".contains(&byte);
    if unit.len() > MAX_NAME {
        return Err("is longer than 255 bytes");
    }
    if !unit.bytes().all(allowed) {
        return Err("only letters, digits and :-_.\\@ are allowed");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(path: &str, user: bool) -> Result<Names> {
        Names::new("c1", Some(Path::new(path)), user)
    }

    #[test]
    fn slice_prefix_and_name() {
        for (path, user, slice, unit, cgroup) in [
            ("system.slice:docker:x", false, "system.slice", "docker-x.scope", "/system.slice/"),
            ("::x", false, "system.slice", "x.scope", "/system.slice/"),
            ("::x", true, "user.slice", "x.scope", "/user.slice/"),
            (
                ":cri-containerd:x",
                false,
                "system.slice",
                "cri-containerd-x.scope",
                "/system.slice/",
            ),
            (
                "kubepods-burstable-pod1_2.slice:crio:x",
                false,
                "kubepods-burstable-pod1_2.slice",
                "crio-x.scope",
                "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1_2.slice/",
            ),
            ("-:p:x", false, "-.slice", "p-x.scope", "/"),
            ("-.slice:p:x", false, "-.slice", "p-x.scope", "/"),
        ] {
            let names = names(path, user).unwrap();
            assert_eq!((names.slice.as_str(), names.unit.as_str()), (slice, unit), "{path}");
            assert_eq!(names.path, Path::new(cgroup).join(unit), "{path}");
            assert!(!names.is_slice());
        }
    }

    #[test]
    fn a_name_may_be_a_slice() {
        let names = names("machine.slice:ignored:machine-a.slice", false).unwrap();
        assert!(names.is_slice());
        assert_eq!(names.unit, "machine-a.slice");
        assert_eq!(names.path, Path::new("/machine.slice/machine-a.slice"));
    }

    #[test]
    fn unset_is_named_after_the_container() {
        for path in [None, Some(Path::new(""))] {
            let names = Names::new("a+b", path, false).unwrap();
            assert_eq!(names.unit, "bulkhead-a\\x2bb.scope");
            assert_eq!(names.slice, "system.slice");
        }
        assert_eq!(Names::new("c", None, true).unwrap().slice, "user.slice");
        assert!(Names::new(&"x".repeat(300), None, false).is_err());
    }

    #[test]
    fn bad_forms_are_refused_by_name_and_value() {
        for path in [
            "/docker/x",
            "a.slice:x",
            "a.slice:b:c:d",
            "a:b:c",
            ".slice:b:c",
            "a/b.slice:b:c",
            "a--b.slice:b:c",
            "-a.slice:b:c",
            "a-.slice:b:c",
            "a.slice:b:",
            "a.slice:b:c/d",
            "a.slice:b:..\n",
            "a.slice:b/c:d",
            "a.slice:b:-.slice",
            "a.slice:b:x--y.slice",
            "a.slice:b:.slice",
            "a.slice:b:c d",
        ] {
            let error = names(path, false).unwrap_err().to_string();
            assert!(error.starts_with("linux.cgroupsPath: \""), "{path:?}: {error}");
        }
        let long = format!("a.slice:b:{}", "x".repeat(250));
        assert!(names(&long, false).unwrap_err().to_string().contains("255"));
    }
}
