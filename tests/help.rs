//! The help: what a user reads in a terminal of 80 columns.

use std::process::Command;

use crate::support::*;
use bulkhead::cli::Cli;
use clap::CommandFactory;

const GLOBAL: &[&str] = &[
    "--root",
    "--log",
    "--log-format",
    "--log-level",
    "--debug",
    "--systemd-cgroup",
    "--cgroup-manager",
];

fn printed(words: &[&str]) -> String {
    let output = Command::new(binary_under_test()).args(words).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{words:?}: {output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{words:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let long = text.lines().find(|line| line.chars().count() > 80);
    assert_eq!(long, None, "{words:?}");
    text
}

/// Whether the help has a line for an option.
fn describes(text: &str, option: &str) -> bool {
    let names = |line: &str| {
        let line = line.trim_start().split("  ").next().unwrap_or_default().to_owned();
        line.split([' ', ',']).any(|word| word == option)
    };
    text.lines()
        .any(|line| line.starts_with("  ") && line.trim_start().starts_with('-') && names(line))
}

#[test]
fn help_of_a_command_has_its_own_options_and_a_line_for_the_global_ones() {
    let mut root = Cli::command();
    root.build();
    for command in root.get_subcommands().filter(|command| command.get_name() != "help") {
        let name = command.get_name();
        let (long, short) = (printed(&["help", name]), printed(&[name, "-h"]));
        assert_eq!(long, printed(&[name, "--help"]), "{name}");
        for text in [&long, &short] {
            let line = "\nGlobal options (see 'bulkhead help'): --root, --log,";
            assert_eq!(text.matches("Global options").count(), 1, "{text}");
            assert!(text.contains(line), "{text}");
            for option in GLOBAL {
                assert!(text.contains(option) && !describes(text, option), "{option}: {text}");
            }
        }
        let own = command.get_arguments().filter(|arg| !arg.is_hide_set());
        for option in own.filter_map(|arg| arg.get_long()) {
            let option = format!("--{option}");
            let is_global = GLOBAL.contains(&option.as_str());
            assert!(is_global || describes(&long, &option), "{option}: {long}");
            assert!(is_global || describes(&short, &option), "{option}: {short}");
        }
    }
}

#[test]
fn help_of_the_program_describes_the_global_options() {
    let (long, short) = (printed(&["help"]), printed(&["-h"]));
    assert_eq!((&long, &short), (&printed(&["--help"]), &printed(&[])));
    for option in GLOBAL.iter().chain(&["--version", "--rootless"]) {
        assert!(describes(&long, option), "{option}: {long}");
    }
    let first_words = long.lines().filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
    let first_words: Vec<&str> = first_words.collect();
    for command in Cli::command().get_subcommands() {
        assert!(first_words.contains(&command.get_name()), "{long}");
    }
    assert!(
        long.contains("  help        Print the help of the program or of a command\n"),
        "{long}"
    );
}

/// Commands whose usage does not say everything have examples, and each example is a valid line.
#[test]
fn examples_are_valid() {
    for name in [
        "create",
        "run",
        "exec",
        "list",
        "ps",
        "kill",
        "update",
        "events",
        "checkpoint",
        "restore",
        "delete",
        "audit",
        "record",
        "spec",
        "info",
    ] {
        let text = printed(&["help", name]);
        let examples = text.split_once("\nExamples:\n").expect(&text).1;
        let examples = examples.split("\n\n").next().unwrap();
        let mut of_command = 0;
        for line in examples.lines() {
            let line = line.trim_start();
            // Without a comment, a pipe and a file of the shell.
            let line = line.split("   ").next().unwrap().split(" | jq").next().unwrap();
            let line = line.split(['<', '>']).next().unwrap();
            let line = line.rsplit("| ").next().unwrap();
            let words = line.split_whitespace().map(|word| word.trim_matches('\''));
            let parsed = Cli::command().try_get_matches_from(words);
            let matches = parsed.unwrap_or_else(|error| panic!("{name}: {line}: {error}"));
            of_command += u32::from(matches.subcommand_name() == Some(name));
        }
        assert!(of_command > 0, "{text}");
    }
}

/// The options that people use most stand first.
#[test]
fn frequent_options_are_first() {
    for (name, wanted) in [
        ("run", &["--bundle", "--detach", "--keep"][..]),
        ("create", &["--bundle"]),
        ("exec", &["--tty", "--detach", "--process", "--help", "--env", "--user", "--cwd"]),
        ("record", &["--bundle", "--output"]),
        ("delete", &["--force"]),
        ("list", &["--format", "--quiet"]),
    ] {
        let text = printed(&[name, "-h"]);
        let options = text.lines().filter(|line| line.trim_start().starts_with('-'));
        let options = options.filter_map(|line| {
            line.split([' ', ',']).find(|word| word.starts_with("--")).map(str::to_owned)
        });
        let options: Vec<String> = options.take(wanted.len()).collect();
        assert_eq!(options, wanted, "{name}");
    }
}

/// The help of a command that waits for a process tells the exit status, and so does the help of the program.
#[test]
fn help_tells_the_exit_status() {
    let program = printed(&["help"]);
    let paragraph = |text: &str| {
        let found = text.split("\n\n").find(|part| part.starts_with("Exit status: "));
        found.unwrap_or_default().replace('\n', " ")
    };
    let whole = paragraph(&program);
    let waiting = "Without --detach, run, exec, record and restore exit with the status of the process, \
                   or with 128 plus the number of the signal that killed it.";
    assert!(whole.contains(waiting) && whole.contains("audit with 2 for findings"), "{program}");
    for name in ["run", "exec", "record", "restore"] {
        let text = printed(&["help", name]);
        let own = paragraph(&text);
        assert!(own.contains("that of the process, or 128 plus the number"), "{text}");
        assert_eq!(own.contains("0 with --detach"), name != "record", "{text}");
    }
    assert!(paragraph(&printed(&["help", "audit"])).contains("2 if one is"));
}
