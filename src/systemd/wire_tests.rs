use super::*;

fn every_type() -> Vec<Value> {
    vec![
        Value::Byte(1),
        Value::Bool(true),
        Value::I16(-2),
        Value::U16(3),
        Value::I32(-4),
        Value::U32(5),
        Value::I64(-6),
        Value::U64(u64::MAX),
        Value::F64(0.5),
        Value::str("s\u{e9}"),
        Value::Path("/a".into()),
        Value::Signature("a(yv)".into()),
        Value::strings(["x", ""]),
        Value::bytes([1, 2]),
        Value::Array("t".into(), Vec::new()),
        Value::Struct(vec![Value::Byte(1), Value::U64(2)]),
        Value::Array(
            "{sv}".into(),
            vec![Value::Struct(vec![Value::str("k"), Value::Variant(Box::new(Value::bytes([7])))])],
        ),
        Value::Array("(st)".into(), vec![Value::Struct(vec![Value::str("p"), Value::U64(1)])]),
    ]
}

fn message() -> Message {
    Message {
        kind: CALL,
        serial: 7,
        path: "/org".into(),
        interface: "a.b".into(),
        member: "Do".into(),
        destination: "c.d".into(),
        body: every_type(),
        ..Message::default()
    }
}

#[test]
fn what_is_written_is_read() {
    let bytes = message().encode().unwrap();
    assert_eq!(Message::length(&bytes), Ok(Some(bytes.len())));
    assert_eq!(Message::decode(&bytes).unwrap(), message());
}

// The example of the specification's "Marshaling" section is an array of one 64-bit integer.
#[test]
fn bytes_are_those_of_the_specification() {
    let mut writer = Writer::default();
    writer.value(&Value::Array("x".into(), vec![Value::I64(5)])).unwrap();
    assert_eq!(writer.bytes, [8, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0]);
    let mut writer = Writer::default();
    writer.value(&Value::str("foo")).unwrap();
    writer.value(&Value::Signature("ay".into())).unwrap();
    assert_eq!(writer.bytes, b"\x03\0\0\0foo\0\x02ay\0");
}

#[test]
fn big_endian_is_read() {
    let head = *b"B\x02\x00\x01\x00\x00\x00\x04\x00\x00\x00\x09\x00\x00\x00\x0f";
    let fields = *b"\x05\x01u\x00\x00\x00\x00\x07\x08\x01g\x00\x01u\x00";
    let mut bytes = [&head[..], &fields[..], &[0]].concat();
    bytes.extend([0, 0, 0, 42]);
    let message = Message::decode(&bytes).unwrap();
    assert_eq!((message.kind, message.serial, message.reply_serial), (REPLY, 9, 7));
    assert_eq!(message.body, [Value::U32(42)]);
}

#[test]
fn nothing_that_comes_in_panics() {
    let good = message().encode().unwrap();
    for end in 0..good.len() {
        let _ = Message::length(&good[..end]);
        assert!(Message::decode(&good[..end]).is_err(), "{end}");
    }
    for at in 0..good.len() {
        for byte in [0, 1, 0x7f, 0xff, b'a', b'(', b'v'] {
            let mut bad = good.clone();
            bad[at] = byte;
            let _ = Message::length(&bad);
            let _ = Message::decode(&bad);
        }
    }
    let deep = "a".repeat(100) + "y";
    let mut reader = Reader { bytes: &[b'l'; 1000], at: 0, little: true };
    assert!(reader.value(&deep, 0).is_err());
    let mut reader = Reader { bytes: &[1; 100], at: 0, little: true };
    assert!(reader.value("a()", 0).is_err());
}

#[test]
fn what_cannot_be_said_is_not() {
    let mut long = message();
    long.body = vec![Value::str("x".repeat(MAX_MESSAGE))];
    assert_eq!(long.encode(), None);
    long.body = vec![Value::str("a\0b")];
    assert_eq!(long.encode(), None);
}
