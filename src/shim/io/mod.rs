//! The standard streams of a process: pipes or a terminal on its side, FIFOs, files or a program on
//! the other, and the relays between them.

pub mod destination;
pub mod relay;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::process::Child;

use nix::poll::PollFlags;
use rustix::fs::{Gid, OFlags, Uid};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SocketFlags, SocketType,
};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::wire::rpc::{Code, Failure};
use destination::{Destination, Owner, Slots};
use relay::Relay;

/// The names of the streams, as a request gives them; empty for none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names {
    pub stdin: String,
    pub stdout: String,
    pub stderr: String,
    pub terminal: bool,
}

/// The shim's side of the streams.
#[derive(Default)]
pub struct Io {
    input: Option<Relay>,
    /// Keeps the FIFO of standard input open for writing until CloseIO.
    input_keeper: Option<OwnedFd>,
    outputs: Vec<Output>,
    logger: Option<Child>,
    terminal: Option<Terminal>,
}

struct Output {
    relay: Relay,
    keeper: Option<OwnedFd>,
}

/// A terminal, whose master comes over a socket.
enum Terminal {
    Expected { socket: OwnedFd, input: Option<OwnedFd>, output: Option<Sink> },
    Open(OwnedFd),
}

/// The destination of a terminal's output.
struct Sink {
    to: OwnedFd,
    keeper: Option<OwnedFd>,
}

/// The process's side of the streams.
#[derive(Default)]
pub struct Ends {
    pub stdin: Option<OwnedFd>,
    pub stdout: Option<OwnedFd>,
    pub stderr: Option<OwnedFd>,
    /// The socket for the master of the terminal.
    pub console: Option<OwnedFd>,
}

impl Io {
    /// Opens the streams of a process. Pipes belong to the user `user` and group `group`.
    pub fn open(
        names: &Names,
        owner: &Owner<'_>,
        (user, group): (u32, u32),
        slots: &mut Slots,
    ) -> Result<(Io, Ends), Failure> {
        if names.terminal {
            return Io::with_terminal(names, owner, slots);
        }
        let (mut io, mut ends) = (Io::default(), Ends::default());
        let pipe = || -> Result<(OwnedFd, OwnedFd), Failure> {
            let (read, write) = pipe_with(PipeFlags::CLOEXEC).map_err(std::io::Error::from)?;
            if (user, group) != (0, 0) {
                let (user, group) = (Uid::from_raw(user), Gid::from_raw(group));
                rustix::fs::fchown(&read, Some(user), Some(group)).map_err(std::io::Error::from)?;
            }
            Ok((read, write))
        };
        if !names.stdin.is_empty() {
            let (from, keeper) = destination::input(Path::new(&names.stdin))?;
            let (end, to) = pipe()?;
            io.input = Some(Relay::new(from, nonblocking(to)?));
            (io.input_keeper, ends.stdin) = (Some(keeper), Some(end));
        }
        for (name, is_error) in [(&names.stdout, false), (&names.stderr, true)] {
            if name.is_empty() {
                continue;
            }
            let end = match Destination::open(name, owner, slots)? {
                Destination::File { to, keeper } => {
                    let (from, end) = pipe()?;
                    let relay = Relay::new(nonblocking(from)?, to);
                    io.outputs.push(Output { relay, keeper });
                    end
                }
                // The same program takes both streams.
                Destination::Program(logger) => {
                    io.logger = Some(logger.child);
                    (ends.stdout, ends.stderr) = (Some(logger.output), Some(logger.error));
                    break;
                }
            };
            *(if is_error { &mut ends.stderr } else { &mut ends.stdout }) = Some(end);
        }
        Ok((io, ends))
    }

    fn with_terminal(
        names: &Names,
        owner: &Owner<'_>,
        slots: &mut Slots,
    ) -> Result<(Io, Ends), Failure> {
        let mut io = Io::default();
        let input = match names.stdin.as_str() {
            "" => None,
            path => {
                let (from, keeper) = destination::input(Path::new(path))?;
                io.input_keeper = Some(keeper);
                Some(from)
            }
        };
        let output = match names.stdout.as_str() {
            "" => None,
            name => Some(match Destination::open(name, owner, slots)? {
                Destination::File { to, keeper } => Sink { to, keeper },
                Destination::Program(logger) => {
                    io.logger = Some(logger.child);
                    Sink { to: nonblocking(logger.output)?, keeper: None }
                }
            }),
        };
        let (socket, theirs) = rustix::net::socketpair(
            AddressFamily::UNIX,
            SocketType::STREAM,
            SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
            None,
        )
        .map_err(std::io::Error::from)?;
        io.terminal = Some(Terminal::Expected { socket, input, output });
        Ok((io, Ends { console: Some(theirs), ..Ends::default() }))
    }

    /// Takes the master of the terminal, if there is one, after the process was created.
    pub fn connect(&mut self) -> Result<(), Failure> {
        let Some(Terminal::Expected { socket, input, output }) = self.terminal.take() else {
            return Ok(());
        };
        let master = nonblocking(receive(&socket)?)?;
        let copy = || master.try_clone().map_err(Failure::from);
        if let Some(from) = input {
            self.input = Some(Relay::new(from, copy()?));
        }
        // Without a reader the terminal would fill up and stop its processes.
        let output = match output {
            Some(output) => output,
            None => {
                let null = std::fs::File::options().write(true).open("/dev/null")?;
                Sink { to: null.into(), keeper: None }
            }
        };
        let relay = Relay::new(copy()?, output.to);
        self.outputs.push(Output { relay, keeper: output.keeper });
        self.terminal = Some(Terminal::Open(master));
        Ok(())
    }

    /// Sets the size of the terminal.
    pub fn resize(&self, rows: u16, columns: u16) -> Result<(), Failure> {
        let Some(Terminal::Open(master)) = &self.terminal else { return Ok(()) };
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        Ok(tcsetwinsize(master, size).map_err(std::io::Error::from)?)
    }

    /// Lets the process read the end of file when the clients have closed standard input.
    pub fn close_input(&mut self) {
        self.input_keeper = None;
    }

    /// Adds what to wait for to `list`.
    pub fn awaits<'a>(&'a self, list: &mut Vec<(BorrowedFd<'a>, PollFlags)>) {
        let relays = self.input.iter().chain(self.outputs.iter().map(|output| &output.relay));
        list.extend(relays.map(Relay::awaits));
    }

    /// Moves what can be moved now.
    pub fn run(&mut self) {
        if self.input.as_mut().is_some_and(Relay::run) {
            // Closes the pipe of the process, which reads the end of file.
            self.input = None;
            self.input_keeper = None;
        }
        self.outputs.retain_mut(|output| !output.relay.run());
    }

    /// After the end of the process: stops its input.
    pub fn end_input(&mut self) {
        (self.input, self.input_keeper) = (None, None);
    }

    /// Whether everything that the process has written has reached its destination, and no process can
    /// write more.
    pub fn is_done(&mut self) -> bool {
        let logging = match &mut self.logger {
            Some(child) => matches!(child.try_wait(), Ok(None)),
            None => false,
        };
        self.outputs.is_empty() && !logging
    }

    /// Ends the relays as soon as no client reads: for output that is left after the process was
    /// deleted.
    pub fn abandon(&mut self) {
        self.outputs.iter_mut().for_each(|output| output.keeper = None);
    }

    /// The process id of the program that takes the output.
    pub fn logger(&self) -> Option<u32> {
        self.logger.as_ref().map(Child::id)
    }
}

fn nonblocking(fd: OwnedFd) -> Result<OwnedFd, Failure> {
    let set = || -> rustix::io::Result<()> {
        let flags = rustix::fs::fcntl_getfl(&fd)?;
        rustix::fs::fcntl_setfl(&fd, flags | OFlags::NONBLOCK)
    };
    set().map_err(std::io::Error::from)?;
    Ok(fd)
}

/// Receives the master of a terminal.
fn receive(socket: &OwnedFd) -> Result<OwnedFd, Failure> {
    let missing = || Failure::new(Code::Unknown, "the master of the terminal did not arrive");
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut buffer = [0; 64];
    let mut parts = [std::io::IoSliceMut::new(&mut buffer)];
    rustix::net::recvmsg(socket.as_fd(), &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC)
        .map_err(|_| missing())?;
    let received = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
        _ => None,
    });
    received.ok_or_else(missing)
}
