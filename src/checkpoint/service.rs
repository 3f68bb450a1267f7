//! The process of CRIU, and the exchange of requests and responses with it.
//!
//! CRIU takes requests from a socket that it inherits (`criu swrk`). It answers each request with a
//! response; before that it sends notifications, and goes on when they are acknowledged.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::fcntl::OFlag;
use prost::Message;
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::FdFlags;
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};

use super::command::Command;
use super::hierarchy::Hierarchy;
use super::images::Directories;
use super::rpc::{self, Features, Notify, Opts, Request, Response, Type};
use super::settings::Settings;
use crate::init::lifetime::close_but;
use crate::mount::closing;
use crate::protocol::{decode_error, encode_error};
use crate::spawn::Parent;
use crate::sys::clone::Child;
use crate::sys::exec::Exec;
use crate::sys::fdpass::{self, recv_with_fd, send_with_fd};
use crate::terminal::signals::{Ignored, reset_signals_for_exec};
use crate::{Context, Error, Kind, Result, log};

/// The oldest version of CRIU that has everything that the runtime uses: 3.16.
const MINIMUM: u32 = 31_600;

/// The maximum size of a response.
const MAX: usize = 1 << 16;

/// How CRIU is started.
pub(super) struct Start<'s, 'a> {
    /// The program.
    pub settings: &'a Settings,
    /// The directories of images and of logs.
    pub directories: &'a Directories,
    /// The parent of the process, and of the processes that CRIU restores.
    pub parent: Parent<'a>,
    /// The flags of clone(2).
    pub flags: i32,
    /// The cgroup that the process is cloned into.
    pub cgroup: Option<BorrowedFd<'s>>,
    /// Whether CRIU has the standard descriptors of the caller, which restored processes inherit.
    pub stdio: bool,
    /// More descriptors that CRIU has, with the same numbers.
    pub inherited: &'s [OwnedFd],
    /// The signals that the caller ignores.
    pub signals: &'s Ignored,
    /// The steps of the new process before it executes CRIU.
    pub prepare: &'s dyn Fn() -> Result<()>,
}

/// A process that executes CRIU when [`Service::execute`] is called.
pub(super) struct Service<'a> {
    settings: &'a Settings,
    directories: &'a Directories,
    parent: Parent<'a>,
    hierarchy: Hierarchy,
    child: Child,
    starter: OwnedFd,
    failure: OwnedFd,
    link: Option<Link>,
}

/// The connection to CRIU.
#[derive(Debug)]
struct Link {
    socket: OwnedFd,
    /// The numbers of the directories in CRIU.
    images: i32,
    work: i32,
}

impl<'a> Service<'a> {
    /// Clones the process, which waits.
    pub fn start(start: &Start<'_, 'a>) -> Result<Service<'a>> {
        let hierarchy = Hierarchy::look()?;
        let (own, theirs) = fdpass::pair().context("create the socket pair to criu")?;
        let (failure, report) = nix::unistd::pipe2(OFlag::O_CLOEXEC).context("pipe")?;
        let mut ours = Some((own, failure));
        let child = start.parent.clone(start.flags, start.cgroup, || {
            // The child's copy of this end would hide the death of the runtime from the child.
            drop(ours.take());
            let error = match start.become_criu(&theirs, &report) {
                Err(error) => error,
                Ok(never) => match never {},
            };
            // If the runtime has ended, no process is left to report to.
            let _ = nix::unistd::write(&report, &encode_error(&error));
            127
        });
        let child = child.context("clone a process for criu")?;
        let gone = || Error::new(Kind::System, "the socket to criu is gone");
        let (starter, failure) = ours.ok_or_else(gone)?;
        let Start { settings, directories, parent, .. } = *start;
        Ok(Service {
            settings,
            directories,
            parent,
            hierarchy,
            child,
            starter,
            failure,
            link: None,
        })
    }

    /// Lets `ask` send requests, and waits until CRIU has ended.
    pub fn run(mut self, ask: impl FnOnce(&mut Service<'a>) -> Result<()>) -> Result<()> {
        let asked = ask(&mut self);
        asked.and(self.finish())
    }

    /// Returns the process id.
    pub fn pid(&self) -> i32 {
        self.child.pid
    }

    /// Lets the process execute CRIU.
    ///
    /// # Errors
    /// CRIU cannot be executed, or is too old, or does not support a setting.
    pub fn execute(&mut self) -> Result<()> {
        send_with_fd(self.starter.as_fd(), b"g", None).context("start criu")?;
        let mut report = Vec::new();
        let failure = self.failure.try_clone().context("start criu")?;
        File::from(failure).read_to_end(&mut report).context("start criu")?;
        if let Some(error) = decode_error(&report) {
            return Err(error);
        }
        let mut numbers = [0; 8];
        let socket = recv_with_fd(self.starter.as_fd(), &mut numbers).context("start criu")?.1;
        let ended = || Error::new(Kind::System, "it ended at its start").context("criu");
        let [a, b, c, d, e, f, g, h] = numbers;
        self.link = Some(Link {
            socket: socket.ok_or_else(ended)?,
            images: i32::from_le_bytes([a, b, c, d]),
            work: i32::from_le_bytes([e, f, g, h]),
        });
        let request = Request { keep_open: Some(true), ..of_type(Type::Version) };
        let version = self.ask(&request, &mut |_, _| Ok(()))?.version.unwrap_or_default();
        let rpc::Version { major, minor, sublevel } = version;
        let number = |part: i32| u32::try_from(part).unwrap_or(0);
        let found = number(major) * 10_000 + number(minor) * 100 + sublevel.map_or(0, number);
        log::debug(format_args!("criu {major}.{minor}"));
        if found < MINIMUM {
            let why = format!("version {major}.{minor} is too old; 3.16 or later is required");
            return Err(Error::new(Kind::System, why).context("criu"));
        }
        self.settings.check(found)?;
        if self.settings.lazy_pages {
            self.require("--lazy-pages", |features| features.lazy_pages)?;
        }
        Ok(())
    }

    /// Fails unless CRIU and the kernel have the features that `has` reads.
    pub fn require(&self, name: &str, has: impl Fn(&Features) -> Option<bool>) -> Result<()> {
        let wanted = Features { mem_track: Some(true), lazy_pages: Some(true) };
        let check = of_type(Type::FeatureCheck);
        let request = Request { keep_open: Some(true), features: Some(wanted), ..check };
        let features = self.ask(&request, &mut |_, _| Ok(()))?.features.unwrap_or_default();
        if has(&features) == Some(true) {
            return Ok(());
        }
        let why = format!("criu and this kernel do not support it ({name})");
        Err(Error::new(Kind::System, why))
    }

    /// Sends a request with options, and passes each notification to `notified`. Returns when CRIU
    /// has answered. If `notified` fails, CRIU undoes its work, and the error is that of `notified`;
    /// otherwise an error quotes the log of CRIU.
    pub fn request(
        &self,
        r#type: Type,
        mut opts: Opts,
        notified: &mut dyn FnMut(&Notify, Option<OwnedFd>) -> Result<()>,
    ) -> Result<()> {
        opts.images_dir_fd = self.link()?.images;
        opts.work_dir_fd = Some(self.link()?.work);
        log::debug(format_args!("request to criu: {type}: {opts:?}"));
        let request = Request { opts: Some(Box::new(opts)), ..of_type(r#type) };
        let asked = self.ask(&request, notified).map(drop);
        asked.map_err(|error| self.directories.explain(error))
    }

    fn ask(
        &self,
        request: &Request,
        notified: &mut dyn FnMut(&Notify, Option<OwnedFd>) -> Result<()>,
    ) -> Result<Response> {
        let kind = request.r#type();
        self.send(request)?;
        let mut failed = None;
        loop {
            let (response, fd) = match self.receive(kind) {
                Ok(received) => received,
                Err(error) => return Err(failed.unwrap_or(error)),
            };
            match response.r#type() {
                Type::Notify if response.success => {
                    let notify = response.notify.unwrap_or_default();
                    log::debug(format_args!("criu notifies: {:?}", notify.script()));
                    let done = notified(&notify, fd);
                    let success = done.is_ok() && failed.is_none();
                    failed = failed.or(done.err());
                    self.send(&Request { notify_success: Some(success), ..of_type(Type::Notify) })?;
                }
                answered if response.success && answered == kind => {
                    return failed.map_or(Ok(response), Err);
                }
                _ if response.success => return Err(unexpected(kind)),
                _ => return Err(failed.unwrap_or_else(|| refused(kind, &response))),
            }
        }
    }

    fn link(&self) -> Result<&Link> {
        self.link.as_ref().ok_or_else(|| Error::new(Kind::System, "not started").context("criu"))
    }

    fn send(&self, request: &Request) -> Result<()> {
        let bytes = request.encode_to_vec();
        match send_with_fd(self.link()?.socket.as_fd(), &bytes, None) {
            // The reason is in the log of CRIU; the end of file follows.
            Err(error) if error.errno() == Some(nix::errno::Errno::EPIPE) => Ok(()),
            sent => sent.context("send a request to criu"),
        }
    }

    fn receive(&self, kind: Type) -> Result<(Response, Option<OwnedFd>)> {
        let mut buffer = vec![0; MAX];
        let (length, fd) = recv_with_fd(self.link()?.socket.as_fd(), &mut buffer)
            .with_context(|| format!("criu: {kind}"))?;
        let bytes = buffer.get(..length).unwrap_or_default();
        if bytes.is_empty() {
            let why = "it ended without an answer";
            return Err(Error::new(Kind::System, why).context(format!("criu: {kind}")));
        }
        let response = Response::decode(bytes).map_err(|_| unexpected(kind))?;
        Ok((response, fd))
    }

    /// Ends the connection, and waits until CRIU has ended.
    fn finish(self) -> Result<()> {
        drop((self.link, self.starter));
        let reaped = self.parent.reap(&self.child);
        self.hierarchy.repair();
        match reaped {
            // The program has reaped it already.
            Err(error) if error.errno() == Some(nix::errno::Errno::ECHILD) => Ok(()),
            reaped => reaped.context("wait for criu"),
        }
    }
}

/// No value: the process executes another program.
enum Never {}

impl Start<'_, '_> {
    /// The course of the new process.
    fn become_criu(&self, starter: &OwnedFd, report: &OwnedFd) -> Result<Never> {
        closing::allow();
        let mut go = [0];
        if recv_with_fd(starter.as_fd(), &mut go).context("wait for the runtime")?.0 == 0 {
            return Err(Error::new(Kind::System, "the runtime exited"));
        }
        (self.prepare)()?;
        if !self.stdio {
            // CRIU outlives an interrupt from the terminal: it must not leave a container half-way.
            nix::unistd::setsid().context("setsid")?;
            let flags = OFlags::RDWR | OFlags::CLOEXEC;
            let null = rustix::fs::openat(CWD, "/dev/null", flags, Mode::empty());
            let null = null.context("open /dev/null")?;
            dup2_stdin(&null).and(dup2_stdout(&null)).and(dup2_stderr(&null)).context("dup2")?;
        }
        // CRIU opens the directories by their numbers in the process that has made the socket pair.
        // Made here, that is CRIU itself, and they are in its mount namespace.
        let (socket, theirs) = fdpass::pair().context("create the socket pair to criu")?;
        let (images, work) = self.directories.open_again()?;
        let numbers = [images.as_raw_fd().to_le_bytes(), work.as_raw_fd().to_le_bytes()].concat();
        send_with_fd(starter.as_fd(), &numbers, Some(socket.as_fd())).context("start criu")?;
        let command = Command::new(self.settings, theirs.as_raw_fd())?;
        let own = [&images, &work, &theirs];
        for fd in self.inherited.iter().chain(own) {
            rustix::io::fcntl_setfd(fd, FdFlags::empty()).context("pass a descriptor to criu")?;
        }
        let kept = self.inherited.iter().chain(own).chain([report]);
        let mut kept: Vec<_> = kept.map(AsRawFd::as_raw_fd).collect();
        kept.sort_unstable();
        // They are closed as a range.
        std::mem::forget(socket);
        close_but(3, &kept)?;
        reset_signals_for_exec(self.signals)?;
        let errno = Exec::new(&command.path, &command.args, &command.env).run();
        Err(Error::from(errno).context(format!("execute {:?}", self.settings.program)))
    }
}

fn of_type(r#type: Type) -> Request {
    Request { r#type: r#type.into(), ..Request::default() }
}

fn unexpected(kind: Type) -> Error {
    Error::new(Kind::System, "unexpected response").context(format!("criu: {kind}"))
}

/// Returns the error for a request that has failed.
fn refused(kind: Type, response: &Response) -> Error {
    let errno = response.errno.filter(|errno| *errno != 0).map(nix::errno::Errno::from_raw);
    let message = response.message.as_deref().map(str::trim).filter(|text| !text.is_empty());
    let error = match (message, errno) {
        (Some(message), _) => Error::new(Kind::System, message),
        (None, Some(errno)) => Error::sys(errno),
        (None, None) => Error::new(Kind::System, "no reason is given"),
    };
    error.context(format!("criu: {kind} failed"))
}
