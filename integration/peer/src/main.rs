//! A thin runtime on libcontainer, youki's engine, so that bulkhead can be measured and compared
//! with it side by side. It is a measuring tool and no more: it does not forward signals, write a
//! log or copy its executable out of the container's reach, all of which a runtime has to do.
//!
//! ```text
//! peer run    [--root DIR] [--bundle DIR] ID   create, start, wait, delete; the process's status
//! peer create [--root DIR] [--bundle DIR] ID
//! peer start  [--root DIR] ID
//! peer state  [--root DIR] ID                  the state as JSON
//! peer delete [--root DIR] [--force] ID
//! ```
#![forbid(unsafe_code)]

use std::error::Error;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use libcontainer::container::Container;
use libcontainer::container::builder::ContainerBuilder;
use libcontainer::syscall::syscall::SyscallType;
use nix::sys::wait::{WaitStatus, waitpid};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const USAGE: &str =
    "usage: peer run|create|start|state|delete [--root DIR] [--bundle DIR] [--force] ID";

/// The command line. Options may stand before or after the command.
struct Args {
    command: String,
    id: String,
    root: PathBuf,
    bundle: PathBuf,
    force: bool,
}

fn parse(mut words: impl Iterator<Item = String>) -> Result<Args> {
    let (mut root, mut bundle) = (PathBuf::from("/run/bulkhead-peer"), PathBuf::from("."));
    let (mut force, mut plain) = (false, Vec::new());
    while let Some(word) = words.next() {
        match word.as_str() {
            "--root" => root = words.next().ok_or(USAGE)?.into(),
            "--bundle" => bundle = words.next().ok_or(USAGE)?.into(),
            "--force" => force = true,
            option if option.starts_with('-') => return Err(USAGE.into()),
            _ => plain.push(word),
        }
    }
    match <[String; 2]>::try_from(plain) {
        Ok([command, id]) => Ok(Args { command, id, root, bundle, force }),
        Err(_) => Err(USAGE.into()),
    }
}

fn create(args: &Args, detach: bool) -> Result<Container> {
    fs::create_dir_all(&args.root)?;
    let container = ContainerBuilder::new(args.id.clone(), SyscallType::default())
        .with_root_path(&args.root)?
        .validate_id()?
        .as_init(fs::canonicalize(&args.bundle)?)
        .with_systemd(false)
        .with_detach(detach)
        .build()?;
    Ok(container)
}

fn load(args: &Args) -> Result<Container> {
    Ok(Container::load(args.root.join(&args.id))?)
}

/// Its first process is our own child: libcontainer makes it with `CLONE_PARENT`.
fn run(args: &Args) -> Result<u8> {
    let mut container = create(args, false)?;
    let ended = container.start().map_err(Box::from).and_then(|()| wait(&container));
    let removed = container.delete(true);
    let status = ended?;
    removed?;
    Ok(status)
}

/// The exit status as a shell has it: a signal is 128 and its number.
fn wait(container: &Container) -> Result<u8> {
    let pid = container.pid().ok_or("the container has no process")?;
    let status = match waitpid(pid, None)? {
        WaitStatus::Exited(_, status) => status,
        WaitStatus::Signaled(_, signal, _) => 128 + signal as i32,
        other => return Err(format!("unexpected wait status: {other:?}").into()),
    };
    Ok(u8::try_from(status)?)
}

fn dispatch(args: &Args) -> Result<u8> {
    match args.command.as_str() {
        "run" => return run(args),
        "create" => drop(create(args, true)?),
        "start" => load(args)?.start()?,
        "state" => {
            let mut container = load(args)?;
            container.refresh_status()?;
            println!("{}", serde_json::to_string_pretty(&container.state)?);
        }
        "delete" => load(args)?.delete(args.force)?,
        _ => return Err(USAGE.into()),
    }
    Ok(0)
}

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some("--version") {
        println!("peer version {} (libcontainer 0.7)", env!("CARGO_PKG_VERSION"));
        return ExitCode::SUCCESS;
    }
    match parse(std::env::args().skip(1)).and_then(|args| dispatch(&args)) {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            eprint!("peer: {error}");
            let mut cause = error.source();
            while let Some(next) = cause {
                eprint!(": {next}");
                cause = next.source();
            }
            eprintln!();
            ExitCode::FAILURE
        }
    }
}
