//! `--console-socket`: sends the master of the container's terminal to another process, if the
//! runtime does not stay in the foreground.

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, UnixAddr, connect as connect_to, socket,
};

use crate::sys::fdpass;
use crate::{Context, Error, Result};

/// The maximum length of a path: `sun_path` has 108 bytes, including a NUL (unix(7)).
const LONGEST_PATH: usize = 107;

/// Connects to the socket at `path`, which the command line option or field `option` names. To be
/// called before anything is created, so that a wrong path has no effect.
pub fn connect(option: &str, path: &Path) -> Result<OwnedFd> {
    if path.as_os_str().len() > LONGEST_PATH {
        let why = format!("longer than {LONGEST_PATH} bytes, the most a socket address can hold");
        return Err(Error::invalid(option, path, why));
    }
    let address = UnixAddr::new(path)
        .map_err(|_| Error::invalid(option, path, "not a path (it holds a NUL byte)"))?;
    let socket = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)
        .context("socket")?;
    loop {
        match connect_to(socket.as_raw_fd(), &address) {
            Ok(()) => return Ok(socket),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(refused(option, path, errno)),
        }
    }
}

/// Returns the error for a failed connect(2). ECONNREFUSED has two causes with different remedies:
/// a file that is not a socket, and a socket without a listener.
fn refused(option: &str, path: &Path, errno: Errno) -> Error {
    use std::os::unix::fs::FileTypeExt;

    let is_socket = std::fs::metadata(path).map(|m| m.file_type().is_socket()).ok();
    let why = match (errno, is_socket) {
        (Errno::ECONNREFUSED, Some(false)) => "not a socket",
        (Errno::ECONNREFUSED, _) => "nobody listens on this socket",
        (Errno::EPROTOTYPE, _) => "not a stream socket",
        _ => return Error::sys(errno).context(format!("{option}: connect {path:?}")),
    };
    Error::invalid(option, path, why)
}

/// Opens the socket for the master: `given`, which is connected, or else that at the path of
/// `--console-socket`.
pub fn open(path: Option<&Path>, given: Option<&OwnedFd>) -> Result<Option<OwnedFd>> {
    match given {
        Some(socket) => socket.try_clone().map(Some).context("copy the socket of the console"),
        None => path.map(|path| connect("--console-socket", path)).transpose(),
    }
}

/// Sends the master of a terminal, with `name` as the content of the message. Receivers use the
/// name only as a description; `/dev/ptmx` is usual.
pub fn send_master(socket: BorrowedFd<'_>, master: BorrowedFd<'_>, name: &str) -> Result<()> {
    fdpass::send_with_fd(socket, name.as_bytes(), Some(master)).context("send the console's master")
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::os::unix::net::{UnixDatagram, UnixListener};

    use super::*;

    const OPTION: &str = "--console-socket";

    #[test]
    fn a_master_is_received_with_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("console.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let socket = connect(OPTION, &path).unwrap();
        let (peer, _) = listener.accept().unwrap();
        let (_read, write) = nix::unistd::pipe().unwrap();
        send_master(socket.as_fd(), write.as_fd(), "/dev/ptmx").unwrap();
        let mut buffer = [0; 64];
        let (length, fd) = fdpass::recv_with_fd(peer.as_fd(), &mut buffer).unwrap();
        assert_eq!((&buffer[..length], fd.is_some()), (&b"/dev/ptmx"[..], true));
    }

    #[test]
    fn bad_paths_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let says = |path: &Path, words: &str| {
            let error = connect(OPTION, path).unwrap_err().to_string();
            assert!(error.starts_with("--console-socket: "), "{error}");
            assert!(error.contains(words), "{error}");
        };
        says(&dir.path().join("none"), "no such file or directory");
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        says(&file, "not a socket");
        let gone = dir.path().join("gone");
        drop(UnixListener::bind(&gone).unwrap());
        says(&gone, "nobody listens");
        let datagram = dir.path().join("datagram");
        let _held = UnixDatagram::bind(&datagram).unwrap();
        says(&datagram, "not a stream socket");
        says(Path::new(&"x".repeat(108)), "longer than 107 bytes");
        says(Path::new(&"x".repeat(107)), "no such file or directory");
        says(Path::new("a\0b"), "NUL");
        says(Path::new(""), "");
    }
}
