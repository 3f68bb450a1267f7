//! A buffer of a fixed size between a read and a write.

use std::os::fd::BorrowedFd;

use nix::unistd::read;

/// Bytes that were read and not yet written.
pub(super) struct Buffer {
    bytes: Box<[u8]>,
    start: usize,
    end: usize,
}

impl Buffer {
    pub(super) fn new(size: usize) -> Buffer {
        Buffer { bytes: vec![0; size].into_boxed_slice(), start: 0, end: 0 }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Whether to read more. Free space at the front counts only if it is half of the buffer, so
    /// that moving the bytes is worth its cost.
    pub(super) fn has_room(&self) -> bool {
        self.end < self.bytes.len() || self.start >= self.bytes.len() / 2
    }

    pub(super) fn pending(&self) -> &[u8] {
        self.bytes.get(self.start..self.end).unwrap_or_default()
    }

    pub(super) fn clear(&mut self) {
        (self.start, self.end) = (0, 0);
    }

    /// Reads once, at most `most` bytes.
    pub(super) fn fill(&mut self, fd: BorrowedFd<'_>, most: usize) -> nix::Result<usize> {
        if self.end == self.bytes.len() {
            self.bytes.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        let room = self.bytes.get_mut(self.end..).unwrap_or_default();
        let most = most.min(room.len());
        let length = read(fd, room.get_mut(..most).unwrap_or_default())?;
        self.end += length;
        Ok(length)
    }

    /// Makes the first `length` bytes pending.
    #[cfg(test)]
    pub(super) fn pretend_filled(&mut self, length: usize) {
        (self.start, self.end) = (0, length);
    }

    pub(super) fn consume(&mut self, length: usize) {
        self.start = (self.start + length).min(self.end);
        if self.is_empty() {
            self.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use nix::unistd::write;

    use super::*;

    #[test]
    fn a_buffer_keeps_order_and_never_grows() {
        let (near, far) = nix::unistd::pipe().unwrap();
        let mut buffer = Buffer::new(8);
        write(&far, b"abcdefghijkl").unwrap();
        assert_eq!(buffer.fill(near.as_fd(), 100), Ok(8));
        assert!(!buffer.has_room());
        buffer.consume(3);
        assert!(!buffer.has_room(), "less than half is free");
        buffer.consume(2);
        assert!(buffer.has_room());
        assert_eq!(buffer.fill(near.as_fd(), 2), Ok(2));
        assert_eq!(buffer.pending(), b"fghij");
        assert_eq!(buffer.fill(near.as_fd(), 100), Ok(2));
        assert_eq!(buffer.pending(), b"fghijkl");
        buffer.consume(100);
        assert!(buffer.is_empty() && buffer.has_room());
    }
}
