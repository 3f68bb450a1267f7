//! A connection to a message bus, with one deadline for all operations on it.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::sockopt::SendTimeout;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, setsockopt, socket};
use nix::sys::time::TimeVal;

use super::address::{Address, Socket};
use super::value::Value;
use super::wire::{CALL, ERROR, Message, NO_REPLY, REPLY, SIGNAL};
use crate::{Context, Error, Kind, Result};

const BUS: &str = "org.freedesktop.DBus";

/// The whole login: the mechanism, an empty answer to the bus's request for data, and the end.
const LOGIN: &[u8] = b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n";

/// The maximum length of a line of the handshake; the real ones are much shorter.
const MAX_LINE: usize = 4096;

/// The maximum number of signals that are kept while waiting for an answer.
const MAX_KEPT: usize = 4096;

/// The failure of a call.
#[derive(Debug)]
pub enum Failure {
    /// The call was refused: the name and the text of the error.
    Refused(String, String),
    /// The connection failed.
    Broken(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Broken(error)
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Error {
        match failure {
            Failure::Refused(name, text) => {
                let name = name.rsplit('.').next().unwrap_or_default();
                Error::new(Kind::System, format!("{text} ({name})"))
            }
            Failure::Broken(error) => error,
        }
    }
}

/// An open connection.
pub struct Bus {
    stream: UnixStream,
    /// Received bytes that are not parsed yet.
    buffer: Vec<u8>,
    serial: u32,
    end: Instant,
    limit: Duration,
    direct: bool,
    signals: VecDeque<Message>,
}

impl Bus {
    /// Connects and logs in. All operations on the connection end within `limit`.
    pub fn connect(address: &Address, limit: Duration) -> Result<Bus> {
        let end = Instant::now() + limit;
        let mut first = None;
        for target in address.sockets()? {
            match Bus::open(&target, end, limit) {
                Ok(bus) => return Ok(bus),
                // Report the error of the first socket, which is the one that should exist.
                Err(error) => {
                    first.get_or_insert(error);
                }
            }
        }
        Err(first.unwrap_or_else(|| timed_out(limit)))
    }

    fn open(target: &Socket, end: Instant, limit: Duration) -> Result<Bus> {
        let mut bus = Bus {
            stream: connect_to(target, end, limit)?,
            buffer: Vec::new(),
            serial: 0,
            end,
            limit,
            direct: target.is_direct(),
            signals: VecDeque::new(),
        };
        bus.authenticate().with_context(|| format!("log in to {}", name(target)))?;
        if !bus.direct {
            bus.call(BUS, "/org/freedesktop/DBus", BUS, "Hello", Vec::new())
                .context("register with the bus")?;
        }
        Ok(bus)
    }

    /// Logs in. The kernel passes the user id to the bus; it is not part of the login, because in a
    /// user namespace the bus sees another id.
    ///
    /// The login is a single write, as in systemd's own clients: if its last line arrived together
    /// with the first message, systemd's private socket would not process that message until the
    /// next message arrives.
    fn authenticate(&mut self) -> Result<()> {
        self.send(LOGIN)?;
        loop {
            let line = self.line()?;
            match line.split(' ').next() {
                Some("DATA") => {}
                Some("OK") => return Ok(()),
                _ => {
                    let why = format!("the bus refuses this user ({line:?})");
                    return Err(Error::new(Kind::System, why));
                }
            }
        }
    }

    fn line(&mut self) -> Result<String> {
        loop {
            if let Some(at) = self.buffer.windows(2).position(|pair| pair == b"\r\n") {
                let line: Vec<u8> = self.buffer.drain(..at + 2).take(at).collect();
                return Ok(String::from_utf8_lossy(&line).into_owned());
            }
            if self.buffer.len() > MAX_LINE {
                return Err(Error::new(Kind::System, "not a D-Bus server"));
            }
            self.fill()?;
        }
    }

    /// Calls a method and waits for its result.
    pub fn call(
        &mut self,
        to: &str,
        path: &str,
        interface: &str,
        member: &str,
        body: Vec<Value>,
    ) -> Result<Vec<Value>, Failure> {
        let serial = self.say(to, path, interface, member, body, 0)?;
        loop {
            let message = self.next_message()?;
            match message.kind {
                REPLY if message.reply_serial == serial => return Ok(message.body),
                ERROR if message.reply_serial == serial => {
                    let text = message.body.first().and_then(Value::as_str).unwrap_or_default();
                    return Err(Failure::Refused(message.error, text.to_owned()));
                }
                SIGNAL if self.signals.len() < MAX_KEPT => self.signals.push_back(message),
                _ => {}
            }
        }
    }

    /// Subscribes to the signals that match `rule`. A service manager without a bus sends them
    /// anyway.
    pub fn subscribe(&mut self, rule: &str) -> Result<()> {
        if self.direct {
            return Ok(());
        }
        // The bus processes the messages of a connection in order.
        let body = vec![Value::str(rule)];
        self.say(BUS, "/org/freedesktop/DBus", BUS, "AddMatch", body, NO_REPLY).map(drop)
    }

    /// Waits for the next signal.
    pub fn signal(&mut self) -> Result<Message> {
        loop {
            if let Some(message) = self.signals.pop_front() {
                return Ok(message);
            }
            let message = self.next_message()?;
            if message.kind == SIGNAL {
                return Ok(message);
            }
        }
    }

    fn say(
        &mut self,
        to: &str,
        path: &str,
        interface: &str,
        member: &str,
        body: Vec<Value>,
        flags: u8,
    ) -> Result<u32> {
        self.serial = self.serial.wrapping_add(1).max(1);
        let message = Message {
            kind: CALL,
            flags,
            serial: self.serial,
            path: path.to_owned(),
            interface: interface.to_owned(),
            member: member.to_owned(),
            destination: if self.direct { String::new() } else { to.to_owned() },
            body,
            ..Message::default()
        };
        let bytes = message.encode().ok_or_else(|| {
            let why = format!("the arguments of {member} are too long, or have a NUL in a text");
            Error::new(Kind::Invalid, why)
        })?;
        self.send(&bytes)?;
        Ok(self.serial)
    }

    fn next_message(&mut self) -> Result<Message> {
        let bad = |what| Error::new(Kind::System, format!("the bus has sent {what}"));
        loop {
            // A server that requests no data (systemd before 246) answers the data with OK or an
            // error.
            while matches!(self.buffer.first(), Some(b'O' | b'E')) {
                self.line()?;
            }
            if let Some(length) = Message::length(&self.buffer).map_err(bad)?
                && self.buffer.len() >= length
            {
                let bytes: Vec<u8> = self.buffer.drain(..length).collect();
                return Message::decode(&bytes).map_err(bad);
            }
            self.fill()?;
        }
    }

    fn send(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            self.stream.set_write_timeout(Some(left(self.end, self.limit)?))?;
            match self.stream.write(bytes) {
                Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
                Err(error) => again(&error).ok_or(error).context("write to the bus")?,
            }
        }
        Ok(())
    }

    fn fill(&mut self) -> Result<()> {
        let mut bytes = [0; 4096];
        self.stream.set_read_timeout(Some(left(self.end, self.limit)?))?;
        match self.stream.read(&mut bytes) {
            Ok(0) => return Err(Error::new(Kind::System, "the bus has closed the connection")),
            Ok(count) => self.buffer.extend(bytes.iter().take(count)),
            Err(error) => again(&error).ok_or(error).context("read from the bus")?,
        }
        Ok(())
    }
}

/// Returns `Some` if the operation is to be repeated; an expired deadline is detected then.
fn again(error: &std::io::Error) -> Option<()> {
    use ErrorKind::{Interrupted, TimedOut, WouldBlock};
    matches!(error.kind(), Interrupted | TimedOut | WouldBlock).then_some(())
}

fn left(end: Instant, limit: Duration) -> Result<Duration> {
    let left = end.saturating_duration_since(Instant::now());
    // 0 would mean no limit at all.
    if left < Duration::from_millis(1) { Err(timed_out(limit)) } else { Ok(left) }
}

fn timed_out(limit: Duration) -> Error {
    let why = format!("no answer within {} s (does the bus or systemd hang?)", limit.as_secs());
    Error::new(Kind::System, why)
}

fn name(target: &Socket) -> String {
    match target {
        Socket::Path(path) => format!("{path:?}"),
        Socket::Abstract(name) => format!("abstract {:?}", String::from_utf8_lossy(name)),
    }
}

fn connect_to(target: &Socket, end: Instant, limit: Duration) -> Result<UnixStream> {
    let what = || format!("connect to {}", name(target));
    let address = match target {
        Socket::Path(path) => UnixAddr::new(path),
        Socket::Abstract(name) => UnixAddr::new_abstract(name),
    };
    let address = address.with_context(what)?;
    let flags = SockFlag::SOCK_CLOEXEC;
    let socket = socket(AddressFamily::Unix, SockType::Stream, flags, None).with_context(what)?;
    loop {
        // connect(2) blocks if the bus accepts no connections and its queue is full.
        let time = left(end, limit)?;
        let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
        let time = TimeVal::new(seconds, i64::from(time.subsec_micros()));
        setsockopt(&socket, SendTimeout, &time).with_context(what)?;
        match connect(socket.as_raw_fd(), &address) {
            Ok(()) => return Ok(UnixStream::from(socket)),
            Err(Errno::EINTR | Errno::EAGAIN) => {}
            Err(errno) => return Err(errno).with_context(what),
        }
    }
}
