//! The shell completions: each is a template beside this file, with tables made from the definition of the
//! command line.

use std::error::Error;
use std::fs;
use std::path::Path;

use bulkhead::cli::{Cli, HELP};
use clap::{Arg, Command, CommandFactory, ValueHint};
use nix::sys::signal::Signal;

/// Writes the completions into the directory.
pub fn write(directory: &Path) -> Result<(), Box<dyn Error>> {
    fs::create_dir_all(directory)?;
    let mut root = Cli::command();
    root.build();
    let root = root.mut_subcommand("help", |help| help.about(HELP));
    for (file, text) in [
        ("bulkhead.bash", bash(&root)?),
        ("_bulkhead", zsh(&root)?),
        ("bulkhead.fish", fish(&root)?),
    ] {
        fs::write(directory.join(file), text.replace("@SIGNALS@", &signals()))?;
    }
    Ok(())
}

/// What an option takes, or what stands in a place of a command.
#[derive(Clone, PartialEq)]
enum Kind {
    /// An option without a value.
    Flag,
    /// A value that cannot be known.
    Other,
    Directory,
    File,
    /// One of these words.
    Words(Vec<String>),
    /// The ID of a container in one of these states; without a state, in any.
    Ids(&'static [&'static str]),
    /// The ID of a container that is to be made.
    NewId,
    Signal,
    Command,
    /// A container or a file.
    Target,
    /// A command line of another program.
    Rest,
}

/// The states of the containers that a command accepts.
fn states(command: &str) -> Option<Kind> {
    const LIVE: &[&str] = &["created", "running", "paused"];
    Some(Kind::Ids(match command {
        "create" | "run" | "record" | "restore" => return Some(Kind::NewId),
        "state" => &[],
        "start" => &["created"],
        // exec --ignore-paused accepts paused containers too.
        "exec" | "pause" => &["created", "running"],
        "resume" => &["paused"],
        "checkpoint" => &["running", "paused"],
        "kill" | "ps" | "update" | "events" => LIVE,
        // delete --force accepts all.
        "delete" => &["stopped"],
        _ => return None,
    }))
}

fn of_option(arg: &Arg) -> Kind {
    let words: Vec<String> =
        arg.get_possible_values().iter().map(|value| value.get_name().to_owned()).collect();
    match arg.get_value_hint() {
        _ if !arg.get_action().takes_values() => Kind::Flag,
        _ if !words.is_empty() => Kind::Words(words),
        _ if arg.get_long() == Some("cap") => {
            // A set has another order in each process; two builds of a release give equal files.
            let mut names: Vec<String> = caps::all().iter().map(ToString::to_string).collect();
            names.sort();
            Kind::Words(names)
        }
        ValueHint::DirPath => Kind::Directory,
        ValueHint::FilePath => Kind::File,
        _ => Kind::Other,
    }
}

/// What stands in the places of a command.
fn places(command: &Command) -> Result<Vec<Kind>, String> {
    let name = command.get_name();
    if matches!(name, "bulkhead" | "help") {
        return Ok(vec![Kind::Command]);
    }
    let names = command.get_positionals().flat_map(|arg| arg.get_value_names().unwrap_or_default());
    names
        .map(|place| match place.as_str() {
            "ID" => states(name).ok_or(format!("no states are known for {name}")),
            "SIGNAL" => Ok(Kind::Signal),
            "TARGET" => Ok(Kind::Target),
            _ => Ok(Kind::Rest),
        })
        .collect()
}

fn commands(root: &Command) -> impl Iterator<Item = &Command> {
    root.get_subcommands()
}

fn options(command: &Command) -> impl Iterator<Item = &Arg> {
    command.get_arguments().filter(|arg| !arg.is_positional() && !arg.is_hide_set())
}

/// The ways to write an option, the short one first.
fn spellings(arg: &Arg) -> Vec<String> {
    let short = arg.get_short().map(|short| format!("-{short}"));
    let long = arg.get_long().map(|long| format!("--{long}"));
    short.into_iter().chain(long).collect()
}

/// The first sentence of a help text, without its full stop.
fn summary(help: Option<&clap::builder::StyledStr>) -> String {
    help.map(ToString::to_string).unwrap_or_default().trim_end_matches('.').to_owned()
}

fn signals() -> String {
    let names = Signal::iterator().map(|signal| signal.as_str().trim_start_matches("SIG"));
    names.collect::<Vec<_>>().join(" ")
}

fn bash(root: &Command) -> Result<String, String> {
    let word = |kind: &Kind| match kind {
        Kind::Flag => "flag".to_owned(),
        Kind::Directory => "directories".to_owned(),
        Kind::File => "files".to_owned(),
        Kind::Words(words) => format!("'words {}'", words.join(" ")),
        Kind::Ids([]) => "'ids all'".to_owned(),
        Kind::Ids(states) => format!("'ids {}'", states.join(" ")),
        Kind::NewId => "new".to_owned(),
        Kind::Signal => "signals".to_owned(),
        Kind::Command => "commands".to_owned(),
        Kind::Target => "target".to_owned(),
        Kind::Other | Kind::Rest => "none".to_owned(),
    };
    let (mut kinds, mut all_places) = (String::new(), String::new());
    for command in std::iter::once(root).chain(commands(root)) {
        let name = if command.get_name() == "bulkhead" { "''" } else { command.get_name() };
        let mut rows = String::new();
        for arg in options(command) {
            rows += &format!(
                "        {}) kind={} ;;\n",
                spellings(arg).join(" | "),
                word(&of_option(arg))
            );
        }
        kinds += &format!("    {name})\n        case $2 in\n{rows}        esac\n        ;;\n");
        let spelled: Vec<String> = options(command).flat_map(spellings).collect();
        let long: Vec<&str> =
            spelled.iter().map(String::as_str).filter(|word| word.starts_with("--")).collect();
        let there: Vec<String> = places(command)?.iter().map(word).collect();
        all_places +=
            &format!("    {name}) places=({}) options='{}' ;;\n", there.join(" "), long.join(" "));
    }
    let names: Vec<&str> = commands(root).map(Command::get_name).collect();
    Ok(include_str!("bulkhead.bash")
        .replace("@KINDS@\n", &kinds)
        .replace("@PLACES@\n", &all_places)
        .replace("@COMMANDS@", &names.join(" ")))
}

/// A text in single quotes of the shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

fn zsh(root: &Command) -> Result<String, String> {
    let action = |kind: &Kind| match kind {
        Kind::Directory => "_files -/".to_owned(),
        Kind::File => "_files".to_owned(),
        Kind::Words(words) => format!("({})", words.join(" ")),
        // With the space, no options of compadd are put in front of the states.
        Kind::Ids(states) => format!(" _bulkhead_ids {}", states.join(" ")).trim_end().to_owned(),
        Kind::Signal => "_bulkhead_signals".to_owned(),
        Kind::Command => "_bulkhead_commands".to_owned(),
        Kind::Target => "_bulkhead_target".to_owned(),
        Kind::Flag | Kind::Other | Kind::NewId | Kind::Rest => " ".to_owned(),
    };
    let escaped = |text: &str| {
        ['\\', '[', ']', ':']
            .iter()
            .fold(text.to_owned(), |text, c| text.replace(*c, &format!("\\{c}")))
    };
    let option = |arg: &Arg| {
        let kind = of_option(arg);
        let value = match arg.get_value_names().and_then(<[_]>::first) {
            Some(name) if kind != Kind::Flag => format!(":{}:{}", escaped(name), action(&kind)),
            _ => String::new(),
        };
        let spelled = spellings(arg);
        let repeated = matches!(arg.get_action(), clap::ArgAction::Append);
        let other = if repeated { "*".to_owned() } else { format!("({})", spelled.join(" ")) };
        let mut rows = String::new();
        for word in &spelled {
            let equals = match (kind != Kind::Flag, word.starts_with("--")) {
                (true, true) => "=",
                (true, false) => "+",
                (false, _) => "",
            };
            let text =
                format!("{other}{word}{equals}[{}]{value}", escaped(&summary(arg.get_help())));
            rows += &format!("        {} \\\n", quoted(&text));
        }
        rows
    };
    let mut arguments = String::new();
    for command in commands(root).filter(|command| command.get_name() != "help") {
        let (mut stop, mut last) = ("", String::new());
        for (at, kind) in places(command)?.iter().enumerate() {
            last += &match kind {
                Kind::Rest => {
                    // An option behind the ID belongs to the other program.
                    stop = " -A '-*'";
                    "        '*::: : ' \\\n".to_owned()
                }
                kind => {
                    let name = if *kind == Kind::Signal { "SIGNAL" } else { "ID" };
                    format!("        '{}:{name}:{}' \\\n", at + 1, action(kind))
                }
            };
        }
        let rows: String = options(command).map(option).collect();
        arguments += &format!(
            "    {})\n        _arguments -s -S{stop} \\\n{rows}{last}        && ret=0\n        ;;\n",
            command.get_name()
        );
    }
    let global: String = options(root).map(option).collect();
    let described = commands(root).map(|command| {
        let text = format!("{}:{}", command.get_name(), summary(command.get_about()));
        format!("        {}\n", quoted(&text))
    });
    Ok(include_str!("_bulkhead")
        .replace("@GLOBAL@\n", &global)
        .replace("@ARGUMENTS@\n", &arguments)
        .replace("@COMMANDS@\n", &described.collect::<String>()))
}

fn fish(root: &Command) -> Result<String, String> {
    let quoted = |text: &str| format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"));
    let (mut values, mut rows) = (Vec::new(), String::new());
    for command in commands(root) {
        let about = quoted(&summary(command.get_about()));
        rows += &format!(
            "complete -c bulkhead -n '__bulkhead_at 0 \"\" help' -a {} -d {about}\n",
            command.get_name()
        );
    }
    for command in std::iter::once(root).chain(commands(root)) {
        let name = if command.get_name() == "bulkhead" { "" } else { command.get_name() };
        for arg in options(command) {
            let kind = of_option(arg);
            let value = match &kind {
                Kind::Flag => String::new(),
                Kind::Directory => " -x -a '(__fish_complete_directories)'".to_owned(),
                Kind::File => " -r -F".to_owned(),
                Kind::Words(words) => format!(" -x -a '{}'", words.join(" ")),
                _ => " -x".to_owned(),
            };
            if kind != Kind::Flag {
                let spelled = spellings(arg).into_iter();
                values.extend(spelled.map(|word| quoted(&format!("{name} {word}"))));
            }
            let short = arg.get_short().map(|short| format!(" -s {short}")).unwrap_or_default();
            let long = arg.get_long().map(|long| format!(" -l {long}")).unwrap_or_default();
            rows += &format!(
                "complete -c bulkhead -n '__bulkhead_option_of \"{name}\"'{short}{long}{value} -d {}\n",
                quoted(&summary(arg.get_help()))
            );
        }
        if name.is_empty() || name == "help" {
            continue;
        }
        for (at, kind) in places(command)?.iter().enumerate() {
            let offers = match kind {
                Kind::Ids(states) => {
                    let call = format!("__bulkhead_ids {}", states.join(" "));
                    format!("-a '({})'", call.trim_end())
                }
                Kind::Signal => "-a '(__bulkhead_signals)'".to_owned(),
                Kind::Target => "-F -a '(__bulkhead_ids running paused)'".to_owned(),
                _ => continue,
            };
            rows += &format!("complete -c bulkhead -n '__bulkhead_at {at} {name}' {offers}\n");
        }
    }
    let values = format!("        case {}\n", values.join(" "));
    Ok(include_str!("bulkhead.fish").replace("@VALUES@\n", &values).replace("@COMPLETE@\n", &rows))
}
