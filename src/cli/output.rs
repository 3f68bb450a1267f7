//! Standard output.

use std::io::Write;

use crate::{Context, Result, terminal};

/// Writes the result of a command to standard output. A full disk, a closed pipe and a closed
/// descriptor are errors.
pub fn print(bytes: &[u8]) -> Result<()> {
    let write = || -> Result<()> {
        if terminal::stdio::stdout_was_closed() {
            return Err(nix::errno::Errno::EBADF.into());
        }
        let mut stdout = std::io::stdout().lock();
        stdout.write_all(bytes)?;
        Ok(stdout.flush()?)
    };
    write().context("write to standard output")
}
