use super::*;

#[test]
fn values() {
    let entry = |key: &str, value: Value| Value::Struct(vec![Value::str(key), value]);
    for (text, value) in [
        ("true", Value::Bool(true)),
        (" boolean false ", Value::Bool(false)),
        ("1", Value::I32(1)),
        ("-5", Value::I32(-5)),
        ("+5", Value::I32(5)),
        ("0x1F", Value::I32(31)),
        ("017", Value::I32(15)),
        ("0", Value::I32(0)),
        ("1.5", Value::F64(1.5)),
        ("1e3", Value::F64(1000.0)),
        ("double 2", Value::F64(2.0)),
        ("byte 0xff", Value::Byte(255)),
        ("int16 -3", Value::I16(-3)),
        ("uint16 3", Value::U16(3)),
        ("uint32 4294967295", Value::U32(u32::MAX)),
        ("int64 -9223372036854775808", Value::I64(i64::MIN)),
        ("uint64 18446744073709551615", Value::U64(u64::MAX)),
        ("'a b'", Value::str("a b")),
        ("\"it's\"", Value::str("it's")),
        (r"'a\'\n\u00e9\\'", Value::str("a'\n\u{e9}\\")),
        ("string 'x'", Value::str("x")),
        ("objectpath '/a/b_1'", Value::Path("/a/b_1".into())),
        ("signature 'a(sv)'", Value::Signature("a(sv)".into())),
        ("@t 5", Value::U64(5)),
        ("['a', 'b']", Value::strings(["a", "b"])),
        ("@as []", Value::strings([])),
        ("[uint64 1, 2]", Value::Array("t".into(), vec![Value::U64(1), Value::U64(2)])),
        ("(1, 'a')", Value::Struct(vec![Value::I32(1), Value::str("a")])),
        ("(1,)", Value::Struct(vec![Value::I32(1)])),
        (
            "@a(st) [('/dev/x', 5)]",
            Value::Array(
                "(st)".into(),
                vec![Value::Struct(vec![Value::str("/dev/x"), Value::U64(5)])],
            ),
        ),
        ("<1>", Value::Variant(Box::new(Value::I32(1)))),
        ("{'a': 1}", Value::Array("{si}".into(), vec![entry("a", Value::I32(1))])),
        ("@a{sv} {}", Value::Array("{sv}".into(), Vec::new())),
        (
            "{'a': <true>}",
            Value::Array(
                "{sv}".into(),
                vec![entry("a", Value::Variant(Box::new(Value::Bool(true))))],
            ),
        ),
        (r"b'a\1013'", Value::bytes([b'a', 0o101, b'3', 0])),
    ] {
        assert_eq!(parse(text), Ok(value), "{text}");
    }
}

#[test]
fn nonsense_is_refused() {
    let deep = "[".repeat(1000);
    for text in [
        "",
        " ",
        "yes",
        "'a",
        "\"a'",
        "a",
        "[",
        "[1",
        "[1,",
        "[1 2]",
        "[]",
        "[1, 'a']",
        "(",
        "()",
        "{",
        "{}",
        "{1}",
        "{1:}",
        "{[1]: 2}",
        "<1",
        "<",
        "@",
        "@z 1",
        "@as 1",
        "@s 1",
        "byte 256",
        "byte -1",
        "uint32 -1",
        "int16 40000",
        "uint64 'x'",
        "3000000000",
        "1 2",
        "0x",
        "0xg",
        "--1",
        "-+1",
        "1.2.3",
        "inf",
        "nan",
        "1e999",
        "09",
        "byte",
        "uint64",
        "objectpath 'a'",
        "objectpath '/a/'",
        "signature 'z'",
        "signature '('",
        r"'\u12'",
        r"'\ud800'",
        "'\0'",
        r"b'\777'",
        "b'x",
        "true false",
        "just 1",
        "nothing",
        &deep,
    ] {
        assert!(parse(text).is_err(), "{text:?} is {:?}", parse(text));
    }
}

#[test]
fn nothing_panics() {
    let good = "@a{sv} {'a': <[uint64 1, 0x2]>, \"\\u00e9\": <b'x\\101'>, 'c': <(1, -2.5e3)>}";
    assert!(parse(good).is_ok());
    for (at, _) in good.char_indices() {
        let _ = parse(&good[..at]);
        let _ = parse(&good[at..]);
    }
}
