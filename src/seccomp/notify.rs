//! Sends the listener of `SCMP_ACT_NOTIFY` rules to the agent.
//!
//! config-linux.md#containerprocessstate: one connection to `listenerPath` for each listener, one JSON
//! document as the payload, the descriptors with the first sendmsg(2), then the connection is closed.

use std::io::{ErrorKind, IoSlice};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::Path;

use nix::errno::Errno;
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use serde::Serialize;
use serde_json::Value;

use crate::{Context, Error, Result};

/// The container process state (config-linux.md#containerprocessstate), the payload for the agent.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ProcessState {
    /// The version of the specification that this document complies with.
    pub oci_version: String,
    /// The names of the descriptors, in the order in which they are sent.
    pub fds: Vec<String>,
    /// The process that has loaded the filter, in the runtime's pid namespace. In an `exec` this is
    /// not the container's init.
    pub pid: i32,
    /// The value of `linux.seccomp.listenerMetadata`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<String>,
    /// The state of the container (runtime.md#state).
    pub state: Value,
}

impl ProcessState {
    /// Builds the state for one listener.
    pub fn new(oci_version: &str, pid: i32, metadata: Option<String>, state: Value) -> Self {
        let (oci_version, fds) = (oci_version.to_owned(), vec!["seccompFd".to_owned()]);
        ProcessState { oci_version, fds, pid, metadata, state }
    }

    /// Serialises the document.
    pub fn to_json(&self) -> Result<Vec<u8>> {
        serde_json::to_vec(self).map_err(|e| {
            Error::new(crate::Kind::System, format!("serialise the container process state: {e}"))
        })
    }
}

/// Connects to the agent at `path`, sends `state_json` and the listener, and closes the connection.
///
/// Blocks while the agent does not read.
///
/// # Errors
/// If `linux.seccomp.listenerPath` is too long for a socket address or empty, if no process listens
/// there, or if the agent hangs up before it has the whole document. Each must fail the create: a
/// container without an agent would hang at its first such system call.
pub fn send_listener(path: &Path, state_json: &[u8], listener: BorrowedFd<'_>) -> Result<()> {
    if state_json.is_empty() {
        // A stream socket passes a descriptor only with at least one byte.
        return Err(Error::invalid_field("container process state", "is empty"));
    }
    // Checked here, since an empty path or a leading NUL would mean an address of another type.
    let bytes = path.as_os_str().as_bytes();
    let length = bytes.len();
    if bytes.is_empty() || bytes.contains(&0) {
        return Err(Error::invalid(FIELD, path, "is no path of a socket"));
    }
    if length > MAX_ADDRESS {
        let why = format!(
            "has {length} bytes, an address of a socket takes {MAX_ADDRESS}; use a shorter path"
        );
        return Err(Error::invalid(FIELD, path, why));
    }
    let agent = loop {
        match UnixStream::connect(path) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            agent => break agent.with_context(|| format!("{CONNECT} at {path:?}"))?,
        }
    };
    send(&agent, state_json, listener)
        .with_context(|| format!("send the seccomp listener to the agent at {path:?}"))
}

/// The length of `sun_path` (unix(7)) without the final NUL.
const MAX_ADDRESS: usize = 107;

const FIELD: &str = "linux.seccomp.listenerPath";

/// The text of runc, for which scripts search.
const CONNECT: &str = "failed to connect with seccomp agent";

fn send(agent: &UnixStream, payload: &[u8], listener: BorrowedFd<'_>) -> Result<(), Errno> {
    let fds = [listener.as_raw_fd()];
    send_all(payload, &[ControlMessage::ScmRights(&fds)], |rest, control| {
        // NOSIGNAL: an agent that hangs up is an error of this container, and must not kill the
        // runtime.
        let iov = [IoSlice::new(rest)];
        sendmsg::<()>(agent.as_raw_fd(), &iov, control, MsgFlags::MSG_NOSIGNAL, None)
    })
}

/// Sends all bytes. Usually one call suffices; after an interruption the rest follows without
/// `rights`.
fn send_all(
    payload: &[u8],
    rights: &[ControlMessage<'_>],
    mut send: impl FnMut(&[u8], &[ControlMessage<'_>]) -> Result<usize, Errno>,
) -> Result<(), Errno> {
    let mut control = rights;
    let mut rest = payload;
    while !rest.is_empty() {
        match send(rest, control) {
            Err(Errno::EINTR) => {}
            sent => {
                control = &[];
                rest = rest.get(sent?..).unwrap_or_default();
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::IoSliceMut;
    use std::os::fd::{AsFd, RawFd};
    use std::os::unix::fs::MetadataExt;
    use std::os::unix::net::UnixListener;
    use std::thread;

    use nix::sys::socket::{ControlMessageOwned, recvmsg};
    use serde_json::json;

    use super::*;

    fn state(annotation: &str) -> ProcessState {
        ProcessState::new(
            "1.3.0",
            42,
            Some("MKNOD=/dev/null".into()),
            json!({"id": "c1", "status": "creating", "annotations": {"x": annotation}}),
        )
    }

    /// Reads a connection to its end. Returns the bytes and all descriptors.
    fn receive(stream: UnixStream) -> (Vec<u8>, Vec<RawFd>) {
        let (mut all, mut fds) = (Vec::new(), Vec::new());
        loop {
            let mut bytes = vec![0; 1 << 20];
            let mut space = nix::cmsg_space!([RawFd; 4]);
            let count = {
                let mut iov = [IoSliceMut::new(&mut bytes)];
                let none = MsgFlags::empty();
                let message =
                    recvmsg::<()>(stream.as_raw_fd(), &mut iov, Some(&mut space), none).unwrap();
                for control in message.cmsgs().unwrap() {
                    if let ControlMessageOwned::ScmRights(sent) = control {
                        fds.extend(sent);
                    }
                }
                message.bytes
            };
            if count == 0 {
                return (all, fds);
            }
            all.extend_from_slice(&bytes[..count]);
        }
    }

    #[test]
    fn the_agent_gets_one_document_and_one_descriptor() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("agent");
        let agent = UnixListener::bind(&path).unwrap();
        // More than the socket buffer holds.
        let state = state(&"y".repeat(3 << 20));
        let reader = thread::spawn(move || receive(agent.accept().unwrap().0));

        let file = tempfile::tempfile().unwrap();
        let sent = file.metadata().unwrap();
        send_listener(&path, &state.to_json().unwrap(), file.as_fd()).unwrap();
        drop(file);

        let (bytes, fds) = reader.join().unwrap();
        let read: Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(read["ociVersion"], "1.3.0");
        assert_eq!(read["fds"], json!(["seccompFd"]));
        assert_eq!(read["pid"], 42);
        assert_eq!(read["metadata"], "MKNOD=/dev/null");
        assert_eq!(read["state"], state.state);
        // The received descriptor is the one that was sent.
        assert_eq!(fds.len(), 1);
        let received = std::fs::metadata(format!("/proc/self/fd/{}", fds[0])).unwrap();
        nix::unistd::close(fds[0]).unwrap();
        assert_eq!((received.dev(), received.ino()), (sent.dev(), sent.ino()));
    }

    #[test]
    fn what_a_signal_cut_off_follows_without_the_descriptor() {
        let mut calls = vec![Err(Errno::EINTR), Ok(2), Err(Errno::EINTR), Ok(3), Ok(1)].into_iter();
        let mut seen = Vec::new();
        send_all(b"abcdef", &[ControlMessage::ScmRights(&[0])], |rest, control| {
            seen.push((String::from_utf8_lossy(rest).into_owned(), control.len()));
            calls.next().unwrap()
        })
        .unwrap();
        let seen: Vec<(&str, usize)> = seen.iter().map(|(rest, n)| (rest.as_str(), *n)).collect();
        assert_eq!(seen, [("abcdef", 1), ("abcdef", 1), ("cdef", 0), ("cdef", 0), ("f", 0)]);
    }

    #[test]
    fn metadata_is_left_out_where_there_is_none() {
        let state = ProcessState { metadata: None, ..state("") };
        let json: Value = serde_json::from_slice(&state.to_json().unwrap()).unwrap();
        assert!(json.get("metadata").is_none());
    }

    #[test]
    fn paths_that_are_no_address_are_named() {
        let (end, _other) = UnixStream::pair().unwrap();
        let long = format!("/{}", "x".repeat(150));
        let error = send_listener(Path::new(&long), b"{}", end.as_fd()).unwrap_err().to_string();
        assert!(error.contains("listenerPath") && error.contains("151 bytes"), "{error}");
        let error = send_listener(Path::new(""), b"{}", end.as_fd()).unwrap_err().to_string();
        assert!(error.contains("listenerPath"), "{error}");
    }

    #[test]
    fn an_agent_that_is_missing_or_hangs_up_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let (end, _other) = UnixStream::pair().unwrap();
        let path = dir.path().join("agent");
        let error = send_listener(&path, b"{}", end.as_fd()).unwrap_err();
        assert_eq!(error.errno(), Some(Errno::ENOENT));
        assert!(
            error.to_string().starts_with("failed to connect with seccomp agent at "),
            "{error}"
        );

        let agent = UnixListener::bind(&path).unwrap();
        let closer = thread::spawn(move || drop(agent.accept().unwrap()));
        let error = send_listener(&path, &vec![b' '; 4 << 20], end.as_fd()).unwrap_err();
        closer.join().unwrap();
        assert!(matches!(error.errno(), Some(Errno::EPIPE | Errno::ECONNRESET)), "{error}");
    }
}
