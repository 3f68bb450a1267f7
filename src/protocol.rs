//! The messages between the runtime and init while a container is created.
//!
//! Both ends hold a SOCK_SEQPACKET socket. A message is a packet: a tag byte, then the payload. It
//! is sent only if the plan needs it; the default container needs Ready and Go. `due` of create and of
//! exec has the order, and `spawn::handshake` accepts no other; ARCHITECTURE.md shows it.
//!
//! In an exec, end of file after Go means that the child has closed the socket before it cloned the
//! process of the program, whose result is reported through shared memory (`init::birth`).
//!
//! At any point before Go, init can end the exchange with `Failed`. End of file from the runtime
//! makes init exit, so that a killed runtime leaves no orphan.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::sys::socket::Shutdown;
use rustix::io::retry_on_intr;

use crate::sys::fdpass;
use crate::{Context, Error, Kind, Result};

/// The maximum size of a message in bytes; an error is truncated to fit.
pub const MAX: usize = 4096;

/// A message from init to the runtime.
#[derive(Debug)]
pub enum ToParent {
    /// Init is in a new user namespace that has no maps yet.
    NeedMap,
    /// The go-between has cloned init, with this process id in the runtime's pid namespace. Where the
    /// pid namespace is joined, init sends nothing before [`ToInit::Adopted`]: its messages must not
    /// precede its id.
    Pid(i32),
    /// Init is in its network namespace, into which devices are to be moved.
    NeedNetDevices,
    /// Init has created a time namespace, whose offsets are to be written.
    NeedOffsets,
    /// The mounts are made: prestart and createRuntime hooks may run.
    NeedHooks,
    /// The mount with this index in the list of mounts, made by init and to be idmapped.
    NeedIdmap(u32, OwnedFd),
    Console(OwnedFd),
    /// The number of the seccomp listener in init; the runtime takes it by pidfd_getfd(2).
    SeccompFd(RawFd),
    /// Everything is in place, in the user namespace of this inode number (0 if it is the runtime's
    /// own).
    Ready {
        user_namespace: u64,
    },
    Failed(Error),
}

/// A message from the runtime to init.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum ToInit {
    /// Both maps are written.
    Mapped = b'm',
    NetDevicesMoved = b'd',
    OffsetsWritten = b't',
    Idmapped = b'i',
    /// The runtime has registered the process that was cloned into a joined pid namespace.
    Adopted = b'a',
    CgroupReady = b'c',
    HooksDone = b'h',
    /// The listener is delivered.
    SeccompTaken = b's',
    /// Init may execute the program, or wait for `start`.
    Go = b'g',
}

/// One end of the connection.
#[derive(Debug)]
pub struct Socket(OwnedFd);

/// Creates both ends: the runtime's, then init's.
pub fn pair() -> Result<(Socket, Socket)> {
    let (runtime, init) = fdpass::pair().context("create the socket pair to init")?;
    Ok((Socket(runtime), Socket(init)))
}

impl Socket {
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// Init: sends a message to the runtime, by write(2) (except a descriptor), because a seccomp
    /// filter that forbids sendmsg(2) may be in force already.
    pub fn tell_parent(&self, message: &ToParent) -> Result<()> {
        let bytes = match message {
            ToParent::NeedMap => vec![b'M'],
            ToParent::Pid(pid) => tagged(b'P', &pid.to_le_bytes()),
            ToParent::NeedNetDevices => vec![b'D'],
            ToParent::NeedOffsets => vec![b'T'],
            ToParent::NeedHooks => vec![b'H'],
            ToParent::NeedIdmap(index, mount) => {
                let bytes = tagged(b'I', &index.to_le_bytes());
                return fdpass::send_with_fd(self.fd(), &bytes, Some(mount.as_fd()))
                    .context("hand a mount to the runtime");
            }
            ToParent::Console(master) => {
                return fdpass::send_with_fd(self.fd(), b"C", Some(master.as_fd()))
                    .context("hand the terminal to the runtime");
            }
            ToParent::SeccompFd(fd) => tagged(b'S', &fd.to_le_bytes()),
            ToParent::Ready { user_namespace } => tagged(b'R', &user_namespace.to_le_bytes()),
            ToParent::Failed(error) => encode_error(error),
        };
        retry_on_intr(|| rustix::io::write(&self.0, &bytes)).context("send to the runtime")?;
        Ok(())
    }

    /// Init: waits for the message `expected`. The exit of the runtime is an error.
    pub fn wait_for(&self, expected: ToInit) -> Result<()> {
        let mut byte = [0];
        match read(&self.0, &mut byte).context("wait for the runtime")? {
            0 => Err(Error::new(Kind::System, "the runtime exited")),
            _ if byte[0] == expected as u8 => Ok(()),
            _ => Err(Error::new(Kind::System, "unexpected message from the runtime")),
        }
    }

    /// Runtime: sends a message to init. Returns false if init is gone; [`Socket::next`] then
    /// returns init's error, which is more precise than EPIPE, or end of file.
    pub fn tell_init(&self, message: ToInit) -> Result<bool> {
        match retry_on_intr(|| rustix::io::write(&self.0, &[message as u8])) {
            Err(rustix::io::Errno::PIPE | rustix::io::Errno::CONNRESET) => Ok(false),
            sent => sent.map(|_| true).context("send to init"),
        }
    }

    /// Runtime: receives the next message; `None` at the end of file.
    pub fn next(&self) -> Result<Option<ToParent>> {
        let mut buffer = [0; MAX];
        let received = match fdpass::recv_with_fd(self.fd(), &mut buffer) {
            // Reported once, if init exits without reading every message; init's own messages
            // follow.
            Err(error) if error.errno() == Some(Errno::ECONNRESET) => {
                fdpass::recv_with_fd(self.fd(), &mut buffer)
            }
            answer => answer,
        };
        let (length, fd) = received.context("receive from init")?;
        let Some((tag, payload)) = buffer[..length].split_first() else { return Ok(None) };
        let number = || payload.try_into().map(i32::from_le_bytes).ok();
        let message = match (tag, fd) {
            (b'M', None) => Some(ToParent::NeedMap),
            (b'P', None) => number().map(ToParent::Pid),
            (b'D', None) => Some(ToParent::NeedNetDevices),
            (b'T', None) => Some(ToParent::NeedOffsets),
            (b'H', None) => Some(ToParent::NeedHooks),
            (b'I', Some(fd)) => {
                let index = payload.try_into().map(u32::from_le_bytes).ok();
                index.map(|index| ToParent::NeedIdmap(index, fd))
            }
            (b'C', Some(fd)) => Some(ToParent::Console(fd)),
            (b'S', None) => number().map(ToParent::SeccompFd),
            (b'R', None) => {
                let id = payload.try_into().map(u64::from_le_bytes).ok();
                id.map(|user_namespace| ToParent::Ready { user_namespace })
            }
            (b'F', None) => decode_error(&buffer[..length]).map(ToParent::Failed),
            _ => None,
        };
        message.map(Some).ok_or_else(|| Error::new(Kind::System, "unexpected message from init"))
    }

    /// Runtime: ends all processes on the other side, and waits until they are gone.
    pub fn shutdown_and_drain(&self) {
        // This fails only if no process is left.
        if nix::sys::socket::shutdown(self.0.as_raw_fd(), Shutdown::Write).is_ok() {
            while matches!(self.next(), Ok(Some(_))) {}
        }
    }
}

fn tagged(tag: u8, payload: &[u8]) -> Vec<u8> {
    [&[tag], payload].concat()
}

/// Separates the texts of an error's chain, none of which contains a control character.
const SEPARATOR: u8 = 0;

/// Encodes an error as a packet: tag, kind, error number, the texts of its chain. The cause comes
/// first, so that truncation does not lose it.
pub fn encode_error(error: &Error) -> Vec<u8> {
    let kind = KINDS.iter().find(|(kind, _)| *kind == error.kind()).map_or(b'e', |(_, tag)| *tag);
    let mut bytes = tagged(b'F', &[kind]);
    bytes.extend(error.raw_os_error().unwrap_or(0).to_le_bytes());
    let texts: Vec<&str> = error.texts().collect();
    for (index, text) in texts.into_iter().rev().enumerate() {
        if index > 0 {
            bytes.push(SEPARATOR);
        }
        bytes.extend(text.as_bytes());
    }
    bytes.truncate(MAX);
    bytes
}

/// Decodes an error from [`encode_error`], with its chain and its error number.
pub fn decode_error(bytes: &[u8]) -> Option<Error> {
    let (&[b'F', kind_tag, a, b, c, d], texts) = bytes.split_first_chunk::<6>()? else {
        return None;
    };
    let (kind, _) = KINDS.into_iter().find(|(_, tag)| *tag == kind_tag)?;
    let errno = Some(i32::from_le_bytes([a, b, c, d])).filter(|errno| *errno != 0);
    let texts = String::from_utf8_lossy(texts);
    Some(Error::restore(kind, errno, texts.split(char::from(SEPARATOR))))
}

const KINDS: [(Kind, u8); 4] =
    [(Kind::Invalid, b'i'), (Kind::NotFound, b'n'), (Kind::State, b's'), (Kind::System, b'e')];

/// Reads with read(2); repeats the call if a signal interrupts it.
pub fn read(fd: impl AsFd, buffer: &mut [u8]) -> rustix::io::Result<usize> {
    retry_on_intr(|| rustix::io::read(&fd, &mut *buffer))
}

impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_survive_the_way() {
        let error = Error::sys(Errno::EROFS).context("mount \"/x\"");
        let back = decode_error(&encode_error(&error)).unwrap();
        assert_eq!(back.to_string(), error.to_string());
        assert_eq!((back.kind(), back.errno()), (Kind::System, Some(Errno::EROFS)));
        assert_eq!((back.operation(), back.cause()), (Some("mount \"/x\""), error.cause()));
        let part = || "x".repeat(1000);
        let long = Error::new(Kind::Invalid, part());
        let long = (0..5).fold(long, |error, _| error.context(part()));
        let encoded = encode_error(&long);
        assert_eq!(encoded.len(), MAX);
        assert_eq!(decode_error(&encoded).unwrap().cause(), long.cause());
        assert!(decode_error(b"F").is_none() && decode_error(b"Fx0000text").is_none());
    }

    #[test]
    fn last_words_are_heard_after_the_end() {
        let (runtime, init) = pair().unwrap();
        assert!(runtime.tell_init(ToInit::CgroupReady).unwrap());
        let error = Error::new(Kind::System, "no such thing");
        init.tell_parent(&ToParent::Failed(error)).unwrap();
        // Closed with the runtime's message unread, which resets the connection.
        drop(init);
        let Some(ToParent::Failed(error)) = runtime.next().unwrap() else { panic!() };
        assert_eq!(error.to_string(), "no such thing");
        assert!(!runtime.tell_init(ToInit::Go).unwrap());
        assert!(runtime.next().unwrap().is_none());
    }

    #[test]
    fn end_of_file_is_told() {
        let (runtime, init) = pair().unwrap();
        init.tell_parent(&ToParent::Pid(42)).unwrap();
        assert!(matches!(runtime.next().unwrap(), Some(ToParent::Pid(42))));
        runtime.tell_init(ToInit::Go).unwrap();
        assert!(init.wait_for(ToInit::Mapped).is_err());
        drop(init);
        assert!(runtime.next().unwrap().is_none());
    }
}
