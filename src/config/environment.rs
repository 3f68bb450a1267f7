//! `process.env`: the variables of a process.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ffi::CString;

use crate::{Error, Result};

/// Parses the environment (environ(7)). The last entry of a name counts, at the position of the
/// first.
pub fn parse(list: &[String]) -> Result<Vec<CString>> {
    let mut env: Vec<CString> = Vec::with_capacity(list.len());
    let mut places = BTreeMap::new();
    for (index, entry) in list.iter().enumerate() {
        let name = assignment(|| format!("process.env[{index}]"), entry)?;
        let text = c_string("process.env", index, entry)?;
        match places.entry(name) {
            Entry::Occupied(place) => env[*place.get()] = text,
            Entry::Vacant(place) => {
                place.insert(env.len());
                env.push(text);
            }
        }
    }
    Ok(env)
}

/// Returns the name in an entry of an environment.
pub fn assignment(field: impl Fn() -> String, entry: &str) -> Result<&str> {
    match entry.split_once('=') {
        Some(("", _)) => Err(Error::invalid(field(), entry, "the name before the \"=\" is empty")),
        Some((name, _)) => Ok(name),
        None => Err(Error::invalid(field(), entry, "must be of the form NAME=value")),
    }
}

/// Sets a variable of `env`; replaces a variable of that name.
pub fn set(env: &mut Vec<CString>, name: &str, value: &str) -> Result<()> {
    let text = format!("{name}={value}");
    let entry = CString::new(text).map_err(|_| Error::invalid(name, value, "holds a NUL byte"))?;
    let is_same = |entry: &&mut CString| {
        entry.to_bytes().strip_prefix(name.as_bytes()).is_some_and(|rest| rest.starts_with(b"="))
    };
    match env.iter_mut().find(is_same) {
        Some(place) => *place = entry,
        None => env.push(entry),
    }
    Ok(())
}

/// Converts the entry `index` of the list `field` to a C string.
pub fn c_string(field: &str, index: usize, text: &str) -> Result<CString> {
    CString::new(text)
        .map_err(|_| Error::invalid(format!("{field}[{index}]"), text, "holds a NUL byte"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_of_two_equal_names_wins() {
        let list: Vec<String> =
            ["A=1", "B=2", "A=3", "C="].iter().map(ToString::to_string).collect();
        let env = parse(&list).unwrap();
        let env: Vec<&str> = env.iter().map(|e| e.to_str().unwrap()).collect();
        assert_eq!(env, ["A=3", "B=2", "C="]);
    }
}
