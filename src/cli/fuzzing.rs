//! Target of the fuzzers: command lines.

use std::ffi::OsString;
use std::sync::OnceLock;

use clap::CommandFactory;

use super::{Cli, args::parse_hot, parse, update};
use crate::fuzzing::{Input, assert_one_line, reached};

const COMMANDS: [&str; 12] = [
    "create", "run", "exec", "kill", "delete", "list", "start", "state", "pause", "resume", "ps",
    "update",
];

const VALUES: [&str; 24] = [
    "c1",
    "9",
    "/p",
    "A=b",
    "json",
    "",
    "--",
    "-",
    "-x",
    "-1",
    "text",
    "table",
    "--root",
    "-e",
    "=",
    "KILL",
    "0:0",
    "4294967296",
    "--debug",
    "--root=/r",
    "-p=x",
    "---",
    "-dt",
    "sh",
];

/// The options of a command, and whether each takes a value.
type Options = Vec<(String, bool)>;

/// Returns the options of each command.
fn options() -> &'static [Options] {
    static OPTIONS: OnceLock<Vec<Options>> = OnceLock::new();
    OPTIONS.get_or_init(|| {
        let mut root = Cli::command();
        root.build();
        let of = |name: &str| {
            let mut all = Options::new();
            for arg in root.find_subcommand(name).unwrap().get_arguments() {
                let takes_value = arg.get_action().takes_values();
                all.extend(arg.get_long().map(|long| (format!("--{long}"), takes_value)));
                all.extend(arg.get_short().map(|short| (format!("-{short}"), takes_value)));
            }
            all
        };
        COMMANDS.map(of).into()
    })
}

/// The parser of the frequent commands agrees with clap wherever it answers.
pub fn args(data: &[u8]) {
    let mut input = Input::new(data);
    if input.byte() % 8 == 7 {
        return sizes(&String::from_utf8_lossy(input.rest()));
    }
    let command = input.below(COMMANDS.len());
    let options = &options()[command];
    let mut line = vec!["bulkhead".to_owned(), COMMANDS[command].to_owned()];
    let global = input.flag();
    while !input.is_empty() && line.len() < 16 {
        let (option, takes_value) = &options[input.below(options.len())];
        match input.below(8) {
            0..4 if *takes_value => {
                line.extend([
                    option.clone(),
                    input.pick(&["/p", "5", "json", "A=b", "0:0"]).to_owned(),
                ]);
            }
            0..4 => line.push(option.clone()),
            4 => line.push(format!("{option}={}", input.pick(&VALUES))),
            5 => line.push(input.pick(&VALUES).to_owned()),
            6 => line.push("c1".to_owned()),
            _ => line.push(input.text(6)),
        }
    }
    // Options can stand before the command.
    if global {
        let command = line.remove(1);
        let place = 1 + usize::from(data.last().copied().unwrap_or_default()) % line.len();
        line.insert(place, command);
    }
    let words: Vec<OsString> = line.iter().map(OsString::from).collect();
    let hot = parse_hot(&words);
    let by_clap = parse(words);
    if let Some(hot) = hot {
        reached();
        let by_clap = by_clap.unwrap_or_else(|(_, error)| panic!("{line:?}: {error}"));
        assert_eq!(format!("{hot:?}"), format!("{by_clap:?}"), "{line:?}");
    }
}

/// A size of `update`, such as 1.5G.
fn sizes(text: &str) {
    match update::size("--memory", &Some(text.to_owned())) {
        Ok(Some(size)) => {
            let again = update::size("--memory", &Some(size.to_string()));
            assert_eq!(again.ok().flatten(), Some(size), "{text:?}");
            assert!(size >= -1, "{text:?}: {size}");
        }
        Ok(None) => assert!(text.trim().is_empty(), "{text:?}"),
        Err(error) => {
            assert_one_line(&error.to_string());
            let is_number = text.parse::<i64>().is_ok_and(|number| number >= -1);
            assert!(!is_number || text.starts_with('+'), "{text:?}: {error}");
        }
    }
}
