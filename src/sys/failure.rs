//! The error of a function that makes several system calls.

use nix::errno::Errno;

/// A failed step, and its reason.
#[derive(Debug)]
pub struct Failure {
    /// The step, such as the name of the system call.
    pub operation: &'static str,
    /// Why it failed.
    pub cause: Cause,
}

/// Why a step failed.
#[derive(Debug)]
pub enum Cause {
    /// The error number of a system call.
    Errno(Errno),
    /// The call succeeded with a result that cannot be used.
    Result(String),
}

impl Failure {
    /// A function that turns the error number of the step `operation` into a failure, for
    /// `map_err`.
    pub fn of<E: Into<RawErrno>>(operation: &'static str) -> impl Fn(E) -> Failure {
        move |errno| Failure { operation, cause: Cause::Errno(errno.into().0) }
    }

    /// A failure of the step `operation` that has no error number.
    pub fn result(operation: &'static str, why: impl Into<String>) -> Failure {
        Failure { operation, cause: Cause::Result(why.into()) }
    }

    /// The error number, if a system call failed.
    pub fn errno(&self) -> Option<Errno> {
        match self.cause {
            Cause::Errno(errno) => Some(errno),
            Cause::Result(_) => None,
        }
    }
}

/// An error number of either system call library.
pub struct RawErrno(Errno);

impl From<Errno> for RawErrno {
    fn from(errno: Errno) -> RawErrno {
        RawErrno(errno)
    }
}

impl From<rustix::io::Errno> for RawErrno {
    fn from(errno: rustix::io::Errno) -> RawErrno {
        RawErrno(to_nix(errno))
    }
}

/// Converts an error number of rustix to one of nix, which the rest of the crate compares with.
pub fn to_nix(errno: rustix::io::Errno) -> Errno {
    Errno::from_raw(errno.raw_os_error())
}
