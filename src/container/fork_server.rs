//! Clones workers, and sends requests to them.

use std::io::IoSlice;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::sync::Arc;

use nix::errno::Errno;
use nix::sys::socket::{ControlMessage, MsgFlags, Shutdown, sendmsg, shutdown};

use super::descriptors::Descriptors;
use super::pending::{Pending, reap};
use super::worker::{self, Request, WORKER};
use crate::init::lifetime::close_but;
use crate::protocol::encode_error;
use crate::sys::clone::{Child, clone3};
use crate::sys::fdpass::{self, recv_with_fds, send_with_fd};
use crate::sys::signal::{all_signals, swap_mask};
use crate::terminal::stdio::ensure_open;
use crate::{Context, Error, Kind, Result};

/// A process with one thread from which workers are cloned, for a program with several threads.
///
/// A program that creates containers from several threads starts the server before its first
/// thread, and opens its runtimes with
/// [`Runtime::with_fork_server`](super::Runtime::with_fork_server). Workers and the processes of
/// containers are children of the program, not of the server. They have the standard descriptors,
/// environment, umask and limits that the program had when it called [`ForkServer::start`].
///
/// A privileged program calls [`protect_executable`](crate::protect_executable) before. A program
/// with a fork server must not ignore SIGCHLD.
///
/// Clones share the server, which ends when the last clone is dropped, or with the program.
#[derive(Debug, Clone)]
pub struct ForkServer(Arc<Server>);

#[derive(Debug)]
struct Server {
    socket: OwnedFd,
    process: OwnedFd,
    owner: u32,
}

impl Drop for Server {
    fn drop(&mut self) {
        // A fork of the program that drops its copy does not own the server.
        if self.owner == std::process::id() {
            // Closing the socket is not enough: another process can hold a copy.
            let _ = shutdown(self.socket.as_raw_fd(), Shutdown::Both);
            let _ = reap(&self.process);
        }
    }
}

impl ForkServer {
    /// Starts a fork server.
    ///
    /// # Errors
    /// [`Kind::State`] if the calling process has more than one thread.
    pub fn start() -> Result<ForkServer> {
        check_single_threaded("start the fork server before the first thread")?;
        let (socket, server) = pair()?;
        let child = clone_worker(move || {
            worker::leave_the_program();
            // A panic must not unwind into the clone's copy of the program.
            let serve = std::panic::AssertUnwindSafe(|| serve(server));
            std::panic::catch_unwind(serve).unwrap_or(101)
        })
        .context("clone the fork server")?;
        let owner = std::process::id();
        Ok(ForkServer(Arc::new(Server { socket, process: child.pidfd, owner })))
    }

    /// Starts a worker that runs `request`.
    pub(super) fn begin(&self, request: &Request, descriptors: &Descriptors) -> Result<Pending> {
        let text = request.pack()?;
        let (answer, theirs) = pair()?;
        let fds = [&theirs, &text].into_iter().chain(descriptors.all());
        self.send(&fds.map(AsRawFd::as_raw_fd).collect::<Vec<_>>())
            .context("send the request to the fork server")?;
        drop(theirs);
        Ok(Pending::new(answer, None))
    }

    fn send(&self, fds: &[RawFd]) -> Result<()> {
        loop {
            let sent = sendmsg::<()>(
                self.0.socket.as_raw_fd(),
                &[IoSlice::new(b"r")],
                &[ControlMessage::ScmRights(fds)],
                MsgFlags::MSG_NOSIGNAL,
                None,
            );
            match sent {
                Err(Errno::EINTR) => {}
                Err(Errno::EPIPE | Errno::ECONNRESET) => {
                    return Err(Error::new(Kind::System, "the fork server has ended"));
                }
                sent => return Ok(sent.map(drop)?),
            }
        }
    }
}

/// Starts a worker that runs `request`, cloned from the calling process.
///
/// # Errors
/// [`Kind::State`] if the calling process has more than one thread.
pub(super) fn begin_directly(request: &Request, descriptors: &Descriptors) -> Result<Pending> {
    check_single_threaded("use a ForkServer")?;
    let text = request.pack()?;
    let (answer, theirs) = pair()?;
    let child = clone_worker(|| {
        worker::leave_the_program();
        let copies = descriptors.all().map(OwnedFd::try_clone).collect::<Result<Vec<_>, _>>();
        copies.map_or(1, |copies| worker::run(&theirs, text, copies))
    })
    .context("clone a worker")?;
    drop(theirs);
    Ok(Pending::new(answer, Some(child.pidfd)))
}

/// Clones a process with all signals blocked, so that no signal handler of the program runs in it.
fn clone_worker(child: impl FnOnce() -> i32) -> Result<Child> {
    let before = swap_mask(&all_signals()).context("block signals")?;
    let cloned = clone3(0, None, child);
    swap_mask(&before).context("restore the signal mask")?;
    Ok(cloned?)
}

/// Runs the server: clones a worker for each request until the program has closed all its sockets.
fn serve(socket: OwnedFd) -> i32 {
    // Else the descriptors of a request would become those that the program has closed.
    if close_but(3, &[socket.as_raw_fd()]).and_then(|()| ensure_open()).is_err() {
        return 1;
    }
    loop {
        let mut byte = [0];
        let received = match recv_with_fds(socket.as_fd(), &mut byte) {
            Ok((0, _)) => return 0,
            Ok((_, received)) => received,
            Err(_) => return 1,
        };
        let mut received = received.into_iter();
        let (Some(answer), Some(text)) = (received.next(), received.next()) else { continue };
        let cloned = clone3(libc::CLONE_PARENT as u64, None, || {
            worker::run(&answer, text, received.collect())
        });
        // If the program is gone, there is no receiver.
        let _ = match cloned {
            Ok(child) => send_with_fd(answer.as_fd(), WORKER, Some(child.pidfd.as_fd())),
            Err(errno) => {
                let error = Error::from(errno).context("clone a worker");
                send_with_fd(answer.as_fd(), &encode_error(&error), None)
            }
        };
    }
}

/// Returns [`Kind::State`], with the advice `cure`, if the process has more than one thread.
fn check_single_threaded(cure: &str) -> Result<()> {
    // A directory without subdirectories has two links, and each thread adds a link.
    let links = rustix::fs::stat("/proc/self/task").context("count the threads")?.st_nlink;
    if links > 3 {
        let threads = links - 2;
        let why =
            format!("the program has {threads} threads, and a clone of it could hang; {cure}");
        return Err(Error::new(Kind::State, why));
    }
    Ok(())
}

/// Makes a socket pair. Neither end gets the number of a standard descriptor, which the program can
/// have closed: a worker, and the process of a container, would inherit it as such.
fn pair() -> Result<(OwnedFd, OwnedFd)> {
    let above = |end: OwnedFd| match end.as_raw_fd() {
        0..3 => rustix::io::fcntl_dupfd_cloexec(&end, 3),
        _ => Ok(end),
    };
    let (one, other) = fdpass::pair().context("make a socket pair")?;
    above(one).and_then(|one| Ok((one, above(other)?))).context("make a socket pair")
}
