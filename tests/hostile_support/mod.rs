//! What the tests with hostile bundles share: a canary on the host that must not change, a way to
//! swap a directory for a link under the runtime's hands, and a second run without openat2(2).

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::fcntl::{AT_FDCWD, FcntlArg, RenameFlags, fcntl, renameat2};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use tempfile::TempDir;

use crate::support::{Bundle, Container, QUICK, Ran, copy_program, wait_until};

/// What is in the canary's `secret`: a container that prints it has seen the host.
pub const SECRET: &str = "the host's secret";

/// A directory of the host with one of everything, and the host's mount table: see
/// [`Canary::assert_unchanged`].
pub struct Canary {
    dir: TempDir,
    tree: BTreeMap<PathBuf, String>,
    mounts: Vec<String>,
}

impl Canary {
    /// A new one. It holds `secret`, `dir` with a file, `ptmx`, `null` and `console` as files, a
    /// FIFO, a link and a device node.
    pub fn new() -> Canary {
        let dir = tempfile::Builder::new().prefix("bulkhead-canary-").tempdir().unwrap();
        let path = dir.path();
        fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
        fs::write(path.join("secret"), SECRET).unwrap();
        fs::set_permissions(path.join("secret"), Permissions::from_mode(0o640)).unwrap();
        fs::write(path.join("passwd"), "root:x:0:0:root:/leaked:/bin/sh\n").unwrap();
        for name in ["ptmx", "null", "console", "zero", "tty"] {
            fs::write(path.join(name), name).unwrap();
        }
        fs::create_dir(path.join("dir")).unwrap();
        fs::set_permissions(path.join("dir"), Permissions::from_mode(0o711)).unwrap();
        fs::write(path.join("dir/file"), "inner").unwrap();
        symlink("dir/file", path.join("link")).unwrap();
        nix::unistd::mkfifo(&path.join("fifo"), Mode::S_IRUSR).unwrap();
        mknod(&path.join("node"), SFlag::S_IFCHR, Mode::S_IRUSR, makedev(1, 5)).unwrap();
        let tree = tree(path);
        Canary { tree, mounts: mounts(path), dir }
    }

    /// The directory, absolute.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// The path of something in it.
    pub fn join(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    /// The same as text.
    pub fn text(&self, name: &str) -> String {
        self.join(name).to_str().unwrap().to_owned()
    }

    /// Links to `name` in the canary, as an image would have them to lead out of its root.
    pub fn ways_out(&self, name: &str) -> Vec<(&'static str, String)> {
        let path = self.text(name);
        vec![
            ("absolute", path.clone()),
            ("dots", format!("{}{path}", "../".repeat(40))),
            ("absolute dots", format!("/..{}{path}", "/..".repeat(40))),
        ]
    }

    /// What differs in it: names, inodes, modes, owners, numbers of links, device numbers, sizes,
    /// contents.
    pub fn changes(&self) -> Vec<String> {
        let now = tree(self.path());
        let gone = self.tree.iter().filter(|entry| !now.contains_key(entry.0));
        let new = now.iter().filter(|(path, line)| self.tree.get(*path) != Some(line));
        gone.map(|(path, _)| format!("{path:?} is gone"))
            .chain(new.map(|(path, line)| format!("{path:?}: {:?} -> {line}", self.tree.get(path))))
            .collect()
    }

    /// Fails the test if anything in it differs, or if the host's mounts do.
    #[track_caller]
    pub fn assert_unchanged(&self) {
        let changes = self.changes();
        assert!(changes.is_empty(), "the canary has changed: {changes:#?}");
        let end = Instant::now() + *QUICK;
        loop {
            let table = mounts(self.path());
            let gone: Vec<_> = self.mounts.iter().filter(|m| !table.contains(m)).collect();
            let new: Vec<_> = table.iter().filter(|m| !self.mounts.contains(m)).collect();
            if gone.is_empty() && new.is_empty() {
                return;
            }
            assert!(Instant::now() < end, "the host's mounts: gone {gone:#?}, new {new:#?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

fn tree(top: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut todo = vec![top.to_owned()];
    while let Some(path) = todo.pop() {
        let meta = path.symlink_metadata().unwrap();
        let kind = meta.file_type();
        let content = if kind.is_file() {
            String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned()
        } else if kind.is_symlink() {
            fs::read_link(&path).unwrap().display().to_string()
        } else {
            format!("fifo {} char {}", kind.is_fifo(), kind.is_char_device())
        };
        let line = format!(
            "dev {} ino {} mode {:o} owner {}:{} links {} rdev {} size {} content {content:?}",
            meta.dev(),
            meta.ino(),
            meta.mode(),
            meta.uid(),
            meta.gid(),
            meta.nlink(),
            meta.rdev(),
            meta.size(),
        );
        found.insert(path.clone(), line);
        if kind.is_dir() {
            todo.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
    }
    found
}

/// The host's mounts, without those below the temporary directory: other tests mount there, in
/// directories of their own. The canary is an exception.
fn mounts(canary: &Path) -> Vec<String> {
    let temporary = std::env::temp_dir();
    let concerns = |line: &&str| {
        let at = Path::new(line.split(' ').nth(4).unwrap_or_default());
        at.starts_with(canary) || !at.starts_with(&temporary)
    };
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    table.lines().filter(concerns).map(str::to_owned).collect()
}

/// Puts a link into a root file system, in the place of what is there.
pub fn plant(bundle: &Bundle, name: &str, target: &str) {
    let path = bundle.rootfs().join(name);
    if path.symlink_metadata().is_ok_and(|meta| meta.is_dir()) {
        fs::remove_dir_all(&path).unwrap();
    } else {
        let _ = fs::remove_file(&path);
    }
    symlink(target, &path).unwrap();
}

/// Takes the mount on `place` out of a configuration.
pub fn without_mount(bundle: &mut Bundle, place: &str) {
    let mounts = bundle.config["mounts"].as_array_mut().unwrap();
    mounts.retain(|mount| {
        let to = mount["destination"].as_str().unwrap();
        to != place && !to.starts_with(&format!("{place}/"))
    });
}

/// Exchanges two names again and again until it is dropped.
pub struct Swapper {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<u64>>,
}

impl Swapper {
    /// Starts to exchange `a` and `b`, with `pause` between two turns.
    pub fn start(a: &Path, b: &Path, pause: Duration) -> Swapper {
        let stop = Arc::new(AtomicBool::new(false));
        let (flag, a, b) = (stop.clone(), a.to_owned(), b.to_owned());
        let (first, begun) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let mut turns = 0;
            while !flag.load(Ordering::Relaxed) {
                exchange(&a, &b);
                turns += 1;
                // Nobody listens after the first.
                let _ = first.send(());
                std::thread::sleep(pause);
            }
            turns
        });
        // On a busy machine the thread might not run before what it is to disturb is over.
        begun.recv().unwrap();
        Swapper { stop, thread: Some(thread) }
    }

    /// How often it did.
    pub fn stop(mut self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().map_or(0, |thread| thread.join().unwrap())
    }
}

/// Two names for each other.
pub fn exchange(a: &Path, b: &Path) {
    renameat2(AT_FDCWD, a, AT_FDCWD, b, RenameFlags::RENAME_EXCHANGE).unwrap();
}

impl Drop for Swapper {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Fails the test unless the call failed with exit status 1 and one plain line on stderr, within
/// the time that a refusal may take.
#[track_caller]
pub fn one_line(ran: &Ran, words: &[&str]) {
    assert_eq!(ran.code(), Some(1), "{ran:#?}");
    let told: Vec<&str> = ran.stderr.lines().filter(|line| !is_warning(line)).collect();
    assert_eq!(told.len(), 1, "not one line: {ran:#?}");
    for word in words {
        assert!(told[0].contains(word), "{word:?} is not named: {ran:#?}");
    }
    for word in ["panicked", "RUST_BACKTRACE", "unwrap"] {
        assert!(!ran.stderr.contains(word), "{ran:#?}");
    }
}

fn is_warning(line: &str) -> bool {
    line.starts_with("bulkhead: warning: ")
}

/// Says that this is the second run: see [`again_without_openat2`].
const SECOND_RUN: &str = "BULKHEAD_TEST_NO_OPENAT2";

/// Whether this is the second run.
pub fn is_second_run() -> bool {
    std::env::var_os(SECOND_RUN).is_some()
}

/// Runs the tests of a module (`module_path!()`) once more where openat2(2) fails with ENOSYS, as it
/// does in containers with an old seccomp profile: the look-up by components must be as safe.
/// A filter applies to a thread and its children, so neither strace nor a helper is needed.
pub fn again_without_openat2(module: &str) {
    use libseccomp::{ScmpAction, ScmpFilterContext, ScmpSyscall};
    if is_second_run() {
        let here = std::fs::File::open("/").unwrap();
        let none = rustix::fs::Mode::empty();
        let resolve = rustix::fs::ResolveFlags::IN_ROOT;
        let answer = rustix::fs::openat2(here, ".", rustix::fs::OFlags::PATH, none, resolve);
        assert_eq!(answer.unwrap_err(), rustix::io::Errno::NOSYS, "the filter is not in force");
        return;
    }
    let (_program, module) = module.split_once("::").unwrap();
    let filter = format!("{module}::");
    let run = move || {
        let mut rules = ScmpFilterContext::new(ScmpAction::Allow).unwrap();
        let openat2 = ScmpSyscall::from_name("openat2").unwrap();
        rules.add_rule(ScmpAction::Errno(libc::ENOSYS), openat2).unwrap();
        // no_new_privs would be inherited, and root does not need it.
        rules.set_ctl_nnp(false).unwrap();
        rules.load().unwrap();
        Command::new(std::env::current_exe().unwrap())
            .args([&filter, "--test-threads=2", "--nocapture"])
            .env(SECOND_RUN, "1")
            .output()
            .unwrap()
    };
    let output = std::thread::spawn(run).join().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "without openat2: {}\n{}\n{}",
        output.status,
        text(&output.stdout),
        text(&output.stderr)
    );
}

/// A process that is killed at the end of its test.
pub struct Killed(pub std::process::Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Words for `through`: a shell in a mount namespace of its own does `setup` before the runtime.
pub fn in_own_mounts(setup: &str) -> Vec<std::ffi::OsString> {
    let script = format!("set -e; {setup}; exec \"$@\"");
    let words = ["unshare", "--mount", "--propagation", "private", "sh", "-c", &script, "sh"];
    words.map(Into::into).to_vec()
}

/// Waits for processes that execute a program with the argument `features`, keeps that program open
/// until the process has ended, and then tries to write to it for a second: a program cannot be
/// opened for writing while it is executed, also by the runtime outside.
pub const PROGRAM_WRITER: &str = "
    echo ready
    while :; do
        for p in /proc/[0-9]*; do
            [ $p = /proc/1 ] && continue
            tr '\\0' ' ' <$p/cmdline 2>/dev/null | grep -q ' f[e]atures ' || continue
            ( : <$p/exe ) 2>/dev/null || continue
            exec 9<$p/exe
            echo held
            while [ -e $p/exe ]; do sleep 0.01; done
            for turn in $(seq 50); do
                ( echo harm >>/proc/self/fd/9 ) 2>/dev/null && echo written && break
                sleep 0.02
            done
            exec 9<&-
            echo tried
        done
        sleep 0.01
    done";

/// Capabilities with which root opens the program of every process that it sees.
pub const WRITER_CAPABILITIES: &[&str] =
    &["CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_SYS_ADMIN", "CAP_SYS_PTRACE"];

/// Runs a command that executes a program in sight of a [`PROGRAM_WRITER`], and returns whether the
/// program could be written to. The program blocks, on a full pipe, until it is held open.
#[track_caller]
pub fn can_write_to_program(writer: &Ran, mut command: Command) -> bool {
    let before = writer.later().len();
    let since = || writer.later()[before..].to_owned();
    let (mut reader, mut pipe) = std::io::pipe().unwrap();
    fcntl(&pipe, FcntlArg::F_SETPIPE_SZ(4096)).unwrap();
    pipe.write_all(&[0; 4096]).unwrap();
    command.stdout(pipe.try_clone().unwrap()).stderr(pipe);
    let mut child = command.spawn().unwrap();
    drop(command);
    wait_until("a held program", || since().contains("held"));
    let mut output = Vec::new();
    reader.read_to_end(&mut output).unwrap();
    child.wait().unwrap();
    wait_until("the attempt to write", || since().contains("tried"));
    assert!(output.len() > 4096, "the program printed nothing");
    since().contains("written")
}

/// Has a container run by a copy of the runtime, to which no harm is done if the copy is changed, and
/// puts two programs into its root file system: one that nothing protects, and a script whose
/// interpreter is the runtime. (`/proc/self/exe` itself is looked up from outside of the pid
/// namespace, where it does not exist.) Returns the path of the copy, and the programs with whether
/// a [`PROGRAM_WRITER`] can write to what they execute.
pub fn programs_of_the_runtime(c: &mut Container) -> (PathBuf, [(&'static str, bool); 2]) {
    let runtime = c.path().join("runtime");
    copy_program(&c.rt.binary, &runtime);
    c.rt.binary.clone_from(&runtime);
    let rootfs = c.rootfs();
    copy_program(&runtime, rootfs.join("bin/unprotected"));
    let libraries = Command::new("ldd").arg(&runtime).output().unwrap().stdout;
    let libraries = String::from_utf8(libraries).unwrap();
    for library in libraries.split_ascii_whitespace().filter(|word| word.starts_with('/')) {
        let copy = rootfs.join(&library[1..]);
        fs::create_dir_all(copy.parent().unwrap()).unwrap();
        copy_program(library, copy);
    }
    let script = rootfs.join("bin/script");
    fs::write(&script, "#!/proc/self/exe\n").unwrap();
    fs::set_permissions(&script, Permissions::from_mode(0o755)).unwrap();
    (runtime, [("/bin/unprotected", true), ("/bin/script", false)])
}
