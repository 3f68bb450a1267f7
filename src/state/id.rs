//! The id of a container, which is also the name of a directory.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// The maximum length: the id is a file name (NAME_MAX).
const MAX: usize = 255;

/// A container's id: 1 to 255 of the characters `A-Z a-z 0-9 _ + - .`, but not `.` or `..`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Id(String);

impl Id {
    /// Checks `id`.
    pub fn new(id: impl Into<String>) -> Result<Id> {
        let id = id.into();
        let why = if id.is_empty() {
            "must not be empty"
        } else if id.len() > MAX {
            "must not be longer than 255 characters"
        } else if id == "." || id == ".." {
            "must not be a directory's own name"
        } else if !id.bytes().all(|b| b.is_ascii_alphanumeric() || b"_+-.".contains(&b)) {
            "may hold only letters, digits and _ + - ."
        } else {
            return Ok(Id(id));
        };
        // A long id in full would hide the reason.
        let shown: String = id.chars().take(64).collect();
        Err(Error::invalid("container id", shown, why))
    }

    /// Returns the id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Id {
    type Error = Error;

    fn try_from(id: String) -> Result<Id> {
        Id::new(id)
    }
}

impl From<Id> for String {
    fn from(id: Id) -> String {
        id.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_what_runc_accepts() {
        for id in ["a", "A-z_0+9.", "...", ".a", "-", &"x".repeat(255)] {
            assert_eq!(Id::new(id).unwrap().as_str(), id);
        }
    }

    #[test]
    fn refuses_what_is_no_file_name() {
        for id in ["", ".", "..", "a/b", "/", "a\nb", "a b", "\u{e9}", "a\0", &"x".repeat(256)] {
            let error = Id::new(id).unwrap_err().to_string();
            assert!(error.starts_with("container id: "), "{error}");
            assert!(!error.contains('\n'), "{error:?}");
        }
    }
}
