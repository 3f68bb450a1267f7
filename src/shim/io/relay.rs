//! Moves bytes from one descriptor to another without blocking.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::io::Errno;
use rustix::pipe::{SpliceFlags, splice};

/// How many bytes a call of [`Relay::run`] moves at a time, and how often: other descriptors get
/// their turn after a megabyte.
const PART: usize = 1 << 16;
const PARTS: usize = 16;

/// How many bytes are copied at a time if the kernel cannot move them.
const COPIED: usize = 4096;

/// A direction of a process's standard streams. Both ends do not block.
#[derive(Debug)]
pub struct Relay {
    from: OwnedFd,
    to: OwnedFd,
    /// Whether the kernel can move bytes between the two, which needs a pipe.
    splice: bool,
    /// Bytes that were read and not yet written.
    rest: Vec<u8>,
    awaits: Awaited,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Awaited {
    Source,
    Destination,
}

/// What a part has come to.
enum Step {
    Moved,
    Blocked(Awaited),
    Ended,
}

impl Relay {
    pub fn new(from: OwnedFd, to: OwnedFd) -> Relay {
        Relay { from, to, splice: true, rest: Vec::new(), awaits: Awaited::Source }
    }

    /// Returns what to wait for before the next call of [`Relay::run`].
    pub fn awaits(&self) -> (BorrowedFd<'_>, PollFlags) {
        match self.awaits {
            Awaited::Source => (self.from.as_fd(), PollFlags::POLLIN),
            Awaited::Destination => (self.to.as_fd(), PollFlags::POLLOUT),
        }
    }

    /// Moves what can be moved now. Returns whether the end was reached: of the source, or of the
    /// readers of the destination.
    pub fn run(&mut self) -> bool {
        for _ in 0..PARTS {
            let step =
                if self.splice && self.rest.is_empty() { self.splice() } else { self.copy() };
            match step {
                Step::Moved => {}
                Step::Blocked(on) => {
                    self.awaits = on;
                    return false;
                }
                Step::Ended => return true,
            }
        }
        false
    }

    fn splice(&mut self) -> Step {
        let flags = SpliceFlags::NONBLOCK | SpliceFlags::MOVE;
        match splice(&self.from, None, &self.to, None, PART, flags) {
            Ok(0) => Step::Ended,
            Ok(_) | Err(Errno::INTR) => Step::Moved,
            // Either end can be the reason.
            Err(Errno::AGAIN) if readable(self.from.as_fd()) => Step::Blocked(Awaited::Destination),
            Err(Errno::AGAIN) => Step::Blocked(Awaited::Source),
            // No pipe, or a file that is opened for appending.
            Err(Errno::INVAL) => {
                self.splice = false;
                Step::Moved
            }
            // EPIPE; EIO if a terminal was hung up.
            Err(_) => Step::Ended,
        }
    }

    fn copy(&mut self) -> Step {
        if self.rest.is_empty() {
            let mut buffer = [0; COPIED];
            match rustix::io::read(&self.from, &mut buffer) {
                Ok(0) => return Step::Ended,
                Ok(length) => self.rest.extend_from_slice(buffer.get(..length).unwrap_or_default()),
                Err(Errno::INTR) => return Step::Moved,
                Err(Errno::AGAIN) => return Step::Blocked(Awaited::Source),
                // EIO: the last process has closed the terminal.
                Err(_) => return Step::Ended,
            }
        }
        match rustix::io::write(&self.to, &self.rest) {
            Ok(length) => {
                self.rest.drain(..length);
                Step::Moved
            }
            Err(Errno::INTR) => Step::Moved,
            Err(Errno::AGAIN) => Step::Blocked(Awaited::Destination),
            Err(_) => Step::Ended,
        }
    }
}

fn readable(fd: BorrowedFd<'_>) -> bool {
    let mut fds = [PollFd::new(fd, PollFlags::POLLIN)];
    let found = poll(&mut fds, PollTimeout::ZERO);
    found.is_ok_and(|found| found > 0)
        && fds.iter().all(|fd| fd.revents().is_some_and(|got| got.contains(PollFlags::POLLIN)))
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Read;

    use rustix::pipe::{PipeFlags, pipe_with};

    use super::*;

    fn pipe() -> (OwnedFd, OwnedFd) {
        pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).unwrap()
    }

    #[test]
    fn a_slow_reader_gets_every_byte() {
        let (from, source) = pipe();
        let (sink, to) = pipe();
        let mut sink = File::from(sink);
        let mut relay = Relay::new(from, to);
        let bytes: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
        let (mut sent, mut got, mut waited) = (0, Vec::new(), false);
        let mut buffer = [0; 7000];
        while got.len() < bytes.len() {
            // Writes of any size, and a reader that reads only when nothing else can be done.
            let part = &bytes[sent..bytes.len().min(sent + 777)];
            let written = rustix::io::write(&source, part).unwrap_or(0);
            sent += written;
            assert!(!relay.run());
            if written == 0 {
                waited |= relay.awaits == Awaited::Destination;
                let length = sink.read(&mut buffer).unwrap_or(0);
                got.extend_from_slice(&buffer[..length]);
            }
        }
        assert!(waited);
        assert!(got == bytes, "{} bytes", got.len());
        drop(source);
        assert!(relay.run());
    }

    #[test]
    fn a_file_for_appending_is_written_too() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "a").unwrap();
        let to = File::options().append(true).open(file.path()).unwrap();
        let (from, source) = pipe();
        rustix::io::write(&source, b"bc").unwrap();
        let mut relay = Relay::new(from, to.into());
        assert!(!relay.run());
        drop(source);
        assert!(relay.run());
        assert_eq!(std::fs::read_to_string(file.path()).unwrap(), "abc");
    }

    #[test]
    fn the_end_of_the_reader_ends_the_relay() {
        let (from, source) = pipe();
        let (sink, to) = pipe();
        let mut relay = Relay::new(from, to);
        assert!(!relay.run());
        drop(sink);
        rustix::io::write(&source, b"x").unwrap();
        assert!(relay.run());
    }
}
