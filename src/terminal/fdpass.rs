//! One message with at most one descriptor over a Unix socket (`SCM_RIGHTS`, unix(7)).

use std::io::IoSlice;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};

use crate::{Context, Error, Kind, Result, sys};

/// Sends `bytes`, and `fd` with them.
///
/// `bytes` must not be empty: a stream socket would drop the descriptor, and on a socket of
/// packets it would read as the end of file. A socket whose other end is closed gives `EPIPE`,
/// never the signal.
pub fn send_with_fd(
    socket: BorrowedFd<'_>,
    bytes: &[u8],
    fd: Option<BorrowedFd<'_>>,
) -> Result<()> {
    if bytes.is_empty() {
        return Err(Error::new(Kind::System, "a message must hold at least one byte"));
    }
    let raw = fd.map(|fd| [fd.as_raw_fd()]);
    let rights = raw.as_ref().map(|raw| ControlMessage::ScmRights(raw));
    let sent = loop {
        match sendmsg::<()>(
            socket.as_raw_fd(),
            &[IoSlice::new(bytes)],
            rights.as_slice(),
            MsgFlags::MSG_NOSIGNAL,
            None,
        ) {
            Err(Errno::EINTR) => {}
            result => break result.context("sendmsg")?,
        }
    };
    if sent != bytes.len() {
        let why = format!("sendmsg: only {sent} of {} bytes were taken", bytes.len());
        return Err(Error::new(Kind::System, why));
    }
    Ok(())
}

/// Receives one message into `buffer`: its length, and the descriptor (close-on-exec) if it came
/// with one. A length of 0 is the end of file.
///
/// A message that does not fit, or that brings more than one descriptor, is an error.
pub fn recv_with_fd(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> Result<(usize, Option<OwnedFd>)> {
    let (length, flags, mut fds) = loop {
        match sys::term::receive(socket, buffer) {
            Err(Errno::EINTR) => {}
            result => break result.context("recvmsg")?,
        }
    };
    if flags.intersects(MsgFlags::MSG_TRUNC | MsgFlags::MSG_CTRUNC) {
        return Err(Error::new(Kind::System, "recvmsg: the message was cut short"));
    }
    let fd = fds.pop();
    if !fds.is_empty() {
        let why = format!("recvmsg: {} descriptors came, one was expected", fds.len() + 1);
        return Err(Error::new(Kind::System, why));
    }
    Ok((length, fd))
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};

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
        assert!(error.to_string().contains("3 descriptors"), "{error}");
        drop(write);
        // End of file only if every copy of the writing end is closed.
        assert_eq!(nix::unistd::read(&read, &mut [0; 1]).unwrap(), 0);
    }

    #[test]
    fn a_closed_peer_is_an_error_not_a_signal() {
        let (a, b) = pair(SockType::Stream);
        drop(b);
        let error = send_with_fd(a.as_fd(), b"x", None).unwrap_err();
        assert_eq!(error.errno(), Some(Errno::EPIPE));
    }
}
