//! Events for containerd, in their order. While containerd cannot be reached they are kept.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use nix::poll::PollFlags;
use prost::Message;

use super::connection::write_some;
use crate::proto::any::Any;
use crate::proto::events::{Envelope, Event, ForwardRequest, METHOD, SERVICE};
use crate::wire::frame::{self, REQUEST, RESPONSE};
use crate::wire::rpc::{Request, Response};

/// The most events that are kept; the oldest are dropped first.
const MOST: usize = 4096;

/// The pause after the first failure. It doubles with each further failure, up to the longest.
const PAUSE: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(5);

/// Publishes events through containerd's ttrpc socket.
pub struct Publisher {
    /// The socket; without one there is nobody to send events to.
    address: Option<PathBuf>,
    namespace: String,
    /// Encoded requests. The first is in transit if `link` has one in transit.
    queue: VecDeque<Vec<u8>>,
    link: Option<Link>,
    pause: Duration,
    again: Option<Instant>,
}

struct Link {
    stream: UnixStream,
    unsent: Vec<u8>,
    received: Vec<u8>,
    /// The stream id of the request in transit.
    transit: Option<u32>,
    next: u32,
}

impl Publisher {
    pub fn new(address: Option<PathBuf>, namespace: String) -> Publisher {
        let queue = VecDeque::new();
        Publisher { address, namespace, queue, link: None, pause: PAUSE, again: None }
    }

    /// Adds an event behind the others.
    pub fn publish<E: Event>(&mut self, event: &E) {
        if self.address.is_none() {
            return;
        }
        let envelope = Envelope {
            timestamp: Some(SystemTime::now().into()),
            namespace: self.namespace.clone(),
            topic: E::TOPIC.to_owned(),
            event: Some(Any::pack(event)),
        };
        let payload = ForwardRequest { envelope: Some(envelope) }.encode_to_vec();
        let request = Request { service: SERVICE.into(), method: METHOD.into(), payload };
        if self.queue.len() >= MOST {
            log::error!("{MOST} events wait for containerd; the oldest is dropped");
            // Not the one in transit.
            self.queue.remove(1);
        }
        self.queue.push_back(request.encode_to_vec());
        self.run();
    }

    /// Whether every event has reached containerd.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Tries again now: containerd may be back.
    pub fn hurry(&mut self) {
        (self.again, self.pause) = (None, PAUSE);
    }

    /// Returns when to call [`Publisher::run`] at the latest.
    pub fn deadline(&self) -> Option<Instant> {
        self.again
    }

    /// Returns what to wait for.
    pub fn awaits(&self) -> Option<(BorrowedFd<'_>, PollFlags)> {
        let link = self.link.as_ref()?;
        let mut flags = PollFlags::POLLIN;
        flags.set(PollFlags::POLLOUT, !link.unsent.is_empty());
        Some((link.stream.as_fd(), flags))
    }

    /// Sends the next event as soon as containerd has taken the one before.
    pub fn run(&mut self) {
        loop {
            if self.again.is_some_and(|again| Instant::now() < again) {
                return;
            }
            self.again = None;
            if let Some(link) = &mut self.link {
                match link.answer() {
                    Answer::None => {}
                    Answer::Taken => {
                        self.queue.pop_front();
                        self.pause = PAUSE;
                    }
                    Answer::Ended => {
                        self.link = None;
                        // At once: containerd closes connections when it is restarted.
                        continue;
                    }
                }
            }
            let Some(event) = self.queue.front() else { return };
            let Some(link) = &mut self.link else {
                match self.address.as_ref().map(Link::open) {
                    Some(Ok(link)) => self.link = Some(link),
                    _ => {
                        self.again = Instant::now().checked_add(self.pause);
                        self.pause = (self.pause * 2).min(LONGEST);
                        return;
                    }
                }
                continue;
            };
            if link.transit.is_some() {
                if link.flush() {
                    return;
                }
            } else if link.send(event) {
                return;
            }
            self.link = None;
            self.again = Instant::now().checked_add(self.pause);
        }
    }
}

enum Answer {
    None,
    Taken,
    Ended,
}

impl Link {
    fn open(address: &PathBuf) -> std::io::Result<Link> {
        let stream = UnixStream::connect(address)?;
        stream.set_nonblocking(true)?;
        Ok(Link { stream, unsent: Vec::new(), received: Vec::new(), transit: None, next: 1 })
    }

    fn send(&mut self, request: &[u8]) -> bool {
        if let Err(frame::TooLong(length)) =
            frame::put(&mut self.unsent, self.next, REQUEST, request)
        {
            log::error!("an event has {length} bytes");
            return false;
        }
        self.transit = Some(self.next);
        // Streams of clients have odd numbers.
        self.next = self.next.wrapping_add(2);
        self.flush()
    }

    fn flush(&mut self) -> bool {
        write_some(&mut self.stream, &mut self.unsent)
    }

    /// Reads the response to the request in transit.
    fn answer(&mut self) -> Answer {
        let mut buffer = [0; 512];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => return Answer::Ended,
                Ok(length) => {
                    self.received.extend_from_slice(buffer.get(..length).unwrap_or_default());
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Answer::Ended,
            }
        }
        loop {
            match frame::take(&mut self.received) {
                Ok(Some(frame)) if frame.kind == RESPONSE && Some(frame.stream) == self.transit => {
                    self.transit = None;
                    let status = Response::decode(frame.data.as_slice()).map(|got| got.status);
                    if let Ok(Some(status)) = status.map(|got| got.filter(|got| got.code != 0)) {
                        log::warn!("containerd refused an event: {}", status.message);
                    }
                    return Answer::Taken;
                }
                Ok(Some(_)) => {}
                Ok(None) => return Answer::None,
                Err(_) => return Answer::Ended,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::net::UnixListener;

    use super::*;
    use crate::proto::events::{TaskOom, TaskStart};

    /// Takes the next event of a connection, and answers if `answers`.
    fn take(stream: &mut UnixStream, answers: bool) -> Envelope {
        let mut buffer = Vec::new();
        let frame = loop {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            buffer.push(byte[0]);
            if let Some(frame) = frame::take(&mut buffer).unwrap() {
                break frame;
            }
        };
        let request = Request::decode(&frame.data[..]).unwrap();
        assert_eq!((request.service.as_str(), request.method.as_str()), (SERVICE, METHOD));
        if answers {
            let mut bytes = Vec::new();
            frame::put(&mut bytes, frame.stream, RESPONSE, &[]).unwrap();
            stream.write_all(&bytes).unwrap();
        }
        ForwardRequest::decode(&request.payload[..]).unwrap().envelope.unwrap()
    }

    fn run_until_due(publisher: &mut Publisher) {
        while let Some(again) = publisher.deadline() {
            std::thread::sleep(again.saturating_duration_since(Instant::now()));
            publisher.run();
        }
    }

    #[test]
    fn events_survive_a_restart_of_containerd_in_their_order() {
        let dir = tempfile::tempdir().unwrap();
        let address = dir.path().join("s");
        let mut publisher = Publisher::new(Some(address.clone()), "ns".into());
        publisher.publish(&TaskStart { container_id: "c".into(), pid: 1 });
        publisher.publish(&TaskOom { container_id: "c".into() });
        assert!(publisher.deadline().is_some());
        let listener = UnixListener::bind(&address).unwrap();
        run_until_due(&mut publisher);
        let mut first = listener.accept().unwrap().0;
        let envelope = take(&mut first, false);
        assert_eq!((envelope.topic.as_str(), envelope.namespace.as_str()), ("/tasks/start", "ns"));
        // Without an answer it is sent again, to the next containerd.
        drop((first, listener));
        std::fs::remove_file(&address).unwrap();
        publisher.run();
        let listener = UnixListener::bind(&address).unwrap();
        run_until_due(&mut publisher);
        let mut second = listener.accept().unwrap().0;
        assert_eq!(take(&mut second, true).topic, "/tasks/start");
        publisher.run();
        assert!(!publisher.is_empty());
        let oom = take(&mut second, true);
        assert_eq!(oom.topic, "/tasks/oom");
        assert!(oom.event.unwrap().is("containerd.events.TaskOOM"));
        publisher.run();
        assert!(publisher.is_empty());
    }

    #[test]
    fn without_a_socket_nothing_is_kept() {
        let mut publisher = Publisher::new(None, "ns".into());
        publisher.publish(&TaskOom { container_id: "c".into() });
        assert!(publisher.is_empty());
    }
}
