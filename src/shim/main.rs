//! The shim of containerd, `containerd-shim-bulkhead-v2`: the library in the process that containerd
//! starts for each pod. It executes no other program, except for one that takes the output of a
//! container (`binary://`), and CRIU.
#![forbid(unsafe_code)]

mod calls;
mod command;
mod host;
mod io;
mod log;
mod proto;
mod server;
mod service;
mod shim;
mod task;
mod wire;

use std::io::{Error, Result};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::ExitCode;

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use command::args::Args;
use command::{address, delete, info, start};
use io::destination::Slots;
use server::publisher::Publisher;
use shim::Shim;

/// The name of the runtime in containerd.
pub const RUNTIME: &str = "io.containerd.bulkhead.v2";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{RUNTIME}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let words = std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned());
    let args = Args::parse(words).map_err(Error::other)?;
    if args.version {
        println!("containerd-shim-bulkhead-v2 version {}", env!("CARGO_PKG_VERSION"));
        if let Some(commit) = option_env!("BULKHEAD_COMMIT") {
            println!("commit: {commit}");
        }
        return Ok(());
    }
    if args.info {
        return info::run();
    }
    if args.namespace.is_empty() {
        return Err(Error::other("-namespace: missing"));
    }
    match args.action.as_deref() {
        Some("start") => start::run(&args),
        Some("delete") => delete::run(&args),
        Some(action) => Err(Error::other(format!("unknown command {action:?}"))),
        None => serve(&args),
    }
}

/// Runs the server.
fn serve(args: &Args) -> Result<()> {
    // First of all, because it executes the program again.
    bulkhead::protect_executable().map_err(Error::other)?;
    let slots = Slots::reserve()?;
    let (listener, path) = listener(args)?;
    log::init("log".as_ref(), &args.id, args.debug);
    // The bundle may be removed while the shim serves other containers.
    std::env::set_current_dir("/")?;
    prctl::set_child_subreaper(true).map_err(Error::from_raw_os_error)?;
    let mut mask = SigSet::empty();
    for signal in [Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGINT] {
        mask.add(signal);
    }
    mask.thread_block()?;
    let signals = SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
    let events = std::env::var_os("TTRPC_ADDRESS").filter(|address| !address.is_empty());
    let publisher = Publisher::new(events.map(PathBuf::from), args.namespace.clone());
    let served = Shim::new(args.namespace.clone(), publisher, slots).serve(&listener, &signals);
    if let Some(path) = path {
        let _ = std::fs::remove_file(path);
    }
    Ok(served?)
}

/// Returns the socket to serve, and its path: standard input, or the one of `-socket`.
fn listener(args: &Args) -> Result<(UnixListener, Option<PathBuf>)> {
    let listener = match &args.socket {
        Some(path) => {
            let taken = || Error::other(format!("{}: another shim listens here", path.display()));
            address::listen(path)?.ok_or_else(taken)?
        }
        None => {
            let inherited: OwnedFd = std::io::stdin().as_fd().try_clone_to_owned()?;
            UnixListener::from(inherited)
        }
    };
    let null = std::fs::File::open("/dev/null")?;
    rustix::stdio::dup2_stdin(&null)?;
    listener.set_nonblocking(true)?;
    let local = listener.local_addr().map_err(|_| Error::other("standard input is no socket"))?;
    let path = local.as_pathname().map(PathBuf::from);
    Ok((listener, path))
}
