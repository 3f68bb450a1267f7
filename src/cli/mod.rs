//! The command line: parses the arguments, calls the library, prints the result. Each command that
//! is more than a call has a file.

mod args;
mod audit;
mod checkpoint;
mod create;
mod delete;
mod environment;
mod events;
mod exec;
mod features;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod info;
mod list;
mod log;
mod output;
mod preserved;
mod ps;
mod record;
mod restore;
mod run;
mod spec;
mod update;
mod usage;

use std::ffi::OsString;
use std::sync::atomic::{AtomicU8, Ordering};

use ::log::LevelFilter;
use clap::{CommandFactory, FromArgMatches};

pub use args::{Cli, HELP};
use args::{Command, LogLevel};
pub use features::document as features;

use self::output::{print, print_pretty_json};
use crate::container::{self, Signal};
use crate::spawn::selfexe;
use crate::state::Id;
use crate::{Context, Error, Kind, Result, sd_notify, sys, terminal};

/// The exit status of the command if it fails.
static FAILURE: AtomicU8 = AtomicU8::new(1);

/// Returns the exit status of the command if it fails: for an allocator that ends the program.
pub fn failure_status() -> u8 {
    FAILURE.load(Ordering::Relaxed)
}

/// Runs the program. Returns the exit status of the command, 1 after an error, or 3 for an unknown
/// command.
pub fn main() -> u8 {
    // First, because it executes the program again.
    let protected =
        selfexe::protect_if(|arg| matches!(arg, "create" | "run" | "exec" | "restore" | "record"));
    let stdio = terminal::stdio::ensure_open();
    let words = sys::title::arguments();
    if words.get(1).is_some_and(|word| word == record::AGENT) {
        return record::agent().inspect_err(log::error).map_or(1, |()| 0);
    }
    let cli = match args::parse_hot(&words) {
        Some(cli) => cli,
        None => match parse(words) {
            Ok(cli) => cli,
            Err((words, usage)) if usage.use_stderr() => return usage::tell(&words, &usage),
            // Help goes to standard output.
            Err((_, help)) => {
                let printed = stdio.and_then(|()| print(help.to_string().as_bytes()));
                return printed.inspect_err(log::error).map_or(1, |()| 0);
            }
        },
    };
    if let Some(Command::Exec(_)) = cli.command {
        FAILURE.store(exec::NOT_STARTED, Ordering::Relaxed);
    }
    let result = stdio.and(set_up(&cli)).and(protected).and_then(|()| dispatch(cli));
    match result {
        Ok(status) => u8::try_from(status).unwrap_or(1),
        Err(error) => {
            log::error(&error);
            failure_status()
        }
    }
}

/// Parses the arguments with clap. An error comes with the arguments in the syntax of clap.
fn parse(words: Vec<OsString>) -> Result<Cli, (Vec<OsString>, clap::Error)> {
    let words = args::normal(words, Cli::command);
    let parsed = args::definition().try_get_matches_from(&words);
    let cli = parsed.and_then(|mut matches| Cli::from_arg_matches_mut(&mut matches));
    cli.map_err(|error| (words, error))
}

fn set_up(cli: &Cli) -> Result<()> {
    let global = &cli.global;
    // Before the log is opened, although its error belongs in the log.
    let reserved = match &cli.command {
        Some(Command::Create(args)) => preserved::reserve(args.preserve_fds),
        Some(Command::Run(args)) => preserved::reserve(args.create.preserve_fds),
        Some(Command::Record(args)) => preserved::reserve(args.create.preserve_fds),
        Some(Command::Exec(args)) => preserved::reserve(args.preserve_fds),
        Some(Command::Checkpoint(args)) => checkpoint::check_status(args.status_fd),
        _ => Ok(()),
    };
    let level = match global.log_level {
        _ if global.debug => LevelFilter::Debug,
        LogLevel::Error => LevelFilter::Error,
        LogLevel::Warning => LevelFilter::Warn,
        LogLevel::Debug => LevelFilter::Debug,
    };
    let file = global.log.as_deref().filter(|path| !path.as_os_str().is_empty());
    log::init(file, global.log_format, level)?;
    reserved?;
    // A reader of the messages that hangs up must not end a create half-way.
    sys::signal::ignore(libc::SIGPIPE).context("ignore SIGPIPE")?;
    // If the caller ignores SIGCHLD, the exit status of children would be lost.
    sys::signal::default_action(libc::SIGCHLD).context("set SIGCHLD to its default")?;
    if level >= LevelFilter::Debug {
        let words: Vec<_> = sys::title::arguments().into_iter().skip(1).collect();
        crate::log::debug(format_args!("bulkhead {}: {words:?}", env!("CARGO_PKG_VERSION")));
    }
    Ok(())
}

/// Runs the command. Returns the exit status.
fn dispatch(cli: Cli) -> Result<i32> {
    let global = &cli.global;
    if cli.version {
        return print(version()?.as_bytes()).map(|()| 0);
    }
    let Some(command) = cli.command else {
        return print(args::definition().render_help().to_string().as_bytes()).map(|()| 0);
    };
    let load = |id: &str| environment::load(global, id);
    match command {
        Command::Run(args) => return run::run(global, &args),
        Command::Exec(args) => return exec::run(global, &args),
        Command::Record(args) => return record::run(global, &args),
        Command::Restore(args) => return restore::run(global, &args),
        Command::Audit(args) => return audit::run(global, &args),
        Command::Create(args) => create::run(global, &args),
        Command::Checkpoint(args) => checkpoint::run(global, &args),
        Command::Start(args) => {
            let (store, id) = (environment::store(global)?, Id::new(args.id)?);
            container::start::start(&store, &id, sd_notify::Host::from_environment()?.as_ref())
        }
        Command::State(args) => print_pretty_json(&load(&args.id)?.document()?),
        Command::Kill(args) => {
            let signal: Signal = args.signal.parse()?;
            container::kill::kill(&load(&args.id)?, signal.number(), args.all)
        }
        Command::Delete(args) => delete::run(global, &args),
        Command::List(args) => list::run(global, &args),
        Command::Spec(args) => spec::run(args.bundle.as_deref(), args.rootless),
        Command::Features => features::run(),
        Command::Info(args) => info::run(args.format),
        Command::Ps(args) => ps::run(global, &args),
        Command::Pause(args) => container::pause::pause(&mut load(&args.id)?),
        Command::Resume(args) => container::pause::resume(&mut load(&args.id)?),
        Command::Events(args) => events::run(global, &args),
        Command::Update(args) => update::run(global, &args),
    }
    .map(|()| 0)
}

/// Returns the output of `--version`; engines identify the lines by their first words.
fn version() -> Result<String> {
    let mut text = format!("bulkhead version {}\n", env!("CARGO_PKG_VERSION"));
    if let Some(commit) = option_env!("BULKHEAD_COMMIT") {
        text += &format!("commit: {commit}\n");
    }
    text += &format!("spec: {}\n", crate::state::OCI_VERSION);
    let seccomp = libseccomp::ScmpVersion::current()
        .map_err(|e| Error::new(Kind::System, format!("libseccomp version: {e}")))?;
    text += &format!("libseccomp: {}.{}.{}\n", seccomp.major, seccomp.minor, seccomp.micro);
    Ok(text)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    fn parse(words: &[&str]) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(std::iter::once(&"bulkhead").chain(words))
    }

    #[test]
    fn definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn options_are_taken_on_both_sides_of_the_id() {
        let cli = parse(&["--root", "/r", "create", "c1", "--bundle=/b", "--log", "/l"]).unwrap();
        assert_eq!(cli.global.root.unwrap().as_os_str(), "/r");
        assert_eq!(cli.global.log.unwrap().as_os_str(), "/l");
        let Some(Command::Create(args)) = cli.command else { panic!("not create") };
        assert_eq!((args.id.as_str(), args.preserve_fds), ("c1", 0));
        assert_eq!(args.bundle.unwrap().as_os_str(), "/b");

        let cli = parse(&["kill", "c1", "9", "-a", "--systemd-cgroup"]).unwrap();
        let Some(Command::Kill(args)) = cli.command else { panic!("not kill") };
        assert!(args.all && cli.global.systemd_cgroup);
        assert_eq!(args.signal, "9");
    }

    #[test]
    fn what_follows_the_command_of_an_exec_is_its_own() {
        let cli =
            parse(&["exec", "-e", "A=1", "-u", "5", "c1", "ls", "-e", "--root", "x"]).unwrap();
        let Some(Command::Exec(args)) = cli.command else { panic!("not exec") };
        assert_eq!(args.command, ["ls", "-e", "--root", "x"]);
        assert_eq!((args.env, cli.global.root), (vec!["A=1".to_owned()], None));
    }

    #[test]
    fn what_engines_call_is_understood() {
        // The most frequent calls are in args/hot_tests.rs.
        for line in [
            "delete -f -r ID",
            "exec ID --process F",
            "spec --rootless -b B",
            "features",
            "info --format json",
            "ps --format json ID",
            "ps ID -o pid,comm",
            "ps ID -- -aux",
            "update --resources=- ID",
            "update --resources - ID",
            "update --resources=/tmp/f ID",
            "update --memory=-1 --cpu-quota -1 --pids-limit=-1 ID",
            "events --stats ID",
            "checkpoint --image-path /i --work-path /w --leave-running ID",
            "checkpoint --image-path I --work-path W --tcp-established --file-locks --pre-dump ID",
            "checkpoint --image-path I --parent-path ../p --manage-cgroups-mode=ignore ID",
            "checkpoint --lazy-pages --page-server 0.0.0.0:1 --status-fd 7 --empty-ns network ID",
            "checkpoint --status-fd -1 --leave-running --leave-running ID",
            "restore --detach --pid-file P --image-path I --work-path W --bundle B \
             --console-socket=S --no-pivot --no-subreaper --no-new-keyring ID",
            "restore -d -b B --tcp-established --tcp-close --lsm-profile=selinux:L \
             --lsm-mount-context=L ID",
            "events --interval 100ms ID",
            "-v",
            "--version",
        ] {
            parse(&line.split_ascii_whitespace().collect::<Vec<_>>()).expect(line);
        }
    }

    #[test]
    fn usage_errors_name_what_is_wrong() {
        for (words, part) in [
            (&["frobnicate"][..], "frobnicate"),
            (&["state"], "ID"),
            (&["state", "a", "b"], "'b'"),
            (&["--log-format", "xml", "list"], "xml"),
            (&["list", "--format", "yaml"], "yaml"),
            (&["--rootless", "maybe", "list"], "maybe"),
            (&["create", "--preserve-fds", "-1", "a"], "-1"),
        ] {
            let error = parse(words).unwrap_err().to_string();
            assert!(error.contains(part), "{words:?}: {error}");
        }
    }

    #[test]
    fn version_lines() {
        let text = version().unwrap();
        assert!(text.starts_with("bulkhead version "), "{text}");
        assert!(text.contains("\nspec: 1.3.0\n") && text.contains("\nlibseccomp: "), "{text}");
    }
}
