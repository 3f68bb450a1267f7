//! Finds the path of the value that caused a parse error, from the position of the error.

use std::borrow::Cow;

use serde_json::error::Category;

/// A step from an object or array to one of its values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step<'a> {
    /// To a member of an object, by its key.
    Member(Cow<'a, str>),
    /// To an element of an array, by its index from 0.
    Element(usize),
}

/// Returns the name of a value in errors, such as `linux.devices[0].path`.
pub fn field(path: &[Step<'_>]) -> String {
    let mut field = String::new();
    for step in path {
        match step {
            Step::Member(key) if field.is_empty() => field.push_str(key),
            Step::Member(key) => field.push_str(&format!(".{key}")),
            Step::Element(index) => field.push_str(&format!("[{index}]")),
        }
    }
    field
}

/// Returns the JSON pointer (RFC 6901) of a value, without the name of the outermost object.
pub fn pointer(path: &[Step<'_>]) -> String {
    let mut pointer = String::new();
    for step in path.iter().skip(1) {
        pointer.push('/');
        match step {
            Step::Member(key) => pointer.push_str(&key.replace('~', "~0").replace('/', "~1")),
            Step::Element(index) => pointer.push_str(&index.to_string()),
        }
    }
    pointer
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
pub fn path<'a>(text: &'a str, error: &serde_json::Error) -> Vec<Step<'a>> {
    let before: usize =
        text.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).sum();
    // The column is the number of bytes consumed, plus one for a syntax error.
    let read = before.saturating_add(error.column());
    match error.classify() {
        Category::Data => scan(text, read, false),
        _ => scan(text, read.saturating_sub(1), true),
    }
}

/// An object or array whose end has not been seen.
enum Open<'a> {
    /// The last key, with its quotes, and whether the next string is a key.
    Object(&'a str, bool),
    /// The number of elements that have begun.
    Array(usize),
}

/// Returns the path of the last value or key that begins before `stop`. A value that begins at
/// `stop` counts if it is an object or array, or if `inclusive` is set.
fn scan(text: &str, stop: usize, inclusive: bool) -> Vec<Step<'_>> {
    let bytes = text.as_bytes();
    let mut open: Vec<Open<'_>> = Vec::new();
    // The number of steps to the last value that began or ended, or to the object of the last key.
    let mut depth = 0;
    let mut at = 0;
    while let Some(byte) = bytes.get(at).filter(|_| at <= stop) {
        let rest = bytes.get(at..).unwrap_or_default();
        let end = at.saturating_add(match byte {
            b'"' => string(rest),
            b'-' | b'0'..=b'9' | b'a'..=b'z' => word(rest),
            _ => 1,
        });
        if at == stop && !inclusive && !matches!(byte, b'{' | b'[') {
            break;
        }
        match (byte, open.last_mut()) {
            (b'}' | b']', _) => {
                open.pop();
                depth = open.len();
            }
            (b',', Some(Open::Object(_, key_is_next))) => *key_is_next = true,
            (b'"', Some(Open::Object(key, key_is_next @ true))) => {
                (*key, *key_is_next) = (text.get(at..end).unwrap_or_default(), false);
                depth = open.len().saturating_sub(1);
            }
            (b'{' | b'[' | b'"' | b'-' | b'0'..=b'9' | b'a'..=b'z', around) => {
                if let Some(Open::Array(begun)) = around {
                    *begun = begun.saturating_add(1);
                }
                depth = open.len();
                match byte {
                    b'{' => open.push(Open::Object("", true)),
                    b'[' => open.push(Open::Array(0)),
                    _ => {}
                }
            }
            // White space, colons, and commas in arrays.
            _ => {}
        }
        at = end;
    }
    let step = |open| match open {
        Open::Array(begun) => Step::Element(begun.saturating_sub(1)),
        Open::Object(key, _) => {
            Step::Member(serde_json::from_str(key).map_or_else(|_| key.into(), Cow::Owned))
        }
    };
    open.into_iter().take(depth).map(step).collect()
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

#[cfg(test)]
#[path = "error_path_tests.rs"]
mod tests;
