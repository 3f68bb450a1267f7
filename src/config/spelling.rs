//! Finds the keys of a text that are not in the table of keys, and corrects their case.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::keys::{CONFIG, Key, Of};
use crate::{Error, Result};

/// Returns the text with every key in the case of the specification. `root` is the path of the
/// outermost object, `keys` its keys. Returns text that is not JSON unchanged: the parser reports
/// the error.
///
/// # Errors
/// If a key in another case is written with escapes.
pub fn correct<'a>(
    text: &'a str,
    keys: &'static [Key],
    root: &str,
    warnings: &mut Vec<String>,
) -> Result<Cow<'a, str>> {
    let mut found = Found { path: vec![Step::Name(Cow::Borrowed(root))], list: Vec::new() };
    let mut parser = serde_json::Deserializer::from_str(text);
    let walk = Walk { of: Of::Object(keys), found: &mut found };
    if walk.deserialize(&mut parser).is_err() || found.list.is_empty() {
        return Ok(Cow::Borrowed(text));
    }
    let mut corrected = text.to_owned();
    for Odd { field, name, known, differs } in found.list {
        match (differs, name) {
            (Differs::Otherwise | Differs::InPlace, _) => warnings.push(format!(
                "{field}: ignored: there is no such field here (did you mean {known:?}?)"
            )),
            (Differs::InCase, Cow::Borrowed(name)) => {
                let start = (name.as_ptr() as usize).saturating_sub(text.as_ptr() as usize);
                corrected.replace_range(start..start.saturating_add(name.len()), &known);
                warnings.push(format!("{field}: taken for {known:?}, as the field is written"));
            }
            (Differs::InCase, Cow::Owned(_)) => {
                return Err(Error::invalid_field(field, format_args!("write it as {known:?}")));
            }
        }
    }
    Ok(Cow::Owned(corrected))
}

enum Step<'de> {
    Name(Cow<'de, str>),
    Index(usize),
}

enum Differs {
    InCase,
    InPlace,
    Otherwise,
}

/// A key that is unknown in its object: it resembles `known`, or belongs to the object that `known`
/// names.
struct Odd<'de> {
    field: String,
    name: Cow<'de, str>,
    known: Cow<'static, str>,
    differs: Differs,
}

struct Found<'de> {
    path: Vec<Step<'de>>,
    list: Vec<Odd<'de>>,
}

impl<'de> Found<'de> {
    fn add(&mut self, name: Cow<'de, str>, known: Cow<'static, str>, differs: Differs) {
        let mut field = String::new();
        for step in &self.path {
            match step {
                Step::Name(name) if field.is_empty() || name.is_empty() => field.push_str(name),
                Step::Name(name) => field.push_str(&format!(".{name}")),
                Step::Index(index) => field.push_str(&format!("[{index}]")),
            }
        }
        if !field.is_empty() {
            field.push('.');
        }
        field.push_str(&name);
        self.list.push(Odd { field, name, known, differs });
    }
}

/// The walk through a value.
struct Walk<'a, 'de> {
    of: Of,
    found: &'a mut Found<'de>,
}

#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de> DeserializeSeed<'de> for Walk<'_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        match self.of {
            Of::Value | Of::Values | Of::Foreign => IgnoredAny::deserialize(from).map(drop),
            Of::Object(_) | Of::Objects(_) | Of::Map(_) => from.deserialize_any(self),
        }
    }
}

/// Leaves a value of an unexpected type to the parser, which refuses it.
impl<'de> Visitor<'de> for Walk<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let found = self.found;
        while let Some(Name(name)) = map.next_key()? {
            let of = match self.of {
                Of::Object(keys) => match keys.iter().find(|key| key.name == name) {
                    Some(key) => key.of,
                    None => match odd(keys, &name) {
                        Some((known, differs, of)) => {
                            found.add(name.clone(), known, differs);
                            of
                        }
                        None => Of::Value,
                    },
                },
                Of::Map(keys) => Of::Object(keys),
                _ => Of::Value,
            };
            found.path.push(Step::Name(name));
            map.next_value_seed(Walk { of, found })?;
            found.path.pop();
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let of = if let Of::Objects(keys) = self.of { Of::Object(keys) } else { Of::Value };
        let found = self.found;
        for index in 0.. {
            found.path.push(Step::Index(index));
            let more = list.next_element_seed(Walk { of, found })?;
            found.path.pop();
            if more.is_none() {
                break;
            }
        }
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

/// Returns the known key that an unknown key may stand for, and how to read its value.
fn odd(keys: &'static [Key], name: &str) -> Option<(Cow<'static, str>, Differs, Of)> {
    if let Some(key) = keys.iter().find(|key| key.name.eq_ignore_ascii_case(name)) {
        return Some((key.name.into(), Differs::InCase, key.of));
    }
    if let Some(key) = keys.iter().find(|key| resembles(name, key.name)) {
        return Some((key.name.into(), Differs::Otherwise, Of::Value));
    }
    if name.len() < TELLING {
        return None;
    }
    home(CONFIG, name).map(|home| (home.into(), Differs::InPlace, Of::Value))
}

/// The minimum length for a match: shorter names are ambiguous, since an extension may have them
/// too.
const TELLING: usize = 7;

/// Returns the path of the key of that name, outside of lists.
fn home(keys: &'static [Key], name: &str) -> Option<String> {
    if keys.iter().any(|key| key.name == name) {
        return Some(name.to_owned());
    }
    keys.iter().find_map(|key| match key.of {
        Of::Object(keys) => Some(format!("{}.{}", key.name, home(keys, name)?)),
        _ => None,
    })
}

/// Whether `name` may stand for `known`: equal but for the separators, or with one wrong letter
/// (two in a long name).
fn resembles(name: &str, known: &str) -> bool {
    // No key of the specification is longer; a key of a file can be.
    if name.len() > 64 {
        return false;
    }
    let plain = |text: &str| -> Vec<char> {
        let letters = text.chars().filter(|c| !matches!(c, '_' | '-' | '.' | ' '));
        letters.flat_map(char::to_lowercase).collect()
    };
    let (name, known) = (plain(name), plain(known));
    let wrong = match known.len() {
        0..=2 => 0,
        3..=8 => 1,
        _ => 2,
    };
    name.len().abs_diff(known.len()) <= wrong && distance(&name, &known) <= wrong
}

/// Returns the number of letters to insert, remove or replace (Levenshtein distance).
pub(super) fn distance(a: &[char], b: &[char]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (y, cell) in b.iter().zip(row.iter_mut().skip(1)) {
            let replaced = diagonal + usize::from(x != y);
            diagonal = *cell;
            left = replaced.min(left + 1).min(diagonal + 1);
            *cell = left;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or(0)
}
