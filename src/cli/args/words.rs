//! Accepts options in the syntax of Go's flag packages, which runc supports and some engines use:
//! `-no-subreaper`, `--detach=true`.

use std::ffi::{OsStr, OsString};

use clap::{Arg, ArgAction, Command};

/// Converts the arguments to the syntax of clap.
pub fn normal(words: Vec<OsString>, definition: impl FnOnce() -> Command) -> Vec<OsString> {
    if !words.iter().skip(1).any(|word| is_foreign(word)) {
        return words;
    }
    let mut root = definition();
    root.build();
    let mut command = &root;
    let (mut positionals, mut done) = (0, false);
    let mut value_is_next = true;
    let mut result = Vec::with_capacity(words.len());
    for word in words {
        // The first argument is the program's name, and a value is passed unchanged.
        let text = match word.to_str() {
            Some(text) if !done && !std::mem::take(&mut value_is_next) => text,
            _ => {
                result.push(word);
                continue;
            }
        };
        if text == "--" {
            done = true;
        } else if let Some(name) = text.strip_prefix('-').filter(|name| !name.is_empty()) {
            match long(command, name) {
                Some((arg, value)) if takes_value(arg) => {
                    value_is_next = value.is_none();
                    result.push(format!("--{}", name.trim_start_matches('-')).into());
                    continue;
                }
                Some((arg, value)) => {
                    match value.map(truth) {
                        None | Some(Some(true)) => result.push(spelled(arg)),
                        Some(Some(false)) => {}
                        // clap refuses it under its full name.
                        Some(None) => {
                            result.push(format!("--{}", name.trim_start_matches('-')).into());
                        }
                    }
                    continue;
                }
                None => value_is_next = short_wants_value(command, name),
            }
        } else if let Some(found) = command.find_subcommand(text) {
            command = found;
        } else {
            positionals += 1;
            // Arguments after it belong to the program or to ps.
            let trailing = |arg: &Arg| arg.is_trailing_var_arg_set();
            done = command.get_positionals().take(positionals).any(trailing);
        }
        result.push(word);
    }
    result
}

/// Whether clap would misread an argument: several letters after a single dash, or a truth value
/// after an equals sign.
fn is_foreign(word: &OsStr) -> bool {
    let bytes = word.as_encoded_bytes();
    let single = bytes.len() > 2 && bytes.starts_with(b"-") && bytes.get(1) != Some(&b'-');
    let value = bytes.iter().position(|byte| *byte == b'=').and_then(|at| bytes.get(at + 1..));
    let is_truth = |value: &[u8]| std::str::from_utf8(value).ok().and_then(truth).is_some();
    single || (bytes.starts_with(b"-") && value.is_some_and(is_truth))
}

/// Returns the option that an argument names in full, with one dash (already removed) or two, and
/// its value.
fn long<'c, 'w>(command: &'c Command, name: &'w str) -> Option<(&'c Arg, Option<&'w str>)> {
    let name = name.strip_prefix('-').unwrap_or(name);
    let (name, value) = match name.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (name, None),
    };
    let mut options = command.get_arguments().filter(|arg| name.len() > 1 && !arg.is_positional());
    options.find(|arg| arg.get_long() == Some(name)).map(|arg| (arg, value))
}

/// Whether the last of these one-letter options has its value in the next argument.
fn short_wants_value(command: &Command, letters: &str) -> bool {
    let mut letters = letters.chars();
    while let Some(letter) = letters.next() {
        let arg = command.get_arguments().find(|arg| arg.get_short() == Some(letter));
        if arg.is_some_and(takes_value) {
            return letters.as_str().is_empty();
        }
    }
    false
}

fn takes_value(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::Set | ArgAction::Append)
}

fn spelled(arg: &Arg) -> OsString {
    format!("--{}", arg.get_long().unwrap_or_default()).into()
}

/// Parses a truth value like Go's strconv.ParseBool.
fn truth(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::cli::Cli;

    fn as_clap_has_it(line: &str) -> String {
        let words = std::iter::once("bulkhead").chain(line.split(' ')).map(OsString::from);
        let words = normal(words.collect(), Cli::command);
        let words: Vec<&str> = words.iter().skip(1).map(|word| word.to_str().unwrap()).collect();
        words.join(" ")
    }

    #[test]
    fn one_dash_and_truth_values() {
        for (line, wanted) in [
            ("run -no-subreaper -bundle /b c", "run --no-subreaper --bundle /b c"),
            ("-root /r -log-format=json list", "--root /r --log-format=json list"),
            ("-root -debug list", "--root -debug list"),
            ("kill -all c 9", "kill --all c 9"),
            ("run -detach=true --keep=false c", "run --detach c"),
            ("--systemd-cgroup=1 create c", "--systemd-cgroup create c"),
            ("-version", "--version"),
            ("run -keep=perhaps c", "run --keep=perhaps c"),
            ("run -help", "run --help"),
            ("create c -bundle run -no-pivot", "create c --bundle run --no-pivot"),
            ("update -cpu-quota -1 c", "update --cpu-quota -1 c"),
        ] {
            assert_eq!(as_clap_has_it(line), wanted);
        }
    }

    #[test]
    fn the_rest_is_left_alone() {
        for line in [
            "exec c ls -all -root x --tty=true",
            "exec -u -tty c ls",
            "exec -te -tty=true c ls",
            "exec c -- ls -tty",
            "exec --env A=true c -v=1",
            "ps c -format -ef",
            "ps -- c -format",
            "run -db /b c",
            "create --bundle=true c",
            "update --cpu-idle=1 c",
            "-nonsense run",
        ] {
            assert_eq!(as_clap_has_it(line), line);
        }
        // Not UTF-8, so not an option.
        use std::os::unix::ffi::OsStringExt;
        let words =
            vec!["bulkhead".into(), OsString::from_vec(vec![b'-', 0xff, 0xfe]), "-x".into()];
        assert_eq!(normal(words.clone(), Cli::command), words);
    }
}
