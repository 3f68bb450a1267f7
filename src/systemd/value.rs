//! Values of all D-Bus types, and the properties of units.

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `y`
    Byte(u8),
    /// `b`
    Bool(bool),
    /// `n`
    I16(i16),
    /// `q`
    U16(u16),
    /// `i`
    I32(i32),
    /// `u`; also the index of a file descriptor (`h`), which systemd never sends.
    U32(u32),
    /// `x`
    I64(i64),
    /// `t`
    U64(u64),
    /// `d`
    F64(f64),
    /// `s`
    Str(String),
    /// `o`
    Path(String),
    /// `g`
    Signature(String),
    /// `a`, with the type of the elements
    Array(String, Vec<Value>),
    /// `(`...`)`, or `{`..`}` in an array of entries.
    Struct(Vec<Value>),
    /// `v`
    Variant(Box<Value>),
}

impl Value {
    /// Returns the signature of the type.
    pub fn signature(&self) -> String {
        let plain = match self {
            Value::Byte(_) => "y",
            Value::Bool(_) => "b",
            Value::I16(_) => "n",
            Value::U16(_) => "q",
            Value::I32(_) => "i",
            Value::U32(_) => "u",
            Value::I64(_) => "x",
            Value::U64(_) => "t",
            Value::F64(_) => "d",
            Value::Str(_) => "s",
            Value::Path(_) => "o",
            Value::Signature(_) => "g",
            Value::Variant(_) => "v",
            Value::Array(element, _) => return format!("a{element}"),
            Value::Struct(fields) => return format!("({})", signature(fields)),
        };
        plain.to_owned()
    }

    /// Creates a string.
    pub fn str(text: impl Into<String>) -> Value {
        Value::Str(text.into())
    }

    /// Creates an array of strings.
    #[cfg(test)]
    pub fn strings<'a>(list: impl IntoIterator<Item = &'a str>) -> Value {
        Value::Array("s".to_owned(), list.into_iter().map(Value::str).collect())
    }

    /// Creates an array of bytes.
    pub fn bytes(list: impl IntoIterator<Item = u8>) -> Value {
        Value::Array("y".to_owned(), list.into_iter().map(Value::Byte).collect())
    }

    /// Returns the text of a string or an object path.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::Str(text) | Value::Path(text) => Some(text),
            _ => None,
        }
    }
}

/// Returns the signature of a sequence of values.
pub fn signature(values: &[Value]) -> String {
    values.iter().map(Value::signature).collect()
}

/// Splits a signature into its first complete type and the rest.
pub fn split(types: &str) -> Option<(&str, &str)> {
    types.split_at_checked(complete(types.as_bytes())?)
}

/// Returns the length of the first complete type (D-Bus Specification, "Type System").
fn complete(types: &[u8]) -> Option<usize> {
    // The bracket that closes each open container, and the number of its types so far.
    let mut open: Vec<(u8, usize)> = Vec::new();
    let mut in_array = false;
    for (at, byte) in types.iter().enumerate() {
        let was_in_array = std::mem::replace(&mut in_array, false);
        match byte {
            b'a' => {
                in_array = true;
                continue;
            }
            b'(' => {
                open.push((b')', 0));
                continue;
            }
            b'{' if was_in_array => {
                open.push((b'}', 0));
                continue;
            }
            b')' | b'}' if was_in_array => return None,
            b')' => open.pop().filter(|(end, count)| *end == b')' && *count > 0).map(drop)?,
            b'}' => open.pop().filter(|(end, count)| *end == b'}' && *count == 2).map(drop)?,
            b'y' | b'b' | b'n' | b'q' | b'i' | b'u' | b'x' | b't' | b'd' | b's' | b'o' | b'g'
            | b'v' | b'h' => {}
            _ => return None,
        }
        match open.last_mut() {
            None => return Some(at + 1),
            // The key of an entry is a plain value.
            Some((b'}', 0)) if was_in_array || matches!(byte, b')' | b'}' | b'v') => return None,
            Some((_, count)) => *count += 1,
        }
    }
    None
}

/// A property of a unit.
#[derive(Debug, Clone, PartialEq)]
pub struct Property {
    /// The name in org.freedesktop.systemd1(5), which can differ from that in a unit file.
    pub name: String,
    pub value: Value,
    /// The first version of systemd that has the property. Older versions do not get it; the
    /// control file is written in any case.
    pub since: u32,
    /// The control file that older versions reset although they lack the property.
    pub reset_file: Option<&'static str>,
}

impl Property {
    /// Creates a property that every systemd has.
    pub fn new(name: &str, value: Value) -> Property {
        Property::since(0, name, value)
    }

    /// Creates a property that systemd has since `version`.
    pub fn since(version: u32, name: &str, value: Value) -> Property {
        Property { name: name.to_owned(), value, since: version, reset_file: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_are_split() {
        assert_eq!(split("a(sv)su"), Some(("a(sv)", "su")));
        assert_eq!(split("(a{sv}y)"), Some(("(a{sv}y)", "")));
        for bad in ["", "a", "(", "(s", ")", "z", "s\u{e9}"] {
            let left = split(bad).map(|(_, rest)| rest);
            assert!(left.is_none() || left == Some("\u{e9}"), "{bad}");
        }
        // A bus closes the connection on these.
        for bad in ["()", "a()", "(a)", "(s}", "a{s)", "{sv}", "({sv})", "a{s}", "a{sss}"] {
            assert_eq!(split(bad), None, "{bad}");
        }
        for bad in ["a{vs}", "a{ass}", "a{(s)s}", "a{a{ss}s}", "a{}"] {
            assert_eq!(split(bad), None, "{bad}");
        }
        assert_eq!(split("aa{s(yv)}s"), Some(("aa{s(yv)}", "s")));
    }
}
