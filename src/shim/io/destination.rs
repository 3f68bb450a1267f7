//! Where the output of a process goes: a FIFO, a file, or a program that takes it.

use std::fs::{DirBuilder, File};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, OpenOptionsExt};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use rustix::fs::OFlags;
use rustix::io::FdFlags;
use rustix::pipe::{PipeFlags, pipe_with};

use crate::wire::rpc::{Code, Failure};

/// The places of output and error, as containerd names them.
pub enum Destination {
    /// The end to write to, and for a FIFO the other end, which keeps the FIFO open while no client
    /// reads from it.
    File { to: OwnedFd, keeper: Option<OwnedFd> },
    /// A program that reads output and error.
    Program(Logger),
}

/// A program that reads the output of a container.
pub struct Logger {
    pub output: OwnedFd,
    pub error: OwnedFd,
    pub child: Child,
}

/// The process whose output a program takes.
pub struct Owner<'a> {
    pub namespace: &'a str,
    pub id: &'a str,
}

impl Destination {
    /// Opens a destination: `binary:///PROGRAM?KEY=VALUE`, `file:///PATH`, `fifo:///PATH` or a path.
    pub fn open(name: &str, owner: &Owner<'_>, slots: &mut Slots) -> Result<Destination, Failure> {
        match name.split_once("://") {
            Some(("binary", rest)) => Logger::start(rest, owner, slots).map(Destination::Program),
            Some(("file", path)) => log_file(Path::new(path)),
            Some(("fifo", path)) => output(Path::new(path)),
            Some((scheme, _)) => {
                let why = format!("output {name:?}: unknown scheme {scheme:?}");
                Err(Failure::new(Code::InvalidArgument, why))
            }
            None => output(Path::new(name)),
        }
    }
}

fn log_file(path: &Path) -> Result<Destination, Failure> {
    let open = || -> std::io::Result<File> {
        if let Some(parent) = path.parent() {
            DirBuilder::new().recursive(true).mode(0o755).create(parent)?;
        }
        File::options().append(true).create(true).mode(0o644).open(path)
    };
    let file = open().map_err(|error| failed("open", path, &error))?;
    Ok(Destination::File { to: file.into(), keeper: None })
}

/// Opens a FIFO, or another file for appending.
fn output(path: &Path) -> Result<Destination, Failure> {
    if is_fifo(path)? {
        // In this order: a FIFO without a reader cannot be opened for writing.
        let keeper = open_fifo(path, OFlags::RDONLY)?;
        return Ok(Destination::File {
            to: open_fifo(path, OFlags::WRONLY)?,
            keeper: Some(keeper),
        });
    }
    let file = File::options().append(true).open(path);
    let file = file.map_err(|error| failed("open", path, &error))?;
    Ok(Destination::File { to: file.into(), keeper: None })
}

/// Opens the FIFO of standard input: the end to read from, and the other end, which keeps the process
/// from reading the end of file while no client has the FIFO open.
pub fn input(path: &Path) -> Result<(OwnedFd, OwnedFd), Failure> {
    let from = open_fifo(path, OFlags::RDONLY)?;
    Ok((from, open_fifo(path, OFlags::WRONLY)?))
}

fn is_fifo(path: &Path) -> Result<bool, Failure> {
    let found = std::fs::metadata(path).map_err(|error| failed("open", path, &error))?;
    Ok(found.file_type().is_fifo())
}

fn open_fifo(path: &Path, access: OFlags) -> Result<OwnedFd, Failure> {
    let flags = access | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let opened = rustix::fs::open(path, flags, rustix::fs::Mode::empty());
    opened.map_err(|errno| failed("open", path, &errno.into()))
}

fn failed(what: &str, path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(Code::Unknown, format!("{what} {}: {error}", path.display()))
}

/// The descriptors 3, 4 and 5, which a [`Logger`] inherits with these numbers. Between the starts of
/// two programs they are copies of `/dev/null`.
#[derive(Debug)]
pub struct Slots {
    null: OwnedFd,
    slots: [OwnedFd; 3],
}

impl Slots {
    /// Takes the descriptors 3, 4 and 5, which must be free.
    pub fn reserve() -> std::io::Result<Slots> {
        let opened = File::options().read(true).write(true).open("/dev/null")?;
        let null = rustix::io::fcntl_dupfd_cloexec(&opened, 6)?;
        drop(opened);
        let take = |number: i32| {
            let slot = rustix::io::fcntl_dupfd_cloexec(&null, number)?;
            let taken = || std::io::Error::other(format!("descriptor {number} is in use"));
            if slot.as_raw_fd() == number { Ok(slot) } else { Err(taken()) }
        };
        let slots = [take(3)?, take(4)?, take(5)?];
        Ok(Slots { slots, null })
    }

    /// Starts a program that inherits `fds` as 3, 4 and 5.
    fn spawn(&mut self, command: &mut Command, fds: [&OwnedFd; 3]) -> std::io::Result<Child> {
        for (slot, fd) in self.slots.iter_mut().zip(fds) {
            rustix::io::dup2(fd, slot)?;
        }
        // The program would inherit the signals that the shim blocks. One that comes meanwhile is lost,
        // so the shim looks for ended processes once more.
        let blocked = SigSet::empty().thread_swap_mask(SigmaskHow::SIG_SETMASK)?;
        let child = command.spawn();
        blocked.thread_set_mask()?;
        if blocked.contains(Signal::SIGCHLD) {
            nix::sys::signal::raise(Signal::SIGCHLD)?;
        }
        for slot in &mut self.slots {
            rustix::io::dup2(&self.null, slot)?;
            rustix::io::fcntl_setfd(&*slot, FdFlags::CLOEXEC)?;
        }
        child
    }
}

impl Logger {
    /// Starts the program of a URI. Its arguments are the keys and values of the query; it reads
    /// output from 3 and error from 4, and closes 5 when it is ready, for which the shim does not wait:
    /// the pipes hold what the container writes until then.
    fn start(rest: &str, owner: &Owner<'_>, slots: &mut Slots) -> Result<Logger, Failure> {
        let (program, query) = rest.split_once('?').unwrap_or((rest, ""));
        let program = decoded(program);
        let mut command = Command::new(&program);
        command.args(arguments(query)).env_clear();
        command.env("CONTAINER_ID", owner.id).env("CONTAINER_NAMESPACE", owner.namespace);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut start = || -> std::io::Result<Logger> {
            let (from_output, output) = pipe_with(PipeFlags::CLOEXEC)?;
            let (from_error, error) = pipe_with(PipeFlags::CLOEXEC)?;
            let (_ready, readiness) = pipe_with(PipeFlags::CLOEXEC)?;
            let child = slots.spawn(&mut command, [&from_output, &from_error, &readiness])?;
            Ok(Logger { output, error, child })
        };
        start().map_err(|error| failed("start", Path::new(&program), &error))
    }
}

/// Returns the keys and values of a query, in their order.
fn arguments(query: &str) -> Vec<String> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    let mut words = Vec::new();
    for pair in pairs {
        match pair.split_once('=') {
            Some((key, value)) => words.extend([decoded(key), decoded(value)]),
            None => words.extend([decoded(pair), String::new()]),
        }
    }
    words
}

/// Replaces `+` and `%XX` in a part of a URI.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let hex = after.first_chunk::<2>().filter(|_| *first == b'%');
        let byte = hex.and_then(|digits| {
            let digits = std::str::from_utf8(digits).ok()?;
            u8::from_str_radix(digits, 16).ok()
        });
        match byte {
            Some(byte) => {
                bytes.push(byte);
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                bytes.push(if *first == b'+' { b' ' } else { *first });
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_becomes_arguments() {
        assert_eq!(arguments("a=b&c=d%2Fe+f"), ["a", "b", "c", "d/e f"]);
        assert_eq!(arguments("a&b="), ["a", "", "b", ""]);
        assert_eq!(arguments(""), [""; 0]);
        assert_eq!(decoded("%zz%4"), "%zz%4");
    }

    #[test]
    fn a_log_file_is_created_with_its_directory() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b.log");
        let Destination::File { keeper: None, .. } = log_file(&path).unwrap_or_else(|_| panic!())
        else {
            panic!("not a file")
        };
        assert!(path.exists());
    }

    #[test]
    fn a_missing_output_is_an_error_that_names_it() {
        let owner = Owner { namespace: "n", id: "i" };
        let mut slots = Slots {
            null: File::open("/dev/null").unwrap().into(),
            slots: [(); 3].map(|()| File::open("/dev/null").unwrap().into()),
        };
        for (name, part) in [("/no/such/fifo", "/no/such/fifo"), ("npipe:///x", "npipe")] {
            let Err(failure) = Destination::open(name, &owner, &mut slots) else { panic!() };
            assert!(failure.message.contains(part), "{}", failure.message);
        }
    }
}
