//! The one error type: a cause, and the operations it passed through on its way up.
//!
//! Engines show a user only the last line of a runtime's output, so [`Error`] prints as one line
//! that is the whole story: `operation: object: cause`, outermost first.

use std::fmt;

use nix::errno::Errno;

use crate::sys::{Cause, Failure};
use crate::text;

/// The result of everything in this library.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What sort of failure it is, for callers that must act on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The configuration or the command line asks for something impossible or not supported.
    Invalid,
    /// There is no container of that id.
    NotFound,
    /// The container is not in a state that allows the operation.
    State,
    /// A system call or a helper failed.
    System,
}

/// A failure with its context chain.
#[derive(Debug, Clone)]
pub struct Error {
    kind: Kind,
    cause: String,
    errno: Option<Errno>,
    /// Innermost first.
    context: Vec<String>,
}

impl Error {
    /// A failure whose cause is told by `cause` alone.
    pub fn new(kind: Kind, cause: impl Into<String>) -> Self {
        Error { kind, cause: safe(cause.into()), errno: None, context: Vec::new() }
    }

    /// A configuration error: names the field (as a path into config.json), the value it has,
    /// and what is wrong with it. Of a long value the beginning is shown.
    pub fn invalid(
        field: impl fmt::Display,
        value: impl fmt::Debug,
        why: impl fmt::Display,
    ) -> Self {
        Error::new(Kind::Invalid, format!("{field}: {}: {why}", text::value(&value)))
    }

    /// A configuration error where no value helps (a field that is missing, or only an object).
    pub fn invalid_field(field: impl fmt::Display, why: impl fmt::Display) -> Self {
        Error::new(Kind::Invalid, format!("{field}: {why}"))
    }

    /// Something asked for by name that this version does not do yet. Never dropped in silence.
    pub fn unsupported(field: impl fmt::Display) -> Self {
        Error::new(Kind::Invalid, format!("{field}: not supported by this version of bulkhead"))
    }

    /// A system call's failure; add what was attempted, and on what, with [`Context`].
    pub fn sys(errno: Errno) -> Self {
        // Lower case because engines match the text that Go prints ("no such process").
        let cause = if errno == Errno::UnknownErrno {
            "unknown error".to_owned()
        } else {
            errno.desc().to_lowercase()
        };
        Error { kind: Kind::System, cause, errno: Some(errno), context: Vec::new() }
    }

    /// The same failure, seen from one operation further out.
    #[must_use]
    pub fn context(mut self, operation: impl Into<String>) -> Self {
        self.context.push(safe(operation.into()));
        self
    }

    /// The same failure with a way out of it, behind the cause: engines search for the cause's text,
    /// so nothing may stand between it and the operation.
    #[must_use]
    pub fn advice(mut self, cure: impl fmt::Display) -> Self {
        self.cause = text::one_line(format!("{}; {cure}", self.cause));
        self
    }

    /// The same failure, classed as `kind`.
    #[must_use]
    pub fn with_kind(mut self, kind: Kind) -> Self {
        self.kind = kind;
        self
    }

    /// What sort of failure it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The system call's error number, if a system call was the cause.
    pub fn errno(&self) -> Option<Errno> {
        self.errno
    }
}

/// A name chosen by a hostile image may hold anything; a log line must stay one line that does
/// nothing to a terminal, and is read by people.
fn safe(text: String) -> String {
    text::part(text::one_line(text))
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for context in self.context.iter().rev() {
            write!(f, "{context}: ")?;
        }
        f.write_str(&self.cause)
    }
}

impl std::error::Error for Error {}

impl From<Errno> for Error {
    fn from(errno: Errno) -> Self {
        Error::sys(errno)
    }
}

impl From<rustix::io::Errno> for Error {
    fn from(errno: rustix::io::Errno) -> Self {
        Error::sys(Errno::from_raw(errno.raw_os_error()))
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        let cause = match failure.cause {
            Cause::Errno(errno) => Error::sys(errno),
            Cause::Result(why) => Error::new(Kind::System, why),
        };
        cause.context(failure.operation)
    }
}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        match error.raw_os_error() {
            Some(raw) => Error::sys(Errno::from_raw(raw)),
            None => Error::new(Kind::System, error.to_string()),
        }
    }
}

/// Adds what was attempted to a failure on its way up.
pub trait Context<T> {
    /// With a text that costs nothing to make.
    fn context(self, operation: &str) -> Result<T>;
    /// With a text made only when it is needed.
    fn with_context<S: Into<String>>(self, operation: impl FnOnce() -> S) -> Result<T>;
}

impl<T, E: Into<Error>> Context<T> for std::result::Result<T, E> {
    fn context(self, operation: &str) -> Result<T> {
        self.map_err(|e| e.into().context(operation))
    }

    fn with_context<S: Into<String>>(self, operation: impl FnOnce() -> S) -> Result<T> {
        self.map_err(|e| e.into().context(operation()))
    }
}

/// For what undoes something: nobody will try it again, and a call that was interrupted, or had no
/// memory for a moment, must not leave things behind. EBUSY was waited for long enough.
pub fn retry_once<T>(mut undo: impl FnMut() -> Result<T>) -> Result<T> {
    undo().or_else(|error| match error.errno() {
        Some(Errno::EBUSY) => Err(error),
        _ => undo(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_outermost_first_on_one_line() {
        let error = Error::sys(Errno::ENOENT).context("open \"a\nb\"").context("create \"c1\"");
        assert_eq!(error.to_string(), "create \"c1\": open \"a b\": no such file or directory");
        assert_eq!(error.errno(), Some(Errno::ENOENT));
    }

    #[test]
    fn advice_follows_the_cause() {
        let error = Error::sys(Errno::ENOENT).context("open a").advice("make\nit");
        assert_eq!(error.to_string(), "open a: no such file or directory; make it");
        assert_eq!(error.errno(), Some(Errno::ENOENT));
    }

    #[test]
    fn invalid_names_field_and_value() {
        let error = Error::invalid("process.cwd", "tmp", "must be an absolute path");
        assert_eq!(error.to_string(), "process.cwd: \"tmp\": must be an absolute path");
        assert_eq!(error.kind(), Kind::Invalid);
    }
}
