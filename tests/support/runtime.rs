//! The runtime's command line, with a time limit on every call.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::{PATIENCE, wait_for};

/// A runtime binary with its state directory.
pub struct Runtime {
    /// The binary under test.
    pub binary: PathBuf,
    /// Its `--root`.
    pub root: PathBuf,
    /// Options that stand before the command.
    pub global: Vec<OsString>,
    /// Words before the binary, such as `setpriv ...`: for one who calls it in another setting.
    pub through: Vec<OsString>,
    /// The directory it is called in.
    pub dir: PathBuf,
    /// Where the output of each call is kept.
    outputs: PathBuf,
    serial: AtomicU32,
}

/// What one call came to.
#[derive(Debug)]
pub struct Ran {
    /// The command line.
    #[expect(dead_code, reason = "for failure messages, which print it with Debug")]
    pub line: String,
    /// The runtime's exit status.
    pub status: ExitStatus,
    /// The file that stdout went to: a detached container goes on writing there.
    pub output: PathBuf,
    /// What was in it when the call ended.
    pub stdout: String,
    /// What stderr said.
    pub stderr: String,
}

/// A call under way.
pub struct Running {
    line: String,
    /// The runtime's process.
    pub child: Child,
    output: PathBuf,
    errors: PathBuf,
}

/// The binary that the tests are about.
pub fn binary_under_test() -> PathBuf {
    match std::env::var_os("BULKHEAD_BIN") {
        Some(path) if !path.is_empty() => PathBuf::from(path),
        _ => PathBuf::from(env!("CARGO_BIN_EXE_bulkhead")),
    }
}

impl Runtime {
    /// The binary under test with its state and its outputs below `dir`.
    pub fn new(dir: &Path) -> Self {
        let outputs = dir.join("outputs");
        fs::create_dir_all(&outputs).unwrap();
        Runtime {
            binary: binary_under_test(),
            root: dir.join("state"),
            global: Vec::new(),
            through: Vec::new(),
            dir: dir.to_owned(),
            outputs,
            serial: AtomicU32::new(0),
        }
    }

    /// The command without its stdio: `--root` and the global options, then `args`.
    pub fn command<S: AsRef<OsStr>>(&self, args: &[S]) -> Command {
        let mut words = self.through.clone();
        words.push(self.binary.clone().into());
        words.push("--root".into());
        words.push(self.root.clone().into());
        words.extend(self.global.iter().cloned());
        words.extend(args.iter().map(|arg| arg.as_ref().to_owned()));
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).current_dir(&self.dir).stdin(Stdio::null());
        for name in ["NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_PID", "XDG_RUNTIME_DIR"] {
            command.env_remove(name);
        }
        command
    }

    /// Calls the runtime and waits for it.
    #[track_caller]
    pub fn call<S: AsRef<OsStr>>(&self, args: &[S]) -> Ran {
        self.spawn(self.command(args)).wait()
    }

    /// Starts a command made by [`Runtime::command`], its output kept in files: a pipe would stay
    /// open for as long as a detached container lives.
    #[track_caller]
    pub fn spawn(&self, mut command: Command) -> Running {
        let serial = self.serial.fetch_add(1, Ordering::Relaxed);
        let output = self.outputs.join(format!("{serial}.out"));
        let errors = self.outputs.join(format!("{serial}.err"));
        let line = format!("{command:?}");
        command.stdout(File::create(&output).unwrap()).stderr(File::create(&errors).unwrap());
        let child = command.spawn().unwrap_or_else(|error| panic!("{line}: {error}"));
        Running { line, child, output, errors }
    }
}

impl Running {
    /// What it has written to stdout so far.
    pub fn stdout(&self) -> String {
        read(&self.output)
    }

    /// Waits for its end, but not for ever.
    #[track_caller]
    pub fn wait(mut self) -> Ran {
        let mut status = None;
        let waited = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            status = Some(wait_for(&self.line, || self.child.try_wait().unwrap()));
        }));
        if waited.is_err() {
            self.child.kill().unwrap();
            self.child.wait().unwrap();
            panic!("{} hangs; stderr: {}", self.line, read(&self.errors));
        }
        Ran {
            status: status.unwrap(),
            stdout: read(&self.output),
            stderr: read(&self.errors),
            line: self.line,
            output: self.output,
        }
    }
}

impl Ran {
    /// The exit code; a death by a signal is none.
    pub fn code(&self) -> Option<i32> {
        assert_eq!(self.status.signal(), None, "killed: {self:?}");
        self.status.code()
    }

    /// Fails the test unless the call succeeded.
    #[track_caller]
    pub fn ok(self) -> Self {
        assert_eq!(self.code(), Some(0), "{self:#?}");
        self
    }

    /// Fails the test unless the call failed as a runtime does: exit status 1 and one line on
    /// stderr, which holds every one of `words`.
    #[track_caller]
    pub fn refused(self, words: &[&str]) -> Self {
        self.failed(1, words)
    }

    /// Fails the test unless the call was an `exec` that could not start its process: exit status
    /// 255, and one line as for [`Ran::refused`].
    #[track_caller]
    pub fn not_started(self, words: &[&str]) -> Self {
        self.failed(255, words)
    }

    #[track_caller]
    fn failed(self, status: i32, words: &[&str]) -> Self {
        assert_eq!(self.code(), Some(status), "{self:#?}");
        assert_eq!(self.stderr.lines().count(), 1, "not one line: {self:#?}");
        for word in words {
            assert!(self.stderr.contains(word), "{word:?} is not named: {self:#?}");
        }
        self
    }

    /// What a detached container has written by now.
    pub fn later(&self) -> String {
        read(&self.output)
    }

    /// Waits until a detached container has written `text`, and gives all that it wrote.
    #[track_caller]
    pub fn wait_for(&self, text: &str) -> String {
        let end = Instant::now() + *PATIENCE;
        loop {
            let output = self.later();
            if output.contains(text) {
                return output;
            }
            assert!(Instant::now() < end, "waited in vain for {text:?} in {output:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

fn read(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned()
}
