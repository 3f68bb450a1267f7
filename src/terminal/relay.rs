//! Copies between the caller's standard input and output and the master of the container's
//! terminal. It loses no byte, never blocks, and holds at most two small buffers.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::PollFlags;
use nix::unistd::write;

use super::buffer::Buffer;
use super::caller::CallerTerminal;
use super::streams::{Input, Output};
use crate::{Context, Error, Result, sys};

/// As much input as a terminal reads ahead: input that the container has not read belongs to the
/// next program.
const INPUT_SIZE: usize = 4096;
const OUTPUT_SIZE: usize = 64 * 1024;

/// More output than a pseudo terminal holds (8 KiB of buffers, rounded up to pages, and 4 KiB in the
/// line discipline). After the container's process has ended, output beyond this many bytes was
/// written by another process.
const REST: usize = 64 * 1024;

/// The reader of the output is gone; with the error, if the error has more to add.
///
/// The container's terminal is then hung up, as by closing the window of a terminal emulator: its
/// programs get SIGHUP and errors and do not write forever without a reader, so that
/// `run | head -1` ends.
pub(super) struct Gone(pub(super) Option<Error>);

/// The events that poll(2) returned for the three descriptors of [`Relay::interests`].
pub(super) type Ready = [PollFlags; 3];

/// Copies in both directions, one step at a time.
pub(super) struct Relay {
    master: OwnedFd,
    /// Held open, so that the master does not report a hang-up whenever the container's programs
    /// have closed the slave; some programs (init systems) open it again later.
    _slave: OwnedFd,
    /// `None` after the end of file.
    input: Option<Input>,
    /// Whether the runtime is in the background, where another process reads the terminal's input.
    input_paused: bool,
    /// Whether the last read was refused as from the background, although the runtime was in the
    /// foreground again afterwards.
    input_doubtful: bool,
    output: Output,
    to_container: Buffer,
    to_caller: Buffer,
}

impl Relay {
    /// Sets up the copying between `master` and the standard input and output.
    pub(super) fn open(master: OwnedFd) -> Result<Relay> {
        let flags = OFlag::from_bits_retain(
            fcntl(&master, FcntlArg::F_GETFL).context("fcntl the console's master")?,
        );
        // The container's init has closed its copy, so this affects no other process.
        fcntl(&master, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))
            .context("fcntl the console's master")?;
        let slave = sys::term::open_peer(master.as_fd()).context("open the console's slave")?;
        let [stdin, stdout, _] = sys::term::stdio();
        Ok(Relay {
            master,
            _slave: slave,
            input: Some(Input::open(stdin)),
            input_paused: false,
            input_doubtful: false,
            output: Output::open(stdout)?,
            to_container: Buffer::new(INPUT_SIZE),
            to_caller: Buffer::new(OUTPUT_SIZE),
        })
    }

    /// Gives the container's terminal the size of the caller's. Failures are ignored: the caller's
    /// terminal may have just closed, and SIGHUP is about to arrive.
    pub(super) fn resize(&self, terminal: &CallerTerminal) {
        if let Ok(size) = terminal.size() {
            let _ = sys::term::set_window_size(self.master.as_fd(), &size);
        }
    }

    /// Whether the terminal has a size, for example from `process.consoleSize`. A new terminal has
    /// none.
    pub(super) fn has_size(&self) -> bool {
        sys::term::window_size(self.master.as_fd())
            .is_ok_and(|size| size.ws_row != 0 || size.ws_col != 0)
    }

    /// Reads standard input again, after SIGCONT.
    pub(super) fn resume_input(&mut self) {
        self.input_paused = false;
    }

    /// Returns the descriptors to wait for: standard input, the master, standard output. A descriptor
    /// with no event to wait for is left out, because poll(2) reports its hang-ups regardless.
    pub(super) fn interests(&self) -> [Option<(BorrowedFd<'_>, PollFlags)>; 3] {
        let input =
            self.input.as_ref().filter(|_| !self.input_paused && self.to_container.has_room());
        let mut master = PollFlags::empty();
        master.set(PollFlags::POLLIN, self.to_caller.has_room());
        master.set(PollFlags::POLLOUT, !self.to_container.is_empty());
        [
            input.map(|input| (input.fd(), PollFlags::POLLIN)),
            (!master.is_empty()).then_some((self.master.as_fd(), master)),
            (!self.to_caller.is_empty()).then_some((self.output.fd(), PollFlags::POLLOUT)),
        ]
    }

    /// Copies what can be copied without blocking.
    pub(super) fn step(
        &mut self,
        [input, master, output]: Ready,
        terminal: Option<&CallerTerminal>,
    ) -> Result<(), Gone> {
        if !input.is_empty() {
            self.read_input(terminal);
        }
        self.write_master();
        // Not after POLLOUT alone: each key would cause a useless read.
        if !(master - PollFlags::POLLOUT).is_empty() {
            // The only failures are "no data" and "no slave", and the slave is held.
            let _ = self.to_caller.fill(self.master.as_fd(), OUTPUT_SIZE);
        }
        self.write_output(!output.is_empty())
    }

    fn read_input(&mut self, terminal: Option<&CallerTerminal>) {
        let Some(input) = &self.input else { return };
        let result = self.to_container.fill(input.fd(), INPUT_SIZE);
        let was_doubtful = std::mem::take(&mut self.input_doubtful);
        match result {
            Ok(1..) | Err(Errno::EAGAIN | Errno::EINTR) => {}
            // From the background, with SIGTTIN blocked. SIGCONT will follow; and if the runtime
            // has just been moved to the foreground, there is no need to wait.
            Err(Errno::EIO) if terminal.is_some_and(CallerTerminal::in_background) => {
                self.input_paused = true;
            }
            Err(Errno::EIO) if !was_doubtful => self.input_doubtful = true,
            // The end of a file is not passed on, as with runc: a program that has set the terminal
            // to raw mode would read the end-of-file character as an ordinary character.
            Ok(_) | Err(_) => self.input = None,
        }
    }

    fn write_master(&mut self) {
        if self.to_container.is_empty() {
            return;
        }
        match write(&self.master, self.to_container.pending()) {
            Ok(length) => self.to_container.consume(length),
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            Err(_) => self.to_container.clear(),
        }
    }

    fn write_output(&mut self, ready: bool) -> Result<(), Gone> {
        if self.to_caller.is_empty() {
            return Ok(());
        }
        match self.output.write(self.to_caller.pending(), ready) {
            Ok(length) => {
                self.to_caller.consume(length);
                Ok(())
            }
            Err(Errno::EAGAIN | Errno::EINTR) => Ok(()),
            // A pipe, a socket, a terminal whose other end is closed.
            Err(Errno::EPIPE | Errno::ECONNRESET | Errno::EIO) => Err(Gone(None)),
            Err(errno) => {
                Err(Gone(Some(Error::sys(errno).context("write the container's output"))))
            }
        }
    }
}

/// The output that the terminal holds after the container's process has ended.
///
/// The kernel returns it in order and without delay: a read of the master first processes
/// everything that was written. A background process that keeps writing is not waited for.
pub(super) struct Rest {
    relay: Relay,
    left: usize,
}

impl Rest {
    /// Stops the input.
    pub(super) fn of(mut relay: Relay) -> Rest {
        relay.input = None;
        relay.to_container.clear();
        Rest { relay, left: REST }
    }

    /// Copies what can be copied without blocking. Returns whether everything is written; otherwise
    /// wait for standard output.
    pub(super) fn step(&mut self, mut ready: bool) -> Result<bool, Gone> {
        loop {
            while self.left > 0 && self.relay.to_caller.has_room() {
                match self.relay.to_caller.fill(self.relay.master.as_fd(), self.left) {
                    Ok(length @ 1..) => self.left = self.left.saturating_sub(length),
                    Err(Errno::EINTR) => {}
                    Ok(_) | Err(_) => self.left = 0,
                }
            }
            self.relay.write_output(ready)?;
            if !self.relay.to_caller.is_empty() {
                return Ok(false);
            }
            // The buffer has room again for the terminal's remaining output.
            if self.left == 0 {
                return Ok(true);
            }
            ready = false;
        }
    }

    /// Returns standard output, for as long as [`Rest::step`] is not done.
    pub(super) fn interest(&self) -> Option<(BorrowedFd<'_>, PollFlags)> {
        let [_, _, output] = self.relay.interests();
        output
    }
}

#[cfg(test)]
mod tests {
    use nix::fcntl::open;
    use nix::sys::stat::Mode;

    use super::*;

    /// Creates a terminal that holds 3000 bytes, and its relay into a large pipe.
    fn rest_of_3000() -> Option<(Rest, OwnedFd)> {
        let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
        // Only root may open it outside of containers.
        let ptmx = open("/dev/pts/ptmx", flags, Mode::empty()).ok()?;
        let pty = super::super::pty::open(ptmx, None).unwrap();
        let mut relay = Relay::open(pty.master).unwrap();
        let (near, far) = nix::unistd::pipe().unwrap();
        fcntl(&far, FcntlArg::F_SETPIPE_SZ(1 << 20)).unwrap();
        relay.output = Output::Own(far);
        write(&pty.slave, &[b'x'; 3000]).unwrap();
        Some((Rest::of(relay), near))
    }

    fn all_of(rest: Rest, near: OwnedFd) -> Vec<u8> {
        drop(rest);
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut std::fs::File::from(near), &mut bytes).unwrap();
        bytes
    }

    /// The buffer is nearly full and then written at once: the terminal still holds output.
    #[test]
    fn the_rest_is_more_than_what_fits() {
        let Some((mut rest, near)) = rest_of_3000() else { return };
        rest.relay.to_caller.pretend_filled(OUTPUT_SIZE - 100);
        assert!(rest.step(false).is_ok_and(|done| done));
        let bytes = all_of(rest, near);
        assert_eq!(bytes.len(), OUTPUT_SIZE - 100 + 3000);
        assert!(bytes.ends_with(&[b'x'; 3000]));
    }

    /// A process that never stops writing is not waited for.
    #[test]
    fn the_rest_has_an_end() {
        let Some((mut rest, near)) = rest_of_3000() else { return };
        rest.left = 1000;
        assert!(rest.step(false).is_ok_and(|done| done));
        assert_eq!(all_of(rest, near).len(), 1000);
    }
}
