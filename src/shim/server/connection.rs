//! A connection of a client.

use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use nix::poll::PollFlags;
use prost::Message;

use crate::wire::frame::{self, REQUEST, RESPONSE};
use crate::wire::rpc::{self, Code, Failure, Request};

/// How many bytes of responses may wait for a client that does not read them.
const MOST: usize = 16 << 20;

/// A connection, with what is not yet a whole request, and what is not yet sent.
pub struct Connection {
    stream: UnixStream,
    received: Vec<u8>,
    unsent: Vec<u8>,
}

/// A request with the stream id for its response.
pub type Numbered = (u32, Result<Request, Failure>);

impl Connection {
    pub fn new(stream: UnixStream) -> std::io::Result<Connection> {
        stream.set_nonblocking(true)?;
        Ok(Connection { stream, received: Vec::new(), unsent: Vec::new() })
    }

    /// Returns what to wait for.
    pub fn awaits(&self) -> (BorrowedFd<'_>, PollFlags) {
        let mut flags = PollFlags::POLLIN;
        flags.set(PollFlags::POLLOUT, !self.unsent.is_empty());
        (self.stream.as_fd(), flags)
    }

    /// Reads requests. Returns `None` for a connection that has ended or does not follow the protocol.
    pub fn read(&mut self) -> Option<Vec<Numbered>> {
        let mut buffer = [0; 8192];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => return None,
                Ok(length) => self.received.extend_from_slice(buffer.get(..length)?),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return None,
            }
            if self.received.len() > frame::MAX {
                break;
            }
        }
        let mut requests = Vec::new();
        loop {
            match frame::take(&mut self.received) {
                Ok(Some(frame)) if frame.kind == REQUEST => {
                    let request = Request::decode(frame.data.as_slice())
                        .map_err(|error| Failure::new(Code::InvalidArgument, error));
                    requests.push((frame.stream, request));
                }
                // Data of a stream, which no method here has.
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(frame::TooLong(length)) => {
                    log::error!("a client sent a message of {length} bytes");
                    return None;
                }
            }
        }
        if self.received.is_empty() {
            self.received = Vec::new();
        }
        Some(requests)
    }

    /// Sends a response, or keeps it until the client reads.
    pub fn respond(&mut self, stream: u32, result: Result<Vec<u8>, Failure>) {
        let sent = frame::put(&mut self.unsent, stream, RESPONSE, &rpc::response(result));
        if let Err(frame::TooLong(length)) = sent {
            let why = format!("the response has {length} bytes");
            let failure = Err(Failure::new(Code::Unknown, why));
            let _ = frame::put(&mut self.unsent, stream, RESPONSE, &rpc::response(failure));
        }
        let _ = self.write();
    }

    /// Sends what is not yet sent. Returns whether the connection still works.
    pub fn write(&mut self) -> bool {
        write_some(&mut self.stream, &mut self.unsent) && self.unsent.len() <= MOST
    }

    /// Whether every response was sent.
    pub fn is_flushed(&self) -> bool {
        self.unsent.is_empty()
    }
}

/// Writes as much of `bytes` as the socket takes, and removes it. Returns whether the connection still
/// works.
pub fn write_some(stream: &mut UnixStream, bytes: &mut Vec<u8>) -> bool {
    while !bytes.is_empty() {
        match stream.write(bytes) {
            Ok(length) => drop(bytes.drain(..length)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return false,
        }
    }
    *bytes = Vec::new();
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::rpc::Response;

    #[test]
    fn requests_are_answered_by_their_number() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let mut connection = Connection::new(ours).unwrap();
        let request = Request { service: "s".into(), method: "m".into(), payload: vec![1] };
        let mut bytes = Vec::new();
        frame::put(&mut bytes, 7, REQUEST, &request.encode_to_vec()).unwrap();
        let (first, second) = bytes.split_at(5);
        theirs.write_all(first).unwrap();
        assert_eq!(connection.read().unwrap(), []);
        theirs.write_all(second).unwrap();
        assert_eq!(connection.read().unwrap(), [(7, Ok(request))]);
        connection.respond(7, Ok(vec![5]));
        let mut buffer = vec![0; 64];
        let length = theirs.read(&mut buffer).unwrap();
        buffer.truncate(length);
        let frame = frame::take(&mut buffer).unwrap().unwrap();
        assert_eq!((frame.stream, frame.kind), (7, RESPONSE));
        assert_eq!(Response::decode(&frame.data[..]).unwrap().payload, [5]);
        drop(theirs);
        assert!(connection.read().is_none());
    }

    #[test]
    fn a_client_that_does_not_read_is_given_up() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let mut connection = Connection::new(ours).unwrap();
        for _ in 0..6 {
            connection.respond(1, Ok(vec![0; 3 << 20]));
        }
        assert!(!connection.write());
    }
}
