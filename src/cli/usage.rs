//! Errors of the command line, each on one line. For options and commands of container engines, which
//! users often type here, the error names the equivalent.

use std::ffi::OsString;
use std::path::PathBuf;

use ::log::LevelFilter;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::args::{self, LogFormat};
use super::log;
use crate::{Error, Kind, config};

/// The exit status for an unknown command, as in runc.
const NO_SUCH_COMMAND: u8 = 3;

/// Commands of engines, with their equivalents here.
const COMMANDS: &[(&str, &str)] = &[
    ("attach", "the terminal belongs to the process at --console-socket, or to 'bulkhead run'"),
    ("build", ENGINE),
    ("commit", ENGINE),
    ("cp", ENGINE),
    ("image", ENGINE),
    ("images", ENGINE),
    ("inspect", "use 'bulkhead state ID'"),
    ("load", ENGINE),
    ("login", ENGINE),
    ("logs", "output is not stored: it goes to the standard output of 'bulkhead run' or 'create'"),
    ("ls", "use 'bulkhead list'"),
    ("port", NETWORK),
    ("pull", ENGINE),
    ("push", ENGINE),
    ("restart", "use 'bulkhead kill ID', 'bulkhead delete ID' and 'bulkhead run ID'"),
    ("rm", "use 'bulkhead delete ID'"),
    ("rmi", ENGINE),
    ("stats", "use 'bulkhead events --stats ID'"),
    ("stop", "use 'bulkhead kill ID TERM', then 'bulkhead delete ID'"),
    ("top", "use 'bulkhead ps ID'"),
    ("unpause", "use 'bulkhead resume ID'"),
    ("version", "use 'bulkhead --version'"),
    ("wait", "use 'bulkhead run ID', which waits, or 'bulkhead state ID'"),
];

const ENGINE: &str = "images are handled by engines such as Docker, podman or containerd";
const NETWORK: &str = "networks are set up by engines such as Docker, podman or containerd";
const STDIN: &str = "standard input is always passed on";

/// Options of engines for existing commands, by command.
const OPTIONS: &[(&[&str], &[&str], &str)] = &[
    (
        RUN,
        &["-i", "--interactive"],
        "standard input is always passed on, and process.terminal in \
        config.json asks for a terminal",
    ),
    (RUN, &["-t", "--tty"], "set process.terminal in config.json"),
    (RUN, &["--rm"], "run always deletes the container at its end, unless --keep is given"),
    (RUN, &["--name"], "the name is the argument ID"),
    (RUN, &["--hostname"], "set hostname in config.json"),
    (RUN, &["-v", "--volume", "--mount", "--tmpfs"], "set mounts in config.json"),
    (RUN, &["-p", "--publish", "--net", "--network"], NETWORK),
    (RUN, &["-e", "--env", "--env-file"], "set process.env in config.json"),
    (RUN, &["-w", "--workdir", "--cwd"], "set process.cwd in config.json"),
    (RUN, &["-u", "--user"], "set process.user in config.json"),
    (RUN, &["-m", "--memory", "--cpus", "--pids-limit"], "set linux.resources in config.json"),
    (RUN, &["--cap-add", "--cap-drop", "--privileged"], "set process.capabilities in config.json"),
    (RUN, &["--entrypoint"], "set process.args in config.json"),
    (RUN, &["--read-only"], "set root.readonly in config.json"),
    (
        RUN,
        &["--runtime", "--restart", "--device", "--label", "-l"],
        "an option of engines; \
        config.json describes the container",
    ),
    (
        &["exec"],
        &["-i", "--interactive"],
        "standard input is always passed on; use --tty alone for a \
        terminal",
    ),
    (&["exec"], &["-w", "--workdir"], "use --cwd DIR"),
    (&["exec"], &["--privileged"], "use --cap NAME, once for each capability"),
    (
        &["kill"],
        &["-s", "--signal"],
        "the signal is the argument after ID: 'bulkhead kill ID TERM'",
    ),
    (&["list", "ps"], &["-a", "--all"], "'bulkhead list' prints all containers, stopped ones too"),
    (&["delete"], &["-v", "--volumes"], "no volumes are stored, so none are deleted"),
    (&["start"], &["-a", "--attach", "-i", "--interactive"], STDIN),
];

const RUN: &[&str] = &["run", "create"];

/// Writes the error to standard error, and to the log that `words` name. Returns the exit status.
pub fn tell(words: &[OsString], usage: &clap::Error) -> u8 {
    let (file, format) = log_options(words);
    let opened = log::init(file.as_deref(), format, LevelFilter::Warn);
    if opened.is_err() {
        // Without the log, the error still goes to standard error.
        let _ = log::init(None, format, LevelFilter::Warn);
    }
    log::error(&Error::new(Kind::Invalid, message(usage, words)));
    match usage.kind() {
        ErrorKind::InvalidSubcommand => NO_SUCH_COMMAND,
        _ => 1,
    }
}

/// Returns a detail of the parser's error.
fn detail(usage: &clap::Error, kind: ContextKind) -> Option<&str> {
    match usage.get(kind) {
        Some(ContextValue::String(text)) => Some(text),
        Some(ContextValue::Strings(texts)) => texts.first().map(String::as_str),
        _ => None,
    }
}

/// Returns the first suggestion of the parser that the word resembles: the parser's own limit is so low that it
/// suggests `--root` for `--foo`.
fn near<'a>(usage: &'a clap::Error, kind: ContextKind, word: &str) -> Option<&'a str> {
    let suggested = match usage.get(kind)? {
        ContextValue::String(text) => std::slice::from_ref(text),
        ContextValue::Strings(texts) => texts,
        _ => return None,
    };
    suggested.iter().map(String::as_str).find(|known| resembles(word, known))
}

/// Whether a word may stand for a name: it is the beginning of the name, has one wrong letter, or has two but not the
/// first.
fn resembles(word: &str, name: &str) -> bool {
    let letters = |text: &str| -> Vec<char> {
        let text = text.trim_start_matches('-');
        text.split(['=', ' ']).next().unwrap_or_default().chars().collect()
    };
    let (word, name) = (letters(word), letters(name));
    let wrong = if word.first() == name.first() { 2 } else { 1 };
    name.starts_with(&word) || config::distance(&word, &name) <= wrong
}

/// Returns the first usage line of an error of the parser, such as `bulkhead exec [OPTIONS] ...`.
fn usage_line(text: &str) -> &str {
    let line = text.lines().find_map(|line| line.strip_prefix("Usage: "));
    line.unwrap_or_default().trim_end()
}

/// Returns the command in a usage line.
fn command_of(usage: &str) -> &str {
    let word = usage.split_whitespace().nth(1).unwrap_or_default();
    if word.starts_with(|c: char| c.is_ascii_lowercase()) { word } else { "" }
}

fn message(usage: &clap::Error, words: &[OsString]) -> String {
    let text = usage.to_string();
    let line = usage_line(&text);
    // The parser tells the usage of some errors only.
    let command = if line.is_empty() { command_in(words) } else { command_of(line) };
    let value = |kind| detail(usage, kind);
    if let Some(name) = value(ContextKind::InvalidSubcommand) {
        let instead = COMMANDS.iter().find(|(theirs, _)| *theirs == name).map(|row| row.1);
        // The parser looks for a similar name only where the command itself stands, not after help.
        let again = args::definition().try_get_matches_from(["bulkhead", name]).err();
        let similar =
            again.as_ref().and_then(|error| near(error, ContextKind::SuggestedSubcommand, name));
        return cured(format!("no such command: '{}'", name.escape_debug()), "", instead, similar);
    }
    let missing = usage.kind() == ErrorKind::MissingRequiredArgument;
    let error = match usage.get(ContextKind::InvalidArg) {
        Some(ContextValue::Strings(names)) if missing => {
            // Without the rest of a list whose first word is required.
            let names = names.iter().map(|name| name.split(" [").next().unwrap_or(name));
            let names: Vec<&str> = names.collect();
            let verb = if names.len() > 1 { "are" } else { "is" };
            format!("{} {verb} missing", names.join(" and "))
        }
        _ => {
            let first = text.split("\n\n").next().unwrap_or_default();
            let words = first.split_whitespace().skip_while(|word| *word == "error:");
            words.collect::<Vec<_>>().join(" ")
        }
    };
    let error = if command.is_empty() { error } else { format!("{command}: {error}") };
    let argument = value(ContextKind::InvalidArg).unwrap_or_default();
    let instead = match usage.kind() {
        ErrorKind::UnknownArgument => instead_of(command, argument),
        _ if missing && command == "ps" => Some("'bulkhead list' prints all containers"),
        _ if missing && !line.is_empty() => return format!("{error}; usage: {line}"),
        _ => None,
    };
    let given = value(ContextKind::InvalidValue).unwrap_or_default();
    let similar = near(usage, ContextKind::SuggestedArg, argument).or(near(
        usage,
        ContextKind::SuggestedValue,
        given,
    ));
    // An error that lists the possible values needs no help.
    if instead.is_none() && similar.is_none() && error.ends_with(']') {
        return error;
    }
    cured(error, command, instead, similar)
}

/// Appends to an error what to do instead.
fn cured(error: String, command: &str, instead: Option<&str>, similar: Option<&str>) -> String {
    let space = if command.is_empty() { "" } else { " " };
    match (instead, similar) {
        (Some(instead), _) => format!("{error}; {instead}"),
        (None, Some(similar)) => format!("{error}; similar: '{similar}'"),
        (None, None) => format!("{error} (see 'bulkhead help{space}{command}')"),
    }
}

fn instead_of(command: &str, argument: &str) -> Option<&'static str> {
    if !argument.starts_with('-') {
        return RUN
            .contains(&command)
            .then_some("the program to run is process.args in config.json");
    }
    let name = argument.split(['=', ' ']).next().unwrap_or_default();
    if name == "--rootless" {
        return Some("--rootless stands before the command");
    }
    let mut rows = OPTIONS.iter().filter(|(commands, ..)| commands.contains(&command));
    rows.find(|(_, options, _)| options.contains(&name)).map(|(.., instead)| *instead)
}

/// Returns the command in the arguments: the first word that is the name of one.
fn command_in(words: &[OsString]) -> &str {
    let names = args::definition();
    let is_command = |word: &&str| names.find_subcommand(word).is_some();
    words.iter().skip(1).filter_map(|word| word.to_str()).find(is_command).unwrap_or_default()
}

/// Whether a word belongs to the program that `exec` or `ps` runs: a word that is neither an option nor can be
/// the value of an option before it. What is not certain counts as a word of the program.
fn is_of_program(words: &[OsString], at: usize) -> bool {
    let is_option = |word: &OsString| word.as_encoded_bytes().starts_with(b"-");
    let begun = words.iter().take(at).skip(1).any(|word| word == "exec" || word == "ps");
    let before = at.checked_sub(1).and_then(|at| words.get(at));
    begun
        && words.get(at).is_some_and(|word| !is_option(word))
        && before.is_some_and(|word| !is_option(word) || word.as_encoded_bytes().contains(&b'='))
}

/// Returns the values of `--log` and `--log-format` in arguments that are not a valid command line.
fn log_options(words: &[OsString]) -> (Option<PathBuf>, LogFormat) {
    let of_program = |at: &usize| words[*at] == "--" || is_of_program(words, *at);
    let end = (0..words.len()).find(of_program).unwrap_or(words.len());
    let value = |name: &str| {
        let ours = words.iter().take(end);
        let mut ours = ours.skip_while(|word| {
            let word = word.as_encoded_bytes();
            !word
                .strip_prefix(name.as_bytes())
                .is_some_and(|rest| matches!(rest.first(), None | Some(b'=')))
        });
        let word = ours.next()?;
        match word.to_str().and_then(|word| word.split_once('=')) {
            Some((_, value)) => Some(OsString::from(value)),
            None => ours.next().cloned(),
        }
    };
    let format = match value("--log-format") {
        Some(format) if format == "json" => LogFormat::Json,
        _ => LogFormat::Text,
    };
    (value("--log").filter(|path| !path.is_empty()).map(PathBuf::from), format)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::Cli;

    fn told(line: &str) -> String {
        let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        let error = Cli::try_parse_from(&words).unwrap_err();
        message(&error, &words)
    }

    #[test]
    fn habits_are_answered_with_what_to_use() {
        for (line, part) in [
            ("b run --rm c", "unless --keep"),
            ("b run -i c", "process.terminal"),
            ("b run -t c", "process.terminal"),
            ("b run --name=c x", "argument ID"),
            ("b create -v /a:/b c", "mounts in config.json"),
            ("b run alpine sh", "process.args"),
            (
                "b exec -i c sh",
                "exec: unexpected argument '-i' found; standard input is always passed",
            ),
            ("b exec -w / c sh", "--cwd"),
            ("b kill -s KILL c", "'bulkhead kill ID TERM'"),
            ("b ps", "'bulkhead list'"),
            ("b list -a", "all containers"),
            ("b inspect c", "no such command: 'inspect'; use 'bulkhead state ID'"),
            ("b stop c", "bulkhead kill ID TERM"),
            ("b kil c", "no such command: 'kil'; similar: 'kill'"),
            ("b delete --forc c", "delete: unexpected argument '--forc' found; similar: '--force'"),
            ("b delete --nothing c", "(see 'bulkhead help delete')"),
            (
                "b audit --foo",
                "audit: unexpected argument '--foo' found (see 'bulkhead help audit')",
            ),
            ("b audit --fail high", "'--fail' found; similar: '--fail-on'"),
            ("b run --bundel=x c", "similar: '--bundle'"),
            ("b --rotless true list", "similar: '--rootless'"),
            ("b help kil", "similar: 'kill'"),
            ("b list --rootless true", "'--rootless' found; --rootless stands before the command"),
            ("b list --rootless=true", "--rootless stands before the command"),
            ("b spec --rotless", "similar: '--rootless'"),
            ("b update --memory", "(see 'bulkhead help update')"),
            ("b list -f jsn", "[possible values: table, json]; similar: 'json'"),
            ("b frobnicate", "no such command: 'frobnicate' (see 'bulkhead help')"),
            ("b state", "state: <ID> is missing; usage: b state <ID>"),
            ("b exec", "exec: <ID> is missing; usage: bulkhead exec [OPTIONS] <ID> <COMMAND>..."),
            ("b record", "record: --output <DIR> and <ID> are missing; usage: b record "),
        ] {
            let told = told(line);
            assert!(told.contains(part), "{line}: {told}");
            assert!(!told.contains('\n') && !told.contains("as a value"), "{line}: {told}");
        }
    }

    #[test]
    fn every_answer_is_reachable() {
        use clap::CommandFactory;
        let mut root = Cli::command();
        root.build();
        for (name, _) in COMMANDS {
            assert!(root.find_subcommand(name).is_none(), "{name} exists");
        }
        for (commands, options, _) in OPTIONS {
            for command in *commands {
                let command = root.find_subcommand(command).expect(command);
                for arg in command.get_arguments() {
                    let long = arg.get_long().map(|long| format!("--{long}"));
                    let short = arg.get_short().map(|short| format!("-{short}"));
                    for name in [long, short].into_iter().flatten() {
                        assert!(!options.contains(&name.as_str()), "{name} exists");
                    }
                }
            }
        }
    }

    #[test]
    fn the_log_is_found_among_wrong_words() {
        let words = |line: &str| line.split(' ').map(OsString::from).collect::<Vec<_>>();
        let log = |line: &str| log_options(&words(line));
        let file = Some(PathBuf::from("/l"));
        assert_eq!(log("b --log /l --log-format json nonsense"), (file.clone(), LogFormat::Json));
        assert_eq!(log("b --log=/l --log-format=text nonsense"), (file.clone(), LogFormat::Text));
        assert_eq!(log("b --root /r exec --log /l --bogus c"), (file, LogFormat::Text));
        assert_eq!(log("b exec --bogus c program --log /l"), (None, LogFormat::Text));
        assert_eq!(log("b ps c --log /l --bogus"), (None, LogFormat::Text));
        assert_eq!(log("b nonsense -- --log /l"), (None, LogFormat::Text));
        assert_eq!(log("b nonsense --log"), (None, LogFormat::Text));
    }
}
