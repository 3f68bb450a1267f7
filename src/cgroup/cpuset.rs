//! Finds the reason why the kernel refuses a list of CPUs or memory nodes; the kernel only returns
//! `ERANGE` or `EINVAL`.

use std::path::Path;

use crate::list::List;
use crate::{Error, Kind};

/// The number of ranges that an error shows.
const SHOWN: usize = 8;

/// Returns the error for a refused write of `value` to `file` of the cgroup at `path`; `None` if
/// the list is not the cause, or if the file does not hold such a list.
pub fn explain(path: &Path, field: &'static str, file: &str, value: &str) -> Option<Error> {
    let (what, online) = match file {
        "cpuset.cpus" => ("CPU", "/sys/devices/system/cpu/online"),
        "cpuset.mems" => ("memory node", "/sys/devices/system/node/online"),
        _ => return None,
    };
    let invalid = |why: String| Error::new(Kind::Invalid, why).context(field);
    let online = List::parse(crate::fs::read_text(online).ok()?.trim())?;
    let Some(requested) = List::parse(value.trim()) else {
        let online = online.abridged(SHOWN);
        let why = format!("not a list of {what}s such as 0-2,5; the host has {online}");
        return Some(invalid(why));
    };
    let lacks = |present: &List, problem: &str, owner: &str| {
        let missing = requested.without(present);
        let (shown, present) = (missing.abridged(SHOWN), present.abridged(SHOWN));
        let why = format!("{what} {shown} {problem}; {owner} {present}");
        (!missing.is_empty()).then(|| invalid(why))
    };
    if let Some(error) = lacks(&online, "does not exist", "the host has") {
        return Some(error);
    }
    // The cgroup above bounds the list; v2 shows the bound in the file of effective values.
    let above = path.parent()?;
    let names = [format!("{file}.effective"), file.replace('.', ".effective_"), file.to_owned()];
    let above = names.iter().find_map(|name| super::files::read_in(above, name).ok())?;
    lacks(&List::parse(above.trim())?, "is not available", "the cgroup above has")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_cpus_are_named() {
        let path = Path::new("/sys/fs/cgroup/x");
        let error = explain(path, "linux.resources.cpu.cpus", "cpuset.cpus", "0,4000-4001");
        let error = error.unwrap().to_string();
        let start = "linux.resources.cpu.cpus: CPU 4000-4001 does not exist; the host has 0";
        assert!(error.starts_with(start), "{error}");
        assert!(explain(path, "x", "cpu.shares", "1").is_none());
    }
}
