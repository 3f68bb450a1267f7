//! Finds the path of the value that caused a parse error, from the position of the error.

use serde_json::error::Category;

/// A step from an object or array to one of its values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// To a member of an object, by its key.
    Member(String),
    /// To an element of an array, by its index from 0.
    Element(usize),
}

/// Returns the path of the value that caused `error`; an empty path means the whole document.
/// `text` is valid JSON, so the error is about a type or a value.
///
/// The parser stops:
/// * after a string, number or literal of the wrong type or value,
/// * before an object or array of the wrong type,
/// * after an object or array that lacks something,
/// * after a key that is given twice; the path is then that of the object,
/// * at a value other than a string if the name of a variant is expected: serde_json calls that a
///   syntax error.
pub fn path(text: &str, error: &serde_json::Error) -> Vec<Step> {
    let before: usize =
        text.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).sum();
    // The column is the number of bytes consumed, plus one for a syntax error.
    let read = before.saturating_add(error.column());
    match error.classify() {
        Category::Data => scan(text, read, false),
        _ => scan(text, read.saturating_sub(1), true),
    }
}

/// Returns the path of the last value or key that begins before `stop`. A value that begins at
/// `stop` counts if it is an object or array, or if `inclusive` is set.
fn scan(text: &str, stop: usize, inclusive: bool) -> Vec<Step> {
    let mut scan = Scan { text, open: Vec::new(), key: "", steps: Vec::new() };
    scan.run(stop, inclusive);
    scan.steps.into_iter().map(step).collect()
}

/// A [`Step`] whose key is as written in the text, with its quotes.
#[derive(Clone, Copy)]
enum Raw<'a> {
    Member(&'a str),
    Element(usize),
}

/// An object or array whose end has not been seen.
enum Open {
    /// Whether its next string is a key.
    Object(bool),
    /// The index of its next element.
    Array(usize),
}

struct Scan<'a> {
    text: &'a str,
    open: Vec<Open>,
    /// The key of the next value, if the value is a member.
    key: &'a str,
    /// The path of the last value that began or ended.
    steps: Vec<Raw<'a>>,
}

impl Scan<'_> {
    fn run(&mut self, stop: usize, inclusive: bool) {
        let bytes = self.text.as_bytes();
        let mut at = 0;
        while let Some(byte) = bytes.get(at).filter(|_| at <= stop) {
            let rest = bytes.get(at..).unwrap_or_default();
            let end = at.saturating_add(match byte {
                b'"' => string(rest),
                b'-' | b'0'..=b'9' | b'a'..=b'z' => word(rest),
                _ => 1,
            });
            if at == stop && !inclusive && !matches!(byte, b'{' | b'[') {
                return;
            }
            match (byte, self.open.last_mut()) {
                (b'{', _) => self.begin(Some(Open::Object(true))),
                (b'[', _) => self.begin(Some(Open::Array(0))),
                (b'}' | b']', _) => {
                    self.open.pop();
                    self.steps.truncate(self.open.len());
                }
                (b',', Some(Open::Object(key))) => *key = true,
                (b',', Some(Open::Array(index))) => *index = index.saturating_add(1),
                (b'"', Some(Open::Object(key))) if *key => {
                    *key = false;
                    self.key = self.text.get(at..end).unwrap_or_default();
                    self.steps.truncate(self.open.len().saturating_sub(1));
                }
                (b'"' | b'-' | b'0'..=b'9' | b'a'..=b'z', _) => self.begin(None),
                // White space and colons.
                _ => {}
            }
            at = end;
        }
    }

    /// Begins a value; `open` is set for an object or array.
    fn begin(&mut self, open: Option<Open>) {
        self.steps.truncate(self.open.len().saturating_sub(1));
        match self.open.last() {
            Some(Open::Object(_)) => self.steps.push(Raw::Member(self.key)),
            Some(Open::Array(index)) => self.steps.push(Raw::Element(*index)),
            None => {}
        }
        self.open.extend(open);
    }
}

/// Returns the length of the string at the start of `bytes`, with its quotes.
fn string(bytes: &[u8]) -> usize {
    let mut at = 1;
    loop {
        match bytes.get(at) {
            Some(b'"') => return at + 1,
            Some(b'\\') => at += 2,
            Some(_) => at += 1,
            None => return bytes.len(),
        }
    }
}

/// Returns the length of the number or literal at the start of `bytes`.
fn word(bytes: &[u8]) -> usize {
    let part = |byte: &u8| byte.is_ascii_alphanumeric() || b"+-.".contains(byte);
    bytes.iter().position(|byte| !part(byte)).unwrap_or(bytes.len())
}

fn step(raw: Raw<'_>) -> Step {
    match raw {
        Raw::Element(index) => Step::Element(index),
        Raw::Member(key) => {
            Step::Member(serde_json::from_str(key).unwrap_or_else(|_| key.to_owned()))
        }
    }
}

#[cfg(test)]
#[path = "error_path_tests.rs"]
mod tests;
