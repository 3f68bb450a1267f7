//! Frames: a header of 10 bytes (length of the data and stream id, both big-endian; type; flags), and
//! the data.

/// The maximum length of the data, as in containerd's implementation.
pub const MAX: usize = 4 << 20;

const HEADER: usize = 10;

/// A request, sent by a client.
pub const REQUEST: u8 = 1;
/// The response to the request with the same stream id.
pub const RESPONSE: u8 = 2;

/// A received frame.
#[derive(Debug, PartialEq, Eq)]
pub struct Frame {
    pub stream: u32,
    pub kind: u8,
    pub data: Vec<u8>,
}

/// The peer has announced more data than a frame may hold.
#[derive(Debug, PartialEq, Eq)]
pub struct TooLong(pub usize);

/// Removes the first frame from `buffer`; `None` if it is not complete.
pub fn take(buffer: &mut Vec<u8>) -> Result<Option<Frame>, TooLong> {
    let Some(header) = buffer.first_chunk::<HEADER>() else { return Ok(None) };
    let [l0, l1, l2, l3, s0, s1, s2, s3, kind, _flags] = *header;
    let length = u32::from_be_bytes([l0, l1, l2, l3]) as usize;
    if length > MAX {
        return Err(TooLong(length));
    }
    let Some(data) = buffer.get(HEADER..HEADER + length) else { return Ok(None) };
    let frame = Frame { stream: u32::from_be_bytes([s0, s1, s2, s3]), kind, data: data.to_vec() };
    buffer.drain(..HEADER + length);
    Ok(Some(frame))
}

/// Appends a frame to `buffer`.
///
/// # Errors
/// The data is too long.
pub fn put(buffer: &mut Vec<u8>, stream: u32, kind: u8, data: &[u8]) -> Result<(), TooLong> {
    let length = u32::try_from(data.len()).ok().filter(|_| data.len() <= MAX);
    let length = length.ok_or(TooLong(data.len()))?;
    buffer.extend_from_slice(&length.to_be_bytes());
    buffer.extend_from_slice(&stream.to_be_bytes());
    buffer.extend_from_slice(&[kind, 0]);
    buffer.extend_from_slice(data);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_has_the_layout_of_the_protocol() {
        let mut buffer = Vec::new();
        put(&mut buffer, 0x0102_0305, REQUEST, b"ab").unwrap();
        assert_eq!(buffer, [0, 0, 0, 2, 1, 2, 3, 5, 1, 0, b'a', b'b']);
    }

    #[test]
    fn frames_are_taken_when_they_are_complete() {
        let mut sent = Vec::new();
        put(&mut sent, 1, REQUEST, b"one").unwrap();
        put(&mut sent, 3, RESPONSE, b"").unwrap();
        let (mut buffer, mut taken) = (Vec::new(), Vec::new());
        for byte in sent {
            buffer.push(byte);
            while let Some(frame) = take(&mut buffer).unwrap() {
                taken.push(frame);
            }
        }
        let one = Frame { stream: 1, kind: REQUEST, data: b"one".to_vec() };
        let two = Frame { stream: 3, kind: RESPONSE, data: Vec::new() };
        assert_eq!((taken, buffer), (vec![one, two], Vec::new()));
    }

    #[test]
    fn a_frame_that_is_too_long_is_refused_at_its_header() {
        let mut buffer = vec![0, 0x40, 0, 1, 0, 0, 0, 1, 1, 0];
        assert_eq!(take(&mut buffer), Err(TooLong(MAX + 1)));
        buffer[3] = 0;
        assert_eq!(take(&mut buffer), Ok(None));
        assert_eq!(put(&mut buffer, 1, REQUEST, &vec![0; MAX + 1]), Err(TooLong(MAX + 1)));
    }
}
