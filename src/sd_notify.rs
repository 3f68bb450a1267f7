//! Readiness (sd_notify(3)): messages from a socket inside the container are passed on to the service
//! manager that has set `NOTIFY_SOCKET` for the runtime.
//!
//! ```text
//! <root>/<id>/notify/notify.sock  ==bind, read-only==>  /run/notify/notify.sock
//! ```
//!
//! The container is not trusted: only datagrams of a bounded size and known lines in them are passed
//! on, and never a descriptor. The main process is named by the runtime. One datagram is held at a
//! time, and while the service manager does not accept it, none is read: only the container waits.

use std::ffi::OsString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::fs::{AtFlags, FileType, Mode, OFlags};

use crate::fs::PATH;
use crate::sys::fdpass::send_with_fd;
use crate::{Context, Error, Kind, Result, log};

/// The directory in a container's own.
pub const DIR: &str = "notify";

/// The socket in it.
pub const SOCKET: &str = "notify.sock";

/// Where the directory is mounted in the container.
pub const INSIDE: &str = "/run/notify";

/// The socket's path in the container.
pub const ADDRESS: &str = "/run/notify/notify.sock";

/// The environment variable that names the socket.
pub const VARIABLE: &str = "NOTIFY_SOCKET";

/// No longer message is looked at, in bytes.
const LONGEST: usize = 4096;

/// How long to wait for an acknowledgement of the service manager, in milliseconds.
const PATIENCE: u16 = 30_000;

/// The most datagrams that are passed on once the container's process has ended.
const REST: usize = 64;

/// The address of the service manager.
#[derive(Debug, Clone)]
pub struct Host(SocketAddr);

impl Host {
    /// Reads `NOTIFY_SOCKET` from the runtime's environment: an absolute path, or `@` and an abstract
    /// name.
    pub fn from_environment() -> Result<Option<Host>> {
        let value = std::env::var_os(VARIABLE).filter(|value| !value.is_empty());
        value.map(Host::new).transpose()
    }

    fn new(value: OsString) -> Result<Host> {
        let address = match value.as_bytes() {
            [b'/', ..] => SocketAddr::from_pathname(&value),
            [b'@', name @ ..] if !name.is_empty() => SocketAddr::from_abstract_name(name),
            _ => {
                let why = "neither an absolute path nor an abstract name that begins with @";
                return Err(Error::invalid(VARIABLE, value.to_string_lossy(), why));
            }
        };
        address.map(Host).map_err(|e| Error::invalid(VARIABLE, value.to_string_lossy(), e))
    }

    fn connect(&self) -> Result<UnixDatagram> {
        let socket = UnixDatagram::unbound()?;
        socket.connect_addr(&self.0)?;
        socket.set_nonblocking(true)?;
        Ok(socket)
    }
}

/// Makes the directory that is mounted. The socket comes when somebody is there to listen.
pub fn make_dir(container: BorrowedFd<'_>) -> Result<()> {
    let make = || -> rustix::io::Result<()> {
        rustix::fs::mkdirat(container, DIR, Mode::RWXU)?;
        // Whatever the umask: the container's user must find the socket.
        rustix::fs::fchmod(open_dir(container)?, Mode::from_raw_mode(0o755))
    };
    make().with_context(|| format!("create {DIR:?}"))
}

/// Removes the directory and the socket, if they exist.
pub fn remove_dir(container: BorrowedFd<'_>) -> Result<()> {
    let remove = || -> rustix::io::Result<()> {
        match open_dir(container) {
            Ok(dir) => gone(rustix::fs::unlinkat(dir, SOCKET, AtFlags::empty()))?,
            Err(rustix::io::Errno::NOENT) => return Ok(()),
            Err(errno) => return Err(errno),
        }
        gone(rustix::fs::unlinkat(container, DIR, AtFlags::REMOVEDIR))
    };
    remove().with_context(|| format!("remove {DIR:?}"))
}

/// Accepts ENOENT: the file is gone already.
fn gone(answer: rustix::io::Result<()>) -> rustix::io::Result<()> {
    match answer {
        Err(rustix::io::Errno::NOENT) => Ok(()),
        answer => answer,
    }
}

/// Lets every user of the container write to the socket, whatever the umask. No name is followed: a
/// container that may mount could make its view of the directory writable and put a link there.
fn open_to_all(dir: BorrowedFd<'_>) -> Result<()> {
    let flags = PATH | OFlags::NOFOLLOW;
    let socket = rustix::fs::openat(dir, SOCKET, flags, Mode::empty())?;
    let mode = rustix::fs::fstat(&socket)?.st_mode;
    if FileType::from_raw_mode(mode) != FileType::Socket {
        return Err(Error::new(Kind::System, "replaced by another file"));
    }
    // fchmod(2) refuses a descriptor of O_PATH; its link in /proc/self/fd names the same file.
    let link = format!("/proc/self/fd/{}", socket.as_raw_fd());
    Ok(rustix::fs::chmod(link, Mode::from_raw_mode(0o666))?)
}

fn open_dir(container: BorrowedFd<'_>) -> rustix::io::Result<std::os::fd::OwnedFd> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(container, DIR, flags, Mode::empty())
}

/// Passes messages from the container's socket to the service manager.
#[derive(Debug)]
pub struct Proxy {
    container: UnixDatagram,
    /// `None` once the service manager cannot be reached.
    host: Option<UnixDatagram>,
    pending: Option<Message>,
    main_pid: u32,
    ready: bool,
}

impl Proxy {
    /// Creates the container's socket, before its program runs. Returns `None` if create has made no
    /// directory for it. A service manager that cannot be reached is a warning, since the container
    /// works without it.
    pub fn bind(container: BorrowedFd<'_>, host: &Host) -> Result<Option<Proxy>> {
        let dir = match open_dir(container) {
            Ok(dir) => dir,
            Err(rustix::io::Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(errno).with_context(|| format!("open {DIR:?}")),
        };
        // A socket is left by a start that was killed.
        gone(rustix::fs::unlinkat(&dir, SOCKET, AtFlags::empty()))
            .with_context(|| format!("remove {SOCKET}"))?;
        // By descriptor: a socket's path must be short, and --root may be long.
        let path = format!("/proc/self/fd/{}/{SOCKET}", dir.as_raw_fd());
        let make = || -> Result<UnixDatagram> {
            let socket = UnixDatagram::bind(path)?;
            open_to_all(dir.as_fd())?;
            socket.set_nonblocking(true)?;
            Ok(socket)
        };
        let socket = make().with_context(|| format!("make the container's {SOCKET}"))?;
        let host = host.connect().context(VARIABLE).map_err(log::warn).ok();
        let main_pid = std::process::id();
        Ok(Some(Proxy { container: socket, host, pending: None, main_pid, ready: false }))
    }

    /// Sets the main process that the service manager is told, in place of this process.
    pub fn set_main_pid(&mut self, pid: i32) {
        self.main_pid = pid.unsigned_abs();
    }

    /// Returns the event to wait for before the next [`Proxy::step`].
    pub fn interest(&self) -> (BorrowedFd<'_>, PollFlags) {
        match (&self.host, &self.pending) {
            (Some(host), Some(_)) => (host.as_fd(), PollFlags::POLLOUT),
            _ => (self.container.as_fd(), PollFlags::POLLIN),
        }
    }

    /// Receives a datagram, or passes it on; never blocks. Returns whether there was anything to do.
    pub fn step(&mut self) -> bool {
        if self.pending.is_none() {
            let mut buffer = [0; LONGEST + 1];
            // Without room for control messages: the kernel closes descriptors that came along,
            // which is also all that a barrier (sd_notify_barrier(3)) waits for.
            let Ok(length) = self.container.recv(&mut buffer) else { return false };
            let bytes = buffer.get(..length).filter(|bytes| bytes.len() <= LONGEST);
            self.pending = bytes.and_then(|bytes| Message::of(bytes, self.main_pid));
        }
        self.send()
    }

    fn send(&mut self) -> bool {
        let Some(message) = &self.pending else { return true };
        let sent = self.host.as_ref().map(|host| host.send(message.text.as_bytes()));
        match sent {
            Some(Err(error)) if error.kind() == std::io::ErrorKind::WouldBlock => return false,
            Some(Err(error)) if error.kind() == std::io::ErrorKind::Interrupted => return true,
            Some(Err(error)) => {
                log::warn(Error::from(error).context(format!("{VARIABLE}: send")));
                self.host = None;
            }
            Some(Ok(_)) => self.ready |= message.ready,
            None => {}
        }
        self.pending = None;
        true
    }

    /// Passes messages on until the container is ready or has ended, and the service manager has them.
    pub fn until_ready(mut self, init: BorrowedFd<'_>) -> Result<()> {
        while !self.ready && self.host.is_some() {
            let (fd, events) = self.interest();
            let mut fds = [PollFd::new(fd, events), PollFd::new(init, PollFlags::POLLIN)];
            match poll(&mut fds, PollTimeout::NONE) {
                Ok(_) => {}
                Err(Errno::EINTR) => continue,
                Err(errno) => return Err(Error::from(errno).context("wait for READY=1")),
            }
            let [notified, ended] = fds.map(|fd| fd.any().unwrap_or(true));
            if notified {
                self.step();
            } else if ended {
                break;
            }
        }
        if self.ready {
            self.barrier();
        }
        Ok(())
    }

    /// Passes on what is left when the container's process has ended.
    pub fn finish(mut self) {
        for _ in 0..REST {
            if !self.step() {
                break;
            }
        }
    }

    /// Waits until the service manager has received everything: it can identify a sender only while
    /// the sender exists.
    fn barrier(&self) {
        let Some(host) = &self.host else { return };
        let wait = || -> Result<()> {
            let (near, far) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC)?;
            wait_at_most(host.as_fd(), PollFlags::POLLOUT)?;
            send_with_fd(host.as_fd(), b"BARRIER=1", Some(far.as_fd()))?;
            drop(far);
            wait_at_most(near.as_fd(), PollFlags::POLLIN)
        };
        if let Err(error) = wait() {
            log::warn(error.context(format!("{VARIABLE}: wait for the service manager")));
        }
    }
}

fn wait_at_most(fd: BorrowedFd<'_>, events: PollFlags) -> Result<()> {
    loop {
        match poll(&mut [PollFd::new(fd, events)], PollTimeout::from(PATIENCE)) {
            Ok(0) => return Err(Error::from(Errno::ETIMEDOUT)),
            Ok(_) => return Ok(()),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(Error::from(errno)),
        }
    }
}

/// The part of one datagram that is passed on.
#[derive(Debug, PartialEq, Eq)]
struct Message {
    text: String,
    ready: bool,
}

impl Message {
    /// Parses a datagram; `None` if it has no known line. Readiness comes first, with the main process.
    fn of(datagram: &[u8], main_pid: u32) -> Option<Message> {
        let text = std::str::from_utf8(datagram).ok()?;
        let mut lines: Vec<&str> = text.split('\n').filter(|line| is_known(line)).collect();
        let ready = lines.contains(&READY);
        lines.retain(|line| *line != READY);
        let main = format!("{READY}\nMAINPID={main_pid}");
        if ready {
            lines.insert(0, &main);
        }
        (!lines.is_empty()).then(|| Message { text: lines.join("\n"), ready })
    }
}

const READY: &str = "READY=1";

/// Returns whether a line informs about the service without power over it. Process ids would be those
/// of the container's pid namespace; `NOTIFYACCESS`, `FDSTORE` and the like are for the runtime.
fn is_known(line: &str) -> bool {
    let Some((name, value)) = line.split_once('=') else { return false };
    match name {
        "READY" | "RELOADING" | "STOPPING" | "WATCHDOG" => value == "1",
        "ERRNO" | "MONOTONIC_USEC" => {
            (1..=20).contains(&value.len()) && value.bytes().all(|byte| byte.is_ascii_digit())
        }
        "STATUS" => !value.contains(char::is_control),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passed(datagram: &str) -> Option<String> {
        Message::of(datagram.as_bytes(), 42).map(|message| message.text)
    }

    #[test]
    fn known_lines_are_passed_on_and_no_others() {
        assert_eq!(passed("READY=1").unwrap(), "READY=1\nMAINPID=42");
        assert_eq!(
            passed("STATUS=two of 3\nMAINPID=1\nREADY=1\nFDSTORE=1\n").unwrap(),
            "READY=1\nMAINPID=42\nSTATUS=two of 3"
        );
        assert_eq!(passed("STOPPING=1\nERRNO=2").unwrap(), "STOPPING=1\nERRNO=2");
        for nothing in [
            "",
            "\n\n",
            "READY=0",
            "READY=1x",
            "MAINPID=1",
            "BARRIER=1",
            "NOTIFYACCESS=all",
            "READY",
            "ERRNO=",
            "ERRNO=x",
            "STATUS=\u{1b}[2J",
            "WATCHDOG_USEC=1",
            " READY=1",
            "ready=1",
        ] {
            assert_eq!(passed(nothing), None, "{nothing:?}");
        }
        assert_eq!(Message::of(b"READY=1\nSTATUS=\xff", 42), None, "no UTF-8");
    }

    #[test]
    fn addresses() {
        for good in ["/run/systemd/notify", "@abstract"] {
            assert!(Host::new(good.into()).is_ok(), "{good}");
        }
        let long = format!("/{}", "x".repeat(200));
        for bad in ["@", "relative", "vsock:2:1", long.as_str()] {
            let error = Host::new(bad.into()).unwrap_err().to_string();
            assert!(error.starts_with("NOTIFY_SOCKET: "), "{bad}: {error}");
        }
    }
}
