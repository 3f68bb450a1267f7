//! Sends and receives a message with at most one descriptor over a Unix socket (`SCM_RIGHTS`,
//! unix(7)).

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg,
    sendmsg, socketpair,
};

use super::failure::{Failure, to_nix};

/// The maximum number of descriptors in a message (`SCM_MAX_FD`). With room for all of them, no
/// descriptor is installed without its number being known.
const MOST: usize = 253;

const RECEIVE: &str = "recvmsg";

/// Makes a pair of connected sockets that keep the bounds of messages (SOCK_SEQPACKET).
pub fn pair() -> rustix::io::Result<(OwnedFd, OwnedFd)> {
    socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
}

/// Sends `bytes`, and `fd` with them.
///
/// `bytes` must not be empty: a stream socket would drop the descriptor, and on a packet socket the
/// message would read as the end of file. If the other end is closed, returns `EPIPE` without a
/// signal.
pub fn send_with_fd(
    socket: BorrowedFd<'_>,
    bytes: &[u8],
    fd: Option<BorrowedFd<'_>>,
) -> Result<(), Failure> {
    const SEND: &str = "sendmsg";
    if bytes.is_empty() {
        return Err(Failure::result(SEND, "a message must hold at least one byte"));
    }
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if let Some(fd) = &fd {
        // Space for one descriptor.
        control.push(SendAncillaryMessage::ScmRights(std::slice::from_ref(fd)));
    }
    let sent = loop {
        match sendmsg(socket, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL) {
            Err(Errno::INTR) => {}
            result => break result.map_err(to_nix).map_err(Failure::of(SEND))?,
        }
    };
    if sent != bytes.len() {
        let why = format!("only {sent} of {} bytes were taken", bytes.len());
        return Err(Failure::result(SEND, why));
    }
    Ok(())
}

/// Receives a message like [`recv_with_fds`]; more than one descriptor is an error.
pub fn recv_with_fd(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
) -> Result<(usize, Option<OwnedFd>), Failure> {
    let (length, mut fds) = recv_with_fds(socket, buffer)?;
    let fd = fds.pop();
    if !fds.is_empty() {
        let why = format!("{} descriptors came, one was expected", fds.len() + 1);
        return Err(Failure::result(RECEIVE, why));
    }
    Ok((length, fd))
}

/// Receives a message into `buffer`. Returns its length, and all its descriptors (close-on-exec). A
/// length of 0 means the end of file.
///
/// # Errors
/// If the message does not fit.
pub fn recv_with_fds(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
) -> Result<(usize, Vec<OwnedFd>), Failure> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let message = loop {
        let mut parts = [IoSliceMut::new(buffer)];
        match recvmsg(socket, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC) {
            Err(Errno::INTR) => {}
            result => break result.map_err(to_nix).map_err(Failure::of(RECEIVE))?,
        }
    };
    let mut fds: Vec<OwnedFd> = Vec::new();
    for received in control.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = received {
            fds.extend(received);
        }
    }
    if message.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
        return Err(Failure::result(RECEIVE, "the message was truncated"));
    }
    Ok((message.bytes, fds))
}

#[cfg(test)]
mod tests {
    use std::os::fd::{AsFd, AsRawFd};

    use nix::sys::socket::{
        AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, sendmsg, socketpair,
    };

    use super::*;

    fn pair(kind: SockType) -> (OwnedFd, OwnedFd) {
        socketpair(AddressFamily::Unix, kind, None, SockFlag::SOCK_CLOEXEC).unwrap()
    }

    #[test]
    fn a_descriptor_arrives_and_is_the_same_file() {
        for kind in [SockType::Stream, SockType::SeqPacket] {
            let (a, b) = pair(kind);
            let (read, write) = nix::unistd::pipe().unwrap();
            send_with_fd(a.as_fd(), b"hello", Some(write.as_fd())).unwrap();
            let mut buffer = [0; 16];
            let (length, fd) = recv_with_fd(b.as_fd(), &mut buffer).unwrap();
            assert_eq!(&buffer[..length], b"hello");
            nix::unistd::write(fd.unwrap(), b"x").unwrap();
            let mut byte = [0; 1];
            assert_eq!(nix::unistd::read(&read, &mut byte).unwrap(), 1);
        }
    }

    #[test]
    fn bytes_alone_and_end_of_file() {
        let (a, b) = pair(SockType::SeqPacket);
        send_with_fd(a.as_fd(), b"go", None).unwrap();
        drop(a);
        let mut buffer = [0; 2];
        let (length, fd) = recv_with_fd(b.as_fd(), &mut buffer).unwrap();
        assert_eq!((length, fd.is_none()), (2, true));
        assert_eq!(recv_with_fd(b.as_fd(), &mut buffer).unwrap().0, 0);
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        let (a, b) = pair(SockType::SeqPacket);
        send_with_fd(a.as_fd(), b"too long", None).unwrap();
        assert!(recv_with_fd(b.as_fd(), &mut [0; 2]).is_err());
        assert!(send_with_fd(a.as_fd(), b"", None).is_err());
    }

    #[test]
    fn more_than_one_descriptor_is_an_error_and_none_stays_open() {
        let (a, b) = pair(SockType::SeqPacket);
        let (read, write) = nix::unistd::pipe().unwrap();
        let raw = [write.as_raw_fd(); 3];
        let rights = [ControlMessage::ScmRights(&raw)];
        sendmsg::<()>(a.as_raw_fd(), &[IoSlice::new(b"3")], &rights, MsgFlags::empty(), None)
            .unwrap();
        let error = recv_with_fd(b.as_fd(), &mut [0; 2]).unwrap_err();
        assert!(format!("{error:?}").contains("3 descriptors"), "{error:?}");
        drop(write);
        // The end of file is reached only if every copy of the writing end is closed.
        assert_eq!(nix::unistd::read(&read, &mut [0; 1]).unwrap(), 0);
    }

    #[test]
    fn a_closed_peer_is_an_error_not_a_signal() {
        let (a, b) = pair(SockType::Stream);
        drop(b);
        let error = send_with_fd(a.as_fd(), b"x", None).unwrap_err();
        assert_eq!(error.errno(), Some(nix::errno::Errno::EPIPE));
    }
}
