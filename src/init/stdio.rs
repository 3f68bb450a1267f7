//! Standard input, output and error, and the terminal.

use std::os::fd::AsFd;
use std::path::Path;

use nix::unistd::Uid;
use rustix::fs::OFlags;
use rustix::io::Errno;

use super::{Init, done};
use crate::fs::{Root, is_char_device};
use crate::plan::Choice;
use crate::sync::ToParent;
use crate::tty::{pty, socket, stdio};
use crate::{Context, Error, Result};

/// A descriptor of the host's /dev/null becomes one of the container's, and what is left belongs
/// to the container's user, so that it can open /dev/stdout again.
pub fn fix(init: &Init<'_>, root: &Root) -> Result<()> {
    let Some(process) = &init.plan.process else { return Ok(()) };
    if process.terminal {
        return Ok(());
    }
    let what = "open \"/dev/null\" in the rootfs";
    let null = match root.open(Path::new("/dev/null"), OFlags::RDWR | OFlags::NOCTTY) {
        // An image's own file of that name is not what was handed in (CVE-2025-31133).
        Ok(null) if is_char_device(&rustix::fs::fstat(&null).context(what)?, 1, 3) => Some(null),
        // Without a /dev/null of its own the container keeps the one it was given.
        Ok(_) | Err(Errno::NOENT | Errno::ACCESS | Errno::NXIO | Errno::PERM) => None,
        Err(errno) => {
            return Err(Error::from(errno).context(what));
        }
    };
    let uid = Uid::from_raw(process.identity.uid);
    stdio::adopt(null.as_ref().map(AsFd::as_fd), uid, false)?;
    null.map(done);
    Ok(())
}

/// Makes the terminal in the container's devpts, gives the master away, and makes the slave the
/// controlling terminal, the standard descriptors and /dev/console.
pub fn terminal(init: &Init<'_>, root: &Root) -> Result<()> {
    let Some(process) = &init.plan.process else { return Ok(()) };
    let pty = || -> Result<pty::Pty> {
        let path = Path::new("/dev/pts/ptmx");
        let what = "open \"/dev/pts/ptmx\" in the rootfs";
        pty::verify_ptmx(root.find(path).context(what)?.as_fd())?;
        let ptmx = root.open(path, OFlags::RDWR | OFlags::NOCTTY).context(what)?;
        pty::open(ptmx, process.console_size.or(init.size))
    };
    let pty = pty().context("process.terminal")?;
    if init.plan.namespaces.mount != Choice::Inherit && init.plan.populate_dev {
        let target = root.make_file(Path::new("/dev/console"))?;
        pty::bind_console(pty.slave.as_fd(), target.as_fd())?;
    }
    match init.console {
        Some(console) => socket::send_master(console.as_fd(), pty.master.as_fd(), "/dev/ptmx")?,
        None => {
            pty::clear_onlcr(pty.slave.as_fd())?;
            init.parent.tell_parent(&ToParent::Console(pty.master))?;
        }
    }
    pty::attach(pty.slave.as_fd()).context("attach the terminal")?;
    stdio::adopt(None, Uid::from_raw(process.identity.uid), true)
}
