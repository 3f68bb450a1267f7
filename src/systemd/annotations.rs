//! `org.systemd.property.NAME` annotations: properties of the unit from the configuration.

use super::gvariant;
use super::value::{Property, Value};
use crate::{Error, Result};

/// The prefix of the annotations' names.
pub const PREFIX: &str = "org.systemd.property.";

/// The properties that only the runtime sets: the processes of the unit and its slice.
const OURS: [&str; 3] = ["PIDs", "PIDFDs", "Slice"];

/// Returns the properties that the annotations request, in the order of their names.
pub fn properties<'a>(
    annotations: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Result<Vec<Property>> {
    let mut out = Vec::new();
    for (key, text) in annotations {
        if let Some(name) = key.strip_prefix(PREFIX) {
            out.push(property(key, name, text)?);
        }
    }
    out.sort_by(|a: &Property, b| a.name.cmp(&b.name));
    Ok(out)
}

fn property(key: &str, name: &str, text: &str) -> Result<Property> {
    let field = || format!("annotations: {key}");
    if name.len() < 3 || !name.bytes().all(|byte| byte.is_ascii_alphabetic()) {
        return Err(Error::invalid("annotations", key, "must end with the name of a property"));
    }
    if OURS.contains(&name) {
        return Err(Error::invalid(field(), text, "is set by the runtime itself"));
    }
    let value = gvariant::parse(text).map_err(|why| Error::invalid(field(), text, why))?;
    // Unit files have ...Sec in the place of ...USec on the bus. A Sec after a capital letter is
    // not a time.
    let stem = name
        .strip_suffix("Sec")
        .filter(|stem| stem.bytes().next_back().is_some_and(|byte| byte.is_ascii_lowercase()));
    let Some(stem) = stem else { return Ok(Property::new(name, value)) };
    let micros = micros(&value).ok_or_else(|| {
        Error::invalid(field(), text, "must be a number of seconds, and not negative")
    })?;
    Ok(Property::new(&format!("{stem}USec"), Value::U64(micros)))
}

fn micros(seconds: &Value) -> Option<u64> {
    let whole = match seconds {
        Value::Byte(number) => u64::from(*number),
        Value::U16(number) => u64::from(*number),
        Value::U32(number) => u64::from(*number),
        Value::U64(number) => *number,
        Value::I16(number) => u64::try_from(*number).ok()?,
        Value::I32(number) => u64::try_from(*number).ok()?,
        Value::I64(number) => u64::try_from(*number).ok()?,
        Value::F64(number) => {
            let micros = number * 1e6;
            return (0.0..1.8e19).contains(&micros).then_some(micros as u64);
        }
        _ => return None,
    };
    whole.checked_mul(1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(name: &str, text: &str) -> Result<Property> {
        let key = format!("{PREFIX}{name}");
        properties([(key.as_str(), text), ("org.other", "x")]).map(|mut list| list.remove(0))
    }

    #[test]
    fn values_pass_as_they_are() {
        for (name, text, value) in [
            ("TimeoutStopUSec", "uint64 123456789", Value::U64(123_456_789)),
            ("CollectMode", "'inactive-or-failed'", Value::str("inactive-or-failed")),
            ("SendSIGHUP", "true", Value::Bool(true)),
            ("After", "['a.service', \"b.service\"]", Value::strings(["a.service", "b.service"])),
            ("KillSignal", "9", Value::I32(9)),
        ] {
            assert_eq!(one(name, text).unwrap(), Property::new(name, value));
        }
    }

    #[test]
    fn seconds_become_microseconds() {
        for text in ["234", "byte 234", "uint16 234", "int64 234", "uint64 234", "234.0"] {
            let property = one("TimeoutStopSec", text).unwrap();
            assert_eq!(property, Property::new("TimeoutStopUSec", Value::U64(234_000_000)));
        }
        let half = one("TimeoutStopSec", "0.5").unwrap();
        assert_eq!(half.value, Value::U64(500_000));
        // No lower-case letter before it: not a time.
        assert_eq!(one("FOOSec", "1").unwrap().name, "FOOSec");
        for bad in ["'1'", "true", "-1", "-0.5", "uint64 99999999999999999", "1e30"] {
            let error = one("TimeoutStopSec", bad).unwrap_err().to_string();
            assert!(error.contains("TimeoutStopSec") && error.contains(bad), "{error}");
        }
    }

    #[test]
    fn bad_names_and_values_are_refused() {
        for name in ["", "ab", "A1b", "A.B", "A B", "Ab\u{e9}"] {
            assert!(one(name, "1").is_err(), "{name:?}");
        }
        for name in OURS {
            assert!(one(name, "'x'").unwrap_err().to_string().contains("runtime itself"));
        }
        assert!(one("CollectMode", "'x").is_err());
    }
}
