//! What is wrong with a list of CPUs or memory nodes that the kernel refuses: it says `ERANGE` or
//! `EINVAL`, and names none.

use std::collections::BTreeSet;
use std::path::Path;

use crate::{Error, Kind};

/// More than any kernel can have; a list may name as many.
const MOST: u32 = 1 << 16;

/// Ranges that an error shows.
const SHOWN: usize = 8;

/// The error for a refused write of `value` to `file` of the cgroup at `path`; none if the list is not
/// to blame, or the file has no such list.
pub fn explain(path: &Path, field: &'static str, file: &str, value: &str) -> Option<Error> {
    let (what, online) = match file {
        "cpuset.cpus" => ("CPU", "/sys/devices/system/cpu/online"),
        "cpuset.mems" => ("memory node", "/sys/devices/system/node/online"),
        _ => return None,
    };
    let online = parse(&crate::fs::read_text(online).ok()?)?;
    let Some(asked) = parse(value) else {
        let why = format!("is no list of {what}s such as 0-2,5; the host has {}", show(&online));
        return Some(invalid(field, why));
    };
    if let Some(why) = lacks(what, &asked, &online, "does not exist", "the host has") {
        return Some(invalid(field, why));
    }
    // A container has no more than the cgroup above it (v2 says so in the file of what is in effect).
    let above = path.parent()?;
    let names = [format!("{file}.effective"), file.replace('.', ".effective_"), file.to_owned()];
    let above = names.iter().find_map(|name| super::files::read_in(above, name).ok())?;
    let why = lacks(what, &asked, &parse(&above)?, "is not available", "the cgroup above has")?;
    Some(invalid(field, why))
}

fn invalid(field: &str, why: String) -> Error {
    Error::new(Kind::Invalid, why).context(field)
}

fn lacks(
    what: &str,
    asked: &BTreeSet<u32>,
    present: &BTreeSet<u32>,
    problem: &str,
    who: &str,
) -> Option<String> {
    let missing: BTreeSet<u32> = asked.difference(present).copied().collect();
    (!missing.is_empty())
        .then(|| format!("{what} {} {problem}; {who} {}", show(&missing), show(present)))
}

/// A list such as `0-2,5`; none if it is not one.
fn parse(list: &str) -> Option<BTreeSet<u32>> {
    let mut all = BTreeSet::new();
    for range in list.trim().split(',').map(str::trim).filter(|range| !range.is_empty()) {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (u32, u32) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        if first > last {
            return None;
        }
        // One beyond is enough to tell that it does not exist.
        all.extend(first.min(MOST)..=last.min(MOST));
    }
    Some(all)
}

fn show(set: &BTreeSet<u32>) -> String {
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for number in set {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == *number => *last = *number,
            _ => ranges.push((*number, *number)),
        }
    }
    let text = |(first, last): &(u32, u32)| match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    };
    let mut all = ranges.iter().take(SHOWN).map(text).collect::<Vec<_>>().join(",");
    if ranges.len() > SHOWN {
        all.push_str(",...");
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_and_shown() {
        for (list, shown) in [("0-2,5", "0-2,5"), (" 1,0 ", "0-1"), ("", ""), ("3-3", "3")] {
            assert_eq!(show(&parse(list).unwrap()), shown, "{list}");
        }
        let odd = (0..40).map(|n| (n * 2).to_string()).collect::<Vec<_>>().join(",");
        assert_eq!(show(&parse(&odd).unwrap()), "0,2,4,6,8,10,12,14,...");
        for bad in ["2-1", "a", "1-", "0:1", "-1"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
        assert!(parse("0-4294967295").unwrap().len() <= MOST as usize + 1);
    }

    #[test]
    fn what_does_not_exist_is_named() {
        let path = Path::new("/sys/fs/cgroup/x");
        let error = explain(path, "linux.resources.cpu.cpus", "cpuset.cpus", "0,4000-4001");
        let error = error.unwrap().to_string();
        let words = "linux.resources.cpu.cpus: CPU 4000-4001 does not exist; the host has 0";
        assert!(error.starts_with(words), "{error}");
        assert!(explain(path, "x", "cpu.shares", "1").is_none());
    }
}
