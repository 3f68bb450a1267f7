//! Checks the keys of a text against the table of keys, and corrects their case.
//!
//! The typed parser ignores an unknown key (config.md, "Extensibility"), so a misspelt key would
//! silently remove a control. It reads some missing members as 0, and takes the elements of an array
//! in the place of an object for the members in order.
//!
//! A key that differs only in case is accepted with a warning, since Go's decoder, and so runc,
//! accepts it and such files exist. A key that resembles a known key in another way, or belongs to
//! another object, is ignored with a warning that names the known key.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::error_path::{Step, field, pointer};
use super::keys::{CONFIG, Key, Of};
use super::reparse;
use crate::{Error, Result};

/// Returns the text with every key in the case of the specification. `root` is the path of the
/// outermost object, `keys` its keys. With `strict` there is a warning for every unknown key.
///
/// # Errors
/// If the text is not JSON, an object is of another type, a required member is missing, or a key in
/// another case is written with escapes.
pub fn correct<'a>(
    text: &'a str,
    keys: &'static [Key],
    root: &str,
    strict: bool,
    warnings: &mut Vec<String>,
) -> Result<Cow<'a, str>> {
    let (found, ended) = walk(text, keys, root, strict);
    if let Err(error) = ended {
        return Err(match found.missing {
            Some(field) => Error::invalid_field(field, "missing; the spec requires it"),
            None => reparse::explain(text, &error, root),
        });
    }
    if found.odd.is_empty() {
        return Ok(Cow::Borrowed(text));
    }
    let mut corrected = text.to_owned();
    for Odd { field, name, meant, .. } in found.odd {
        match (meant, name) {
            (None, _) => warnings.push(format!("{field}: ignored: there is no such field")),
            (Some(Meant::Field(known)), _) => warnings.push(format!(
                "{field}: ignored: there is no such field here (did you mean {known:?}?)"
            )),
            (Some(Meant::Key(Key { name: known, .. })), Cow::Borrowed(name)) => {
                let start = (name.as_ptr() as usize).saturating_sub(text.as_ptr() as usize);
                corrected.replace_range(start..start.saturating_add(name.len()), known);
                warnings.push(format!("{field}: taken for {known:?}, as the field is written"));
            }
            (Some(Meant::Key(Key { name: known, .. })), Cow::Owned(_)) => {
                return Err(Error::invalid_field(field, format_args!("write it as {known:?}")));
            }
        }
    }
    Ok(Cow::Owned(corrected))
}

/// A key that is not what its writer meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MisspeltKey {
    /// The JSON pointer of the member.
    pub pointer: String,
    /// The key or, for a key of another object, the field that was probably meant.
    pub meant: String,
    /// Whether only the case differs, so that the runtime reads the member.
    pub is_read: bool,
}

/// Returns the keys of a config.json that resemble a known key or belong to another object. The keys
/// behind a value of a wrong type are not found.
pub fn misspelt(text: &str) -> Vec<MisspeltKey> {
    let (found, _) = walk(text, CONFIG, "", false);
    let keys = found.odd.into_iter().filter_map(|Odd { pointer, meant, .. }| {
        let (meant, is_read) = match meant? {
            Meant::Key(key) => (key.name.to_owned(), true),
            Meant::Field(known) => (known.into_owned(), false),
        };
        Some(MisspeltKey { pointer, meant, is_read })
    });
    keys.collect()
}

/// Walks through the keys of a text. Returns what was found, and the error that ended the walk.
fn walk<'a>(
    text: &'a str,
    keys: &'static [Key],
    root: &str,
    strict: bool,
) -> (Found<'a>, serde_json::Result<()>) {
    let path = vec![Step::Member(Cow::Owned(root.to_owned()))];
    let mut found = Found { path, odd: Vec::new(), missing: None, strict };
    let mut parser = serde_json::Deserializer::from_str(text);
    let walk = Walk { of: Of::Object(keys), found: &mut found };
    let ended = walk.deserialize(&mut parser).and_then(|_| parser.end());
    (found, ended)
}

/// What the writer of an unknown key may have meant.
enum Meant {
    /// This key, which differs only in case.
    Key(&'static Key),
    /// This field, by its name or its path.
    Field(Cow<'static, str>),
}

/// A key that is unknown in its object.
struct Odd<'de> {
    field: String,
    pointer: String,
    name: Cow<'de, str>,
    meant: Option<Meant>,
}

struct Found<'de> {
    path: Vec<Step<'de>>,
    odd: Vec<Odd<'de>>,
    /// The first required member that is missing, which ends the walk.
    missing: Option<String>,
    strict: bool,
}

/// The walk through a value. Returns whether the value is the string `p`.
struct Walk<'a, 'de> {
    of: Of,
    found: &'a mut Found<'de>,
}

#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de> DeserializeSeed<'de> for Walk<'_, 'de> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<bool, D::Error> {
        match self.of {
            Of::Value | Of::Required => IgnoredAny::deserialize(from).map(|_| false),
            // Has a maximum depth, for the readers of the stored text.
            Of::Foreign => serde_json::Value::deserialize(from).map(|_| false),
            _ => from.deserialize_any(self),
        }
    }
}

impl<'de> Visitor<'de> for Walk<'_, 'de> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.of {
            Of::NodeType => "a string",
            Of::Objects(_) => "an array",
            _ => "an object",
        })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<bool, A::Error> {
        let Walk { of, found } = self;
        let (keys, free) = match of {
            Of::Object(keys) => (keys, None),
            Of::Map(keys) => (&[][..], Some(Of::Object(keys))),
            _ => return Err(de::Error::invalid_type(de::Unexpected::Map, &Walk { of, found })),
        };
        let mut missing: Vec<&Key> =
            keys.iter().filter(|key| matches!(key.of, Of::Required)).collect();
        while let Some(Name(name)) = map.next_key()? {
            found.path.push(Step::Member(name.clone()));
            let mut key = keys.iter().find(|key| key.name == name);
            if key.is_none() && free.is_none() {
                let meant = meant(keys, &name);
                if let Some(Meant::Key(known)) = meant {
                    key = Some(known);
                }
                if meant.is_some() || found.strict {
                    let (field, pointer) = (field(&found.path), pointer(&found.path));
                    found.odd.push(Odd { field, pointer, name, meant });
                }
            }
            if let Some(key) = key {
                missing.retain(|missing| missing.name != key.name);
            }
            let of = key.map(|key| key.of).or(free).unwrap_or(Of::Foreign);
            let is_p = map.next_value_seed(Walk { of, found })?;
            if is_p {
                // A FIFO has no device number.
                missing.clear();
            }
            found.path.pop();
        }
        if let Some(key) = missing.first() {
            found.path.push(Step::Member(Cow::Borrowed(key.name)));
            found.missing = Some(field(&found.path));
            return Err(de::Error::missing_field(key.name));
        }
        Ok(false)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<bool, A::Error> {
        let Walk { of, found } = self;
        let Of::Objects(keys) = of else {
            return Err(de::Error::invalid_type(de::Unexpected::Seq, &Walk { of, found }));
        };
        for index in 0.. {
            found.path.push(Step::Element(index));
            let more = list.next_element_seed(Walk { of: Of::Object(keys), found })?;
            found.path.pop();
            if more.is_none() {
                break;
            }
        }
        Ok(false)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<bool, E> {
        match self.of {
            Of::NodeType => Ok(text == "p"),
            _ => Err(E::invalid_type(de::Unexpected::Str(text), &self)),
        }
    }

    /// Leaves null, which often means an absent member, to the typed parser.
    fn visit_unit<E>(self) -> Result<bool, E> {
        Ok(false)
    }
}

fn meant(keys: &'static [Key], name: &str) -> Option<Meant> {
    if let Some(key) = keys.iter().find(|key| key.name.eq_ignore_ascii_case(name)) {
        return Some(Meant::Key(key));
    }
    if let Some(key) = keys.iter().find(|key| resembles(name, key.name)) {
        return Some(Meant::Field(key.name.into()));
    }
    if name.len() < TELLING {
        return None;
    }
    home(CONFIG, name).map(|home| Meant::Field(home.into()))
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
pub fn distance(a: &[char], b: &[char]) -> usize {
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

#[cfg(test)]
#[path = "members_tests.rs"]
mod tests;
