//! Standard input, output and error, and the terminal.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::unistd::Uid;
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::termios::Winsize;

use crate::config::{DevConsole, Process};
use crate::fs::{Proc, Root, is_char_device};
use crate::mount::closing::close_later;
use crate::protocol::{Socket, ToParent};
use crate::terminal::{pty, socket, stdio};
use crate::{Context, Error, Result};

/// Gives the process its terminal, or the standard descriptors of the runtime.
pub(super) fn set_up(
    process: &Process,
    proc: &Proc,
    root: &Root,
    console: &Console<'_>,
) -> Result<()> {
    if process.terminal { terminal(process, proc, root, console) } else { fix(process, proc, root) }
}

/// Replaces standard descriptors of the host's /dev/null by the container's, and gives the others
/// to the container's user, so that it can open /dev/stdout again.
fn fix(process: &Process, proc: &Proc, root: &Root) -> Result<()> {
    let null = own_null(proc, root)?;
    let uid = Uid::from_raw(process.identity.uid);
    stdio::adopt(null.as_ref().map(AsFd::as_fd), uid, false)?;
    if let Some(null) = null {
        close_later(null);
    }
    Ok(())
}

/// Opens the container's /dev/null, if it has one. A file of the image in its place is not the null
/// device (CVE-2025-31133) and is not even opened.
fn own_null(proc: &Proc, root: &Root) -> Result<Option<OwnedFd>> {
    let what = "open \"/dev/null\" in the rootfs";
    let there = match root.find(Path::new("/dev/null")) {
        Ok(there) => there,
        // A loop of links counts, too: otherwise a process of the container could make every exec
        // fail.
        Err(Errno::NOENT | Errno::NOTDIR | Errno::ACCESS | Errno::LOOP) => return Ok(None),
        Err(errno) => return Err(Error::from(errno).context(what)),
    };
    if !is_char_device(&rustix::fs::fstat(&there)?, 1, 3) {
        return Ok(None);
    }
    let opened = proc.reopen(there.as_fd(), OFlags::RDWR | OFlags::NOCTTY);
    close_later(there);
    match opened {
        Ok(null) => Ok(Some(null)),
        // The file system does not permit devices: the container keeps the descriptor of the host.
        Err(Errno::ACCESS | Errno::NXIO | Errno::PERM) => Ok(None),
        Err(errno) => Err(Error::from(errno).context(what)),
    }
}

#[derive(Debug)]
pub(crate) struct Console<'a> {
    /// The console socket, for the master; `None`: the runtime receives the master.
    pub socket: Option<&'a OwnedFd>,
    pub parent: &'a Socket,
    pub size: Option<Winsize>,
    /// Whether the calling process will lead the program's session: its end would take the terminal
    /// away.
    pub is_controlling: bool,
    /// Whether the slave is the container's /dev/console, too.
    pub dev_console: DevConsole,
}

fn open_pty(proc: &Proc, root: &Root, size: Option<Winsize>) -> Result<pty::Pty> {
    let what = "open \"/dev/pts/ptmx\" in the rootfs";
    let flags = OFlags::RDWR | OFlags::NOCTTY;
    let there = root.find(Path::new("/dev/pts/ptmx")).context(what)?;
    pty::verify_ptmx(there.as_fd())?;
    match proc.reopen(there.as_fd(), flags) {
        Ok(ptmx) => pty::open(ptmx, size),
        // The permissions of ptmx in the devpts of the host can be 000 (option ptmxmode): users
        // open the node beside it.
        Err(Errno::ACCESS) => {
            let what = "open \"/dev/ptmx\" in the rootfs (\"/dev/pts/ptmx\" denies access)";
            let node = root.find(Path::new("/dev/ptmx")).context(what)?;
            pty::verify_node(node.as_fd())?;
            let ptmx = proc.reopen(node.as_fd(), flags).context(what)?;
            pty::open_by_node(ptmx, there.as_fd(), size)
        }
        Err(errno) => Err(Error::from(errno).context(what)),
    }
}

/// Opens the file that the terminal is bound on. A link of the image could lead to a file of a
/// volume (CVE-2026-88264); in a directory of the host nothing is made, and a link is not followed.
fn dev_console(root: &Root, how: DevConsole) -> Result<Option<OwnedFd>> {
    let path = Path::new("/dev/console");
    match how {
        DevConsole::Never => Ok(None),
        DevConsole::Made => root.make_file_no_links(path).map(Some),
        DevConsole::Existing => match root.find_no_links(path) {
            Ok(target) => Ok(Some(target)),
            Err(Errno::NOENT | Errno::LOOP) => Ok(None),
            Err(errno) => Err(Error::from(errno).context("find \"/dev/console\" in the rootfs")),
        },
    }
}

/// Makes the terminal in the container's devpts, sends the master, and makes the slave the
/// controlling terminal and the standard descriptors.
fn terminal(process: &Process, proc: &Proc, root: &Root, console: &Console<'_>) -> Result<()> {
    let size = process.console_size.or(console.size);
    let pty = open_pty(proc, root, size).context("process.terminal")?;
    if let Some(target) = dev_console(root, console.dev_console)? {
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
