//! The error of a function that makes several system calls.

use nix::errno::Errno;

/// A failed step, such as the name of a system call, and its reason.
#[derive(Debug)]
pub struct Failure {
    pub operation: &'static str,
    pub cause: Cause,
}

#[derive(Debug)]
pub enum Cause {
    Errno(Errno),
    /// The call succeeded with a result that cannot be used.
    Result(String),
}

impl Failure {
    /// A function that turns the error number of the step `operation` into a failure, for
    /// `map_err`.
    pub fn of(operation: &'static str) -> impl Fn(Errno) -> Failure {
        move |errno| Failure { operation, cause: Cause::Errno(errno) }
    }

    /// A failure of the step `operation` that has no error number.
    pub fn result(operation: &'static str, why: impl Into<String>) -> Failure {
        Failure { operation, cause: Cause::Result(why.into()) }
    }

    pub fn errno(&self) -> Option<Errno> {
        match self.cause {
            Cause::Errno(errno) => Some(errno),
            Cause::Result(_) => None,
        }
    }
}

/// Converts an error number of rustix to one of nix, which the rest of the crate compares with.
pub fn to_nix(errno: rustix::io::Errno) -> Errno {
    Errno::from_raw(errno.raw_os_error())
}
