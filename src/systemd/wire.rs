//! The wire format of messages. Messages are written in little-endian byte order and read in either
//! order; the input is not trusted.
//!
//! D-Bus Specification, "Type System" and "Message Protocol".

use super::value::{Value, signature, split};

/// The maximum length of a message. Answers of systemd are much shorter; the protocol allows 128
/// MiB.
const MAX_MESSAGE: usize = 4 << 20;

/// The maximum nesting of containers (the specification: 32 arrays and 32 structures).
const MAX_DEPTH: usize = 64;

// The types of messages.
pub const CALL: u8 = 1;
pub const REPLY: u8 = 2;
pub const ERROR: u8 = 3;
pub const SIGNAL: u8 = 4;

/// The flag of a call that needs no answer.
pub const NO_REPLY: u8 = 1;

/// A value read from the input, or the description of an invalid input.
type Read<T> = Result<T, &'static str>;

const PATH: u8 = 1;
const INTERFACE: u8 = 2;
const MEMBER: u8 = 3;
const ERROR_NAME: u8 = 4;
const REPLY_SERIAL: u8 = 5;
const DESTINATION: u8 = 6;
const SIGNATURE: u8 = 8;

/// A message, with the header fields that this program needs.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Message {
    /// [`CALL`], [`REPLY`], [`ERROR`] or [`SIGNAL`].
    pub kind: u8,
    /// [`NO_REPLY`] or 0.
    pub flags: u8,
    /// The number of the message on its connection.
    pub serial: u32,
    /// The number of the call that a reply or an error answers.
    pub reply_serial: u32,
    pub path: String,
    pub interface: String,
    pub member: String,
    pub error: String,
    pub destination: String,
    pub body: Vec<Value>,
}

impl Message {
    /// Encodes the message. `None` if a part is longer than the protocol allows.
    pub fn encode(&self) -> Option<Vec<u8>> {
        let mut body = Writer::default();
        for value in &self.body {
            body.value(value)?;
        }
        let types = signature(&self.body);
        let mut fields = Vec::new();
        let mut field = |code: u8, value: Value| {
            fields.push(Value::Struct(vec![Value::Byte(code), Value::Variant(Box::new(value))]));
        };
        if !self.path.is_empty() {
            field(PATH, Value::Path(self.path.clone()));
        }
        for (code, text) in [
            (INTERFACE, &self.interface),
            (MEMBER, &self.member),
            (ERROR_NAME, &self.error),
            (DESTINATION, &self.destination),
        ] {
            if !text.is_empty() {
                field(code, Value::str(text));
            }
        }
        if self.reply_serial != 0 {
            field(REPLY_SERIAL, Value::U32(self.reply_serial));
        }
        if !types.is_empty() {
            field(SIGNATURE, Value::Signature(types));
        }
        let mut out = Writer::default();
        out.bytes.extend([b'l', self.kind, self.flags, 1]);
        out.value(&Value::U32(u32::try_from(body.bytes.len()).ok()?))?;
        out.value(&Value::U32(self.serial))?;
        out.value(&Value::Array("(yv)".to_owned(), fields))?;
        out.align(8);
        out.bytes.extend(body.bytes);
        (out.bytes.len() <= MAX_MESSAGE).then_some(out.bytes)
    }

    /// Returns the length of the message that begins with `bytes`; `None` if more bytes are needed
    /// to compute it.
    pub fn length(bytes: &[u8]) -> Read<Option<usize>> {
        let Some(head) = bytes.get(..16) else { return Ok(None) };
        let mut reader = Reader::new(head)?;
        reader.at = 4;
        let too_long = "a message that is too long";
        let (body, _, fields) = (reader.u32()?, reader.u32()?, reader.u32()?);
        let size = |number: u32| usize::try_from(number).map_err(|_| too_long);
        let head = size(fields)?.checked_add(16 + 7).ok_or(too_long)? & !7;
        match head.checked_add(size(body)?) {
            Some(total) if total <= MAX_MESSAGE => Ok(Some(total)),
            _ => Err(too_long),
        }
    }

    /// Decodes a complete message.
    pub fn decode(bytes: &[u8]) -> Read<Message> {
        let mut reader = Reader::new(bytes)?;
        reader.at = 1;
        let mut message =
            Message { kind: reader.byte()?, flags: reader.byte()?, ..Message::default() };
        reader.at = 8;
        message.serial = reader.u32()?;
        let mut types = String::new();
        let (Value::Array(_, fields), _) = reader.value("a(yv)", 0)? else {
            return Err("a message without header");
        };
        for field in fields {
            let Value::Struct(mut pair) = field else { continue };
            let (Some(Value::Variant(value)), Some(Value::Byte(code))) = (pair.pop(), pair.pop())
            else {
                continue;
            };
            match (code, *value) {
                (PATH, Value::Path(text)) => message.path = text,
                (INTERFACE, Value::Str(text)) => message.interface = text,
                (MEMBER, Value::Str(text)) => message.member = text,
                (ERROR_NAME, Value::Str(text)) => message.error = text,
                (DESTINATION, Value::Str(text)) => message.destination = text,
                (REPLY_SERIAL, Value::U32(number)) => message.reply_serial = number,
                (SIGNATURE, Value::Signature(text)) => types = text,
                _ => {}
            }
        }
        reader.align(8)?;
        // The values are aligned to the start of the body, which is a multiple of 8.
        message.body = reader.values(&types, 0)?;
        Ok(message)
    }
}

/// Returns the alignment of a value of this type.
fn alignment(types: &str) -> usize {
    match types.as_bytes().first() {
        Some(b'n' | b'q') => 2,
        Some(b'b' | b'i' | b'u' | b's' | b'o' | b'a' | b'h') => 4,
        Some(b'x' | b't' | b'd' | b'(' | b'{') => 8,
        _ => 1,
    }
}

#[derive(Default)]
struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    fn align(&mut self, to: usize) {
        self.bytes.resize(self.bytes.len().next_multiple_of(to), 0);
    }

    fn fixed<const N: usize>(&mut self, bytes: [u8; N]) {
        self.align(N);
        self.bytes.extend(bytes);
    }

    fn text(&mut self, text: &str) -> Option<()> {
        self.fixed(u32::try_from(text.len()).ok()?.to_le_bytes());
        self.bytes.extend(text.as_bytes());
        self.bytes.push(0);
        // A reader would take it for the end of the string.
        (!text.contains('\0')).then_some(())
    }

    fn types(&mut self, text: &str) -> Option<()> {
        self.bytes.push(u8::try_from(text.len()).ok()?);
        self.bytes.extend(text.as_bytes());
        self.bytes.push(0);
        Some(())
    }

    fn value(&mut self, value: &Value) -> Option<()> {
        match value {
            Value::Byte(value) => self.bytes.push(*value),
            Value::Bool(value) => self.fixed(u32::from(*value).to_le_bytes()),
            Value::I16(value) => self.fixed(value.to_le_bytes()),
            Value::U16(value) => self.fixed(value.to_le_bytes()),
            Value::I32(value) => self.fixed(value.to_le_bytes()),
            Value::U32(value) => self.fixed(value.to_le_bytes()),
            Value::I64(value) => self.fixed(value.to_le_bytes()),
            Value::U64(value) => self.fixed(value.to_le_bytes()),
            Value::F64(value) => self.fixed(value.to_le_bytes()),
            Value::Str(text) | Value::Path(text) => self.text(text)?,
            Value::Signature(text) => self.types(text)?,
            Value::Variant(inner) => {
                self.types(&inner.signature())?;
                self.value(inner)?;
            }
            Value::Struct(fields) => {
                self.align(8);
                fields.iter().try_for_each(|field| self.value(field))?;
            }
            Value::Array(element, list) => {
                self.align(4);
                let at = self.bytes.len();
                self.bytes.extend([0; 4]);
                // The padding before the first element is not part of the length.
                self.align(alignment(element));
                let start = self.bytes.len();
                list.iter().try_for_each(|value| self.value(value))?;
                let length = u32::try_from(self.bytes.len().checked_sub(start)?).ok()?;
                self.bytes.get_mut(at..at + 4)?.copy_from_slice(&length.to_le_bytes());
            }
        }
        Some(())
    }
}

const SHORT: &str = "a message that ends too early";
const UNKNOWN: &str = "a message of unknown types";

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    little: bool,
}

impl<'a> Reader<'a> {
    fn new(bytes: &'a [u8]) -> Read<Self> {
        let little = match bytes.first() {
            Some(b'l') => true,
            Some(b'B') => false,
            _ => return Err("something other than a D-Bus message"),
        };
        Ok(Reader { bytes, at: 0, little })
    }

    fn align(&mut self, to: usize) -> Read<()> {
        self.at = self.at.checked_next_multiple_of(to).ok_or(SHORT)?;
        Ok(())
    }

    fn take(&mut self, count: usize) -> Read<&'a [u8]> {
        let end = self.at.checked_add(count).ok_or(SHORT)?;
        let taken = self.bytes.get(self.at..end).ok_or(SHORT)?;
        self.at = end;
        Ok(taken)
    }

    fn byte(&mut self) -> Read<u8> {
        let [byte] = self.fixed()?;
        Ok(byte)
    }

    /// Returns bytes in little-endian order.
    fn fixed<const N: usize>(&mut self) -> Read<[u8; N]> {
        self.align(N)?;
        let mut out: [u8; N] = self.take(N)?.try_into().map_err(|_| SHORT)?;
        if !self.little {
            out.reverse();
        }
        Ok(out)
    }

    fn u32(&mut self) -> Read<u32> {
        Ok(u32::from_le_bytes(self.fixed()?))
    }

    fn size(&mut self) -> Read<usize> {
        usize::try_from(self.u32()?).map_err(|_| SHORT)
    }

    fn string(&mut self) -> Read<String> {
        let length = self.size()?;
        self.text(length)
    }

    fn types(&mut self) -> Read<String> {
        let length = usize::from(self.byte()?);
        self.text(length)
    }

    fn text(&mut self, length: usize) -> Read<String> {
        let text = self.take(length)?;
        self.take(1)?;
        String::from_utf8(text.to_vec()).map_err(|_| "a text that is not UTF-8")
    }

    /// Reads values of all `types`.
    fn values(&mut self, mut types: &str, depth: usize) -> Read<Vec<Value>> {
        let mut values = Vec::new();
        while !types.is_empty() {
            let (value, rest) = self.value(types, depth)?;
            values.push(value);
            types = rest;
        }
        Ok(values)
    }

    /// Reads a value of the first type of `types`. Returns the remaining types too.
    fn value<'t>(&mut self, types: &'t str, depth: usize) -> Read<(Value, &'t str)> {
        let (own, rest) = split(types).ok_or(UNKNOWN)?;
        Ok((self.single(own, depth)?, rest))
    }

    /// Reads a value of the type `own`.
    fn single(&mut self, own: &str, depth: usize) -> Read<Value> {
        if depth > MAX_DEPTH {
            return Err("a message that is nested too deep");
        }
        let inner =
            |from: usize, cut: usize| own.get(from..own.len().saturating_sub(cut)).ok_or(UNKNOWN);
        Ok(match own.as_bytes().first() {
            Some(b'y') => Value::Byte(self.byte()?),
            Some(b'b') => Value::Bool(self.u32()? != 0),
            Some(b'n') => Value::I16(i16::from_le_bytes(self.fixed()?)),
            Some(b'q') => Value::U16(u16::from_le_bytes(self.fixed()?)),
            Some(b'i') => Value::I32(i32::from_le_bytes(self.fixed()?)),
            Some(b'u' | b'h') => Value::U32(self.u32()?),
            Some(b'x') => Value::I64(i64::from_le_bytes(self.fixed()?)),
            Some(b't') => Value::U64(u64::from_le_bytes(self.fixed()?)),
            Some(b'd') => Value::F64(f64::from_le_bytes(self.fixed()?)),
            Some(b's') => Value::Str(self.string()?),
            Some(b'o') => Value::Path(self.string()?),
            Some(b'g') => Value::Signature(self.types()?),
            Some(b'v') => {
                let types = self.types()?;
                let (value, rest) = self.value(&types, depth + 1)?;
                if !rest.is_empty() {
                    return Err("a variant of several values");
                }
                Value::Variant(Box::new(value))
            }
            Some(b'(' | b'{') => {
                self.align(8)?;
                Value::Struct(self.values(inner(1, 1)?, depth + 1)?)
            }
            Some(b'a') => {
                let element = inner(1, 0)?;
                let length = self.size()?;
                self.align(alignment(element))?;
                let end = self.at.checked_add(length).ok_or(SHORT)?;
                if end > self.bytes.len() {
                    return Err(SHORT);
                }
                let mut list = Vec::new();
                while self.at < end {
                    list.push(self.single(element, depth + 1)?);
                }
                Value::Array(element.to_owned(), list)
            }
            _ => return Err(UNKNOWN),
        })
    }
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;
