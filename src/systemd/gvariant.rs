//! A parser for GVariant's text format, which annotations use.
//!
//! <https://docs.gtk.org/glib/gvariant-text-format.html>, without "nothing" and the maybe types,
//! which D-Bus does not have.

use super::value::{Value, split};

type Parsed<T> = Result<T, String>;

const MAX_DEPTH: usize = 32;

/// Parses one value.
pub fn parse(text: &str) -> Parsed<Value> {
    let mut parser = Parser { rest: text.trim() };
    let value = parser.value(None, 0)?;
    match parser.rest.trim_start() {
        "" => Ok(value),
        rest => Err(format!("{rest:?} after the value")),
    }
}

struct Parser<'a> {
    rest: &'a str,
}

impl<'a> Parser<'a> {
    fn skip(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn eat(&mut self, token: char) -> bool {
        self.skip();
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn expect(&mut self, token: char) -> Parsed<()> {
        if self.eat(token) { Ok(()) } else { Err(format!("{token:?} is missing")) }
    }

    /// Reads a word of letters, digits and the characters of numbers.
    fn word(&mut self) -> &'a str {
        let part = |c: char| c.is_ascii_alphanumeric() || "+-._".contains(c);
        let end = self.rest.find(|c| !part(c)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word
    }

    fn value(&mut self, wanted: Option<&str>, depth: usize) -> Parsed<Value> {
        if depth > MAX_DEPTH {
            return Err("is nested too deep".to_owned());
        }
        self.skip();
        let value = match self.rest.chars().next() {
            None => return Err("a value is missing".to_owned()),
            Some('\'' | '"') => self.text(wanted)?,
            Some('[') => self.array(wanted, depth)?,
            Some('(') => self.tuple(wanted, depth)?,
            Some('{') => self.dictionary(wanted, depth)?,
            Some('<') => {
                self.expect('<')?;
                let inner = self.value(None, depth + 1)?;
                self.expect('>')?;
                Value::Variant(Box::new(inner))
            }
            Some('@') => {
                self.expect('@')?;
                let (types, _) = split(self.rest).ok_or("an unknown type after \"@\"")?;
                self.rest = self.rest.get(types.len()..).unwrap_or_default();
                self.value(Some(types), depth + 1)?
            }
            Some('b') if self.rest.starts_with("b'") || self.rest.starts_with("b\"") => {
                self.rest = self.rest.get(1..).unwrap_or_default();
                let text = self.quoted(true)?;
                // A C string, with its terminating NUL.
                Value::bytes(text.into_iter().chain([0]))
            }
            Some(_) => self.scalar(wanted, depth)?,
        };
        match wanted {
            Some(types) if value.signature() != types => {
                Err(format!("is of type {:?} where {types:?} is wanted", value.signature()))
            }
            _ => Ok(value),
        }
    }

    fn scalar(&mut self, wanted: Option<&str>, depth: usize) -> Parsed<Value> {
        let word = self.word();
        let types = match word {
            "true" => return Ok(Value::Bool(true)),
            "false" => return Ok(Value::Bool(false)),
            "boolean" => "b",
            "byte" => "y",
            "int16" => "n",
            "uint16" => "q",
            "int32" => "i",
            "uint32" => "u",
            "int64" => "x",
            "uint64" => "t",
            "double" => "d",
            "string" => "s",
            "objectpath" => "o",
            "signature" => "g",
            _ => return number(word, wanted),
        };
        self.value(Some(types), depth + 1)
    }

    fn text(&mut self, wanted: Option<&str>) -> Parsed<Value> {
        let bytes = self.quoted(false)?;
        let text = String::from_utf8(bytes).map_err(|_| "is not UTF-8".to_owned())?;
        if text.contains('\0') {
            return Err("has a NUL".to_owned());
        }
        Ok(match wanted {
            Some("o") if is_object_path(&text) => Value::Path(text),
            Some("o") => return Err(format!("{text:?} is no object path")),
            Some("g") if is_signature(&text) => Value::Signature(text),
            Some("g") => return Err(format!("{text:?} is no signature")),
            _ => Value::Str(text),
        })
    }

    /// Reads a quoted string. `bytes` allows octal escapes in the place of Unicode escapes.
    fn quoted(&mut self, bytes: bool) -> Parsed<Vec<u8>> {
        let mut chars = self.rest.chars();
        let quote = chars.next();
        let mut out = Vec::new();
        let push = |c: char, out: &mut Vec<u8>| {
            out.extend(c.encode_utf8(&mut [0; 4]).as_bytes());
        };
        loop {
            match chars.next() {
                None => return Err("a quote is missing".to_owned()),
                c if c == quote => break,
                Some('\\') => match chars.next() {
                    None => return Err("a quote is missing".to_owned()),
                    Some('a') => out.push(7),
                    Some('b') => out.push(8),
                    Some('t') => out.push(b'\t'),
                    Some('n') => out.push(b'\n'),
                    Some('v') => out.push(11),
                    Some('f') => out.push(12),
                    Some('r') => out.push(b'\r'),
                    Some('\n') => {}
                    Some(kind @ ('u' | 'U')) if !bytes => {
                        let count = if kind == 'u' { 4 } else { 8 };
                        let digits: String = chars.by_ref().take(count).collect();
                        let code = u32::from_str_radix(&digits, 16).ok().and_then(char::from_u32);
                        let code = code.filter(|_| digits.len() == count);
                        push(code.ok_or(format!("\\{kind}{digits} is no character"))?, &mut out);
                    }
                    Some(first @ '0'..='7') if bytes => {
                        let mut code = first.to_digit(8).unwrap_or_default();
                        let more = chars.clone().take(2).map_while(|c| c.to_digit(8));
                        for digit in more {
                            chars.next();
                            code = code * 8 + digit;
                        }
                        out.push(u8::try_from(code).map_err(|_| "an escape above \\377")?);
                    }
                    Some(other) => push(other, &mut out),
                },
                Some(other) => push(other, &mut out),
            }
        }
        self.rest = chars.as_str();
        Ok(out)
    }

    /// Parses values up to `end`, separated by commas.
    fn list(&mut self, end: char, mut each: impl FnMut(&mut Self) -> Parsed<()>) -> Parsed<()> {
        if self.eat(end) {
            return Ok(());
        }
        loop {
            each(self)?;
            if self.eat(end) {
                return Ok(());
            }
            self.expect(',')?;
            // A tuple of one value has a trailing comma.
            if end == ')' && self.eat(end) {
                return Ok(());
            }
        }
    }

    fn array(&mut self, wanted: Option<&str>, depth: usize) -> Parsed<Value> {
        self.expect('[')?;
        let mut element = element_of(wanted)?;
        let mut list = Vec::new();
        self.list(']', |parser| {
            let value = parser.value(element.as_deref(), depth + 1)?;
            // The first element determines the type of all.
            element.get_or_insert_with(|| value.signature());
            list.push(value);
            Ok(())
        })?;
        let element = element.ok_or("the type of an empty array is not known (@as [])")?;
        Ok(Value::Array(element, list))
    }

    fn tuple<'w>(&mut self, wanted: Option<&'w str>, depth: usize) -> Parsed<Value> {
        self.expect('(')?;
        let inner = |types: &'w str| {
            let inner = types.strip_prefix('(').and_then(|types| types.strip_suffix(')'));
            inner.ok_or(format!("is a tuple where {types:?} is wanted"))
        };
        let mut types = wanted.map(inner).transpose()?;
        let mut fields = Vec::new();
        self.list(')', |parser| {
            let own = match types {
                Some(rest) => {
                    let (own, rest) = split(rest).ok_or("the tuple has too many values")?;
                    types = Some(rest);
                    Some(own)
                }
                None => None,
            };
            fields.push(parser.value(own, depth + 1)?);
            Ok(())
        })?;
        // D-Bus has no empty structures.
        if fields.is_empty() {
            return Err("an empty tuple".to_owned());
        }
        Ok(Value::Struct(fields))
    }

    fn dictionary(&mut self, wanted: Option<&str>, depth: usize) -> Parsed<Value> {
        self.expect('{')?;
        let pair = |element: String| {
            let inner = element.strip_prefix('{').and_then(|types| types.strip_suffix('}'));
            let (key, value) = inner
                .and_then(split)
                .ok_or(format!("is a dictionary where {wanted:?} is wanted"))?;
            Parsed::Ok((key.to_owned(), value.to_owned()))
        };
        let mut types = element_of(wanted)?.map(pair).transpose()?;
        let mut list = Vec::new();
        self.list('}', |parser| {
            let (key, value) =
                types.as_ref().map(|(key, value)| (key.as_str(), value.as_str())).unzip();
            let key = parser.value(key, depth + 1)?;
            if key.signature().len() != 1 || matches!(key, Value::Variant(_)) {
                return Err("a key must be a plain value".to_owned());
            }
            parser.expect(':')?;
            let value = parser.value(value, depth + 1)?;
            types.get_or_insert_with(|| (key.signature(), value.signature()));
            list.push(Value::Struct(vec![key, value]));
            Ok(())
        })?;
        let (key, value) = types.ok_or("the type of an empty dictionary is not known")?;
        Ok(Value::Array(format!("{{{key}{value}}}"), list))
    }
}

fn element_of(wanted: Option<&str>) -> Parsed<Option<String>> {
    let element = |types: &str| match types.strip_prefix('a') {
        Some(element) => Ok(element.to_owned()),
        None => Err(format!("is an array where {types:?} is wanted")),
    };
    wanted.map(element).transpose()
}

fn number(word: &str, wanted: Option<&str>) -> Parsed<Value> {
    let bad = || match wanted {
        Some(types) => format!("{word:?} is no value of type {types:?}"),
        None => format!("{word:?} is no value (a text needs quotes)"),
    };
    let (negative, digits) = match word.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, word.strip_prefix('+').unwrap_or(word)),
    };
    let first_is_digit = digits.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    let (radix, plain) = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, digits.get(2..).unwrap_or_default()),
        [b'0', b'0'..=b'9', ..] => (8, digits),
        _ => (10, digits),
    };
    let whole = match plain.starts_with(['+', '-']) {
        true => None,
        false => i128::from_str_radix(plain, radix).ok(),
    };
    let whole = whole.map(|value| if negative { -value } else { value });
    let float = || {
        let is_float = wanted == Some("d") || word.contains(['.', 'e', 'E']);
        let value: f64 = word.parse().ok().filter(|_| first_is_digit && is_float)?;
        value.is_finite().then_some(Value::F64(value))
    };
    let value = match (wanted.unwrap_or(if whole.is_some() { "i" } else { "d" }), whole) {
        ("d", _) => float(),
        ("y", Some(whole)) => whole.try_into().ok().map(Value::Byte),
        ("n", Some(whole)) => whole.try_into().ok().map(Value::I16),
        ("q", Some(whole)) => whole.try_into().ok().map(Value::U16),
        ("i", Some(whole)) => whole.try_into().ok().map(Value::I32),
        ("u", Some(whole)) => whole.try_into().ok().map(Value::U32),
        ("x", Some(whole)) => whole.try_into().ok().map(Value::I64),
        ("t", Some(whole)) => whole.try_into().ok().map(Value::U64),
        _ => None,
    };
    value.ok_or_else(bad)
}

fn is_object_path(text: &str) -> bool {
    let element = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    text == "/" || text.strip_prefix('/').is_some_and(|rest| rest.split('/').all(element))
}

fn is_signature(text: &str) -> bool {
    let mut rest = text;
    while let Some((_, after)) = split(rest) {
        rest = after;
    }
    rest.is_empty() && text.len() <= 255
}

#[cfg(test)]
#[path = "gvariant_tests.rs"]
mod tests;
