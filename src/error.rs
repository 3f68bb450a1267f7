//! The error type of the library: a cause, and the operations that failed because of it.
//!
//! Engines show a user only the last line of a runtime's output, so [`Error`] prints as one line
//! that tells everything: `operation: object: cause`, outermost first.

use std::fmt;

use nix::errno::Errno;

use crate::sys::netlink::Refusal;
use crate::sys::{Cause, Failure, to_nix};
use crate::text;

/// The result of the functions of this library.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The class of a failure, for callers that must act on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
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

/// A failure: a chain of links from the outermost operation to the cause.
///
/// [`Display`](fmt::Display) prints the whole chain on one line. A program that prints the links of
/// [`source`](std::error::Error::source) itself takes the text of each link from
/// [`Error::operation`] and [`Error::cause`] instead.
#[derive(Clone)]
pub struct Error(Box<Link>);

#[derive(Clone)]
struct Link {
    kind: Kind,
    errno: Option<Errno>,
    /// The operation, or in the last link the cause.
    text: String,
    /// The next link, closer to the cause.
    source: Option<Error>,
}

impl Error {
    /// Creates a failure whose cause is `cause`.
    pub(crate) fn new(kind: Kind, cause: impl Into<String>) -> Self {
        Error::root(kind, safe(cause.into()), None)
    }

    /// Creates a configuration error that names the field (as a path into config.json), the value
    /// it has, and what is wrong with it. Of a long value the beginning is shown.
    pub(crate) fn invalid(
        field: impl fmt::Display,
        value: impl fmt::Debug,
        why: impl fmt::Display,
    ) -> Self {
        Error::new(Kind::Invalid, format!("{field}: {}: {why}", text::value(&value)))
    }

    /// Creates a configuration error where no value helps (a missing field, or an object).
    pub(crate) fn invalid_field(field: impl fmt::Display, why: impl fmt::Display) -> Self {
        Error::new(Kind::Invalid, format!("{field}: {why}"))
    }

    /// Creates the error of a requested control that this version does not implement.
    pub(crate) fn unsupported(field: impl fmt::Display) -> Self {
        Error::new(Kind::Invalid, format!("{field}: not supported by this version of bulkhead"))
    }

    /// Creates the failure of a system call; [`Context`] adds the operation and its object.
    pub(crate) fn sys(errno: Errno) -> Self {
        // Lower case because engines match the text that Go prints ("no such process").
        let cause = if errno == Errno::UnknownErrno {
            "unknown error".to_owned()
        } else {
            errno.desc().to_lowercase()
        };
        Error::root(Kind::System, cause, Some(errno))
    }

    fn root(kind: Kind, text: String, errno: Option<Errno>) -> Self {
        Error(Box::new(Link { kind, errno, text, source: None }))
    }

    /// Restores a failure from the texts of its links, the cause first, as they were transmitted
    /// from another process.
    pub(crate) fn restore<'a>(
        kind: Kind,
        errno: Option<i32>,
        texts: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        let mut texts = texts.into_iter();
        let cause = safe(texts.next().unwrap_or_default().to_owned());
        let root = Error::root(kind, cause, errno.map(Errno::from_raw));
        texts.fold(root, |error, operation| error.context(operation))
    }

    /// Adds a link: the failure as seen from the operation around it.
    #[must_use]
    pub(crate) fn context(self, operation: impl Into<String>) -> Self {
        let Link { kind, errno, .. } = *self.0;
        Error(Box::new(Link { kind, errno, text: safe(operation.into()), source: Some(self) }))
    }

    /// Adds a remedy behind the cause: engines search for the text of the cause, so nothing may
    /// stand between it and the operation.
    #[must_use]
    pub(crate) fn advice(mut self, remedy: impl fmt::Display) -> Self {
        let mut link = &mut self.0;
        while let Some(Error(next)) = &mut link.source {
            link = next;
        }
        link.text = text::one_line(format!("{}; {remedy}", link.text));
        self
    }

    /// Returns the class of the failure.
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// Returns the operation of the outermost link; `None` if the chain has no link but the cause.
    pub fn operation(&self) -> Option<&str> {
        self.0.source.as_ref().map(|_| self.0.text.as_str())
    }

    /// Returns the text of the cause, which is that of the last link.
    pub fn cause(&self) -> &str {
        self.links().last().map_or("", |link| link.text.as_str())
    }

    /// Returns the error number of the system call that was the cause, if one was.
    pub fn raw_os_error(&self) -> Option<i32> {
        // A number that nix does not know becomes 0.
        self.0.errno.map(|errno| errno as i32).filter(|number| *number != 0)
    }

    /// Like [`Error::raw_os_error`], for comparisons with the constants of nix.
    pub(crate) fn errno(&self) -> Option<Errno> {
        self.0.errno
    }

    /// Returns the texts of all links, the outermost first.
    pub(crate) fn texts(&self) -> impl Iterator<Item = &str> {
        self.links().map(|link| link.text.as_str())
    }

    fn links(&self) -> impl Iterator<Item = &Link> {
        std::iter::successors(Some(&*self.0), |link| link.source.as_ref().map(|error| &*error.0))
    }
}

/// Escapes and shortens `text`. A name chosen by a hostile image may hold anything; a log line must
/// stay one line that does nothing to a terminal.
fn safe(text: String) -> String {
    text::part(text::one_line(text))
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, text) in self.texts().enumerate() {
            f.write_str(if index == 0 { "" } else { ": " })?;
            f.write_str(text)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("errno", &self.0.errno)
            .field("text", &self.to_string())
            .finish()
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_ref().map(|source| source as _)
    }
}

/// The errors of the modules below. `From` is implemented through this trait, which no other crate
/// can name, so that the types of the system call crates are no part of the API.
pub trait LowLevel {
    fn into_error(self) -> Error;
}

#[doc(hidden)]
impl<E: LowLevel> From<E> for Error {
    fn from(error: E) -> Self {
        error.into_error()
    }
}

impl LowLevel for Errno {
    fn into_error(self) -> Error {
        Error::sys(self)
    }
}

impl LowLevel for rustix::io::Errno {
    fn into_error(self) -> Error {
        Error::sys(to_nix(self))
    }
}

impl LowLevel for Refusal {
    fn into_error(self) -> Error {
        let error = Error::sys(self.errno);
        match self.reason {
            Some(reason) => error.advice(reason),
            None => error,
        }
    }
}

impl LowLevel for Failure {
    fn into_error(self) -> Error {
        let cause = match self.cause {
            Cause::Errno(errno) => Error::sys(errno),
            Cause::Result(why) => Error::new(Kind::System, why),
        };
        cause.context(self.operation)
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

/// Adds the failed operation to an error on its way up.
pub trait Context<T> {
    /// Adds a text that costs nothing to make.
    fn context(self, operation: &str) -> Result<T>;
    /// Adds a text that is made only when it is needed.
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

/// Calls `undo`, and again if it fails: nobody else will try it, and a call that was interrupted, or
/// had no memory for a moment, must not leave things behind. Not after EBUSY, for which `undo` has
/// waited long enough.
pub(crate) fn retry_once<T>(mut undo: impl FnMut() -> Result<T>) -> Result<T> {
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
    fn the_chain_can_be_followed() {
        use std::error::Error as _;
        let error = Error::sys(Errno::ENOENT).context("open a").context("create c").advice("b");
        assert_eq!(
            (error.operation(), error.cause()),
            (Some("create c"), "no such file or directory; b")
        );
        assert_eq!(error.raw_os_error(), Some(libc::ENOENT));
        let next = error.source().unwrap();
        assert_eq!(next.to_string(), "open a: no such file or directory; b");
        assert!(next.source().unwrap().source().is_none());
        assert_eq!(size_of::<Result<()>>(), size_of::<usize>());
        let texts: Vec<&str> = error.texts().collect();
        let back = Error::restore(Kind::State, Some(libc::ENOENT), texts.into_iter().rev());
        assert_eq!(back.to_string(), error.to_string());
        assert_eq!((back.kind(), back.errno()), (Kind::State, Some(Errno::ENOENT)));
    }

    #[test]
    fn an_unknown_number_is_none() {
        let error = Error::restore(Kind::System, Some(70_000), ["x"]);
        assert_eq!((error.raw_os_error(), error.to_string().as_str()), (None, "x"));
    }

    #[test]
    fn invalid_names_field_and_value() {
        let error = Error::invalid("process.cwd", "tmp", "must be an absolute path");
        assert_eq!(error.to_string(), "process.cwd: \"tmp\": must be an absolute path");
        assert_eq!(error.kind(), Kind::Invalid);
    }
}
