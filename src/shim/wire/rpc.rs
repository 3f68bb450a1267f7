//! The messages in frames (request.proto of ttrpc, status.proto of gRPC).

use prost::Message;

/// The data of a request frame.
#[derive(Clone, PartialEq, Message)]
pub struct Request {
    #[prost(string, tag = "1")]
    pub service: String,
    #[prost(string, tag = "2")]
    pub method: String,
    #[prost(bytes = "vec", tag = "3")]
    pub payload: Vec<u8>,
}

/// The data of a response frame.
#[derive(Clone, PartialEq, Message)]
pub struct Response {
    #[prost(message, optional, tag = "1")]
    pub status: Option<Status>,
    #[prost(bytes = "vec", tag = "2")]
    pub payload: Vec<u8>,
}

/// The result of a request; no status means success.
#[derive(Clone, PartialEq, Message)]
pub struct Status {
    #[prost(int32, tag = "1")]
    pub code: i32,
    #[prost(string, tag = "2")]
    pub message: String,
}

/// The codes of gRPC that containerd maps to the errors of its clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    Unknown = 2,
    InvalidArgument = 3,
    NotFound = 5,
    AlreadyExists = 6,
    FailedPrecondition = 9,
    Unimplemented = 12,
}

/// The failure of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub code: Code,
    pub message: String,
}

impl Failure {
    /// Creates a failure. containerd's errors end with the name of their class, and clients remove it.
    pub fn new(code: Code, message: impl std::fmt::Display) -> Failure {
        let class = match code {
            Code::Unknown => "",
            Code::InvalidArgument => ": invalid argument",
            Code::NotFound => ": not found",
            Code::AlreadyExists => ": already exists",
            Code::FailedPrecondition => ": failed precondition",
            Code::Unimplemented => ": not implemented",
        };
        Failure { code, message: format!("{message}{class}") }
    }
}

/// A failed operation of the library.
impl From<bulkhead::Error> for Failure {
    fn from(error: bulkhead::Error) -> Failure {
        let code = match error.kind() {
            bulkhead::Kind::NotFound => Code::NotFound,
            bulkhead::Kind::State => Code::FailedPrecondition,
            bulkhead::Kind::Invalid => Code::InvalidArgument,
            bulkhead::Kind::System => Code::Unknown,
            _ => Code::Unknown,
        };
        Failure::new(code, error)
    }
}

/// A failed system call.
impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Failure {
        Failure::new(Code::Unknown, error)
    }
}

/// Encodes the response to a request.
pub fn response(result: Result<Vec<u8>, Failure>) -> Vec<u8> {
    match result {
        Ok(payload) => Response { status: None, payload },
        Err(Failure { code, message }) => {
            let status = Status { code: code as i32, message };
            Response { status: Some(status), payload: Vec::new() }
        }
    }
    .encode_to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_decoded_from_its_bytes() {
        // service "s", method "m", payload [1], timeout_nano 5, a pair of metadata
        let bytes = [10, 1, b's', 18, 1, b'm', 26, 1, 1, 32, 5, 42, 6, 10, 1, b'k', 18, 1, b'v'];
        let request = Request::decode(&bytes[..]).unwrap();
        let expected = Request { service: "s".into(), method: "m".into(), payload: vec![1] };
        assert_eq!(request, expected);
    }

    #[test]
    fn failures_carry_the_code_and_the_class() {
        let failure = Failure::new(Code::NotFound, "container not created");
        let bytes = response(Err(failure));
        let status = Response::decode(&bytes[..]).unwrap().status.unwrap();
        assert_eq!(status.code, 5);
        assert_eq!(status.message, "container not created: not found");
        assert!(response(Ok(Vec::new())).is_empty());
    }
}
