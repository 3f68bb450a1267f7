//! Prepares a new cgroup for limits and processes: the controllers of v2, the cpuset lists of v1.

use std::path::Path;

use nix::errno::Errno;

use crate::Result;

use super::dir_plan::DirPlan;
use super::files;

/// Enables controllers for the children of every cgroup above the container's.
pub(super) fn enable(plan: &DirPlan) -> Result<()> {
    let (root, path) = (&plan.dir.root, &plan.dir.path);
    let Some(parent) = path.parent().filter(|_| !plan.wanted.is_empty()) else { return Ok(()) };
    // Children have no more controllers than their parents, so usually this one check is enough.
    if missing(parent, &plan.wanted)?.is_empty() {
        return Ok(());
    }
    let mut above: Vec<&Path> = parent.ancestors().take_while(|dir| *dir != root).collect();
    above.push(root);
    for dir in above.into_iter().rev() {
        enable_in(dir, &missing(dir, &plan.wanted)?, &plan.needed)?;
    }
    Ok(())
}

const SUBTREE: &str = "cgroup.subtree_control";

/// The controllers of threaded cgroups (cgroups(7), "Thread mode").
pub(super) const THREADED: [&str; 3] = ["cpu", "cpuset", "pids"];

fn missing(dir: &Path, wanted: &[String]) -> Result<Vec<String>> {
    let have = files::read_in(dir, SUBTREE)?;
    let has = |name: &String| have.split_ascii_whitespace().any(|have| have == name);
    Ok(wanted.iter().filter(|name| !has(name)).cloned().collect())
}

fn enable_in(dir: &Path, missing: &[String], needed: &[String]) -> Result<()> {
    if missing.is_empty() {
        return Ok(());
    }
    let all = missing.iter().map(|name| format!("+{name}")).collect::<Vec<_>>().join(" ");
    let Err(error) = files::write_in(dir, SUBTREE, &all) else { return Ok(()) };
    // A controller that is not available must not prevent the others. But in a cgroup with
    // processes, each controller that the kernel enables makes the cgroup threaded and its children
    // invalid. So enable only the needed controllers, and first those that the kernel refuses
    // there, before anything has changed.
    let busy = error.errno() == Some(Errno::EBUSY);
    let mut single: Vec<_> = missing.iter().filter(|name| !busy || needed.contains(name)).collect();
    single.sort_by_key(|name| THREADED.contains(&name.as_str()));
    for name in single {
        let Err(error) = files::write_in(dir, SUBTREE, &format!("+{name}")) else { continue };
        if !needed.contains(name) {
            continue;
        }
        let dir = dir.display();
        let why = match error.errno() {
            Some(Errno::EBUSY) => format!(
                "{dir} has processes of its own, so its children cannot be limited; \
                 use another cgroupsPath"
            ),
            Some(Errno::EOPNOTSUPP) => format!(
                "{dir} is threaded, so its children cannot be limited by the controller {name:?}; \
                 use another cgroupsPath"
            ),
            Some(Errno::ENOENT) => {
                format!("the cgroup controller {name:?} is not available in {dir}")
            }
            _ => return Err(error),
        };
        return Err(error.context(why));
    }
    Ok(())
}

/// Fills new cpusets of cgroup v1. They are empty at first, accept no processes, and limit the
/// lists of their children. New cpusets above the container's get the lists of the nearest ancestor
/// with a list; so does the container's, unless the configuration sets its lists.
pub(super) fn fill_cpuset(plan: &DirPlan, new: bool) -> Result<()> {
    let dir = &plan.dir;
    for file in ["cpuset.cpus", "cpuset.mems"] {
        let given = !plan.inherit.contains(&file);
        let mut empty = Vec::new();
        let mut value = String::new();
        let mut above = dir.path.ancestors();
        if given {
            above.next();
        } else if new {
            // Empty, or filled by cgroup.clone_children with the same lists.
            empty.extend(above.next());
        }
        for path in above {
            files::read_in(path, file)?.trim().clone_into(&mut value);
            if !value.is_empty() || path == dir.root {
                break;
            }
            empty.push(path);
        }
        for path in empty.into_iter().rev() {
            files::write_in(path, file, &value)?;
        }
    }
    Ok(())
}
