//! The properties of a unit.

use super::value::Value;

/// A property of a unit.
#[derive(Debug, Clone, PartialEq)]
pub struct Property {
    /// The name in org.freedesktop.systemd1(5), which can differ from that in a unit file.
    pub name: String,
    /// The value.
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
        Property { name: name.to_owned(), value, since: 0, reset_file: None }
    }

    /// Creates a property that systemd has since `version`.
    pub fn since(version: u32, name: &str, value: Value) -> Property {
        Property { since: version, ..Property::new(name, value) }
    }

    /// Marks `file` as a file that older versions reset.
    pub fn that_is_reset(self, file: &'static str) -> Property {
        Property { reset_file: Some(file), ..self }
    }
}
