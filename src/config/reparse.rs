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
    let Ok(mut value) = serde_json::from_str::<Value>(text) else {
        return Err(explain(text, error, root));
    };
    let process = if root.is_empty() { value.get_mut("process") } else { Some(&mut value) };
    let mut repaired = process.is_some_and(|process| repair_process(process, warnings));
    repaired |= repair_hugepages(&mut value);
    if !repaired {
        return Err(explain(text, error, root));
    }
    let text = value.to_string();
    serde_json::from_str(&text).map_err(|error| explain(&text, &error, root))
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

/// Converts an error of the parser: into the form `field: value: reason`, or, if `text` is not
/// JSON, into an error with its line and column.
pub fn explain(text: &str, error: &serde_json::Error, root: &str) -> Error {
    let value: Value = match serde_json::from_str(text) {
        Ok(value) => value,
        Err(syntax) => {
            let error = if error.is_data() { &syntax } else { error };
            let (line, column) = (error.line(), error.column());
            let why = format!("line {line} column {column}: {}", message(error));
            return Error::new(Kind::Invalid, why);
        }
    };
    let message = match error.classify() {
        Category::Data => message(error),
        // The text is valid JSON, so the parser expected a string with the name of a variant.
        _ => "expected a string".to_owned(),
    };
    let mut path = error_path::path(text, error);
    let found = path.iter().try_fold(&value, |value, step| match step {
        Step::Element(index) => value.get(index),
        Step::Member(key) => value.get(&**key),
    });
    let between = |start| Some(message.strip_prefix(start)?.split_once('`')?.0);
    let (missing, twice) = (between("missing field `"), between("duplicate field `"));
    if let Some(name) = missing.or(twice)
        && !(twice.is_some() && path.last() == Some(&Step::Member(name.into())))
    {
        path.push(Step::Member(name.into()));
    }
    path.splice(..0, (!root.is_empty()).then(|| Step::Member(root.into())));
    let field = error_path::field(&path);
    let prefix = runc_prefix(&field);
    if missing.is_some() {
        return Error::invalid_field(field, format!("{prefix}missing; the spec requires it"));
    }
    if twice.is_some() {
        return Error::invalid_field(field, "given twice");
    }
    let expected = message.find("expected ").and_then(|at| message.get(at..));
    let why = format!("{prefix}{}", expected.unwrap_or(&message));
    match found {
        _ if field.is_empty() => Error::new(Kind::Invalid, why),
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
