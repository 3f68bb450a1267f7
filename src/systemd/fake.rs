//! A fake bus for tests, which may misbehave.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::address::Address;
use super::unit::{TransientUnit, Unit};
use super::value::{Property, Value};
use super::wire::{ERROR, Message, REPLY, SIGNAL};
use crate::Result;

pub const LIMIT: Duration = Duration::from_millis(400);

/// The bus's side of a connection.
pub struct Peer {
    pub stream: UnixStream,
    pub buffer: Vec<u8>,
}

impl Peer {
    pub fn logged_in(mut self) -> Option<Peer> {
        for (line, answer) in
            [("\0AUTH EXTERNAL", "DATA\r\n"), ("DATA", "OK 0123\r\n"), ("BEGIN", "")]
        {
            assert_eq!(self.line()?, line);
            self.stream.write_all(answer.as_bytes()).ok()?;
        }
        Some(self)
    }

    pub fn line(&mut self) -> Option<String> {
        loop {
            if let Some(at) = self.buffer.windows(2).position(|pair| pair == b"\r\n") {
                let line = self.buffer.drain(..at + 2).take(at).collect();
                return String::from_utf8(line).ok();
            }
            self.fill()?;
        }
    }

    pub fn fill(&mut self) -> Option<()> {
        let mut bytes = [0; 4096];
        match self.stream.read(&mut bytes) {
            Ok(0) | Err(_) => None,
            Ok(count) => {
                self.buffer.extend(&bytes[..count]);
                Some(())
            }
        }
    }

    pub fn message(&mut self) -> Option<Message> {
        loop {
            if let Some(length) = Message::length(&self.buffer).unwrap()
                && self.buffer.len() >= length
            {
                let bytes: Vec<u8> = self.buffer.drain(..length).collect();
                return Some(Message::decode(&bytes).unwrap());
            }
            self.fill()?;
        }
    }

    pub fn send(&mut self, message: &Message) {
        // The other side may have hung up.
        let _ = self.stream.write_all(&message.encode().unwrap());
    }

    pub fn answer(&mut self, to: &Message, body: Vec<Value>) {
        let (kind, reply_serial) = (REPLY, to.serial);
        self.send(&Message { kind, serial: 1, reply_serial, body, ..Message::default() });
    }

    pub fn refuse(&mut self, to: &Message, error: &str) {
        self.send(&Message {
            kind: ERROR,
            serial: 1,
            reply_serial: to.serial,
            error: error.to_owned(),
            body: vec![Value::str("the reason")],
            ..Message::default()
        });
    }

    pub fn job_removed(&mut self, job: &str, result: &str) {
        self.send(&Message {
            kind: SIGNAL,
            serial: 1,
            path: "/org/freedesktop/systemd1".into(),
            interface: "org.freedesktop.systemd1.Manager".into(),
            member: "JobRemoved".into(),
            body: vec![
                Value::U32(1),
                Value::Path(job.into()),
                Value::str("x.scope"),
                Value::str(result),
            ],
            ..Message::default()
        });
    }
}

/// Answers a call; `false` ends the connection.
pub type Answer = fn(&mut Peer, &Message) -> bool;

pub struct Fake {
    dir: tempfile::TempDir,
    path: PathBuf,
    thread: Option<JoinHandle<()>>,
    said: Receiver<Message>,
}

impl Fake {
    /// Serves one connection: `log_in` first, then each call gets its `answer`.
    pub fn new(log_in: fn(Peer) -> Option<Peer>, answer: Answer) -> Fake {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("bus");
        let listener = UnixListener::bind(&path).unwrap();
        let (tell, said) = channel();
        let thread = std::thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            let Some(mut peer) = log_in(Peer { stream, buffer: Vec::new() }) else { return };
            while let Some(message) = peer.message() {
                tell.send(message.clone()).unwrap();
                if message.member == "Hello" {
                    peer.answer(&message, vec![Value::str(":1.1")]);
                } else if message.member != "AddMatch" && !answer(&mut peer, &message) {
                    return;
                }
            }
        });
        Fake { dir, path, thread: Some(thread), said }
    }

    /// Serves a connection without a login.
    pub fn mute(answer: Answer) -> Fake {
        fn wait(mut peer: Peer) -> Option<Peer> {
            while peer.fill().is_some() {}
            None
        }
        Fake::new(wait, answer)
    }

    pub fn unit(&self) -> Unit {
        let address = format!("\"unix:path={}\"", self.path.display());
        let address: Address = serde_json::from_str(&address).unwrap();
        let description = "bulkhead container x".to_owned();
        Unit { name: "x.scope".to_owned(), description, user: false, address }
    }

    pub fn request(&self) -> TransientUnit {
        let slice = Some("a.slice".to_owned());
        let properties = vec![Property::since(252, "CPUWeight", Value::U64(0))];
        TransientUnit { unit: self.unit(), slice, properties }
    }

    /// Starts the unit within the time limit, with an allowance for a busy machine.
    pub fn start(&self) -> Result<PathBuf> {
        let begin = Instant::now();
        let result = self.request().start_within(77, LIMIT);
        assert!(begin.elapsed() < LIMIT + Duration::from_secs(10));
        result
    }

    /// Returns all calls, in order.
    pub fn calls(mut self) -> Vec<Message> {
        let thread = self.thread.take().unwrap();
        thread.join().unwrap();
        drop(self.dir);
        self.said.iter().collect()
    }
}

pub fn methods(calls: &[Message]) -> Vec<&str> {
    calls.iter().map(|message| message.member.as_str()).collect()
}

pub fn timed_out(fake: &Fake) {
    let begin = Instant::now();
    let error = fake.start().unwrap_err();
    assert!(error.to_string().ends_with("no answer within 0 s (does the bus or systemd hang?)"));
    assert!(begin.elapsed() >= LIMIT * 9 / 10, "it did not wait at all: {error}");
}

pub const JOB: &str = "/org/freedesktop/systemd1/job/7";

/// Answers like a working systemd.
pub fn good(peer: &mut Peer, call: &Message) -> bool {
    match call.member.as_str() {
        "StartTransientUnit" | "StopUnit" => {
            // The job of another client, and a signal before the answer, must not confuse.
            peer.job_removed("/org/freedesktop/systemd1/job/6", "failed");
            peer.job_removed(JOB, "done");
            peer.answer(call, vec![Value::Path(JOB.into())]);
        }
        "Get" => {
            let value = match call.body.get(1).and_then(Value::as_str) {
                Some("Version") => "252.1-x",
                Some("ControlGroup") => "/a.slice/x.scope",
                Some("Description") => "bulkhead container x",
                _ => "",
            };
            peer.answer(call, vec![Value::Variant(Box::new(Value::str(value)))]);
        }
        _ => peer.answer(call, Vec::new()),
    }
    true
}
