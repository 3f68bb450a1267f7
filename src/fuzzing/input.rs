//! Decisions made from the bytes of a fuzzer.

/// Bytes that decide what a target generates. After the last byte every decision is the first choice,
/// so that a short input is a simple case.
#[derive(Debug)]
pub struct Input<'a> {
    rest: &'a [u8],
}

/// Numbers near the bounds of the types and of the ranges that the runtime checks.
const EDGES: [u64; 24] = [
    0,
    1,
    2,
    3,
    9,
    10,
    100,
    255,
    256,
    999,
    1000,
    1001,
    4095,
    4096,
    65_535,
    262_144,
    1_048_575,
    1_048_576,
    u32::MAX as u64 - 1,
    u32::MAX as u64,
    1 << 32,
    i64::MAX as u64,
    1 << 63,
    u64::MAX,
];

impl<'a> Input<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Input { rest: bytes }
    }

    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Takes the next byte.
    pub fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.rest.split_first() else { return 0 };
        self.rest = rest;
        *first
    }

    pub fn flag(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    /// Returns a number below `end`, which is at most 65536.
    pub fn below(&mut self, end: usize) -> usize {
        let low = usize::from(self.byte());
        let high = if end > 256 { usize::from(self.byte()) } else { 0 };
        (high << 8 | low) % end.max(1)
    }

    /// Returns one of `choices`.
    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    /// Returns a number: a small one, one near a bound, or any.
    pub fn number(&mut self) -> u64 {
        match self.byte() {
            small @ 0..128 => u64::from(small),
            edge @ 128..192 => EDGES[usize::from(edge - 128) % EDGES.len()],
            _ => u64::from_le_bytes(std::array::from_fn(|_| self.byte())),
        }
    }

    /// Takes up to `most` bytes, at most 255, as text.
    pub fn text(&mut self, most: usize) -> String {
        let length = self.below(most + 1).min(self.rest.len());
        let (text, rest) = self.rest.split_at(length);
        self.rest = rest;
        String::from_utf8_lossy(text).into_owned()
    }

    /// Takes all bytes that are left.
    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }
}
