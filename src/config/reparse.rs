//! The slow path of parsing: repairs what the crate cannot represent and parses again, or converts
//! the parser's error into an error that names the field.
//!
//! Runs only after the fast path failed, so speed does not matter.

use oci_spec::runtime::Capability;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_json::error::Category;

use super::error_path::{self, Step};
use crate::{Error, Kind, Result, text};

/// Repairs `text` and parses it again, or converts the parser's `error` into an error that names
/// the field.
///
/// `root` is the path of the outermost object: empty for config.json, `process` for process.json.
pub fn reparse<T: DeserializeOwned>(
    text: &str,
    error: &serde_json::Error,
    root: &str,
    warnings: &mut Vec<String>,
) -> Result<T> {
    let parsed = serde_json::from_str::<Value>(text);
    let mut value = parsed.map_err(|other| match error.classify() {
        Category::Data => syntax(&other),
        _ => syntax(error),
    })?;
    let process = if root.is_empty() { value.get_mut("process") } else { Some(&mut value) };
    let mut repaired = process.is_some_and(|process| repair_process(process, warnings));
    repaired |= repair_hugepages(&mut value);
    if !repaired {
        return Err(invalid(text, error, &value, root));
    }
    let text = value.to_string();
    serde_json::from_str(&text).map_err(|error| invalid(&text, &error, &value, root))
}

/// Returns an error about the JSON syntax, with its line and column.
pub fn syntax(error: &serde_json::Error) -> Error {
    let (line, column) = (error.line(), error.column());
    let message = message(error);
    Error::new(Kind::Invalid, format!("line {line} column {column}: {message}"))
}

/// Returns the message of an error without its position.
fn message(error: &serde_json::Error) -> String {
    let mut message = error.to_string();
    let position = format!(" at line {} column {}", error.line(), error.column());
    if message.ends_with(&position) {
        message.truncate(message.len() - position.len());
    }
    message
}

/// Returns the error in the form `field: value: reason`; `value` is the parsed `text`.
fn invalid(text: &str, error: &serde_json::Error, value: &Value, root: &str) -> Error {
    let message = match error.classify() {
        Category::Data => message(error),
        // The text is valid JSON, so the parser expected a string with the name of a variant.
        _ => "expected a string".to_owned(),
    };
    let mut field = root.to_owned();
    let mut found = Some(value);
    for step in error_path::path(text, error) {
        match step {
            Step::Element(index) => {
                field.push_str(&format!("[{index}]"));
                found = found.and_then(|value| value.get(index));
            }
            Step::Member(key) => {
                push(&mut field, &key);
                found = found.and_then(|value| value.get(key));
            }
        }
    }
    if let Some(name) = between(&message, "missing field `", "`") {
        push(&mut field, name);
        let why = format!("{}missing; the spec requires it", runc_prefix(&field));
        return Error::invalid_field(field, why);
    }
    if let Some(name) = between(&message, "duplicate field `", "`") {
        if !(field == name || field.ends_with(&format!(".{name}"))) {
            push(&mut field, name);
        }
        return Error::invalid_field(field, "given twice");
    }
    let why = match message.find("expected ").and_then(|at| message.get(at..)) {
        Some(expected) => expected,
        None => &*message,
    };
    let why = format!("{}{why}", runc_prefix(&field));
    if field.is_empty() {
        return Error::new(Kind::Invalid, why);
    }
    match found {
        // The value as written in the file.
        Some(value) => Error::invalid(field, format_args!("{value}"), why),
        None => Error::invalid_field(field, why),
    }
}

/// Returns the text that runc begins an error about this field with; scripts search for it.
fn runc_prefix(field: &str) -> &'static str {
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

/// Repairs `process`. Returns whether anything changed.
fn repair_process(process: &mut Value, warnings: &mut Vec<String>) -> bool {
    let mut repaired = false;
    if let Some(Value::Object(sets)) = process.get_mut("capabilities") {
        for (set, names) in sets.iter_mut() {
            let Value::Array(names) = names else { continue };
            let before = names.len();
            let mut index = 0_usize;
            names.retain(|name| {
                // Only a string can be an unknown capability; a number is an error.
                let known = !name.is_string() || Capability::deserialize(name).is_ok();
                if !known {
                    let field = format!("process.capabilities.{set}[{index}]");
                    let shown = text::value(&format_args!("{name}"));
                    warnings.push(format!("{field}: {shown}: unknown capability, dropped"));
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

/// The limit is unsigned in the specification and signed in the crate; no kernel counts further.
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
