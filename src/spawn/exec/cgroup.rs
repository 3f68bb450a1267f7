//! The cgroups of the process: those of the container, those below them that `--cgroup` names, or
//! those that init has moved to.

use std::path::{Component, Path, PathBuf};
use std::str::FromStr;

use nix::errno::Errno;
use serde::{Deserialize, Serialize};

use crate::cgroup::{Cgroup, Record};
use crate::{Context, Error, Result, fs};

/// One `--cgroup`: `PATH`, or `CONTROLLER[,CONTROLLER…]:PATH` for hierarchies of v1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubCgroup {
    /// The controllers; empty: every hierarchy.
    pub controllers: Vec<String>,
    /// The path below the container's own cgroup.
    pub path: PathBuf,
}

impl FromStr for SubCgroup {
    type Err = Error;

    fn from_str(text: &str) -> Result<SubCgroup> {
        let bad = |why: &str| Err(Error::invalid("--cgroup", text, why));
        let (controllers, path) = match text.split_once(':') {
            Some((names, path)) => (names.split(',').map(str::to_owned).collect(), path),
            None => (Vec::new(), text),
        };
        if controllers.iter().any(String::is_empty) {
            return bad("the name of a controller before the \":\" is empty");
        }
        if path.is_empty() {
            return bad("names no cgroup (\"/\" is the container's own)");
        }
        let mut below = PathBuf::new();
        for component in Path::new(path).components() {
            match component {
                Component::Normal(name) => below.push(name),
                Component::RootDir | Component::CurDir => {}
                Component::ParentDir | Component::Prefix(_) => {
                    return bad("bad sub cgroup path: must stay below the container's cgroup");
                }
            }
        }
        Ok(SubCgroup { controllers, path: below })
    }
}

#[derive(Debug)]
pub(super) struct ExecCgroup {
    record: Record,
    /// Whether the cgroups were requested by name, so that no others will do.
    is_explicit: bool,
}

impl ExecCgroup {
    /// Chooses the container's cgroups `own`, or those below them that `asked` names.
    pub fn new(own: &Record, asked: &[SubCgroup]) -> Result<ExecCgroup> {
        Ok(ExecCgroup { record: inside(own, asked)?, is_explicit: !asked.is_empty() })
    }

    /// Opens the cgroups. If the container's v2 cgroup is gone, init's own is used, unless a cgroup
    /// was requested by name.
    pub fn open(&self, init: i32) -> Result<Cgroup> {
        match Cgroup::open(&self.record) {
            Err(error) if error.errno() == Some(Errno::ENOENT) => self.open_of_init(init, error),
            answer => answer,
        }
    }

    /// Opens the cgroup that init is in by now, after `why` has excluded the container's own: the
    /// kernel refuses processes to a v2 cgroup with controllers below it (cgroups(7), "no internal
    /// processes"), so an init that uses controllers has left it.
    pub fn open_of_init(&self, init: i32, why: Error) -> Result<Cgroup> {
        if self.is_explicit {
            return Err(why.context("adding pid of the new process to cgroups"));
        }
        if self.record.unified().is_none() {
            return Err(why);
        }
        let text = fs::read_long_text(&format!("/proc/{init}/cgroup"))?;
        let path = text.lines().find_map(|line| line.strip_prefix("0::")).filter(|path| {
            // "/.." is how the kernel shows a cgroup outside of the cgroup namespace.
            !Path::new(path).components().any(|part| part == Component::ParentDir)
        });
        let Some(path) = path else { return Err(why) };
        let record = self.record.with_unified_at(Path::new(path));
        Cgroup::open(&record).context("the cgroup of the container's init")
    }
}

/// Returns the container's cgroups, with those of `asked` in place of their parents.
fn inside(own: &Record, asked: &[SubCgroup]) -> Result<Record> {
    let mut record = own.clone();
    let mut named: Vec<&str> = Vec::new();
    for sub in asked {
        let text = || sub.path.display().to_string();
        if sub.controllers.is_empty() {
            if asked.len() > 1 {
                let why = "several need a controller each (CONTROLLER:PATH)";
                return Err(Error::invalid("--cgroup", text(), why));
            }
            if own.dirs.is_empty() {
                return Err(Error::invalid("--cgroup", text(), "the container has no cgroup"));
            }
            record.descend(|_| true, &sub.path);
        }
        for controller in &sub.controllers {
            if named.contains(&controller.as_str()) {
                return Err(Error::invalid("--cgroup", controller, "is given twice"));
            }
            named.push(controller);
            let name = format!("name={controller}");
            let has = |option: &str| option == controller || option == name;
            let found = own.dirs.iter().find(|dir| dir.options.iter().any(|o| has(o)));
            let Some(dir) = found else {
                let why = "unknown controller (the container has no cgroup of it)";
                return Err(Error::invalid("--cgroup", controller, why));
            };
            // Controllers that share a hierarchy share its directories, so one descent is enough.
            let target = dir.path.join(&sub.path);
            record.descend(|other| other.path == dir.path, &sub.path);
            if !record.dirs.iter().any(|dir| dir.path == target || sub.path == Path::new("")) {
                let why = "shares its hierarchy with a controller that has another path";
                return Err(Error::invalid("--cgroup", controller, why));
            }
        }
    }
    Ok(record)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_the_option() {
        let parse = |text: &str| text.parse::<SubCgroup>();
        assert_eq!(parse("/").unwrap(), SubCgroup { controllers: vec![], path: "".into() });
        assert_eq!(parse("a/b").unwrap().path, Path::new("a/b"));
        let named = parse("cpu,cpuacct:/x").unwrap();
        assert_eq!(named.controllers, ["cpu", "cpuacct"]);
        assert_eq!(named.path, Path::new("x"));
        for bad in ["", "cpu:", ":x", "cpu,:x", "..", "a/../b", "cpu:../x"] {
            assert!(parse(bad).unwrap_err().to_string().starts_with("--cgroup: "), "{bad}");
        }
    }
}
