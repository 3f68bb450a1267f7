//! Standard output.

use std::io::{ErrorKind, IsTerminal, Write};

use nix::sys::signal::{SigSet, Signal, raise};

use serde::Serialize;

use crate::{Context, Error, Kind, Result, sys, terminal, text};

/// Writes the result of a command to standard output. A full disk and a closed descriptor are errors. A
/// pipe without a reader ends the program by SIGPIPE, silently: the reader has read enough.
pub fn print(bytes: &[u8]) -> Result<()> {
    let write = || -> Result<()> {
        if terminal::stdio::stdout_was_closed() {
            return Err(nix::errno::Errno::EBADF.into());
        }
        let mut stdout = std::io::stdout().lock();
        let written = stdout.write_all(bytes).and_then(|()| stdout.flush());
        if written.as_ref().is_err_and(|error| error.kind() == ErrorKind::BrokenPipe) {
            sys::signal::default_action(libc::SIGPIPE)?;
            SigSet::from(Signal::SIGPIPE).thread_unblock()?;
            raise(Signal::SIGPIPE)?;
        }
        Ok(written?)
    };
    write().context("write to standard output")
}

/// Whether to colour what is written to a stream: a terminal that can, of a user who has not set NO_COLOR
/// (<https://no-color.org>).
pub fn coloured(stream: &impl IsTerminal) -> bool {
    let set = |name, value: &str| std::env::var_os(name).is_some_and(|set| set == value);
    let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    !unwanted && !set("TERM", "dumb") && !set("TERM", "") && stream.is_terminal()
}

/// Writes `value` as a line of JSON.
pub fn print_json(value: &impl Serialize) -> Result<()> {
    print_encoded(serde_json::to_string(value))
}

/// Writes `value` as indented JSON.
pub fn print_pretty_json(value: &impl Serialize) -> Result<()> {
    print_encoded(serde_json::to_string_pretty(value))
}

fn print_encoded(json: serde_json::Result<String>) -> Result<()> {
    let json = json.map_err(|e| Error::new(Kind::System, format!("write JSON: {e}")))?;
    print((text::json(json) + "\n").as_bytes())
}
