//! How the caller learns of a new process: the pid file and the pidfd socket.

use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::{CWD, Mode};

use crate::fs::write_atomic;
use crate::sys::clone::Child;
use crate::sys::fdpass;
use crate::terminal::socket;
use crate::{Context, Result};

/// Writes the pid file atomically: a process that waits for the file must never read half a number.
/// No newline.
pub(crate) fn write_pid_file(path: &Path, pid: i32) -> Result<()> {
    let mode = Mode::from_raw_mode(0o666);
    write_atomic(CWD, path, mode, pid.to_string().as_bytes())
        .with_context(|| format!("--pid-file: write {path:?}"))
}

/// Sends the pidfd and the id of a process to the socket `path`, which option `name` gives.
pub(super) fn send_pidfd(name: &str, path: &Path, child: &Child) -> Result<()> {
    let socket = socket::connect(name, path)?;
    let pid = child.pid.to_string();
    fdpass::send_with_fd(socket.as_fd(), pid.as_bytes(), Some(child.pidfd.as_fd()))
        .with_context(|| format!("{name}: send to {path:?}"))
}
