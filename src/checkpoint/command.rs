//! The CRIU program, as execve(2) takes it.

use std::ffi::{CString, OsStr};
use std::os::unix::ffi::OsStrExt;

use super::settings::Settings;
use crate::{Error, Result};

/// The path, arguments and environment of CRIU.
#[derive(Debug)]
pub(super) struct Command {
    pub path: CString,
    pub args: Vec<CString>,
    pub env: Vec<CString>,
}

impl Command {
    /// Builds the command that answers requests on the descriptor `socket`.
    pub fn new(settings: &Settings, socket: i32) -> Result<Command> {
        let text = |field: &'static str, bytes: &[u8]| {
            let shown = || String::from_utf8_lossy(bytes).into_owned();
            CString::new(bytes).map_err(|_| Error::invalid(field, shown(), "holds a NUL byte"))
        };
        let pair = |(name, value): &(std::ffi::OsString, std::ffi::OsString)| {
            let bytes = [name.as_bytes(), b"=", value.as_bytes()].concat();
            text("environment of criu", &bytes)
        };
        let program: &OsStr = settings.program.as_os_str();
        Ok(Command {
            path: text("criu", program.as_bytes())?,
            args: ["criu", "swrk", &socket.to_string()]
                .iter()
                .map(|word| text("criu", word.as_bytes()))
                .collect::<Result<_>>()?,
            env: settings.environment.iter().map(pair).collect::<Result<_>>()?,
        })
    }
}
