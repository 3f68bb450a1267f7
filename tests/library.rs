//! The library in a program with threads. It has a `main` of its own: the harness of Rust runs tests
//! in threads, and a fork server is started before the first thread.

#[path = "../examples/run.rs"]
mod example;
// `skip` and `support` are shared with the other test program, which uses all of them.
#[allow(unused_macros)]
mod skip;
#[allow(dead_code, unused_imports, unused_macros)]
mod support;

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use std::{fs, hint, io, thread};

use bulkhead::{CreateOptions, ExecOptions, ForkServer, Kind, Operation, Pending, Runtime, Signal};
use nix::poll::{PollFd, PollFlags};
use support::{Bundle, json};

const THREADS: usize = 8;
const CREATES: usize = 1000;

/// No test of this file takes longer; a hang is a failure.
const LIMIT: Duration = Duration::from_secs(300);

/// Has this program run the example.
const EXAMPLE: &str = "BULKHEAD_TEST_EXAMPLE";

/// Has this program close its standard descriptors and run a container; the value is a directory.
const CLOSED: &str = "BULKHEAD_TEST_CLOSED";

fn main() {
    if let Some(dir) = std::env::var_os(CLOSED) {
        return run_with_closed_descriptors(Path::new(&dir));
    }
    if std::env::var_os(EXAMPLE).is_some() {
        return example::main().unwrap();
    }
    if std::env::args().any(|arg| arg == "--list") {
        println!("library: test");
        return;
    }
    // As in a test program of the harness, a word selects tests by a part of their name.
    let mut filters = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).peekable();
    if filters.peek().is_some() && !filters.any(|filter| "library".contains(&filter)) {
        return;
    }
    if !nix::unistd::geteuid().is_root() {
        skip::record("library::library::main", "needs root privileges");
        return;
    }
    bulkhead::protect_executable().unwrap();
    the_executable_is_out_of_reach();
    let bundle = bundle();
    let root = tempfile::tempdir().unwrap();
    one_thread_needs_no_server(&bundle, &root.path().join("one"));
    let server = ForkServer::start().unwrap();
    thread::spawn(|| {
        thread::sleep(LIMIT);
        eprintln!("not done after {LIMIT:?}");
        std::process::exit(1);
    });
    many_threads_need_a_server(&bundle, &root.path().join("none"));
    operations_are_started_and_finished_later(&root.path().join("begun"), &server);
    descriptors_and_errors_reach_their_ends(&bundle, &root.path().join("fds"), &server);
    a_thousand_creates_from_eight_threads(&bundle, &root.path().join("many"), &server);
    the_example_runs(&root.path().join("example"));
    no_socket_becomes_a_standard_descriptor(root.path());
    drop(server);
    assert_eq!(children(), [""; 0]);
    println!("test result: ok");
}

/// The file of this program is open for reading only, on a mount of its own.
fn the_executable_is_out_of_reach() {
    let exe = fs::File::open("/proc/self/exe").unwrap();
    let flags = rustix::fs::fstatvfs(&exe).unwrap().f_flag;
    assert!(flags.contains(rustix::fs::StatVfsMountFlags::RDONLY), "{flags:?}");
}

/// A container whose program ends at once.
fn bundle() -> Bundle {
    let mut bundle = Bundle::new();
    bundle.args(&["true"]);
    bundle.remove("/linux/cgroupsPath");
    bundle.write();
    bundle
}

fn one_thread_needs_no_server(bundle: &Bundle, root: &Path) {
    let before = Program::now();
    let runtime = Runtime::open(root).unwrap();
    let init = runtime.create("direct", &CreateOptions::new(bundle.path())).unwrap();
    assert_eq!(parent_of(init.id()), std::process::id());
    let container = runtime.container("direct").unwrap();
    container.start().unwrap();
    assert_eq!(init.wait().unwrap().code(), Some(0));
    assert_eq!(init.wait().unwrap_err().kind(), Kind::State);
    container.delete().unwrap();
    assert!(runtime.containers().unwrap().is_empty());
    assert_eq!(Program::now(), before);
}

fn many_threads_need_a_server(bundle: &Bundle, root: &Path) {
    let runtime = Runtime::open(root).unwrap();
    let error = runtime.create("direct", &CreateOptions::new(bundle.path())).unwrap_err();
    assert_eq!(error.kind(), Kind::State);
    assert!(error.to_string().contains("ForkServer"), "{error}");
    assert_eq!(ForkServer::start().unwrap_err().kind(), Kind::State);
}

fn descriptors_and_errors_reach_their_ends(bundle: &Bundle, root: &Path, server: &ForkServer) {
    let runtime = Runtime::with_fork_server(root, server).unwrap();
    let mut shell = Bundle::new();
    shell.args(&["sh", "-c", "cat <&4; cat; echo failed >&2; exit 3"]);
    shell.remove("/linux/cgroupsPath");
    shell.write();
    let (input, mut to_input) = io::pipe().unwrap();
    let (mut from_error, error) = io::pipe().unwrap();
    let (mut from_output, output) = io::pipe().unwrap();
    let (fourth, mut to_fourth) = io::pipe().unwrap();
    let options = CreateOptions::new(shell.path())
        .stdin(input)
        .stdout(output)
        .stderr(error)
        .preserve_fd(fs::File::open("/dev/null").unwrap())
        .preserve_fd(fourth);
    io::Write::write_all(&mut to_fourth, b"of four, ").unwrap();
    io::Write::write_all(&mut to_input, b"of zero").unwrap();
    drop((to_fourth, to_input));
    let init = runtime.run("fds", &options).unwrap();
    drop(options);
    assert_eq!(io::read_to_string(&mut from_output).unwrap(), "of four, of zero");
    assert_eq!(io::read_to_string(&mut from_error).unwrap(), "failed\n");
    assert_eq!(init.wait().unwrap().code(), Some(3));

    let container = runtime.container("fds").unwrap();
    let error = container.exec(&ExecOptions::new(["true"])).unwrap_err();
    assert_eq!(error.kind(), Kind::State);
    container.delete().unwrap();
    assert_eq!(container.status().unwrap_err().kind(), Kind::NotFound);
    let error = runtime.create("none", &CreateOptions::new("/no/such/bundle")).unwrap_err();
    assert!(error.to_string().ends_with("no such file or directory"), "{error}");
    let error = runtime.run("fds", &CreateOptions::new(bundle.path()).config("/dev/null"));
    assert_eq!(error.unwrap_err().kind(), Kind::Invalid);

    shell.args(&["sleep", "100"]).write();
    let init = runtime.run("fds", &CreateOptions::new(shell.path())).unwrap();
    let exit = container.exec(&ExecOptions::new(["sh", "-c", "exit 4"])).unwrap();
    assert_eq!(exit.wait().unwrap().code(), Some(4));
    // Still there when the process that cloned it has ended.
    let sleep = container.exec(&ExecOptions::new(["sleep", "100"])).unwrap();
    sleep.signal(Signal::KILL).unwrap();
    assert_eq!(sleep.wait().unwrap().signal(), Some(9));
    let error = container.exec(&ExecOptions::new(["/no/such/program"])).unwrap_err();
    assert!(error.to_string().ends_with("no such file or directory"), "{error}");
    let processes = container.processes().unwrap();
    assert_eq!(processes, [init.id()]);
    container.kill(Signal::KILL).unwrap();
    assert_eq!(init.wait().unwrap().signal(), Some(9));
    container.delete().unwrap();
    let _: OwnedFd = init.into();
}

/// Waits as a loop with poll(2) does.
fn poll_until_done(pending: &mut Pending) -> Option<bulkhead::Process> {
    loop {
        let mut fds: Vec<_> =
            pending.descriptors().map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
        assert!(nix::poll::poll(&mut fds, 60_000_u16).unwrap() > 0, "no answer");
        if let Some(process) = pending.try_wait().unwrap() {
            return process;
        }
    }
}

fn operations_are_started_and_finished_later(root: &Path, server: &ForkServer) {
    let runtime = Runtime::with_fork_server(root, server).unwrap();
    let mut bundle = Bundle::new();
    bundle.args(&["sh", "-c", "read line; echo $line; tty"]);
    bundle.set("/process/terminal", json!(true));
    bundle.remove("/linux/cgroupsPath");
    bundle.write();
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    let options = CreateOptions::new(bundle.path()).console(OwnedFd::from(theirs));
    let mut pending = runtime.begin("begun", Operation::Create(&options)).unwrap();
    let init = poll_until_done(&mut pending).expect("a process");
    assert_eq!(parent_of(init.id()), std::process::id());
    let mut master = fs::File::from(receive(&ours));
    poll_until_done(&mut runtime.begin("begun", Operation::Start).unwrap());
    let exec = ExecOptions::process_json(
        json!({"args": ["sh", "-c", "exit 9"], "cwd": "/", "user": {"uid": 0, "gid": 0},
            "env": ["PATH=/bin"]})
        .to_string(),
    );
    let process = poll_until_done(&mut runtime.begin("begun", Operation::Exec(&exec)).unwrap());
    assert_eq!(process.unwrap().wait().unwrap().code(), Some(9));
    let mut update = runtime.begin("begun", Operation::Update("{\"pids\": 1}")).unwrap();
    let error = loop {
        match update.try_wait() {
            Ok(None) => {}
            Ok(Some(_)) => panic!("a wrong update succeeded"),
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), Kind::Invalid, "{error}");
    io::Write::write_all(&mut master, b"typed\n").unwrap();
    assert!(init.wait().unwrap().success());
    let mut text = vec![0; 200];
    let length = io::Read::read(&mut master, &mut text).unwrap();
    let text = String::from_utf8_lossy(&text[..length]);
    assert!(text.contains("typed") && text.contains("/dev/pts/"), "{text:?}");
    poll_until_done(&mut runtime.begin("begun", Operation::Delete).unwrap());
    assert!(runtime.containers().unwrap().is_empty());
}

/// Receives the descriptor that comes with a message.
fn receive(socket: &std::os::unix::net::UnixStream) -> OwnedFd {
    use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut buffer = [0; 64];
    let mut parts = [io::IoSliceMut::new(&mut buffer)];
    rustix::net::recvmsg(socket, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC).unwrap();
    let Some(RecvAncillaryMessage::ScmRights(mut fds)) = control.drain().next() else {
        panic!("no descriptor")
    };
    fds.next().unwrap()
}

fn a_thousand_creates_from_eight_threads(bundle: &Bundle, root: &Path, server: &ForkServer) {
    let runtime = Runtime::with_fork_server(root, server).unwrap();
    let options = CreateOptions::new(bundle.path());
    let (before, open) = (Program::now(), descriptors());
    let done = AtomicBool::new(false);
    let began = Instant::now();
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| allocate_until(&done));
        }
        let creators: Vec<_> = (0..THREADS)
            .map(|thread| {
                let (runtime, options) = (&runtime, &options);
                scope.spawn(move || {
                    for turn in 0..CREATES / THREADS {
                        lifecycle(
                            runtime,
                            options,
                            &format!("c{}-{thread}-{turn}", std::process::id()),
                        );
                    }
                })
            })
            .collect();
        let results: Vec<_> = creators.into_iter().map(|creator| creator.join()).collect();
        done.store(true, Ordering::Relaxed);
        assert!(results.iter().all(Result::is_ok));
    });
    println!("{CREATES} containers in {:?}", began.elapsed());
    assert_eq!((Program::now(), descriptors()), (before, open));
    assert!(runtime.containers().unwrap().is_empty());
    assert_eq!(fs::read_dir(root).unwrap().count(), 0);
    // The fork server, and no zombie.
    assert_eq!(children().len(), 1, "{:?}", children());
}

fn lifecycle(runtime: &Runtime, options: &CreateOptions, id: &str) {
    let init = runtime.create(id, options).unwrap();
    assert_eq!(parent_of(init.id()), std::process::id());
    let container = runtime.container(id).unwrap();
    container.start().unwrap();
    assert!(init.wait().unwrap().success());
    container.delete().unwrap();
}

/// Holds the locks of the allocator most of the time.
fn allocate_until(done: &AtomicBool) {
    let mut kept: Vec<Vec<u8>> = Vec::new();
    let mut size = 1;
    while !done.load(Ordering::Relaxed) {
        size = (size * 31 + 17) % 70_000;
        kept.push(hint::black_box(vec![1; size]));
        if kept.len() > 200 {
            kept.clear();
        }
    }
}

fn the_example_runs(root: &Path) {
    let mut bundle = Bundle::new();
    bundle.args(&["sleep", "100"]);
    bundle.set("/process/terminal", json!(false));
    bundle.write();
    // A process of its own, because the example starts a fork server.
    let ran = Command::new("/proc/self/exe")
        .env(EXAMPLE, "1")
        .arg(root)
        .args([bundle.path(), Path::new(bundle.name())])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let output = String::from_utf8(ran.stdout).unwrap();
    assert!(ran.status.success(), "{output}{}", String::from_utf8_lossy(&ran.stderr));
    for part in ["is running", "hello\n", "exit status: 7", "signal: 9"] {
        assert!(output.contains(part), "{part}: {output}");
    }
    assert_eq!(fs::read_dir(root).unwrap().count(), 0);
}

fn no_socket_becomes_a_standard_descriptor(dir: &Path) {
    let program = "/proc/self/exe";
    assert!(Command::new(program).env(CLOSED, dir).status().unwrap().success());
    assert_eq!(fs::read_to_string(dir.join("output")).unwrap(), "/dev/null\n".repeat(4));
}

fn run_with_closed_descriptors(dir: &Path) {
    let output = fs::File::create(dir.join("output")).unwrap();
    let mut bundle = Bundle::new();
    bundle.args(&["sh", "-c", "readlink /proc/self/fd/0; readlink /proc/self/fd/2"]);
    bundle.remove("/linux/cgroupsPath");
    bundle.write();
    for number in 0..3 {
        nix::unistd::close(number).unwrap();
    }
    let options = CreateOptions::new(bundle.path()).stdout(output);
    let run = |runtime: &Runtime| {
        let init = runtime.run("closed", &options).unwrap();
        assert!(init.wait().unwrap().success());
        runtime.container("closed").unwrap().delete().unwrap();
    };
    run(&Runtime::open(dir.join("direct")).unwrap());
    let server = ForkServer::start().unwrap();
    run(&Runtime::with_fork_server(dir.join("server"), &server).unwrap());
}

/// What all threads of this program share.
#[derive(Debug, PartialEq)]
struct Program {
    status: BTreeMap<String, String>,
    limits: String,
    cwd: std::path::PathBuf,
    mount_namespace: std::path::PathBuf,
    environment: u64,
}

impl Program {
    fn now() -> Program {
        let kept = ["Umask", "Groups", "CapEff", "SigBlk", "SigIgn", "SigCgt", "Cpus_allowed"];
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let lines = status.lines().filter_map(|line| line.split_once(":\t"));
        let status = lines
            .filter(|(name, _)| kept.contains(name))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        Program {
            status,
            limits: fs::read_to_string("/proc/self/limits").unwrap(),
            cwd: std::env::current_dir().unwrap(),
            mount_namespace: fs::read_link("/proc/self/ns/mnt").unwrap(),
            environment: hash(std::env::vars_os().collect::<Vec<_>>()),
        }
    }
}

fn hash(value: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

fn parent_of(pid: u32) -> u32 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"));
    parent.unwrap().trim().parse().unwrap()
}

/// The processes whose parent is this program.
fn children() -> Vec<String> {
    let names = fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let own = format!("\nPPid:\t{}\n", std::process::id());
    names
        .filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()))
        .filter_map(|name| fs::read_to_string(format!("/proc/{name}/status")).ok())
        .filter(|status| status.contains(&own))
        .collect()
}
