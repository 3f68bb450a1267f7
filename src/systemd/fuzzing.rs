//! Targets of the fuzzers: messages of a bus, and values in annotations.

use super::annotations::{PREFIX, properties};
use super::gvariant;
use super::names::Names;
use super::value::{Value, signature};
use super::wire::{CALL, Message};
use crate::fuzzing::{Input, assert_one_line, reached};

/// A message from a bus that is not trusted.
pub fn dbus(data: &[u8]) {
    let _ = Message::length(data);
    let Ok(message) = Message::decode(data) else { return };
    let values: usize = message.body.iter().map(count).sum();
    assert!(values <= 64 * data.len(), "{values} values in {} bytes", data.len());
    message.body.iter().for_each(|value| assert_types(value, 0));
    let types = signature(&message.body);
    assert!(types.len() <= 255, "{types}");
    let Some(again) = message.encode() else { return };
    assert_eq!(Message::length(&again), Ok(Some(again.len())));
    let back = Message::decode(&again).unwrap();
    // Debug, because no number equals NaN.
    assert_eq!(format!("{back:?}"), format!("{message:?}"));
    assert_eq!(back.encode().unwrap(), again);
    reached();
    for end in 0..again.len().min(64) {
        assert!(Message::decode(&again[..end]).is_err() || message.body.is_empty());
    }
}

/// Returns how many values a value holds.
fn count(value: &Value) -> usize {
    1 + match value {
        Value::Array(_, list) | Value::Struct(list) => list.iter().map(count).sum(),
        Value::Variant(inner) => count(inner),
        _ => 0,
    }
}

/// Checks that the parts of a value have the types that its signature has.
fn assert_types(value: &Value, depth: usize) {
    assert!(depth <= 64);
    match value {
        Value::Array(element, list) => {
            assert!(is_single(element, true), "{element}");
            for value in list {
                let own = value.signature().replace('h', "u").replace(['{', '('], "<");
                let own = own.replace(['}', ')'], ">");
                let element = element.replace('h', "u").replace(['{', '('], "<");
                assert_eq!(own, element.replace(['}', ')'], ">"));
                assert_types(value, depth + 1);
            }
        }
        Value::Struct(fields) => {
            assert!(!fields.is_empty());
            fields.iter().for_each(|field| assert_types(field, depth + 1));
        }
        Value::Variant(inner) => assert_types(inner, depth + 1),
        _ => {}
    }
}

/// Whether `types` is one complete type by the grammar of the D-Bus Specification, "Signatures";
/// `entry` allows the entry of a dictionary.
fn is_single(types: &str, entry: bool) -> bool {
    one(types.as_bytes(), entry) == Some(types.len())
}

/// Returns the length of the first complete type.
fn one(types: &[u8], entry: bool) -> Option<usize> {
    match types.first()? {
        b'a' => Some(1 + one(&types[1..], true)?),
        b'(' => {
            let mut at = 1;
            while types.get(at) != Some(&b')') {
                at += one(&types[at..], false)?;
            }
            (at > 1).then_some(at + 1)
        }
        b'{' if entry => {
            types.get(1).filter(|key| b"ybnqiuxtdsogh".contains(key))?;
            let value = one(&types[2..], false)?;
            (types.get(2 + value) == Some(&b'}')).then_some(3 + value)
        }
        plain => b"ybnqiuxtdsogvh".contains(plain).then_some(1),
    }
}

/// Whether `types` is a sequence of complete types.
fn is_signature(types: &str) -> bool {
    let mut rest = types.as_bytes();
    while !rest.is_empty() {
        match one(rest, false) {
            Some(length) => rest = &rest[length..],
            None => return false,
        }
    }
    types.len() <= 255
}

/// The text of a value, from an annotation.
pub fn gvariant(data: &[u8]) {
    let mut input = Input::new(data);
    let kind = input.byte();
    let text = String::from_utf8_lossy(input.rest()).into_owned();
    if kind % 4 == 3 {
        return names(&text, kind & 4 != 0);
    }
    if kind % 4 == 2 {
        let (name, value) = text.split_once('\n').unwrap_or((&text, "1"));
        let key = format!("{PREFIX}{name}");
        match properties([(key.as_str(), value)]) {
            Ok(list) => {
                assert_eq!(list.len(), 1);
                assert!(!["PIDs", "PIDFDs", "Slice"].contains(&list[0].name.as_str()));
                assert!(list[0].name.bytes().all(|byte| byte.is_ascii_alphabetic()));
            }
            Err(error) => assert_one_line(&error.to_string()),
        }
        return;
    }
    let value = match gvariant::parse(&text) {
        Ok(value) => value,
        Err(why) => {
            return assert_one_line(&crate::Error::invalid("annotations", &text, why).to_string());
        }
    };
    assert_types(&value, 0);
    let types = value.signature();
    assert!(is_single(&types, false), "{text:?}: {types}");
    assert_texts(&value);
    let printed = print(&value);
    match gvariant::parse(&printed) {
        Ok(back) => assert_eq!(back, value, "{text:?} {printed:?}"),
        // The name of a type counts as a level.
        Err(why) => assert!(why.contains("too deep"), "{text:?} {printed:?}: {why}"),
    }
    // systemd gets it in a message.
    let message = Message { kind: CALL, serial: 1, body: vec![value], ..Message::default() };
    if let Some(bytes) = message.encode() {
        reached();
        assert_eq!(Message::decode(&bytes).unwrap(), message, "{text:?}");
    }
}

/// Checks that a bus accepts the texts: for an invalid one it closes the connection.
fn assert_texts(value: &Value) {
    match value {
        Value::Str(text) => assert!(!text.contains('\0')),
        Value::Path(path) => {
            let bad = |c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '/');
            assert!(path.starts_with('/') && !path.contains(bad) && !path.contains("//"), "{path}");
            assert!(path == "/" || !path.ends_with('/'), "{path}");
        }
        Value::Signature(types) => assert!(is_signature(types), "{types}"),
        Value::Array(_, list) | Value::Struct(list) => list.iter().for_each(assert_texts),
        Value::Variant(inner) => assert_texts(inner),
        Value::F64(number) => assert!(number.is_finite()),
        _ => {}
    }
}

/// Formats a value in the text format, with its type.
fn print(value: &Value) -> String {
    let quoted = |text: &str| {
        let escape = |c: char| match c {
            '\'' | '\\' => format!("\\{c}"),
            c if c.is_control() => format!("\\u{:04x}", u32::from(c)),
            c => c.to_string(),
        };
        format!("'{}'", text.chars().map(escape).collect::<String>())
    };
    match value {
        Value::Byte(number) => format!("byte {number}"),
        Value::Bool(bool) => bool.to_string(),
        Value::I16(number) => format!("int16 {number}"),
        Value::U16(number) => format!("uint16 {number}"),
        Value::I32(number) => format!("int32 {number}"),
        Value::U32(number) => format!("uint32 {number}"),
        Value::I64(number) => format!("int64 {number}"),
        Value::U64(number) => format!("uint64 {number}"),
        Value::F64(number) => format!("double {number:?}"),
        Value::Str(text) => quoted(text),
        Value::Path(text) => format!("objectpath {}", quoted(text)),
        Value::Signature(text) => format!("signature {}", quoted(text)),
        Value::Variant(inner) => format!("<{}>", print(inner)),
        Value::Struct(fields) => {
            format!("({},)", fields.iter().map(print).collect::<Vec<_>>().join(","))
        }
        Value::Array(element, list) if element.starts_with('{') => {
            let pair = |entry: &Value| match entry {
                Value::Struct(pair) => format!("{}: {}", print(&pair[0]), print(&pair[1])),
                other => panic!("{other:?}"),
            };
            let list: Vec<String> = list.iter().map(pair).collect();
            format!("@a{element} {{{}}}", list.join(", "))
        }
        Value::Array(element, list) => {
            format!("@a{element} [{}]", list.iter().map(print).collect::<Vec<_>>().join(", "))
        }
    }
}

/// `linux.cgroupsPath` in the form of systemd.
fn names(text: &str, user: bool) {
    let (id, path) = text.split_once('\n').unwrap_or(("c1", text));
    match Names::new(id, Some(std::path::Path::new(path)), user) {
        Ok(names) => {
            let unit = &names.unit;
            assert!(unit.ends_with(".scope") || unit.ends_with(".slice"), "{text:?}: {unit}");
            assert!(unit != "-.slice" && unit.len() <= 255, "{text:?}");
            assert!(names.path.is_absolute() && names.path.ends_with(unit), "{:?}", names.path);
            let plain = |part| {
                use std::path::Component::{Normal, RootDir};
                matches!(part, Normal(_) | RootDir)
            };
            assert!(names.path.components().all(plain), "{:?}", names.path);
            // systemd derives the place of a slice from its name in the same way.
            let parents = names.path.parent().unwrap().iter().skip(1);
            let mut prefix = String::new();
            for (at, parent) in parents.enumerate() {
                let parent = parent.to_str().unwrap();
                let stem = parent.strip_suffix(".slice").unwrap();
                assert_eq!(stem.split('-').count(), at + 1, "{:?}", names.path);
                assert!(stem.starts_with(&prefix), "{:?}", names.path);
                prefix = format!("{stem}-");
            }
            reached();
            assert!(!names.is_slice() || unit.starts_with(&prefix), "{:?}", names.path);
        }
        Err(error) => assert_one_line(&error.to_string()),
    }
}
