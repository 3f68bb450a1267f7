//! The report as SARIF 2.1.0 (Static Analysis Results Interchange Format), which code hosts show
//! beside the lines of the file.

use serde_json::{Value, json};

use super::report::Report;
use super::rule::{Finding, Severity};
use super::rules;
use crate::text;

const SCHEMA: &str =
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";

/// Returns the log of one run. `source` is the path and the text of the configuration; none for a
/// running container.
pub fn log(report: &Report<'_>, source: Option<(&str, &str)>) -> Value {
    let all: Vec<_> = rules::all().collect();
    let described: Vec<Value> = all
        .iter()
        .map(|rule| {
            json!({
                "id": rule.id,
                "shortDescription": {"text": rule.means},
                "help": {"text": format!("To close it: {}.", rule.change)},
                "defaultConfiguration": {"level": level(rule.severity)},
                "properties": {
                    "tags": ["security"],
                    // What code hosts sort by.
                    "security-severity": score(rule.severity),
                },
            })
        })
        .collect();
    let result = |finding: &Finding| {
        let object = text::one_line(finding.object.clone());
        let separator = if object.is_empty() { "" } else { " " };
        let index = all.iter().position(|rule| rule.id == finding.rule.id);
        json!({
            "ruleId": finding.rule.id,
            "ruleIndex": index,
            "level": level(finding.severity),
            "message": {"text": format!(
                "{}{separator}{object}: {} To close it: {}.",
                finding.place, finding.rule.means, finding.rule.change
            )},
            "locations": [location(finding, source)],
            "properties": {"severity": finding.severity.name()},
        })
    };
    let unread = report.unread.iter().map(|why| {
        let text = format!("not read: {}", text::one_line(why.clone()));
        json!({"level": "warning", "message": {"text": text}})
    });
    json!({
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "bulkhead audit",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": described,
            }},
            "invocations": [{
                "executionSuccessful": true,
                "toolExecutionNotifications": unread.collect::<Vec<_>>(),
            }],
            "columnKind": "unicodeCodePoints",
            "results": report.findings.iter().map(result).collect::<Vec<_>>(),
        }],
    })
}

fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical | Severity::High => "error",
        Severity::Medium => "warning",
        Severity::Low => "note",
    }
}

fn score(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical => "9.5",
        Severity::High => "8.0",
        Severity::Medium => "5.0",
        Severity::Low => "2.0",
    }
}

fn location(finding: &Finding, source: Option<(&str, &str)>) -> Value {
    let place = finding.place.to_string();
    let mut location = json!({"logicalLocations": [{"fullyQualifiedName": place}]});
    if let (Some((path, text)), Some(pointer)) = (source, finding.place.pointer()) {
        location["physicalLocation"] = json!({
            "artifactLocation": {"uri": uri(path)},
            "region": {"startLine": line_of(text, pointer)},
        });
    }
    location
}

/// Returns a path as a URI reference (RFC 3986).
fn uri(path: &str) -> String {
    let mut out = String::new();
    // A relative reference must not look as if it had a scheme.
    if !path.starts_with('/') && path.split('/').next().is_some_and(|first| first.contains(':')) {
        out.push_str("./");
    }
    for byte in path.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'/' | b'-' | b'.' | b'_' | b'~' | b':' => {
                out.push(char::from(byte));
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// Returns the line, from 1 on, on which the member at a JSON pointer begins, or the last object or
/// array on the way to it. `text` is a valid JSON text.
fn line_of(text: &str, pointer: &str) -> usize {
    let mut at = 0;
    for step in pointer.split('/').skip(1) {
        let step = step.replace("~1", "/").replace("~0", "~");
        match child(text, at, &step) {
            Some(next) => at = next,
            None => break,
        }
    }
    let before = text.get(..at).unwrap_or_default();
    1 + before.bytes().filter(|byte| *byte == b'\n').count()
}

/// Returns where the member `step` of the value at `at` begins: its key, or the element.
fn child(text: &str, at: usize, step: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    // From a key to its value.
    let mut at = skip_space(bytes, at);
    if bytes.get(at) == Some(&b'"') {
        let end = skip_value(bytes, at);
        let colon = skip_space(bytes, end);
        if bytes.get(colon) == Some(&b':') {
            at = skip_space(bytes, colon + 1);
        }
    }
    let is_object = match bytes.get(at)? {
        b'{' => true,
        b'[' => false,
        _ => return None,
    };
    let mut index = 0_usize;
    at = skip_space(bytes, at + 1);
    while !matches!(bytes.get(at)?, b'}' | b']') {
        let start = at;
        if is_object {
            let end = skip_value(bytes, at);
            let key: String = serde_json::from_str(text.get(start..end)?).ok()?;
            if key.eq_ignore_ascii_case(step) {
                return Some(start);
            }
            at = skip_space(bytes, skip_space(bytes, end) + 1);
        } else if step.parse() == Ok(index) {
            return Some(start);
        }
        at = skip_space(bytes, skip_value(bytes, at));
        if bytes.get(at) == Some(&b',') {
            at = skip_space(bytes, at + 1);
        }
        index += 1;
    }
    None
}

fn skip_space(bytes: &[u8], at: usize) -> usize {
    let rest = bytes.iter().skip(at);
    at + rest.take_while(|byte| byte.is_ascii_whitespace()).count()
}

/// Returns the end of the value that begins at `at`.
fn skip_value(bytes: &[u8], mut at: usize) -> usize {
    let mut depth = 0_usize;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => {
                at += 1;
                while let Some(byte) = bytes.get(at).filter(|byte| **byte != b'"') {
                    at += if *byte == b'\\' { 2 } else { 1 };
                }
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' if depth == 0 => return at,
            b'}' | b']' => depth -= 1,
            b',' | b':' if depth == 0 => return at,
            _ => {}
        }
        at += 1;
        let next = bytes.get(at);
        let ends = matches!(byte, b'"' | b'}' | b']') || next.is_none_or(u8::is_ascii_whitespace);
        if depth == 0 && ends {
            return at;
        }
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_members() {
        let text = "{\n  \"a\": {\"x\": 1},\n  \"b}\\\"\": [\n    {\"c\": true},\n    [1, 2,\n 3]\n  ],\n\
                    \"LINUX\": {\n\"d\": null}}";
        for (pointer, line) in [
            ("", 1),
            ("/a", 2),
            ("/a/x", 2),
            ("/b}\"", 3),
            ("/b}\"/0/c", 4),
            ("/b}\"/1", 5),
            ("/b}\"/1/2", 6),
            ("/linux/d", 9),
            ("/linux/none", 8),
            ("/none", 1),
            ("/a/x/y", 2),
        ] {
            assert_eq!(line_of(text, pointer), line, "{pointer}");
        }
    }

    #[test]
    fn paths_become_references() {
        assert_eq!(uri("a b/ü.json"), "a%20b/%C3%BC.json");
        assert_eq!(uri("c:x"), "./c:x");
    }
}
