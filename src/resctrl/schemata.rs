//! The lines of a `schemata` file: `L3:0=7f0;1=1f`, `MB:0=20;1=70`.

use std::collections::BTreeMap;
use std::path::Path;

use super::files::{SCHEMATA, read, read_if_any};
use crate::{Error, Result};

/// A line to write, with the name of the field or option that has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schema {
    /// The field, for errors.
    pub field: String,
    /// The line.
    pub line: String,
}

impl Schema {
    /// Refuses a group in `dir` whose limits differ from the line. The group may limit more than the
    /// line does.
    pub fn check_equal(&self, root: &Path, dir: &Path) -> Result<()> {
        let refuse = |why: String| Err(Error::invalid(&self.field, &self.line, why));
        let Some((name, wanted)) = parse(&self.line) else {
            return refuse("not in the form NAME:ID=VALUE;ID=VALUE".to_owned());
        };
        let text = read(dir, SCHEMATA)?;
        let Some(line) = line_of(&text, name) else {
            return refuse(format!("the group {dir:?} exists without a limit of {name}"));
        };
        let step = step(root, name)?;
        let found = parse(line).map(|(_, values)| values).unwrap_or_default();
        let is_equal = |(id, wanted): (&u32, &u64)| {
            found.get(id).is_some_and(|found| {
                wanted == found || wanted.checked_next_multiple_of(step) == Some(*found)
            })
        };
        if wanted.iter().all(is_equal) {
            return Ok(());
        }
        refuse(format!("the group {dir:?} exists with other limits: {line}"))
    }
}

/// Returns the line of the resource `name`.
pub fn line_of<'a>(schemata: &'a str, name: &str) -> Option<&'a str> {
    let is_wanted = |line: &&str| line.split_once(':').is_some_and(|(found, _)| found == name);
    schemata.lines().map(str::trim).find(is_wanted)
}

/// Parses a line: the name of the resource, and its value for each id of a cache. Bandwidth is
/// decimal, a part of a cache a hexadecimal mask.
fn parse(line: &str) -> Option<(&str, BTreeMap<u32, u64>)> {
    let (name, values) = line.trim().split_once(':')?;
    let radix = if is_bandwidth(name) { 10 } else { 16 };
    let value = |part: &str| {
        let (id, value) = part.split_once('=')?;
        let value = value.trim();
        let digits = value.strip_prefix("0x").filter(|_| radix == 16).unwrap_or(value);
        Some((id.trim().parse().ok()?, u64::from_str_radix(digits, radix).ok()?))
    };
    let values = values.split(';').map(value).collect::<Option<_>>()?;
    Some((name, values))
}

fn is_bandwidth(name: &str) -> bool {
    matches!(name, "MB" | "SMBA")
}

/// Returns the number to multiples of which the kernel rounds a bandwidth up.
fn step(root: &Path, name: &str) -> Result<u64> {
    if !is_bandwidth(name) {
        return Ok(1);
    }
    let step = read_if_any(&root.join("info").join(name), "bandwidth_gran")?;
    Ok(step.and_then(|step| step.trim().parse().ok()).filter(|step| *step != 0).unwrap_or(1))
}
