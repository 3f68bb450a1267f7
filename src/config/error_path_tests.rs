use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::*;

/// A document with the kinds of values that a configuration has.
#[derive(Debug, Deserialize)]
#[allow(dead_code)]
struct Document {
    name: Option<String>,
    number: Option<i32>,
    flag: Option<bool>,
    kind: Option<Kind>,
    list: Option<Vec<String>>,
    table: Option<Vec<Vec<u8>>>,
    free: Option<BTreeMap<String, u8>>,
    inner: Option<Box<Document>>,
    many: Option<Vec<Entry>>,
    pair: Option<(u8, u8)>,
}

#[derive(Debug, Deserialize)]
#[allow(dead_code)]
struct Entry {
    id: u8,
    sub: Option<Box<Entry>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Known,
}

/// Returns the path of the error of parsing `text`, in the notation of the error messages.
fn place<T: DeserializeOwned>(text: &str) -> String {
    let Err(error) = serde_json::from_str::<T>(text) else { panic!("{text} was taken") };
    assert!(serde_json::from_str::<serde_json::Value>(text).is_ok(), "{text}: {error}");
    let mut field = String::new();
    for step in path(text, &error) {
        match step {
            Step::Member(key) => field.push_str(&format!(".{key}")),
            Step::Element(index) => field.push_str(&format!("[{index}]")),
        }
    }
    field
}

/// Returns `text` unchanged, on one line, and with white space wherever JSON allows it.
fn everywhere(text: &str, expected: &str) {
    let mut wide = String::from("\n ");
    let (mut quoted, mut escaped) = (false, false);
    for c in text.chars() {
        let structure = !quoted && "{}[],:".contains(c);
        if structure {
            wide.push_str(" \r\n\t");
        }
        wide.push(c);
        if structure {
            wide.push_str("\n\n ");
        }
        (quoted, escaped) = (quoted != (c == '"' && !escaped), c == '\\' && !escaped);
    }
    assert_eq!(place::<Document>(text), expected, "{text}");
    assert_eq!(place::<Document>(&wide), expected, "{wide}");
}

#[test]
fn values_of_the_wrong_type() {
    let wrong = [
        ("name", "5 -5 1.5 true [] {} [\"a\"] {\"a\":1}"),
        ("number", "\"\" \"5\" 1.5 1e3 true false [] [1] {} 2147483648 -2147483649"),
        ("flag", "0 \"true\" [] {}"),
        ("kind", "\"other\" 5 -15 1.5 true {} {\"a\":1} [] [1] [[]] [{}] [\"known\"]"),
        ("list", "\"a\" 5 {} {\"a\":[1]} true"),
        ("free", "[] 5 \"a\""),
        ("inner", "5 \"a\" true"),
    ];
    for (key, values) in wrong {
        for value in values.split(' ') {
            everywhere(&format!("{{\"{key}\":{value}}}"), &format!(".{key}"));
            let text = format!(
                "{{\"x\":[{{}},[[]]],\"name\":\"n\",\"inner\":{{\"list\":[\"a\",\"b\"],\"{key}\":\
                 {value},\"y\":1}},\"z\":{{}}}}"
            );
            if key != "list" {
                everywhere(&text, &format!(".inner.{key}"));
            }
        }
    }
}

#[test]
fn elements() {
    everywhere(r#"{"list":["a",5]}"#, ".list[1]");
    everywhere(r#"{"list":[null]}"#, ".list[0]");
    everywhere(r#"{"list":["a","b",["c"],"d"]}"#, ".list[2]");
    everywhere(r#"{"list":["a",{}]}"#, ".list[1]");
    everywhere(r#"{"table":[[],[1,2],[3,300]]}"#, ".table[2][1]");
    everywhere(r#"{"table":[[],[1,2],3]}"#, ".table[2]");
    everywhere(r#"{"table":[[[]]]}"#, ".table[0][0]");
    everywhere(r#"{"pair":[1]}"#, ".pair");
    everywhere(r#"{"pair":[1,"a"]}"#, ".pair[1]");
    everywhere(r#"{"many":[{"id":1},{"id":2,"sub":{"id":-3}}]}"#, ".many[1].sub.id");
    everywhere(r#"{"many":[{"id":1},7]}"#, ".many[1]");
}

#[test]
fn missing_members() {
    everywhere(r#"{"many":[{}]}"#, ".many[0]");
    everywhere(r#"{"many":[{"id":1},{"sub":null},{"id":1}]}"#, ".many[1]");
    everywhere(r#"{"many":[{"id":1,"sub":{"x":{"id":[1]}}}]}"#, ".many[0].sub");
    everywhere(r#"{"inner":{"many":[{"id":1,"sub":{}}]},"name":"n"}"#, ".inner.many[0].sub");
    assert_eq!(place::<Entry>("{}"), "");
    assert_eq!(place::<Entry>(" \n{\"sub\":null}\n\n"), "");
}

#[test]
fn keys_given_twice() {
    everywhere(r#"{"name":"a","name":"b"}"#, "");
    everywhere(r#"{"inner":{"list":[],"list":5}}"#, ".inner");
    everywhere(r#"{"many":[{"id":1},{"id":1,"id":2}]}"#, ".many[1]");
}

#[test]
fn enumerations() {
    everywhere(r#"{"kind":{"other":1}}"#, ".kind");
    everywhere(r#"{"list":["a"],"kind":{"known":[1,{}]},"name":5}"#, ".kind.known");
}

#[test]
fn keys_and_strings_with_escapes() {
    everywhere(r#"{"free":{"a\"b":1,"c\\":300}}"#, ".free.c\\");
    everywhere(r#"{"free":{"\u0061{[,:\"}":true}}"#, ".free.a{[,:\"}");
    everywhere(r#"{"name":"\\\"},{","number":"\\"}"#, ".number");
    everywhere(r#"{"name":"é🦀","free":{"ключ":-1}}"#, ".free.ключ");
    everywhere(r#"{"free":{"":[]}}"#, ".free.");
}

#[test]
fn the_document_itself() {
    for text in ["5", "\"a\"", " null ", "true", "\n-1.5e+3"] {
        assert_eq!(place::<Document>(text), "");
        assert_eq!(scan(text, text.len(), false), []);
    }
    assert_eq!(place::<Vec<u8>>("\n {}"), "");
    assert_eq!(place::<Vec<u8>>("[1,\n[]]"), "[1]");
}

/// Positions that no parser reports, and text that is not JSON, yield a path too.
#[test]
fn any_text_and_position() {
    for text in ["", "{", "[", "\"", "\"\\", "}", "]]", ",", "{\"a\"", "{,}", "[,,{\"a\":\"é\\"] {
        for stop in [0, 1, 2, 3, 5, 100, usize::MAX] {
            for inclusive in [false, true] {
                let _ = scan(text, stop, inclusive);
            }
        }
    }
}
