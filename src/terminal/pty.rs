//! The container's pseudo terminal, created by init in the container's own devpts.
//!
//! All functions work on descriptors. The container's image controls `/dev/ptmx`, `/dev/console`
//! and `/dev/pts/N`, so no path is opened, and every descriptor is checked to be the expected
//! device (CVE-2025-52565).

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::sys::stat::{SFlag, fstat, major, minor};
use nix::sys::statfs::{DEVPTS_SUPER_MAGIC, fstatfs};
use nix::sys::termios::{OutputFlags, SetArg, tcgetattr, tcsetattr};
use rustix::mount::{MoveMountFlags, OpenTreeFlags, move_mount, open_tree};
use rustix::process::ioctl_tiocsctty;
use rustix::termios::Winsize;

use crate::{Context, Error, Kind, Result, sys};

/// Both ends of a pseudo terminal, close-on-exec.
#[derive(Debug)]
pub struct Pty {
    /// The end of a terminal emulator.
    pub master: OwnedFd,
    /// The end that is the container's terminal.
    pub slave: OwnedFd,
}

/// Returns the value of `process.consoleSize` for the kernel. A zero means "unset", as in runc; a
/// size that a terminal cannot have is an error.
pub fn console_size(height: u64, width: u64) -> Result<Option<Winsize>> {
    let cells = |field: &str, value: u64| {
        u16::try_from(value).map_err(|_| Error::invalid(field, value, "must be from 0 to 65535"))
    };
    let ws_row = cells("process.consoleSize.height", height)?;
    let ws_col = cells("process.consoleSize.width", width)?;
    let given = ws_row != 0 && ws_col != 0;
    Ok(given.then_some(Winsize { ws_row, ws_col, ws_xpixel: 0, ws_ypixel: 0 }))
}

/// Checks that `ptmx` is the ptmx of a devpts: character device 5:2 on a file system of that type.
/// Works on an `O_PATH` descriptor, so that a caller can check before it opens: opening another
/// device may have side effects.
pub fn verify_ptmx(ptmx: BorrowedFd<'_>) -> Result<()> {
    check_number(ptmx, "/dev/pts/ptmx")?;
    let file_system = fstatfs(ptmx).context("fstatfs /dev/pts/ptmx")?;
    if file_system.filesystem_type() != DEVPTS_SUPER_MAGIC {
        return Err(Error::new(Kind::Invalid, "/dev/pts/ptmx: it is not on a devpts file system"));
    }
    Ok(())
}

/// Checks that `node`, a descriptor of `/dev/ptmx` (`O_PATH` will do), is character device
/// 5:2. The kernel then takes the devpts that is mounted on `pts` in the same directory.
pub fn verify_node(node: BorrowedFd<'_>) -> Result<()> {
    check_number(node, "/dev/ptmx")
}

fn check_number(node: BorrowedFd<'_>, path: &str) -> Result<()> {
    let stat = fstat(node).with_context(|| format!("fstat {path}"))?;
    let is_character = stat.st_mode & SFlag::S_IFMT.bits() == SFlag::S_IFCHR.bits();
    if is_character && (major(stat.st_rdev), minor(stat.st_rdev)) == (5, 2) {
        return Ok(());
    }
    Err(Error::new(Kind::Invalid, format!("{path}: it is not character device 5:2")))
}

/// Opens a pseudo terminal like [`open`], from `/dev/ptmx`, which the caller has checked
/// ([`verify_node`]) and opened. The terminal must belong to the devpts instance that contains the
/// file `devpts`.
pub fn open_by_node(ptmx: OwnedFd, devpts: BorrowedFd<'_>, size: Option<Winsize>) -> Result<Pty> {
    verify_node(ptmx.as_fd())?;
    let pty = pair(ptmx, size)?;
    let slave = fstat(&pty.slave).context("fstat the pseudo terminal's slave")?;
    let file_system = fstatfs(&pty.slave).context("fstatfs the pseudo terminal's slave")?;
    if file_system.filesystem_type() != DEVPTS_SUPER_MAGIC
        || slave.st_dev != fstat(devpts).context("fstat /dev/pts/ptmx")?.st_dev
    {
        let why = "/dev/ptmx: its terminals are not those of the devpts on /dev/pts";
        return Err(Error::new(Kind::Invalid, why));
    }
    Ok(pty)
}

/// Creates a pseudo terminal of the given size from an open `/dev/pts/ptmx` (`O_RDWR | O_NOCTTY`,
/// found by the caller's safe look-up).
///
/// Output flags keep the kernel's defaults; the holder of the master decides on them, see
/// [`clear_onlcr`].
pub fn open(ptmx: OwnedFd, size: Option<Winsize>) -> Result<Pty> {
    verify_ptmx(ptmx.as_fd())?;
    pair(ptmx, size)
}

fn pair(ptmx: OwnedFd, size: Option<Winsize>) -> Result<Pty> {
    sys::term::unlock_peer(ptmx.as_fd()).context("unlock the pseudo terminal")?;
    // By the master, not by /dev/pts/N: that path may be another terminal in another devpts.
    let slave = sys::term::open_peer(ptmx.as_fd()).context("open the pseudo terminal's slave")?;
    if let Some(size) = size {
        sys::term::set_window_size(ptmx.as_fd(), &size).context("set process.consoleSize")?;
    }
    Ok(Pty { master: ptmx, slave })
}

/// Disables the conversion of a line feed to carriage return and line feed. `terminal` is either
/// end; both have the same flags.
///
/// Only for a foreground `run` or `exec`, before the container's program starts: there the caller's
/// terminal does that conversion ([`super::supervise`] leaves it enabled), and output to a file
/// stays as the program wrote it. A master that goes to `--console-socket` keeps the kernel's
/// default, as with runc: its reader may write to a terminal in raw mode, where a bare line feed
/// does not return to the first column.
pub fn clear_onlcr(terminal: BorrowedFd<'_>) -> Result<()> {
    let mut flags = tcgetattr(terminal).context("read the console's settings")?;
    flags.output_flags.remove(OutputFlags::ONLCR);
    tcsetattr(terminal, SetArg::TCSANOW, &flags).context("change the console's settings")
}

/// Bind mounts the terminal on `target`, a descriptor (possibly `O_PATH`) of `/dev/console` that
/// the caller's safe look-up has found.
pub fn bind_console(slave: BorrowedFd<'_>, target: BorrowedFd<'_>) -> Result<()> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH;
    let mount = open_tree(slave, "", flags).context("clone the console's mount")?;
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(mount, "", target, "", flags).context("mount the console on /dev/console")
}

/// Makes the terminal the controlling terminal of the session. The caller leads a new session
/// (setsid(2)) without a terminal.
pub fn control(slave: BorrowedFd<'_>) -> nix::Result<()> {
    ioctl_tiocsctty(slave).map_err(sys::to_nix)
}

/// Makes the terminal the process's standard input, output and error.
pub fn attach(slave: BorrowedFd<'_>) -> Result<()> {
    for (number, copy) in (0..).zip(super::stdio::COPY_TO) {
        if slave.as_raw_fd() == number {
            // dup2 of a descriptor to itself changes nothing, so close-on-exec would stay set.
            use nix::fcntl::{FcntlArg, FdFlag, fcntl};
            fcntl(slave, FcntlArg::F_SETFD(FdFlag::empty())).context("fcntl the console")?;
        } else {
            copy(slave).with_context(|| format!("dup2 the console to {number}"))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use nix::fcntl::{OFlag, open as open_path};
    use nix::sys::stat::Mode;

    use super::*;

    /// Opens ptmx; `None` if only root may open it, as usual outside of containers.
    fn ptmx() -> Option<OwnedFd> {
        let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
        match open_path("/dev/pts/ptmx", flags, Mode::empty()) {
            Err(nix::errno::Errno::EACCES) => None,
            result => Some(result.unwrap()),
        }
    }

    #[test]
    fn the_slave_belongs_to_the_master_and_has_the_size() {
        let size = console_size(24, 81).unwrap();
        let Some(ptmx) = ptmx() else { return };
        let pty = open(ptmx, size).unwrap();
        let seen = sys::term::window_size(pty.slave.as_fd()).unwrap();
        assert_eq!((seen.ws_row, seen.ws_col), (24, 81));
        let stat = fstat(&pty.slave).unwrap();
        assert_eq!(major(stat.st_rdev), 136);
        nix::unistd::write(&pty.slave, b"a\nb").unwrap();
        let mut buffer = [0; 16];
        let length = nix::unistd::read(&pty.master, &mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"a\r\nb", "the kernel's default is kept");
        clear_onlcr(pty.master.as_fd()).unwrap();
        nix::unistd::write(&pty.slave, b"a\nb").unwrap();
        let length = nix::unistd::read(&pty.master, &mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"a\nb");
    }

    #[test]
    fn both_ends_are_close_on_exec() {
        use nix::fcntl::{FcntlArg, FdFlag, fcntl};
        let Some(ptmx) = ptmx() else { return };
        let pty = open(ptmx, None).unwrap();
        for fd in [pty.master.as_fd(), pty.slave.as_fd()] {
            let flags = FdFlag::from_bits_retain(fcntl(fd, FcntlArg::F_GETFD).unwrap());
            assert!(flags.contains(FdFlag::FD_CLOEXEC));
        }
    }

    #[test]
    fn what_is_no_ptmx_is_refused() {
        let null = OwnedFd::from(File::open("/dev/null").unwrap());
        let error = open(null, None).unwrap_err().to_string();
        assert!(error.contains("not character device 5:2"), "{error}");
        let Some(ptmx) = ptmx() else { return };
        let slave = open(ptmx, None).unwrap().slave;
        let error = open(slave, None).unwrap_err().to_string();
        assert!(error.contains("not character device 5:2"), "{error}");
    }

    #[test]
    fn a_ptmx_off_devpts_is_refused() {
        // The right numbers on the wrong file system, as an image could have.
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ptmx");
        let device = nix::sys::stat::makedev(5, 2);
        match nix::sys::stat::mknod(&path, SFlag::S_IFCHR, Mode::S_IRUSR, device) {
            Ok(()) => {}
            // Only root can create the node.
            Err(nix::errno::Errno::EPERM) => return,
            Err(errno) => panic!("mknod: {errno}"),
        }
        let node = open_path(&path, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty()).unwrap();
        let error = verify_ptmx(node.as_fd()).unwrap_err().to_string();
        assert!(error.contains("not on a devpts"), "{error}");
    }

    #[test]
    fn sizes_that_no_terminal_has_are_refused() {
        assert!(console_size(0, 80).unwrap().is_none());
        assert!(console_size(80, 0).unwrap().is_none());
        assert!(console_size(65535, 65535).unwrap().is_some());
        let error = console_size(65536, 80).unwrap_err().to_string();
        assert!(error.contains("process.consoleSize.height: 65536"), "{error}");
        assert!(console_size(1, u64::MAX).is_err());
    }
}
