//! Standard input, output and error, and the terminal.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::unistd::Uid;
use rustix::fs::OFlags;
use rustix::io::Errno;

use super::done;
use crate::fs::{Proc, Root, is_char_device};
use crate::plan::Process;
use crate::sync::{Socket, ToParent};
use crate::tty::{pty, socket, stdio};
use crate::{Context, Error, Result};

/// A descriptor of the host's /dev/null becomes one of the container's, and what is left belongs
/// to the container's user, so that it can open /dev/stdout again.
pub fn fix(process: &Process, proc: &Proc, root: &Root) -> Result<()> {
    let null = own_null(proc, root)?;
    let uid = Uid::from_raw(process.identity.uid);
    stdio::adopt(null.as_ref().map(AsFd::as_fd), uid, false)?;
    if let Some(null) = null {
        done(null);
    }
    Ok(())
}

/// The container's /dev/null, if it has one: an image's own file of that name is not what was handed
/// in (CVE-2025-31133), and it is not even opened.
fn own_null(proc: &Proc, root: &Root) -> Result<Option<OwnedFd>> {
    let what = "open \"/dev/null\" in the rootfs";
    let there = match root.find(Path::new("/dev/null")) {
        Ok(there) => there,
        Err(Errno::NOENT | Errno::NOTDIR | Errno::ACCESS) => return Ok(None),
        Err(errno) => return Err(Error::from(errno).context(what)),
    };
    if !is_char_device(&rustix::fs::fstat(&there)?, 1, 3) {
        return Ok(None);
    }
    let opened = proc.reopen(there.as_fd(), OFlags::RDWR | OFlags::NOCTTY);
    done(there);
    match opened {
        Ok(null) => Ok(Some(null)),
        // On a file system without devices: the container keeps the one it was given.
        Err(Errno::ACCESS | Errno::NXIO | Errno::PERM) => Ok(None),
        Err(errno) => Err(Error::from(errno).context(what)),
    }
}

/// Where a terminal's two ends go.
#[derive(Debug)]
pub struct Console<'a> {
    /// The console socket; `None`: the master goes to the runtime itself.
    pub socket: Option<&'a OwnedFd>,
    /// The runtime.
    pub parent: &'a Socket,
    /// Its size where the spec gives none.
    pub size: Option<nix::pty::Winsize>,
    /// Whether the calling process will lead the program's session: its end would take the terminal
    /// away.
    pub is_controlling: bool,
    /// Whether the slave is the container's /dev/console, too.
    pub is_dev_console: bool,
}

/// Makes the terminal in the container's devpts, gives the master away, and makes the slave the
/// controlling terminal and the standard descriptors.
pub fn terminal(process: &Process, proc: &Proc, root: &Root, console: &Console<'_>) -> Result<()> {
    let pty = || -> Result<pty::Pty> {
        let path = Path::new("/dev/pts/ptmx");
        let what = "open \"/dev/pts/ptmx\" in the rootfs";
        let there = root.find(path).context(what)?;
        pty::verify_ptmx(there.as_fd())?;
        let flags = OFlags::RDWR | OFlags::NOCTTY;
        let ptmx = proc.reopen(there.as_fd(), flags).context(what)?;
        pty::open(ptmx, process.console_size.or(console.size))
    };
    let pty = pty().context("process.terminal")?;
    if console.is_dev_console {
        // A link of the image could lead to a file of a volume (CVE-2026-88264).
        let target = root.make_file_no_links(Path::new("/dev/console"))?;
        pty::bind_console(pty.slave.as_fd(), target.as_fd())?;
    }
    match console.socket {
        Some(socket) => socket::send_master(socket.as_fd(), pty.master.as_fd(), "/dev/ptmx")?,
        None => {
            pty::clear_onlcr(pty.slave.as_fd())?;
            console.parent.tell_parent(&ToParent::Console(pty.master))?;
        }
    }
    if console.is_controlling {
        pty::control(pty.slave.as_fd()).context("make the console the controlling terminal")?;
    }
    pty::attach(pty.slave.as_fd()).context("attach the terminal")?;
    stdio::adopt(None, Uid::from_raw(process.identity.uid), true)
}
