//! Requests to the kernel over a netlink socket, netlink(7) and rtnetlink(7).

use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, connect, recvfrom,
    send, socket,
};

/// The size of `struct nlmsghdr`.
const HEADER: usize = 16;
/// linux/netlink.h: the attribute of a refusal with its reason.
const NLMSGERR_ATTR_MSG: u16 = 1;
/// Larger than the parts of a list, which the kernel writes in pages.
const BUFFER: usize = 32 << 10;
/// A list that changed while it was read is read again, up to this number of times.
const ATTEMPTS: usize = 16;

/// The kernel's refusal of a request.
#[derive(Debug)]
pub struct Refusal {
    /// The error number.
    pub errno: Errno,
    /// The reason, if the kernel gives one.
    pub reason: Option<String>,
}

impl From<Errno> for Refusal {
    fn from(errno: Errno) -> Refusal {
        Refusal { errno, reason: None }
    }
}

/// A message to the kernel.
pub struct Request(Vec<u8>);

impl Request {
    /// Starts a message of a kind (`RTM_*`) with its fixed part.
    pub fn new(kind: u16, fixed: &[u8]) -> Request {
        let mut bytes = vec![0; HEADER];
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes.extend(fixed);
        Request(bytes)
    }

    /// Adds an attribute.
    pub fn attribute(mut self, kind: u16, value: &[u8]) -> Request {
        // The caller's values are names, addresses and numbers.
        let length = (4 + value.len()) as u16;
        self.0.extend(length.to_ne_bytes());
        self.0.extend(kind.to_ne_bytes());
        self.0.extend(value);
        self.0.resize(align(self.0.len()), 0);
        self
    }
}

/// A connection to the kernel's rtnetlink, in the network namespace that the caller was in when it
/// was opened.
#[derive(Debug)]
pub struct Socket {
    fd: OwnedFd,
    serial: u32,
}

impl Socket {
    /// Opens a connection in the network namespace of the caller.
    pub fn open() -> nix::Result<Socket> {
        let fd = socket(
            AddressFamily::Netlink,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            SockProtocol::NetlinkRoute,
        )?;
        // From now on the socket receives from the kernel alone: root of a container could send
        // to a socket in the container's network namespace.
        connect(fd.as_raw_fd(), &NetlinkAddr::new(0, 0))?;
        let on: libc::c_int = 1;
        // SAFETY: the option reads an int, which is on the stack.
        Errno::result(unsafe {
            libc::setsockopt(
                fd.as_raw_fd(),
                libc::SOL_NETLINK,
                libc::NETLINK_EXT_ACK,
                (&raw const on).cast(),
                size_of_val(&on) as libc::socklen_t,
            )
        })?;
        Ok(Socket { fd, serial: 0 })
    }

    /// Makes a change.
    pub fn change(&mut self, request: Request) -> Result<(), Refusal> {
        let flags = libc::NLM_F_REQUEST | libc::NLM_F_ACK;
        self.send(request, flags as u16)?;
        self.receive(|_| ()).map(drop)
    }

    /// Creates an object, and fails if it exists.
    pub fn create(&mut self, request: Request) -> Result<(), Refusal> {
        let flags = libc::NLM_F_REQUEST | libc::NLM_F_ACK | libc::NLM_F_CREATE | libc::NLM_F_EXCL;
        self.send(request, flags as u16)?;
        self.receive(|_| ()).map(drop)
    }

    /// Returns the object that a request names.
    pub fn get(&mut self, request: Request) -> Result<Vec<u8>, Refusal> {
        // With an acknowledgement at the end, which is what `receive` waits for.
        let flags = libc::NLM_F_REQUEST | libc::NLM_F_ACK;
        self.send(request, flags as u16)?;
        let mut found = Vec::new();
        self.receive(|payload| found = payload.to_vec())?;
        Ok(found)
    }

    /// Returns all objects of a kind.
    pub fn list(&mut self, request: impl Fn() -> Request) -> Result<Vec<Vec<u8>>, Refusal> {
        for _ in 0..ATTEMPTS {
            let mut found = Vec::new();
            self.send(request(), (libc::NLM_F_REQUEST | libc::NLM_F_DUMP) as u16)?;
            if self.receive(|payload| found.push(payload.to_vec()))? {
                return Ok(found);
            }
        }
        Err(Refusal::from(Errno::EAGAIN))
    }

    fn send(&mut self, Request(mut bytes): Request, flags: u16) -> nix::Result<()> {
        self.serial = self.serial.wrapping_add(1);
        let length = bytes.len() as u32;
        bytes[..4].copy_from_slice(&length.to_ne_bytes());
        bytes[6..8].copy_from_slice(&flags.to_ne_bytes());
        bytes[8..12].copy_from_slice(&self.serial.to_ne_bytes());
        send(self.fd.as_raw_fd(), &bytes, MsgFlags::empty()).map(drop)
    }

    /// Receives up to the acknowledgement, or the end of a list. Returns false if the list changed
    /// on the way.
    fn receive(&mut self, mut each: impl FnMut(&[u8])) -> Result<bool, Refusal> {
        let mut buffer = vec![0; BUFFER];
        let mut is_consistent = true;
        loop {
            let (length, from) = match recvfrom::<NetlinkAddr>(self.fd.as_raw_fd(), &mut buffer) {
                Err(Errno::EINTR) => continue,
                answer => answer?,
            };
            // A message can arrive before the socket is connected.
            if from.is_none_or(|from| from.pid() != 0) {
                continue;
            }
            for message in messages(&buffer[..length]) {
                if message.serial != self.serial {
                    continue;
                }
                is_consistent &= message.flags & libc::NLM_F_DUMP_INTR as u16 == 0;
                match i32::from(message.kind) {
                    libc::NLMSG_ERROR => return refusal(&message).map(|()| is_consistent),
                    // A list can end with an error, too.
                    libc::NLMSG_DONE => match u32_at(message.payload, 0).map(u32::cast_signed) {
                        Some(code) if code < 0 => return Err(Errno::from_raw(-code).into()),
                        _ => return Ok(is_consistent),
                    },
                    _ => each(message.payload),
                }
            }
        }
    }
}

/// A message from the kernel.
struct Message<'a> {
    kind: u16,
    flags: u16,
    serial: u32,
    payload: &'a [u8],
}

/// Returns the messages of a packet. Ignores what follows a malformed one.
fn messages(mut bytes: &[u8]) -> impl Iterator<Item = Message<'_>> {
    std::iter::from_fn(move || {
        let length = u32_at(bytes, 0)? as usize;
        let message = Message {
            kind: u16_at(bytes, 4)?,
            flags: u16_at(bytes, 6)?,
            serial: u32_at(bytes, 8)?,
            payload: bytes.get(HEADER..length)?,
        };
        bytes = bytes.get(align(length)..).unwrap_or_default();
        Some(message)
    })
}

/// Returns the attributes of a message: kind and value of each. Ignores what follows a malformed
/// one.
pub fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16_at(bytes, 0)?);
        // The two highest bits are flags.
        let kind = u16_at(bytes, 2)? & 0x3fff;
        let value = bytes.get(4..length)?;
        bytes = bytes.get(align(length)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// Interprets an acknowledgement: a negative error number, the request, and with the flag ACK_TLVS
/// attributes.
fn refusal(message: &Message<'_>) -> Result<(), Refusal> {
    let errno = u32_at(message.payload, 0).map_or(libc::EBADMSG, |code| -code.cast_signed());
    if errno == 0 {
        return Ok(());
    }
    let given = if message.flags & libc::NLM_F_ACK_TLVS as u16 != 0 {
        let request = match message.flags & libc::NLM_F_CAPPED as u16 {
            0 => u32_at(message.payload, 4).map_or(0, |length| align(length as usize)),
            _ => HEADER,
        };
        message.payload.get(4 + request..).unwrap_or_default()
    } else {
        &[]
    };
    let reason = attributes(given).find(|(kind, _)| *kind == NLMSGERR_ATTR_MSG);
    let reason = reason.map(|(_, text)| {
        String::from_utf8_lossy(text).trim_end_matches(['\0', '.', '\n']).to_owned()
    });
    Err(Refusal { errno: Errno::from_raw(errno), reason })
}

/// Rounds up to the alignment of messages and attributes.
fn align(length: usize) -> usize {
    length.next_multiple_of(4)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|chunk| u16::from_ne_bytes(*chunk))
}

/// Reads a number of 32 bits.
pub fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|chunk| u32::from_ne_bytes(*chunk))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: i32, flags: i32, payload: &[u8]) -> Vec<u8> {
        let Request(mut bytes) = Request::new(kind as u16, payload);
        let length = bytes.len() as u32;
        bytes[..4].copy_from_slice(&length.to_ne_bytes());
        bytes[6..8].copy_from_slice(&(flags as u16).to_ne_bytes());
        bytes
    }

    #[test]
    fn attributes_are_read_as_written() {
        let Request(bytes) =
            Request::new(19, &[0; 16]).attribute(3, b"lo\0").attribute(28, &[7; 4]);
        assert_eq!(bytes.len() % 4, 0);
        let read: Vec<_> = attributes(&bytes[32..]).collect();
        assert_eq!(read, [(3, &b"lo\0"[..]), (28, &[7; 4][..])]);
        for malformed in [&[0][..], &[3, 0, 1, 0], &[9, 0, 1, 0, 0, 0, 0, 0]] {
            assert_eq!(attributes(malformed).count(), 0, "{malformed:?}");
        }
    }

    #[test]
    fn packets_of_several_messages() {
        let mut packet = message(20, 0, &[1, 2, 3, 4]);
        packet.extend(message(libc::NLMSG_DONE, 0, &[0; 4]));
        let kinds: Vec<_> = messages(&packet).map(|message| message.kind).collect();
        assert_eq!(kinds, [20, libc::NLMSG_DONE as u16]);
        packet.truncate(packet.len() - 1);
        assert_eq!(messages(&packet).count(), 1);
        assert_eq!(messages(&[0; 16]).count(), 0);
    }

    #[test]
    fn reasons_of_the_kernel() {
        let mut payload = Vec::from((-libc::EINVAL).to_ne_bytes());
        payload.extend(message(19, 0, &[0; 16]));
        payload[4..8].copy_from_slice(&32u32.to_ne_bytes());
        let Request(attribute) =
            Request::new(0, &[]).attribute(NLMSGERR_ATTR_MSG, b"It is fixed.\0");
        payload.extend(&attribute[HEADER..]);
        let bytes = message(libc::NLMSG_ERROR, libc::NLM_F_ACK_TLVS, &payload);
        let refused = refusal(&messages(&bytes).next().unwrap()).unwrap_err();
        assert_eq!(refused.errno, Errno::EINVAL);
        assert_eq!(refused.reason.as_deref(), Some("It is fixed"));
        let bytes = message(libc::NLMSG_ERROR, 0, &[0; 20]);
        assert!(refusal(&messages(&bytes).next().unwrap()).is_ok());
    }

    #[test]
    fn the_kernel_answers() {
        let mut socket = Socket::open().unwrap();
        // RTM_GETLINK of the loopback device, then of none.
        let ask = |index: i32| {
            let mut fixed = [0; 16];
            fixed[4..8].copy_from_slice(&index.to_ne_bytes());
            Request::new(18, &fixed)
        };
        let found = socket.get(ask(1)).unwrap();
        assert_eq!(u32_at(&found, 4), Some(1));
        let refused = socket.get(ask(i32::MAX)).unwrap_err();
        assert_eq!(refused.errno, Errno::ENODEV);
        assert!(!socket.list(|| ask(0)).unwrap().is_empty());
    }
}
