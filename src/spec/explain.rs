//! Why a text did not parse, and the few things the crate's types are wrong about.
//!
//! Only runs after the fast path failed, so it may be slow and thorough.

use oci_spec::runtime::Capability;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_json::error::Category;
use serde_path_to_error::{Path, Segment};

use crate::{Error, Kind, Result, text};

/// Parses once more, minding the path to what fails; repairs what the crate is wrong about.
///
/// `root` is the path of the text's own object: empty for config.json, `process` for
/// process.json.
pub fn explain<T: DeserializeOwned>(
    text: &str,
    root: &str,
    warnings: &mut Vec<String>,
) -> Result<T> {
    let mut parser = serde_json::Deserializer::from_str(text);
    let error = match serde_path_to_error::deserialize::<_, T>(&mut parser) {
        Ok(value) => return parser.end().map(|()| value).map_err(|error| syntax(&error)),
        Err(error) => error,
    };
    if error.inner().classify() != Category::Data {
        return Err(syntax(error.inner()));
    }
    let mut value: Value = serde_json::from_str(text).map_err(|error| syntax(&error))?;
    let process = if root.is_empty() { value.get_mut("process") } else { Some(&mut value) };
    let mut repaired = process.is_some_and(|process| repair_process(process, warnings));
    repaired |= repair_hugepages(&mut value);
    if repaired {
        serde_path_to_error::deserialize(&value)
            .map_err(|error| invalid(error.path(), &error.inner().to_string(), &value, root))
    } else {
        // The position is of no use beside the path.
        let message = error.inner().to_string();
        let position =
            format!(" at line {} column {}", error.inner().line(), error.inner().column());
        let message = message.strip_suffix(&position).unwrap_or(&message);
        Err(invalid(error.path(), message, &value, root))
    }
}

/// An error in the JSON itself, with its place.
pub fn syntax(error: &serde_json::Error) -> Error {
    let (line, column) = (error.line(), error.column());
    let message = error.to_string();
    let position = format!(" at line {line} column {column}");
    let message = message.strip_suffix(&position).unwrap_or(&message);
    Error::new(Kind::Invalid, format!("line {line} column {column}: {message}"))
}

/// Puts serde's message into the form `field: value: why`.
fn invalid(path: &Path, message: &str, value: &Value, root: &str) -> Error {
    let mut field = root.to_owned();
    let mut found = Some(value);
    for segment in path.iter() {
        match segment {
            Segment::Seq { index } => {
                field.push_str(&format!("[{index}]"));
                found = found.and_then(|value| value.get(index));
            }
            Segment::Map { key } => {
                push(&mut field, key);
                found = found.and_then(|value| value.get(key));
            }
            Segment::Enum { .. } | Segment::Unknown => {}
        }
    }
    if let Some(name) = between(message, "missing field `", "`") {
        push(&mut field, name);
        let why = format!("{}missing; the spec requires it", familiar(&field));
        return Error::invalid_field(field, why);
    }
    if let Some(name) = between(message, "duplicate field `", "`") {
        if !(field == name || field.ends_with(&format!(".{name}"))) {
            push(&mut field, name);
        }
        return Error::invalid_field(field, "given twice");
    }
    let why = match message.find("expected ").and_then(|at| message.get(at..)) {
        Some(expected) => expected,
        None => message,
    };
    let why = format!("{}{why}", familiar(&field));
    if field.is_empty() {
        return Error::new(Kind::Invalid, why);
    }
    match found {
        Some(value) => Error::new(Kind::Invalid, format!("{field}: {}: {why}", shown(value))),
        None => Error::invalid_field(field, why),
    }
}

/// The words of runc for an error about this field, for which scripts look.
fn familiar(field: &str) -> &'static str {
    let policy = field.strip_prefix("linux.memoryPolicy.").unwrap_or_default();
    match policy.split('[').next() {
        Some("mode") => "invalid memory policy mode: ",
        Some("nodes") => "invalid memory policy nodes: ",
        Some("flags") => "invalid memory policy flag: ",
        _ => "",
    }
}

fn push(field: &mut String, name: &str) {
    if !field.is_empty() {
        field.push('.');
    }
    field.push_str(name);
}

fn between<'a>(text: &'a str, start: &str, end: &str) -> Option<&'a str> {
    Some(text.strip_prefix(start)?.split_once(end)?.0)
}

fn shown(value: &Value) -> String {
    // The value as it is written in the file.
    text::value(&format_args!("{value}"))
}

/// Repairs what the crate is wrong about in `process`; tells whether anything changed.
fn repair_process(process: &mut Value, warnings: &mut Vec<String>) -> bool {
    let mut repaired = false;
    if let Some(Value::Object(sets)) = process.get_mut("capabilities") {
        for (set, names) in sets.iter_mut() {
            let Value::Array(names) = names else { continue };
            let before = names.len();
            let mut index = 0_usize;
            names.retain(|name| {
                // Only a name can be an unknown capability; a number is an error.
                let known = !name.is_string() || Capability::deserialize(name).is_ok();
                if !known {
                    let field = format!("process.capabilities.{set}[{index}]");
                    warnings.push(format!("{field}: {}: unknown capability, dropped", shown(name)));
                }
                index += 1;
                known
            });
            repaired |= names.len() != before;
        }
    }
    if let Some(Value::Array(flags)) = process.pointer_mut("/scheduler/flags") {
        for flag in flags {
            let crate_name = match flag.as_str() {
                Some("SCHED_FLAG_RESET_ON_FORK") => "SCHED_RESET_ON_FORK",
                Some("SCHED_FLAG_DL_OVERRUN") => "SCHED_FLAG_D_L_OVERRUN",
                _ => continue,
            };
            *flag = Value::from(crate_name);
            repaired = true;
        }
    }
    repaired
}

/// The spec's limit is unsigned, the crate's is signed; the kernel counts no further anyway.
fn repair_hugepages(config: &mut Value) -> bool {
    let Some(Value::Array(limits)) = config.pointer_mut("/linux/resources/hugepageLimits") else {
        return false;
    };
    let mut repaired = false;
    for limit in limits.iter_mut().filter_map(|entry| entry.get_mut("limit")) {
        if limit.as_u64().is_some_and(|bytes| bytes > i64::MAX as u64) {
            *limit = Value::from(i64::MAX);
            repaired = true;
        }
    }
    repaired
}
